"""The lessons on another set than the solar cells: what only fits the cells is replaced, or left out.

The stored lessons are about solar cells. `notebooks/elsewhere/NN.toml` says what of lesson NN stands there for any
other set: one entry a cell, found by a phrase that only this cell has.

    [[cell]]
    has = "cracked = "                         # line breaks count as spaces
    code = '''...'''                           # other code there, or
    text = '''...'''                           # a text instead of the cell, or
    swap = [["old", "new"], ...]               # pieces of it replaced (a text is made neutral then), or
    leave_out = true                           # nothing

In every other text a sentence that speaks of solar cells is left out, with what refers back to it (`neutral`).
"""

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from helpers.lessons.chosen import is_solar, set_name
from tools.notebook_files import NOTEBOOKS, normalise, read_notebook

FOLDER = NOTEBOOKS / "elsewhere"
CHOICE = 'DATA = "solar"'  # the line of lesson 00 that chooses
WAYS = ("code", "text", "swap", "leave_out")
# What a sentence names that fits no other set. "The next cell" of a notebook is none of these.
SOLAR_WORDS = re.compile(
    r"\b(solar|silicon|busbars?|crystals?|crystalline|mono|poly|mono\w*crystalline|poly\w*crystalline|inspectors?|"
    r"modules?|cracks?|cracked|hairlines?|broken|defective|functional|defects?|damaged?|experts?|envelope|"
    r"she|her|hers|whole (ones?|cells?)|sound cells?|colleagues?|elpv)\b|"
    r"(?<!code )(?<!next )(?<!this )(?<!previous )(?<!last )(?<!first )(?<!second )(?<!one )(?<!a )(?<!own )"
    r"\bcells?\b(?! (above|below|of your|with|trains))|[*']whole[*']|\b(2,624|1,608|536|480)\b",
    flags=re.IGNORECASE,
)
REFERS_BACK = re.compile(r"\W*(It|That|This|They|These|Those|Then|There|So|But|And|Here|He|Its|Their|Both)\b")
SENTENCE = re.compile(r"(?<=[.!?])(?=\s+[A-Z0-9`*(\"])|(?<=[.!?]\*\*)(?=\s)|(?<=\*)(?=\s+\*\*Guess)")
UNIT = re.compile(r"^(\s*[-*] |\s*\d+\. |\||<details|#|```)")  # a line that begins something of its own


@dataclass(frozen=True)
class Change:
    """What becomes of one cell for another set."""

    has: str
    way: str  # one of WAYS
    value: object

    def applied(self, cell: NotebookNode) -> NotebookNode | None:
        """The cell in its place; None for nothing."""
        if self.way == "leave_out":
            return None
        if self.way == "swap":
            for old, new in self.value:
                if old not in cell.source:
                    raise ValueError(f"the cell with {self.has!r} no longer has {old!r} to be swapped")
                cell.source = cell.source.replace(old, new)
            cell.source = re.sub(r"\n{4,}", "\n\n\n", cell.source).strip("\n")
            if cell.cell_type == "markdown":
                cell.source = neutral(cell.source)
            return cell
        make = new_code_cell if self.way == "code" else new_markdown_cell
        new = make(str(self.value).strip("\n"))
        new.metadata = cell.metadata if make is new_code_cell or cell.cell_type == "markdown" else new.metadata
        return new


def changes(lesson: str, folder: Path = FOLDER) -> list[Change]:
    """The entries of a lesson ("03_augmentation" or "03"); none without a file. Raises ValueError for a wrong one."""
    file = folder / f"{lesson.split('_')[0]}.toml"
    written = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    found = []
    for entry in written.get("cell", []):
        ways = [way for way in WAYS if way in entry]
        if len(ways) != 1 or set(entry) != {"has", *ways}:
            raise ValueError(f"{file.name}: an entry has `has` and one of {', '.join(WAYS)}; got {', '.join(entry)}")
        found.append(Change(entry["has"], ways[0], entry[ways[0]]))
    return found


def places(notebook: NotebookNode, some: Iterable[Change]) -> dict[int, Change]:
    """The index of each change's cell. Raises ValueError for a phrase that no cell has, or several, or a cell twice."""
    texts = [" ".join(cell.source.split()) for cell in notebook.cells]
    found: dict[int, Change] = {}
    for change in some:
        wanted = " ".join(change.has.split())
        fits = [index for index, text in enumerate(texts) if wanted in text]
        if len(fits) != 1 or fits[0] in found:
            n = f"{len(fits)} cells have" if len(fits) != 1 else "an earlier entry is about the cell with"
            raise ValueError(f"{n} {change.has!r}; an entry's phrase is in one cell, and a cell in one entry")
        found[fits[0]] = change
    return found


def neutral(text: str) -> str:
    """A lesson's text without the sentences that speak of solar cells, and without what refers back to them.

    Headings stay; a line of a list or table that loses everything goes; code blocks are left alone.
    """
    kept = []
    for block in re.split(r"\n{2,}", text):
        lines = [unit for unit in (_neutral_unit(unit) for unit in _units(block)) if unit]
        is_bare_table = block.lstrip().startswith("|") and len(lines) <= 2
        if lines and not is_bare_table:
            kept.append("\n".join(lines))
    return "\n\n".join(kept)


def _units(block: str) -> list[str]:
    """The block's lines, those that go on joined to the one before; a fenced block is one unit."""
    if "```" in block:
        return [block]
    units: list[str] = []
    for line in block.split("\n"):
        if units and not UNIT.match(line) and not units[-1].startswith(("|", "#", "<details")):
            units[-1] += f"\n{line}"
        else:
            units.append(line)
    return units


def _neutral_unit(unit: str) -> str:
    if unit.startswith(("#", "```")) or re.fullmatch(r"\|[\s|:-]+\|?", unit):
        return unit
    if unit.startswith("|"):
        return "" if SOLAR_WORDS.search(unit) else unit
    if unit.startswith("<details"):
        return unit
    kept, dropped = [], False
    for sentence in SENTENCE.split(unit):
        dropped = bool(SOLAR_WORDS.search(sentence)) or (dropped and bool(REFERS_BACK.match(sentence)))
        if not dropped:
            kept.append(sentence)
    if not kept:
        return ""
    mark = UNIT.match(unit)
    rest = "".join(kept).strip("\n ")
    return rest if not mark or rest.startswith(mark[0].strip()) else f"{mark[0]}{rest}"


def read_lesson(path: Path) -> NotebookNode:
    """The lesson for the chosen set, by the entries in the folder `elsewhere` beside it.

    A learner's copy is given as it is, for it was made for one set.
    """
    notebook = read_notebook(path)
    if is_solar() or "course" in notebook.metadata:
        return notebook
    return elsewhere(notebook, path.stem, path.parent / FOLDER.name)


def elsewhere(notebook: NotebookNode, lesson: str, folder: Path = FOLDER) -> NotebookNode:
    """The lesson for another set, without outputs: a new object. Raises ValueError as `places` does."""
    bare = [{**cell, "outputs": [], "execution_count": None} if "outputs" in cell else cell for cell in notebook.cells]
    copy = normalise({**notebook, "cells": bare})
    changed = places(copy, changes(lesson, folder))
    cells = []
    for index, cell in enumerate(copy.cells):
        if index in changed:
            cell = changed[index].applied(cell)
        elif cell.cell_type == "markdown":
            cell.source = neutral(cell.source)
        else:
            cell.source = cell.source.replace(CHOICE, f"DATA = {json.dumps(set_name())}")
        if cell is not None and cell.source.strip():
            cells.append(cell)
    copy.cells = cells
    return normalise(copy)
