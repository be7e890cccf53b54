"""From a solved notebook to what a learner gets: solutions cut out, outputs gone, and on request no prose."""

import ast
import hashlib
import re

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from tools.files import headings, normalise, tags

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


def digest(notebook: NotebookNode) -> str:
    """What the lesson says, without its outputs."""
    text = "\0".join(f"{cell.cell_type} {cell.source}" for cell in normalise(notebook).cells)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
