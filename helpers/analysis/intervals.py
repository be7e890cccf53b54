"""How sure a number is: an interval beside every share, and whether two models differ by more than chance."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, nan

import torch

from helpers.analysis.predictions import Predictions
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.seeds import generator


@dataclass(frozen=True)
class Interval:
    """A number and its confidence interval: a `confidence` share of such intervals holds the true value."""

    estimate: float
    low: float
    high: float
    confidence: float = 0.95

    @property
    def text(self) -> str:
        """Three digits, for any statistic: "-0.020, 95 % confidence interval -0.030 to -0.010"."""
        return f"{self.estimate:z.3f}, {self.range_text(scale=1, digits=3)}"

    def range_text(self, *, scale: float = 100, digits: int = 1) -> str:
        """ "95 % confidence interval 82.0 to 87.4": in percent, unless `scale` is 1."""
        low, high = (f"{scale * bound:z.{digits}f}" for bound in (self.low, self.high))
        return f"{100 * self.confidence:g} % confidence interval {low} to {high}"


@did_you_mean
def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of the share `correct / n`; without pictures nan, 0 to 1.

    It stays inside 0..1 and has the stated coverage for small n and shares near 0 or 1, where
    share ± 1.96 standard errors does neither (Brown, Cai and DasGupta, 2001).
    """
    from scipy.stats import binomtest

    if not 0 <= correct <= n:
        raise ValueError(f"correct is a count from 0 to n; got correct={correct}, n={n}")
    _check_confidence(confidence)
    if n == 0:
        return Interval(nan, 0.0, 1.0, confidence)
    bounds = binomtest(int(correct), int(n)).proportion_ci(confidence, method="wilson")
    return Interval(correct / n, float(bounds.low), float(bounds.high), confidence)


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
    (scipy.stats.bootstrap draws from arrays of numbers; a statistic of a whole record does not fit.)
    """
    n = len(preds.items)
    if n == 0:
        raise ValueError("there are no pictures to draw from")
    _check_confidence(confidence)
    rng = generator("bootstrap", seed)
    values = [float(statistic(preds.subset(torch.randint(n, (n,), generator=rng)))) for _ in range(draws)]
    broken = sum(not isfinite(value) for value in values)
    if broken:
        raise ValueError(
            f"the statistic is not a finite number on {broken} of {draws} drawn sets: a class may be "
            "too rare to be in each of them; count such a case as 0, or use a statistic over all classes"
        )
    tails = torch.tensor([0.5 - confidence / 2, 0.5 + confidence / 2], dtype=torch.float64)
    low, high = torch.tensor(values, dtype=torch.float64).quantile(tails).tolist()
    return Interval(float(statistic(preds)), low, high, confidence)


@did_you_mean
def accuracy_interval(preds: Predictions, *, confidence: float = 0.95) -> Interval:
    """Wilson's interval of the accuracy over the labelled pictures of `preds`."""
    n = int((preds.targets >= 0).sum())
    if n == 0:
        raise ValueError(f"none of these {len(preds.items)} pictures has a label, so there is no accuracy")
    return wilson(int(preds.correct.sum()), n, confidence)


@did_you_mean
def accuracy_text(preds: Predictions, *, confidence: float = 0.95) -> str:
    """Accuracy, n and interval in one sentence: "84.9 % of 656, 95 % confidence interval 82.0 to 87.4"."""
    accuracy = accuracy_interval(preds, confidence=confidence)
    return f"{100 * accuracy.estimate:.1f} % of {int((preds.targets >= 0).sum())}, {accuracy.range_text()}"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same n pictures; those that both get right, or both wrong, carry no information."""

    n: int
    first_accuracy: float
    second_accuracy: float
    only_first: int  # pictures that only the first gets right
    only_second: int
    p_value: float  # of a split as uneven as this one or more, were both models equally good
    difference: Interval  # second minus first, as a share of all n; 0 lies outside exactly when p < 1 - confidence

    @property
    def significant(self) -> bool:
        return self.p_value < 1 - self.difference.confidence

    @property
    def text(self) -> str:
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.2g}"
        return (
            f"{100 * self.first_accuracy:.1f} % against {100 * self.second_accuracy:.1f} % "
            f"of the same {self.n} pictures "
            f"(only the first gets {self.only_first} right, only the second {self.only_second}): "
            f"the difference is {'significant' if self.significant else 'not significant'} ({p})"
        )


@did_you_mean
def mcnemar(first: Predictions, second: Predictions, *, confidence: float = 0.95) -> Comparison:
    """McNemar's exact test: are the pictures only one of two models gets right split as by a coin?

    Both records must hold the same pictures in the same order; raises ValueError with the difference if not.
    The interval of the difference is that of the split (Clopper and Pearson's, which agrees with the test) times
    how often the two models disagree, each bound with the less favourable end of that share's own interval:
    a few pictures without disagreement do not prove two models equal.
    """
    from scipy.stats import binomtest

    _check_same_pictures(first, second)
    _check_confidence(confidence)
    labelled = first.targets >= 0
    n = int(labelled.sum())
    if n == 0:
        raise ValueError("none of these pictures has a label, so there is nothing to compare")
    only_first = int((labelled & first.correct & ~second.correct).sum())
    only_second = int((labelled & second.correct & ~first.correct).sum())
    disagreements = only_first + only_second
    rate = wilson(disagreements, n, confidence)
    p_value, low, high = 1.0, -1.0, 1.0  # without disagreements the split is unknown
    if disagreements:
        test = binomtest(only_second, disagreements, 0.5)
        share = test.proportion_ci(confidence, method="exact")
        p_value, low, high = float(test.pvalue), 2 * share.low - 1, 2 * share.high - 1
    low *= rate.high if low < 0 else rate.low
    high *= rate.high if high > 0 else rate.low
    difference = Interval((only_second - only_first) / n, low, high, confidence)
    accuracies = [float(record.correct[labelled].double().mean()) for record in (first, second)]
    return Comparison(n, *accuracies, only_first, only_second, p_value, difference)


@did_you_mean
def compare(first: Predictions, second: Predictions, *, confidence: float = 0.95) -> str:
    """One sentence: is the difference of two models on the same pictures significant?"""
    return mcnemar(first, second, confidence=confidence).text


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a share strictly between 0 and 1, such as 0.95; got {confidence}")


def _check_same_pictures(first: Predictions, second: Predictions) -> None:
    ours, theirs = ([item.name for item in record.items] for record in (first, second))
    if first.classes != second.classes:
        raise ValueError(f"the two records have different classes: {first.classes} and {second.classes}")
    if unpaired := set(ours) ^ set(theirs):
        example = min(unpaired)
        where = "first" if example in ours else "second"
        raise ValueError(
            f"a paired comparison needs the same pictures: {len(unpaired)} are in one record only, "
            f"e.g. {example} in the {where}"
        )
    if ours != theirs:
        raise ValueError("the same pictures are in another order or number; predict both with the same data and part")
    changed = [name for name, one, other in zip(ours, first.targets, second.targets, strict=True) if one != other]
    if changed:
        raise ValueError(
            f"{len(changed)} labels differ between the two records, e.g. of {changed[0]}; "
            "predict both after the relabelling"
        )
