"""Which device computes, and how its memory is kept."""

import ctypes
import os
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # as malloc.h has them


def pick_device() -> torch.device:
    """CUDA if there is one, else Apple's MPS, else the CPU; the environment variable COURSE_DEVICE overrides."""
    if chosen := os.environ.get("COURSE_DEVICE"):
        try:
            return torch.device(chosen)
        except RuntimeError:
            raise ValueError(
                f"COURSE_DEVICE={chosen} is not a valid device; set it to cpu, cuda, cuda:1 or mps, or unset it"
            ) from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def is_out_of_memory(error: Exception) -> bool:
    """Whether the error means that a smaller batch may fit. Only CUDA has a type of its own for it; the others (MPS,
    the CPU's allocator, CUDA's libraries) raise a plain RuntimeError and say so in words."""
    words = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    told = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return told or isinstance(error, torch.OutOfMemoryError)


def keep_freed_memory() -> None:
    """From here on memory that tensors leave stays with this process, for the tensors of the next step.

    glibc gives every large block back to the system when it is freed and asks for it anew a moment later; the system
    then fills the new pages with zeros. That took a sixth of a training step and two fifths of a prediction (lite0,
    128 px, a virtual machine of two cores). Nothing happens where the C library is another. Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
