"""Rows 41 to 46: model files that are damaged, hostile, or of something else."""

import io
import json
import os
import pickle
import runpy
import struct
import subprocess
import tarfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from helpers.data.dataset import ImageData
from helpers.export.bundle import load_exported
from helpers.learner import Learner
from tests.conftest import draw_pictures


def small_learner(data, arch="test_resnet"):
    return Learner.pretrained(data, arch, pretrained=False)


def data_of(folder, labels):
    draw_pictures(folder, n=4)
    for old, new in zip(("dark", "light"), labels, strict=True):
        (folder / old).rename(folder / new)
    return ImageData.from_folders(folder, size=32)


@pytest.mark.fault(41)
def test_a_model_of_another_architecture_is_refused_naming_both(case, data, learn):
    """Catches 1,854 letters of keys."""
    learn.save("model")
    case.watch(learn.path)
    with case.clear("model.safetensors holds arch test_resnet", "test_efficientnet", remedy="Build it as it was saved"):
        small_learner(data, "test_efficientnet").load("model")


@pytest.mark.fault(43)
@pytest.mark.parametrize("labels", [("dark", "lamp"), ("a", "b"), ("Dark", "Light")])
def test_other_classes_of_the_same_number_are_refused(case, learn, tmp_path, labels):
    """Catches a model that answers with other people's names."""
    learn.save("model")
    case.watch(learn.path)
    other = small_learner(data_of(tmp_path / "other", labels))
    with case.clear("model.safetensors", "['dark', 'light']", labels[0], remedy="Build it as it was saved"):
        other.load("model")


@pytest.mark.fault(42)
def test_another_number_of_classes_is_refused_with_the_names(case, learn, tmp_path):
    """Catches a size mismatch without a file and without names."""
    learn.save("model")
    case.watch(learn.path)
    draw_pictures(tmp_path / "other", n=4)
    draw_pictures(tmp_path / "more", n=4)
    (tmp_path / "more" / "dark").rename(tmp_path / "other" / "third")
    other = ImageData.from_folders(tmp_path / "other", size=32)
    with case.clear("model.safetensors", "['dark', 'light']", "third", remedy="Build it as it was saved"):
        small_learner(other).load("model")


@pytest.mark.fault(44)
@pytest.mark.parametrize("place", ["header", "weights", "cut", "longer"])
def test_a_damaged_model_is_refused(case, learn, place):
    """Catches wrong numbers that load without a word: 81 % of flipped bits in a plain safetensors file."""
    file = learn.save("model")
    content = bytearray(file.read_bytes())
    if place == "cut":
        del content[-3:]
    elif place == "longer":
        content += b"\0"
    else:
        content[{"header": 40, "weights": -400}[place]] ^= 4
    file.write_bytes(content)
    case.watch(learn.path)
    with case.clear(file, remedy="delete it and save again"):
        learn.load("model")


# Code in files -------------------------------------------------------------------------------------------------


