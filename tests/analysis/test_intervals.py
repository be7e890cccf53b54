"""Intervals against scipy and the binomial sum; two models on the same pictures compared."""

from dataclasses import replace
from math import comb, isnan
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from data_setup.items import Item
from helpers.analysis.intervals import (
    Interval,
    accuracy_interval,
    accuracy_text,
    compare,
    mcnemar,
    weighted_accuracy,
    wilson,
)
from helpers.analysis.predictions import Predictions


def preds_of(correct: list[bool], *, names: list[str] | None = None) -> Predictions:
    """Two classes, truth always "a"; the model answers "a" where `correct`."""
    right = torch.tensor(correct)
    names = names or [f"{i:03}.png" for i in range(len(correct))]
    probs = torch.where(right[:, None], torch.tensor([0.9, 0.1]), torch.tensor([0.2, 0.8]))
    items = tuple(Item(name, Path(name), "a") for name in names)
    return Predictions(items, probs.log(), torch.zeros(len(correct), dtype=torch.int64), ("a", "b"), "valid")


@settings(deadline=None)  # the first call loads scipy
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(counts):
    correct, n = counts
    ours = wilson(correct, n)
    theirs = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert (ours.estimate, ours.low, ours.high) == pytest.approx((correct / n, theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= ours.estimate <= ours.high <= 1


def test_wilson_of_no_pictures_knows_nothing():
    nothing = wilson(0, 0)
    assert isnan(nothing.estimate)
    assert (nothing.low, nothing.high) == (0, 1)


@pytest.mark.parametrize(("correct", "n"), [(3, 2), (-1, 2)])
def test_wilson_refuses_impossible_counts(correct, n):
    with pytest.raises(ValueError, match=f"got correct={correct}, n={n}"):
        wilson(correct, n)


def test_accuracy_in_one_sentence():
    preds = preds_of([True] * 557 + [False] * 99)
    theirs = stats.binomtest(557, 656).proportion_ci(method="wilson")
    assert (
        accuracy_text(preds)
        == f"≈ 84.9 % of 656, 95 % confidence interval ≈ {100 * theirs.low:.1f} to {100 * theirs.high:.1f}"
    )
    assert accuracy_text(preds) == "≈ 84.9 % of 656, 95 % confidence interval ≈ 82.0 to 87.4"


def test_accuracy_counts_labelled_pictures_only():
    preds = preds_of([True, True, False, True])
    preds = replace(preds, targets=torch.tensor([0, 0, 0, -1]))
    assert accuracy_interval(preds) == wilson(2, 3)
    with pytest.raises(ValueError, match="none of these 4 pictures has a label"):
        accuracy_text(replace(preds, targets=torch.full((4,), -1)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5), st.integers(0, 5))
def test_mcnemar_equals_the_exact_binomial_test(only_first, only_second, both, neither):
    n = only_first + only_second + both + neither
    if n == 0:
        return
    first = preds_of([True] * only_first + [False] * only_second + [True] * both + [False] * neither)
    second = preds_of([False] * only_first + [True] * only_second + [True] * both + [False] * neither)
    result = mcnemar(first, second)
    discordant = only_first + only_second
    tail = sum(comb(discordant, i) for i in range(min(only_first, only_second) + 1)) / 2**discordant
    assert result.p_value == pytest.approx(min(1.0, 2 * tail))
    assert (result.only_first, result.only_second, result.n) == (only_first, only_second, n)
    assert result.difference.estimate == pytest.approx(result.second_accuracy - result.first_accuracy)
    assert result.difference.low - 1e-12 <= result.difference.estimate <= result.difference.high + 1e-12
    outside = result.difference.low > 0 or result.difference.high < 0
    assert outside == (result.p_value < 0.05), "interval and test must not contradict each other"


@pytest.mark.parametrize(("only_second", "more"), [(7, False), (8, True)])
def test_the_interval_of_the_difference_agrees_with_the_test_where_it_is_close(only_second, more):
    """1 against 7: exact p = 0.07; intervals by a normal approximation would already leave 0 out."""
    first = preds_of([True] + [False] * only_second + [True] * 20)
    second = preds_of([False] + [True] * only_second + [True] * 20)
    result = mcnemar(first, second)
    assert result.p_value == pytest.approx(2 * (only_second + 2) / 2 ** (only_second + 1))
    assert (result.p_value < 0.05) == more == (result.difference.low > 0)


def test_compare_says_whether_the_difference_is_significant():
    first = preds_of([True] * 80 + [False] * 20)
    slightly = preds_of([True] * 78 + [False] * 2 + [True] * 5 + [False] * 15)
    much = preds_of([True] * 79 + [False] * 1 + [True] * 12 + [False] * 8)
    assert compare(first, slightly) == (
        "80.0 % against 83.0 % of the same 100 pictures (only the first gets 2 right, only the second 5): "
        "the difference is not significant (p = 0.45)"
    )
    assert "only the second 12): the difference is significant (p = 0.0034)" in compare(first, much)
    assert compare(preds_of([False] * 40), preds_of([True] * 40)).endswith("the difference is significant (p < 0.001)")
    assert mcnemar(first, first).p_value == 1


def test_compare_needs_the_same_pictures_in_the_same_order():
    first = preds_of([True, False, True], names=["a", "b", "c"])
    with pytest.raises(
        ValueError,
        match="2 are in one record only, e.g. c in the first",
    ):
        compare(first, preds_of([True, False, True], names=["a", "b", "d"]))
    with pytest.raises(ValueError, match="another order or number"):
        compare(first, preds_of([True, False, True], names=["a", "c", "b"]))
    with pytest.raises(ValueError, match="1 labels differ between the two records, e.g. of b"):
        compare(first, replace(first, targets=torch.tensor([0, 1, 0])))
    with pytest.raises(ValueError, match="different classes"):
        compare(first, replace(first, classes=("b", "a")))
    with pytest.raises(ValueError, match="none of these 3 pictures has a label to compare the answers with"):
        unlabelled = replace(first, targets=torch.full((3,), -1))
        compare(unlabelled, unlabelled)


def test_an_interval_reads_well_below_zero_too():
    assert Interval(0.5, 0.25, 0.75).range_text() == "95 % confidence interval ≈ 25.0 to 75.0"
    assert Interval(-0.02, -0.03, -0.01).range_text() == "95 % confidence interval ≈ -3.0 to -1.0"
    assert Interval(-0.0001, -0.0002, 0.01).range_text() == "95 % confidence interval ≈ 0.0 to 1.0"


@pytest.mark.parametrize(("n", "at_most"), [(5, 0.44), (656, 0.006)])
def test_no_disagreement_on_few_pictures_does_not_prove_two_models_equal(n, at_most):
    preds = preds_of([True] * n)
    difference = mcnemar(preds, preds).difference
    assert difference.estimate == 0 and difference.high == -difference.low == wilson(0, n).high
    assert 0.9 * at_most < difference.high <= at_most


@pytest.mark.parametrize(("n", "p_first", "p_second"), [(8, 0.02, 0.05), (12, 0.3, 0.1), (14, 0.2, 0.2)])
def test_the_interval_of_the_difference_holds_the_truth_as_often_as_it_says(n, p_first, p_second):
    """All outcomes of n pictures, each weighted with its probability."""
    holds = 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            rest = n - a - b
            weight = comb(n, a) * comb(n - a, b) * p_first**a * p_second**b * (1 - p_first - p_second) ** rest
            first, second = [True] * a + [False] * b, [False] * a + [True] * b
            difference = mcnemar(preds_of(first + [True] * rest), preds_of(second + [True] * rest)).difference
            holds += weight * (difference.low <= p_second - p_first <= difference.high)
    assert holds >= 0.95


def test_weighted_accuracy_weighs():
    """Catches weights divided by the number of pictures."""
    items = tuple(Item(str(n), None, "a", weight) for n, weight in enumerate((1.0, 1 / 3, 2 / 3)))
    preds = Predictions(
        items, torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1]]).log(), torch.zeros(3).long(), ("a", "b")
    )
    assert weighted_accuracy(preds).estimate == pytest.approx((1 + 2 / 3) / 2)


