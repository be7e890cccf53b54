"""Where and how things run: device, precision, seeds, and small safety nets every module shares."""

import difflib
import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def pick_device() -> torch.device:
    """CUDA if there is one, else Apple's MPS, else the CPU; the environment variable COURSE_DEVICE overrides."""
    if chosen := os.environ.get("COURSE_DEVICE"):
        return torch.device(chosen)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def fast_precision(device: torch.device) -> torch.dtype:
    """The fastest arithmetic that needs no loss scaler: bfloat16 where the processor has it built in, else float32.

    The processor is asked, not timed, so that the same machine always answers the same. A CPU that only emulates
    bfloat16 is up to a hundred times slower with it (pytorch issue 146508).
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and _cpu_has_bfloat16()
    return torch.bfloat16 if native else torch.float32


@functools.cache
def _cpu_has_bfloat16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):  # newer torch
        return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()


def seed_for(*parts: object) -> int:
    """A seed that depends on nothing but `parts`: the same on every machine, run and Python version."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU random generator seeded from `parts`. The global generator is never touched."""
    return torch.Generator().manual_seed(seed_for(*parts))


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Inside the block torch's global generators follow `parts` (dropout draws from them); after it they are as before."""
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def did_you_mean(function: Callable) -> Callable:
    """A misspelt keyword must fail, and say which one was meant."""
    parameters = inspect.signature(function).parameters

    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args, **keywords):
        for word in keywords:
            if word not in parameters:
                raise TypeError(f"{name}() has no keyword {word!r}; {closest(word, set(parameters) - {'self', 'cls'})}")
        return function(*args, **keywords)

    return checked
