"""Notebook files: found by any of their names, written in one normal form."""

import shutil

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.tools.small_lessons import notebook_of
from tools.notebook_files import WIDGET, find_notebooks, headings, normalise


@pytest.mark.parametrize("name", ["01", "01_lesson", "notebooks/01_lesson.ipynb"])
def test_a_notebook_is_found_by_number_name_or_path(lessons, name):
    assert find_notebooks([name], lessons) == [lessons / "01_lesson.ipynb"]


def test_a_misspelt_name_gets_a_hint(lessons):
    with pytest.raises(FileNotFoundError, match="did you mean '01_lesson'"):
        find_notebooks(["01_leson"], lessons)


def test_a_folder_without_notebooks_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebooks in"):
        find_notebooks(folder=tmp_path)


def test_backups_are_no_lessons(lessons):
    shutil.copy(lessons / "01_lesson.ipynb", lessons / "01_lesson.bak-1.ipynb")
    assert [path.name for path in find_notebooks(folder=lessons)] == ["01_lesson.ipynb", "02_more.ipynb"]


def test_the_normal_form_keeps_what_is_said_and_drops_who_ran_it():
    out = new_output("display_data", data={"text/plain": "Slider()", WIDGET: {"model_id": "77c2"}})
    streams = [
        new_output("stream", name=name, text=text) for name, text in [("stdout", "a"), ("stderr", "e"), ("stdout", "b")]
    ]
    cell = new_code_cell("\nx = 1\n", outputs=[*streams, out], execution_count=7)
    cell.metadata.update(tags=["solution"], scrolled=True, execution={"iopub.execute_input": "2020"})
    result = new_output("execute_result", data={"text/plain": "1"}, execution_count=9)
    cells = [cell, new_code_cell(" "), new_code_cell("x", outputs=[result], execution_count=9)]
    notebook = new_notebook(
        cells=cells, metadata={"widgets": {"state": {}}, "kernelspec": {"name": "mine", "display_name": "Mine"}}
    )
    normal = normalise(notebook)
    assert list(normal.metadata) == ["kernelspec", "language_info"]
    assert (normal.metadata.kernelspec.name, "version" in normal.metadata.language_info) == ("python3", False)
    assert [c.execution_count for c in normal.cells] == [1, 2]
    assert normal.cells[0].metadata == {"tags": ["solution"]}
    assert [o.get("text") for o in normal.cells[0].outputs] == ["ab", "e", None]
    assert normal.cells[0].outputs[2].data == {"text/plain": "Slider()"}
    assert normal.cells[1].outputs[0].execution_count == 2
    assert normalise(normal) == normal
    assert notebook.cells[0].execution_count == 7, "the argument is left alone"


def test_ids_depend_on_the_cell_alone_and_are_unique():
    before, after = notebook_of("a", "b", "b"), notebook_of("new", "a", "b", "b")
    ids = [cell["id"] for cell in before.cells]
    assert ids == [cell["id"] for cell in after.cells[1:]]
    assert len(set(ids)) == 3


def test_a_hash_in_a_code_block_is_no_heading():
    cell = new_markdown_cell("# Title\n```\n# comment\n```\n### Third ###\n#no heading")
    assert list(headings([cell])) == [(1, "Title"), (3, "Third")]
