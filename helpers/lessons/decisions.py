"""What a lesson decides with probabilities: when to answer at all, and from which threshold to raise an alarm."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from helpers.analysis.calibration import labelled_probs
from helpers.analysis.intervals import wilson
from helpers.analysis.predictions import Predictions, class_index
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.text import counted


@dataclass(frozen=True)
class Coverage:
    """Answer only when confident: entry m answers from probability `thresholds[m]` on. Fewest answers first."""

    thresholds: Tensor  # (M,) falling, one per distinct probability
    coverage: Tensor  # (M,) share of the pictures that get an answer, rising to 1
    accuracy: Tensor  # (M,) share of those answers that are correct; the risk is 1 - accuracy
    n: int

    def at_accuracy(self, wanted: float) -> int | None:
        """The entry with the most answers whose accuracy is at least `wanted`, or None when there is none."""
        good = (self.accuracy >= wanted).nonzero().flatten().tolist()
        return good[-1] if good else None

    def sentence(self, entry: int) -> str:
        """What answering from entry `entry`'s threshold on means, with the confidence interval of the accuracy."""
        share, right = float(self.coverage[entry]), float(self.accuracy[entry])
        answered = round(share * self.n)
        interval = wilson(round(right * answered), answered)
        return (
            f"Answering only above confidence {self.thresholds[entry]:.2f} covers {100 * share:.1f} % "
            f"of {self.n} pictures; {100 * right:.1f} % of these answers are correct ({interval.range_text()})."
        )

    @property
    def text(self) -> str:
        half = int((self.coverage >= 0.5).nonzero()[0])
        return f"{self.sentence(half)} Answering always: {100 * float(self.accuracy[-1]):.1f} %."


def coverage_curve(preds: Predictions) -> Coverage:
    """What the model gains by not answering when it is unsure."""
    probs, targets = labelled_probs(preds)
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
    best: int  # entry with the least cost on these pictures, which flatters it: validate it on others
    expected: float  # the best threshold if the probabilities were calibrated
    half: int  # entry of the usual decision, probability above one half

    @property
    def text(self) -> str:
        def words(entry: int) -> str:
            misses, alarms = (
                counted(int(self.misses[entry]), "miss"),
                counted(int(self.false_alarms[entry]), "false alarm"),
            )
            return f"{self.cost[entry]:.3f} a picture ({misses}, {alarms})"

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
    column = class_index(preds, positive)
    probs, targets = labelled_probs(preds)
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
