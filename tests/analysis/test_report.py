"""The class report against scikit-learn."""

from math import isnan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support

from helpers.analysis.intervals import wilson
from helpers.analysis.report import report_from
from helpers.training import metrics

answers = st.integers(2, 5).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=30)
    )
)


def matrix_of(pairs, k):
    matrix = torch.zeros(k, k, dtype=torch.int64)
    for truth, predicted in pairs:
        matrix[truth, predicted] += 1
    return matrix


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")  # the oracle's own words
@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None)  # the first call loads scipy
@given(answers)
def test_every_number_equals_scikit_learn(drawn):
    k, pairs = drawn
    truth, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    report = report_from(matrix_of(pairs, k), tuple("abcde"[:k]))
    expected = precision_recall_fscore_support(truth, predicted, labels=range(k), zero_division=np.nan)
    ours = [[getattr(row, column).estimate for row in report.classes] for column in ("precision", "recall", "f1")]
    np.testing.assert_allclose([*ours, [row.support for row in report.classes]], expected)
    macro = precision_recall_fscore_support(truth, predicted, average="macro", zero_division=np.nan)[2]
    assert report.macro_f1 == pytest.approx(macro)
    assert report.macro_f1 == metrics.f1(matrix_of(pairs, k).double()), "one definition in the whole kit"
    assert report.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert report.accuracy == wilson(int((truth == predicted).sum()), len(truth))
    assert report.majority == np.bincount(truth).max() / len(truth)
    for row in report.classes:
        for share in (row.precision, row.recall, row.f1):
            assert isnan(share.estimate) or share.low <= share.estimate + 1e-12 <= share.high + 2e-12


def test_the_table_reads_well():
    report = report_from(torch.tensor([[40, 10, 0], [5, 45, 0], [0, 0, 0]]), ("cat", "hot dog", "owl"))
    assert str(report).splitlines() == [
        "class    precision            recall               F1                   pictures",
        "cat      0.89 (0.77 to 0.95)  0.80 (0.67 to 0.89)  0.84 (0.75 to 0.91)        50",
        "hot dog  0.82 (0.70 to 0.90)  0.90 (0.79 to 0.96)  0.86 (0.77 to 0.91)        50",
        "owl      -                    -                    -                           0",
        "Accuracy 85.0 % of 100 (95 % confidence interval ≈ 76.7 to 90.7), macro F1 0.850, balanced accuracy 0.850; "
        "always answering the most frequent class gives 50.0 %.",
    ]


def test_many_classes_show_the_worst_first():
    matrix = torch.eye(100, dtype=torch.int64) * 10
    matrix[7, 8] = 30
    report = report_from(matrix, tuple(f"class {c:02}" for c in range(100)))
    lines = report.table(max_rows=5).splitlines()
    assert len(lines) == 7
    assert lines[1].startswith(("class 07", "class 08"))
    assert lines[-1] == "... and 95 classes with a higher F1"


def test_nothing_to_report():
    with pytest.raises(ValueError, match="no labelled pictures"):
        report_from(torch.zeros(2, 2, dtype=torch.int64), ("a", "b"))
