"""What the widgets leave in a stored notebook is compared word for word: text, HTML and the pictures' texts."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from tests.notebooks.test_mutation import compare
from tools.execute import execute
from tools.notebook_files import normalise, read_notebook, write_notebook

pytestmark = pytest.mark.notebooks

CELLS = """
import torch
from helpers.review.browsers import LabelBrowser, MistakeBrowser
from data_setup.items import label_by_folder
from helpers.lessons.labs import ScheduleLab
from helpers.analysis.predictions import Predictions

items = label_by_folder("pictures")
probs = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])
preds = Predictions(items, probs.log(), torch.tensor([0, 0, 1, 1]), ("dark", "light"), "valid")
---
LabelBrowser(items, save_to=None)
---
MistakeBrowser(preds, save_to=None)
---
ScheduleLab()
"""
CHANGES = {  # code cell -> what is changed in its stored output
    1: ("labelled light", "labelled dark"),
    2: ("predicted dark 0.60, wrong", "predicted dark 0.61, wrong"),
    3: ("7 epochs", "8 epochs"),
}


def test_a_changed_word_in_a_static_face_turns_its_cell_red(tmp_path):
    for i, name in enumerate(("dark/1", "dark/2", "light/3", "light/4")):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32), 60 * i).save(tmp_path / "pictures" / f"{name}.png")
    notebook = new_notebook(cells=[new_code_cell(cell.strip()) for cell in CELLS.split("---")])
    assert execute(notebook, tmp_path).failure is None
    notebook = normalise(notebook)
    write_notebook(tmp_path / "whole.ipynb", notebook)
    for number, (old, new) in CHANGES.items():
        changed = read_notebook(tmp_path / "whole.ipynb")
        data = changed.cells[number].outputs[0].data
        assert set(data) >= {"text/plain", "text/html"} and old in data["text/html"]
        data["text/html"] = data["text/html"].replace(old, new, 1)
        write_notebook(tmp_path / f"changed_{number}.ipynb", changed)
    outcomes = compare(sorted(tmp_path.glob("*.ipynb")), tmp_path / "profile")
    red = {place for place, outcome in outcomes.items() if outcome == "failed"}
    assert red == {(f"changed_{number}", number) for number in CHANGES}
    assert len(outcomes) == 4 * 4
