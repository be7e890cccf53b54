"""Give a long dose and write its figures into RESULTS.md."""

import sys
import time

from tests.faults.doses import fuzz, races, saves, servers, trains, unpack
from tests.faults.kills import caches, marks
from tests.faults.notebooks import lessons
from tests.faults.page import write_page

DOSES = {  # name -> (what gives it, how often)
    "fuzz": (fuzz, 200_000),
    "saves": (saves, 1_000),
    "unpack": (unpack, 300),
    "trains": (trains, 100),
    "caches": (caches, 100),
    "marks": (marks, 100),
    "races": (races, 100),
    "servers": (servers, 20),
}
LESSONS = "notebooks"


def give(name: str, times: int | None = None, names: list[str] | None = None, missing: bool = False) -> int:
    """Give a dose and write its line into RESULTS.md; 0 when nothing was lost, crashed, foreign or slow.

    names, missing: which lessons, and only meetings that were never held, for "notebooks".
    """
    if name != LESSONS and name not in DOSES:
        print(f"there is no dose {name!r}; choose from {', '.join([*DOSES, LESSONS])}", file=sys.stderr)
        return 2
    started = time.perf_counter()
    if name == LESSONS:
        tally = lessons(names or (), missing=missing)
    else:
        dose, full = DOSES[name]
        tally = dose(times or full)
    tally.seconds = tally.seconds or time.perf_counter() - started
    print(tally.line())
    if times is None:  # shorter tries are not results
        write_page(name, tally)
    return int(not tally.is_clean())
