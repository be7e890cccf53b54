"""Equal work is asserted, not promised: counts of what passed the model, weights at the start, memory of the tree."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep
from types import SimpleNamespace

import psutil
import pytest
import torch
from PIL import Image

from data_setup.items import Item, label_by_folder
from data_setup.splits import Split, split_stratified
from helpers.models.classifier import Body, build_classifier
from tests.benchmarks import bench as bench_module
from tests.benchmarks import floors, growth, memory, processes, rows
from tests.benchmarks.bench import Bench, allowed_for
from tests.benchmarks.contenders import CONTENDERS, load
from tests.benchmarks.processes import Failed
from tests.benchmarks.work import (
    TASKS,
    Counts,
    UnequalWork,
    Work,
    assert_equal_work,
    assert_same_start,
    expected_counts,
    limited,
)
from tests.benchmarks.worker import empty_caches
from tests.conftest import draw_pictures

HEAD, EVERYTHING = 10, 100


@pytest.fixture
def work(tmp_path, course_data):
    """24 drawn pictures, 18 of them to train, for a small network with random weights."""
    draw_pictures(tmp_path / "pictures", n=12)
    items = label_by_folder(tmp_path / "pictures")
    work = Work(arch="test_resnet", pretrained=False, size_px=32, batch_size=8, workers=0)
    work.__dict__["split"] = items, split_stratified(items, valid_frac=0.25, seed=0)
    return work


def counts(**changed) -> Counts:
    return Counts(**{"trained_on": 18, "validated": 6, "steps": 3, "trained_parameters": EVERYTHING} | changed)


def test_equal_counts_pass(work):
    assert_equal_work("plain", expected_counts("epoch", work, head=HEAD, everything=EVERYTHING), counts())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trained_on": 16}, "plain: trained on 16, and the work is 18"),  # a loader that drops the last batch
        ({"validated": 0}, "plain: validated 0, and the work is 6"),
        ({"steps": 2}, "plain: steps 2, and the work is 3"),
        ({"trained_parameters": HEAD}, "plain: trained parameters 10, and the work is 100"),
    ],
)
def test_less_work_is_refused(work, changed, message):
    with pytest.raises(UnequalWork, match=message):
        assert_equal_work("plain", expected_counts("epoch", work, head=HEAD, everything=EVERYTHING), counts(**changed))


def test_only_fastais_default_may_train_batchnorm_below_a_frozen_head(work):
    expected = expected_counts("head_epochs", work, head=HEAD, everything=EVERYTHING)
    done = Counts(**expected | {"trained_parameters": HEAD + 5})
    assert_equal_work("fastai default", expected, done, allowed_for("fastai default", "head_epochs"))
    with pytest.raises(UnequalWork, match="trained parameters 15"):
        assert_equal_work("fastai tuned", expected, done, allowed_for("fastai tuned", "head_epochs"))
    with pytest.raises(UnequalWork, match="trained parameters 9"):
        done.trained_parameters = HEAD - 1
        assert_equal_work("fastai default", expected, done, allowed_for("fastai default", "head_epochs"))


def test_other_weights_at_the_start_are_refused():
    assert_same_start({"ours": "ab", "plain": "ab"})
    with pytest.raises(UnequalWork, match="'plain': 'cd'"):
        assert_same_start({"ours": "ab", "plain": "cd"})


def test_a_peer_gets_timms_layers_and_the_same_network(work):
    """Catches a peer that is as fast as this kit because it trains this kit's layers, or one that begins elsewhere."""
    work = replace(work, arch="efficientnet_lite0")
    peer, model = load("plain", work), build_classifier("efficientnet_lite0", 2, size=32, pretrained=False, seed=0)
    theirs = peer.new_model()
    of_body = {type(layer).__module__.split(".")[0] for layer in theirs.body.modules() if not isinstance(layer, Body)}
    assert of_body == {"timm", "torch"}
    assert [name for name, _ in theirs.named_parameters()] == [name for name, _ in model.named_parameters()]
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(theirs.eval()(images), model.eval()(images), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "task"),
    [("ours", task) for task in TASKS]
    + [("plain", task) for task in ("batches", "head_epochs", "fine_tune", "tta", "step")]
    + [("timm", task) for task in ("decode", "epoch")],
)
def test_contenders_do_what_the_counts_say(work, name, task, capsys):
    """Catches counts that nobody could reach, and a contender that skips or repeats pictures."""
    contender = load(name, work)
    contender.begin(task, 0)()
    model = load("plain", work).new_model()
    head, everything = (sum(p.numel() for p in part.parameters()) for part in (model.head, model))
    assert_equal_work(name, expected_counts(task, work, head=head, everything=everything), contender.counts)


