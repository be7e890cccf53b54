"""Metrics are functions of the confusion counts: one small matrix is summed on the device and read once an epoch."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from data_setup.base.arguments import closest

Metric = Callable[[Tensor], float]


def count_confusions(predicted: Tensor, targets: Tensor, n_classes: int) -> Tensor:
    """(K, K) counts, rows the truth, columns the prediction. Unlabelled pictures (-1) do not count.

    float64 holds every count exactly (MPS has no float64: float32 does up to 16 million).
    """
    labelled = (targets >= 0).to(torch.float32 if targets.device.type == "mps" else torch.float64)
    cells = targets.clamp(min=0) * n_classes + predicted
    counts = labelled.new_zeros(n_classes * n_classes)
    return counts.index_add_(0, cells, labelled).view(n_classes, n_classes)  # no sync: bincount would wait


def accuracy(counts: Tensor) -> float:
    """Share of pictures given their own class."""
    return float(counts.diagonal().sum() / counts.sum())


def error_rate(counts: Tensor) -> float:
    """1 - accuracy."""
    return 1 - accuracy(counts)


def balanced_accuracy(counts: Tensor) -> float:
    """Mean over the classes that occur of the share found (recall): 1/K for guessing, however unequal the classes."""
    found = counts.diagonal() / counts.sum(dim=1)
    return float(found[counts.sum(dim=1) > 0].mean())


def f1(counts: Tensor) -> float:
    """Macro F1: mean of 2 TP / (2 TP + FP + FN) over the classes that occur or are predicted (as scikit-learn)."""
    either = counts.sum(dim=0) + counts.sum(dim=1)
    return float((2 * counts.diagonal() / either)[either > 0].mean())


METRICS: dict[str, Metric] = {function.__name__: function for function in (accuracy, error_rate, balanced_accuracy, f1)}


def metrics_named(wanted: str | Metric | Iterable[str | Metric]) -> dict[str, Metric]:
    """Metrics by name, one or several; a function of your own from (K, K) counts to a number goes by its own name."""
    wanted = [wanted] if isinstance(wanted, str) or callable(wanted) else list(wanted)
    if unknown := [metric for metric in wanted if not callable(metric) and metric not in METRICS]:
        raise ValueError(f"there is no metric {unknown[0]!r}; {closest(unknown[0], METRICS)}")
    return {getattr(metric, "__name__", str(metric)): METRICS.get(metric, metric) for metric in wanted}
