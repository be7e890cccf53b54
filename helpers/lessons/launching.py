"""A function in several processes of this machine, started from a notebook by the launcher behind the command torchrun.

A new process knows nothing of the notebook: a function written there travels as text, and imports what it uses.

`notebook_launcher` of the package accelerate calls the same launcher, but its processes are copies of the notebook
(fork; of 1.15, only on AMD's and Intel's graphics cards are they new ones). A copy takes over locks without the
threads that held them, and cannot use a graphics card that the notebook has used: so this module asks for new ones.
"""

import importlib
import inspect
import logging
import os
import runpy
import signal
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

LOOPBACK = {"linux": "lo", "darwin": "lo0"}  # the network card that leads back to this machine, by its name there
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")  # whose handlers the launcher replaces


def launch(function: Callable, *arguments, n: int = 2) -> list:
    """What `function(*arguments)` returns in each of `n` new processes, in the order of their ranks.

    First it prints what each of them has printed. When one of them ends without a word, the launcher ends the others;
    then that is said, and the list holds None for each. An exception in one of them is raised here as RuntimeError.
    Arguments and results are numbers, texts, and lists or dicts of them.
    """
    with tempfile.TemporaryDirectory(prefix="ranks-", ignore_cleanup_errors=True) as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=n,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            start_method="spawn",
            logs_specs=DefaultLogsSpecs(log_dir=str(Path(folder) / "logs"), redirects=Std.ALL),
        )
        place = _place_of(function, Path(folder))
        try:
            with _as_before():
                results = elastic_launch(config, _run_rank)(folder, place, function.__name__, arguments)
        except ChildFailedError:
            results = None
        _print_by_rank(Path(folder), n)
        errors = sorted(Path(folder).glob("error-*.txt"), key=lambda file: file.stat().st_mtime_ns)
        if errors:
            rank = errors[0].stem.partition("-")[2]
            raise RuntimeError(f"rank {rank} stopped:\n{errors[0].read_text(encoding='utf-8')}")
    if results is None:
        print("a rank ended without a word, so the launcher ended the others: nothing comes back")
        return [None] * n
    return [results[rank] for rank in range(n)]


def stay_on_this_machine() -> None:
    """Ranks of this process talk through the loopback: the machine's own name may lead nowhere."""
    if sys.platform in LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])


def _place_of(function: Callable, folder: Path) -> str:
    """Where a new process finds the function: its module, or a file with its text when the notebook holds it."""
    if function.__module__ != "__main__":
        return function.__module__
    file = folder / "from_the_notebook.py"
    file.write_text(inspect.getsource(function), encoding="utf-8")
    return str(file)


def _run_rank(folder: str, place: str, name: str, arguments: tuple):
    """What each process does."""
    rank, n = (int(os.environ[word]) for word in ("RANK", "WORLD_SIZE"))
    stay_on_this_machine()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // n))
    found = runpy.run_path(place) if place.endswith(".py") else vars(importlib.import_module(place))
    try:
        with Path(folder, f"printed-{rank}.txt").open("w", encoding="utf-8", buffering=1) as sys.stdout:
            return found[name](*arguments)
    except Exception as error:
        if not _lost_another(error):
            Path(folder, f"error-{rank}.txt").write_text(traceback.format_exc(limit=-2), encoding="utf-8")
        raise
    finally:
        sys.stdout = sys.__stdout__


def _lost_another(error: Exception) -> bool:
    """Whether a rank stopped only because another one was gone in the middle of an exchange."""
    return isinstance(error, DistError) or "gloo" in str(error)


def _print_by_rank(folder: Path, n: int) -> None:
    for rank in range(n):
        file = folder / f"printed-{rank}.txt"
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            print(f"rank {rank}: {line}")


@contextmanager
def _as_before() -> Iterator[None]:
    """The launcher's own messages are left out, and what it does to this process's signals is undone."""
    logs = [logging.getLogger(name) for name in ("torch.distributed.elastic", "torch.multiprocessing.spawn")]
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    handlers, levels = {number: signal.getsignal(number) for number in numbers}, [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
