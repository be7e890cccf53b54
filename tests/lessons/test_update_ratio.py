"""Update against weight: the ratio is that of the weights before and after each step."""

import math

import pytest
import torch

from helpers.lessons.update_ratio import UpdateRatio, plot_update_ratio
from helpers.training.run import Hook


class Watch(Hook):
    """Keeps the head's matrices after every step."""

    def __init__(self, learn):
        self.learn = learn
        self.seen = [self.head()]

    def head(self):
        matrices = [weight for weight in self.learn.model.head.parameters() if weight.ndim > 1]
        return torch.cat([weight.detach().flatten().clone() for weight in matrices])

    def on_step_end(self, run):
        self.seen.append(self.head())


def test_the_ratio_is_that_of_consecutive_weights(learn):
    """Catches a ratio against the first weights, and one of the gradient instead of the step."""
    ratio, watch = UpdateRatio(learn), Watch(learn)
    learn.fit(1e-2, 2, hooks=[ratio, watch])
    by_hand = [
        math.log10(float((after - before).norm() / before.norm()))
        for before, after in zip(watch.seen, watch.seen[1:], strict=False)
    ]
    assert ratio.ratios["head"] == pytest.approx(by_hand, abs=1e-5)
    assert len(by_hand) == 6


def test_only_groups_that_train_are_measured_and_a_later_training_goes_on(learn):
    ratio = UpdateRatio(learn)
    learn.fit(1e-2, 1, hooks=[ratio])
    assert list(ratio.ratios) == ["head"]
    learn.precompute = False
    learn.unfreeze()
    learn.fit([0.0, 1e-3, 1e-2], 1, hooks=[ratio])
    assert {name: len(values) for name, values in ratio.ratios.items()} == {"head": 6, "group 0": 3, "group 1": 3}
    assert ratio.ratios["group 0"] == [-math.inf] * 3, "a rate of zero moves nothing"
    assert ratio.ratios["group 1"][0] < ratio.ratios["head"][3], "a lower rate takes shorter steps"


def test_the_figure_holds_the_line_and_every_group():
    drawing = plot_update_ratio({"group 0": [-4.0, -4.2, -4.1], "head": [-2.0, -2.5, -3.0]})
    ax = drawing.figure.axes[0]
    assert [list(line.get_ydata()) for line in ax.lines][:2] == [[-4.0, -4.2, -4.1], [-2.0, -2.5, -3.0]]
    assert [-3, -3] in [list(line.get_ydata()) for line in ax.lines]
    assert "group 0 10^-4.1, head 10^-2.5" in drawing.detail
    low, high = ax.get_ylim()
    assert low < -4.2 and high > -2


def test_without_a_step_there_is_a_sentence():
    assert "no step" in plot_update_ratio({}).text
