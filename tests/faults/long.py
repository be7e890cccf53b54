"""Give a long dose and write its figures into RESULTS.md."""

import os
import platform
import sys
import time
from datetime import date
from pathlib import Path

from tests.faults.doses import fuzz, races, saves, servers, trains, unpack
from tests.faults.kills import caches, marks
from tests.faults.notebooks import lessons

RESULTS = Path(__file__).with_name("RESULTS.md")
DOSES = {  # name -> (what gives it, how often; of lessons: all)
    "fuzz": (fuzz, 200_000),
    "saves": (saves, 1_000),
    "unpack": (unpack, 300),
    "trains": (trains, 100),
    "caches": (caches, 100),
    "marks": (marks, 100),
    "races": (races, 100),
    "servers": (servers, 20),
    "notebooks": (lessons, None),
}
HEAD = """# Long doses, as measured

`python -m tests.faults --long NAME` gives one and writes its line here. lost: a file, a model or a training that is not
what it was; crashes: processes that died by themselves; foreign: errors that are not the kit's; slow: above 2 s.

| dose | day | machine | seconds | times | lost | crashes | foreign | slow | what happened |
|---|---|---|---|---|---|---|---|---|---|
"""
SECTION = "\n## "


def give(name: str, times: int | None) -> int:
    """Give a dose and write its line into RESULTS.md; 0 when nothing was lost, crashed, foreign or slow."""
    if name not in DOSES:
        print(f"there is no dose {name!r}; choose from {', '.join(DOSES)}", file=sys.stderr)
        return 2
    dose, full = DOSES[name]
    started = time.perf_counter()
    tally = dose(times or full)
    seconds = time.perf_counter() - started
    machine = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    line = f"| {name} | {date.today()} | {machine} | {seconds:,.0f} {tally.line()}"
    print(line)
    if times is None:  # shorter tries are not results
        write(name, line, tally.section)
    return int(not tally.is_clean())


def write(name: str, line: str, section: str) -> None:
    """Put the line of a dose in place of its older one; its section, where it has one, is the page's end."""
    kept, _, older = (RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "").partition(SECTION)
    lines = [one for one in kept.splitlines() if one.split(" | ")[0].removeprefix("| ") in DOSES]
    lines = [one for one in lines if not one.startswith(f"| {name} |")] + [line]
    order = {f"| {dose}": place for place, dose in enumerate(DOSES)}
    lines.sort(key=lambda one: order[one.split(" |")[0]])
    end = section or older
    RESULTS.write_text(HEAD + "\n".join(lines) + "\n" + (SECTION + end.strip() + "\n" if end else ""), encoding="utf-8")
