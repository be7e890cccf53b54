"""Every row in turn. The row's file is written after each measurement: an interrupted bench goes on where it was."""

import json
import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter, strftime

from data_setup.base.files import write_atomically
from tests.benchmarks import tuning
from tests.benchmarks.processes import Failed, Worker, run_cold, run_script
from tests.benchmarks.rounds import AGAIN, OURS, order
from tests.benchmarks.rows import SCRIPTS, Row
from tests.benchmarks.work import Counts, Work, assert_equal_work, assert_same_start, expected_counts


class Bench:
    """Runs rows and keeps their records in `folder`, one JSON file a row."""

    def __init__(self, folder: Path, base: Work, *, quick: bool = False):
        self.folder, self.base, self.quick = folder, base, quick
        self.pool, self.workers, self.given = ExitStack(), {}, None  # processes, and what they were given
        self.warm: set[tuple[str, str]] = set()  # (row, contender) whose process has done the task before

    def run(self, rows: Sequence[Row]) -> list[dict]:
        """The records of all rows; what is on disk already is not measured again."""
        records = []
        with self.pool:
            for row in rows:
                started = perf_counter()
                records.append(self.record(row))
                say(f"{row.key}: {(perf_counter() - started) / 60:.1f} minutes")
        return records

    # One row -------------------------------------------------------------------------------------------------

    def record(self, row: Row) -> dict:
        work = self.work_of(row)
        file = self.folder / f"{row.key}.json"
        record = self.begun(row, work, file)
        self.read_all(work)
        names = [OURS, AGAIN, *row.contenders[1:]]
        rounds_before = len(record["rounds"])
        if self.given != (given := (work.digest(), record["tuning"], row.kind)):  # else the last row's go on
            self.pool.close()
            self.workers, self.given, self.warm = {}, given, set()
        if row.kind == "warm" and rounds_before < row.rounds:
            started = {name: self.worker(name, self.own(work, name, record["tuning"])) for name in names}
            for name, worker in started.items():  # all import at once, and nobody is measured beside that
                try:
                    worker.ready()
                except Failed as error:
                    self.leave_out(name, error, record)
        for number in range(rounds_before, row.rounds):
            say(f"{row.key}: {row.title} · round {number + 1} of {row.rounds}")
            self.round(row, work, names, number, record, file)
        return record

    def begun(self, row: Row, work: Work, file: Path) -> dict:
        """The record on disk if it is of this very work, else a new one."""
        asked = {
            "key": row.key, "title": row.title, "task": row.task, "kind": row.kind, "note": row.note,
            "targets": row.targets, "least": row.least, "memory_targets": row.memory_targets,
        }  # fmt: skip
        digest = "-".join([work.digest(), row.task, row.kind, *row.contenders])
        if file.exists():
            record = json.loads(file.read_text())
            if record["work_digest"] == digest and record["machine"] == machine():
                return record | asked
        return asked | {
            "work_digest": digest, "work": asdict(work), "n_valid": work.count("valid"),
            "machine": machine(), "tuning": self.tuning_of(row, work), "rounds": [], "begun": {}, "starts": [],
            "failed": {},
        }  # fmt: skip

    def round(self, row: Row, work: Work, names: list[str], number: int, record: dict, file: Path) -> None:
        """Measure what is missing of one round. A contender that fails is left out from then on, and told."""
        done = record["begun"]  # {contender: what it did}
        record["starts"].append({"when": strftime("%Y-%m-%dT%H:%M:%S"), "load": round(os.getloadavg()[0], 2)})
        for name in order(names, number):
            if name in record["failed"] or name in done:
                continue
            try:
                done[name] = self.measure(row, work, name, number, record["tuning"])
            except Failed as error:
                self.leave_out(name, error, record)
                continue
            say(f"  {name:<15} {done[name]['seconds']:8.2f} s")
            self.write(file, record)
        counted = {name: answer["counts"] for name, answer in done.items() if "counts" in answer}
        assert_same_start({name: counts["started_from"] for name, counts in counted.items()})
        record["rounds"].append(done)
        record["begun"] = {}
        self.write(file, record)

    def leave_out(self, name: str, error: Failed, record: dict) -> None:
        """From now on, and say why."""
        record["failed"][name] = str(error)[-600:]
        say(f"  {name} failed: {str(error).strip().splitlines()[-1]}")
        self.workers.pop(name, None)

    def measure(self, row: Row, work: Work, name: str, seed: int, tuned: dict) -> dict:
        contender = OURS if name == AGAIN else name
        if row.kind == "script":
            folder = str(self.folder / f"{row.key}.png")
            return run_script(SCRIPTS[row.task, contender], [str(self.files_of(work)), folder])
        own = self.own(work, name, tuned)
        if row.kind == "cold":
            answer = run_cold(contender, own, row.task, seed)
        else:
            worker = self.worker(name, own)
            if row.warm_up and (row.key, name) not in self.warm:
                worker.run(row.task, seed)
                self.warm.add((row.key, name))
            answer = worker.run(row.task, seed)
        counts = Counts(**answer["counts"])
        assert_equal_work(name, self.expected(row.task, work), counts, allowed_for(contender, row.task))
        return answer

    def own(self, work: Work, name: str, tuned: dict) -> Work:
        """The row's work as this contender is given it: tuned, and from files of ours only for the others."""
        contender = OURS if name == AGAIN else name
        return replace(work, presized="" if contender.startswith(OURS) else work.presized, **tuned.get(contender, {}))

    def expected(self, task: str, work: Work) -> dict[str, int]:
        """Counts from the network itself, not from a contender."""
        from helpers.models.classifier import build_classifier

        model = build_classifier(work.arch, len(work.classes), size=work.size_px, pretrained=False)
        head, everything = (sum(p.numel() for p in part.parameters()) for part in (model.head, model))
        return expected_counts(task, work, head=head, everything=everything)

    # Processes -----------------------------------------------------------------------------------------------

    def worker(self, name: str, work: Work) -> Worker:
        """The contender's process; it lives until a row gives it other work."""
        if name not in self.workers:
            contender = OURS if name == AGAIN else name
            self.workers[name] = self.pool.enter_context(Worker(contender, work))
        return self.workers[name]

    # Work ----------------------------------------------------------------------------------------------------

    def work_of(self, row: Row) -> Work:
        """The bench's work with what is the row's own; random weights when an architecture's are not on this disk."""
        work = replace(self.base, **{"limit": self.base.limit, **row.work})
        if self.base.limit and work.limit:
            work = replace(work, limit=min(work.limit, self.base.limit))
        if not has_weights(work.arch):
            work = replace(work, pretrained=False)
        return replace(work, presized=str(self.presized(work))) if work.presized else work

    def presized(self, work: Work) -> Path:
        """Every picture as our cache holds it, in files that need no decoding (BMP)."""
        from PIL import Image

        from data_setup.base.pictures import presize, read_image

        folder = self.folder / f"presized-{work.presize_px}"
        for item in replace(work, presized="").split[0]:
            target = folder / f"{item.name.replace('/', '-')}.bmp"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                pixels = presize(read_image(item.path), work.presize_px)
                Image.fromarray(pixels.transpose(1, 2, 0).squeeze()).save(target)
        return folder

    def tuning_of(self, row: Row, work: Work) -> dict:
        """Measured once for an architecture and a size; for the data alone apart from training."""
        if row.kind == "script":
            return {}
        if self.quick:
            return tuning.usual(work)
        what = "data" if row.task in tuning.DATA_TASKS else work.arch
        file = self.folder / f"tuning-{what}-{work.size_px}.json"
        if not file.exists():
            say(f"tuning the peers: {what}, {work.size_px} px")
            self.write(file, tuning.tuned(replace(work, presized=""), row.task))
        return json.loads(file.read_text())

    def read_all(self, work: Work) -> None:
        """Every file once, so that all contenders find the operating system's cache warm."""
        for files in work.parts.values():
            for path, _ in files:
                path.read_bytes()

    def files_of(self, work: Work) -> Path:
        import data_setup

        return data_setup.prepare(work.data)

    def write(self, file: Path, content: dict) -> None:
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(content, indent=1))


