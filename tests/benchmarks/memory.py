"""Peak memory of a whole process tree, workers included.

What processes share (pages after a fork, a mapped file) counts once: the kernel's proportional set size (PSS). On
systems without it: the sum of the resident sizes. Of it the anonymous part has no file behind it: pages of a mapped
file the system can drop, these it must keep.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

MIB = 1024**2
EVERY_S = 0.25


def tree_mib(pid: int, kind: str = "Pss") -> float:
    """Memory of a process and all that descend from it, now; with "Pss_Anon" the anonymous part."""
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        return sum(process_mib(process, kind) for process in (root, *root.children(recursive=True)))
    return 0.0


def process_mib(process: psutil.Process, kind: str = "Pss") -> float:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024
    except (OSError, StopIteration):
        with suppress(psutil.Error):
            return process.memory_info().rss / MIB
    return 0.0


class Peak:
    """The highest values seen so far, in MiB: of all memory, and of its anonymous part."""

    mib, anonymous_mib = 0.0, 0.0


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """Looks at the tree of `pid` four times a second while the block runs."""
    peak, done = Peak(), threading.Event()

    def look() -> None:
        while not done.is_set():
            peak.mib = max(peak.mib, tree_mib(pid))
            peak.anonymous_mib = max(peak.anonymous_mib, tree_mib(pid, "Pss_Anon"))
            done.wait(EVERY_S)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
