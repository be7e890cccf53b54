"""The ledger: a pytest plugin that counts what every case did in this very run, and the table of it.

A case is a test here with the fixture `case`, or a test elsewhere that ledger.toml names under "right" or "clear":
its name alone, as a test that moves to another file stays the same case.
Nothing counts that did not run and pass: a row without such a case is reported and fails the run.
"""

import re
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.faults.case import OUTCOMES

FILE = Path(__file__).with_name("ledger.toml")
TESTS = Path(__file__).parents[1]
BAD = ("unhelpful", "silent", "lost", "failed")


@dataclass(frozen=True)
class Row:
    """One fault."""

    number: int
    fault: str
    fastai: str  # one of OUTCOMES, or "-" where it was not run
    right: tuple[str, ...] = ()  # tests elsewhere that assert the right result
    clear: tuple[str, ...] = ()  # tests elsewhere that assert a clear error


@cache
def files_of_tests() -> dict[str, list[str]]:
    """Name of a test (or of a state machine's `Test...`) -> the files below tests/ that define it."""
    found = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name in re.findall(r"^(?:def (test_\w+)|(Test\w+) =)", path.read_text(encoding="utf-8"), re.MULTILINE):
            found["".join(name)].append(path.relative_to(TESTS.parent).as_posix())
    return found


def node_of(name: str) -> str:
    """As pytest wants it: "tests/room/test_file.py::test_name[case]". Raises KeyError unless one file defines it."""
    files = files_of_tests().get(name.partition("[")[0], [])
    if len(files) != 1:
        raise KeyError(f"{FILE.name} names {name}, which is in {', '.join(files) or 'no file'} below tests/")
    return f"{files[0]}::{name}"


def read_rows(file: Path = FILE) -> list[Row]:
    """The rows of the ledger, by number."""
    found = tomllib.loads(file.read_text(encoding="utf-8"))["row"]
    rows = []
    for number, facts in found.items():
        lists = {name: tuple(map(node_of, facts.pop(name, ()))) for name in ("right", "clear")}
        rows.append(Row(int(number), **facts, **lists))
    return sorted(rows, key=lambda row: row.number)


@dataclass
class Ledger:
    """As a pytest plugin: hears every report, and prints the table at the end."""

    rows: list[Row]
    counts: dict[int, Counter] = field(default_factory=lambda: defaultdict(Counter))
    failed: set[str] = field(default_factory=set)  # tests with a phase that failed
    skipped: set[str] = field(default_factory=set)

    def pytest_runtest_logreport(self, report):
        test = report.nodeid
        if report.failed:
            self.failed.add(test)
        if report.skipped:
            self.skipped.add(test)
        if report.when != "teardown" or test in self.skipped:
            return
        facts = dict(report.user_properties)
        for row in facts.get("rows", ()):
            outcome = facts.get("outcome", "failed")
            is_false = test in self.failed and outcome in ("right", "clear")
            self.counts[row]["failed" if is_false else outcome] += 1
        for row in self.rows:
            for outcome in ("right", "clear"):
                if {test, test.partition("[")[0], test.removesuffix("::runTest")} & {*getattr(row, outcome)}:
                    self.counts[row.number]["failed" if test in self.failed else outcome] += 1

    def problems(self) -> list[str]:
        """What keeps the ledger from holding, a phrase each."""
        empty = [row.number for row in self.rows if not sum(self.counts[row.number].values())]
        wrong = [f"no case of row {number} ran" for number in empty]
        for row in self.rows:
            counts = self.counts[row.number]
            wrong += [f"row {row.number}: {counts[bad]} {bad}" for bad in BAD if counts[bad]]
        return wrong

    def table(self) -> str:
        """The ledger in plain text."""
        shown = (*OUTCOMES, "failed") if any(counts["failed"] for counts in self.counts.values()) else OUTCOMES
        head = f"{'row':>3}  {'fault':<58} {'cases':>5}" + "".join(f" {name:>9}" for name in shown) + "  fastai"
        lines, total = [head], Counter()
        for row in self.rows:
            counts = self.counts[row.number]
            total += counts
            cells = "".join(f" {counts[name] or '.':>9}" for name in shown)
            lines.append(f"{row.number:>3}  {row.fault:<58} {sum(counts.values()):>5}{cells}  {row.fastai}")
        cells = "".join(f" {total[name]:>9}" for name in shown)
        theirs = Counter(row.fastai for row in self.rows)
        words = ", ".join(f"{theirs[name]} {name}" for name in OUTCOMES)
        lines.append(f"     {'all':<58} {sum(total.values()):>5}{cells}  by rows: {words}, {theirs['-']} not run")
        return "\n".join(lines)

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("ledger of faults")
        terminalreporter.write_line(self.table())
        for problem in self.problems():
            terminalreporter.write_line(f"NOT HELD: {problem}")
