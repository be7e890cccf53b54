"""How sure a number is: an interval beside every share, and whether two models differ by more than luck."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from statistics import NormalDist

import torch

from helpers.analysis.predictions import Predictions
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.seeds import generator


@dataclass(frozen=True)
class Interval:
    """A number and the range that a `confidence` share of such ranges catches the true one in."""

    estimate: float
    low: float
    high: float
    confidence: float = 0.95

    @property
    def text(self) -> str:
        """Three digits, for any statistic: "0.849, 95 % interval 0.819-0.875"."""
        return f"{self.estimate:.3f}, {100 * self.confidence:g} % interval {self.low:.3f}-{self.high:.3f}"


@did_you_mean
def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of the share `correct / n`; of no pictures nothing is known: nan, 0 to 1.

    It stays inside 0..1 and keeps its promise for small n and shares near 0 or 1, where
    share ± 1.96 standard errors does neither (Brown, Cai and DasGupta, 2001).
    """
    if not 0 <= correct <= n:
        raise ValueError(f"correct is a count from 0 to n; got correct={correct}, n={n}")
    z = NormalDist().inv_cdf(0.5 + _checked(confidence) / 2)
    if n == 0:
        return Interval(nan, 0.0, 1.0, confidence)
    share = correct / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == n else centre + half
    return Interval(share, low, high, confidence)


@did_you_mean
def bootstrap(
    preds: Predictions,
    statistic: Callable[[Predictions], float],
    *,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The interval of any statistic: its middle share over `draws` sets of N pictures drawn with replacement.

    For what has no formula, such as the macro F1. Raises ValueError when it is not finite on a drawn set.
    """
    n = len(preds.items)
    if n == 0:
        raise ValueError("there are no pictures to draw from")
    tails = torch.tensor([0.5 - _checked(confidence) / 2, 0.5 + confidence / 2], dtype=torch.float64)
    rng = generator("bootstrap", seed)
    values = [float(statistic(preds.subset(torch.randint(n, (n,), generator=rng).tolist()))) for _ in range(draws)]
    broken = sum(not isfinite(value) for value in values)
    if broken:
        raise ValueError(
            f"the statistic is not a finite number on {broken} of {draws} drawn sets: a class may be "
            "too rare to be in each of them; count such a case as 0, or use a statistic over all classes"
        )
    low, high = torch.tensor(values, dtype=torch.float64).quantile(tails).tolist()
    return Interval(float(statistic(preds)), low, high, confidence)


@did_you_mean
def accuracy_interval(preds: Predictions, *, confidence: float = 0.95) -> Interval:
    """Wilson's interval of the accuracy over the labelled pictures of `preds`."""
    labelled = preds.targets >= 0
    n = int(labelled.sum())
    if n == 0:
        raise ValueError(f"none of these {len(preds.items)} pictures has a label, so there is no accuracy")
    return wilson(int(preds.correct[labelled].sum()), n, confidence)


@did_you_mean
def accuracy_text(preds: Predictions, *, confidence: float = 0.95) -> str:
    """Accuracy, n and interval in one sentence: "84.9 % of 656, 95 % interval 82.0-87.4"."""
    accuracy = accuracy_interval(preds, confidence=confidence)
    n = int((preds.targets >= 0).sum())
    return (
        f"{100 * accuracy.estimate:.1f} % of {n}, "
        f"{100 * confidence:g} % interval {100 * accuracy.low:.1f}-{100 * accuracy.high:.1f}"
    )


@dataclass(frozen=True)
class Comparison:
    """Two models on the same n pictures; those both get right, or both wrong, say nothing."""

    n: int
    first_accuracy: float
    second_accuracy: float
    only_first: int  # pictures that only the first gets right
    only_second: int
    p_value: float  # of a split as uneven as this one or more, were both models equally good
    difference: Interval  # second minus first, as a share of all n, given how many pictures they disagree on;
    # 0 lies outside exactly when p < 1 - confidence

    @property
    def more_than_noise(self) -> bool:
        return self.p_value < 1 - self.difference.confidence

    @property
    def text(self) -> str:
        verdict = "more than noise" if self.more_than_noise else "inside the noise"
        return (
            f"{100 * self.first_accuracy:.1f} % against {100 * self.second_accuracy:.1f} % "
            f"of the same {self.n} pictures "
            f"(only the first gets {self.only_first} right, only the second {self.only_second}): "
            f"the difference is {verdict} ({_p_text(self.p_value)})"
        )


@did_you_mean
def mcnemar(first: Predictions, second: Predictions, *, confidence: float = 0.95) -> Comparison:
    """McNemar's exact test: are the pictures only one of two models gets right split as by a coin?

    Both records must hold the same pictures in the same order; raises ValueError with the difference if not.
    """
    _check_same_pictures(first, second)
    from scipy.stats import binomtest

    labelled = first.targets >= 0
    n = int(labelled.sum())
    if n == 0:
        raise ValueError("none of these pictures has a label, so there is nothing to compare")
    only_first = int((labelled & first.correct & ~second.correct).sum())
    only_second = int((labelled & second.correct & ~first.correct).sum())
    discordant = only_first + only_second
    _checked(confidence)
    if discordant == 0:
        p_value, difference = 1.0, Interval(0.0, 0.0, 0.0, confidence)
    else:
        test = binomtest(only_second, discordant, 0.5)
        share = test.proportion_ci(confidence, method="exact")  # Clopper-Pearson: agrees with the exact test
        low, high = ((2 * bound - 1) * discordant / n for bound in (share.low, share.high))
        p_value, difference = test.pvalue, Interval((only_second - only_first) / n, low, high, confidence)
    accuracies = [float(record.correct[labelled].double().mean()) for record in (first, second)]
    return Comparison(n, *accuracies, only_first, only_second, float(p_value), difference)


@did_you_mean
def compare(first: Predictions, second: Predictions, *, confidence: float = 0.95) -> str:
    """One sentence: are two models on the same pictures different, or is it noise?"""
    return mcnemar(first, second, confidence=confidence).text


def _p_text(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a share strictly between 0 and 1, such as 0.95; got {confidence}")
    return confidence


def _check_same_pictures(first: Predictions, second: Predictions) -> None:
    ours, theirs = ([item.name for item in record.items] for record in (first, second))
    if first.classes != second.classes:
        raise ValueError(f"the two records know different classes: {first.classes} and {second.classes}")
    if set(ours) != set(theirs):
        extra, missing = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
        parts = [
            f"only in the {which}: {len(names)}, e.g. {names[0]}"
            for which, names in (("first", extra), ("second", missing))
            if names
        ]
        raise ValueError(f"a paired comparison needs the same pictures: {'; '.join(parts)}")
    if ours != theirs:
        row = next(
            (row for row, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
            min(len(ours), len(theirs)),
        )
        raise ValueError(
            f"the same pictures stand in another order or number from row {row} on "
            f"({len(ours)} rows against {len(theirs)}); predict both with the same data and part"
        )
    changed = (first.targets != second.targets).nonzero().flatten().tolist()
    if changed:
        raise ValueError(
            f"labels differ between the two records for {len(changed)}, e.g. {ours[changed[0]]}; "
            "predict both after the relabelling"
        )
