"""What a model is worth to somebody who has an hour: five numbers with intervals, and how much a second model gains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from helpers.analysis.intervals import Interval, accuracy_interval
from helpers.analysis.predictions import Predictions, check_same_pictures, class_index
from helpers.lessons.chosen import THE_COURSES, positive_of
from helpers.runtime.seeds import seed_for

PRICES = NamedTuple("Prices", [("miss", float), ("look", float)])(miss=100, look=2)  # a look at any photograph
DRAWS = 1000  # sets of photographs drawn with replacement


class Ranking(NamedTuple):
    """Photographs, the most suspicious first: how much has been seen at M + 1 points on the way, from none to all.

    Equal scores come in random order, so between two points the shares grow in proportion. Only the points at which
    the curves may bend are kept: before and after each score that a positive has. With 200 classes of a thousand
    photographs that takes a fifth of the time.
    """

    seen: np.ndarray  # (R, M + 1) share of the photographs, from 0 to 1; each of the R rows has other weights
    caught: np.ndarray  # (R, M + 1) share of the positives
    false_alarms: np.ndarray  # (R, M + 1) share of the negatives

    def found_at(self, share: float = 0.30) -> np.ndarray:
        """(R,) share of the positives among this share of the photographs, the most suspicious ones."""
        return interpolated(share, self.seen, self.caught)

    def may_skip(self, missed: float = 0.05) -> np.ndarray:
        """(R,) the largest share of the photographs, least suspicious first, with at most this share of positives."""
        missed += 1e-9  # 1 - 0.95 is a little above 0.05
        return interpolated(missed, 1 - self.caught[:, ::-1], 1 - self.seen[:, ::-1])

    def auc(self) -> np.ndarray:
        """(R,) area under the ROC curve: how often a positive scores above a negative; a tie counts half."""
        return (np.diff(self.false_alarms) * (self.caught[:, 1:] + self.caught[:, :-1])).sum(axis=1) / 2


def rank(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> Ranking:
    """The ranking by scores (N,), high for suspicious, of truths (N,) bool of both kinds; weights (R, N) or all 1."""
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    weights = np.ones((1, len(order))) if weights is None else weights[:, order]
    last_of_tie = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    catches = np.diff(positive.cumsum()[last_of_tie], prepend=0) > 0  # does the tie have a positive?
    bends = last_of_tie[catches | np.append(catches[1:], True)]
    starts = np.append(0, bends[:-1] + 1)
    seen, caught = (np.add.reduceat(one, starts, axis=1).cumsum(axis=1) for one in (weights, weights * positive))
    return Ranking(*(np.pad(each / each[:, -1:], ((0, 0), (1, 0))) for each in (seen, caught, seen - caught)))


def interpolated(x: float, at: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(R,): `np.interp(x, at[r], values[r])` of every row r of two (R, M) arrays; `at` rises from at most x."""
    rows = np.arange(len(at))
    right = np.minimum((at <= x).sum(axis=1), at.shape[1] - 1)
    left = np.maximum(right - 1, 0)
    gap = at[rows, right] - at[rows, left]
    share = np.where(gap > 0, (x - at[rows, left]) / np.where(gap > 0, gap, 1), 1).clip(max=1)
    return values[rows, left] + share * (values[rows, right] - values[rows, left])


@dataclass(frozen=True)
class Measures:
    """What a model is worth on n photographs, or how much more than another.

    Without a positive class all but the accuracy are the mean over the classes, each against the rest. None: not
    measured by an earlier release.
    """

    n: int
    auc: Interval  # area under the ROC curve
    accuracy: Interval
    found: Interval | None = None  # share of the positives among the 30 % most suspicious photographs
    skip: Interval | None = None  # share of the photographs that can be skipped, missing at most 5 % of the positives
    cost: Interval | None = None  # of 100 photographs, with a look where p · PRICES.miss is at least PRICES.look


