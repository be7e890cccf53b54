"""Notebook files: find them, read them, and write them in one normal form."""

import hashlib
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from data_setup.base.arguments import closest
from data_setup.base.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}


def find_notebooks(names: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of `folder` in order; with `names` ("03", "03_augmentation" or a path) only those."""
    found = sorted(path for path in folder.glob("*.ipynb") if ".bak-" not in path.name)
    if not found:
        raise FileNotFoundError(f"there are no notebooks in {folder}")
    return [_named(name, found) for name in names] or found


def _named(name: str, found: list[Path]) -> Path:
    wanted = Path(name).stem
    fits = [path for path in found if path.stem == wanted or path.stem.split("_")[0] == wanted]
    if len(fits) != 1:
        hint = closest(wanted, [path.stem for path in found])
        raise FileNotFoundError(f"{len(fits) or 'no'} notebooks are called {name!r}; {hint}")
    return fits[0]


def run_cli(main: Callable[[], int]) -> int:
    """The exit status of a tool; what is missing and a Ctrl-C are told in a line instead of a traceback."""
    try:
        return main()
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def read_notebook(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def write_notebook(path: Path, notebook: NotebookNode) -> None:
    """Validated, atomic, with one newline at the end."""
    nbformat.validate(notebook)
    with write_atomically(path) as temporary:
        temporary.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8", newline="\n")


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def headings(cells: Iterable[NotebookNode]) -> Iterator[tuple[int, str]]:
    """(level, text) of every Markdown heading; a '#' inside a fenced block is not one."""
    for cell in cells:
        if cell.cell_type == "markdown":
            prose = re.sub(r"^(```|~~~).*?^\1", "", cell.source, flags=re.MULTILINE | re.DOTALL)
            for marks, text in re.findall(r"^(#{1,6})\s+(.+?)\s*#*$", prose, flags=re.MULTILINE):
                yield len(marks), text


def text_anchor(heading: str) -> str:
    """The name of a Markdown text's heading in links, as GitHub makes it: "A `fit`, twice" -> "a-fit-twice"."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def title(notebook: NotebookNode, fallback: str) -> str:
    return next((text for _, text in headings(notebook.cells)), fallback)


def minutes(notebook: NotebookNode) -> tuple[int, int]:
    """Minutes of teaching and of exercises, from the lesson's line "Teaching 25 minutes, exercises 15; ...".

    Raises ValueError when no text cell has such a line.
    """
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    said = re.search(r"^Teaching (\d+) minutes, exercises (\d+);", prose, flags=re.MULTILINE)
    if not said:
        raise ValueError(f'{title(notebook, "this lesson")!r} has no line "Teaching 25 minutes, exercises 15; ..."')
    return int(said[1]), int(said[2])


def normalise(notebook: NotebookNode) -> NotebookNode:
    """The same notebook with nothing in it that depends on who ran it when: a new object.

    Kernel and language are named without versions, cell metadata keeps tags and slide types, ids follow from
    the cells' sources, execution counts run 1..N, streams of one name are merged, widget models (random ids,
    useless without their kernel) and empty code cells go.
    """
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type != "code" or cell.source.strip()]
    seen: set[str] = set()
    count = 0
    for cell in notebook.cells:
        cell.source = cell.source.strip("\n")
        kept = {key: cell.metadata[key] for key in ("slideshow", "tags") if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(kept)
        cell["id"] = _stable_id(cell, seen)
        if cell.cell_type == "code":
            if cell.execution_count is not None:
                count += 1
                cell.execution_count = count
            cell.outputs = [_normal_output(output, cell.execution_count) for output in _merged(cell.outputs)]
    return notebook


def _stable_id(cell: NotebookNode, seen: set[str]) -> str:
    """A hash of the cell's text, so that a change in one cell changes no other's id."""
    texts = (f"{cell.cell_type} {repeat} {cell.source}" for repeat in itertools.count())
    names = (hashlib.sha256(text.encode()).hexdigest()[:8] for text in texts)
    name = next(name for name in names if name not in seen)
    seen.add(name)
    return name


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    merged: list[NotebookNode] = []
    streams: dict[str, NotebookNode] = {}
    for output in outputs:
        if output.output_type == "stream" and output.name in streams:
            streams[output.name].text += output.text
        else:
            merged.append(output)
            if output.output_type == "stream":
                streams[output.name] = output
    return merged


def _normal_output(output: NotebookNode, count: int | None) -> NotebookNode:
    if "data" in output:
        output.data.pop(WIDGET, None)
        for kind in ("image/png", "image/jpeg"):
            if kind in output.data:  # one line, as nbformat wraps it by itself when it writes
                output.data[kind] = output.data[kind].replace("\n", "")
    if output.output_type == "execute_result":
        output.execution_count = count
    return output
