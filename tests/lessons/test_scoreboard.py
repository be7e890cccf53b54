"""The scoreboard against scikit-learn, scipy and brute force."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from data_setup.items import Item
from helpers.analysis.intervals import accuracy_interval
from helpers.analysis.predictions import Predictions
from helpers.lessons.scoreboard import PRICES, gains, interpolated, measures, rank, resampled
from tests.made_predictions import preds_of as multi_preds

CLASSES = ("defective", "functional")


def preds_of(p_broken, is_broken) -> Predictions:
    """Two classes from p(defective) and the truth, one photograph each."""
    p = torch.as_tensor(np.asarray(p_broken), dtype=torch.float64).float()
    items = tuple(Item(f"{i:05}.png", Path(f"{i:05}.png"), None) for i in range(len(p)))
    targets = torch.tensor([0 if broken else 1 for broken in is_broken])
    return Predictions(items, torch.stack([p, 1 - p], 1).log(), targets, CLASSES, "valid")


def drawn_preds(n: int, *, separation: float = 1.5, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    broken = rng.random(n) < 0.31
    return preds_of(1 / (1 + np.exp(-rng.normal(separation * broken - 1, 1))), broken)


scored = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(truth for _, truth in rows) < len(rows)
)


@given(scored)
def test_auc_equals_scikit_learn_ties_and_all(rows):
    scores, truths = np.array([score for score, _ in rows]), np.array([truth for _, truth in rows])
    assert rank(scores, truths).auc()[0] == pytest.approx(roc_auc_score(truths, scores))


@given(scored, st.integers(1, 40))
def test_found_is_the_mean_over_all_orders_of_equal_scores(rows, looks):
    """Looking at k photographs: all above the tie at the edge, and of the tie a share of its positives."""
    scores, truths = np.array([score for score, _ in rows]), np.array([truth for _, truth in rows])
    looks = min(looks, len(rows))
    edge = np.sort(scores)[::-1][looks - 1]
    above, tied = scores > edge, scores == edge
    found = truths[above].sum() + truths[tied].mean() * (looks - above.sum())
    assert rank(scores, truths).found_at(looks / len(rows))[0] == pytest.approx(found / truths.sum())


@given(
    st.lists(st.booleans(), min_size=2, max_size=60).filter(lambda truths: len(set(truths)) == 2),
    st.sampled_from([0.05, 0.1, 0.25, 0.5]),
)
def test_skipping_by_brute_force(truths, missed):
    """Distinct scores: one photograph after the other is skipped for as long as not too many positives are missed."""
    truths = np.array(truths)  # the least suspicious first
    allowed = [k for k in range(len(truths) + 1) if truths[:k].sum() <= missed * truths.sum() + 1e-9]
    skip = rank(np.arange(len(truths)), truths).may_skip(missed)[0] * len(truths)
    assert max(allowed) - 1e-5 <= skip < max(allowed) + 1  # a part of the next photograph, where its positive fits


def test_with_one_positive_in_twenty_allowed_a_whole_one_is_missed_and_the_run_of_sound_ones_after_it_skipped():
    truths = np.array([False, True, False, False] + [True] * 19)
    assert rank(np.arange(23), truths).may_skip(0.05)[0] == pytest.approx(4 / 23)


@settings(max_examples=60)
@given(n=st.integers(2, 30), levels=st.integers(1, 9), seed=st.integers(0, 999))
def test_the_points_where_curves_bend_give_what_all_points_give(n, levels, seed):
    """Against the curves with a point after every distinct score, and numpy's own interpolation row by row."""
    rng = np.random.default_rng(seed)
    scores, truths = rng.integers(0, levels, n) / levels, rng.permutation(np.arange(n) < rng.integers(1, n))
    weights = rng.integers(0, 3, (4, n)).astype(float) + (rng.permutation(n) == 0) + (np.arange(n) == truths.argmin())
    weights += np.arange(n) == truths.argmax()  # both kinds are drawn
    ranking, order = rank(scores, truths, weights), np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    sums = [(weights * kind)[:, order].cumsum(axis=1)[:, ends] for kind in (1, truths, ~truths)]
    seen, caught, alarms = (np.pad(one / one[:, -1:], ((0, 0), (1, 0))) for one in sums)
    assert ranking.auc() == pytest.approx((np.diff(alarms) * (caught[:, 1:] + caught[:, :-1])).sum(axis=1) / 2)
    for share in (0.0, 0.05, 0.3, 1.0):
        expected = [np.interp(share, *line) for line in zip(seen, caught, strict=True)]
        assert ranking.found_at(share) == pytest.approx(expected)
        left = zip(1 - caught[:, ::-1], 1 - seen[:, ::-1], strict=True)
        assert ranking.may_skip(share) == pytest.approx([np.interp(share + 1e-9, *line) for line in left])
    at, values = np.sort(np.pad(rng.integers(0, 4, (5, 6)), ((0, 0), (1, 0))) / 4), rng.normal(size=(5, 7))
    for x in (0, 0.25, 0.3, 0.75, 2):
        expected = [np.interp(x, *line) for line in zip(at, values, strict=True)]
        assert interpolated(x, at, values) == pytest.approx(expected)


