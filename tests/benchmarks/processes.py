"""Starting contenders: one that stays and takes tasks in turn, or one from cold for a single task."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from tests.benchmarks.memory import watched
from tests.benchmarks.work import Work

ROOT = Path(__file__).resolve().parents[2]
# the same for all; waiting threads sleep, which is the better setting for loops with workers on few cores
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "COURSE_PROGRESS": "off", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}


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

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def run(self, task: str, seed: int) -> dict:
        """Seconds and counts of one task; raises Failed."""
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
