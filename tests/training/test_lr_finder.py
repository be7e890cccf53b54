"""The learning-rate finder: no trace, fastai's numbers, and no advice where there is none to give."""

import math
import random

import numpy as np
import pytest
import torch

from helpers.data.augment import side_on
from helpers.data.dataset import ImageData
from helpers.figures.curves import plot_lr_find
from helpers.learner import Learner
from helpers.runtime.text import number
from helpers.training import lr_finder
from helpers.training.lr_finder import (
    LRFinderResult,
    fall_and_error,
    minimum,
    read_curve,
    slide,
    smoothed,
    steep,
    valley,
)

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
    kept = learn.source().plain.clone()
    before = state(learn)
    learn.lr_find(steps=STEPS)
    assert_same(before, state(learn))
    assert torch.equal(learn.source().plain, kept)


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


@pytest.mark.parametrize("at", range(STEPS))
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_at_any_step_leaves_no_trace(learner, monkeypatch, at, error):
    """Catches weights that stay spoilt after Ctrl-C or a broken picture (fastai keeps them, and deletes its backup)."""
    learn = learner()
    before = state(learn)
    batches = lr_finder.batches_forever

    def breaking(run):
        for place, batch in enumerate(batches(run)):
            if place == at:
                raise error("broken")
            yield batch

    monkeypatch.setattr(lr_finder, "batches_forever", breaking)
    with pytest.raises(error):
        learn.lr_find(steps=STEPS, end=1e-2)
    assert_same(before, state(learn))


def test_an_interrupt_inside_a_step_leaves_no_trace(learner, monkeypatch):
    """Catches a rollback that only covers the time between two steps."""
    learn = learner()
    before = state(learn)
    step = torch.optim.AdamW.step

    def breaking(self, closure=None):
        step(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.AdamW, "step", breaking)
    with pytest.raises(KeyboardInterrupt):
        learn.lr_find(steps=STEPS, start=1e-2)
    assert_same(before, state(learn))


@pytest.mark.parametrize("precompute", [True, False])
def test_nothing_is_written_to_disk(data, course_data, tmp_path, precompute):
    """Catches fastai's temporary file (read-only folders on Kaggle, two searches at once)."""
    learn = Learner.pretrained(data, "test_resnet", pretrained=False, precompute=precompute)
    learn.source().indices_of("train")
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
    monkeypatch.setattr(ImageData, "train_batches", lambda self, *args: keys.append(args[2:]) or batches(self, *args))
    learn.lr_find(steps=10, end=1e-6)
    assert len(keys) == 4 == len(set(keys)), "three batches an epoch"


def test_layer_groups_keep_their_proportions(learner, monkeypatch):
    """Catches one rate for all groups: the curve would say nothing about the rates that will be used."""
    seen = []
    step = torch.optim.AdamW.step

    def watching(self, closure=None):
        seen.append([group["lr"] for group in self.param_groups])
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", watching)
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


# The suggestions -----------------------------------------------------------------------------------------------


def fastai_minimum(lrs, losses):
    return lrs[int(np.argmin(losses))] / 10


def fastai_steep(lrs, losses):
    slopes = [(losses[i + 1] - losses[i]) / (math.log(lrs[i + 1]) - math.log(lrs[i])) for i in range(len(lrs) - 1)]
    return lrs[slopes.index(min(slopes))]


def fastai_valley(lrs, losses):
    """As published in fastai 2.8 (callback/schedule.py), loop for loop."""
    n = len(losses)
    max_start, max_end = 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(0, i):
            if losses[i] < losses[j] and lds[i] < lds[j] + 1:
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return lrs[max_start + int(sections) + int(sections / 2)]


def fastai_slide(lrs, losses, lr_diff=15, thresh=0.005):
    grads = [losses[1] - losses[0]]
    grads += [(losses[i + 1] - losses[i - 1]) / 2 for i in range(1, len(losses) - 1)]
    grads += [losses[-1] - losses[-2]]
    r, left, found = -1, -1 - lr_diff, lrs[-1 - lr_diff]
    while left >= -len(losses) and abs(grads[r] - grads[left]) > thresh:
        found = lrs[left]
        r, left = r - 1, left - 1
    return found


RULES = {
    "minimum": (minimum, fastai_minimum),
    "steep": (steep, fastai_steep),
    "valley": (valley, fastai_valley),
    "slide": (slide, fastai_slide),
}


def typical(n=85, noise=0.0, seed=0):
    """Rates and smoothed losses of a usual search: flat, falling around 1e-3, rising from 1e-1 on."""
    lrs = np.geomspace(1e-6, 10, n)
    x = np.log10(lrs)
    losses = 2 - 1.2 / (1 + np.exp(-3 * (x + 3))) + 2.5 / (1 + np.exp(-4 * (x - 0.2)))
    return lrs, losses + noise * np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(12))
