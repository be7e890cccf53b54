"""`python -m tests.anyset [NAMES]`: run the lessons on made sets, in folders of their own, and say what fails."""

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from nbformat import NotebookNode

import data_setup
from tests.anyset.made import SETS
from tools.course import ProgressLine
from tools.elsewhere import read_lesson
from tools.execute import execute
from tools.notebook_files import find_notebooks, run_cli

CELL_TIMEOUT_S = 600
USUAL = ("breeds", "marks")  # 200 classes, `--set kinds`, are asked for by name
NOT_YET = re.compile(r"^exercise \d+: (not yet|not answered yet)", flags=re.MULTILINE)


def run_on(name: str, paths: list[Path], home: Path) -> list[str]:
    """Make the set `name` in the folder `home` and run the notebooks there; a line for each that fails."""
    os.environ.update(COURSE_DATA=str(home), COURSE_DATA_SET=name)
    home.mkdir(parents=True, exist_ok=True)
    SETS[name](home / name)
    failed = []
    for path in paths:
        notebook, line = read_lesson(path), ProgressLine(f"{name} {path.stem}")
        outcome = execute(notebook, home, watch=line.show, cell_timeout_s=CELL_TIMEOUT_S)
        line.end(outcome)
        if outcome.failure:
            print(f"  {outcome.failure}", flush=True)
            first = (outcome.failure.error.splitlines() or [""])[-1]
            failed.append(f"{name} {path.stem}, code cell [{outcome.failure.cell}]: {first}")
        failed += [f"{name} {path.stem}, a solution is refused: {said}" for said in refused(notebook)]
    return failed


def refused(notebook: NotebookNode) -> list[str]:
    """What checks say of the lesson's own solutions, where they do not take them."""
    said = [
        output.data.get("text/plain", "")
        for cell in notebook.cells
        if cell.cell_type == "code" and re.search(r"^check_\w+\(", cell.source, flags=re.MULTILINE)
        for output in cell.outputs
        if "data" in output
    ]
    return [" ".join(text.split()) for text in said if NOT_YET.search(text)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.anyset", description="Run the lessons on made sets.")
    parser.add_argument("names", nargs="*", help="only these, e.g. 03 or 03_augmentation")
    parser.add_argument("--set", choices=SETS, help=f"only this set (default: {' and '.join(USUAL)})")
    chosen = parser.parse_args(arguments)
    paths, begin = find_notebooks(chosen.names), time.monotonic()
    runs = data_setup.home() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    failed = []
    with tempfile.TemporaryDirectory(prefix="anyset-", dir=runs, ignore_cleanup_errors=True) as folder:
        names = [chosen.set] if chosen.set else USUAL
        for name in names:
            failed += run_on(name, paths, Path(folder) / f"data-{name}")
    n = len(paths) * len(names)
    print(f"\n{n} runs in {time.monotonic() - begin:.0f} s; {len(failed)} problems")
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
