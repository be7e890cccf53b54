"""What a lesson decides with probabilities: when to answer at all, and from which probability on to look twice."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from data_setup.base.arguments import did_you_mean
from helpers.analysis.intervals import wilson
from helpers.analysis.predictions import Predictions, class_index
from helpers.lessons.scoreboard import PRICES, labelled_probs


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
    """What looking a second time from each threshold of p(positive) on costs: entry m looks from `thresholds[m]` on.

    Every look costs the same, whatever it shows: misses x `cost_of_miss` + looks x `cost_of_look`.
    """

    positive: str
    cost_of_miss: float
    cost_of_look: float
    n: int
    thresholds: Tensor  # (M,) falling; the first, inf, never looks
    misses: Tensor  # (M,) int64
    looks: Tensor  # (M,) int64
    false_alarms: Tensor  # (M,) int64 looks at negatives
    cost: Tensor  # (M,) of 100 photographs
    best: int  # entry with the least cost on these photographs, optimistic because it was chosen on them
    expected: float  # the best threshold if the probabilities were calibrated
    half: int  # entry of the usual decision, probability above one half

    def at(self, threshold: float) -> int:
        """The entry of looking from p = `threshold` on."""
        return int((self.thresholds >= threshold).sum()) - 1

    def words(self, entry: int) -> str:
        """ "≈ 150 for 100 photographs (≈ 4 of 164 missed, ≈ 330 of 536 looked at)"."""
        missed = f"≈ {self.misses[entry]} of {self.misses[0]} missed"
        return f"≈ {self.cost[entry]:.0f} for 100 photographs ({missed}, ≈ {self.looks[entry]} of {self.n} looked at)"

    @property
    def text(self) -> str:
        threshold = float(self.thresholds[self.best])
        rule = "never looking" if threshold == inf else f"looking from ≈ {threshold:.3f} on"
        return (
            f"If a miss costs {self.cost_of_miss:g} and a second look {self.cost_of_look:g}, "
            f"{rule} costs least: {self.words(self.best)}; from one half on it is {self.words(self.half)}. "
            f"Calibrated probabilities would put the threshold at {self.expected:.3f}: "
            f"{self.words(self.at(self.expected))}."
        )


@did_you_mean
def decision_cost(
    preds: Predictions,
    *,
    positive: str,
    cost_of_miss: float = PRICES.miss,
    cost_of_look: float = PRICES.look,
) -> DecisionCost:
    """The cost of every threshold for two classes: which photographs are worth a second look?

    With calibrated p a look pays when p · cost_of_miss is at least cost_of_look.
    """
    if len(preds.classes) != 2:
        raise ValueError(f"a threshold decides between two classes; these predictions have {len(preds.classes)}")
    if not 0 <= cost_of_look < cost_of_miss:
        raise ValueError(
            f"a look costs at least 0 and less than a miss, or none ever pays; got {cost_of_look:g} a look and "
            f"{cost_of_miss:g} a miss"
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
    misses, looks = is_positive.sum() - caught, caught + false_alarms
    cost = 100 * (cost_of_miss * misses + cost_of_look * looks).double() / len(p)
    return DecisionCost(
        positive,
        cost_of_miss,
        cost_of_look,
        len(p),
        thresholds,
        misses,
        looks,
        false_alarms,
        cost,
        best=int(cost.argmin()),
        expected=cost_of_look / cost_of_miss,
        half=int((thresholds > 0.5).sum()) - 1,
    )
