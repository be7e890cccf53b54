"""The exercises as they stand in the notebooks: their form, and that an unfinished one says so and stops nothing."""

import ast
import builtins
import re
from unittest.mock import MagicMock

import pytest

from helpers.lessons.checks.verdict import RIGHT, UNFINISHED
from tools.learner_copies import is_solution, learner_copy
from tools.notebook_files import find_notebooks, read_notebook, tags

PATHS = find_notebooks()
HEADING = re.compile(r"^### Exercise (\d) \((read|change|build)\): \S", flags=re.MULTILINE)
CHECK = re.compile(r"^check_(\d\d)_(\d)\(.+\)$")
HINT = re.compile(r"^<details><summary>Hint (\d)</summary>(.+)</details>$", flags=re.MULTILINE)
GRADES = ["read", "change", "build"]


def exercises(notebook):
    """The cells of each exercise, from its heading to its check."""
    found, part = [], None
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and HEADING.search(cell.source):
            part = []
        if part is not None:
            part.append(cell)
        if part and cell.cell_type == "code" and CHECK.match(cell.source.splitlines()[-1]):
            found.append(part)
            part = None
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_three_exercises_graded_from_reading_to_building(path):
    parts = exercises(read_notebook(path))
    assert [HEADING.search(part[0].source).groups() for part in parts] == [
        (str(number), grade) for number, grade in enumerate(GRADES, start=1)
    ]
    checks = [CHECK.match(part[-1].source.splitlines()[-1]).groups() for part in parts]
    assert checks == [(path.stem[:2], str(number)) for number in (1, 2, 3)]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_each_has_three_hints_a_stub_and_a_solution_with_its_reason(path):
    notebook = read_notebook(path)
    for part in exercises(notebook):
        assert [number for number, _ in HINT.findall(part[0].source)] == ["1", "2", "3"], part[0].source
        assert "`" not in "".join(text for _, text in HINT.findall(part[0].source)), "code in a hint is <code>"
        assert any(is_solution(cell) for cell in part)
        after = notebook.cells[notebook.cells.index(part[-1]) + 1 :]
        reason = next(cell for cell in after if cell.cell_type == "markdown")
        assert "solution" in tags(reason)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_stored_answers_are_right(path):
    for part in exercises(read_notebook(path)):
        number = HEADING.search(part[0].source)[1]
        assert part[-1].outputs[-1].data["text/plain"].startswith(f"exercise {number}: {RIGHT}: ")


class Anything(dict):
    """Names of the lesson that come before its exercises: whatever they are, they take part in everything."""

    def __missing__(self, name):
        if hasattr(builtins, name):
            raise KeyError(name)
        return MagicMock()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_an_unfinished_exercise_says_so_and_stops_nothing(path):
    """Catches a check that takes a stub for a wrong answer, and a stub that does not run: in the learner's copy."""
    notebook = learner_copy(read_notebook(path))
    names = Anything()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            imports = re.findall(r"^from helpers\S* import (?:\([^)]*\)|.*)$", cell.source, flags=re.MULTILINE)
            exec("\n".join(imports), {}, names)
    parts = exercises(notebook)
    assert len(parts) == 3
    for part in parts:
        *stubs, check = [cell.source for cell in part if cell.cell_type == "code"]
        for stub in stubs:
            exec(stub, {}, names)
        *before, last = ast.parse(check).body
        exec(compile(ast.Module(before, []), "<check>", "exec"), {}, names)
        verdict = eval(compile(ast.Expression(last.value), "<check>", "eval"), {}, names)
        assert verdict.state == UNFINISHED, verdict
