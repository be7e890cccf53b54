"""Device, seeds, whole files and progress bars."""

import hashlib
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.runtime import device, files
from helpers.runtime.device import is_out_of_memory, keep_freed_memory, pick_device
from helpers.runtime.files import write_atomically
from helpers.runtime.progress import progress
from helpers.runtime.seeds import generator, seed_for, seeded

ROOT = Path(device.__file__).parents[2]

# Device ----------------------------------------------------------------------------------------------------


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


def test_a_device_that_does_not_exist_is_blamed_on_the_variable(monkeypatch):
    """Catches torch's own sentence, which does not say where the word came from."""
    monkeypatch.setenv("COURSE_DEVICE", "gpu")
    with pytest.raises(ValueError, match="COURSE_DEVICE=gpu is not a valid device; set it to cpu, cuda"):
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
import resource, sys, torch
from helpers.runtime.device import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.empty(16_000_000).fill_(1)
for _ in range(20):
    step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_used_again():
    """Catches settings the C library does not obey: every large tensor then costs a fault per page once more."""
    faults = {
        mode: int(subprocess.run([sys.executable, "-c", PAGE_FAULTS, mode], capture_output=True, check=True).stdout)
        for mode in ("given back", "kept")
    }
    assert faults["kept"] < faults["given back"] / 10


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
if sys.argv[1] == "with helpers":
    import helpers
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("device", sys.argv[2])
device = module_from_spec(spec)
spec.loader.exec_module(device)
print(device.spinning_ms(), torch.get_num_threads())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="torch has another OpenMP there")
def test_idle_threads_sleep_although_torch_was_imported_first():
    """Catches an order of imports that matters: beside another program training took up to 14 times as long."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}

    def spinning(mode):
        command = [sys.executable, "-c", IMPORTS, mode, device.__file__]
        done = subprocess.run(command, capture_output=True, text=True, env=bare, cwd=ROOT)
        milliseconds, threads = done.stdout.split()
        return float(milliseconds), int(threads)

    milliseconds, threads = spinning("torch alone")
    if threads == 1:
        pytest.skip("one thread never waits for another")
    assert milliseconds > 1, "the measurement sees spinning"
    assert spinning("with helpers")[0] < 1


# Seeds ---------------------------------------------------------------------------------------------------------


def test_a_seed_is_the_same_in_every_process():
    """Catches Python's own hash(), which differs from run to run: both numbers were computed elsewhere."""
    assert seed_for(0, "cat/1.jpg", ("a", 1.5)) == 8178790435312518434
    assert seed_for("é") == int(hashlib.sha256("('é',)".encode()).hexdigest()[:16], 16) // 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.integers(), st.text(), st.booleans()), min_size=1, max_size=3))
def test_a_seed_fits_every_generator(parts):
    """Catches a seed of 64 bits, which `manual_seed` refuses for every other name."""
    assert 0 <= seed_for(*parts) < 2**63
    torch.Generator().manual_seed(seed_for(*parts))


def test_parts_are_not_run_together():
    """Catches ("a", "bc") and ("ab", "c") getting one seed."""
    assert len({seed_for("a", "bc"), seed_for("ab", "c"), seed_for("abc"), seed_for(1), seed_for("1")}) == 5


