"""Every picture resampled once to the size training needs, all of them in one uint8 store.

The store is a flat file that the operating system maps into memory: in RAM while it fits, on disk when it does not.
`PixelStore.on` moves it onto a GPU.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from data_setup.base.files import write_atomically
from data_setup.base.pictures import Shape, write_presized
from helpers.runtime.device import place_for, upload


@dataclass(frozen=True, eq=False)
class PixelStore:
    """Presized pictures one behind the other in a flat uint8 tensor; the short side of each is `presize_px`."""

    flat: Tensor
    shapes: tuple[Shape, ...]
    starts: tuple[int, ...]  # where in `flat` each picture begins
    presize_px: int
    uniform: bool  # all are squares of one kind, which have no long side to move along: a batch is one gather

    @classmethod
    def of(cls, flat: Tensor, shapes: Sequence[Shape], presize_px: int) -> "PixelStore":
        """The store of all pictures in `flat`."""
        starts = accumulate((math.prod(shape) for shape in shapes[:-1]), initial=0)
        uniform = len(set(shapes)) == 1 and shapes[0][1:] == (presize_px, presize_px)
        return cls(flat, tuple(shapes), tuple(starts), presize_px, uniform)

    @classmethod
    def of_pictures(cls, pictures: Sequence[Tensor], presize_px: int) -> "PixelStore":
        return cls.of(torch.cat([p.flatten() for p in pictures]), [tuple(p.shape) for p in pictures], presize_px)

    def __len__(self) -> int:
        return len(self.shapes)

    @cached_property
    def _places(self) -> Tensor:  # (N,) int64: each picture's row in the table of a uniform store
        return torch.tensor(self.starts) // math.prod(self.shapes[0])

    def picture(self, row: int) -> Tensor:
        """One presized picture: uint8 (C, h, w)."""
        return self.flat[self.starts[row] :][: math.prod(self.shapes[row])].view(self.shapes[row])

    def squares(self, rows: Tensor, crop_position: Tensor | None = None) -> Tensor:
        """uint8 (n, C, P, P). `crop_position` in 0..1: where on the long side (default: the middle)."""
        if self.uniform:
            table = self.flat.view(-1, *self.shapes[0])  # (N, C, P, P)
            return table.index_select(0, upload(self._places[rows], table.device))
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
        """A copy on a CUDA device if it fits there, else one on the CPU, which shares the pixels."""
        return replace(self, flat=self.flat.to(place_for(self.flat.nbytes, device)))


def load_or_decode(paths: Sequence[Path], file: Path, *, presize_px: int, method: str = "crop") -> PixelStore:
    """The store of the pictures at `paths` from `file`, decoded and written there first if it is not there yet.

    Raises UnreadableImage listing every file that could not be read: nothing is written then.
    """
    if not (shapes := _shapes_in(file)):
        from filelock import FileLock  # takes a while to import

        try:
            with FileLock(file.parent.with_suffix(".lock")):  # who comes second waits, and finds them
                if not (shapes := _shapes_in(file)):
                    with write_atomically(file) as temporary:
                        shapes = write_presized(paths, presize_px, method, temporary)
                    with write_atomically(file.with_suffix(".json")) as temporary:  # last: it vouches for the pixels
                        temporary.write_text(json.dumps(shapes))
        except OSError as error:
            fix = "make room there, or set COURSE_DATA to a folder on another disk"
            raise OSError(f"the decoded pictures could not be kept in {file.parent} ({error}): {fix}") from error
    flat = torch.from_file(str(file), shared=False, size=file.stat().st_size, dtype=torch.uint8)
    return PixelStore.of(flat, shapes, presize_px)


def _shapes_in(file: Path) -> list[Shape]:
    """Of the pictures in a complete store, else none."""
    try:
        shapes = [(c, h, w) for c, h, w in json.loads(file.with_suffix(".json").read_text())]
        return shapes if file.stat().st_size == sum(map(math.prod, shapes)) else []
    except (OSError, ValueError, TypeError):
        return []
