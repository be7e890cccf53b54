"""Which device computes, what its errors mean, and how its memory and threads wait for the next step."""

import ctypes
import functools
import os
import sys
import threading

import torch
from torch import Tensor

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # as malloc.h has them


def pick_device() -> torch.device:
    """CUDA if there is one, else Apple's MPS, else the CPU; the environment variable COURSE_DEVICE overrides."""
    cuda = f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"  # a launcher's: one each
    chosen = os.environ.get("COURSE_DEVICE", "")
    chosen = cuda if chosen == "cuda" else chosen
    if not chosen:
        best = cuda if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError):  # no such word, no such card, or a torch without it
        fix = "set it to cpu, cuda, cuda:1 or mps, or unset it"
        raise ValueError(f"COURSE_DEVICE={chosen} is not a device of this machine; {fix}") from None
    return torch.device(chosen)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the error means that a smaller batch may fit: MPS, the CPU and CUDA's libraries say so only in words."""
    words = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; to a GPU through pinned memory, so that the copy does not hold up the program."""
    if device.type == "cuda" and not tensor.is_cuda:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def place_for(n_bytes: int, device: torch.device) -> torch.device:
    """`device` if it is a CUDA device on which this takes at most 40 % of the free memory, else the CPU."""
    fits = device.type == "cuda" and n_bytes <= 0.4 * torch.cuda.mem_get_info(device)[0]
    return device if fits else torch.device("cpu")


def make_ready(device: torch.device) -> None:
    """What makes steps of this process fast on `device`; every `Learner` asks for it. On CUDA float32 products are
    TF32, as cuDNN's convolutions are anyway; cuDNN's search (`benchmark`) changed no step on an H100 and stays off."""
    if device.type == "cpu":
        keep_freed_memory()
    elif device.type == "cuda":
        torch.set_float32_matmul_precision("high")


@functools.cache  # once per process
def keep_freed_memory() -> None:
    """From here on memory that tensors leave stays with this process (mallopt(3)).

    glibc gives each large block back and asks for it anew a moment later, and the system fills the new pages with
    zeros: a fifth of a training step, two fifths of a prediction (lite0, 128 px, two cores). Others are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@functools.cache
def let_waiting_threads_sleep() -> None:
    """For a process that loaded torch before OMP_WAIT_POLICY=PASSIVE was set: from here on idle threads sleep, too.

    GNU's OpenMP reads the variable only while it is loaded, but stops threads from spinning when there are more than
    processors (libgomp, `gomp_throttled_spin_count_var`). So a second pool of threads is made here, and kept: on two
    cores beside other programs 40 steps of training took 7 s instead of 55.
    """
    made = threading.Event()

    def hold_a_pool() -> None:
        torch.ones(1_000_000).add_(1)  # large enough for all threads
        made.set()
        threading.Event().wait()  # for ever

    threading.Thread(target=hold_a_pool, name="second OpenMP pool", daemon=True).start()
    made.wait()