def test_suggestions_are_fastais_formulas(rule, seed):
    """Catches any of the four rules off by a point, on smooth and on ragged curves."""
    ours, theirs = RULES[rule]
    lrs, losses = typical(n=40 + 5 * seed, noise=0.02 * (seed % 4), seed=seed)
    assert ours(lrs, losses) == pytest.approx(theirs(lrs.tolist(), losses.tolist()), rel=1e-12)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # fastai's own, with NumPy 2
@pytest.mark.parametrize("rule", RULES)
def test_suggestions_are_fastais_functions(rule):
    """Catches a mistake in the formulas above: the same against the installed fastai (extra `bench`)."""
    schedule = pytest.importorskip("fastai.callback.schedule")
    for seed in range(8):
        lrs, losses = typical(n=60, noise=0.01 * (seed % 3), seed=seed)
        theirs = getattr(schedule, rule)(torch.tensor(lrs), torch.tensor(losses), 100)[0]
        assert RULES[rule][0](lrs, losses) == pytest.approx(float(theirs), rel=1e-5)


def test_minimum_is_a_tenth_of_the_lowest_point():
    """Catches advising the lowest point itself, where training has stopped getting better."""
    lrs = np.geomspace(1e-5, 1, 101)
    assert minimum(lrs, (np.log10(lrs) + 2) ** 2) == pytest.approx(1e-3)


def test_steep_is_where_the_slope_is_steepest():
    """Catches the slope against the rate instead of its logarithm, which always favours small rates."""
    lrs = np.geomspace(1e-6, 1, 121)
    losses = -np.tanh(4 * (np.log10(lrs) + 2.5))
    assert abs(math.log10(steep(lrs, losses)) + 2.5) <= 0.051


