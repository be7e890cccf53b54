"""One contender in a process of its own. Reads commands as JSON lines, answers with JSON lines; prints go nowhere.

python -m tests.benchmarks.worker NAME WORK     (WORK: the fields of `Work` as JSON)
"""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

COLD = ("decode", "head_epochs", "fine_tune")  # from files: nothing of an earlier run may be on disk


def main(name: str, settings: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    contender, error = None, ""
    started = perf_counter()
    try:
        contender = load_contender(name, json.loads(settings))
    except Exception:
        error = traceback.format_exc()
    print(json.dumps({"import_s": perf_counter() - started, "error": error}), file=answers, flush=True)
    with empty_caches():
        for line in sys.stdin:
            print(json.dumps(perform(contender, **json.loads(line))), file=answers, flush=True)


def load_contender(name: str, settings: dict):
    from tests.benchmarks.contenders import load
    from tests.benchmarks.work import Work

    work = Work(**settings)
    assert work.parts  # the files are found before their folder changes
    return load(name, work)


@contextmanager
def empty_caches() -> Iterator[None]:
    """Inside the block this kit finds no pixels or activations of an earlier run.

    It does find what is timed once a machine, its fast precision: that of the peers is found before their rows, too.
    """
    before = os.environ.get("COURSE_DATA", "data")
    timed = Path(before) / "cache" / "timings.json"
    with TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        if timed.is_file():
            (Path(folder) / "cache").mkdir()
            shutil.copy(timed, Path(folder) / "cache")
        os.environ["COURSE_DATA"] = folder
        try:
            yield
        finally:
            os.environ["COURSE_DATA"] = before


def perform(contender, task: str, seed: int) -> dict:
    """Run a task once: its seconds, its counts, and the hash of the work; or the error."""
    try:
        with empty_caches() if task in COLD else nullcontext():
            timed = contender.begin(task, seed)
            contender.started, before = perf_counter(), processor_seconds()
            timed()
            synchronize(contender.device)
            seconds, used = perf_counter() - contender.started, processor_seconds() - before
    except Exception:
        return {"error": traceback.format_exc()}
    return {
        "seconds": seconds,
        "cpu_s": used,
        "counts": asdict(contender.counts),
        "work": contender.work.digest(),
        "error": "",
    }


def processor_seconds() -> float:
    """What this process and its loader workers, living or ended, have used of all cores."""
    import psutil

    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def synchronize(device) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize()


if __name__ == "__main__":
    main(*sys.argv[1:])
