"""Two layers' work in fewer passes than torch's operations need: kernels/*.c, compiled once by this machine's own C
compiler. Where there is none (or it fails) `fits` says no, and torch's operations do the work.

Only maps whose channels lie side by side (channels_last) and come in sixteens, in float32 or bfloat16, on a CPU.
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
CHANNELS = 16  # or a multiple: as many are computed at a time (kernels/lanes.h)
# as torch chose for its own kernels; named instead of "native", so that a folder shared by machines stays right
INSTRUCTIONS = {"AVX2": ["-march=x86-64-v3"], "AVX512": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
FLAGS = ["-O2", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC", "-lm"]
PATIENCE_S = 60  # it takes less than one


class Norm(ctypes.Structure):
    """`norm` in kernels/norm.c."""

    _fields_ = [(name, ctypes.c_long) for name in ("half", "threads", "pixels", "channels")]
    _fields_ += [(name, ctypes.c_float) for name in ("low", "high", "momentum", "epsilon")]


class Filtering(ctypes.Structure):
    """`filtering` in kernels/filters.c."""

    _fields_ = [(name, ctypes.c_long) for name in ("half", "threads", "side", "stride", "padding", "pictures")]
    _fields_ += [(name, ctypes.c_long) for name in ("channels", "height", "width", "rows", "columns")]


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
    lying = maps.shape[1] % CHANNELS == 0 and maps.is_contiguous(memory_format=torch.channels_last)
    more_than_one_pixel = maps.numel() > maps.shape[1]
    return known and lying and more_than_one_pixel and not torch.compiler.is_compiling() and kernels() is not None


def clipped_norm(
    maps: Tensor, gamma: Tensor, beta: Tensor, statistics: tuple[Tensor, Tensor], how: Norm
) -> tuple[Tensor, Tensor]:
    """(BatchNorm of this batch, clipped; what the way back needs). Moves `statistics`, the running mean and variance,
    as torch does. Weights and statistics: (C,) float32."""
    found, known = torch.empty_like(maps), torch.empty(4, how.channels)
    sums = torch.zeros(how.threads, 2, how.channels, dtype=torch.float64)
    kernels().norm_forward(ctypes.byref(how), *places(maps, gamma, beta, *statistics, known, sums, found))
    return found, known


def clipped_norm_gradients(maps: Tensor, arriving: Tensor, known: Tensor, how: Norm) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of maps, gamma and beta."""
    of_maps, of_weights, work = torch.empty_like(maps), torch.empty(2, how.channels), torch.empty(2, how.channels)
    sums = torch.zeros(how.threads, 2, how.channels, dtype=torch.float64)
    kernels().norm_backward(ctypes.byref(how), *places(maps, arriving, known, sums, work, of_maps, *of_weights))
    return of_maps, *of_weights


def norm_of(maps: Tensor, low: float, high: float, momentum: float, epsilon: float) -> Norm:
    """How these maps are normed, and clipped to between `low` and `high`."""
    half, pixels = maps.dtype == torch.bfloat16, maps.numel() // maps.shape[1]
    return Norm(half, torch.get_num_threads(), pixels, maps.shape[1], low, high, momentum, epsilon)


def filters_fit(maps: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> bool:
    """Whether `filter_gradients` takes these filters of one channel each, (C, 1, side, side)."""
    known = weight.shape[2:] in ((3, 3), (5, 5)) and stride in ((1, 1), (2, 2)) and padding[0] == padding[1]
    return known and weight.dtype == torch.float32 and fits(maps)


def filter_gradients(maps: Tensor, weight: Tensor, arriving: Tensor, stride, padding) -> tuple[Tensor, Tensor]:
    """The gradients of maps and filters, whose answer was computed in the maps' precision."""
    sizes = stride[0], padding[0], *maps.shape, *arriving.shape[2:]
    how = Filtering(maps.dtype == torch.bfloat16, torch.get_num_threads(), weight.shape[2], *sizes)
    of_maps, filters = torch.empty_like(maps), weight.to(maps.dtype).float().flatten(1).T.contiguous()  # (side², C)
    of_filters = torch.zeros(how.threads, *filters.shape)
    kernels().filter_gradients(ctypes.byref(how), *places(maps, arriving, filters, of_maps, of_filters))
    return of_maps, of_filters.sum(dim=0).T.reshape(weight.shape)


def places(*tensors: Tensor) -> list[ctypes.c_void_p]:
    """Where each begins in memory."""
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