def test_valley_is_the_middle_of_the_longest_fall():
    """Catches the start or end of the fall. A rise, then 30 falling points, then a rise: the middle of the fall."""
    lrs = np.geomspace(1e-6, 1, 60)
    losses = np.concatenate([np.linspace(3.1, 4, 10), np.linspace(3, 1, 30), np.linspace(1.1, 5, 20)])
    # 31 points with the first of the rise above it, ending at 39: 39 - 31 + 10 + 5
    assert valley(lrs, losses) == lrs[39 - 31 + 31 // 3 + 31 // 6]


def test_slide_is_before_the_loss_slides_upwards():
    """Catches a walk from the left. A straight fall to point 59, then a curve upwards: 15 points before its foot."""
    lrs = np.geomspace(1e-6, 1, 80)
    fall = 3 - 0.02 * np.arange(60)
    losses = np.concatenate([fall, fall[-1] + 0.05 * np.arange(1, 21) ** 2])
    assert slide(lrs, losses) == lrs[59 - 15]


@pytest.mark.parametrize("n", [10, 15, 16, 17])
def test_slide_takes_short_curves(n):
    """Catches an index before the first point (fastai: IndexError on a curve of fewer than 16 points)."""
    lrs = np.geomspace(1e-6, 1, n)
    assert slide(lrs, np.linspace(3, 1, n) ** 3) == lrs[0]


@pytest.mark.parametrize("beta", [0.9, 0.98])
def test_smoothing_is_the_debiased_average(beta):
    """Catches a first point drawn towards zero: of a constant it must be that constant."""
    assert smoothed([3.0] * 50, beta) == pytest.approx([3.0] * 50)
    losses = np.random.default_rng(0).random(40)
    powers = beta ** np.arange(40)[::-1]
    for n in (1, 7, 40):
        expected = np.average(losses[:n], weights=powers[-n:])
        assert smoothed(losses, beta)[n - 1] == pytest.approx(expected)


# What a curve says ---------------------------------------------------------------------------------------------


def raw(smooth):
    """The losses whose debiased average is `smooth`."""
    averages = [value * (1 - 0.98 ** (i + 1)) for i, value in enumerate(smooth)]
    return [(now - 0.98 * before) / 0.02 for before, now in zip([0.0, *averages], averages, strict=False)]


def test_a_usual_curve_gets_all_four_and_a_sentence():
    """Catches points that fastai does not look at taken into account, and a rate the figure writes in another way."""
    lrs, losses = typical(n=100)
    curve = read_curve(lrs.tolist(), raw(losses))
    assert curve.smooth == pytest.approx(losses.tolist())
    for rule, (_, theirs) in RULES.items():
        expected = theirs(lrs[10:-5].tolist(), list(curve.smooth)[10:-5])
        assert getattr(curve, rule) == pytest.approx(expected)
    assert curve.advice == f"Take the valley, about {number(curve.valley)}, or a rate near it."
    assert 1e-4 < curve.valley < 1e-1 and f"valley {number(curve.valley)}" in plot_lr_find(curve).detail


CURVES_WITHOUT_ADVICE = {
    "flat": ([2.0] * 100, "never clearly falls"),
    "rising": (np.linspace(2, 7, 100).tolist(), "never clearly falls"),
    "gone after 20 steps": (np.linspace(2, 1, 20).tolist(), "left the curve after 20 steps"),
    "gone at once": ([2.0, math.nan], "left the curve after 2 steps"),
    "nan after the tenth": ([*np.linspace(2, 1, 18), *[math.nan] * 10], "left the curve after 28 steps"),
    "one step": ([2.0], "left the curve after 1 steps"),
}


@pytest.mark.parametrize("name", CURVES_WITHOUT_ADVICE)
def test_no_advice_where_there_is_none(name):
    """Catches a suggestion from a curve that says nothing (fastai: 4e-7 or 0.2, or argmin of an empty slice)."""
    smooth, sentence = CURVES_WITHOUT_ADVICE[name]
    lrs = np.geomspace(1e-7, 10, 100)[: len(smooth)].tolist()
    curve = read_curve(lrs, raw(smooth))
    assert isinstance(curve, LRFinderResult) and curve.advice.startswith("No advice") and sentence in curve.advice
    assert (curve.minimum, curve.steep, curve.valley, curve.slide) == (None,) * 4
    assert len(curve.lrs) == len(curve.losses) == len(curve.smooth) == len(smooth), "what was seen stays visible"


LRS = np.geomspace(1e-7, 10, 100)


def scattering(losses, scatter, seed):
    return (np.array(losses) + scatter * np.random.default_rng(seed).normal(size=len(losses))).tolist()


@pytest.mark.parametrize("scatter", [0.03, 0.3])
def test_a_flat_curve_that_scatters_gets_no_advice(scatter):
    """Catches a rule with a fixed share: the smoothed line of flat losses falls by 5 % often enough, by luck."""
    curves = [read_curve(LRS, scattering([1.0] * 100, scatter, seed)) for seed in range(200)]
    assert sum(curve.valley is not None for curve in curves) <= 10


@pytest.mark.parametrize("scatter", [0.03, 0.3])
def test_a_clear_fall_with_the_same_scatter_gets_advice(scatter):
    """Catches a rule so strict that a usual batch of 32 gets none: the losses fall by one and a half scatters."""
    falling = [1 - 1.5 * scatter / (1 + math.exp(-3 * (math.log10(rate) + 4))) for rate in LRS]
    curves = [read_curve(LRS, scattering(falling, scatter, seed)) for seed in range(200)]
    assert sum(curve.valley is not None for curve in curves) >= 190


def test_a_small_fall_without_scatter_is_a_fall():
    """Catches the old rule: 2.5 % of the first loss is little, but here there is no doubt about it."""
    assert read_curve(LRS, np.linspace(2, 1.95, 100).tolist()).valley is not None


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_whether_there_is_advice_does_not_depend_on_the_size_of_the_loss(unit):
    """Catches a threshold in units of the loss."""
    for seed in range(20):
        losses = scattering(np.linspace(1, 0.9, 100), 0.1, seed)
        advised = read_curve(LRS, losses).valley is not None
        assert (read_curve(LRS, (unit * np.array(losses)).tolist()).valley is not None) == advised


def test_fall_and_error_by_hand():
    """Catches halves of unequal weight and a scatter that counts the fall: one drop of 1 among seven differences."""
    fall, error = fall_and_error([1.0, 1, 1, 1, 0, 0, 0, 0])
    assert fall == 1
    assert error == pytest.approx(math.sqrt(1 / 7 / 2) * math.sqrt(1 / 4 + 1 / 4))


def test_the_error_is_how_far_the_fall_of_flat_losses_strays():
    """Catches a standard error off by a factor such as √2."""
    pairs = np.array([fall_and_error(scattering([1.0] * 41, 0.2, seed)) for seed in range(2000)])
    assert pairs[:, 0].std() == pytest.approx(pairs[:, 1].mean(), rel=0.05)


def test_nan_at_the_end_only_shortens_the_curve():
    """Catches advice refused because the very end, which nobody takes, has left the numbers."""
    lrs, losses = typical(n=80)
    curve = read_curve(lrs.tolist(), [*raw(losses[:70]), *[math.nan] * 10])
    assert curve.valley == pytest.approx(fastai_valley(lrs[10:70].tolist(), losses[10:70].tolist()))


def test_a_real_search_advises_a_rate_that_trains(learner):
    """Catches the whole chain put together wrongly: pictures a network can tell apart, and a loss that falls."""
    learn = learner()
    curve = learn.lr_find()
    assert curve.valley is not None, curve.advice
    assert 1e-6 < curve.valley < 1
    history = learn.fit(curve.valley, 4)
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
