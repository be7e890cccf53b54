"""Lessons on the made sets: the short ones here, all of them by `make anyset`."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.anyset.__main__ import refused, run_on
from tools.notebook_files import find_notebooks, write_notebook


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A data folder of the test's own; what `run_on` sets in the environment goes with it."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setenv("COURSE_DATA_SET", "solar")
    return tmp_path / "data"


@pytest.mark.notebooks
@pytest.mark.parametrize(("name", "lessons"), [("marks", ["00"]), ("breeds", ["01"])])
def test_a_short_lesson_runs_on_a_made_set(name, lessons, home):
    """Catches two classes, 300 pixels or a file's name taken for granted in a lesson or in what it calls."""
    assert run_on(name, find_notebooks(lessons), home) == []


@pytest.mark.notebooks
def test_what_fails_is_named_with_its_cell(home, tmp_path):
    notebook = new_notebook(cells=[new_code_cell("x = 1"), new_code_cell("1 / 0")])
    write_notebook(tmp_path / "05_lesson.ipynb", notebook)
    failed = run_on("marks", [tmp_path / "05_lesson.ipynb"], home)
    assert failed == ["marks 05_lesson, code cell [2]: ZeroDivisionError: division by zero"]


def test_a_solution_that_a_check_refuses_is_reported():
    """Catches an exercise that nobody can solve on another set: its check knows the solar cells' answer."""
    said = {"text/plain": "exercise 1: not yet: 3 came, and\n5 is wanted"}
    fine = {"text/plain": "exercise 2: right: and why?"}
    cells = [
        new_code_cell("check_05_1(answer_1)", outputs=[new_output("execute_result", data=said)]),
        new_code_cell("check_05_2(answer_2)", outputs=[new_output("execute_result", data=fine)]),
    ]
    assert refused(new_notebook(cells=cells)) == ["exercise 1: not yet: 3 came, and 5 is wanted"]
