"""Every picture is decoded once, into one uint8 store: a flat file that the operating system maps into memory.

It stays in RAM while it fits and on disk when it does not. `PixelStore.on` moves it onto the GPU where that is free.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from helpers.data.decode import CACHE_VERSION, UnreadableImage, read_presized
from helpers.data.items import Item, content_hash
from helpers.runtime.files import write_atomically
from helpers.runtime.progress import progress

Shape = tuple[int, int, int]  # (C, h, w)


@dataclass(frozen=True, eq=False)
class PixelStore:
    """Presized pictures one behind the other in a flat uint8 tensor; the short side of each is `presize_px`."""

    flat: Tensor
    shapes: tuple[Shape, ...]
    starts: tuple[int, ...]  # where in `flat` each picture begins
    presize_px: int

    @classmethod
    def of(cls, flat: Tensor, shapes: Sequence[Shape], presize_px: int) -> "PixelStore":
        """The store of all pictures in `flat`: a `SquareStore` when they are all squares of one kind."""
        starts = accumulate((math.prod(shape) for shape in shapes[:-1]), initial=0)
        squares = len(set(shapes)) == 1 and shapes[0][1:] == (presize_px, presize_px)
        return (SquareStore if squares else PixelStore)(flat, tuple(shapes), tuple(starts), presize_px)

    @classmethod
    def of_pictures(cls, pictures: Sequence[Tensor], presize_px: int) -> "PixelStore":
        return cls.of(torch.cat([p.flatten() for p in pictures]), [tuple(p.shape) for p in pictures], presize_px)

    def __len__(self) -> int:
        return len(self.shapes)

    def picture(self, row: int) -> Tensor:
        """One presized picture: uint8 (C, h, w)."""
        return self.flat[self.starts[row] :][: math.prod(self.shapes[row])].view(self.shapes[row])

    def squares(self, rows: Tensor, crop_position: Tensor | None = None) -> Tensor:
        """uint8 (n, C, P, P). `crop_position` in 0..1: where on the long side (default: the middle)."""
        positions = [0.5] * len(rows) if crop_position is None else crop_position.tolist()
        crops, px = [], self.presize_px
        for row, position in zip(rows.tolist(), positions, strict=True):
            picture = self.picture(row)
            top, left = (round((extent - px) * position) for extent in picture.shape[1:])
            crops.append(picture[:, top : top + px, left : left + px])
        if not crops:
            return self.flat.new_empty(0, 1, px, px)
        channels = max(map(len, crops))  # beside colour, grey is repeated
        return torch.stack([crop.expand(channels, -1, -1) for crop in crops])

    def subset(self, rows: Sequence[int]) -> "PixelStore":
        """A store of these rows, which shares the pixels."""
        shapes, starts = (tuple(column[row] for row in rows) for column in (self.shapes, self.starts))
        return replace(self, shapes=shapes, starts=starts)

    def on(self, device: torch.device) -> "PixelStore":
        """A copy on a CUDA device, if it fits in 40 % of the free memory there, else this store."""
        fits = device.type == "cuda" and self.flat.nbytes <= 0.4 * torch.cuda.mem_get_info(device)[0]
        return replace(self, flat=self.flat.to(device)) if fits else self


class SquareStore(PixelStore):
    """Squares of one kind, which have no long side to move along: a batch is one gather."""

    def squares(self, rows: Tensor, crop_position: Tensor | None = None) -> Tensor:
        table = self.flat.view(-1, *self.shapes[0])  # (N, C, P, P)
        return table.index_select(0, upload(self._places[rows], table.device))

    @cached_property
    def _places(self) -> Tensor:  # (N,) int64: each picture's row in the table
        return torch.tensor(self.starts) // math.prod(self.shapes[0])


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; to a GPU through pinned memory, so that the copy does not hold up the program."""
    if device.type == "cuda" and not tensor.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def fingerprint(items: Sequence[Item], *settings: object) -> str:
    """A key that changes whenever a file's content, the order or a setting does: 24 hex digits of sha256."""
    digest = hashlib.sha256(repr((CACHE_VERSION, *settings)).encode())
    try:
        with ThreadPoolExecutor() as pool:
            for text in pool.map(lambda item: content_hash(item.path), items):
                digest.update(bytes.fromhex(text))
    except OSError as error:
        words = f"{error.filename} cannot be read ({error.strerror}); was the data set moved or deleted?"
        raise UnreadableImage(words) from error
    return digest.hexdigest()[:24]


def load_or_decode(items: Sequence[Item], file: Path, *, presize_px: int, method: str = "crop") -> PixelStore:
    """The store of `items` from `file`, decoded and written there first if it is not there yet.

    Raises UnreadableImage listing every file that could not be read: nothing is written then.
    """
    shapes_file = file.with_suffix(".json")
    try:
        shapes = [(c, h, w) for c, h, w in json.loads(shapes_file.read_text())]
        complete = file.stat().st_size == sum(map(math.prod, shapes))
    except (OSError, ValueError, TypeError):
        complete = False
    if not complete:
        try:
            with write_atomically(file) as temporary:
                shapes = _decode_all(items, presize_px, method, temporary)
            with write_atomically(shapes_file) as temporary:  # written last, so it vouches for the pixels
                temporary.write_text(json.dumps(shapes))
        except OSError as error:
            fix = "make room there, or set COURSE_DATA to a folder on another disk"
            raise OSError(f"the decoded pictures could not be kept in {file.parent} ({error}): {fix}") from error
    flat = torch.from_file(str(file), shared=False, size=file.stat().st_size, dtype=torch.uint8)
    return PixelStore.of(flat, shapes, presize_px)


def _decode_all(items: Sequence[Item], presize_px: int, method: str, target: Path) -> list[Shape]:
    def decode(item: Item) -> np.ndarray | UnreadableImage:
        try:
            return read_presized(item.path, presize_px, method)
        except UnreadableImage as error:
            return error

    shapes, errors = [], []
    with target.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in progress(range(0, len(items), 256), "decoding"):  # in pieces, so that memory does not grow
            for pixels in pool.map(decode, items[start : start + 256]):
                if isinstance(pixels, UnreadableImage):
                    errors.append(str(pixels))
                else:
                    shapes.append(pixels.shape)
                    file.write(pixels.tobytes())
    if errors:
        lines = [f"{len(errors)} of {len(items)} pictures cannot be read:", *errors[:20]]
        raise UnreadableImage("\n".join(lines + [f"and {len(errors) - 20} more"] * (len(errors) > 20)))
    return shapes
