"""Files moved out of a folder into one beside it, and back: nothing is deleted, and an interruption loses nothing.

`undo.jsonl` in the quarantine folder says where every file was. Its line is on disk before the file moves, so that
`restore` puts everything back even when the move was cut off in the middle.
"""

import errno
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from data_setup.base.text import counted

UNDO = "undo.jsonl"


def quarantine(folder: Path, names: Iterable[str]) -> Path:
    """Move the files `names` below `folder` into a new folder beside it; returns the undo file.

    Folders that are empty then are removed. Raises OSError when the disk or its owner refuses; what was moved until
    then is in the undo file.
    """
    folder = folder.absolute()
    place = next(place for place in _names(folder) if not place.exists())
    place.mkdir()
    undo = place / UNDO
    with undo.open("x", encoding="ascii") as file:
        for name in sorted(set(names) - {UNDO}):  # a file of that name would replace the list itself
            file.write(json.dumps({"folder": str(folder), "name": name}) + "\n")
            file.flush()
            os.fsync(file.fileno())
            _move(folder / name, place / name)
            _remove_empty(folder / name, folder)
    return undo


def restore(undo: Path) -> str:
    """Move everything back where `undo` says it was, and remove the quarantine folder; says in a line what was done.

    A file whose old place is taken stays where it is, and so does the undo file: move one of the two and repeat.
    Raises FileNotFoundError or ValueError for a file that is not an undo file.
    """
    undo = undo.absolute()
    undo = undo / UNDO if undo.is_dir() else undo
    place, back, stuck = undo.parent, 0, []
    for line in list(_lines(undo))[::-1]:
        old, now = Path(line["folder"]) / line["name"], place / line["name"]
        if not os.path.lexists(now):
            continue  # it never moved, or is back already
        if os.path.lexists(old):
            stuck.append(line["name"])
            continue
        _move(now, old)
        _remove_empty(now, place)
        back += 1
    if stuck:
        taken = f"{counted(len(stuck), 'file')} stay in {place}, because their old place is taken, e.g. {stuck[-1]!r}"
        return f"{counted(back, 'file')} moved back; {taken}: move one of the two and repeat"
    undo.unlink()
    with suppress(OSError):  # somebody put other files there
        place.rmdir()
    return f"{counted(back, 'file')} moved back"


def _names(folder: Path) -> Iterator[Path]:
    yield folder.with_name(f"{folder.name}-quarantine")
    yield from (folder.with_name(f"{folder.name}-quarantine-{number}") for number in itertools.count(2))


def _lines(undo: Path) -> Iterator[dict[str, str]]:
    if not undo.is_file():
        raise FileNotFoundError(f"there is no undo file {undo}: name the folder that --quarantine has made")
    *whole, last = undo.read_text(encoding="ascii", errors="replace").split("\n")
    for text in whole:  # a line that was cut off is of a file that did not move
        try:
            line = json.loads(text)
            yield {key: line[key] for key in ("folder", "name")}
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{undo} is not an undo file: {text[:60]!r}") from None


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)  # a link moves as a link
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        half = target.with_name(f".{target.name}.half")  # on another disk: a copy, then the original goes
        shutil.copy2(source, half, follow_symlinks=False)
        half.rename(target)
        source.unlink()


def _remove_empty(moved: Path, top: Path) -> None:
    """Remove the folders above `moved`, below `top`, that are empty now."""
    for folder in itertools.takewhile(lambda one: one != top, moved.parents):
        with suppress(OSError):  # it is not empty
            folder.rmdir()
