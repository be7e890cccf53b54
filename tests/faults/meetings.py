"""What came of each lesson under each fault: the words for it, a file that keeps it, and the page's table.

The file is written after every meeting, so that a run that was interrupted keeps what it has measured, and a run of
some lessons leaves the others' results as they are.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from data_setup.base.files import write_atomically
from tests.faults.case import MOST_LINES
from tests.faults.doses import Tally

KEPT = Path(__file__).with_name("meetings.json")
WALK = "no network"  # and no GPU, on the way that makes the data folders for the other faults
FAULTS = {  # name -> row of the ledger
    WALK: 50,
    "no data yet": 18,
    "read-only data": 54,
    "one-picture class": 20,
    "killed predecessor": 40,
    "full disk": 39,
}
MAY_STOP = ("read-only data", "one-picture class", "full disk")  # whoever wants to go on has to do something
# What an error has to say: which file or setting, and what to do about it.
REMEDY = r"\b(set|make|delete|choose|change|move|take|put|add|run|install|save|give|use|write|type|export|check) "
HEADING = """Lessons under faults

Each lesson runs on its own kernel, with a tenth of the photographs, on the data folder as the lessons before it leave
it. One-picture class: somebody has put a folder with one picture among the photographs, and into the folder of lesson
09. Killed predecessor: in the middle of saving what it hands on. "one message [5]": it stopped in code cell 5 with an
error of at most six lines that names the file or the setting and what to do. Whatever happened, the photographs and
the learner's own files were byte for byte what they were, and every kept model and table could be read.

`make faults LONG=notebooks` holds all meetings, one after another, and writes each down here and in meetings.json as it
comes; `NAMES="03 04"` those of these lessons, `MISSING=1` those that were never held."""


@dataclass(frozen=True)
class Ran:
    """What came of one lesson under one fault."""

    lesson: str
    fault: str
    seconds: float
    cell: int | None = None  # the code cell in which it stopped
    error: str = ""
    lost: tuple[str, ...] = ()  # the user's files that are not what they were
    warned: str = ""  # what it wrote to stderr
    notes: tuple[str, ...] = ()  # printed lines that speak of the fault
    writes: tuple[str, ...] = ()  # the files it put in their places

    @property
    def end(self) -> str:
        """One of "finished", "one message" and "bad"."""
        if self.lost:
            return "bad"
        if self.cell is None:
            return "finished"
        says = re.search(REMEDY, self.error) and re.search(r"/|[A-Z]{4,}_|\.\w{2,4}\b|'", self.error)
        is_short = len(self.error.splitlines()) <= MOST_LINES
        return "one message" if self.fault in MAY_STOP and says and is_short else "bad"

    def in_words(self) -> str:
        """ "finished", or "one message [12]" with the number of the code cell."""
        return self.end if self.cell is None else f"{self.end} [{self.cell}]"


def read_kept(file: Path = KEPT) -> dict[tuple[str, str], Ran]:
    """(lesson, fault) -> what came of it when it was last tried."""
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return {(one["lesson"], one["fault"]): ran_from(one) for one in found}


def ran_from(told: dict) -> Ran:
    """A `Ran` as JSON tells it."""
    return Ran(**{name: tuple(value) if isinstance(value, list) else value for name, value in told.items()})


def keep(ran: Ran, file: Path = KEPT) -> dict[tuple[str, str], Ran]:
    """Put it in place of the older result of this meeting; returns all that are kept now."""
    kept = read_kept(file) | {(ran.lesson, ran.fault): replace(ran, warned="", writes=())}  # which only the run needs
    order = list(FAULTS)
    ordered = sorted(kept.values(), key=lambda one: (one.lesson, order.index(one.fault)))
    told = [{name: value for name, value in asdict(one).items() if value not in (None, "", ())} for one in ordered]
    with write_atomically(file) as temporary:
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in told)
        temporary.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return kept


def tally_of(rans: Iterable[Ran], lessons: Iterable[str]) -> Tally:
    """All meetings in one line, and the table for the page."""
    tally, rans = Tally(), list(rans)
    for ran in rans:
        tally.times += 1
        tally.seconds += ran.seconds
        tally.lost += bool(ran.lost)
        tally.facts[ran.end] += 1
        if ran.end == "bad" and not ran.lost:
            tally.foreign[f"{ran.lesson[:3].rstrip('_')} {ran.fault}"] += 1
    tally.section = f"{HEADING}\n\n{table(rans, lessons)}\n"
    return tally


def table(rans: Iterable[Ran], lessons: Iterable[str]) -> str:
    """Lesson by fault, as Markdown; below it every message with which a lesson stopped."""
    ends = {(ran.lesson, ran.fault): ran for ran in rans}
    rows = [["lesson", *(f"{fault}, no GPU" if fault == WALK else fault for fault in FAULTS)]]
    rows.append(["---"] * len(rows[0]))
    for lesson in lessons:
        cells = [ends.get((lesson, fault)) for fault in FAULTS]
        rows.append([lesson, *("" if ran is None else ran.in_words() for ran in cells)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    messages = [f"- {ran.lesson}, {ran.fault}: {' '.join(ran.error.split())}" for ran in ends.values() if ran.error]
    return "\n".join([*lines, "", *sorted(messages)])
