"""Every picture is decoded once, into one uint8 store.

The store is a flat file that the operating system maps into memory: it stays in RAM while it fits and on disk when it
does not, and `PixelStore.to` moves it onto the GPU when it takes less than 40 % of the free memory there.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.data.decode import CACHE_VERSION, UnreadableImage, presize, read_image
from helpers.data.items import Item
from helpers.runtime.files import write_atomically
from helpers.runtime.progress import progress

class PixelStore:
    """All pictures of a data set, presized, in one flat uint8 tensor.

    `shapes[i]` is picture i's (C, h, w). When all are alike the store is also one (N, C, h, w) tensor.
    """

    def __init__(self, flat: Tensor, shapes: Sequence[tuple[int, int, int]], size_px: int):
        self.flat, self.size_px = flat, size_px
        self.shapes = tuple(map(tuple, shapes))
        ends = list(accumulate(c * h * w for c, h, w in self.shapes))
        self.starts = [0, *ends[:-1]]
        self.channels = max(c for c, _, _ in self.shapes)
        self.uniform = len(set(self.shapes)) == 1

    def __len__(self) -> int:
        return len(self.shapes)

    def to(self, device: torch.device) -> "PixelStore":
        """The same store on a CUDA device if it fits in 40 % of its free memory, else this one."""
        if device.type != "cuda" or self.flat.is_cuda or self.flat.numel() > 0.4 * torch.cuda.mem_get_info(device)[0]:
            return self
        return PixelStore(self.flat.to(device), self.shapes, self.size_px)

    def picture(self, index: int) -> Tensor:
        """One presized picture: uint8 (C, h, w)."""
        c, h, w = self.shapes[index]
        return self.flat[self.starts[index] : self.starts[index] + c * h * w].view(c, h, w)

    def squares(self, indices: Tensor, crop_position: Tensor | None = None) -> Tensor:
        """Squares of `size_px`: uint8 (n, C, P, P). `along` in 0..1: where on the long side (default: the middle)."""
        px = self.size_px
        if self.uniform and self.shapes[0][1:] == (px, px):
            return self.flat.view(len(self), *self.shapes[0]).index_select(
                0, indices.to(self.flat.device, non_blocking=True)
            )
        squares = torch.empty(len(indices), self.channels, px, px, dtype=torch.uint8, device=self.flat.device)
        crop_position = [0.5] * len(indices) if crop_position is None else crop_position.tolist()
        for square, index, where in zip(squares, indices.tolist(), crop_position, strict=True):
            picture = self.picture(index)
            top, left = (round((extent - px) * where) for extent in picture.shape[1:])
            square.copy_(picture[:, top : top + px, left : left + px])  # grey spreads over three channels
        return squares

    def shrunk(self, size_px: int) -> "PixelStore":
        """The store at a smaller size, made from these pixels without decoding again (antialiased)."""
        pictures = []
        for index, (_, h, w) in enumerate(self.shapes):
            target = [max(size_px, round(side * size_px / self.size_px)) for side in (h, w)]
            pictures.append(F.interpolate(self.picture(index)[None].cpu(), target, mode="bilinear", antialias=True)[0])
        return PixelStore(torch.cat([p.flatten() for p in pictures]), [p.shape for p in pictures], size_px)


def fingerprint(items: Sequence[Item], *settings: object) -> str:
    """A key that changes whenever a file's content, the order or a setting does: 24 hex digits of sha256."""
    digest = hashlib.sha256(repr((CACHE_VERSION, *settings)).encode())
    with ThreadPoolExecutor() as pool:
        for item_hash in pool.map(_file_hash, items):
            digest.update(item_hash)
    return digest.hexdigest()[:24]


def _file_hash(item: Item) -> bytes:
    try:
        return hashlib.sha256(item.path.read_bytes()).digest()
    except OSError as error:
        raise UnreadableImage(
            f"{item.path} cannot be read ({error.strerror}); was the data set moved or deleted?"
        ) from error


def load_or_decode(items: Sequence[Item], *, key: str, size_px: int, method: str = "crop", folder: Path) -> PixelStore:
    """The store of `items` from `folder`/`key`.u8, decoded and written there first if it is not there yet.

    Raises UnreadableImage listing every file that could not be read: nothing is written then.
    """
    pixels_file, shapes_file = folder / f"{key}.u8", folder / f"{key}.json"
    shapes = _kept_shapes(pixels_file, shapes_file)
    if shapes is None:
        shapes = _decode_all(items, size_px, method, pixels_file)
        with write_atomically(shapes_file) as temporary:  # written last, so it vouches for the pixels
            temporary.write_text(json.dumps(shapes))
    flat = torch.from_file(str(pixels_file), shared=False, size=pixels_file.stat().st_size, dtype=torch.uint8)
    return PixelStore(flat, shapes, size_px)


def _kept_shapes(pixels_file: Path, shapes_file: Path) -> list[tuple[int, int, int]] | None:
    """The shapes of the pictures in `pixels_file`, None when the two files are not there or do not fit each other."""
    try:
        shapes = [(c, h, w) for c, h, w in json.loads(shapes_file.read_text())]
        whole = pixels_file.stat().st_size == sum(c * h * w for c, h, w in shapes)
    except (OSError, ValueError, TypeError):
        return None
    return shapes if whole else None


def _decode_all(items: Sequence[Item], size_px: int, method: str, target: Path) -> list[tuple[int, int, int]]:
    def decode(item: Item) -> np.ndarray | UnreadableImage:
        try:
            at_least_px = None if method == "as_is" else size_px
            return presize(read_image(item.path, at_least_px=at_least_px), size_px, method)
        except UnreadableImage as error:
            return error

    shapes, errors = [], []
    workers = os.cpu_count() or 1
    with write_atomically(target) as temporary, temporary.open("wb") as file, ThreadPoolExecutor(workers) as pool:
        for start in progress(range(0, len(items), 256), "decoding"):  # in pieces, so that memory does not grow
            for pixels in pool.map(decode, items[start : start + 256]):
                if isinstance(pixels, UnreadableImage):
                    errors.append(str(pixels))
                else:
                    shapes.append(pixels.shape)
                    file.write(pixels.tobytes())
        if errors:
            shown = errors[:20] + [f"and {len(errors) - 20} more"] * (len(errors) > 20)
            raise UnreadableImage("\n".join([f"{len(errors)} of {len(items)} pictures cannot be read:", *shown]))
    return shapes
