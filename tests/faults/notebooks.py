"""Every lesson under every fault: it runs to its end, or stops with one short message, and the user's files stay.

    python -m tests.faults --long notebooks                 all lessons under all faults (`make faults LONG=notebooks`)
    python -m tests.faults --long notebooks --names 03 04   only these lessons
    python -m tests.faults --long notebooks --missing       only what was never tried

The faults are real: each lesson runs in namespaces of its own (`unshare`), where the data folder is mounted read-only
or on a small disk that is full, or where no network is. Linux only.
"""

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

import data_setup
from data_setup.base.folders import ensure
from tests.faults.case import tree
from tests.faults.doses import Tally
from tests.faults.meetings import FAULTS, WALK, Ran, keep, ran_from, read_kept, tally_of
from tests.faults.page import write_page
from tests.faults.small_course import FACTS, RARE, put_rare, small_set
from tools.execute import Failure, execute
from tools.notebook_files import ROOT, code_cells, find_notebooks, read_notebook

ROOM = 4096  # bytes that a full disk has left
CELL_S = 240
SET_FLAGS, IS_UP = 0x8914, 1  # Linux: SIOCSIFFLAGS, IFF_UP
NOTES = r"^(?:note: |no checkpoint: |.*NOT saved).*$"


def can_run() -> bool:
    """Whether this machine lets a program have a file system and a network of its own."""
    command = [*spaces("no network"), "true"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


def spaces(fault: str) -> list[str]:
    """The command that gives a program its own mounts, and for that fault its own network, which leads nowhere."""
    own = ["--mount", *(["--net"] if fault == "no network" else [])]
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), *own]


class Course:
    """A small copy of the course in `folder`: the photographs, and the data folder as each lesson finds it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lessons = find_notebooks()
        texts = [*self.lessons, *(ROOT / "helpers" / "lessons").rglob("*.py")]
        self.parts = small_set(data_setup.prepare("solar"), folder / "small" / "solar", texts)

    def home_before(self, lesson: str) -> Path:
        """The data folder as the lessons before this one leave it; made by `walk`, else empty."""
        return self.folder / "before" / lesson

    def run(self, lesson: str, fault: str, home: Path, *, die_at: str = "") -> Ran:
        """Run a lesson in namespaces of its own on the data folder `home`."""
        scratch = Path(tempfile.mkdtemp(prefix=f"{lesson[:3]}-", dir=self.folder))
        settings = {"COURSE_DATA": str(home), "COURSE_PROGRESS": "off", "COURSE_PRECISION": "float32"}
        settings |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        wish = {"small": str(self.folder / "small" / "solar"), "log": str(scratch / "log"), "die_at": die_at}
        wish |= {"has_rare": fault == "one-picture class"}
        numbers = {"1608": self.parts["train"], "161": self.parts["train"] // 2, "536": self.parts["valid"]}
        task = {"lesson": lesson, "fault": fault, "home": str(home), "wish": wish, "numbers": numbers}
        (scratch / "task.json").write_text(json.dumps(task))
        command = [*spaces(fault), sys.executable, "-m", "tests.faults.notebooks", str(scratch)]
        done = subprocess.run(command, env=os.environ | settings, cwd=ROOT, capture_output=True, text=True)
        answer = scratch / "answer.json"
        if not answer.is_file():
            raise RuntimeError(f"{lesson} under {fault} could not be run: {done.stderr[-2000:]}")
        found, log = json.loads(answer.read_text()), scratch / "log"
        found["writes"] = log.read_text().splitlines() if log.is_file() else []
        shutil.rmtree(scratch)
        return ran_from(found)

    def walk(self, last: str) -> Iterator[Ran]:
        """The lessons in order up to `last`, without a network and without a GPU; keeps the data folder as it is
        before each."""
        home = self.folder / "home"
        self.lay_out(home)
        for path in self.lessons:
            shutil.copytree(home, self.home_before(path.stem))
            yield self.run(path.stem, WALK, home)
            if path.stem == last:
                return

    def lay_out(self, home: Path) -> None:
        """A data folder with the photographs, and nothing else."""

        def build(staging: Path) -> dict:
            shutil.copytree(self.folder / "small" / "solar", staging, dirs_exist_ok=True)
            return json.loads((self.folder / "small" / FACTS).read_text(encoding="utf-8"))

        ensure(home / "solar", build)

    def under(self, lesson: str, fault: str, *, killed: tuple[str, str] = ("", "")) -> Ran:
        """A lesson under a fault, on a copy of its data folder. `killed`: the lesson before, and the file in whose
        saving it is killed."""
        home = self.folder / "homes" / f"{lesson}-{fault}".replace(" ", "-")
        before, saved = killed
        start = self.home_before(before or lesson)
        if fault == "no data yet":
            home.mkdir(parents=True)
        elif start.is_dir():
            shutil.copytree(start, home)
        else:
            self.lay_out(home)
        try:
            if before:
                ran = self.run(before, fault, home, die_at=saved)
                if "kernel died" not in ran.error or not list(home.rglob(".*.tmp")):
                    raise RuntimeError(f"{before} was not killed in saving {saved}: {ran}")
            return self.run(lesson, fault, home)
        finally:
            shutil.rmtree(home)


def saved_by(ran: Ran) -> str:
    """The file in whose saving it hurts most to be killed: the last model, or else the last file at all."""
    names = [Path(written).name for written in ran.writes]
    models = [name for name in names if name.startswith("course-")]
    return (models or names or [""])[-1]


def hold(folder: Path, wanted: Sequence[tuple[str, str]]) -> Iterator[Ran | str]:
    """The meetings (lesson, fault) that are wanted: first all lessons on the way to the last of them, then each under
    its other faults, two at a time. A meeting that could not be held gives the reason."""
    course, savers, found = Course(folder), [], SimpleQueue()
    for ran in course.walk(max(lesson for lesson, _ in wanted)):
        savers += [(ran.lesson, saved_by(ran))] if ran.writes else []
        yield ran

    def under(pair: tuple[str, str]) -> None:
        earlier = [saver for saver in savers if saver[0] < pair[0]] or savers[:1]  # of the first lesson: itself
        try:
            found.put(course.under(*pair, killed=earlier[-1] if pair[1] == "killed predecessor" else ("", "")))
        except (RuntimeError, IndexError) as error:
            found.put(f"{pair}: {error}")

    pairs = [pair for pair in wanted if pair[1] != WALK]
    pool = ThreadPoolExecutor(2)
    try:
        pool.map(under, pairs)
        for _ in pairs:
            yield found.get()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt ends those that run, and begins no other


def lessons(names: Sequence[str] = (), *, missing: bool = False) -> Tally:
    """All meetings of the lessons `names` (default: all), or those `missing`; each is written down as it comes.
    Returns what is known of all meetings."""
    every = [path.stem for path in find_notebooks()]
    chosen = [path.stem for path in find_notebooks(names)]
    kept, not_held = read_kept(), Counter()
    wanted = [(lesson, fault) for lesson in chosen for fault in FAULTS if not (missing and (lesson, fault) in kept)]
    with tempfile.TemporaryDirectory() as folder:
        for ran in hold(Path(folder), wanted) if wanted else ():
            if isinstance(ran, str):
                not_held["not held"] += 1
                print(ran, file=sys.stderr, flush=True)
                continue
            print(ran.end, ran, flush=True)
            kept = keep(ran)
            write_page("notebooks", tally_of(kept.values(), every))
    tally = tally_of(kept.values(), every)
    tally.foreign += not_held
    return tally


def inside(scratch: Path) -> None:
    """In the namespaces: bring the fault about, run the lesson, write down what came of it."""
    task = json.loads((scratch / "task.json").read_text())
    lesson, fault, home = task["lesson"], task["fault"], Path(task["home"])
    bring_about(fault, home)
    [path] = find_notebooks([lesson])
    notebook = read_notebook(path)
    for cell in code_cells(notebook):
        for number, smaller in task["numbers"].items():
            cell.source = re.sub(rf"\b{number}\b", str(smaller), cell.source)
    begin = f"from tests.faults.small_course import begin\n\nbegin(**{task['wish']!r})"
    notebook.cells.insert(0, new_code_cell(begin))
    work = scratch / "work"
    work.mkdir()
    (work / "mine.txt").write_text("mine")
    before = {folder: tree(folder) for folder in (home / "solar", work) if folder.is_dir()}
    started = time.perf_counter()
    failure = execute(notebook, work, cell_timeout_s=CELL_S).failure
    seconds = time.perf_counter() - started
    ran = Ran(
        lesson,
        fault,
        round(seconds, 1),
        cell=failure.cell - 1 if failure else None,  # without the one that was put before
        error=error_of(notebook, failure).replace(str(home), "DATA") if failure else "",
        lost=tuple(changed(before, home) + damaged(home)),
        warned=printed(notebook, "stderr")[-2000:],
        notes=tuple(re.findall(NOTES, printed(notebook, "stdout").replace(str(home), "DATA"), flags=re.MULTILINE)),
    )
    (scratch / "answer.json").write_text(json.dumps(asdict(ran)))


def error_of(notebook: NotebookNode, failure: Failure) -> str:
    """The error as the lesson shows it below its traceback; what the runner says where there is none."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "error"]
    return f"{outputs[-1].ename}: {outputs[-1].evalue}" if outputs else failure.error


