"""Rows 39 and 40: whatever the kit writes, at every single write the disk may be full.

Each doing is done once to count its writes, then once for each of them with that one failing: it ends in an error that
says what to do, or it goes on without what it could not keep. Nothing half lies there afterwards, and the same doing,
with room again, gives what it would have given.
"""

import os
import shutil
from pathlib import Path

import pytest

from data_setup.__main__ import main
from data_setup.check import command as checking
from helpers.data.dataset import ImageData
from helpers.export import bundle
from helpers.learner import Learner
from helpers.models import features
from helpers.review.mark_file import read_marks
from helpers.review.rows import Row
from helpers.review.session import Review
from helpers.runtime import tensor_files
from helpers.training import loop
from tests.faults.case import tree

WRITES = {  # whose -> (name, which argument is the place that is written)
    Path: {"write_bytes": 0, "write_text": 0, "replace": 1, "rename": 1, "mkdir": 0, "open": 0},
    shutil: {"copyfile": 1},
    os: {"fsync": None},
    tensor_files: {"save_file": 1},
}


def failing_writes(patch, below, fail_at):
    """From now on write number `fail_at` below the folder finds the disk full; the list of writes grows."""
    calls = []

    def guard(owner, name, place):
        function = getattr(owner, name)

        def counted(*args, **keywords):
            mode = keywords.get("mode", args[1] if len(args) > 1 else "r") if name == "open" else "w"
            is_new = name != "mkdir" or not args[0].is_dir()
            where = below if place is None else Path(args[place])
            if set(mode) & set("wxa+") and is_new and where.is_relative_to(below):
                calls.append(f"{name} {where.name}")
                if len(calls) - 1 == fail_at:
                    raise OSError(28, "No space left on device", str(where))
            return function(*args, **keywords)

        patch.setattr(owner, name, counted)

    for owner, names in WRITES.items():
        for name, place in names.items():
            guard(owner, name, place)
    return calls


def half_files(folder):
    """What was begun and not finished."""
    return [path for path in folder.rglob("*") if path.suffix == ".tmp" or ".staging-" in path.name]


def every_failure(monkeypatch, tmp_path, doing, wanted, *, start=lambda home: None):
    """`doing(home)` once whole, then with each of its writes failing: yields a function for each of them.

    wanted: what it must be seen to write with.  start: puts into the empty home what lies there before.
    """
    home = tmp_path / "home"

    def fresh():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        start(home)

    monkeypatch.setenv("COURSE_DATA", str(home))
    fresh()
    with monkeypatch.context() as patch:
        calls = failing_writes(patch, home, -1)
        whole = doing(home)
    assert wanted <= {call.split()[0] for call in calls}, calls
    for fail_at in range(len(calls)):
        fresh()
        with monkeypatch.context() as patch:
            failing_writes(patch, home, fail_at)
            yield lambda: doing(home)
        assert half_files(home) == [], calls[fail_at]
        assert doing(home) == whole, calls[fail_at]


def data_of(pictures):
    return ImageData.from_folders(pictures, size=32)


@pytest.fixture
def decoded(case, pictures, course_data):
    """Data whose pixels are at hand; its pictures must stay as they are."""
    case.watch(pictures)
    data = data_of(pictures)
    assert len(data.store)
    return data


def small_learner(data, home, **settings):
    return Learner.pretrained(data, "test_resnet", pretrained=False, path=home / "models", **settings)


@pytest.mark.fault(39, 40)
def test_pixels(case, pictures, tmp_path, monkeypatch):
    """Catches half a store of pixels that the next session takes for whole."""
    case.watch(pictures)
    doing = lambda home: data_of(pictures).store.flat.sum().item()  # noqa: E731
    for failing in every_failure(monkeypatch, tmp_path, doing, {"open", "fsync", "replace", "write_text"}):
        with case.clear(tmp_path / "home", remedy="set COURSE_DATA to a folder on another disk"):
            failing()


