"""Folders that are complete or not there, and data sets in them with the size and sha256 of every file.

A folder is made in a hidden staging folder beside it and renamed when it is finished. A data set is made under a lock
as well, so that two runs at once end with one set. `manifest.json` says what belongs to the set.
"""

import errno
import functools
import glob
import hashlib
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_setup.base.files import sha256
from data_setup.base.text import counted

MANIFEST = "manifest.json"
SEAL = "SEALED.txt"  # a folder that holds it is left out by whoever reads the pictures of a folder above it
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # that are read, as Pillow calls them
ELSEWHERE = "set COURSE_DATA to a folder that you can write to (export COURSE_DATA=~/course-data)"
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")  # as their files end


def home() -> Path:
    """The folder that holds all data sets: $COURSE_DATA, else `data` beside the package."""
    chosen = os.environ.get("COURSE_DATA")
    return Path(chosen).expanduser().absolute() if chosen else Path(__file__).resolve().parents[2] / "data"


def describe(folder: Path) -> dict[str, dict]:
    """What is in `folder`, read back from disk: relative name -> {"bytes", "sha256"}, names sorted."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for name, path in sorted(found.items())
        if name != MANIFEST
    }


def tree_digest(files: dict[str, dict]) -> str:
    """One sha256 for names and contents together: of the lines "SHA256  NAME", sorted by name."""
    lines = "".join(f"{files[name]['sha256']}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def unsealed(folder: Path, paths: list[Path]) -> list[Path]:
    """`paths` (below `folder`) without those in a sealed folder; prints which folder, how many files and why.

    When `folder` itself is sealed, or lies in such a folder, whoever named it wants it open: that is printed, too.
    """

    @functools.cache
    def seal_above(place: Path) -> Path | None:
        if place == folder or not place.is_relative_to(folder):
            return None
        return place if (place / SEAL).is_file() else seal_above(place.parent)

    sealed = Counter(place for path in paths if path.name != SEAL and (place := seal_above(path.parent)))
    for place, n in sealed.items():
        why = (place / SEAL).read_text(encoding="utf-8").partition("\n")[0]
        print(f"{place.relative_to(folder).as_posix()}/ is sealed: {counted(n, 'photograph')} left out; {why}")
    for place in (folder.absolute(), *folder.absolute().parents):
        if (place / SEAL).is_file():
            print(f"{place.name}/ is sealed, and this opens it")
    return [path for path in paths if not seal_above(path.parent)]


def read_manifest(folder: Path) -> dict:
    """The manifest of a finished set; ValueError when it is missing or damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        tree_digest(manifest["files"])
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{MANIFEST} is missing") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{MANIFEST} is damaged") from None
    return manifest


def problems(folder: Path, *, tree: str | None = None, every_byte: bool = False) -> list[str]:
    """What is wrong with the set in `folder`, one phrase each; empty when it is complete.

    Compares names and sizes with the manifest (milliseconds); `every_byte=True` reads and hashes every file.
    `tree` is the digest that the manifest must have, where one is published.
    """
    if not folder.exists():
        return ["it is not there"]
    try:
        files = read_manifest(folder)["files"]
    except ValueError as error:
        return [str(error)]
    if tree and tree_digest(files) != tree:
        return [f"{MANIFEST} is damaged, or of another release of the course"]
    found = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    wrong = []
    for name, known in files.items():
        if name not in found:
            wrong.append(f"{name} is missing")
        elif found[name] != known["bytes"]:
            wrong.append(f"{name} has {found[name]:,} bytes instead of {known['bytes']:,}")
        elif every_byte and sha256(folder / name) != known["sha256"]:
            wrong.append(f"{name} is damaged (its sha256 differs)")
    foreign = (name for name in found if name.lower().endswith(PICTURES) and name not in files)
    return wrong + [f"{name} is not part of the set" for name in sorted(foreign)]


