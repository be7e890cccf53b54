"""What lessons leave in the data folder for later ones, so that a run from the start does not meet an older run's."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import data_setup

LEFT_BY_LESSONS = ("board.json", "duel.json", "models", "reviews", "exports", "cache/features")
KEPT = ("solar", "cache/pixels", "cache/timings.json")  # slow to make, and the same after every run


def put_aside(home: Path | None = None) -> Path | None:
    """Move what lessons have left in the data folder (default: `data_setup.home()`) out of their way.

    Returns the folder it is in now, below `home`/runs; None when there was nothing.
    """
    home = home or data_setup.home()
    there = [name for name in LEFT_BY_LESSONS if (home / name).exists()]
    if not there:
        return None
    (home / "runs").mkdir(exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-before-"), dir=home / "runs"))
    for name in there:
        (aside / name).parent.mkdir(exist_ok=True)
        (home / name).rename(aside / name)
    return aside


@contextmanager
def fresh_home() -> Iterator[Path]:
    """COURSE_DATA set to a folder with the data sets of the usual one and nothing else; gone afterwards."""
    home, before = data_setup.home(), os.environ.get("COURSE_DATA")
    (home / "runs").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fresh-", dir=home / "runs", ignore_cleanup_errors=True) as folder:
        for name in KEPT:
            _link(home / name, Path(folder) / name)
        os.environ["COURSE_DATA"] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ["COURSE_DATA"]
            if before is not None:
                os.environ["COURSE_DATA"] = before


def _link(source: Path, target: Path) -> None:
    """The same files again, as hard links where the disk has them; nothing when `source` is not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    elif source.is_file():
        _link_file(source, target)


def _link_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without hard links
        with suppress(FileNotFoundError):  # a temporary file that its owner has just renamed
            shutil.copy2(source, target)
