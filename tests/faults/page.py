"""The page of results: a line for each dose, and below them the table of the lessons."""

import os
import platform
import re
from datetime import date
from pathlib import Path

from tests.faults.doses import Tally

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Long doses, as measured

`python -m tests.faults --long NAME` gives one and writes its line here. lost: a file, a model or a training that is not
what it was; crashes: processes that died by themselves; foreign: errors that are not the kit's; slow: above 2 s.

| dose | day | machine | seconds | times | lost | crashes | foreign | slow | what happened |
|---|---|---|---|---|---|---|---|---|---|
"""
SECTION = "\n## "


def write_page(name: str, tally: Tally, page: Path = RESULTS) -> str:
    """Put the line of a dose in place of its older one; its section, where it has one, is the page's end. Returns the
    line."""
    machine = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    line = f"| {name} | {date.today()} | {machine} | {tally.seconds:,.0f} {tally.line()}"
    kept, _, end = (page.read_text(encoding="utf-8") if page.exists() else "").partition(SECTION)
    lines = {one.split(" | ")[0]: one for one in kept.splitlines() if re.match(r"\| \w+ \| \d{4}-", one)}
    lines[f"| {name}"] = line  # where it stood, or last
    end = (tally.section or end).strip()
    page.write_text(HEAD + "\n".join(lines.values()) + "\n" + (f"{SECTION}{end}\n" if end else ""), encoding="utf-8")
    return line
