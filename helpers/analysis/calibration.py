"""Is a model that says "90 % sure" right nine times in ten? And then: abstain, or move the threshold."""

from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from helpers.analysis.intervals import wilson
from helpers.analysis.predictions import Predictions
from helpers.runtime.arguments import closest, did_you_mean

COLDEST, HOTTEST = 0.05, 20.0  # range of temperatures that are tried


@dataclass(frozen=True)
class Reliability:
    """Pictures sorted into B bins by how sure the model was. Empty bins have nan confidence and accuracy."""

    edges: Tensor  # (B + 1,) a picture of probability p is in bin b when edges[b] < p <= edges[b + 1]
    counts: Tensor  # (B,) int64
    confidence: Tensor  # (B,) mean probability of the answer
    accuracy: Tensor  # (B,) share that is right
    low: Tensor  # (B,) Wilson's 95 % interval of the accuracy
    high: Tensor  # (B,)
    ece: float  # expected calibration error: mean |accuracy - confidence| over pictures

    @property
    def text(self) -> str:
        filled = self.counts > 0
        weights = self.counts[filled] / self.counts.sum()
        sure, right = (float((weights * values[filled]).sum()) for values in (self.confidence, self.accuracy))
        gap = 100 * (sure - right)
        verdict = (
            "too sure of itself"
            if gap > 1
            else "not sure enough of itself"
            if gap < -1
            else "neither too sure nor too shy"
        )
        return (
            f"On average {100 * sure:.1f} % sure and right {100 * right:.1f} % of {int(self.counts.sum())} "
            f"times: {verdict}; expected calibration error {100 * self.ece:.1f} points."
        )


@did_you_mean
def reliability(preds: Predictions, *, bins: int = 10, of_class: str | None = None) -> Reliability:
    """How often the model is right when it says it is so and so sure, in `bins` equally wide bins.

    By default the probability of its answer; with `of_class` the probability of that class, right or wrong.
    """
    probs, targets = _labelled(preds)
    if bins < 1:
        raise ValueError(f"bins is a count of at least 1; got {bins}")
    if of_class is None:
        sure, answer = probs.max(1)
        right = answer == targets
    else:
        column = _class_index(preds, of_class)
        sure, right = probs[:, column].contiguous(), targets == column
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = torch.bucketize(sure, edges[1:-1])
    counts = torch.bincount(place, minlength=bins)
    confidence = torch.bincount(place, sure, minlength=bins) / counts  # 0 / 0 is nan: an empty bin
    n_right = torch.bincount(place, right.double(), minlength=bins)
    accuracy = n_right / counts
    intervals = [wilson(int(correct), int(n)) for correct, n in zip(n_right, counts, strict=True)]
    low, high = torch.tensor([[interval.low, interval.high] for interval in intervals], dtype=torch.float64).unbind(1)
    ece = float((counts / counts.sum() * (accuracy - confidence).abs()).nansum())
    return Reliability(edges, counts, confidence, accuracy, low, high, ece)


@dataclass(frozen=True)
class Temperature:
    """The number to divide the logits by. Above 1 the model was too sure, below 1 not sure enough."""

    value: float
    loss_before: float  # mean -log p(truth) of the pictures it was fitted on
    loss_after: float

    @property
    def text(self) -> str:
        if self.value in (COLDEST, HOTTEST):
            return f"The best temperature lies outside {COLDEST} to {HOTTEST}: these pictures cannot tell it."
        return (
            f"Temperature {self.value:.2f}: the loss goes from {self.loss_before:.3f} "
            f"to {self.loss_after:.3f}, no answer changes."
        )

    def apply(self, preds: Predictions) -> Predictions:
        """New predictions, softened by a value above 1, sharpened below 1; the answers stay the same."""
        return replace(preds, log_probs=(preds.log_probs / self.value).log_softmax(1))


def fit_temperature(preds: Predictions) -> Temperature:
    """The temperature with the least mean loss on these pictures (Guo et al. 2017). Judge it on others.

    In 1 / temperature the loss is convex, so its slope is zero once: found by bisection.
    """
    probs, targets = _labelled(preds)
    logits = probs.log().clamp(min=-1e4)  # (N, K); probability 0 must not give 0 * inf
    at_truth = logits.gather(1, targets[:, None])[:, 0]

    def slope(sharpness: float) -> float:
        """d loss / d sharpness, with sharpness = 1 / temperature."""
        return float(((logits * sharpness).softmax(1) * logits).sum(1).sub(at_truth).mean())

    flat, steep = 1 / HOTTEST, 1 / COLDEST
    if slope(steep) <= 0:
        value = COLDEST
    elif slope(flat) >= 0:
        value = HOTTEST
    else:
        for _ in range(60):
            middle = (flat + steep) / 2
            flat, steep = (middle, steep) if slope(middle) < 0 else (flat, middle)
        value = 2 / (flat + steep)
    losses = [float(-(logits / t).log_softmax(1).gather(1, targets[:, None]).mean()) for t in (1.0, value)]
    return Temperature(value, *losses)


