"""Intervals born on known photographs: how many miss the truth, and what is drawn of them."""

import pytest
import torch
from matplotlib.colors import to_hex

from helpers.figures.style import ORANGE
from helpers.lessons.interval_birth import drawn_intervals, how_an_interval_is_born
from tests.lessons.test_scoreboard import drawn_preds


@pytest.fixture(scope="module")
def preds():
    return drawn_preds(300)


def test_about_one_in_twenty_misses_the_truth_and_four_times_the_photographs_halve_it(preds):
    truth = preds.accuracy()
    small, large = (drawn_intervals(preds, n, times=600) for n in (60, 240))
    for intervals in (small, large):
        missing = sum(not interval.low <= truth <= interval.high for interval in intervals)
        assert 12 < missing < 54, "30 expected of 600; a hundred runs in a hundred lie within"
    widths = [sum(one.high - one.low for one in intervals) for intervals in (small, large)]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.05)


def test_draws_are_with_replacement_and_repeat_with_their_seed(preds):
    whole = [interval.estimate for interval in drawn_intervals(preds, 300, times=50)]
    assert len(set(whole)) > 5, "without replacement all would be the same"
    assert whole == [interval.estimate for interval in drawn_intervals(preds, 300, times=50)]
    assert whole != [interval.estimate for interval in drawn_intervals(preds, 300, times=50, seed=1)]


def test_the_orange_sticks_are_those_that_miss_the_line(preds):
    drawing = how_an_interval_is_born(preds, (30, 120))
    truth = 100 * preds.accuracy()
    for ax, n in zip(drawing.figure.axes, (30, 120), strict=True):
        *sticks, line = ax.get_lines()
        assert len(sticks) == 100 and list(line.get_ydata()) == pytest.approx([truth, truth])
        orange = [to_hex(stick.get_color()).upper() == ORANGE for stick in sticks]
        outside = [not low <= truth <= high for low, high in (stick.get_ydata() for stick in sticks)]
        assert orange == outside
        assert f"{sum(orange)} of 100 miss" in ax.get_title() and f"{n} (≈ {sum(orange)} miss" in drawing.text


def test_the_truth_is_that_of_the_labelled_photographs(preds):
    targets = torch.where(torch.arange(300) < 100, -1, preds.targets)
    some = type(preds)(preds.items, preds.log_probs, targets, preds.classes, "valid")
    assert "on all 200" in how_an_interval_is_born(some, (20,)).text
    with pytest.raises(ValueError, match="at least 1 photograph; got n=0"):
        drawn_intervals(preds, 0)
