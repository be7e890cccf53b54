"""The learning-rate finder: no trace, fastai's numbers, and no advice where there is none to give."""

import math
import random

import numpy as np
import pytest
import torch

from helpers.data.augment import side_on
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.runtime.torch_gaps import AdamW
from helpers.training import lr_finder
from helpers.training.lr_finder import smoothed

STEPS = 12  # enough for what leaves a trace, quick enough to interrupt at each of them


@pytest.fixture
def learner(data):
    """`learner()`: everything that could leave a trace: augmentation, dropout, BatchNorm and AdamW in every layer."""

    def make(**options):
        options = {"pretrained": False, "precompute": False, **options}
        learn = Learner.pretrained(data.with_augment(side_on()), "test_resnet", **options)
        learn.unfreeze()
        return learn

    return make


def state(learn):
    """Everything that must be as before, bit for bit."""
    model = learn.model
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "strides": {name: tensor.stride() for name, tensor in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "addresses": [p.data_ptr() for p in model.parameters()],
        "random": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1]),  # noqa: NPY002
        "learner": (learn.trained_from, learn.precompute, learn.history, learn.interrupted),
    }


def assert_same(one, other):
    changed = [name for name, tensor in one["tensors"].items() if not torch.equal(tensor, other["tensors"][name])]
    assert changed == []
    for key in ("strides", "modes", "requires_grad", "addresses", "learner"):
        assert one[key] == other[key], key
    for a, b in zip(one["grads"], other["grads"], strict=True):
        assert (a is None) == (b is None) and (a is None or torch.equal(a, b))
    assert torch.equal(one["random"][0], other["random"][0]) and one["random"][1] == other["random"][1]
    assert np.array_equal(one["random"][2], other["random"][2])


# No trace ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_everything_is_as_before(learner, training):
    """Catches weights, statistics, gradients, modes or generators that the search moved (fastai: the generators)."""
    learn = learner()
    learn.fit(1e-3, 1)
    learn.model.train(training)
    if training:
        for number, parameter in enumerate(learn.model.parameters()):
            parameter.grad = torch.full_like(parameter, float(number)) if number % 2 else None
    before = state(learn)
    curve = learn.lr_find(steps=STEPS)
    assert len(curve.losses) > 2, "it has trained"
    assert_same(before, state(learn))


def test_frozen_groups_and_kept_activations_stay_as_they_are(learn):
    """Catches a search that unfreezes, or leaves the source it drew from changed."""
    learn.fit(1e-3, 1)
    kept = learn.source().plain
    first = kept[torch.arange(24)]
    before = state(learn)
    learn.lr_find(steps=STEPS)
    assert_same(before, state(learn))
    assert learn.source().plain is kept and torch.equal(kept[torch.arange(24)], first)


def test_the_training_after_it_is_the_one_without_it(learner):
    """Catches a search that shifts the order, the dropout or the augmentation of what follows (fastai issue 3013)."""
    ends = []
    for searches in (0, 2):
        learn = learner()
        learn.fit(1e-3, 1)
        for _ in range(searches):
            learn.lr_find(steps=STEPS)
        learn.fit_one_cycle(1, 1e-3)
        ends.append((learn.history.losses, [e.valid_loss for e in learn.history.epochs]))
    assert ends[0] == ends[1]


def test_the_same_search_twice_gives_the_same_curve(learner):
    """Catches a search that draws from the global generators."""
    learn = learner()
    first = learn.lr_find(steps=STEPS)
    torch.manual_seed(99)
    assert learn.lr_find(steps=STEPS) == first


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_at_any_step_leaves_no_trace(learner, monkeypatch, error):
    """Catches weights that stay spoilt after Ctrl-C or a broken picture (fastai keeps them, and deletes its backup)."""
    learn = learner()
    before = state(learn)
    for at in range(STEPS):

        def breaking(batches, *shown, at=at, **how):
            for place, batch in enumerate(batches):
                if place == at:
                    raise error(f"broken at {at}")
                yield batch

        monkeypatch.setattr(lr_finder, "progress", breaking)
        with pytest.raises(error, match=f"broken at {at}$"):
            learn.lr_find(steps=STEPS, end=1e-2)
        assert_same(before, state(learn))