def printed(notebook: NotebookNode, stream: str) -> str:
    """All that the cells wrote to "stdout" or "stderr"."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "stream"]
    return "".join(output.text for output in outputs if output.name == stream)


def changed(before: dict[Path, dict[str, str]], home: Path) -> list[str]:
    """The user's files that are gone or not what they were; what is no part of a set may have been put aside."""
    found, anywhere = [], set(tree(home).values())
    for folder, files in before.items():
        after = tree(folder)
        for name, digest in files.items():
            is_kept = digest in anywhere if name.endswith(RARE) else after.get(name) == digest
            found += [] if is_kept else [f"{folder.name}/{name}"]
    return found


def bring_about(fault: str, home: Path) -> None:
    """The fault, as far as it is one of this machine's."""
    if fault == "no network":  # the way to the kernel is local
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket.fileno(), SET_FLAGS, struct.pack("16sh", b"lo", IS_UP))
    elif fault == "read-only data":
        subprocess.run(["mount", "--bind", home, home], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
    elif fault == "one-picture class":
        put_rare(home / "solar", home / "solar" / "train")
    elif fault == "full disk":
        aside = home.with_name(f"{home.name}-aside")
        home.rename(aside)
        home.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", home], check=True)
        shutil.copytree(aside, home, dirs_exist_ok=True)
        shutil.rmtree(aside)
        disk = os.statvfs(home)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        subprocess.run(["mount", "-o", f"remount,size={used + ROOM}", home], check=True)


def damaged(home: Path) -> list[str]:
    """Files below `home` that lie under their own names and are not whole."""
    from helpers.runtime.tensor_files import load_tensors

    found = []
    for path in home.rglob("*"):
        try:
            if path.suffix == ".safetensors":
                load_tensors(path)
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            found.append(f"{path.relative_to(home)}: {error}")
    return found


if __name__ == "__main__":
    inside(Path(sys.argv[1]))
