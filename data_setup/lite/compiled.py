"""Two layers' work in fewer passes than torch's operations need (norms.py, filters.py): kernels/*.c, compiled once by
this machine's own C compiler. Where there is none (or it fails) `fits` says no, and torch's operations do the work.

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


def places(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    """Where each begins in memory."""
    return [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
