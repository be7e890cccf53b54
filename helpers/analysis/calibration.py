"""Is a model that says "90 % sure" right nine times in ten?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.analysis.intervals import wilson
from helpers.analysis.predictions import Predictions, class_index
from helpers.runtime.arguments import did_you_mean


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
        n, of_class = int(self.counts.sum()), self.of_class
        stated, true = (100 * float((self.counts / n * row).nansum()) for row in (self.confidence, self.accuracy))
        if of_class is None:
            said = f"On average {stated:.1f} % confident and correct in {true:.1f} % of {n} pictures"
        else:
            said = (
                f"The mean probability of {of_class} is {stated:.1f} %, and {true:.1f} % of {n} pictures are {of_class}"
            )
        high, low = ("overconfident", "underconfident") if of_class is None else ("too high", "too low")
        verdict = high if stated - true > 1 else low if stated - true < -1 else "well calibrated on average"
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
    else:
        answer = class_index(preds, of_class)
        stated = probs[:, answer].contiguous()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = torch.bucketize(stated, edges[1:-1])
    counts, n_true, sums = (
        torch.bincount(place, weights, minlength=bins) for weights in (None, (targets == answer).double(), stated)
    )
    accuracy, confidence = n_true / counts, sums / counts  # 0 / 0 is nan: an empty bin
    intervals = [wilson(int(correct), int(n)) for correct, n in zip(n_true, counts, strict=True)]
    low, high = torch.tensor([[share.low, share.high] for share in intervals], dtype=torch.float64).unbind(1)
    ece = float((counts / counts.sum() * (accuracy - confidence).abs()).nansum())
    return Reliability(edges, counts, confidence, accuracy, low, high, ece, of_class)


def labelled_probs(preds: Predictions) -> tuple[Tensor, Tensor]:
    """(n, K) float64 probabilities and (n,) int64 targets of the labelled pictures."""
    own = preds.labelled()
    return own.log_probs.double().softmax(1), own.targets
