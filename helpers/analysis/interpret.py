"""What a model gets right and wrong: predict once, then answer every question from that record."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from data_setup.base.arguments import closest, did_you_mean
from helpers.analysis.predictions import Predictions, class_index
from helpers.analysis.report import Report, report_from
from helpers.runtime.seeds import generator

PICKS = {
    "random_correct": "Correct, drawn at random{of}: {k} of {n}.",
    "random_incorrect": "Wrong, drawn at random{of}: {k} of {n}.",
    "most_correct": "Correct, most confident first{of}: {k} of {n}, by the highest probability of the true class.",
    "most_incorrect": "Wrong, worst first{of}: {k} of {n}, by the lowest probability of the true class.",
    "most_uncertain": "Most uncertain first{of}: {k} of {n}, by the lead of the likeliest class over the second.",
}


class Confusion(NamedTuple):
    """How often one class was taken for another."""

    truth: str
    predicted: str
    count: int


class TopLoss(NamedTuple):
    """One picture of a ranking by loss; `row` is its place in the predictions."""

    row: int
    name: str
    truth: str
    predicted: str
    loss: float
    p_truth: float
    p_predicted: float


@dataclass(frozen=True, repr=False)
class Picks:
    """Some rows of a prediction record, in the order asked for, and one sentence that says which they are."""

    preds: Predictions
    indices: tuple[int, ...]  # their rows in the original record
    which: str  # one of PICKS
    of_class: str | None  # the requested true class
    caption: str

    def __repr__(self) -> str:
        """The caption, then one line a picture."""
        preds, lines = self.preds, [self.caption]
        for item, target, answer, p in zip(preds.items, preds.targets, preds.predicted, preds.probs, strict=True):
            truth = f"labelled {preds.classes[target]}" if target >= 0 else "no label"
            lines.append(f"{item.name}: {truth}, predicted {preds.classes[answer]} (p = {p[answer]:.3f})")
        return "\n".join(lines)


class Interpretation:
    """Every question about one prediction record, which is never predicted again."""

    def __init__(self, preds: Predictions):
        preds.check_numbers()
        self.preds = preds

    @classmethod
    @did_you_mean
    def from_learner(cls, learn, part: str = "valid", *, tta: int | None = None) -> "Interpretation":
        """Predict `part` once: plainly, or averaged over `tta` augmented views of each picture."""
        return cls(learn.get_preds(part) if tta is None else learn.tta(n=tta, part=part))

    def confusion_matrix(self) -> Tensor:
        """int64 (K, K): entry [i, j] counts the labelled pictures of class i that were predicted as j."""
        own, k = self.preds.labelled(), len(self.preds.classes)
        return torch.bincount(own.targets * k + own.predicted, minlength=k * k).view(k, k)

    def most_confused(self, min_val: int = 1) -> list[Confusion]:
        """Pairs of classes confused at least `min_val` times, most first, then in the order of the classes."""
        matrix, classes = self.confusion_matrix().fill_diagonal_(0), self.preds.classes
        pairs = (matrix >= max(min_val, 1)).nonzero().tolist()
        confused = [Confusion(classes[i], classes[j], int(matrix[i, j])) for i, j in pairs]
        return sorted(confused, key=lambda pair: -pair.count)

    def top_losses(self, k: int = 9) -> list[TopLoss]:
        """The k labelled pictures with the largest loss -log p(truth), worst first; ties by name."""
        preds, probs, top = self.preds, self.preds.probs, []
        for row in self._ranked(self._labelled(), -preds.losses)[:k]:
            truth, answer, loss = int(preds.targets[row]), int(preds.predicted[row]), float(preds.losses[row])
            names = preds.items[row].name, preds.classes[truth], preds.classes[answer]
            top.append(TopLoss(row, *names, loss, float(probs[row, truth]), float(probs[row, answer])))
        return top

    def report(self) -> Report:
        """Precision, recall and F1 of each class with their intervals, and the whole in one sentence."""
        return report_from(self.confusion_matrix(), self.preds.classes)

    @did_you_mean
    def pick(self, which: str, k: int = 4, *, of_class: str | None = None, seed: int = 0) -> Picks:
        """Up to k sample pictures: `which` of PICKS, `of_class` a true class or None.

        Equal values are ordered by name, so the same record always gives the same pictures.
        """
        if which not in PICKS:
            raise ValueError(f"pick() does not know {which!r}; {closest(which, PICKS)}")
        if k < 1:
            raise ValueError(f"k is how many pictures to pick, at least 1; got {k}")
        preds, correct = self.preds, which.endswith("_correct")
        if which == "most_uncertain":
            first, second = preds.probs.double().topk(2, dim=1).values.unbind(1)
            wanted, order = torch.ones_like(preds.correct), first - second
        else:
            wanted = self._labelled() & (preds.correct == correct)
            order = preds.losses if correct else -preds.losses
        if of_class is not None:
            wanted &= preds.targets == class_index(preds, of_class)
        rows = self._ranked(wanted, torch.zeros_like(order) if which.startswith("random_") else order)
        if which.startswith("random_"):
            shuffled = torch.randperm(len(rows), generator=generator("pick", which, of_class, seed))
            rows = [rows[place] for place in shuffled.tolist()]
        of = "" if of_class is None else f", class {of_class}"
        caption = PICKS[which].format(k=min(k, len(rows)), n=len(rows), of=of)
        return Picks(preds.subset(rows[:k]), tuple(rows[:k]), which, of_class, caption)

    def _labelled(self) -> Tensor:
        """(N,) bool. Raises ValueError where no picture has a label."""
        self.preds.labelled()
        return self.preds.targets >= 0

    def _ranked(self, wanted: Tensor, order: Tensor) -> list[int]:
        """The rows where `wanted` (N,) is True, the smallest of `order` (N,) first, then by the picture's name."""
        keys = list(zip(order.tolist(), [item.name for item in self.preds.items], strict=True))
        return sorted(wanted.nonzero().flatten().tolist(), key=keys.__getitem__)


def clustered_order(matrix: Tensor) -> list[int]:
    """The classes in an order that puts those often confused side by side, so a large matrix shows blocks.

    Average linkage on 1 - the share of two classes' pictures taken for the other. (K, K) in, K places out.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return list(range(len(matrix)))
    shares = matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)  # (K, K), rows sum to 1
    distance = 1 - ((shares + shares.T) / 2).fill_diagonal_(1)
    return leaves_list(linkage(squareform(distance.numpy(), checks=False), "average")).tolist()
