"""One filter a channel, beside the norms before and after it in one pass, by the kernels."""

import ctypes

import torch
from torch import Tensor

from data_setup.lite.compiled import LANES, fits, kernels, places
from data_setup.lite.norms import BatchNorm


class Filtering(ctypes.Structure):
    """`filtering` in kernels/filters.c."""

    _fields_ = [(name, ctypes.c_long) for name in ("half", "threads", "side", "stride", "above", "before")]
    _fields_ += [(name, ctypes.c_long) for name in ("pictures", "channels", "height", "width", "rows", "columns")]


def filters_fit(maps: Tensor, weight: Tensor, stride: tuple[int, int]) -> bool:
    """Whether `Filters` takes these, of one channel each, (C, 1, side, side)."""
    known = weight.shape[2:] in ((3, 3), (5, 5)) and stride in ((1, 1), (2, 2))
    return known and weight.dtype == torch.float32 and len(weight) % LANES == 0 and fits(maps)


class Filters:
    """Filters whose pictures come in pieces: `answers` of each. On the way back `learn`, the `gradients` of each, and
    `know_back`.

    Maps are clipped by the norm before the filters as they are read, and their gradients are added up for it as they
    are written; answers are added up for the norm after them. What these norms `know` is for others to ask.
    """

    def __init__(
        self,
        weight: Tensor,
        dtype: torch.dtype,
        stride: tuple[int, int],
        missing: tuple[int, int],
        before: BatchNorm | None = None,
        after: BatchNorm | None = None,
        *,
        clipped: bool = False,
    ):
        """weight: (C, 1, side, side), which meets the maps in their `dtype`.

        missing: rows and columns of zeros that the filters need, the smaller half above and at the left.
        clipped: the maps come from ReLU6 (and no norm is before): gradients are those of what came into that.
        """
        self.shape, self.filters = weight.shape, weight.to(dtype).float().flatten(1).T.contiguous()  # (side², C)
        self.stride, self.missing, self.clipped = stride, missing, clipped
        self.before, self.after = before, after
        self.threads = torch.get_num_threads()  # of both ways, as the norms' sums are a thread's each

    def answers(self, maps: Tensor) -> Tensor:
        how = self._how(maps)
        size = how.pictures, how.channels, how.rows, how.columns
        found = torch.empty(size, dtype=maps.dtype, memory_format=torch.channels_last)
        if self.after and self.after.how is None:
            first = self._how(maps)
            first.pictures = first.rows = 1
            self._answer(first, maps, found, None)
            self.after.begin(found)
        self._answer(how, maps, found, self.after)
        return found

    def _answer(self, how: Filtering, maps: Tensor, found: Tensor, after: BatchNorm | None) -> None:
        kernels().filter_answers(
            ctypes.byref(how),
            *places(maps),
            *beside(self.before),
            *places(self.filters, found),
            *beside(after, sums=True),
        )

    def learn(self) -> None:
        self.sums = torch.zeros(self.threads, *self.filters.shape)
        self.of_bias = torch.zeros(self.threads, self.shape[0], dtype=torch.float64) if self.clipped else None
        if self.before:
            self.before.learn()

    def gradients(self, maps: Tensor, answers: Tensor | None, arriving: Tensor, into: Tensor | None = None) -> Tensor:
        """The gradient of some pictures' maps, or of what comes out of the norm before the filters.

        arriving: for the answers, or for what comes out of the norm after them, which has been told all of it.
        into: where it is written, as large as the maps and lying as they do.
        """
        found = torch.empty_like(maps) if into is None else into
        kernels().filter_gradients(
            ctypes.byref(self._how(maps)),
            *places(maps),
            *beside(self.before, sums=True),
            *places(arriving),
            *beside(self.after),
            *places(answers, self.filters, found, self.sums, self.of_bias),
        )
        return found

    def know_back(self) -> tuple[Tensor, Tensor | None]:
        """The gradients of the weight, and of the bias before ReLU6 if the maps come from one, (C,)."""
        of_bias = self.of_bias.sum(dim=0).float() if self.clipped else None
        return self.sums.sum(dim=0).T.reshape(self.shape), of_bias

    def _how(self, maps: Tensor) -> Filtering:
        side = self.shape[2]
        answered = [
            (size + more - side) // step + 1
            for size, more, step in zip(maps.shape[2:], self.missing, self.stride, strict=True)
        ]
        margins = [more // 2 for more in self.missing]
        half = maps.dtype == torch.bfloat16
        return Filtering(half, self.threads, side, self.stride[0], *margins, *maps.shape, *answered)


def beside(norm: BatchNorm | None, *, sums: bool = False) -> list:
    """A norm as the kernels take it, with its sums if they are added to."""
    how, known, added = (ctypes.byref(norm.how), norm.known, norm.sums) if norm else (None, None, None)
    return [how, *places(known, added)] if sums else [how, *places(known)]