def allowed_for(name: str, task: str) -> dict:
    """fastai's default trains the BatchNorm layers of a frozen body: more parameters, and that is told."""
    if name == "fastai default" and task == "head_epochs":
        return {"trained_parameters": lambda found, wanted: found >= wanted}
    return {}


def has_weights(arch: str) -> bool:
    """Packaged, or in torch's cache: a bench downloads nothing."""
    import torch

    from data_setup.weights import PACKAGED

    return arch in PACKAGED or any((Path(torch.hub.get_dir()) / "checkpoints").glob(f"{arch}-*"))


def machine() -> dict:
    """What a record is compared by. Processors of one name may know other instructions ("AMD EPYC" is several)."""
    import torch

    from helpers.runtime.precision import has_bfloat16

    name = next((line.split(":")[1].strip() for line in cpuinfo() if line.startswith("model name")), platform.machine())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    instructions = torch.backends.cpu.get_cpu_capability() + ", bfloat16" * has_bfloat16(torch.device("cpu"))
    instructions += ", as asked for" * ("ATEN_CPU_CAPABILITY" in os.environ)  # its processor knows more
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    return {"cpu": name, "instructions": instructions, "cores": os.cpu_count(), "gpu": gpu} | versions


def cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


def say(text: str) -> None:
    print(text, flush=True)
