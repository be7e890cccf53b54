"""Which device computes, what its errors mean, and how its memory and threads wait for the next step."""

import ctypes
import functools
import os
import statistics
import sys
import threading
import time

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


@functools.cache  # once per process
def keep_freed_memory() -> None:
    """From here on memory that tensors leave stays with this process for the next step. Every `Learner` asks for it.

    glibc gives every large block back to the system when it is freed and asks for it anew a moment later; the system
    then fills the new pages with zeros. That took a sixth of a training step and two fifths of a prediction (lite0,
    128 px, a virtual machine of two cores). Nothing happens where the C library is another. Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@functools.cache
def let_waiting_threads_sleep() -> None:
    """For a process that loaded torch before OMP_WAIT_POLICY=PASSIVE was set: from here on idle threads sleep, too.

    GNU's OpenMP reads the variable only while it is loaded; later it still stops threads from spinning as soon as
    there are more of them than processors (libgomp, `gomp_throttled_spin_count_var`). So a second pool of threads is
    made here, and kept: on two cores beside other programs 40 steps of training took 7 s instead of 55.
    """
    made, never = threading.Event(), threading.Event()

    def hold_a_pool() -> None:
        torch.ones(1_000_000).add_(1)  # large enough for all threads
        made.set()
        never.wait()

    threading.Thread(target=hold_a_pool, name="second OpenMP pool", daemon=True).start()
    made.wait()


def spinning_ms() -> float:
    """Processor time in ms that this process burns while it waits for 20 ms: near 0 where idle threads sleep."""
    numbers, burnt = torch.ones(1_000_000), []
    for _ in range(5):
        numbers.add_(1)  # by all threads, which then have nothing to do
        started = time.process_time()
        time.sleep(0.02)
        burnt.append(1000 * (time.process_time() - started))
    return statistics.median(burnt)
