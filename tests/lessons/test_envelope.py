"""The envelope: what is in it, that it is counted, and whose intervals are drawn by block."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import data_setup
from data_setup.items import Item
from helpers.analysis.predictions import Predictions
from helpers.lessons.envelope import block_of, measures_by_block, open_envelope


@pytest.fixture
def course(data, pictures, monkeypatch):
    """24 drawn pictures to train and validate on, and as many of the same kinds in a sealed folder beside them."""
    sealed = pictures / "test"
    for label in ("dark", "light"):
        (sealed / label).mkdir(parents=True)
        for file in sorted((pictures / label).glob("*.png"))[:4]:
            (sealed / label / f"mono_{label}_{61 + int(file.stem[-2:]):04}.png").write_bytes(file.read_bytes())
    (sealed / "SEALED.txt").write_text("lesson 07 opens it\n")
    monkeypatch.setattr(data_setup, "prepare", lambda: pictures)
    return data


def test_the_envelope_validates_on_the_sealed_photographs_and_keeps_the_rest(course):
    """Catches a sealed photograph among those that train, and other settings than those the model knows."""
    opened = open_envelope(course)
    assert opened.split.train == course.split.train
    assert len(opened.split.valid) == 8 and all(name.startswith("test/") for name in opened.split.valid)
    assert {item.name.split("/")[1] for item in opened.items_of("valid")} == {"dark", "light"}
    assert (opened.size, opened.augment, opened.batch_size) == (course.size, course.augment, course.batch_size)


def test_a_learner_that_trained_answers_about_the_sealed_photographs(course, learn):
    """Catches names that the leak guard takes for training pictures, and answers about the old validation part."""
    learn.fit(1e-3, 1)
    learn.set_data(open_envelope(course))
    assert [item.name for item in learn.get_preds().items] == list(learn.data.split.valid)
    assert len(learn.tta(2).items) == 8


def test_every_opening_is_counted_and_said(course, course_data, capsys):
    for expected in ("for the first time", "Opened 2 times", "Opened 3 times"):
        open_envelope(course)
        assert expected in capsys.readouterr().out
    (course_data / "envelope.json").write_text("{")
    open_envelope(course)
    said = capsys.readouterr().out
    assert "is damaged" in said and "Opened 2 times" in said and "first time" not in said


def test_an_opening_that_cannot_be_counted_does_not_happen(course, tmp_path, monkeypatch):
    """Catches "opened for the first time" for ever, on a disk that is full."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "blocked"))
    (tmp_path / "blocked").write_text("a file where a folder should be")
    with pytest.raises(PermissionError, match="cannot write in .*blocked.*set COURSE_DATA"):
        open_envelope(course)


def test_blocks_are_sixty_published_numbers():
    paths = [SimpleNamespace(stem=f"mono_functional_{number:04}") for number in (1, 60, 61, 2624)]
    assert [block_of(SimpleNamespace(path=path)) for path in paths] == [0, 0, 1, 43]


def test_intervals_draw_whole_blocks(tmp_path):
    """Cells of a block answered all alike: catches an interval that takes them for independent, half as wide."""
    rng = np.random.default_rng(0)
    numbers = range(1, 481)
    right = np.repeat(rng.random(8) < 0.6, 60)
    targets = torch.arange(480) % 2
    probs = torch.full((480, 2), 0.2)
    probs[range(480), torch.where(torch.from_numpy(right), targets, 1 - targets)] = 0.8
    items = tuple(Item(str(n), tmp_path / f"mono_functional_{n:04}.png", "x") for n in numbers)
    preds = Predictions(items, probs.log(), targets, ("defective", "functional"))
    accuracy = measures_by_block(preds).accuracy
    assert accuracy.high - accuracy.low > 0.5
    assert accuracy.estimate == pytest.approx(right.mean())
