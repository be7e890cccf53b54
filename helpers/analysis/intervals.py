"""How sure a number is: a 95 % confidence interval beside every share, and whether two models differ by chance."""

from dataclasses import dataclass
from math import nan, sqrt
from statistics import NormalDist

import numpy as np

from helpers.analysis.predictions import Predictions, check_same_pictures

Z = NormalDist().inv_cdf(0.975)  # 1.96; by formula below, as scipy.stats takes two seconds to import


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % confidence interval: 95 of 100 such intervals hold the true value."""

    estimate: float
    low: float
    high: float

    def range_text(self) -> str:
        """In percent: "95 % confidence interval ≈ 82.0 to 87.4"."""
        return f"95 % confidence interval ≈ {100 * self.low:z.1f} to {100 * self.high:z.1f}"


def wilson(correct: int, n: int) -> Interval:
    """Wilson's score interval of the share `correct / n`; without pictures nan, 0 to 1.

    It stays inside 0..1 and has the stated coverage for small n and shares near 0 or 1, where
    share ± 1.96 standard errors does neither (Brown, Cai and DasGupta, 2001).
    """
    if not 0 <= correct <= n:
        raise ValueError(f"correct is a count from 0 to n; got correct={correct}, n={n}")
    if n == 0:
        return Interval(nan, 0.0, 1.0)
    centre, reach = correct + Z**2 / 2, Z * sqrt(correct * (n - correct) / n + Z**2 / 4)
    low, high = ((centre + side * reach) / (n + Z**2) for side in (-1, 1))
    return Interval(correct / n, low if correct else 0.0, high if correct < n else 1.0)


def accuracy_interval(preds: Predictions) -> Interval:
    """Wilson's interval of the accuracy over the labelled pictures of `preds`."""
    own = preds.labelled()
    return wilson(int(own.correct.sum()), len(own.items))


def accuracy_text(preds: Predictions) -> str:
    """Accuracy, n and interval in one sentence: "≈ 84.9 % of 656, 95 % confidence interval ≈ 82.0 to 87.4"."""
    accuracy = accuracy_interval(preds)
    return f"≈ {100 * accuracy.estimate:.1f} % of {int((preds.targets >= 0).sum())}, {accuracy.range_text()}"


def weighted_accuracy(preds: Predictions) -> Interval:
    """Share of the weights whose pictures are correct; the interval holds 95 % of 1,000 bootstrap draws.

    The published 88.42 % is this: 527 / 596, as 656 cells weigh about 598 (Deitsch et al. print 88.4228187919 %).
    """
    preds = preds.labelled()
    weights = np.array([item.weight for item in preds.items])
    rows = np.random.default_rng(0).integers(len(weights), size=(1000, len(weights)))
    right = weights * preds.correct.numpy()
    low, high = np.quantile(right[rows].sum(1) / weights[rows].sum(1), [0.025, 0.975]).tolist()
    return Interval(float(right.sum() / weights.sum()), low, high)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same n pictures; those that both get right, or both wrong, carry no information."""

    n: int
    first_accuracy: float
    second_accuracy: float
    only_first: int  # pictures that only the first gets right
    only_second: int
    p_value: float  # of a split as uneven as this one or more, were both models equally good
    difference: Interval  # second minus first, as a share of all n; 0 lies outside exactly when p < 0.05

    @property
    def text(self) -> str:
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.2g}"
        return (
            f"{100 * self.first_accuracy:.1f} % against {100 * self.second_accuracy:.1f} % of the same {self.n} "
            f"pictures (only the first gets {self.only_first} right, only the second {self.only_second}): "
            f"the difference is {'significant' if self.p_value < 0.05 else 'not significant'} ({p})"
        )


def mcnemar(first: Predictions, second: Predictions) -> Comparison:
    """McNemar's exact test: are the pictures only one of two models gets right split as by a coin?

    Both records must hold the same pictures in the same order; raises ValueError with the difference if not.
    The interval of the difference is that of the split (Clopper and Pearson's, which agrees with the test) times
    how often the two models disagree, each bound with the less favourable end of that share's own interval:
    a few pictures without disagreement do not prove two models equal.
    """
    from scipy.special import bdtr, betaincinv  # scipy.stats takes two seconds to import

    check_same_pictures(first, second)
    one, other = first.labelled().correct, second.labelled().correct
    n, only_first, only_second = len(one), int((one & ~other).sum()), int((other & ~one).sum())
    disagreements = only_first + only_second
    rate = wilson(disagreements, n)
    p_value, low, high = 1.0, -1.0, 1.0  # without disagreements the split is unknown
    if disagreements:
        p_value = min(1.0, 2 * float(bdtr(min(only_first, only_second), disagreements, 0.5)))
        low = 2 * float(betaincinv(only_second, only_first + 1, 0.025)) - 1 if only_second else -1.0
        high = 2 * float(betaincinv(only_second + 1, only_first, 0.975)) - 1 if only_first else 1.0
    low *= rate.high if low < 0 else rate.low
    high *= rate.high if high > 0 else rate.low
    difference = Interval((only_second - only_first) / n, low, high)
    return Comparison(n, int(one.sum()) / n, int(other.sum()) / n, only_first, only_second, p_value, difference)


def compare(first: Predictions, second: Predictions) -> str:
    """One sentence: is the difference of two models on the same pictures significant?"""
    return mcnemar(first, second).text
