"""Which device computes, what its errors mean, and what happens to freed memory and idle threads."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helpers.runtime import device
from helpers.runtime.device import is_out_of_memory, keep_freed_memory, pick_device

ROOT = Path(device.__file__).parents[2]


# Device --------------------------------------------------------------------------------------------------------


def test_the_environment_variable_overrides_the_device(monkeypatch):
    """Catches a COURSE_DEVICE that is read but not obeyed."""
    monkeypatch.setenv("COURSE_DEVICE", "meta")
    assert pick_device() == torch.device("meta")


@pytest.mark.parametrize(("cuda", "mps", "expected"), [(1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_the_best_device_there_is_wins(monkeypatch, cuda, mps, expected):
    """Catches MPS chosen before CUDA, or a machine without either failing."""
    monkeypatch.delenv("COURSE_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert pick_device().type == expected


@pytest.mark.parametrize("word", ["gpu", "cuda:99", "mps:99"])
def test_a_device_that_does_not_exist_is_blamed_on_the_variable(monkeypatch, word):
    """Catches torch's own sentence, which does not say where the word came from."""
    monkeypatch.setenv("COURSE_DEVICE", word)
    with pytest.raises(ValueError, match=f"COURSE_DEVICE={word} is not a device of this machine; set it to cpu, cuda"):
        pick_device()


MPS_FULL = "MPS backend out of memory (MPS allocated: 8.1 GB, max allowed: 9.0 GB). Tried to allocate 1.0 GB"
CUBLAS_FULL = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError(MPS_FULL), True),
        (RuntimeError(CUBLAS_FULL), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_every_device_says_in_its_own_words_that_memory_is_full(error, expected):
    """Catches Apple's plain RuntimeError, for which no batch would ever be halved."""
    assert is_out_of_memory(error) is expected


def test_the_cpus_own_error_is_known():
    """Catches words of an older torch."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)


# Memory --------------------------------------------------------------------------------------------------------

PAGE_FAULTS = """
import resource, torch
from helpers.runtime.device import keep_freed_memory
def step():
    torch.empty(16_000_000).fill_(1)
def faults():
    for _ in range(10):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = faults()
keep_freed_memory()
print(given_back, faults())
"""


@pytest.mark.parametrize(("said", "counts"), [(None, "10000"), ("77", "77")])
def test_waiting_threads_stay_awake_for_a_moment_unless_somebody_says_otherwise(said, counts):
    """Catches a setting that comes too late for torch, or overrules the learner's own."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    order = "import helpers, os, sys; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'], end=' ')"
    command = [sys.executable, "-c", f"{order}; print(os.environ['GOMP_SPINCOUNT'])"]
    env = bare | ({"GOMP_SPINCOUNT": said} if said else {})
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "PASSIVE", counts]


@pytest.mark.alone
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_used_again():
    """Catches settings the C library does not obey: every large tensor then costs a fault per page once more."""
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < given_back / 10


@pytest.mark.parametrize(("system", "asks"), [("win32", 0), ("darwin", 0), ("linux", 1)])
def test_other_systems_keep_their_own_ways(monkeypatch, system, asks):
    """Catches a crash where there is no glibc: Windows cannot even be asked for it, musl has no mallopt."""
    asked = []
    keep_freed_memory.cache_clear()
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(device.ctypes, "CDLL", lambda _: asked.append(system) or SimpleNamespace())
    keep_freed_memory()
    keep_freed_memory()  # every learner asks
    assert len(asked) == asks


IMPORTS = """
import sys, torch
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("doctor", sys.argv[1])
doctor = sys.modules["doctor"] = module_from_spec(spec)
spec.loader.exec_module(doctor)
alone = doctor.spinning_ms()
import helpers
print(alone, doctor.spinning_ms(), torch.get_num_threads())
"""


@pytest.mark.alone
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="torch has another OpenMP there")
def test_idle_threads_sleep_although_torch_was_imported_first():
    """Catches an order of imports that matters: beside another program training took up to 14 times as long."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}

    command = [sys.executable, "-c", IMPORTS, ROOT / "helpers/lessons/doctor.py"]
    done = subprocess.run(command, capture_output=True, text=True, env=bare, cwd=ROOT, check=True)
    alone, with_helpers, threads = map(float, done.stdout.split())
    if threads == 1:
        pytest.skip("one thread never waits for another")
    assert alone > 1, "the measurement sees spinning"
    assert with_helpers < 1
