"""Write the learner's own copies: `python -m tools.learner_copies` (= `make work`).

With COURSE_DATA_SET=NAME, or another set named in lesson 00, the copies are for that set (see tools/elsewhere.py).
A copy is made from the solved notebook, so the two cannot drift apart: cells tagged `solution` are left out,
a cell with a line `# solution` ends there with "Write your code here.", outputs are gone. A copy that exists
is never written again; `--reset 03` keeps the old one as 03_augmentation.bak-1.ipynb first. `--style clean`
makes twins with headings and code only, the line of the lecture notes above each step (see tools/notes.py), to follow
a lecture with, in work/clean/.
"""

import argparse
import ast
import hashlib
import itertools
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from data_setup.base.files import write_atomically
from tools import notes
from tools.elsewhere import read_lesson
from tools.notebook_files import (
    NOTEBOOKS,
    ROOT,
    find_notebooks,
    headings,
    normalise,
    read_notebook,
    run_cli,
    tags,
    title,
    write_notebook,
)

MARK = re.compile(r"^([ \t]*)# solution[ \t]*$", flags=re.MULTILINE)
STUB = "# Write your code here."
WIDTH = 88  # columns of code on the site and the slides


def learner_copy(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its solutions cut out and no outputs: a new object."""
    copy = normalise(notebook)
    copy.cells = [cell for cell in copy.cells if "solution" not in tags(cell)]
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = cut_solution(cell.source)
    copy.metadata["course"] = {"lesson": digest(notebook)}
    return copy


def is_solution(cell: NotebookNode) -> bool:
    """Whether a learner should try before reading on: the cell's tag says so, or a line `# solution` in it."""
    return "solution" in tags(cell) or bool(cell.cell_type == "code" and MARK.search(cell.source))


def cut_solution(source: str) -> str:
    """The cell's code up to a line `# solution`, then the invitation to write; all of it without such a line.

    Raises ValueError when what is left is not Python: a copy must run while its exercises are unfinished.
    """
    mark = MARK.search(source)
    if not mark:
        return source
    stub = source[: mark.start()] + mark[1] + STUB
    for ending in ("", f"\n{mark[1]}..."):  # "..." is a body for a function that has nothing else
        if _is_python(stub + ending):
            return stub + ending
    raise ValueError(f"this cell is not valid Python once its solution is cut:\n{stub}")


def _is_python(source: str) -> bool:
    try:
        ast.parse(TransformerManager().transform_cell(source))  # %magics and ? are fine
    except SyntaxError:
        return False
    return True


def clean_copy(notebook: NotebookNode, lines: Iterable[tuple[str, notes.Line]] = ()) -> NotebookNode:
    """The learner's copy with code and headings, without the prose.

    lines: (phrase, line of the lecture notes); the line stands as a comment in the first code cell with the phrase.
    """
    copy = learner_copy(notebook)
    _write_notes_into(copy.cells, lines)
    cells = []
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = "\n\n".join(f"{'#' * level} {text}" for level, text in headings([cell]))
            cell.pop("attachments", None)
        if cell.source:
            cells.append(cell)
    copy.cells = cells
    return copy


def _write_notes_into(cells: list[NotebookNode], lines: Iterable[tuple[str, notes.Line]]) -> None:
    comments: dict[int, list[str]] = {}
    for phrase, line in lines:
        index = notes.find_cell(cells, phrase)
        if index is not None and cells[index].cell_type == "code":
            words = f"# in the notes ({line.generation}): {' '.join(line.theirs.split()) or line.notes}"
            words += " (corrected in NOTES.md)" if line.how == "corrected" else ""
            comments.setdefault(index, []).extend(textwrap.wrap(words, WIDTH, subsequent_indent="#   "))
    for index, texts in comments.items():
        cells[index].source = "\n".join([*dict.fromkeys(texts), cells[index].source])


def digest(notebook: NotebookNode) -> str:
    """What the lesson says, without its outputs."""
    text = "\0".join(f"{cell.cell_type} {cell.source}" for cell in normalise(notebook).cells)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_copy(path: Path, folder: Path, *, clean: bool = False, reset: bool = False) -> str:
    """Write the copy of the notebook at `path` into `folder`; returns what was done, in words."""
    target, lesson = folder / path.name, read_lesson(path)
    if target.exists() and not reset:
        changed = _lesson_of(target) not in (None, digest(lesson))
        return "kept as it is" + (f"; the lesson has changed since: --reset {path.stem}" if changed else "")
    try:
        copy = clean_copy(lesson, notes.lines_of(path.stem)) if clean else learner_copy(lesson)
    except ValueError as error:
        error.add_note(f"in {path.name}")
        raise
    what = "written"
    if target.exists():
        numbers = (folder / f"{path.stem}.bak-{number}.ipynb" for number in itertools.count(1))
        backup = next(free for free in numbers if not free.exists())
        target.rename(backup)
        what = f"written anew; your old one is {backup.name}"
    write_notebook(target, copy)
    return what


def _lesson_of(copy: Path) -> str | None:
    """Which version of the lesson a learner's file was made from; None when it does not say."""
    try:
        return read_notebook(copy).metadata.get("course", {}).get("lesson")
    except (ValueError, AttributeError):  # whatever the learner has made of the file, it stays
        return None


def write_progress_page(paths: list[Path], folder: Path) -> None:
    """A list of all lessons with boxes to tick; once it exists it is the learner's, and only gains new lessons."""
    page = folder / "README.md"
    begun = "# My progress\n\nWrite an x between the brackets of what you have finished.\n\n"
    text = page.read_text(encoding="utf-8") if page.exists() else begun
    missing = [path for path in paths if f"({path.name})" not in text]
    if not missing:
        return
    boxes = [f"- [ ] [{title(read_notebook(path), path.stem)}]({path.name})\n" for path in missing]
    with write_atomically(page) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n" * (1 + (text == begun)) + "".join(boxes), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.learner_copies", description="Write your own copies of the lessons.")
    parser.add_argument("--style", choices=["full", "clean"], default="full", help="clean: headings and code only")
    parser.add_argument("--reset", metavar="NAME", help="write this one (or `all`) anew and keep the old as a backup")
    parser.add_argument("--from", dest="lessons", type=Path, default=NOTEBOOKS, help="where the lessons are")
    parser.add_argument("--folder", type=Path, default=ROOT / "work", help="where your copies go")
    chosen = parser.parse_args(arguments)
    clean = chosen.style == "clean"
    folder = chosen.folder / "clean" if clean else chosen.folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in find_notebooks([chosen.reset] if chosen.reset not in (None, "all") else [], chosen.lessons):
        print(f"{path.stem}: {write_copy(path, folder, clean=clean, reset=bool(chosen.reset))}")
    if not clean:
        write_progress_page(find_notebooks(folder=chosen.lessons), folder)
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
