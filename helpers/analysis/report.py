"""Precision, recall and F1 of every class, each with its interval, from a confusion matrix."""

from dataclasses import dataclass
from math import isnan, nan

from torch import Tensor

from helpers.analysis.intervals import Interval, wilson


@dataclass(frozen=True)
class ClassScores:
    """One class. A share of no pictures is nan, and its interval 0 to 1."""

    name: str
    support: int  # pictures that are of this class
    predicted: int  # pictures that were called this class
    precision: Interval  # right / called this class
    recall: Interval  # right / of this class
    f1: Interval  # harmonic mean of both


@dataclass(frozen=True)
class Report:
    """What a confusion matrix says, class by class and in all. Printed, it is a table."""

    classes: tuple[ClassScores, ...]
    n: int
    accuracy: Interval
    macro_f1: float  # mean F1 of the classes that occur, as a truth or as an answer
    balanced_accuracy: float  # mean recall of the classes that have pictures
    majority: float  # accuracy of always answering the most frequent class

    @property
    def text(self) -> str:
        """One sentence with what matters."""
        low, high = 100 * self.accuracy.low, 100 * self.accuracy.high
        return (
            f"Accuracy {100 * self.accuracy.estimate:.1f} % of {self.n} "
            f"({100 * self.accuracy.confidence:g} % interval {low:.1f}-{high:.1f}), "
            f"macro F1 {self.macro_f1:.3f}, balanced accuracy {self.balanced_accuracy:.3f}; "
            f"always answering the most frequent class gives {100 * self.majority:.1f} %."
        )

    def table(self, max_rows: int = 40) -> str:
        """One line a class, in vocabulary order; of more than `max_rows` classes those with the lowest F1."""
        rows = self.classes
        if len(rows) > max_rows:
            rows = sorted(rows, key=lambda row: (isnan(row.f1.estimate), row.f1.estimate))[:max_rows]
        width = max([len("class"), *(len(row.name) for row in rows)])
        lines = [f"{'class':<{width}}  {'precision':<16}  {'recall':<16}  {'F1':<16}  pictures"]
        for row in rows:
            cells = "  ".join(_cell(share) for share in (row.precision, row.recall, row.f1))
            lines.append(f"{row.name:<{width}}  {cells}  {row.support:>8}")
        if len(rows) < len(self.classes):
            lines.append(f"... and {len(self.classes) - len(rows)} classes with a higher F1")
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.table()}\n{self.text}"


def report_from(matrix: Tensor, classes: tuple[str, ...], *, confidence: float = 0.95) -> Report:
    """The report of a confusion matrix, int64 (K, K), rows = truth. Raises ValueError when it is empty."""
    n = int(matrix.sum())
    if n == 0:
        raise ValueError("no labelled pictures, so there is nothing to report")
    right, support, predicted = matrix.diag().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()
    scores = tuple(
        ClassScores(
            name,
            support[c],
            predicted[c],
            wilson(right[c], predicted[c], confidence),
            wilson(right[c], support[c], confidence),
            _f1(right[c], support[c] + predicted[c] - right[c], confidence),
        )
        for c, name in enumerate(classes)
    )
    return Report(
        scores,
        n,
        wilson(sum(right), n, confidence),
        _mean(row.f1.estimate for row in scores),
        _mean(row.recall.estimate for row in scores),
        max(support) / n,
    )


def _f1(right: int, either: int, confidence: float) -> Interval:
    """F1 = 2 J / (1 + J) with J = right / pictures of the class or called it: J's interval carried over."""
    overlap = wilson(right, either, confidence)
    estimate, low, high = (2 * j / (1 + j) for j in (overlap.estimate, overlap.low, overlap.high))
    return Interval(estimate, low, high, confidence)


def _mean(values) -> float:
    known = [value for value in values if not isnan(value)]
    return sum(known) / len(known) if known else nan


def _cell(share: Interval) -> str:
    if isnan(share.estimate):
        return f"{'-':<16}"
    return f"{share.estimate:.2f} ({share.low:.2f}-{share.high:.2f})"
