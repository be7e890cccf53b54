"""The exercises as they stand in the notebooks: stored answers are right, and an unfinished one says so and stops
nothing. Their form is held by tests/notebooks/test_frame.py."""

import ast
import builtins
import re
from unittest.mock import MagicMock

import pytest

from helpers.lessons.checks.verdict import RIGHT, UNFINISHED
from tools.learner_copies import learner_copy
from tools.notebook_files import find_notebooks, read_notebook

PATHS = find_notebooks()
HEADING = re.compile(r"^### Exercise (\d) \((read|change|build)\): \S", flags=re.MULTILINE)
CHECK = re.compile(r"^check_(\d\d[a-z]?)_(\d)\(.+\)$")


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
