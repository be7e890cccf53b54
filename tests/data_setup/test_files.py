"""Files are replaced atomically, whoever fails or writes beside; their content is hashed once."""

import errno
import hashlib
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from data_setup.base import files
from data_setup.base.files import content_hash, forget_oldest, sha256, write_atomically


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
    folder = tmp_path / ".model[1].bin.4-5.ab.tmp"
    folder.mkdir()
    (folder / "tensors").write_text("x")
    for entry in tmp_path.iterdir():
        os.utime(entry, (0, time.time() - 90_000))
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


def test_content_is_hashed_again_only_when_the_file_has_changed(tmp_path, monkeypatch):
    """Catches every byte of a data set read for each new `ImageData`, and a change that the memory hides."""
    path, reads = tmp_path / "a.png", []
    monkeypatch.setattr(files, "sha256", lambda path: reads.append(path.name) or sha256(path))
    path.write_bytes(b"one")
    assert {content_hash(path) for _ in range(3)} == {hashlib.sha256(b"one").hexdigest()} and reads == ["a.png"]
    stamp = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same time
    assert content_hash(path) == hashlib.sha256(b"two").hexdigest()


@pytest.fixture
def three_files(tmp_path):
    """Three files of ten bytes, used at different times, and a fourth that somebody has deleted meanwhile."""
    for name, age in (("old", 100), ("new", 1), ("middle", 50)):
        file = tmp_path / f"{name}.bin"
        file.write_bytes(bytes(10))
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / "gone.bin").symlink_to(tmp_path / "nowhere")
    (tmp_path / "other.txt").write_bytes(bytes(100))

    def left():
        return {file.stem for file in tmp_path.glob("*.bin")} - {"gone"}

    return tmp_path, left


def test_the_files_used_last_stay_on_the_disk(three_files):
    """Catches a cache that grows for ever, one that forgets the file just written, and one that counts other files."""
    folder, left = three_files
    forget_oldest(folder, "*.bin", most_bytes=30)
    assert left() == {"old", "new", "middle"}
    forget_oldest(folder, "*.bin", most_bytes=25)
    assert left() == {"new", "middle"}
    forget_oldest(folder, "*.bin", most_bytes=5)
    assert left() == {"new"} and (folder / "other.txt").exists()


def test_what_cannot_be_deleted_stays_and_costs_nobody_his_work(three_files, monkeypatch):
    """Catches a training that ends because a cache is only read, and one file in use that keeps all older ones."""
    folder, left = three_files
    unlink = Path.unlink

    def some(self, missing_ok=False):
        if self.stem == "middle":
            raise OSError(errno.EROFS, "Read-only file system")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", some)
    forget_oldest(folder, "*.bin", most_bytes=5)
    assert left() == {"new", "middle"}
