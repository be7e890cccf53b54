"""What a search for the rate says: fastai's numbers, and no advice where there is none to give."""

import math

import numpy as np
import pytest
import torch

from data_setup.base.text import number
from helpers.analysis.lr_curve import LRFinderResult, fall_and_error, minimum, read_curve, slide, steep, valley
from helpers.figures.curves import plot_lr_find

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
