"""Saved tensors: the same when read, refused when damaged, whole after any death, and never code."""

import ast
import io
import json
import os
import pickle
import random
import re
import signal
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import helpers
from helpers.runtime import tensor_files as checkpoints
from helpers.runtime.tensor_files import load_tensors, save_tensors

ROOT = Path(helpers.__file__).parents[1]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs fork, SIGKILL and limits")
DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]  # fmt: skip


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.equal(other)


# Round trip ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (7,), (2, 3, 4), (2, 3, 4, 5)], ids=str)
def test_every_tensor_comes_back_bit_for_bit(tmp_path, dtype, shape):
    """Catches a lost 0-d tensor (BatchNorm's counter), an empty one that fails, and a dtype that is widened."""
    tensor = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 100 - 50).to(dtype)
    save_tensors(tmp_path / "a.safetensors", {"x": tensor}, {})
    (tensors, about) = load_tensors(tmp_path / "a.safetensors")
    assert list(tensors) == ["x"] and same(tensors["x"], tensor) and about == {}


def test_layout_in_memory_does_not_matter(tmp_path):
    """Catches channels_last, transposed and strided tensors written in the order of their memory."""
    x = torch.arange(120.0).view(2, 3, 4, 5)
    odd = {
        "channels_last": x.to(memory_format=torch.channels_last),
        "transposed": x.transpose(0, 3),
        "strided": x[:, ::2, 1:, ::3],
        "expanded": torch.tensor([3.0]).expand(4),
        "parameter": torch.nn.Parameter(x),
    }
    save_tensors(tmp_path / "a.safetensors", odd, {})
    tensors, _ = load_tensors(tmp_path / "a.safetensors")
    assert all(same(tensors[name], odd[name].detach()) for name in odd)


def test_values_that_are_no_numbers_come_back(tmp_path):
    """Catches a check that compares values: nan is not equal to itself."""
    tensor = torch.tensor([float("nan"), float("inf"), -0.0])
    save_tensors(tmp_path / "a.safetensors", {"x": tensor}, {})
    assert torch.equal(load_tensors(tmp_path / "a.safetensors")[0]["x"].view(torch.int32), tensor.view(torch.int32))


@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_every_description_comes_back(tmp_path_factory, value):
    """Catches class names that a header cannot hold."""
    path = tmp_path_factory.getbasetemp() / "about.safetensors"
    save_tensors(path, {"é \n": torch.zeros(1)}, {"value": value})
    tensors, about = load_tensors(path)
    assert about == {"value": value} and list(tensors) == ["é \n"]


def test_others_can_read_what_was_saved(tmp_path):
    """Catches a private format under safetensors' name."""
    from safetensors.torch import load_file

    save_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3.0)}, {"classes": ["a"]})
    assert load_file(tmp_path / "a.safetensors")["x"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_loaded_tensor_survives_the_file_being_saved_over(tmp_path):
    """Catches tensors that still look into the file: saving would change the model that was loaded from it."""
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.ones(1000)}, {})
    tensors, _ = load_tensors(path)
    save_tensors(path, {"x": torch.zeros(1000)}, {})
    assert tensors["x"].sum() == 1000
    tensors["x"].add_(1)
    assert load_tensors(path)[0]["x"].sum() == 0


# Damage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path):
    """The smallest file with everything in it."""
    path = tmp_path / "tiny.safetensors"
    save_tensors(path, {"w": torch.tensor([1.5]), "n": torch.tensor(3)}, {"c": ["é"]})
    return path


def test_every_single_flipped_bit_is_refused(tiny):
    """Catches what no format notices: of flipped bits, safetensors alone loads four in five with wrong numbers."""
    whole = tiny.read_bytes()
    accepted = []
    with tiny.open("r+b", buffering=0) as file:
        for place, byte in enumerate(whole):
            for bit in range(8):
                file.seek(place)
                file.write(bytes([byte ^ 1 << bit]))
                try:
                    load_tensors(tiny)
                except ValueError as error:
                    assert str(error).startswith(f"{tiny} is damaged")
                else:
                    accepted.append((place, bit))
            file.seek(place)
            file.write(bytes([byte]))
    assert accepted == []
    load_tensors(tiny)  # it is whole again