@pytest.mark.fault(39, 56)
def test_features(case, decoded, tmp_path, monkeypatch, capsys):
    """Catches a training that ends because a cache cannot be kept, and half a cache."""

    def doing(home):
        return small_learner(decoded, home).features("train").sum().item()

    for failing in every_failure(monkeypatch, tmp_path, doing, {"mkdir", "save_file", "fsync", "replace"}):
        capsys.readouterr()
        features._noted.clear()  # as in another session
        with case.right():
            assert failing() and capsys.readouterr().out.count("note: these features are not kept") == 1


@pytest.mark.fault(37, 39)
def test_checkpoints(case, decoded, tmp_path, monkeypatch, capsys):
    """Catches a training that ends because its checkpoint cannot be kept."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)

    def doing(home):
        learn = small_learner(decoded, home, precompute=False)
        learn.fit(1e-3, 2)
        return learn.predict().tolist()

    for failing in every_failure(monkeypatch, tmp_path, doing, {"mkdir", "save_file", "fsync", "replace"}):
        capsys.readouterr()
        with case.right():
            assert failing() and capsys.readouterr().out.count("no checkpoint: ") >= 1


@pytest.mark.fault(39)
def test_exports(case, decoded, tmp_path, monkeypatch):
    """Catches an export that is half the new one and half the old one."""
    learn = small_learner(decoded, tmp_path)
    monkeypatch.setattr(bundle, "write_onnx", lambda model, file, images: file.write_bytes(b"onnx") or 0.0)
    older = bundle.export(learn, tmp_path / "older")

    def doing(home):
        return bundle.load_exported(bundle.export(learn, home / "export"))[1]["classes"]

    needed = {"mkdir", "write_bytes", "write_text", "copyfile", "open", "fsync", "rename"}
    start = lambda home: shutil.copytree(older, home / "export")  # noqa: E731
    for failing in every_failure(monkeypatch, tmp_path, doing, needed, start=start):
        with case.clear(tmp_path / "home", remedy="choose another folder"):
            failing()
        assert bundle.load_exported(tmp_path / "home" / "export")[0] is not None


@pytest.mark.fault(39, 61)
def test_marks(case, pictures, tmp_path, monkeypatch):
    """Catches a mark that was made while the disk was full, and is gone."""
    case.watch(pictures)
    rows = [Row(path.name, path, path.parent.name, "train") for path in sorted(pictures.rglob("*.png"))[:3]]

    def doing(home):
        review = Review(rows, ("dark", "light"), save_to=home / "marks.csv")
        problems = []
        for row in rows:
            review.mark(row.name, "unsure")
            problems.append(review.file.problem)
        review.mark(rows[0].name, "right")  # there is room again
        assert len(read_marks(home / "marks.csv")) == len(rows)
        return sum("NOT saved" in problem for problem in problems)

    failures = every_failure(monkeypatch, tmp_path, doing, {"write_bytes", "fsync", "replace"})
    for number, failing in enumerate(failures):
        with case.right():
            assert failing() == 1 or number > 8  # the last mark's own writes


@pytest.mark.fault(39)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("command", ["split", "check", "shard"])
def test_commands(case, pictures, tmp_path, monkeypatch, capsys, command):
    """Catches "Errno 28" without a word of what to do, and half a file."""
    case.watch(pictures)
    report = checking.check_folder(pictures)
    monkeypatch.setattr(checking, "check_folder", lambda *args, **keywords: report)  # reading writes nothing
    monkeypatch.setattr(checking, "processes", lambda: 1)

    def doing(home):
        out = home / ("split.json" if command == "split" else "out")
        status = main([command, str(pictures), "--out", str(out)])
        made = tree(home)
        return status, {name: digest for name, digest in made.items() if Path(name).suffix in (".json", ".tar")}

    for failing in every_failure(monkeypatch, tmp_path, doing, {"open", "fsync", "replace"}):
        capsys.readouterr()
        status, _ = failing()
        case.check_printed(status, capsys.readouterr().err, tmp_path / "home", remedy="another f")
