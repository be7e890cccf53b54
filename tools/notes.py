"""Write NOTES.md, the page for whoever follows a lecture: `python -m tools.notes` (= `make notes`).

The page is made of notebooks/notes.toml: each line of the five documents that the course retells, our line that runs,
the lesson that shows it, and what is wrong or dated in it. `--check` writes nothing and fails when the page is old.
"""

import argparse
import itertools
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from data_setup.base.files import write_atomically
from tools.notebook_files import NOTEBOOKS, find_notebooks, headings, read_notebook, run_cli, text_anchor

DATA, PAGE = NOTEBOOKS / "notes.toml", NOTEBOOKS / "NOTES.md"
SAID = {"taught": "", "here": "", "corrected": "**Corrected.** ", "outdated": "**Dated.** "}

IMPORTS = """\
import re

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import data_setup
from helpers import ImageData, Interpretation, Learner, find_images, label_by_regex
from helpers import plot_confusion, plot_loss, plot_lr, plot_lr_find, show_batch
from helpers import show_picks, show_results, split_stratified
from helpers.figures.pictures import plot_top_losses
from helpers.lessons import KeepBest, basic, measure_flatness, print_groups, side_on
from helpers.lessons.course import summary
from helpers.models.groups import spread_rates
from helpers.training.schedules import one_cycle
"""

START = """\
path = data_setup.prepare("solar")
data = ImageData.from_folders(path, size=128, augment=side_on())
learn = Learner.pretrained(data)
preds = learn.get_preds()
interp = Interpretation(preds)
lr, lrs = 1e-3, [1e-5, 1e-4, 1e-3]
"""

TOP = f"""\
# The lecture notes, line by line

For whoever follows a lecture or its notes: five documents of three generations of fastai, each line beside ours, with
the lesson that shows it and what we would say differently today. The words and defaults of the generations stand in
[NAMES.md](NAMES.md). `make notes` makes this page from `notebooks/notes.toml`.

Every line in the column *here* is run by the tests, a section's lines one after the other. They need these imports,

```python
{IMPORTS}```

and each section starts from this (the tests take smaller pictures and a smaller network):

```python
{START}```

Where a line of the notes is followed by → *words*, it was typed into this kit, and the words are what it answers.
`make work STYLE=clean` writes copies of the lessons in which the line of the notes stands above each step.
"""


@dataclass(frozen=True)
class Line:
    """One line of a document. `generation` is that of the document."""

    document: str
    generation: str
    at: str  # line or lines of the document
    notes: str  # what it says
    how: str  # taught, here, corrected or outdated
    theirs: str = ""  # its code
    answer: str = ""  # a piece of what this kit says when that is typed; empty: nothing is tried
    ours: str = ""  # code that does it here
    where: tuple[str, ...] = ()  # "02: phrase of a cell"
    says: str = ""

    @property
    def name(self) -> str:
        return f"{self.document}, line {self.at}"


@dataclass(frozen=True)
class Section:
    heading: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Document:
    title: str
    generation: str
    about: str
    sections: tuple[Section, ...]


def read_documents(path: Path = DATA) -> tuple[Document, ...]:
    """The data file. Raises ValueError naming a line that does not say how it is dealt with."""
    documents = []
    for document in tomllib.loads(path.read_text(encoding="utf-8"))["document"]:
        sections = []
        for section in document["section"]:
            made = {"document": document["key"], "generation": document["generation"]}
            lines = (Line(**made, **(line | {"where": tuple(line.get("where", ()))})) for line in section["line"])
            sections.append(Section(section["heading"], tuple(lines)))
        documents.append(Document(document["title"], document["generation"], document["about"], tuple(sections)))
    for line in all_lines(documents):
        if line.how not in SAID:
            raise ValueError(f"{line.name}: how is one of {', '.join(SAID)}; got {line.how!r}")
        needed = "where" if line.how == "taught" else "says"
        if not getattr(line, needed):
            raise ValueError(f"{line.name}: it is {line.how!r}, so it needs {needed!r}")
    return tuple(documents)


def all_lines(documents: tuple[Document, ...] | list[Document]) -> Iterator[Line]:
    for document in documents:
        for section in document.sections:
            yield from section.lines


def read_lessons(folder: Path = NOTEBOOKS) -> dict[str, tuple[Path, NotebookNode]]:
    """Each lesson by its number: "01b" -> its file and notebook."""
    return {path.stem.partition("_")[0]: (path, read_notebook(path)) for path in find_notebooks(folder=folder)}