def test_every_truncation_and_every_addition_is_refused(tiny):
    """Catches a file cut off by a full disk or a broken copy."""
    whole = tiny.read_bytes()
    for damaged in (*(whole[:n] for n in range(len(whole))), whole + b"\0", whole + whole):
        tiny.write_bytes(damaged)
        with pytest.raises(ValueError, match="tiny.safetensors is damaged .*; delete it and save again"):
            load_tensors(tiny)


def test_a_file_of_others_is_refused_with_words(tmp_path):
    """Catches a KeyError for weights that this kit did not write."""
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other.safetensors is damaged or was not written by this kit .'about'.;"):
        load_tensors(tmp_path / "other.safetensors")


def test_a_file_that_is_not_there_says_what_is(tmp_path):
    """Catches a bare path for a person who has forgotten the name."""
    with pytest.raises(FileNotFoundError, match="there is no .*head.safetensors; saved there: nothing"):
        load_tensors(tmp_path / "head.safetensors")
    for name in ("03_head", "04_all"):
        save_tensors(tmp_path / f"{name}.safetensors", {}, {})
    with pytest.raises(FileNotFoundError, match="saved there: 03_head, 04_all"):
        load_tensors(tmp_path / "head.safetensors")


# Death and full disks ------------------------------------------------------------------------------------------


@POSIX
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_whoever_is_killed_while_saving_leaves_a_whole_file(tmp_path):
    """Catches a save that writes over the old file: killed there, 18 in 20 of torch.save's files are lost."""
    path, rng = tmp_path / "model.safetensors", random.Random(0)
    contents = [torch.full((200_000,), float(value)) for value in range(2)]
    save_tensors(path, {"x": contents[0]}, {"value": 0})
    caught_writing = 0
    for _ in range(10):
        ready, started = os.pipe()
        child = os.fork()
        if child == 0:  # saves without end until it is killed
            try:
                for number in range(10_000):
                    save_tensors(path, {"x": contents[number % 2]}, {"value": number % 2})
                    os.write(started, b".")
            finally:
                os._exit(1)
        os.read(ready, 1)
        time.sleep(rng.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready), os.close(started)
        tensors, about = load_tensors(path)
        assert same(tensors["x"], contents[about["value"]])
        left = [entry.name for entry in tmp_path.iterdir() if entry != path]
        assert all(re.fullmatch(r"\.model\.safetensors\.\d+-\d+(\.\w+)?\.tmp", name) for name in left), left
        caught_writing = len(left)
    assert caught_writing > 0  # else the test proves nothing


