"""Run one notebook on a fresh kernel, watch its time and memory, and say precisely where it failed."""

import asyncio
import atexit
import os
import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

CELL_TIMEOUT_S = 1800
START_TIMEOUT_S = 300  # the first kernel of a new environment compiles its modules
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Failure:
    """The code cell at which a notebook stopped."""

    cell: int  # number among the code cells, from 1: the number in its brackets
    source: str
    error: str  # what went wrong, in one or a few lines

    def __str__(self) -> str:
        lines = self.source.strip().splitlines()
        shown = [f"    | {line}" for line in lines[:6] + ["..."] * (len(lines) > 6)]
        return "\n".join([f"code cell [{self.cell}]:", *shown, *(f"    {line}" for line in self.error.splitlines())])


@dataclass(frozen=True)
class Outcome:
    """How one execution went."""

    seconds: float
    processor_seconds: float  # user and system time of the kernel and its children; two busy cores make 2 s of 1 s
    peak_bytes: int  # most memory that the kernel and its children held at once
    cells: int
    by_cell: tuple[float, ...]  # processor-seconds of each code cell that ran
    failure: Failure | None = None

    @property
    def longest_cell(self) -> tuple[int, float]:
        """(number, from 1, processor-seconds) of the code cell that computed longest; (0, 0.0) when none ran."""
        return max(enumerate(self.by_cell, start=1), key=lambda pair: pair[1], default=(0, 0.0))


def execute(
    notebook: NotebookNode,
    folder: Path,
    *,
    watch: Callable[[int, int, float], None] = lambda cell, cells, seconds: None,
    cell_timeout_s: int = CELL_TIMEOUT_S,
) -> Outcome:
    """Run all cells in `folder` on a fresh kernel; their outputs are written into `notebook`.

    A failing cell is reported, not raised. `watch(cell, cells, seconds)` is called twice a second meanwhile.
    """
    numbers = {id(cell): number for number, cell in enumerate(_runnable(notebook), start=1)}
    at = [1, ""]  # number and source of the cell that runs
    began: list[float] = []  # the kernel's processor-seconds when each cell began
    ended: list[float] = []  # and when it ended
    client = NotebookClient(
        notebook,
        timeout=cell_timeout_s,
        startup_timeout=START_TIMEOUT_S,
        kernel_name="python3",
        coalesce_streams=True,
        extra_arguments=["--log-level=40"],  # its warnings are for servers
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )

    def started(cell: NotebookNode, cell_index: int) -> None:
        if id(cell) in numbers:
            at[:] = [numbers[id(cell)], cell.source]
            began.append(_processor_seconds(client))

    client.on_cell_start = started
    client.on_cell_executed = lambda **_: ended.append(_processor_seconds(client))
    begin, peak_bytes = time.monotonic(), 0
    with ThreadPoolExecutor(1) as pool:  # in a thread, so that Ctrl-C comes here and ends the whole run
        ending = pool.submit(_run_to_the_end, client, at)
        while not ending.done():
            try:
                peak_bytes = max(peak_bytes, sum(_memory(process) for process in _kernel_processes(client)))
                watch(at[0], len(numbers), time.monotonic() - begin)
                time.sleep(LOOK_EVERY_S)
            except KeyboardInterrupt:
                for process in _kernel_processes(client):
                    process.kill()
                raise
    # a cell in which the kernel died has a beginning only
    failure, seconds = ending.result(), time.monotonic() - begin
    by_cell = tuple(after - before for before, after in zip(began, ended, strict=False))
    return Outcome(seconds, max(began + ended, default=0.0), peak_bytes, len(numbers), by_cell, failure)


def kernel_environment(profile: str) -> dict[str, str]:
    """This process's environment, without anybody's own IPython start-up files and without progress bars."""
    ours = {"IPYTHONDIR": profile, "COURSE_PROGRESS": "off", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return os.environ | ours


def _runnable(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def _run_to_the_end(client: NotebookClient, at: list) -> Failure | None:
    """Execute all cells; None, or what went wrong in the cell that `at` names by then."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        try:
            asyncio.run(client.async_execute(env=kernel_environment(profile)))
        except CellExecutionError as error:
            return Failure(*at, _reason(error))
        except CellTimeoutError:
            return Failure(*at, f"the cell was still running after {client.timeout} s and was stopped")
        except DeadKernelError:
            return Failure(*at, "the kernel died; most often the system ended it because memory ran out")
        except (RuntimeError, OSError) as error:  # OSError: no room for the file that says how to reach it
            return Failure(*at, f"the kernel did not start: {error}")
        finally:
            atexit.unregister(client._cleanup_kernel)  # nbclient leaves it when a kernel does not start
    return None


def _reason(error: CellExecutionError) -> str:
    """The exception, after the line of the cell that raised it where IPython marks one."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
    arrows = re.findall(r"^-+>\s*\d+ .*$", plain, flags=re.MULTILINE)
    return "\n".join([*arrows[:1], f"{error.ename}: {error.evalue}"])


def _kernel_processes(client: NotebookClient) -> list[psutil.Process]:
    """The kernel and everything it has started."""
    pid = getattr(getattr(client.km, "provisioner", None), "pid", None)
    try:
        kernel = psutil.Process(pid) if pid else None
        return [kernel, *kernel.children(recursive=True)] if kernel else []
    except psutil.NoSuchProcess:  # it ended while we looked
        return []


def _processor_seconds(client: NotebookClient) -> float:
    """User and system time so far, with that of children that have ended."""
    return sum(_times(process) for process in _kernel_processes(client))


def _times(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:4])  # user, system, and both of the children that it has waited for
    except psutil.Error:
        return 0.0


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
