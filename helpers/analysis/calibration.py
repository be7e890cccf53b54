"""Is a model that says "90 % sure" right nine times in ten?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.analysis.intervals import wilson
from helpers.analysis.predictions import Predictions


@dataclass(frozen=True)
class Reliability:
    """Pictures sorted into ten bins by the probability of their answer. Empty bins have nan confidence and accuracy."""

    edges: Tensor  # (11,) a picture of probability p is in bin b when edges[b] < p <= edges[b + 1]
    counts: Tensor  # (10,) int64
    confidence: Tensor  # (10,) mean stated probability
    accuracy: Tensor  # (10,) share for which it came true
    low: Tensor  # (10,) Wilson's 95 % confidence interval of the accuracy
    high: Tensor  # (10,)
    ece: float  # expected calibration error: mean |accuracy - confidence| over pictures

    @property
    def text(self) -> str:
        n = int(self.counts.sum())
        stated, true = (100 * float((self.counts / n * row).nansum()) for row in (self.confidence, self.accuracy))
        gap = stated - true
        verdict = "overconfident" if gap > 1 else "underconfident" if gap < -1 else "well calibrated on average"
        return (
            f"On average {stated:.1f} % confident and correct in {true:.1f} % of {n} pictures: {verdict}; "
            f"expected calibration error {100 * self.ece:.1f} points."
        )


def reliability(preds: Predictions) -> Reliability:
    """How often the model is right when it states a probability for its answer, in ten equally wide bins."""
    own = preds.labelled()
    stated, answer = own.log_probs.double().softmax(1).max(1)
    edges = torch.linspace(0, 1, 11, dtype=torch.float64)
    place = torch.bucketize(stated, edges[1:-1])
    counts, n_true, sums = (
        torch.bincount(place, weights, minlength=10) for weights in (None, (own.targets == answer).double(), stated)
    )
    accuracy, confidence = n_true / counts, sums / counts  # 0 / 0 is nan: an empty bin
    shares = [wilson(int(correct), int(n)) for correct, n in zip(n_true, counts, strict=True)]
    low, high = (torch.tensor([getattr(share, end) for share in shares]).double() for end in ("low", "high"))
    ece = float((counts / counts.sum() * (accuracy - confidence).abs()).nansum())
    return Reliability(edges, counts, confidence, accuracy, low, high, ece)