def test_weights_mean_how_often_a_photograph_counts():
    rng = np.random.default_rng(1)
    scores, truths, weights = rng.integers(0, 9, 30), rng.random(30) < 0.4, rng.integers(0, 4, (3, 30))
    ranking = rank(scores, truths, weights)
    for row, counts in enumerate(weights):
        repeated = rank(np.repeat(scores, counts), np.repeat(truths, counts))
        for measure in ("found_at", "may_skip", "auc"):
            assert getattr(ranking, measure)()[row] == pytest.approx(getattr(repeated, measure)()[0]), measure


def test_without_a_model_she_finds_thirty_of_a_hundred():
    """All photographs alike: a tie of everything, and every one is worth a look."""
    record = measures(preds_of([0.31] * 200, [i < 62 for i in range(200)]))
    assert (record.found.estimate, record.skip.estimate, record.auc.estimate) == pytest.approx((0.3, 0.05, 0.5))
    assert record.accuracy.estimate == pytest.approx(138 / 200)
    assert record.cost.estimate == pytest.approx(100 * PRICES.look)
    assert (record.found.low, record.found.high) == pytest.approx((0.3, 0.3))


def test_cost_by_hand():
    preds = preds_of([0.9, 0.5, 0.0201, 0.0199, 0.001], [True, False, False, True, False])
    assert measures(preds).cost.estimate == pytest.approx(100 * (3 * 2 + 100) / 5)


def test_every_draw_is_the_measure_of_the_drawn_photographs():
    """The fast way against the plain one: each drawn set as a record of its own."""
    preds = drawn_preds(120)
    values, n = resampled(preds, "defective"), len(preds.items)
    assert set(values) == {"auc", "accuracy", "found", "skip", "cost"} and len(values["auc"]) == 1001
    assert np.std(values["auc"][1:]) == pytest.approx(np.std(plain_bootstrap(preds, n)), rel=0.15)


def plain_bootstrap(preds: Predictions, n: int) -> list[float]:
    rng = np.random.default_rng(5)
    p, truth = preds.probs[:, 0].numpy(), (preds.targets == 0).numpy()
    rows = [rng.integers(0, n, n) for _ in range(400)]
    return [roc_auc_score(truth[row], p[row]) for row in rows]


def test_accuracy_is_wilsons_and_with_groups_the_groups_are_drawn():
    preds = drawn_preds(600)
    assert measures(preds).accuracy == accuracy_interval(preds)
    alone = measures(preds, groups=[item.name for item in preds.items])
    assert alone.auc == measures(preds).auc
    assert alone.accuracy.low == pytest.approx(accuracy_interval(preds).low, abs=0.01)