def test_an_interrupt_inside_a_step_leaves_no_trace(learner, monkeypatch):
    """Catches a rollback that only covers the time between two steps."""
    learn = learner()
    before = state(learn)
    step = AdamW.step

    def breaking(self, closure=None):
        step(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(AdamW, "step", breaking)
    with pytest.raises(KeyboardInterrupt):
        learn.lr_find(steps=STEPS, start=1e-2)
    assert_same(before, state(learn))


@pytest.mark.parametrize("precompute", [True, False])
def test_nothing_is_written_to_disk(data, course_data, tmp_path, precompute):
    """Catches fastai's temporary file (read-only folders on Kaggle, two searches at once)."""
    learn = Learner.pretrained(data, "test_resnet", pretrained=False, precompute=precompute)
    learn.source()
    learn.predict()  # pictures decoded, activations kept
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    learn.lr_find(steps=STEPS)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


# The search ----------------------------------------------------------------------------------------------------


def test_rates_are_evenly_spaced_in_log_from_start_to_end(learner):
    """Catches a linear search, an end that is not reached, and steps that are not taken."""
    curve = learner().lr_find(steps=STEPS, start=1e-6, end=1e-3)
    assert curve.lrs == pytest.approx(np.geomspace(1e-6, 1e-3, STEPS).tolist())
    assert len(curve.losses) == len(curve.smooth) == STEPS


def test_it_takes_as_many_epochs_as_its_steps_need(learner, monkeypatch):
    """Catches a search that ends with the first epoch (0.7) or repeats the same order in each."""
    keys = []
    learn = learner()
    batches = ImageData.train_batches
    monkeypatch.setattr(
        ImageData, "train_batches", lambda self, *args, **share: keys.append(args[2:]) or batches(self, *args, **share)
    )
    learn.lr_find(steps=10, end=1e-6)
    assert len(keys) == 4 == len(set(keys)), "three batches an epoch"


def test_layer_groups_keep_their_proportions(learner, monkeypatch):
    """Catches one rate for all groups: the curve would say nothing about the rates that will be used."""
    seen = []
    step = AdamW.step

    def watching(self, closure=None):
        seen.append([group["lr"] for group in self.param_groups])
        return step(self)

    monkeypatch.setattr(AdamW, "step", watching)
    curve = learner().lr_find(slice(1e-5, 1e-3), steps=STEPS, end=1e-2)
    assert [rates[-1] for rates in seen] == pytest.approx(curve.lrs)
    for rates in seen:
        assert rates[-1] / rates[0] == pytest.approx(100) and rates[-1] / rates[2] == pytest.approx(10)


def test_it_stops_at_four_times_the_best_loss(learner, monkeypatch):
    """Catches a rule on the raw loss, or one that compares with the first loss."""
    script = iter([1.0, 0.5, 0.4, 3.0, 9.0, 99.0, 999.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    monkeypatch.setattr(lr_finder, "train_step", lambda run, batch: torch.tensor(next(script)))
    curve = learner().lr_find(steps=STEPS)
    average, smooth = 0.0, []
    for i, loss in enumerate([1.0, 0.5, 0.4, 3.0, 9.0, 99.0, 999.0]):
        average = 0.98 * average + 0.02 * loss
        smooth.append(average / (1 - 0.98 ** (i + 1)))
        if smooth[-1] > 4 * min(smooth):
            break
    assert curve.smooth == pytest.approx(smooth)
    assert len(curve.lrs) == len(smooth) == 5


@pytest.mark.parametrize("end", [math.inf, math.nan])
def test_it_stops_at_a_loss_that_is_no_number(learner, monkeypatch, end):
    """Catches a hundred steps of nan."""
    script = iter([1.0, 0.5, end, 1.0])
    monkeypatch.setattr(lr_finder, "train_step", lambda run, batch: torch.tensor(next(script)))
    curve = learner().lr_find(steps=STEPS)
    assert len(curve.losses) == 3
    assert "No advice" in curve.advice and curve.valley is None


@pytest.mark.parametrize(
    "asked", [{"start": 1.0, "end": 0.1}, {"start": 0.0}, {"start": 1.0, "end": 1.0}, {"steps": 9}, {"start": -1.0}]
)
def test_a_search_that_makes_no_sense_is_refused(learn, asked):
    """Catches ZeroDivisionError, and curves of too few points (fastai: IndexError)."""
    with pytest.raises(ValueError, match="the finder needs 0 < start < end and at least 10 steps"):
        learn.lr_find(**asked)


@pytest.mark.parametrize("beta", [0.9, 0.98])
def test_smoothing_is_the_debiased_average(beta):
    """Catches a first point drawn towards zero: of a constant it must be that constant."""
    assert smoothed([3.0] * 50, beta) == pytest.approx([3.0] * 50)
    losses = np.random.default_rng(0).random(40)
    powers = beta ** np.arange(40)[::-1]
    for n in (1, 7, 40):
        expected = np.average(losses[:n], weights=powers[-n:])
        assert smoothed(losses, beta)[n - 1] == pytest.approx(expected)


def test_a_real_search_advises_a_rate_that_trains(learner):
    """Catches the whole chain put together wrongly: pictures a network can tell apart, and a loss that falls."""
    learn = learner()
    curve = learn.lr_find()
    assert curve.valley is not None, curve.advice
    assert 1e-6 < curve.valley < 1
    history = learn.fit(curve.valley, 4)
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
