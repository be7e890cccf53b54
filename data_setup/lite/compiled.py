"""Two layers' work in fewer passes than torch's operations need: kernels/*.c, compiled once by this machine's own C
compiler. Where there is none (or it fails) `fits` says no, and torch's operations do the work.

Only maps whose channels lie side by side (channels_last) and come in eights, in float32 or bfloat16, on a CPU.
"""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from data_setup.base.files import write_atomically
from data_setup.base.folders import home

SOURCES = sorted((Path(__file__).parent / "kernels").glob("*.[ch]"))
LANES = 16  # channels that are computed at a time, at most (kernels/lanes.h)
# as torch chose for its own kernels; named instead of "native", so that a folder shared by machines stays right
INSTRUCTIONS = {"AVX2": ["-march=x86-64-v3"], "AVX512": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
FLAGS = ["-O2", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC", "-lm"]
PATIENCE_S = 60  # it takes less than one
MEAN = 2  # its row among `found` in kernels/norm.h


class Norm(ctypes.Structure):
    """`norm` in kernels/norm.h."""

    _fields_ = [(name, ctypes.c_long) for name in ("half", "threads", "pixels", "channels")]
    _fields_ += [(name, ctypes.c_float) for name in ("low", "high", "momentum", "epsilon")]


class Filtering(ctypes.Structure):
    """`filtering` in kernels/filters.c."""

    _fields_ = [(name, ctypes.c_long) for name in ("half", "threads", "clipped", "side", "stride", "above", "before")]
    _fields_ += [(name, ctypes.c_long) for name in ("pictures", "channels", "height", "width", "rows", "columns")]


@functools.cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, from the disk or made now; None where they cannot be made. CC names another compiler."""
    instructions = INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability())
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if instructions is None or compiler is None or sys.platform != "linux":
        return None
    command = [compiler, *instructions, *(str(source) for source in SOURCES if source.suffix == ".c"), *FLAGS]
    made_of = repr((command, [source.read_bytes() for source in SOURCES]))
    file = home() / "cache" / "kernels" / f"{hashlib.sha256(made_of.encode()).hexdigest()[:24]}.so"
    with suppress(OSError, subprocess.SubprocessError):  # no OpenMP, an older compiler, a full or read-only disk
        if file.is_file():
            with suppress(OSError):  # damaged: made anew
                return ctypes.CDLL(str(file))
        with write_atomically(file) as temporary:
            subprocess.run([*command, "-o", temporary], check=True, capture_output=True, timeout=PATIENCE_S)
        return ctypes.CDLL(str(file))
    return None


def fits(maps: Tensor) -> bool:
    """Whether the kernels take these maps, (N, C, H, W)."""
    known = maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.bfloat16)
    lying = maps.shape[1] % 8 == 0 and maps.shape[1] >= LANES and maps.is_contiguous(memory_format=torch.channels_last)
    more_than_one_pixel = maps.numel() > maps.shape[1]
    return known and lying and more_than_one_pixel and not torch.compiler.is_compiling() and kernels() is not None


class BatchNorm:
    """BatchNorm of one batch and the clipping after it, whose pictures come in pieces: `add` each and `know`, then each
    can be clipped; on the way back `learn`, `add` each with what arrives for it and `know_back`, then `give_back`."""

    def __init__(self, layer: torch.nn.BatchNorm2d, pictures: int, high: float):
        """pictures: of all pieces; high: 6, or infinity for no clipping."""
        self.layer, self.pictures, self.channels = layer, pictures, len(layer.weight)
        self.high, self.low = high, 0.0 if high < float("inf") else -high
        self.known = torch.zeros(6, self.channels)
        self.how: Norm | None = None

    @classmethod
    def of(cls, maps: Tensor, layer: torch.nn.BatchNorm2d, high: float) -> "BatchNorm":
        """Of all pictures at once."""
        norm = cls(layer, len(maps), high)
        norm.add(maps)
        norm.know()
        return norm

    def gradients(self, maps: Tensor, arriving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of maps, gamma and beta, of all pictures at once."""
        self.learn()
        self.add(maps, arriving)
        of_weights = self.know_back()
        return self.give_back(maps, arriving), *of_weights

    def add(self, maps: Tensor, arriving: Tensor | None = None) -> None:
        if self.how is None:
            sizes = self.pictures * maps.shape[2:].numel(), self.channels, self.low, self.high
            half, layer = maps.dtype == torch.bfloat16, self.layer
            self.how = Norm(half, torch.get_num_threads(), *sizes, layer.momentum, layer.eps)
            self.known[MEAN] = maps[0, :, 0, 0]  # until it is known: differences from a number near it lose nothing
            self.learn()
        self._pass(kernels().norm_add_up, maps, arriving, self.known, self.sums)

    def know(self) -> None:
        """Also moves the running mean and variance, as torch does."""
        layer = self.layer
        layer.num_batches_tracked.add_(1)
        learned = layer.weight.detach(), layer.bias.detach(), layer.running_mean, layer.running_var
        kernels().norm_know(ctypes.byref(self.how), *places(self.sums, *learned, self.known))

    def clip(self, maps: Tensor) -> Tensor:
        found = torch.empty_like(maps)
        self._pass(kernels().norm_clip, maps, self.known, found)
        return found

    def learn(self) -> None:
        """From here on `add` adds up anew: for the way back."""
        self.sums = torch.zeros(self.how.threads, 2, self.channels, dtype=torch.float64)

    def know_back(self) -> Tensor:
        """The gradients of gamma and beta, (2, C)."""
        of_weights = torch.empty(2, self.channels)
        kernels().norm_know_back(ctypes.byref(self.how), *places(self.sums, self.known, *of_weights))
        return of_weights

    def give_back(self, maps: Tensor, arriving: Tensor) -> Tensor:
        """The gradient of maps."""
        of_maps = torch.empty_like(maps)
        self._pass(kernels().norm_give_back, maps, arriving, self.known, of_maps)
        return of_maps

    def _pass(self, kernel, maps: Tensor, *others: Tensor | None) -> None:
        kernel(ctypes.byref(self.how), ctypes.c_long(maps.numel() // self.channels), *places(maps, *others))


def filters_fit(maps: Tensor, weight: Tensor, stride: tuple[int, int]) -> bool:
    """Whether `filter_gradients` takes these filters of one channel each, (C, 1, side, side)."""
    known = weight.shape[2:] in ((3, 3), (5, 5)) and stride in ((1, 1), (2, 2))
    return known and weight.dtype == torch.float32 and len(weight) % LANES == 0 and fits(maps)


def filter_gradients(
    maps: Tensor,
    weight: Tensor,
    arriving: Tensor,
    stride: tuple[int, int],
    margins: tuple[int, int],
    *,
    clipped: bool = False,
    normed: tuple[BatchNorm, Tensor] | None = None,
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The gradients of maps and filters, whose answer was computed in the maps' precision.

    margins: rows of zeros above the maps and columns before them.
    clipped: the maps come from ReLU6, and the gradient of what came into that is wanted.
    normed: the norm after the filters, and their answer; `arriving` is for what comes out of the norm.
    into: where the gradient of maps is written, as large as they are and lying as they do.
    """
    sizes = stride[0], *margins, *maps.shape, *arriving.shape[2:]
    how = Filtering(maps.dtype == torch.bfloat16, torch.get_num_threads(), clipped, weight.shape[2], *sizes)
    filters = weight.to(maps.dtype).float().flatten(1).T.contiguous()  # (side², C)
    of_maps = torch.empty_like(maps) if into is None else into
    of_filters = torch.zeros(how.threads, *filters.shape)
    norm, answer = normed or (None, None)
    after = (ctypes.byref(norm.how), *places(answer, norm.known)) if norm else places(None, None, None)
    written = places(filters, of_maps, of_filters)
    kernels().filter_gradients(ctypes.byref(how), *places(maps, arriving), *after, *written)
    return of_maps, of_filters.sum(dim=0).T.reshape(weight.shape)


def places(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    """Where each begins in memory."""
    return [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