def ensure(
    folder: Path,
    build: Callable[[Path], dict],
    *,
    tree: str | None = None,
    verify: bool = False,
    need: int = 0,
    remedy: str = "",
) -> None:
    """Make `folder` a complete set.

    `build(staging)` writes the files into an empty folder and returns the facts for the manifest. A set that
    is complete is only read, so it may lie in a read-only folder. A set with a damaged or missing file is built
    again, and says so; files in it that are changed or foreign are kept in `NAME-old-N`. Raises
    PermissionError or OSError with the remedy when the folder cannot be written or has no room for `need`
    bytes, RuntimeError (with `remedy`) when the finished files do not have the digest `tree`.
    """
    with explained(folder.parent, need):
        if not problems(folder, tree=tree, every_byte=verify):
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            wrong = problems(folder, tree=tree, every_byte=verify)  # another run may have finished it
            if not wrong:
                return
            if folder.exists():
                more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
                print(f"{folder} is incomplete or damaged ({'; '.join(wrong[:3])}{more}): building it again")
            aside = _unused_name(folder)
            with staged(folder, aside=aside) as staging:
                if need > (free := shutil.disk_usage(staging).free):
                    raise OSError(errno.ENOSPC, f"{free:,} are free")
                facts = build(staging)
                files = describe(staging)
                if tree and tree_digest(files) != tree:
                    raise RuntimeError(f"the files made for {folder.name} are not the published ones{remedy}")
                text = json.dumps({**facts, "files": files}, indent=1)
                (staging / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")
            for old in folder.parent.glob(f"{folder.name}-old-*"):  # this one, or one that a killed run did not empty
                _keep_only_foreign_files(old, files)
            if aside.exists():
                print(f"changed or foreign files of the old folder are kept in {aside}")


@contextmanager
def staged(folder: Path, *, aside: Path | None = None) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder` when the block ends well; else nothing has changed.

    What stood there before is moved to `aside`, or deleted.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = aside or folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():  # a run was killed between the two renames below
        old.rename(folder)
    for stale in [old, *folder.parent.glob(f".{glob.escape(folder.name)}.staging-*")]:  # of runs that were killed
        shutil.rmtree(stale, ignore_errors=True)
    staging = folder.with_name(f".{folder.name}.staging-{os.getpid()}")
    staging.mkdir()
    try:
        yield staging
        for path in filter(Path.is_file, staging.iterdir()):  # a machine that dies now must not leave empty files
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        staging.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if aside is None:
        shutil.rmtree(old, ignore_errors=True)


def _unused_name(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}-old-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _keep_only_foreign_files(old: Path, files: dict[str, dict]) -> None:
    """Delete from `old` what the new set holds as well, its own unchanged files, and folders that are empty then."""
    try:
        own = read_manifest(old)["files"]
    except ValueError:
        own = {}
    for name, known in [*own.items(), *files.items()]:
        path = old / name
        if path.is_file() and path.stat().st_size == known["bytes"] and sha256(path) == known["sha256"]:
            path.unlink()
    (old / MANIFEST).unlink(missing_ok=True)
    for path in [*sorted(old.rglob("*"), reverse=True), old]:  # children before their folders
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `.NAME.lock` beside the folder; the system frees it when the process dies. Says when it waits."""
    from filelock import FileLock, Timeout  # takes a while to import

    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        print(f"another run is preparing {folder.name}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def explained(folder: Path, need: int = 0, *, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Turn the system's "no" into a sentence with the remedy: a read-only folder, a full disk.

    `need`: how many bytes are to be written, where that is known. `elsewhere`: how to choose another folder.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            how_much = f"{need:,} bytes are needed in" if need else "nothing more can be written in"
            raise OSError(
                f"the disk is full: {how_much} {folder} ({error.strerror}); delete something, or {elsewhere}"
            ) from error
        refused = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
        if error.errno in refused or (error.errno == errno.ENOENT and not folder.exists()):
            raise PermissionError(
                f"cannot write in {folder} ({error.strerror}: {error.filename}); {elsewhere}"
            ) from error
        raise