@POSIX
def test_a_full_disk_keeps_the_old_file_and_says_how_much_room_is_needed(tmp_path):
    """Catches the old model lost together with the new one, and a temporary file that keeps the disk full."""
    import resource

    path = tmp_path / "model.safetensors"
    save_tensors(path, {"x": torch.ones(10)}, {"which": "old"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="model.safetensors could not be written .*; it needs 4 MB: make room there"):
            save_tensors(path, {"x": torch.ones(1_000_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_tensors(path)[1] == {"which": "old"}
    assert list(tmp_path.iterdir()) == [path]


@POSIX
def test_a_file_can_be_read_by_others(tmp_path):
    """Catches the library's mode 600: a teacher's model that no student can open."""
    umask = os.umask(0o022)
    try:
        save_tensors(tmp_path / "model.safetensors", {"x": torch.ones(10)}, {})
    finally:
        os.umask(umask)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_tied_weights_are_kept(tmp_path):
    """Catches a training that dies at its first checkpoint, because two layers share one weight."""
    shared = torch.arange(6.0).view(2, 3)
    save_tensors(tmp_path / "a.safetensors", {"a": shared, "b": shared, "c": shared[0]}, {})
    found = load_tensors(tmp_path / "a.safetensors")[0]
    assert same(found["a"], shared) and same(found["b"], shared) and same(found["c"], shared[0])


def test_a_description_that_is_no_json_leaves_the_old_file(tmp_path):
    """Catches a file opened for writing before it is known what to write."""
    save_tensors(tmp_path / "a.safetensors", {}, {"which": "old"})
    with pytest.raises(TypeError):
        save_tensors(tmp_path / "a.safetensors", {}, {"which": object()})
    assert load_tensors(tmp_path / "a.safetensors")[1] == {"which": "old"}


# Never code ----------------------------------------------------------------------------------------------------


class Hostile:
    """Unpickling one of these makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 5, "zip"])
def test_a_hostile_pickle_under_our_name_never_runs(tmp_path, protocol):
    """Catches a loader that goes by the content and falls back to pickle."""
    trap = tmp_path / "it ran"
    content = pickle.dumps(Hostile(trap), protocol=protocol if protocol != "zip" else 2)
    if protocol == "zip":  # what torch.save writes
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
        content = file.getvalue()
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="model.safetensors is damaged or was not written by this kit"):
        load_tensors(tmp_path / "model.safetensors")
    assert not trap.exists()
    pickle.loads(pickle.dumps(Hostile(trap)))
    assert trap.exists()  # the trap works


FORBIDDEN_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}


def unsafe(source):
    """Every way in which `source` may run what it reads: (line, what)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            names = []
        found += [(node.lineno, name) for name in names if FORBIDDEN_MODULES & set(name.split("."))]
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_MODULES:
            found.append((node.lineno, node.attr))
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        how = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in ("eval", "exec", "builtins.eval", "builtins.exec", "__import__", "os.system"):
            found.append((node.lineno, called))
        if called == "torch.load" and how.get("weights_only") != "True":
            found.append((node.lineno, "torch.load without weights_only=True"))
        for word in ("weights_only", "allow_pickle", "trust_repo", "trust_remote_code", "shell"):
            if how.get(word, "") == ("False" if word == "weights_only" else "True"):
                found.append((node.lineno, f"{word}={how[word]}"))
    return found


@pytest.mark.parametrize("folder", ["helpers", "data_setup"])
def test_nothing_in_the_kit_runs_what_it_reads(folder):
    """Catches the first pickle, eval or weights_only=False that somebody adds."""
    files = sorted((ROOT / folder).rglob("*.py"))
    found = {str(path.relative_to(ROOT)): unsafe(path.read_text(encoding="utf-8")) for path in files}
    assert len(files) > 5 and {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "is_unsafe"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("import torch.serialization.pickle as p", True),
        ("import numpy; numpy.pickle.loads(b'')", True),
        ("x = eval('1')", True),
        ("def f():\n    exec('x = 1')", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, weights_only=True)", False),
        ("hub.load_state_dict_from_url(url, weights_only=False)", True),
        ("np.load(path, allow_pickle=True)", True),
        ("subprocess.run('ls', shell=True)", True),
        ("model.eval()", False),
        ("json.loads(text)", False),
    ],
)
def test_what_is_unsafe_is_seen(source, is_unsafe):
    """Catches a check that never finds anything."""
    assert bool(unsafe(source)) is is_unsafe


def test_the_digest_covers_names_types_and_shapes():
    """Catches two tensors that changed places, and bytes read under another type."""
    x = torch.arange(6, dtype=torch.int32)
    variants = [
        ({"a": x}, "{}"),
        ({"b": x}, "{}"),
        ({"a": x.view(2, 3)}, "{}"),
        ({"a": x.view(torch.float32)}, "{}"),
        ({"a": x}, json.dumps({"classes": ["b", "a"]})),
        ({"a": x[:3], "b": x[3:]}, "{}"),
        ({"a": x[3:], "b": x[:3]}, "{}"),
    ]
    assert len({checkpoints._digest(tensors, about) for tensors, about in variants}) == len(variants)