@pytest.mark.parametrize("name", rows.FORCED)
def test_a_forced_contender_computes_in_its_precision(name, work, monkeypatch):
    """Catches a column that says float32 and shows what the timing has chosen."""
    monkeypatch.setenv("COURSE_PRECISION", "")
    learn = load(name, work).learner(load("ours", work).data())
    assert {learn.precision, learn.prediction_precision} == {getattr(torch, name.split()[1])}


def test_floors_are_found_in_three_arithmetics(work, monkeypatch, capsys):
    """Catches a command that ends in an AttributeError, and three times of one arithmetic under three names."""
    monkeypatch.setenv("COURSE_PRECISION", "bfloat16")
    monkeypatch.setattr("tests.benchmarks.contenders.ours.STEPS", 1)  # bfloat16 may be emulated
    real, seen = floors.seconds_of, []

    def watched(ours, task, repeats):
        if task in ours.kept and task == "step":
            with ours.kept[task][0].autocast as mode:
                seen.append((type(mode).__name__, (torch.ones(2, 2) @ torch.ones(2, 2)).dtype))
        return real(ours, task, repeats)

    monkeypatch.setattr(floors, "seconds_of", watched)
    found = floors.report(work, {"float32 GFLOP/s": 100.0, "bfloat16 GFLOP/s": 200.0, "copy GB/s": 10.0})
    plain, mixed = ("OnCPU", torch.float32), ("OnCPU", torch.bfloat16)
    assert seen == [plain, ("autocast", torch.bfloat16), mixed] * 3
    assert list(found["step_s"]) == ["float32", "bfloat16 alone", "mixed"] and min(found["step_s"].values()) > 0
    assert found["model_ms"] == pytest.approx(found["arithmetic_ms"] + found["traffic_ms"])
    assert sum(found["profile"].values()) == pytest.approx(1)


def test_a_process_does_the_task_once_before_it_counts(work, tmp_path, capsys, monkeypatch):
    """Catches seconds of a first epoch, and a second warm-up in the next round."""
    asked = []
    monkeypatch.setattr(FakeWorker, "started", [])
    monkeypatch.setattr(FakeWorker, "ended", [])
    monkeypatch.setattr(FakeWorker, "run", lambda self, *task: asked.append(task) or self.answer)
    monkeypatch.setattr(bench_module, "Worker", FakeWorker)
    monkeypatch.setattr(bench_module, "assert_equal_work", lambda *_: None)
    (record,) = TunedByRow(tmp_path, work).run([replace(ROW, contenders=("ours",), rounds=2, warm_up=True)])
    assert asked == [("epoch", 0)] * 4 + [("epoch", 1)] * 2
    assert [len(done) for done in record["rounds"]] == [2, 2]


def test_a_training_that_goes_on_is_counted_anew(work, capsys):
    contender = load("plain", work)
    for _ in range(2):
        contender.begin("epoch", 0)()
        assert contender.counts.trained_on == 18
        assert contender.counts.started_from


def test_all_begin_with_the_same_weights_and_another_seed_with_others(work):
    starts = {}
    for name in ("ours", "plain", "timm"):
        contender = load(name, work)
        contender.begin("tta", 3)
        starts[name] = contender.counts.started_from
    assert_same_start(starts)
    other = load("plain", work)
    other.begin("tta", 4)
    assert other.counts.started_from != starts["plain"]


def test_the_digest_is_of_the_work_and_not_of_the_tuning(work):
    def like(**changed) -> str:
        other = replace(work, **changed)
        other.__dict__["split"] = work.split
        return other.digest()

    assert like(workers=4, train_bf16=True) == work.digest()
    assert len({work.digest(), like(size_px=64), like(batch_size=4), like(max_zoom=1.2)}) == 4


def test_fewer_pictures_keep_the_proportions_and_are_spread():
    """Catches the first pictures of a sorted list: all of one kind."""
    items = [Item(f"{label}{i:03d}", None, label) for label, n in (("a", 90), ("b", 30)) for i in range(n)]
    names = [item.name for item in items]
    split = Split(train=tuple(sorted(names[::2])), valid=tuple(sorted(names[1::2])))
    chosen_items, chosen = limited(items, split, 32)
    assert [sum(name[0] == label for name in chosen.train) for label in "ab"] == [18, 6]
    assert [sum(name[0] == label for name in chosen.valid) for label in "ab"] == [6, 2]
    assert max(name for name in chosen.train if name[0] == "a") > "a080"
    assert {item.name for item in chosen_items} == {*chosen.train, *chosen.valid}


# Rows and records ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [(*rows.FULL, *rows.EXTRA), rows.QUICK, rows.GPU])
def test_rows_name_what_exists(listed):
    assert len({row.key for row in listed}) == len(listed)
    for row in listed:
        assert row.contenders[0] == "ours"
        assert set(row.least) <= set(row.contenders)
        if row.kind == "script":
            assert all((row.task, name) in rows.SCRIPTS for name in row.contenders)
        else:
            assert set(row.contenders) <= set(CONTENDERS)
            assert row.task in TASKS
            replace(Work(), **row.work)


