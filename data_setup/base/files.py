"""Files: written atomically, read without surprises, known by their sha256."""

import glob
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import accumulate
from pathlib import Path


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary path; when the block ends well its file replaces `path`, else (or if the machine dies in
    between) the old one is untouched."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for litter in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of programs killed while they wrote
        with suppress(OSError):
            if time.time() - litter.stat().st_mtime > 86_400:
                shutil.rmtree(litter) if litter.is_dir() else litter.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(file: Path) -> dict:
    """The object in a JSON file; {} when the file is missing or holds something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def was_begun(note: Path, work: dict) -> bool:
    """Whether `note` holds this very work, as JSON can, so that somebody began it and has not deleted the note since;
    else it is written there, and the work begins now."""
    work = json.loads(json.dumps(work))
    if read_json(note) == work:
        return True
    with write_atomically(note) as temporary:
        temporary.write_text(json.dumps(work, indent=1) + "\n", encoding="utf-8")
    return False


def forget_oldest(folder: Path, pattern: str, *, most_bytes: int) -> None:
    """Delete the files in `folder` that were not used for longest, until the rest fits; the newest stays, and so does
    what cannot be deleted."""
    found = []
    for file in folder.glob(pattern):
        with suppress(OSError):  # another process has deleted it meanwhile
            found.append((file.stat(), file))
    found.sort(key=lambda one: one[0].st_mtime, reverse=True)
    totals = accumulate(stat.st_size for stat, _ in found)
    for (_, file), total in list(zip(found, totals, strict=True))[1:]:
        if total > most_bytes:
            with suppress(OSError):  # a folder that is only read, or a file that somebody holds open
                file.unlink()


def visible_files(folder: Path) -> Iterator[Path]:
    """Every visible file below `folder`, and every link that leads nowhere; links to folders are not followed."""
    for entry in folder.iterdir():
        if entry.name.startswith(".") or (entry.is_symlink() and entry.is_dir()):
            continue
        if entry.is_dir():
            yield from visible_files(entry)
        elif entry.is_file() or not entry.exists():
            yield entry


def sha256(path: Path) -> str:
    """sha256 of the file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """sha256 of the file's bytes, in hex; read again only when the file's size or one of its times has changed."""
    stat = path.stat()
    return _hash_of(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@cache
def _hash_of(path: Path, *_stamp: int) -> str:
    return sha256(path)