def test_copies_of_a_photograph_in_one_group_add_no_certainty():
    """Every photograph four times: drawn one by one the interval halves, drawn by groups it stays as wide."""
    once, rows = drawn_preds(150), [i % 150 for i in range(600)]
    four = once.subset(rows)
    four = replace(four, items=tuple(replace(item, name=f"{i}.png") for i, item in enumerate(four.items)))

    def width(record):
        return record.auc.high - record.auc.low

    single, grouped = width(measures(once)), width(measures(four, groups=rows))
    assert grouped == pytest.approx(single)
    assert width(measures(four)) == pytest.approx(single / 2, rel=0.15)


def test_a_gain_is_paired_and_antisymmetric():
    first = drawn_preds(400)
    rng = np.random.default_rng(3)
    nudged = torch.logit(first.probs[:, 0].double()) + torch.from_numpy(0.3 * rng.normal(size=400))
    second = replace(first, log_probs=preds_of(nudged.sigmoid(), first.targets == 0).log_probs)
    gain, back, own = gains(first, second), gains(second, first), measures(first)
    assert gain.auc.estimate == pytest.approx(measures(second).auc.estimate - own.auc.estimate)
    assert (back.skip.low, back.skip.high) == pytest.approx((-gain.skip.high, -gain.skip.low))
    assert gain.auc.high - gain.auc.low < (own.auc.high - own.auc.low) / 2, "the photographs' luck is shared"
    nothing = gains(first, first)
    assert (nothing.cost.low, nothing.cost.estimate, nothing.cost.high) == (0, 0, 0)


def test_several_classes_have_the_mean_of_each_against_the_rest():
    rng = np.random.default_rng(0)
    logits, targets = torch.from_numpy(rng.normal(size=(200, 3))).float(), torch.from_numpy(rng.integers(0, 3, 200))
    logits[torch.arange(200), targets] += 1
    items = tuple(Item(f"{i}.png", Path(f"{i}.png"), None) for i in range(200))
    preds = Predictions(items, logits.log_softmax(1), targets, ("a", "b", "c"), "valid")
    record = measures(preds, positive=None)
    theirs = roc_auc_score(targets, preds.log_probs.double().softmax(1), multi_class="ovr", average="macro")
    assert record.auc.estimate == pytest.approx(theirs)
    each = [measures(preds, positive=label) for label in preds.classes]
    for name in ("auc", "found", "skip", "cost"):
        mean = np.mean([getattr(one, name).estimate for one in each])
        assert getattr(record, name).estimate == pytest.approx(mean)
        assert getattr(record, name).low < mean < getattr(record, name).high
    assert record.accuracy == each[0].accuracy
    assert measures(preds) == record, "of several classes none is the positive one"


def test_a_class_with_two_photographs_does_not_empty_the_draws():
    """Catches an interval from the few draws in which every one of many small classes happens to be: often none is."""
    k, rng = 40, np.random.default_rng(1)
    targets = torch.arange(2 * k) % k
    logits = torch.from_numpy(rng.normal(size=(2 * k, k))).float()
    logits[torch.arange(2 * k), targets] += 2
    record = measures(multi_preds(logits, targets))
    assert record.n == 80 and 0.5 < record.auc.low < record.auc.estimate < record.auc.high <= 1


def test_unlabelled_photographs_do_not_count():
    preds = drawn_preds(80)
    targets = preds.targets.clone()
    targets[::4] = -1
    some, rest = replace(preds, targets=targets), preds.subset([i for i in range(80) if i % 4])
    groups = np.arange(80) // 4
    assert measures(some, groups=groups) == measures(rest, groups=[i // 4 for i in range(80) if i % 4])
    assert measures(some).n == 60


def test_errors_say_what_fits():
    preds = drawn_preds(20)
    with pytest.raises(ValueError, match="'defectiv' is not a class; did you mean 'defective'"):
        measures(preds, positive="defectiv")
    with pytest.raises(ValueError, match="every class: defective, functional; one has none here"):
        measures(preds_of([0.2, 0.4], [False, False]))
    with pytest.raises(ValueError, match="got 3 groups for 20 photographs"):
        measures(preds, groups=[1, 2, 3])
    with pytest.raises(ValueError, match="about the same pictures"):
        gains(preds, drawn_preds(21))
