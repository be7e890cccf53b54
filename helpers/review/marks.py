"""Marks: what a person decided about pictures, kept by picture name in a small CSV file.

Every cell stands in quotes, so that any name a file can have comes back as it was, line ends included.
Lines are sorted and carry no date: the same marks make the same file.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers.runtime.files import write_atomically

KINDS = ("relabel", "right", "unsure", "remove")
MARK_COLUMNS = ["name", "old_label", "mark", "new_label"]
WORDS = {"right": "label is right", "unsure": "unsure", "remove": "to be removed"}


@dataclass(frozen=True)
class Mark:
    """The label should be another one, it is right, it is unclear, or the picture should go."""

    kind: str  # one of KINDS
    old_label: str | None  # the label the picture had when it was marked
    new_label: str | None = None  # only for "relabel"

    def __str__(self) -> str:
        return f"new label {self.new_label}" if self.kind == "relabel" else WORDS[self.kind]


def read_marks(path: Path | str) -> dict[str, Mark]:
    """The marks in a file that `write_marks` wrote, by picture name; none when there is no file.

    Raises ValueError, naming the file and the entry, for any other content.
    """
    path = Path(path)
    if not path.exists():
        return {}
    entries = read_table(path)
    if entries[:1] != [MARK_COLUMNS]:
        raise ValueError(f"{path} is not a file of marks: it should start with {','.join(MARK_COLUMNS)}")
    marks = {}
    for number, cells in enumerate(entries[1:], start=1):
        if len(cells) != 4 or cells[2] not in KINDS or (cells[2] == "relabel") != bool(cells[3]):
            raise ValueError(f"{path}, entry {number}: {cells} is not a mark; mend it or move the file away")
        name, old, kind, new = cells
        marks[name] = Mark(kind, old or None, new or None)
    return marks


def write_marks(path: Path | str, marks: Mapping[str, Mark]) -> None:
    """Write all marks, sorted by name: either the whole new file is there afterwards or the whole old one."""
    lines = [(name, marks[name]) for name in sorted(marks)]
    write_table(path, MARK_COLUMNS, [[name, m.old_label or "", m.kind, m.new_label or ""] for name, m in lines])


def read_table(path: Path | str) -> list[list[str]]:
    """All lines of a CSV file, the header first. Raises ValueError when it is no table."""
    with Path(path).open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        try:
            return list(csv.reader(file, strict=True))
        except csv.Error as error:
            raise ValueError(f"{path} cannot be read as a table ({error}); mend it or move it away") from error


def write_table(path: Path | str, columns: list[str], lines: Iterable[list[str]]) -> None:
    """Write a header and lines, atomically. File names that are no UTF-8 come out byte by byte."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([columns, *lines])
    with write_atomically(Path(path)) as temporary:
        temporary.write_bytes(text.getvalue().encode("utf-8", "surrogateescape"))