class Calls:
    """Unpickling it calls `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


def hostile(trap):
    """Name -> bytes of a file that makes `trap` when it is unpickled, in as many ways as are in use."""
    code = f"open({str(trap)!r}, 'w').close()"
    plain = pickle.dumps(Calls(Path.touch, trap), protocol=2)
    script = trap.with_name("script.py")
    script.write_text(code)
    chain = Calls(getattr, Calls(__import__, "builtins"), "exec")
    zipped, legacy, nested = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", plain)
        archive.writestr("archive/version", "3\n")
    with tarfile.open(fileobj=legacy, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = len(plain)
            archive.addfile(info, io.BytesIO(plain))
    torch.save({"weights": Calls(Path.touch, trap)}, nested)
    return {
        "touch": plain,
        "os.system": pickle.dumps(Calls(os.system, f"touch '{trap}'")),
        "exec": pickle.dumps(Calls(exec, code)),
        "eval": pickle.dumps(Calls(eval, code)),
        "a chain through getattr": pickle.dumps([chain, Calls(exec, code)]),
        "subprocess": pickle.dumps(Calls(subprocess.call, ["touch", str(trap)])),
        "runpy": pickle.dumps(Calls(runpy.run_path, str(script))),
        "protocol 0": pickle.dumps(Calls(Path.touch, trap), protocol=0),
        "protocol 5": pickle.dumps(Calls(Path.touch, trap), protocol=5),
        "torch zip": zipped.getvalue(),
        "torch tar": legacy.getvalue(),
        "torch.save": nested.getvalue(),
    }


KINDS = ("touch", "os.system", "exec", "eval", "a chain through getattr", "subprocess", "runpy", "protocol 0")
KINDS += ("protocol 5", "torch zip", "torch tar", "torch.save")


@pytest.mark.fault(45)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_pickle_gets_nowhere(case, data, learn, tmp_path, monkeypatch, capsys, kind):
    """Catches any door that unpickles: models, checkpoints, exports, marks, caches and packaged weights."""
    from data_setup import weights
    from helpers.review.session import Review

    trap = tmp_path / "trap" / "it ran"
    trap.parent.mkdir()
    content = hostile(trap)[kind]
    with suppress(Exception):  # the loader that the trap is made for
        torch.load(io.BytesIO(content), weights_only=False) if kind.startswith("torch") else pickle.loads(content)
    assert trap.exists() or kind == "torch tar", "the trap works"
    trap.unlink(missing_ok=True)
    export = tmp_path / "export"
    export.mkdir()
    marks = tmp_path / "marks.csv"
    for file in (learn.path / "model.safetensors", learn.path / "model.checkpoint.safetensors"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for file in (export / "model.json", export / "model.safetensors", marks):
        file.write_bytes(content)
    case.watch(learn.path)
    case.watch(export)
    with case.clear("model.safetensors", remedy="delete it and save again"):
        learn.load("model")
    for door in (
        lambda: learn.fit(1e-3, 1, resume=True),
        lambda: load_exported(export),
        lambda: Review([], save_to=marks),
    ):
        with pytest.raises((ValueError, OSError)) as caught:
            door()
        case.check_words(caught.value, remedy="")
    caches = [file for file in (tmp_path / "data" / "cache").rglob("*") if file.is_file()]
    learn.source()
    for file in [*caches, *(tmp_path / "data" / "cache" / "features").glob("*")]:
        file.write_bytes(content)
    small_learner(ImageData.from_folders(tmp_path / "pictures", size=32)).source()
    fake = tmp_path / "weights.pth"
    fake.write_bytes(content)
    monkeypatch.setattr(weights, "weights_path", lambda arch: fake)
    with suppress(Exception):
        weights.load_packaged("efficientnet_lite0")
    assert not trap.exists()


def safetensors_file(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


FLOAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HEADERS = {
    "claims 2^63 bytes": struct.pack("<Q", 1 << 63) + b"{}",
    "claims 100 MB": struct.pack("<Q", 99_999_999) + b"{}",
    "100,000 entries": safetensors_file({f"t{i}": FLOAT for i in range(100_000)}, bytes(4)),
    "overlap": safetensors_file({"a": FLOAT, "b": FLOAT}, bytes(4)),
    "hole": safetensors_file({"a": {**FLOAT, "data_offsets": [4, 8]}}, bytes(8)),
    "behind the end": safetensors_file({"a": {**FLOAT, "data_offsets": [0, 1 << 60]}}, bytes(4)),
    "negative": safetensors_file({"a": {**FLOAT, "data_offsets": [-4, 0]}}, bytes(4)),
    "shape too large": safetensors_file({"a": {**FLOAT, "shape": [1 << 40, 1 << 40]}}, bytes(4)),
    "no such type": safetensors_file({"a": {**FLOAT, "dtype": "PICKLE"}}, bytes(4)),
    "not UTF-8": safetensors_file(b'{"\xff": 1}'),
    "deep": safetensors_file(b"[" * 200_000),
    "a list": safetensors_file(b"[]"),
    "metadata that is no text": safetensors_file({"__metadata__": {"about": 1}, "a": FLOAT}, bytes(4)),
    "about is no object": safetensors_file({"__metadata__": {"about": "[]", "sha256": "0"}, "a": FLOAT}, bytes(4)),
    "empty": b"",
    "eight bytes": bytes(8),
}


@pytest.mark.fault(46)
@pytest.mark.parametrize("kind", HEADERS)
def test_a_hostile_header_is_refused_at_once(case, learn, kind):
    """Catches memory for what a file claims, a walk through 100,000 entries, and a foreign error."""
    file = learn.path / "model.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(HEADERS[kind])
    case.watch(learn.path)
    started = time.monotonic()
    with case.clear(file, remedy="delete it and save again"):
        learn.load("model")
    assert time.monotonic() - started < 5