def measures(preds: Predictions, positive: str | None = THE_COURSES, groups: Sequence | None = None) -> Measures:
    """Every measure with its 95 % confidence interval (bootstrap; Wilson's for the accuracy of single photographs).

    With `groups`, one a photograph, whole groups are drawn. `positive` is the class that is looked for (default: the
    course's, see `positive_of`); None: each class in turn, none of them empty, and the mean.
    """
    measured = summarise(resampled(preds, positive, groups), preds)
    return measured if groups is not None else replace(measured, accuracy=accuracy_interval(preds))


def gains(first: Predictions, second: Predictions, positive=THE_COURSES, groups=None) -> Measures:
    """Second minus first on the same photographs, with the intervals of the paired differences (the same draws)."""
    check_same_pictures(first, second)
    before, after = (resampled(preds, positive, groups) for preds in (first, second))
    return summarise({name: after[name] - before[name] for name in after}, first)


def labelled_probs(preds: Predictions) -> tuple[Tensor, Tensor]:
    """(n, K) float64 probabilities and (n,) int64 targets of the labelled pictures."""
    own = preds.labelled()
    return own.log_probs.double().softmax(1), own.targets


def resampled(preds: Predictions, positive: str | None, groups: Sequence | None = None) -> dict[str, np.ndarray]:
    """Measure -> (1 + D,): its value, then that of each drawn set with every class, alike for equal photographs."""
    probs, targets = (tensor.numpy() for tensor in labelled_probs(preds))
    groups = np.arange(len(preds.targets)) if groups is None else np.asarray(groups)
    if len(groups) != len(preds.targets):
        raise ValueError(f"got {len(groups)} groups for {len(preds.targets)} photographs; give each one its group")
    names, group_of = np.unique(groups[(preds.targets >= 0).numpy()], return_inverse=True)
    draw = np.random.default_rng(seed_for("scoreboard", len(names))).multinomial
    drawn = draw(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)[:, group_of]
    weights = np.concatenate([np.ones((1, len(targets))), drawn])  # how often each photograph counts
    positive = positive_of(preds.classes, positive)
    columns = range(len(preds.classes)) if positive is None else [class_index(preds, positive)]
    truths = np.stack([targets == column for column in columns])  # (columns, N)
    has_both = np.minimum(weights @ truths.T, weights @ ~truths.T) > 0  # (1 + DRAWS, columns)
    if not has_both[0].all():
        raise ValueError(f"the measures need photographs of every class: {', '.join(preds.classes)}; one has none here")
    weights, has_both = weights[has_both.any(axis=1)], has_both[has_both.any(axis=1)]
    each = [
        _against_the_rest(probs[:, column], truth, weights, drawn)
        for column, truth, drawn in zip(columns, truths, has_both.T, strict=True)
    ]
    values = {name: np.nanmean([one[name] for one in each], axis=0) for name in each[0]}
    return values | {"accuracy": weights @ (probs.argmax(axis=1) == targets) / weights.sum(axis=1)}


def _against_the_rest(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray, drawn: np.ndarray) -> dict:
    """Measure -> (R,) of one class, with nan where the class, or all the rest, was not `drawn` (R,) bool."""
    weights, spread = weights[drawn], np.full((len(drawn),), np.nan)
    ranking = rank(scores, truth, weights)
    paid = np.where(scores >= PRICES.look / PRICES.miss, PRICES.look, PRICES.miss * truth)
    found = {"auc": ranking.auc(), "found": ranking.found_at(), "skip": ranking.may_skip()}
    found["cost"] = 100 * (weights @ paid) / weights.sum(axis=1)
    values = {name: spread.copy() for name in found}
    for name, column in found.items():
        values[name][drawn] = column
    return values


def summarise(values: dict[str, np.ndarray], preds: Predictions) -> Measures:
    """The estimates with the middle 95 % of their draws."""
    bounds = {name: np.quantile(draws[1:], [0.025, 0.975]).tolist() for name, draws in values.items()}
    intervals = {name: Interval(float(draws[0]), *bounds[name]) for name, draws in values.items()}
    return Measures(int((preds.targets >= 0).sum()), **intervals)
