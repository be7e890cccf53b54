"""Write the learner's own copies: `python -m helpers.lessons.work` (= `make work`).

A copy is made from the solved notebook, so the two cannot drift apart: cells tagged `solution` are left out,
a cell with a line `# solution` ends there with "Write your code here.", outputs are gone. A copy that exists
is never written again; `--reset 03` keeps the old one as 03_augmentation.bak-1.ipynb first. `--style clean`
makes twins with headings and code only, to follow a lecture with, in work/clean/.
"""

import argparse
import ast
import hashlib
import itertools
import re
import sys
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from helpers.lessons.files import (
    NOTEBOOKS,
    ROOT,
    find_notebooks,
    headings,
    normalise,
    read_notebook,
    tags,
    title,
    told,
    write_notebook,
)
from helpers.runtime import write_atomically

MARK = re.compile(r"^([ \t]*)# solution[ \t]*$", flags=re.MULTILINE)
STUB = "# Write your code here."


def learner_copy(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its solutions cut out and no outputs: a new object."""
    copy = normalise(notebook)
    copy.cells = [cell for cell in copy.cells if "solution" not in tags(cell)]
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = cut_solution(cell.source)
    copy.metadata["course"] = {"lesson": _digest(notebook)}
    return copy


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


def clean_copy(notebook: NotebookNode) -> NotebookNode:
    """The learner's copy with code and headings, without the prose."""
    copy = learner_copy(notebook)
    cells = []
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = "\n\n".join(f"{'#' * level} {text}" for level, text in headings([cell]))
            cell.pop("attachments", None)
        if cell.source:
            cells.append(cell)
    copy.cells = cells
    return copy


def _digest(notebook: NotebookNode) -> str:
    """What the lesson says, without its outputs."""
    text = "\0".join(f"{cell.cell_type} {cell.source}" for cell in normalise(notebook).cells)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_copy(path: Path, folder: Path, *, clean: bool = False, reset: bool = False) -> str:
    """Write the copy of the notebook at `path` into `folder`; returns what was done, in words."""
    target, lesson = folder / path.name, read_notebook(path)
    what = "written"
    if target.exists():
        if not reset:
            mine = read_notebook(target).metadata.get("course", {}).get("lesson")
            newer = (
                f"; the lesson has changed since: --reset {path.stem}"
                if mine not in (None, _digest(lesson))
                else ""
            )
            return f"kept as it is{newer}"
        numbers = (folder / f"{path.stem}.bak-{number}.ipynb" for number in itertools.count(1))
        backup = next(free for free in numbers if not free.exists())
        target.rename(backup)
        what = f"written anew; your old one is {backup.name}"
    try:
        write_notebook(target, clean_copy(lesson) if clean else learner_copy(lesson))
    except ValueError as error:
        error.add_note(f"in {path.name}")
        raise
    return what


def write_progress_page(paths: list[Path], folder: Path) -> None:
    """A list of all lessons with boxes to tick; once it exists it is the learner's."""
    page = folder / "README.md"
    if page.exists():
        return
    boxes = [f"- [ ] [{title(read_notebook(path), path.stem)}]({path.name})" for path in paths]
    lines = ["# My progress", "", "Write an x between the brackets of what you have finished.", "", *boxes]
    with write_atomically(page) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="helpers.lessons.work", description="Write your own copies of the lessons."
    )
    parser.add_argument(
        "--style", choices=["full", "clean"], default="full", help="clean: headings and code only"
    )
    parser.add_argument(
        "--reset", metavar="NAME", help="write this one anew and keep the old one as a backup"
    )
    parser.add_argument("--from", dest="lessons", type=Path, default=NOTEBOOKS, help="where the lessons are")
    parser.add_argument("--folder", type=Path, default=ROOT / "work", help="where your copies go")
    chosen = parser.parse_args(arguments)
    clean = chosen.style == "clean"
    folder = chosen.folder / "clean" if clean else chosen.folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in find_notebooks([chosen.reset] if chosen.reset else [], chosen.lessons):
        print(f"{path.stem}: {write_copy(path, folder, clean=clean, reset=bool(chosen.reset))}")
    if not clean:
        write_progress_page(find_notebooks(folder=chosen.lessons), folder)
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