def lines_of(name: str, documents: tuple[Document, ...] | None = None) -> list[tuple[str, Line]]:
    """(phrase of a cell, line) of each line that refers to the lesson of that file name, "02_lr_find"."""
    lesson = name.partition("_")[0] + ": "
    lines = all_lines(documents or read_documents())
    return [(where.removeprefix(lesson), line) for line in lines for where in line.where if where.startswith(lesson)]


def find_cell(cells: list[NotebookNode], phrase: str) -> int | None:
    """The first code cell with the phrase in it, else the first text cell; line breaks count as spaces."""
    wanted = " ".join(phrase.split())
    for kind in ("code", "markdown"):
        for index, cell in enumerate(cells):
            if cell.cell_type == kind and wanted in " ".join(cell.source.split()):
                return index
    return None


def missing_references(documents: tuple[Document, ...], lessons: Mapping[str, tuple[Path, NotebookNode]]) -> list[str]:
    """A sentence for each reference that leads nowhere."""
    missing = []
    for line in all_lines(documents):
        for reference in line.where:
            lesson, _, phrase = reference.partition(": ")
            if lesson not in lessons:
                missing.append(f"{line.name}: there is no lesson {lesson!r}")
            elif find_cell(lessons[lesson][1].cells, phrase) is None:
                missing.append(f"{line.name}: {_gone(lesson, phrase)}")
    return missing


def _gone(lesson: str, phrase: str) -> str:
    return f"no cell of lesson {lesson} has {phrase!r} any more; change it in notebooks/notes.toml, then make notes"


def link(reference: str, lessons: Mapping[str, tuple[Path, NotebookNode]]) -> str:
    """A Markdown link to the section that holds the cell."""
    lesson, _, phrase = reference.partition(": ")
    path, notebook = lessons[lesson]
    index = find_cell(notebook.cells, phrase)
    if index is None:
        raise ValueError(_gone(lesson, phrase))
    *_, (_, heading) = itertools.chain([(1, "")], headings(notebook.cells[: index + 1]))
    anchor = re.sub("[`*]", "", heading).replace(" ", "-").replace("(", "%28").replace(")", "%29")
    return f"[{lesson} {heading}]({path.name}#{anchor})"


def in_table(text: str) -> str:
    """A bar would end the table's cell."""
    return text.replace("|", "\\|")


def code(text: str) -> str:
    """Code in a table's cell: a line each."""
    return "<br>".join(f"`{in_table(line)}`" for line in text.splitlines())


def row(line: Line, lessons: Mapping[str, tuple[Path, NotebookNode]]) -> str:
    answer = f" → *{line.answer}*" if line.answer else ""
    theirs = f"<br>{code(line.theirs)}{answer}" if line.theirs else ""
    links = "<br>".join(dict.fromkeys(link(reference, lessons) for reference in line.where))
    said = SAID[line.how] + in_table(line.says)
    return f"| {in_table(line.notes)}{theirs} | {code(line.ours)} | {links} | {said} |"


def page(documents: tuple[Document, ...], lessons: Mapping[str, tuple[Path, NotebookNode]]) -> str:
    """The whole of NOTES.md."""
    parts = [TOP, "| document | fastai | lines | corrected | dated |\n|---|---|---|---|---|"]
    for document in documents:
        counts = Counter(line.how for line in all_lines([document]))
        total = f"{counts.total()} | {counts['corrected']} | {counts['outdated']}"
        parts[-1] += f"\n| [{document.title}](#{text_anchor(document.title)}) | {document.generation} | {total} |"
    for document in documents:
        parts.append(f"## {document.title}\n\nfastai {document.generation}. {document.about}")
        for section in document.sections:
            rows = "\n".join(row(line, lessons) for line in section.lines)
            parts.append(f"### {section.heading}\n\n| the notes | here | lesson | today |\n|---|---|---|---|\n{rows}")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.notes", description="Write notebooks/NOTES.md from notes.toml.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is old")
    chosen = parser.parse_args(arguments)
    documents, lessons = read_documents(), read_lessons()
    if missing := missing_references(documents, lessons):
        print("\n".join(missing))
        return 1
    text = page(documents, lessons)
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if chosen.check:
        print("notebooks/NOTES.md is older than notes.toml or the lessons' headings: make notes")
        return 1
    with write_atomically(PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.name}: {len(list(all_lines(documents)))} lines")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
