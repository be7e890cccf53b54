"""The threshold under one's thumb: what is drawn is what was counted."""

import numpy as np
import pytest

from data_setup.base.html import fill
from helpers.lessons import threshold
from helpers.lessons.decisions import decision_cost
from helpers.lessons.threshold import SITUATIONS, STATIC_THRESHOLDS, ThresholdLab, draw_thresholds
from tests.lessons.test_scoreboard import drawn_preds
from tests.review.made import alts, check_page, controls_of, operate, seen


@pytest.fixture(scope="module")
def preds():
    return drawn_preds(150, seed=2)


@pytest.fixture
def unrendered(monkeypatch):
    """The sentence of a figure in place of its pixels."""
    monkeypatch.setattr(threshold, "drawn", lambda drawing: fill("<p>{text}</p>", text=drawing.text))


def test_the_bars_are_the_counts_of_the_record(preds):
    record = decision_cost(preds, positive="defective")
    drawing = draw_thresholds(preds, record, [0.1, 0.5])
    for ax, at in zip(drawing.figure.axes, (0.1, 0.5), strict=True):
        heights = {bars.get_label(): int(sum(bar.get_height() for bar in bars)) for bars in ax.containers}
        entry = record.at(at)
        misses, looks = int(record.misses[entry]), int(record.looks[entry])
        caught = int(record.misses[0]) - misses
        assert heights["broken, missed"] == misses and heights["broken, found"] == caught
        assert heights["sound, looked at"] == caught - looks
        assert heights["sound, left alone"] == -(150 - int(record.misses[0])) - heights["sound, looked at"]
        assert f"missed {misses} of" in ax.get_title() and f"looks {looks}" in ax.get_title()
        assert np.allclose(ax.get_lines()[1].get_xdata(), at)


def test_every_control_moves_the_numbers(preds, unrendered):
    lab = ThresholdLab(preds)
    for control in controls_of(lab):
        if getattr(control, "description", "") == "the board":
            lab.prices["a miss"].value = 300.0
        before = seen(lab)
        operate(control)
        assert control.description.strip() and seen(lab) != before, control


def test_a_situation_sets_both_prices_and_keeps_the_threshold(preds, unrendered):
    lab = ThresholdLab(preds)
    lab.value = 0.2
    for name, (miss, look, _) in SITUATIONS.items():
        lab.buttons[name].click()
        record = lab.record
        assert (record.cost_of_miss, record.cost_of_look, lab.value) == (miss, look, 0.2)
        assert f"{record.words(record.at(0.2))}" in lab.said.value and f"ask for {look / miss:.3g}" in lab.said.value


def test_a_look_more_expensive_than_a_miss_says_why_and_keeps_the_figure(preds, unrendered):
    lab = ThresholdLab(preds)
    before = lab.shown.value
    lab.prices["a look"].value = 150.0
    assert "or none ever pays; got 150 a look and 100 a miss" in lab.said.value and lab.shown.value == before
    lab.buttons["the board"].click()
    assert "Looking twice from 0.5 on" in lab.said.value


def test_the_static_face_has_three_thresholds(preds):
    bundle, _ = ThresholdLab(preds)._repr_mimebundle_()
    assert len(alts(bundle["text/html"])) == 1 and len(bundle["text/html"]) < 150_000
    check_page(bundle["text/html"])
    record = decision_cost(preds, positive="defective")
    for at in STATIC_THRESHOLDS:
        assert f"from {at:g} on {record.words(record.at(at))}" in bundle["text/plain"]


def test_errors_say_what_fits(preds):
    with pytest.raises(ValueError, match="'broken' is not a class"):
        ThresholdLab(preds, positive="broken")
    with pytest.raises(ValueError, match="a probability from 0 to 1; got 50"):
        ThresholdLab(preds).value = 50
