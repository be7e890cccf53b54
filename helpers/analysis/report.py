"""Precision, recall and F1 of every class, each with its interval, from a confusion matrix."""

from dataclasses import dataclass
from math import isnan

from torch import Tensor

from helpers.analysis.intervals import Interval, wilson
from helpers.training import metrics


@dataclass(frozen=True)
class ClassScores:
    """One class. A share of no pictures is nan, and its interval 0 to 1."""

    name: str
    support: int  # pictures that are of this class
    precision: Interval  # correct / predicted as this class
    recall: Interval  # correct / of this class
    f1: Interval  # harmonic mean of both


@dataclass(frozen=True)
class Report:
    """What a confusion matrix says, class by class and in all. Printed, it is a table."""

    classes: tuple[ClassScores, ...]
    n: int
    accuracy: Interval
    macro_f1: float  # as training.metrics has it, and the mean recall too
    balanced_accuracy: float
    majority: float  # accuracy of always answering the most frequent class

    def table(self, max_rows: int = 40) -> str:
        """One line a class, in the order of the classes; of more than `max_rows` those with the lowest F1."""
        rows = self.classes
        if len(rows) > max_rows:
            rows = sorted(rows, key=lambda row: (isnan(row.f1.estimate), row.f1.estimate))[:max_rows]
        width = max([len("class"), *(len(row.name) for row in rows)])
        lines = [f"{'class':<{width}}  {'precision':<19}  {'recall':<19}  {'F1':<19}  pictures"]
        for row in rows:
            shares = "  ".join(f"{_share_text(share):<19}" for share in (row.precision, row.recall, row.f1))
            lines.append(f"{row.name:<{width}}  {shares}  {row.support:>8}")
        if len(rows) < len(self.classes):
            lines.append(f"... and {len(self.classes) - len(rows)} classes with a higher F1")
        return "\n".join(lines)

    def __str__(self) -> str:
        return (
            f"{self.table()}\nAccuracy {100 * self.accuracy.estimate:.1f} % of {self.n} ({self.accuracy.range_text()}),"
            f" macro F1 {self.macro_f1:.3f}, balanced accuracy {self.balanced_accuracy:.3f}; "
            f"always answering the most frequent class gives {100 * self.majority:.1f} %."
        )


def report_from(matrix: Tensor, classes: tuple[str, ...]) -> Report:
    """The report of a confusion matrix, int64 (K, K), rows = truth. Raises ValueError when it is empty.

    (scikit-learn's precision_recall_fscore_support has the same shares, but no intervals: it is the tests' oracle.)
    """
    n = int(matrix.sum())
    if n == 0:
        raise ValueError("no labelled pictures, so there is nothing to report")
    correct, support, predicted = matrix.diag().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()
    scores = tuple(
        ClassScores(name, own, wilson(hits, called), wilson(hits, own), _f1(hits, own + called - hits))
        for name, hits, own, called in zip(classes, correct, support, predicted, strict=True)
    )
    counts, accuracy = matrix.double(), wilson(sum(correct), n)
    return Report(scores, n, accuracy, metrics.f1(counts), metrics.balanced_accuracy(counts), max(support) / n)


def _f1(correct: int, either: int) -> Interval:
    """F1 = 2 J / (1 + J) with J = correct / pictures of the class or predicted as it: J's interval carried over."""
    overlap = wilson(correct, either)
    return Interval(*(2 * j / (1 + j) for j in (overlap.estimate, overlap.low, overlap.high)))


def _share_text(share: Interval) -> str:
    return "-" if isnan(share.estimate) else f"{share.estimate:.2f} ({share.low:.2f} to {share.high:.2f})"
