"""Stored outputs: the same bytes when stored twice, nothing when a cell fails, text and back."""

import json

import pytest

from tests.tools.small_lessons import LESSON, notebook_of, snapshot
from tools import store
from tools.notebook_files import read_notebook, write_notebook


def test_text_and_back_keeps_cells_tags_and_slides():
    notebook = store.from_text(LESSON)
    assert store.from_text(store.to_text(notebook)) == notebook
    assert "jupytext" not in store.to_text(notebook)


@pytest.mark.notebooks
def test_storing_twice_changes_no_byte(lessons, tmp_path):
    draft = tmp_path / "03_draft.py"
    draft.write_text(
        '# %% [markdown]\n# # 03\n\n# %%\nimport ipywidgets\nipywidgets.IntSlider(3)\n\n# %%\nprint("n")\n'
    )
    assert store.main(["--folder", str(lessons), "--from", str(draft)]) == 0
    first = (lessons / "03_draft.ipynb").read_bytes()
    assert store.main(["--folder", str(lessons), "03"]) == 0
    assert (lessons / "03_draft.ipynb").read_bytes() == first
    stored = read_notebook(lessons / "03_draft.ipynb")
    assert stored.cells[1].outputs[0].data == {"text/plain": "IntSlider(value=3)"}
    assert [cell.get("execution_count") for cell in stored.cells] == [None, 1, 2]
    assert first.endswith(b"}\n")


@pytest.mark.notebooks
def test_a_notebook_that_fails_is_not_stored(lessons, capsys):
    write_notebook(lessons / "03_bad.ipynb", notebook_of("1 / 0"))
    before = snapshot(lessons)
    assert store.main(["--folder", str(lessons), "03"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert snapshot(lessons) == before


@pytest.mark.notebooks
def test_all_notebooks_are_stored_as_a_new_readers_run_and_their_board_beside_them(lessons, course_data, capsys):
    for name in ("models/old.safetensors", "board.json"):
        (course_data / name).parent.mkdir(parents=True, exist_ok=True)
        (course_data / name).write_text("old")
    look = (
        "import os\nfrom pathlib import Path\nhome = Path(os.environ['COURSE_DATA'])\n"
        "print(sorted(path.name for path in home.iterdir()))"
    )
    write_notebook(lessons / "03_look.ipynb", notebook_of(look))
    assert store.main(["--folder", str(lessons)]) == 0
    assert read_notebook(lessons / "03_look.ipynb").cells[0].outputs[0].text == "['runs']\n"
    assert json.loads((lessons / "board.json").read_text())["rows"] == []
    [old] = course_data.glob("runs/*-before-*/models/old.safetensors")
    assert old.read_text() == "old" and "is now in" in capsys.readouterr().out


@pytest.mark.notebooks
def test_some_notebooks_meet_what_earlier_ones_left_and_write_no_board(lessons, course_data):
    (course_data / "models").mkdir(parents=True)
    assert store.main(["--folder", str(lessons), "02"]) == 0
    assert (course_data / "models").is_dir() and not (lessons / "board.json").exists()
