"""Where and how things run: device, precision, seeds, and small safety nets every module shares."""

import ctypes
import difflib
import functools
import glob
import hashlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # as malloc.h has them


def pick_device() -> torch.device:
    """CUDA if there is one, else Apple's MPS, else the CPU; the environment variable COURSE_DEVICE overrides."""
    if chosen := os.environ.get("COURSE_DEVICE"):
        try:
            return torch.device(chosen)
        except RuntimeError:
            raise ValueError(f"COURSE_DEVICE={chosen} is no device; set it to cpu, cuda or mps, or unset it") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


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


def seed_for(*parts: object) -> int:
    """A seed that depends on nothing but `parts`: the same on every machine, run and Python version."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU random generator seeded from `parts`. The global generator is never touched."""
    return torch.Generator().manual_seed(seed_for(*parts))


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Inside the block torch's global generators follow `parts` (dropout draws from them); then they are as before."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_for(*parts))
        yield


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary path; when the block ends well its file replaces `path`, else nothing has changed.

    A machine that dies in between leaves either the old file or the new one, never half of one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for litter in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of programs killed while they wrote
        with suppress(OSError):
            if time.time() - litter.stat().st_mtime > 86_400:
                litter.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def closest(word: str, choices: Iterable[str], *, most: int = 20) -> str:
    """ "did you mean 'x'?" when one of `choices` looks like `word`, else the first `most` choices."""
    choices = list(map(str, choices))
    near = difflib.get_close_matches(str(word), choices, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there is {', '.join(choices[:most])}"


def did_you_mean(function: Callable, forwards_to: Callable | None = None) -> Callable:
    """A misspelt keyword must fail, and say which one was meant; `forwards_to` takes what `**settings` collects."""
    takers = [function, forwards_to] if forwards_to else [function]
    parameters = {word: p for taker in takers for word, p in inspect.signature(taker).parameters.items()}
    known = [word for word, p in parameters.items() if p.kind != p.VAR_KEYWORD and word not in ("self", "cls")]
    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args, **keywords):
        for word in keywords:
            if word not in known:
                raise TypeError(f"{name}() has no keyword {word!r}; {closest(word, known)}")
        return function(*args, **keywords)

    return checked
