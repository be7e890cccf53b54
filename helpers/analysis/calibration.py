"""Is a model that says "90 % sure" right nine times in ten? And a temperature for one that is not."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from helpers.analysis.intervals import wilson
from helpers.analysis.predictions import Predictions
from helpers.runtime.arguments import closest, did_you_mean

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # range of temperatures that are tried


@dataclass(frozen=True)
class Reliability:
    """Pictures sorted into B bins by a stated probability. Empty bins have nan confidence and accuracy."""

    edges: Tensor  # (B + 1,) a picture of probability p is in bin b when edges[b] < p <= edges[b + 1]
    counts: Tensor  # (B,) int64
    confidence: Tensor  # (B,) mean stated probability
    accuracy: Tensor  # (B,) share for which it came true
    low: Tensor  # (B,) Wilson's 95 % confidence interval of the accuracy
    high: Tensor  # (B,)
    ece: float  # expected calibration error: mean |accuracy - confidence| over pictures
    of_class: str | None = None  # the probability of this class; None: of the answer, whichever it is

    @property
    def text(self) -> str:
        filled = self.counts > 0
        weights = self.counts[filled] / self.counts.sum()
        stated, true = (100 * float((weights * row[filled]).sum()) for row in (self.confidence, self.accuracy))
        high, low = ("overconfident", "underconfident") if self.of_class is None else ("too high", "too low")
        verdict = high if stated - true > 1 else low if stated - true < -1 else "well calibrated on average"
        if self.of_class is None:
            said = (
                f"On average {stated:.1f} % confident and correct in {true:.1f} % of {int(self.counts.sum())} pictures"
            )
        else:
            said = (
                f"The mean probability of {self.of_class} is {stated:.1f} %, "
                f"and {true:.1f} % of {int(self.counts.sum())} pictures are {self.of_class}"
            )
        return f"{said}: {verdict}; expected calibration error {100 * self.ece:.1f} points."


@did_you_mean
def reliability(preds: Predictions, *, bins: int = 10, of_class: str | None = None) -> Reliability:
    """How often the model is right when it states a probability, in `bins` equally wide bins.

    By default the probability of its answer; with `of_class` the probability of that class, right or wrong.
    """
    probs, targets = labelled_probs(preds)
    if bins < 1:
        raise ValueError(f"bins is a count of at least 1; got {bins}")
    if of_class is None:
        stated, answer = probs.max(1)
        true = answer == targets
    else:
        column = class_index(preds, of_class)
        stated, true = probs[:, column].contiguous(), targets == column
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = torch.bucketize(stated, edges[1:-1])
    counts = torch.bincount(place, minlength=bins)
    confidence = torch.bincount(place, stated, minlength=bins) / counts  # 0 / 0 is nan: an empty bin
    n_true = torch.bincount(place, true.double(), minlength=bins)
    accuracy = n_true / counts
    intervals = [wilson(int(correct), int(n)) for correct, n in zip(n_true, counts, strict=True)]
    low, high = torch.tensor([[interval.low, interval.high] for interval in intervals], dtype=torch.float64).unbind(1)
    ece = float((counts / counts.sum() * (accuracy - confidence).abs()).nansum())
    return Reliability(edges, counts, confidence, accuracy, low, high, ece, of_class)


@dataclass(frozen=True)
class Temperature:
    """The number to divide the logits by: above 1 the model was overconfident, below 1 underconfident."""

    value: float  # 1 when it cannot be estimated: then `apply` changes nothing
    loss_before: float  # mean -log p(truth) of the pictures it was fitted on
    loss_after: float
    estimated: bool = True

    @property
    def text(self) -> str:
        if not self.estimated:
            return (
                "The temperature cannot be estimated from these pictures (the loss is lowest outside "
                f"{MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}); the probabilities stay as they are."
            )
        return (
            f"Temperature {self.value:.2f}: the loss goes from {self.loss_before:.3f} "
            f"to {self.loss_after:.3f}, no prediction changes."
        )

    def apply(self, preds: Predictions) -> Predictions:
        """New predictions, softened by a value above 1, sharpened below 1; the predicted classes stay the same."""
        return replace(preds, log_probs=(preds.log_probs / self.value).log_softmax(1))


def fit_temperature(preds: Predictions) -> Temperature:
    """The temperature with the least mean loss on these pictures (Guo et al. 2017). Validate it on others.

    Searched in 1 / temperature, in which the loss is convex.
    """
    from scipy.optimize import minimize_scalar

    probs, targets = labelled_probs(preds)
    logits = probs.log().clamp(min=-1e4)  # (N, K); probability 0 must not give 0 * inf

    def loss(sharpness: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits * sharpness, targets))

    bounds = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x
    if min(map(loss, bounds)) <= loss(best):  # an end of the range is as good: the least loss lies there or beyond
        return Temperature(1.0, loss(1), loss(1), estimated=False)
    return Temperature(1 / best, loss(1), loss(best))


def labelled_probs(preds: Predictions) -> tuple[Tensor, Tensor]:
    """(n, K) float64 probabilities and (n,) int64 targets of the labelled pictures."""
    preds.check_numbers()
    labelled = preds.targets >= 0
    if not labelled.any():
        raise ValueError(
            f"none of these {len(preds.items)} pictures has a label: there are no true classes to compare with"
        )
    return preds.log_probs[labelled].double().softmax(1), preds.targets[labelled]


def class_index(preds: Predictions, name: str) -> int:
    """The column of this class. Raises ValueError with the closest name."""
    if name not in preds.classes:
        raise ValueError(f"{name!r} is not a class; {closest(name, preds.classes)}")
    return preds.classes.index(name)