@dataclass(frozen=True)
class Coverage:
    """Answer only when sure: entry m answers from probability `thresholds[m]` on. Fewest answers first."""

    thresholds: Tensor  # (M,) falling, one per distinct probability
    coverage: Tensor  # (M,) share of the pictures that get an answer, rising to 1
    accuracy: Tensor  # (M,) share of those answers that are right; the risk is 1 - accuracy
    n: int

    def at_accuracy(self, wanted: float) -> int | None:
        """The entry with the most answers whose accuracy is at least `wanted`, or None when there is none."""
        good = (self.accuracy >= wanted).nonzero().flatten().tolist()
        return good[-1] if good else None

    def sentence(self, entry: int) -> str:
        """What answering from entry `entry`'s threshold on means, with the interval of the accuracy."""
        share, right = float(self.coverage[entry]), float(self.accuracy[entry])
        answered = round(share * self.n)
        interval = wilson(round(right * answered), answered)
        return (
            f"Answering only from {self.thresholds[entry]:.3f} sure on covers {100 * share:.1f} % "
            f"of {self.n} pictures; {100 * right:.1f} % of these answers are right "
            f"(95 % interval {100 * interval.low:.1f}-{100 * interval.high:.1f})."
        )

    @property
    def text(self) -> str:
        half = int((self.coverage >= 0.5).nonzero()[0])
        return f"{self.sentence(half)} Answering always: {100 * float(self.accuracy[-1]):.1f} %."


def coverage_curve(preds: Predictions) -> Coverage:
    """What the model gains by not answering when it is unsure."""
    probs, targets = _labelled(preds)
    sure, answer = probs.max(1)
    order = sure.argsort(descending=True, stable=True)
    sure, right = sure[order], (answer == targets)[order].double()
    answered = torch.arange(1, len(sure) + 1, dtype=torch.float64)
    last_of_tie = torch.ones(len(sure), dtype=torch.bool)
    last_of_tie[:-1] = sure[1:] != sure[:-1]
    accuracy = right.cumsum(0) / answered
    return Coverage(sure[last_of_tie], (answered / len(sure))[last_of_tie], accuracy[last_of_tie], len(sure))


@dataclass(frozen=True)
class DecisionCost:
    """What each threshold of p(positive) costs: entry m calls a picture positive from `thresholds[m]` on."""

    positive: str
    cost_of_miss: float
    cost_of_false_alarm: float
    thresholds: Tensor  # (M,) falling; the first, inf, never raises the alarm
    misses: Tensor  # (M,) int64
    false_alarms: Tensor  # (M,) int64
    cost: Tensor  # (M,) mean per picture
    best: int  # entry with the least cost on these pictures, which flatters it: judge it on others
    expected: float  # the best threshold if the probabilities were calibrated
    half: int  # entry of the usual decision, probability above one half

    @property
    def text(self) -> str:
        def words(entry: int) -> str:
            errors = f"{self.misses[entry]} misses, {self.false_alarms[entry]} false alarms"
            return f"{self.cost[entry]:.3f} a picture ({errors})"

        threshold = float(self.thresholds[self.best])
        rule = (
            f"never answering {self.positive}"
            if threshold == inf
            else f"answering {self.positive} from p = {threshold:.3f} on"
        )
        return (
            f"If a miss costs {self.cost_of_miss:g} and a false alarm {self.cost_of_false_alarm:g}, "
            f"{rule} costs least: {words(self.best)}; deciding at one half costs {words(self.half)}. "
            f"Calibrated probabilities would put the threshold at {self.expected:.3f}."
        )


@did_you_mean
def decision_cost(
    preds: Predictions, *, positive: str, cost_of_miss: float, cost_of_false_alarm: float
) -> DecisionCost:
    """The cost of every threshold for two classes: what does a missed crack cost, what a false alarm?

    With calibrated p the alarm pays when p · cost_of_miss > (1 - p) · cost_of_false_alarm.
    """
    if len(preds.classes) != 2:
        raise ValueError(f"a threshold decides between two classes; these predictions have {len(preds.classes)}")
    if min(cost_of_miss, cost_of_false_alarm) < 0 or cost_of_miss + cost_of_false_alarm <= 0:
        raise ValueError(
            f"costs are at least 0, one of them more; got {cost_of_miss} a miss and {cost_of_false_alarm} a false alarm"
        )
    column = _class_index(preds, positive)
    probs, targets = _labelled(preds)
    p, order = probs[:, column].sort(descending=True, stable=True)
    is_positive = (targets == column)[order].long()
    keep = torch.ones(len(p), dtype=torch.bool)
    keep[:-1] = p[1:] != p[:-1]  # equal probabilities fall on the same side
    zero = torch.zeros(1, dtype=torch.int64)
    caught = torch.cat([zero, is_positive.cumsum(0)[keep]])
    false_alarms = torch.cat([zero, (1 - is_positive).cumsum(0)[keep]])
    thresholds = torch.cat([torch.tensor([inf], dtype=torch.float64), p[keep]])
    misses = is_positive.sum() - caught
    cost = (cost_of_miss * misses + cost_of_false_alarm * false_alarms).double() / len(p)
    half = int((thresholds > 0.5).sum()) - 1
    expected = cost_of_false_alarm / (cost_of_miss + cost_of_false_alarm)
    return DecisionCost(
        positive,
        cost_of_miss,
        cost_of_false_alarm,
        thresholds,
        misses,
        false_alarms,
        cost,
        int(cost.argmin()),
        expected,
        half,
    )


def _labelled(preds: Predictions) -> tuple[Tensor, Tensor]:
    """(n, K) float64 probabilities and (n,) int64 targets of the labelled pictures."""
    labelled = preds.targets >= 0
    if not labelled.any():
        raise ValueError(f"none of these {len(preds.items)} pictures has a label: there is no truth to check against")
    return preds.log_probs[labelled].double().softmax(1), preds.targets[labelled]


def _class_index(preds: Predictions, name: str) -> int:
    if name not in preds.classes:
        raise ValueError(f"there is no class {name!r}; {closest(name, preds.classes)}")
    return preds.classes.index(name)