@pytest.mark.parametrize(
    ("task", "name"), [("first_picture", "ours"), ("first_picture", "bare torch"), ("first_batch", "ours")]
)
def test_our_scripts_show_pictures(task, name, work, tmp_path, monkeypatch):
    """Catches a name of the package that has changed since the benchmark was written."""
    shutil.copytree(tmp_path / "pictures", tmp_path / "set" / "train")
    shutil.copytree(tmp_path / "pictures", tmp_path / "set" / "valid")
    figure = tmp_path / "figure.png"
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "set"), str(figure)])
    exec(rows.SCRIPTS[task, name], {})  # noqa: S102
    with Image.open(figure) as written:
        assert written.width > 100


def test_growth_is_drawn():
    points = [
        {
            "pictures": n,
            "size_px": 96,
            "seconds": dict.fromkeys(growth.STAGES, n / 100),
            **dict.fromkeys(growth.MEMORY, n),
        }
        for n in (100, 1000)
    ]
    drawing = growth.draw(points, "pictures")
    assert len(drawing.figure.axes[0].lines) == len(growth.STAGES)
    assert "against pictures" in drawing.text


def test_a_cold_start_finds_nothing_but_what_is_timed_once_a_machine(tmp_path, monkeypatch):
    """Catches seconds of timing the precision in every cold row, and pixels of an earlier run."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    (tmp_path / "cache" / "pixels").mkdir(parents=True)
    (tmp_path / "cache" / "timings.json").write_text("{}")
    (tmp_path / "cache" / "pixels" / "k.u8").write_bytes(b"1")
    with empty_caches():
        folder = Path(os.environ["COURSE_DATA"])
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["timings.json"]
    assert os.environ["COURSE_DATA"] == str(tmp_path)


class Interrupted(Exception):
    pass


class FakeBench(Bench):
    """Answers without processes; stops at the measurement number `stop_at`."""

    def __init__(self, folder, work, stop_at=10**9):
        super().__init__(folder, work, quick=True)
        self.asked, self.stop_at = [], stop_at

    def work_of(self, row):
        return self.base

    def worker(self, name, work):
        """No process is started."""
        return SimpleNamespace(ready=lambda: self.imports(name))

    def imports(self, name):
        """At once."""

    def measure(self, row, work, name, seed, tuned):
        self.asked.append((name, seed))
        if len(self.asked) == self.stop_at:
            raise Interrupted
        if name == "lightning":
            raise Failed("Traceback\nValueError: no")
        return {"seconds": 1.0, "counts": {"started_from": "ab"}}


ROW = rows.Row("R", "a row", "epoch", ("ours", "plain", "lightning"), rounds=3, warm_up=False)


def test_an_interrupted_bench_goes_on_with_the_contender_it_was_at(work, tmp_path, capsys):
    """Catches a bench that begins again after two hours, or that takes records of other work for its own."""
    with pytest.raises(Interrupted):
        FakeBench(tmp_path, work, stop_at=7).run([ROW])
    bench = FakeBench(tmp_path, work)
    (record,) = bench.run([ROW])
    assert bench.asked == [("ours", 1), ("plain", 2), ("ours", 2), ("ours again", 2)]
    assert [sorted(done) for done in record["rounds"]] == [["ours", "ours again", "plain"]] * 3
    assert FakeBench(tmp_path, work).run([ROW]) == [record]
    other = replace(work, batch_size=4)
    other.__dict__["split"] = work.split
    again = FakeBench(tmp_path, other)
    again.run([ROW])
    assert {seed for _, seed in again.asked} == {0, 1, 2}


def test_a_contender_that_fails_is_left_out_and_told(work, tmp_path, capsys):
    bench = FakeBench(tmp_path, work)
    (record,) = bench.run([ROW])
    assert sum(name == "lightning" for name, _ in bench.asked) == 1
    assert "ValueError: no" in record["failed"]["lightning"]


def test_nobody_is_measured_beside_the_imports_of_others(work, tmp_path):
    """Catches a first contender that shares its cores with all that start (it took three times as long), and one that
    cannot be imported and ends the bench."""
    bench, imported = FakeBench(tmp_path, work), []

    def imports(name):
        assert bench.asked == []
        imported.append(name)
        if name == "plain":
            raise Failed("Traceback\nModuleNotFoundError: no such thing")

    bench.imports = imports
    (record,) = bench.run([ROW])
    assert imported == ["ours", "ours again", "plain", "lightning"]
    assert "plain" not in dict(bench.asked) and record["failed"]["plain"].endswith("no such thing")
    assert [sorted(done) for done in record["rounds"]] == [["ours", "ours again"]] * 3


class FakeWorker:
    """A process that answers at once; `started` and `ended` collect all of them."""

    started: list = []
    ended: list = []

    def __init__(self, name, work):
        self.name, self.work = name, work
        self.started.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.append(self)

    answer = {"seconds": 1.0, "counts": {"started_from": "ab"}}

    def ready(self):
        """At once."""

    def run(self, task, seed):
        return self.answer


class TunedByRow(FakeBench):
    """Row A tunes the plain loop otherwise than row B."""

    measure, worker = Bench.measure, Bench.worker

    def tuning_of(self, row, work):
        return {"plain": {"predict_bf16": row.key == "B"}}

    def expected(self, task, work):
        return {}


def test_a_peer_computes_in_the_precision_of_its_row(work, tmp_path, capsys, monkeypatch):
    """Catches a process that is kept from another row, and computes as it was told there."""
    monkeypatch.setattr(bench_module, "Worker", FakeWorker)
    monkeypatch.setattr(bench_module, "assert_equal_work", lambda *_: None)
    TunedByRow(tmp_path, work).run([replace(ROW, key=key, contenders=("ours", "plain")) for key in "AB"])
    assert [process.work.predict_bf16 for process in FakeWorker.started if process.name == "plain"] == [False, True]
    assert len(FakeWorker.started) == 6 and {*FakeWorker.ended} == {*FakeWorker.started}


# Processes -----------------------------------------------------------------------------------------------------

ANSWERS = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])  # a loader's worker
print(json.dumps({"import_s": 0.0, "error": ""}), flush=True)
for line in sys.stdin:
    task = json.loads(line)["task"]
    if task == "dies":
        break
    print(json.dumps({"child": child.pid, "error": ""}), flush=True)
    time.sleep(60 * (task == "stays"))
child.terminate()
"""


