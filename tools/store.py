"""Execute notebooks and store their outputs: `python -m tools.store [NAMES]` (= `make notebooks`).

The stored file has one normal form (see `notebook_files.normalise`): storing twice changes only what has to change.
For editing as text there is jupytext's percent format: `--to-text 03 > 03_augmentation.py`, edit, then
`--from 03_augmentation.py`; the draft's file name is the notebook's.

All notebooks together (no names) are stored as a new reader's run: what earlier runs have left in the data folder is
put aside first, and their board is written to board.json and images/board.png beside them.
"""

import argparse
import base64
import os
import sys
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from helpers.lessons.chosen import SOLAR
from tools.course import ProgressLine
from tools.execute import CELL_TIMEOUT_S, execute
from tools.lesson_state import put_aside
from tools.notebook_files import (
    NOTEBOOKS,
    code_cells,
    find_notebooks,
    normalise,
    read_notebook,
    run_cli,
    write_notebook,
)


def from_text(text: str) -> NotebookNode:
    """The notebook that a percent-format text describes. Tags and slide types are kept."""
    return normalise(jupytext.reads(text, fmt="py:percent"))


def to_text(notebook: NotebookNode) -> str:
    """The notebook as percent-format text, without outputs; `from_text` reads it back."""
    notebook = normalise(notebook)
    notebook.metadata = type(notebook.metadata)({"jupytext": {"notebook_metadata_filter": "-all"}})
    return jupytext.writes(notebook, fmt="py:percent")


def store(notebook: NotebookNode, path: Path, *, cell_timeout_s: int = CELL_TIMEOUT_S) -> bool:
    """Execute on a fresh kernel where `path` lies and write it there; False, and no change, if one fails."""
    notebook, line = normalise(notebook), ProgressLine(path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    outcome = execute(notebook, path.parent, watch=line.show, cell_timeout_s=cell_timeout_s)
    line.end(outcome)
    if outcome.failure:
        print(f"  {path.name} failed in {outcome.failure}\n  {path} is unchanged", flush=True)
        return False
    write_notebook(path, normalise(notebook))
    return True


def export_board(folder: Path) -> None:
    """Write the board of the lessons that have just run beside their notebooks, and as lesson 07 draws it."""
    from helpers.lessons.board import Board  # loads torch, which no other part of this tool needs

    Board().export(folder / "board.json")
    for lesson in folder.glob("07_*.ipynb"):
        (folder / "images").mkdir(exist_ok=True)
        (folder / "images" / "board.png").write_bytes(picture_of_the_board(read_notebook(lesson)))


def picture_of_the_board(notebook: NotebookNode) -> bytes:
    """The last board that the notebook shows, as a PNG file."""
    shown = [output.data for cell in code_cells(notebook) for output in cell.outputs if "data" in output]
    boards = [data["image/png"] for data in shown if data.get("text/plain", "").startswith("The board:")]
    return base64.b64decode(boards[-1])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.store", description="Execute and store notebooks.")
    parser.add_argument("names", nargs="*", help="only these, e.g. 03 or notebooks/03_augmentation.ipynb")
    parser.add_argument("--from", dest="drafts", nargs="+", type=Path, metavar="FILE.py", help="(re)create from text")
    parser.add_argument("--to-text", metavar="NAME", help="print one notebook as text and stop")
    parser.add_argument("--folder", type=Path, default=NOTEBOOKS, help="where the notebooks are")
    parser.add_argument("--cell-timeout", type=int, default=CELL_TIMEOUT_S, metavar="SECONDS")
    chosen = parser.parse_args(arguments)
    if chosen.to_text:
        print(to_text(read_notebook(find_notebooks([chosen.to_text], chosen.folder)[0])), end="")
        return 0
    if chosen.drafts:
        if chosen.names:
            parser.error("give names, or drafts with --from, not both")
        jobs = [(draft, chosen.folder / f"{draft.stem}.ipynb") for draft in chosen.drafts]
    else:
        jobs = [(path, path) for path in find_notebooks(chosen.names, chosen.folder)]
    os.environ["COURSE_DATA_SET"] = SOLAR  # stored outputs are the solar cells'
    everything = not (chosen.names or chosen.drafts)
    if everything and (aside := put_aside()):
        print(f"what earlier runs have left in the data folder is now in {aside}", flush=True)
    done = []
    for source, target in jobs:
        notebook = read_notebook(source) if source == target else from_text(source.read_text(encoding="utf-8"))
        done.append(store(notebook, target, cell_timeout_s=chosen.cell_timeout))
    if everything and all(done):
        export_board(chosen.folder)
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(run_cli(main))
