"""The table of lessons in README.md: `python -m tools.timings` rewrites it from the notebooks.

Titles and minutes come from the notebooks themselves. Times, memory and result are those that `make timings`
(`tools.course --table`) measures; a lesson that it does not run keeps its figures.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_setup.base.files import write_atomically
from tools.notebook_files import NOTEBOOKS, ROOT, find_notebooks, minutes, read_notebook, run_cli, title

MARKS = ("<!-- timings -->", "<!-- end of timings -->")
HEADER = ("lesson", "teaching", "exercises", "time", "processor time", "memory", "result")
ROW = re.compile(
    r"^\| \[[^\]]*\]\(\S*?(\w+)\.ipynb\) \| .* \| (\d+) s \| (?:(\d+) s|not measured) \| ([\d.]+) GiB \| (.*) \|$",
    flags=re.MULTILINE,
)


@dataclass(frozen=True)
class Measured:
    """One execution of one lesson."""

    seconds: int
    processor_seconds: int | None  # user and system time of kernel and children; None in a table that lacked it
    gib: float  # most memory that the kernel and its children held at once
    result: str  # the lesson's own headline


def table(lessons: list[Path], measured: Mapping[str, Measured]) -> str:
    """The lessons in Markdown, one a row, and what they come to together: minutes and time added, memory at most."""
    rows, taught, practised = [], 0, 0
    for path in lessons:
        notebook, done = read_notebook(path), measured.get(path.stem)
        teaching, exercises = minutes(notebook)
        taught, practised = taught + teaching, practised + exercises
        figures = _figures(done) if done else ("not measured", "", "", "")
        link = f"[{title(notebook, path.stem)}]({path.parent.name}/{path.name})"
        rows.append((link, f"{teaching} min", f"{exercises} min", *figures))
    figures = ("", "", "", "")
    if all(path.stem in measured for path in lessons):
        of = [measured[path.stem] for path in lessons]
        spent = [one.processor_seconds for one in of]
        together = None if None in spent else sum(spent)
        figures = _figures(Measured(sum(one.seconds for one in of), together, max(one.gib for one in of), ""))
    rows.append(("together", f"{taught} min", f"{practised} min", *figures))
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figures(done: Measured) -> tuple[str, str, str, str]:
    processor = "not measured" if done.processor_seconds is None else f"{done.processor_seconds} s"
    return f"{done.seconds} s", processor, f"{done.gib:.1f} GiB", done.result.replace("|", "/")


def measured_in(text: str) -> dict[str, Measured]:
    """What a table made by `table` says was measured, by the notebook's name."""
    return {
        name: Measured(int(seconds), int(processor) if processor else None, float(gib), result)
        for name, seconds, processor, gib, result in ROW.findall(text)
    }


def split_page(page: Path) -> tuple[str, str, str]:
    """The text up to and with the first mark, the table, and the text from the second mark on."""
    before, first, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    block, last, after = rest.partition(MARKS[1])
    if not (first and last):
        raise FileNotFoundError(f"{page} has no lines {MARKS[0]} and {MARKS[1]} to write the table between")
    return before + first, block.strip(), last + after


def update(page: Path, lessons: list[Path], measured: Mapping[str, Measured]) -> None:
    """Rewrite the table in `page` for all `lessons`; those not among `measured` keep their figures."""
    start, block, end = split_page(page)
    text = table(lessons, measured_in(block) | dict(measured))
    with write_atomically(page) as temporary:
        temporary.write_text(f"{start}\n{text}\n{end}", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.timings", description="Rewrite README's table of lessons.")
    parser.add_argument("--from", dest="lessons", type=Path, default=NOTEBOOKS, help="where the notebooks are")
    parser.add_argument("--table", type=Path, default=ROOT / "README.md", metavar="FILE", help="the Markdown file")
    chosen = parser.parse_args(arguments)
    update(chosen.table, find_notebooks(folder=chosen.lessons), {})
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