@pytest.fixture
def start(monkeypatch):
    """Worker(...) with a short script in place of a contender."""
    popen = subprocess.Popen
    monkeypatch.setattr(
        processes.subprocess, "Popen", lambda _, **settings: popen([sys.executable, "-c", ANSWERS], **settings)
    )
    monkeypatch.setattr(processes, "ENDS_AFTER_ERROR_IN_S", 0.2)
    return lambda: processes.Worker("ours", Work())


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("task", "error"), [("ends", None), ("ends", ValueError), ("stays", KeyboardInterrupt)])
def test_a_process_ends_with_its_block_and_so_does_what_it_started(start, task, error):
    """Catches open pipes, and workers of a contender that go on when the bench was interrupted."""
    with pytest.raises(error) if error else nullcontext(), start() as worker:
        child = worker.run(task, 0)["child"]
        assert is_alive(child)
        if error:
            raise error
    assert worker.process.returncode == (-signal.SIGKILL if task == "stays" else 0)
    killed_at = perf_counter()
    while is_alive(child) and perf_counter() < killed_at + 5:
        sleep(0.01)
    assert not is_alive(child)
    assert worker.process.stdin.closed and worker.process.stdout.closed


def test_a_process_that_has_ended_is_a_contender_that_failed(start):
    """Catches a broken pipe that ends the whole bench."""
    with start() as worker:
        for _ in range(2):
            with pytest.raises(Failed, match="ours: its process ended with 0"):
                worker.run("dies", 0)


# Memory --------------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_memory_counts_what_children_hold():
    """Catches a peak of the parent alone: loader workers hold the pictures.

    Watched is a small process, not this one: the kernel takes a large one's cold pages away at any moment.
    """
    holder = "import sys; held = b'x' * 80_000_000; print('ready', flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {holder!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-u", "-c", parent], **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        alone, with_child = memory.process_mib(psutil.Process(process.pid)), memory.tree_mib(process.pid)
        with memory.watched(process.pid) as peak:
            deadline = perf_counter() + 30
            while not peak.mib and perf_counter() < deadline:
                sleep(0.01)
    assert with_child - alone > 70
    assert peak.mib > alone + 70
    assert memory.tree_mib(process.pid) == 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_of_a_mapped_file_are_not_anonymous_memory(tmp_path):
    """Catches a cache in a file that counts as memory which the process cannot do without."""
    (tmp_path / "40 MB").write_bytes(bytes(40_000_000))
    opened = "import mmap, sys; file = open(sys.argv[1], 'r+b')"
    mapped = "pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); sum(pages[::4096])"
    copied = "held = file.read()"
    found = []
    for how in (mapped, copied):
        code = f"{opened}; {how}; print('ready', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", code, str(tmp_path / "40 MB")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            found.append([memory.tree_mib(process.pid, kind) for kind in ("Pss", "Pss_Anon")])
    (all_mapped, anonymous_mapped), (all_copied, anonymous_copied) = found
    assert min(all_mapped, all_copied) > 38 and anonymous_copied > anonymous_mapped + 35