def test_generators_leave_the_global_one_alone():
    """Catches a draw that moves torch's global generator, and so the training of the notebook."""
    before = torch.get_rng_state()
    first = torch.rand(4, generator=generator("a", 1))
    assert torch.equal(first, torch.rand(4, generator=generator("a", 1)))
    assert not torch.equal(first, torch.rand(4, generator=generator("a", 2)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_block_puts_the_global_generator_back_even_after_an_error():
    """Catches a restore that only happens when the block ends well."""
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), seeded("dropout", 3):
            draws.append(torch.rand(3))
            raise ZeroDivisionError
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_block_leaves_no_trace_on_any_device(monkeypatch):
    """Catches COURSE_DEVICE=cuda:1 with the state of device 0 saved alone, and Apple's generator forgotten."""
    put_back, saved = [], []
    fork_rng = torch.random.fork_rng
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: saved.extend(devices) or fork_rng(devices=[]))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: "as before")
    monkeypatch.setattr(torch.mps, "set_rng_state", put_back.append)
    with pytest.raises(ZeroDivisionError), seeded("dropout"):
        raise ZeroDivisionError
    assert saved == [0, 1] and put_back == ["as before"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_seeded_block_puts_every_gpu_back():
    """Catches a generator of the second card that goes on from the seed."""
    cards = range(torch.cuda.device_count())
    before = [torch.rand(1, device=f"cuda:{n}") is None or torch.cuda.get_rng_state(n) for n in cards]
    with seeded("dropout"):
        draws = [torch.rand(2, device=f"cuda:{n}") for n in cards]
    assert all(torch.equal(torch.cuda.get_rng_state(n), state) for n, state in zip(cards, before, strict=True))
    assert all(len(draw) == 2 for draw in draws)


# Whole files ---------------------------------------------------------------------------------------------------


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    """Catches a half written file under the final name, and temporary files left behind."""
    path = tmp_path / "new" / "file.txt"
    with write_atomically(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), write_atomically(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_bytes_are_on_disk_before_the_name_changes(tmp_path, monkeypatch):
    """Catches a rename without fsync: after a power cut the new name would hold nothing."""
    happened = []
    monkeypatch.setattr(files.os, "fsync", lambda number: happened.append("fsync"))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: happened.append("replace") or replace(self, to))
    with write_atomically(tmp_path / "a") as temporary:
        temporary.write_bytes(b"x")
    assert happened == ["fsync", "replace"]


def test_threads_writing_the_same_file_do_not_meet(tmp_path):
    """Catches one temporary name for two writers: the mixture of both would get the final name."""
    path, together = tmp_path / "file", threading.Barrier(4)
    errors = []

    def write(letter):
        try:
            with write_atomically(path) as temporary:
                together.wait()
                temporary.write_text(letter * 50_000)
                together.wait()
        except Exception as error:  # a thread's own error would be lost
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors
    assert path.read_text() in {letter * 50_000 for letter in "abcd"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_swept_after_a_day_and_only_that(tmp_path):
    """Catches a disk that fills with temporary files, and a sweep that takes somebody else's."""
    path = tmp_path / "model[1].bin"
    names = [".model[1].bin.4-5.tmp", ".other.bin.4-5.tmp", ".model1.bin.4-5.tmp", "model[1].bin.tmp"]
    for name in names:
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (0, time.time() - 90_000))
    (tmp_path / ".model[1].bin.6-7.tmp").write_text("another program is writing this")
    with write_atomically(path) as temporary:
        temporary.write_text("y")
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {path.name, *names[1:], ".model[1].bin.6-7.tmp"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_a_new_file_can_be_read_by_others(tmp_path):
    """Catches mode 600 from a library's own temporary file: a teacher's model that no student can open."""
    umask = os.umask(0o022)
    try:
        with write_atomically(tmp_path / "a") as temporary:
            temporary.write_bytes(b"x")
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


# Progress ------------------------------------------------------------------------------------------------------


def test_progress_is_plain_text_with_the_remaining_time_and_vanishes(monkeypatch, capsys):
    """Catches a widget bar (nothing to see in VS Code or a terminal), and lines left behind in stored outputs."""
    monkeypatch.setenv("COURSE_PROGRESS", "on")
    bar = progress(total=4, title="decoding")
    bar.update(1)
    bar.refresh()
    during = capsys.readouterr()
    bar.close()
    after = capsys.readouterr().out
    assert "decoding" in during.out and "1/4" in during.out and "<" in during.out and during.err == ""
    assert after.rsplit("\r", 1)[-1].strip() == "" and "\n" not in after


def test_progress_can_be_switched_off_and_still_passes_the_work_on(monkeypatch, capsys):
    """Catches bars in tests and stored notebooks, and work lost with the bar."""
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert list(progress(iter("abc"), "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")
