"""Where archives lie until their set is ready, so that a run that was stopped goes on with them."""

from contextlib import suppress
from pathlib import Path

from data_setup.base.folders import home, locked

RECORD = ".sha256"  # what was recorded of an archive stays when the archive goes


def folder_of(name: str) -> Path:
    return home() / ".downloads" / name


def _archives(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix != RECORD]


def size(folder: Path) -> int:
    """Bytes of unfinished and unused archives."""
    total = 0
    for path in _archives(folder):
        with suppress(FileNotFoundError):  # another run has just finished
            total += path.stat().st_size
    return total


def discard(folder: Path, finished: Path) -> None:
    """Delete the archives of the set `finished`, unless another run is at work on it; a read-only folder keeps them."""
    if _archives(folder):
        with suppress(OSError), locked(finished):
            for path in _archives(folder):
                path.unlink()
