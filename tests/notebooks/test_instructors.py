"""What notebooks/INSTRUCTORS.md says is true: minutes add up, sections, targets and tests that it names exist."""

import ast
import functools
import re
from pathlib import Path

import pytest

from tools.notebook_files import NOTEBOOKS, ROOT, find_notebooks, minutes, read_notebook, title

PAGE = NOTEBOOKS / "INSTRUCTORS.md"
TEXT = PAGE.read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TIMETABLES = {  # heading: minutes
    "90 minutes": 90,
    "Half a day": 240,
    "Two days: the first day": 420,
    "Two days: the second day": 420,
}
PAUSES = {"break", "meal"}
COURSES = 10  # that the table of features compares with


def below(heading: str) -> str:
    """The text under a heading of level 2 or 3, up to the next one of its level or above."""
    found = re.search(rf"^(##+) {re.escape(heading)}$", TEXT, flags=re.MULTILINE)
    assert found, f"INSTRUCTORS.md has no heading {heading!r}"
    rest = TEXT[found.end() :]
    end = re.search(rf"^#{{2,{len(found[1])}}} ", rest, flags=re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str) -> list[list[str]]:
    """The cells of the rows of the first table in a text, without its header and the line under that."""
    lines = re.findall(r"^\|(.*)\|$", text, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


# --- timetables -------------------------------------------------------------------------------------------------------


def wrong_times(rows: list[list[str]], total: int) -> list[str]:
    """Rows that do not begin when the one before ends, and a last one that is not at the end of the time there is."""
    wrong, at = [], 0
    for start, lasts, *_ in rows:
        if start != f"{at // 60}:{at % 60:02}":
            wrong.append(f"a row begins at {start} and should at {at // 60}:{at % 60:02}")
        at += int(lasts or 0)
    return wrong + ([f"it takes {at} minutes of {total}"] if at != total or rows[-1][1] else [])


@pytest.mark.parametrize("name", TIMETABLES)
def test_each_timetable_adds_up(name):
    assert wrong_times(table(below(name)), TIMETABLES[name]) == []


def test_a_timetable_that_does_not_add_up_is_noticed():
    good = [["0:00", "50", "a", ""], ["0:50", "20", "b", ""], ["1:10", "", "end", ""]]
    assert wrong_times(good, 70) == []
    assert wrong_times(good, 90) == ["it takes 70 minutes of 90"]
    assert wrong_times([["0:00", "45", "a", ""], *good[1:]], 65) == [
        "a row begins at 0:50 and should at 0:45",
        "a row begins at 1:10 and should at 1:05",
    ]
    assert wrong_times(good[:2], 70) == ["it takes 70 minutes of 70"], "no row says when it ends"


@pytest.mark.parametrize("name", TIMETABLES)
def test_each_row_names_sections_of_lessons_and_nobody_sits_for_two_hours(name):
    since_pause = 0
    for start, lasts, what, sections in table(below(name))[:-1]:
        since_pause = 0 if what in PAUSES else since_pause + int(lasts)
        assert since_pause <= 105, f"no break before {start}"
        assert what in PAUSES or ".ipynb#" in sections, f"{start} {what} names no section"


def test_two_days_give_every_lesson_the_minutes_it_asks_for():
    rows = [row for name in TIMETABLES if name.startswith("Two days") for row in table(below(name))]
    for path in find_notebooks():
        given = sum(int(row[1]) for row in rows if path.name in row[3])
        assert given >= sum(minutes(read_notebook(path))), path.stem


# --- lesson by lesson -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_every_lesson_has_its_part_with_its_minutes(path):
    notebook = read_notebook(path)
    text = below(title(notebook, path.stem))
    teaching, exercises = minutes(notebook)
    assert f"Teaching {teaching} minutes, exercises {exercises}:" in text
    assert f"({path.name})" in text
    assert [
        part
        for part in ("Talking points", "Typical mistakes", "In groups", "To discuss")
        if f"**{part}**\n\n- " not in text
    ] == []


def test_every_make_target_it_names_exists():
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", TEXT, flags=re.MULTILINE))
    assert named and named <= set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE))


# --- the table of features --------------------------------------------------------------------------------------------


COMPARED, HELD = "What other courses have, and what this one has", "The tests that hold it"


@functools.cache
def functions_of(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def is_test(name: str) -> bool:
    """Whether `tests/file.py::test_function` is there."""
    file, _, function = name.partition("::")
    return (ROOT / file).is_file() and function.startswith("test_") and function in functions_of(ROOT / file)


def test_every_claim_about_this_kit_names_tests_that_are_there():
    claims = {}
    for feature, ours, *others in table(below(COMPARED).partition("###")[0]):
        assert len(others) == COURSES and {*others, ours} <= {"yes", "partly", "no", "?", "n/a"}, feature
        claims[feature] = ours
    assert len(claims) >= 27 and set(claims.values()) <= {"yes", "partly", "no"}
    held = {feature: re.findall(r"`([^`]+)`", tests) for feature, tests in table(below(HELD))}
    assert list(held) == [feature for feature, ours in claims.items() if ours != "no"]
    assert [feature for feature, tests in held.items() if not tests] == []
    assert [test for tests in held.values() for test in tests if not is_test(test)] == []
