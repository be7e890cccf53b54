"""Execute copies of all notebooks in order: `python -m tools.course` (= `make course`).

Every notebook runs on its own fresh kernel in a temporary folder beside the data; the repository stays as it is.
COURSE_DATA_SET=NAME runs the lessons on another set (see tools/elsewhere.py). A notebook says what it found by printing
a line that starts with "headline: "; the table shows the last one.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

import data_setup
from tools import timings
from tools.elsewhere import read_lesson
from tools.execute import CELL_TIMEOUT_S, Outcome, execute
from tools.notebook_files import NOTEBOOKS, find_notebooks, run_cli, write_notebook

COLUMNS = ("notebook", "time", "processor", "longest cell", "memory", "result")  # processor: user and system time


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    outcome: Outcome
    headline: str

    @property
    def result(self) -> str:
        failure = self.outcome.failure
        return f"FAILED in code cell [{failure.cell}]" if failure else self.headline

    def cells(self) -> tuple[str, ...]:
        """As printed, one for each of COLUMNS."""
        outcome = self.outcome
        number, most = outcome.longest_cell
        return (
            self.name,
            f"{outcome.seconds:.0f} s",
            f"{outcome.processor_seconds:.0f} s",
            f"{most:.0f} s in [{number}]",
            f"{outcome.peak_bytes / 2**30:.1f} GiB",
            self.result,
        )

    def measured(self) -> timings.Measured:
        """The figures for README's table."""
        outcome = self.outcome
        gib = outcome.peak_bytes / 2**30
        return timings.Measured(round(outcome.seconds), round(outcome.processor_seconds), gib, self.result)


def headline(notebook: NotebookNode) -> str:
    """The last printed line that starts with "headline: ", without that word; "" when there is none."""
    printed = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
    ]
    found = re.findall(r"^headline: (.*)$", "\n".join(printed), flags=re.MULTILINE)
    return found[-1].strip() if found else ""


class ProgressLine:
    """One line a notebook: rewritten twice a second on a terminal, else printed when the notebook ends."""

    def __init__(self, name: str, stream=None):
        self.name, self.stream = name, stream or sys.stdout
        self.live = self.stream.isatty()

    def show(self, cell: int, cells: int, seconds: float) -> None:
        if self.live:
            self.stream.write(f"\r\x1b[K{self.name:<24} cell {cell} of {cells}, {seconds:.0f} s")
            self.stream.flush()

    def end(self, outcome: Outcome) -> None:
        ran = f"{outcome.cells} cells" if outcome.failure is None else f"stopped at cell {outcome.failure.cell}"
        start = "\r\x1b[K" if self.live else ""
        spent = f"{outcome.seconds:.0f} s, {outcome.processor_seconds:.0f} processor-seconds"
        memory = f"{outcome.peak_bytes / 2**30:.1f} GiB"
        print(f"{start}{self.name:<24} {ran}, {spent}, {memory}", file=self.stream, flush=True)


def run_all(paths: list[Path], folder: Path, *, cell_timeout_s: int = CELL_TIMEOUT_S) -> list[Row]:
    """Execute a copy of each notebook in `folder`, in order; a failure does not stop the next one."""
    rows = []
    for path in paths:
        notebook, line = read_lesson(path), ProgressLine(path.stem)
        outcome = execute(notebook, folder, watch=line.show, cell_timeout_s=cell_timeout_s)
        line.end(outcome)
        rows.append(Row(path.stem, outcome, headline(notebook)))
        if outcome.failure:
            print(f"  {path.name} failed in {outcome.failure}")
            print(f"    memory then: at most {outcome.peak_bytes / 2**30:.1f} GiB")
            try:
                write_notebook(folder / path.name, notebook)
                print(f"    the copy with its outputs up to there: {folder / path.name}", flush=True)
            except OSError as error:  # a full disk, which may be why it failed
                print(f"    the copy with its outputs could not be kept: {error}", flush=True)
    return rows


def table(rows: list[Row]) -> str:
    """The results as aligned text."""
    outcomes = [row.outcome for row in rows]
    total = (
        "total",
        f"{sum(outcome.seconds for outcome in outcomes):.0f} s",
        f"{sum(outcome.processor_seconds for outcome in outcomes):.0f} s",
        f"{max(outcome.longest_cell[1] for outcome in outcomes):.0f} s",
        f"{max(outcome.peak_bytes for outcome in outcomes) / 2**30:.1f} GiB",
        "",
    )
    lines = [COLUMNS, *(row.cells() for row in rows), total]
    wide = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    texts = []
    for name, *figures, result in lines:
        padded = (figure.rjust(width) for figure, width in zip(figures, wide[1:], strict=False))
        texts.append("  ".join([name.ljust(wide[0]), *padded, result]).rstrip())
    return "\n".join(texts)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.course", description="Execute copies of the notebooks.")
    parser.add_argument("names", nargs="*", help="only these, e.g. 03 or 03_augmentation")
    parser.add_argument("--folder", type=Path, default=NOTEBOOKS, help="where the notebooks are (e.g. work)")
    parser.add_argument("--cell-timeout", type=int, default=CELL_TIMEOUT_S, metavar="SECONDS")
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write the table into this Markdown file")
    chosen = parser.parse_args(arguments)
    paths = find_notebooks(chosen.names, chosen.folder)
    everything = find_notebooks(folder=chosen.folder)
    if chosen.table:
        timings.update(chosen.table, everything, {})  # what it lacks is told now, not after a quarter of an hour
    runs = data_setup.home() / "runs"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=runs))
    except OSError as error:
        fix = "make room there, or set COURSE_DATA to a folder that you can write to"
        print(f"the copies that run are kept in {runs}, and nothing can be written there ({error.strerror}): {fix}")
        return 2
    rows: list[Row] = []
    try:
        rows = run_all(paths, folder, cell_timeout_s=chosen.cell_timeout)
    finally:
        if not any(folder.glob("*.ipynb")):  # a copy is kept of what failed
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{table(rows)}")
    if chosen.table:
        timings.update(chosen.table, everything, {row.name: row.measured() for row in rows})
    failed = [row.name for row in rows if row.outcome.failure]
    print(f"\n{len(rows) - len(failed)} of {len(rows)} notebooks ran to their end")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
