"""Starting contenders: one that stays and takes tasks in turn, or one from cold for a single task."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil

from tests.benchmarks.memory import watched
from tests.benchmarks.work import Work

ROOT = Path(__file__).resolve().parents[2]
# the same for all; waiting threads soon sleep, which is the better setting for loops with workers on few cores
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000", "COURSE_PROGRESS": "off", "HF_HUB_OFFLINE": "1",
    "PYTHONHASHSEED": "0",
}  # fmt: skip

ENDS_IN_S, ENDS_AFTER_ERROR_IN_S = 20, 2  # then it is killed: one that is asked nothing more ends in less than a second


class Failed(RuntimeError):
    """A contender raised; the message is its traceback."""


class Worker:
    """A contender's process."""

    def __init__(self, name: str, work: Work):
        self.name, self.spawned = name, perf_counter()
        command = [sys.executable, "-m", "tests.benchmarks.worker", name, json.dumps(asdict(work))]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.import_s: float | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, error: type[BaseException] | None, *_) -> None:
        """End the process with all that it has started; one that is still at work after an error is not waited for."""
        children = self._children()
        try:
            with suppress(BrokenPipeError):  # it has ended already
                self.process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=ENDS_AFTER_ERROR_IN_S if error else ENDS_IN_S)
        finally:  # also when the wait is interrupted
            self.process.kill()
            self.process.wait()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self.process.stdout.close()

    def _children(self) -> list[psutil.Process]:
        """All that descend from the process; none when it has ended."""
        with suppress(psutil.NoSuchProcess):
            if self.process.poll() is None:
                return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def run(self, task: str, seed: int) -> dict:
        """Seconds and counts of one task; raises Failed."""
        with suppress(BrokenPipeError):  # a process that has ended gives no answer, and that is reported
            self.process.stdin.write(json.dumps({"task": task, "seed": seed}) + "\n")
            self.process.stdin.flush()
        self.ready()
        return self._answer()

    def ready(self) -> None:
        """Wait until it has imported what it needs."""
        if self.import_s is None:
            self.import_s = self._answer()["import_s"]

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"its process ended with {self.process.wait()}"}
        if answer["error"]:
            raise Failed(f"{self.name}: {answer['error']}")
        return answer


def run_cold(name: str, work: Work, task: str, seed: int) -> dict:
    """One task from the start of the process to its answer: seconds as a person waits for them, and the peak memory."""
    with Worker(name, work) as worker:
        worker.ready()  # only to bring its packages into the operating system's cache
    with Worker(name, work) as worker, watched(worker.process.pid) as peak:
        answer = worker.run(task, seed)
        answer["task_s"], answer["seconds"] = answer["seconds"], perf_counter() - worker.spawned
        answer["import_s"] = worker.import_s
    return answer | {"peak_mib": peak.mib}


def run_script(code: str, arguments: Iterable[str] = ()) -> dict:
    """A few lines of Python from the start of the process to its end, nothing cached."""
    with TemporaryDirectory(prefix="bench-") as caches:
        environment = os.environ | ENVIRONMENT | {"COURSE_DATA": caches}
        started = perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        seconds = perf_counter() - started
    if done.returncode:
        raise Failed(done.stderr)
    return {"seconds": seconds}
