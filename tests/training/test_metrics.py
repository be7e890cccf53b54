"""Metrics against scikit-learn, and counts against a loop."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch.overrides import TorchFunctionMode

from helpers.training.metrics import (
    METRICS,
    accuracy,
    balanced_accuracy,
    count_confusions,
    error_rate,
    f1,
    metrics_named,
)

K = 4


def counted(predicted, targets, *, batches=1):
    predicted, targets = torch.tensor(predicted), torch.tensor(targets)
    batches = torch.arange(len(targets)).tensor_split(batches)
    return sum(count_confusions(predicted[some], targets[some], K) for some in batches)


answers = st.lists(st.tuples(st.integers(0, K - 1), st.integers(0, K - 1)), min_size=1, max_size=60)


def naive_confusion(predicted, targets):
    """Written as in a lecture: rows the truth, columns the answer."""
    matrix = [[0] * K for _ in range(K)]
    for answer, truth in zip(predicted, targets, strict=True):
        if truth >= 0:
            matrix[truth][answer] += 1
    return matrix


@settings(max_examples=40)
@given(answers, st.integers(1, 5))
def test_every_metric_is_scikit_learns(pairs, batches):
    """Catches micro for macro averages, rows for columns, and means of batch means."""
    predicted, targets = map(list, zip(*pairs, strict=True))
    counts = counted(predicted, targets, batches=batches)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that do not occur
        expected = {
            accuracy: sklearn.accuracy_score(targets, predicted),
            error_rate: 1 - sklearn.accuracy_score(targets, predicted),
            balanced_accuracy: sklearn.balanced_accuracy_score(targets, predicted),
            f1: sklearn.f1_score(targets, predicted, average="macro"),
        }
        matrix = sklearn.confusion_matrix(targets, predicted, labels=range(K))
    assert np.array_equal(counts.numpy(), matrix)
    for metric, value in expected.items():
        assert metric(counts) == pytest.approx(value, abs=1e-12)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, K - 1), st.integers(-1, K - 1)), max_size=40))
def test_pictures_without_a_label_do_not_count(pairs):
    """Catches a target of -1 counted as the last class, or as a mistake."""
    predicted, targets = [p for p, _ in pairs], [t for _, t in pairs]
    columns = (torch.tensor(column, dtype=torch.int64) for column in (predicted, targets))
    counts = count_confusions(*columns, K)
    assert counts.tolist() == naive_confusion(predicted, targets)


def test_the_lectures_warning_about_accuracy():
    """Catches a balanced accuracy that flatters whoever always answers with the larger class."""
    counts = counted([0] * 100, [0] * 69 + [1] * 31)
    assert accuracy(counts) == pytest.approx(0.69) and error_rate(counts) == pytest.approx(0.31)
    assert balanced_accuracy(counts) == pytest.approx(0.5)
    assert f1(counts) == pytest.approx(2 * 69 / (2 * 69 + 31) / 2)


def test_counts_hold_more_pictures_than_a_float32_can():
    """Catches counts that stop growing at 16,777,216."""
    one = count_confusions(torch.tensor([0]), torch.tensor([0]), 2)
    assert (one + 2.0**24)[0, 0].item() == 2**24 + 1


def test_counting_never_waits_for_the_device():
    """Catches a host sync per batch: a value read (item), or a result whose size depends on values (bincount)."""

    class Operations(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.names = set()

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.names.add(function.__name__)
            return function(*args, **(kwargs or {}))

    waits = {"item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__"}
    waits |= {"bincount", "nonzero", "unique", "masked_select", "histc"}
    labels = torch.tensor([0, 1, -1])
    with Operations() as counting:
        counts = count_confusions(labels.abs(), labels, K)
    assert "index_add_" in counting.names and not counting.names & waits
    with Operations() as reading:
        accuracy(counts)
    assert reading.names & waits  # this is where the device is waited for


def test_metrics_go_by_name_and_your_own_by_theirs():
    """Catches a metric in the table under another's name, and a typo answered with a KeyError."""

    def recall_of_first(counts):
        return float(counts[0, 0] / counts[0].sum())

    chosen = metrics_named(["f1", recall_of_first, "accuracy"])
    assert list(chosen) == ["f1", "recall_of_first", "accuracy"] and chosen["accuracy"] is accuracy
    assert chosen["recall_of_first"](counted([0, 1, 1], [0, 0, 1])) == 0.5
    assert set(METRICS) == {"accuracy", "error_rate", "balanced_accuracy", "f1"}
    with pytest.raises(ValueError, match="there is no metric 'acuracy'; did you mean 'accuracy'"):
        metrics_named(["acuracy"])
    with pytest.raises(
        ValueError, match="there is no metric 'roc'; choose from accuracy, error_rate, balanced_accuracy, f1"
    ):
        metrics_named(["roc"])
