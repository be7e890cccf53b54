"""Rows say what the predictions say; ranked lists keep their order."""

import math
from pathlib import Path

import pytest
import torch

from data_setup.items import Item
from helpers.analysis.predictions import Predictions
from helpers.lessons.audit import LabelError
from helpers.lessons.duplicates import Duplicate
from helpers.review.rows import ranked, rows_from_items, rows_from_predictions

CLASSES = ("cat", "dog")


def make_predictions(log_probs, labels, part="valid"):
    items = tuple(Item(f"{i}.png", Path(f"{i}.png"), label) for i, label in enumerate(labels))
    targets = torch.tensor([-1 if label is None else CLASSES.index(label) for label in labels])
    return Predictions(items, torch.as_tensor(log_probs).log_softmax(1), targets, CLASSES, part)


# --- rows -------------------------------------------------------------------------------------------------


def test_rows_say_what_the_predictions_say():
    rng = torch.Generator().manual_seed(1)
    labels = [("cat", "dog", None)[i % 3] for i in range(40)]
    preds = make_predictions(torch.randn(40, 2, generator=rng), labels)
    rows = rows_from_predictions(preds)
    assert [row.predicted for row in rows] == [CLASSES[k] for k in preds.predicted]
    top2 = preds.probs.topk(2, dim=1).values
    torch.testing.assert_close(torch.tensor([row.probability for row in rows]), top2[:, 0])
    torch.testing.assert_close(torch.tensor([row.margin for row in rows]), top2[:, 0] - top2[:, 1])
    for row, loss, correct in zip(rows, preds.losses.tolist(), preds.correct.tolist(), strict=True):
        assert row.loss == (None if math.isnan(loss) else loss)
        assert row.correct == (None if row.label is None else correct)
    assert {row.part for row in rows} == {"valid"}


def test_equal_probabilities_count_as_the_first_class_as_in_the_record():
    preds = make_predictions(torch.zeros(3, 2), ["cat", "dog", None])
    rows = rows_from_predictions(preds)
    assert [row.predicted for row in rows] == ["cat", "cat", "cat"]
    assert [row.correct for row in rows] == [True, False, None]
    assert rows[0].top == (("cat", 0.5), ("dog", 0.5))


def test_rows_come_from_data_a_learner_or_items_and_nothing_else(data, learn):
    part_of = {name: part for part in ("train", "valid") for name in getattr(data.split, part)}
    for source in (data, learn):
        assert {row.name: row.part for row in rows_from_items(source)} == part_of
    assert [row.part for row in rows_from_items(data.items)] == [""] * len(data.items)
    assert rows_from_items([]) == ()
    for wrong in ("pictures", Path("pictures"), ["a.png"], 3):
        with pytest.raises(TypeError, match="expected an ImageData, a Learner or items, got"):
            rows_from_items(wrong)


def test_ranked_lists_open_in_their_own_order_with_captions():
    items = [Item(name, Path(name), "cat") for name in "abcd"]
    rows = rows_from_items(items)
    plain = ranked(rows, [("c", "first"), ("a", "second"), ("c", "again")])
    assert [(row.name, row.caption) for row in plain] == [("c", "first"), ("a", "second"), ("c", "again")]
    pairs = ranked(rows, [Duplicate(items[3], items[1], "exact", 1.0, ("train", "valid"))])
    assert [row.name for row in pairs] == ["d", "b"]
    assert pairs[0].caption == "exact duplicate of b, in train and valid"
    errors = ranked(rows, [LabelError(items[2], "cat", "dog", 0.034, 2)])
    assert errors[0].caption == "perhaps dog; probability of its label 0.03"
    with pytest.raises(KeyError, match="names 1 unknown picture, e.g. 'x'"):
        ranked(rows, [("x", "")])