def test_what_has_no_label_has_no_weight():
    """Catches unlabelled pictures counted as mistakes, and a number for answers that are none."""
    items = tuple(Item(str(n), None, label) for n, label in enumerate(("a", None, None)))
    answers = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]]).log()
    preds = Predictions(items, answers, torch.tensor([0, -1, -1]), ("a", "b"))
    assert weighted_accuracy(preds).estimate == 1
    with pytest.raises(ValueError):
        weighted_accuracy(replace(preds, log_probs=torch.full((3, 2), torch.nan)))


def test_the_interval_of_the_weighted_accuracy_is_scipys():
    """Catches weights drawn apart from their pictures: the share of a draw is that of its own weights."""
    rng = np.random.default_rng(1)
    weights = rng.choice([1 / 3, 2 / 3, 1.0], 200)
    log_probs = torch.tensor(rng.uniform(0.1, 0.9, (200, 2))).log()
    items = tuple(Item(str(n), None, "a", weight) for n, weight in enumerate(weights.tolist()))
    preds = Predictions(items, log_probs, torch.zeros(200).long(), ("a", "b"))

    def share(weights, right, axis):
        return (weights * right).sum(axis) / weights.sum(axis)

    own, right = weighted_accuracy(preds), preds.correct.double().numpy()
    theirs = stats.bootstrap((weights, right), share, paired=True, method="percentile", n_resamples=4000, rng=0)
    ends = theirs.confidence_interval
    assert (own.low, own.high) == (pytest.approx(ends.low, abs=0.01), pytest.approx(ends.high, abs=0.01))
