"""Work on many files in processes of their own: a decoder that crashes or hangs costs one file, not the run."""

import itertools
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any

LIMIT_SECONDS = 60.0  # the largest picture that is read at all takes a few


class Lost(str):
    """Why there is no answer: the process died, or took too long."""


def answers(
    function: Callable[..., Any], tasks: Iterable[tuple], *, processes: int, seconds: float = LIMIT_SECONDS
) -> Iterator[tuple[tuple, Any]]:
    """(task, function(*task)) for every task, in the order in which they are done; `Lost` for one that killed its
    process or took longer than `seconds`. The function is one of a module, and it raises nothing.

    Raises RuntimeError when a process cannot even start.
    """
    queue = iter(tasks)
    busy: dict[Connection, _Child] = {}
    try:
        for _ in range(processes):
            _start(None, function, queue, busy)
        while busy:
            patience = min(child.late_at for child in busy.values()) - monotonic()
            ready = wait(list(busy), timeout=None if patience == math.inf else max(0.0, patience))
            late = [link for link, child in busy.items() if monotonic() > child.late_at and link not in ready]
            for link in [*ready, *late]:
                child = busy[link]
                if not child.ready:
                    child.begin(seconds)
                    continue
                del busy[link]
                task = child.task
                answer = Lost(f"it takes more than {seconds:g} seconds") if link in late else child.answer()
                if isinstance(answer, Lost):
                    child.end()
                    child = None
                _start(child, function, queue, busy, seconds)
                yield task, answer
    finally:
        for child in busy.values():
            child.end()


def _start(child: "_Child | None", function: Callable, queue: Iterator[tuple], busy: dict, seconds: float = 0) -> None:
    """The next task goes to `child`, or to a new one; where there is none, it ends."""
    for task in itertools.islice(queue, 1):
        child = child or _Child(function)
        child.ask(task, seconds)
        busy[child.link] = child
        return
    if child:
        child.end()


class _Child:
    """A process that answers one task at a time. Its clock runs from when it is ready: starting takes long at times."""

    def __init__(self, function: Callable[..., Any]):
        context = multiprocessing.get_context("spawn")  # a fork would inherit locks that other threads hold
        self.link, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.task, self.late_at, self.ready = (), math.inf, False

    def begin(self, seconds: float) -> None:
        """Its first message has come: it is ready, and works on what it was asked."""
        if isinstance(said := self.answer(), Lost):
            raise RuntimeError(f"a process to read pictures cannot start: {said}")
        self.ready, self.late_at = True, monotonic() + seconds

    def ask(self, task: tuple, seconds: float) -> None:
        self.task, self.late_at = task, monotonic() + seconds if self.ready else math.inf
        with suppress(OSError):  # it has died meanwhile: `answer` says so
            self.link.send(task)

    def answer(self) -> Any:
        try:
            return self.link.recv()
        except (EOFError, OSError):
            self.process.join(5)
            return Lost(f"it ends the process that reads it ({_ending(self.process.exitcode)})")

    def end(self) -> None:
        self.link.close()
        self.process.kill()
        self.process.join()
        self.process.close()


def _ending(code: int | None) -> str:
    with suppress(ValueError):
        return signal.Signals(-(code or 0)).name
    return f"exit status {code}"


def _serve(function: Callable[..., Any], link: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the decoders' own warnings
    with suppress(EOFError, OSError):
        link.send("ready")
        while True:
            link.send(function(*link.recv()))
