"""Marks: what a person decided about pictures, kept by picture name in a small CSV file.

Every cell is quoted, so that any file name comes back unchanged, even one with line breaks.
Lines are sorted and carry no date: the same marks make the same file.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

import data_setup
from data_setup.base.files import write_atomically
from data_setup.items import Item

KINDS = ("relabel", "right", "unsure", "remove", "note")
MARK_COLUMNS = ["name", "old_label", "mark", "new_label", "note"]
WORDS = {"right": "label is correct", "unsure": "unsure", "remove": "to be removed", "note": "note"}
LOCK_SECONDS = 10  # how long to wait for another program that writes the same file


@dataclass(frozen=True)
class Mark:
    """The label should be another one, it is right, it is unclear, the picture should go, or there is only a note."""

    kind: str  # one of KINDS
    old_label: str | None  # the label the picture had when it was marked
    new_label: str | None = None  # only for "relabel"
    note: str = ""

    def __str__(self) -> str:
        text = f"new label {self.new_label}" if self.kind == "relabel" else WORDS[self.kind]
        return f"{text}: {self.note}" if self.note else text

    def is_stale(self, label: str | None) -> bool:
        """Is `label` neither the one it was made against nor the one it asks for?"""
        return label != self.old_label and (self.kind != "relabel" or label != self.new_label)


Step = dict[str, tuple[Mark | None, Mark | None]]  # picture -> (mark before, mark after)


class MarkFile:
    """All marks, and the file they are kept in (`path` None: no file). Other programs may write it at the same time.

    Marks that cannot be written stay in memory, are reported in `problem` and are written with the next one.
    """

    def __init__(self, path: Path | str | None):
        self.path = None if path is None else Path(path)
        self.marks: dict[str, Mark] = {}
        self.problem = ""
        self._unsaved: dict[str, Mark | None] = {}
        self._read_again()

    def update(self, names: Iterable[str], change: Callable[[str, Mark | None], Mark | None]) -> Step:
        """Replace each name's mark by `change(name, mark in the file now)`; returns those that changed."""
        if self.path is None:
            return self._change(names, change)
        changed, self.problem = None, ""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), LOCK_SECONDS):
                self._read_again()
                changed = self._change(names, change)
                write_marks(self.path, self.marks)
                self._unsaved.clear()
        except (OSError, ValueError) as error:
            self.problem = f"The marks are NOT saved: {error}. They stay in memory until the next mark is saved."
        return self._change(names, change) if changed is None else changed

    def refresh(self) -> dict[str, Mark]:
        """All marks as they are now, what others wrote included; the next mark reports a file that cannot be read."""
        with suppress(OSError, ValueError):
            self._read_again()
        return self.marks

    def _read_again(self) -> None:
        """Take over what others wrote; a file that has vanished is written again from memory."""
        if self.path and self.path.exists():
            self._put(read_marks(self.path), self._unsaved)

    def _change(self, names: Iterable[str], change: Callable[[str, Mark | None], Mark | None]) -> Step:
        pairs = {name: (self.marks.get(name), change(name, self.marks.get(name))) for name in names}
        step = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        new_marks = {name: after for name, (_, after) in step.items()}
        self._unsaved |= new_marks
        self._put(self.marks, new_marks)
        return step

    def _put(self, marks: Mapping[str, Mark], changes: Mapping[str, Mark | None]) -> None:
        self.marks = {name: mark for name, mark in {**marks, **changes}.items() if mark is not None}


def default_file(items: Iterable[Item]) -> Path:
    """The marks' file of a data set: one for each folder of pictures, below `reviews` in the course's data folder."""
    folders = {(item.path.parent, item.name.rpartition("/")[0]) for item in items}  # few, of very many pictures
    ways_up = [([folder.absolute(), *folder.absolute().parents], len(Path(below).parts)) for folder, below in folders]
    roots = {way[min(depth, len(way) - 1)].resolve() for way, depth in ways_up}  # however their paths were written
    root = Path(os.path.commonpath(roots)) if roots else Path.cwd()
    home = data_setup.home().resolve()
    if root.is_relative_to(home) and root != home:
        name = "_".join(root.relative_to(home).parts)
    else:  # two folders elsewhere may have the same name
        name = f"{root.name}-{sha256(os.fsencode(root)).hexdigest()[:8]}"
    return home / "reviews" / f"{name}.csv"


def read_marks(path: Path | str) -> dict[str, Mark]:
    """The marks in a file that `write_marks` wrote, by picture name; a file without notes is read, too.

    Raises ValueError, naming the file and the entry, for any other content.
    """
    header, *entries = read_table(path) or [[]]
    if header not in (MARK_COLUMNS, MARK_COLUMNS[:4]):
        raise ValueError(f"{path} is not a file of marks: it should start with {','.join(MARK_COLUMNS)}")
    marks = {}
    for number, cells in enumerate(entries, start=1):
        if len(cells) != len(header) or cells[2] not in KINDS or (cells[2] == "relabel") != bool(cells[3]):
            raise ValueError(f"{path}, entry {number}: {cells} is not a mark; fix it or move the file away")
        name, old, kind, new, note = (*cells, "")[:5]
        marks[name] = Mark(kind, old or None, new or None, note)
    return marks


def write_marks(path: Path | str, marks: Mapping[str, Mark]) -> None:
    """Write all marks, sorted by name, atomically."""
    lines = [(name, marks[name]) for name in sorted(marks)]
    write_table(path, MARK_COLUMNS, [[name, m.old_label or "", m.kind, m.new_label or "", m.note] for name, m in lines])


def read_table(path: Path | str) -> list[list[str]]:
    """All lines of a CSV file, the header first. Raises ValueError when it is not a table."""
    with Path(path).open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        try:
            return list(csv.reader(file, strict=True))
        except csv.Error as error:
            raise ValueError(f"{path} cannot be read as a table ({error}); fix it or move it away") from error


def write_table(path: Path | str, columns: list[str], lines: Iterable[list[str]]) -> None:
    """Write a header and lines, atomically. File names that are not UTF-8 come out byte by byte."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([columns, *lines])
    with write_atomically(Path(path)) as temporary:
        temporary.write_bytes(text.getvalue().encode("utf-8", "surrogateescape"))
