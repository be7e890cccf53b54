"""Schematics: every number on them is recomputed here, by torch or by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.figures.style import Drawing
from helpers.lessons import drawings
from helpers.lessons.drawings import (
    draw_activation,
    draw_convolution,
    draw_one_cycle,
)
from helpers.lessons.filters import CRACK

ALL = [name for name in dir(drawings) if name.startswith("draw_")]


def words(drawing):
    return [text.get_text() for text in drawing.figure.axes[0].texts]


@pytest.mark.parametrize("name", ALL)
def test_a_schematic_is_the_same_every_time_and_says_what_it_shows(name):
    first, second = getattr(drawings, name)(), getattr(drawings, name)()
    assert isinstance(first, Drawing) and first.text.endswith(".") and len(first.text) > 40
    assert first.png() == second.png()
    assert 5 <= first.figure.get_size_inches()[0] <= 7


@pytest.mark.parametrize("name", ALL)
def test_no_words_leave_the_page_or_are_too_small(name):
    drawing = getattr(drawings, name)()
    drawing.figure.draw_without_rendering()
    page = drawing.figure.bbox
    for ax in drawing.figure.axes:
        for text in ax.texts:
            inside = text.get_window_extent()
            assert page.x0 <= inside.x0 and inside.x1 <= page.x1 and page.y0 <= inside.y0 and inside.y1 <= page.y1, text
            assert text.get_fontsize() >= 12


def test_the_convolution_is_that_of_torch():
    patch = torch.tensor(drawings.PATCH, dtype=torch.float64)[None, None]
    expected = functional.conv2d(patch, torch.tensor(CRACK, dtype=torch.float64)[None, None])[0, 0]
    for row, column in ((0, 1), (1, 1), (2, 0)):
        shown = words(draw_convolution(row=row, column=column))
        total = f"{expected[row, column]:.0f}".replace("-", "−")
        assert f"sum of the nine products in the frame: {total}" in shown
    assert {f"{value:.0f}".replace("-", "−") for value in expected.flatten().tolist()} <= set(shown)
    with pytest.raises(ValueError, match="rows and columns 0 to 2; got 3, 0"):
        draw_convolution(row=3, column=0)


def test_the_activation_is_relu():
    line = draw_activation().figure.axes[0].get_lines()[1]
    xs, ys = (torch.as_tensor(np.asarray(values, dtype=float)) for values in line.get_data())
    assert torch.equal(ys, functional.relu(xs)) and xs.min() < 0 < xs.max()


def test_one_cycle_reaches_its_rates_where_it_says():
    upper, lower = draw_one_cycle(epochs=8, lr=0.02, pct_start=0.25).figure.axes
    epochs, rates = upper.get_lines()[0].get_data()
    assert epochs[int(np.argmax(rates))] == 2 and rates.max() == pytest.approx(0.02) and rates[-1] < 1e-6
    assert rates[0] == pytest.approx(0.02 / 25)
    momentums = lower.get_lines()[0].get_ydata()
    assert (momentums[0], momentums.min(), momentums[-1]) == pytest.approx((0.95, 0.85, 0.95))
