"""Lesson 07: each typical mistake meets its own sentence."""

from pathlib import Path

import pytest
import torch

from helpers.analysis.predictions import Predictions
from helpers.data.items import Item
from helpers.lessons.checks.lesson_07 import check_07_1, check_07_2, check_07_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED
from helpers.lessons.decisions import decision_cost

# 30 mono cells, 27 answered correctly (0.9); 20 poly cells, 14 of them (0.7)
KINDS = ["mono"] * 30 + ["poly"] * 20
CORRECT = [n % 10 != 0 for n in range(30)] + [n % 10 > 2 for n in range(20)]


@pytest.fixture(scope="module")
def preds():
    targets = [n % 2 for n in range(50)]
    items = tuple(
        Item(f"valid/{kind}_x_{n}.png", Path("x.png"), "df"[t])
        for n, (kind, t) in enumerate(zip(KINDS, targets, strict=True))
    )
    probs = torch.full((50, 2), 0.3)
    for row, (target, is_right) in enumerate(zip(targets, CORRECT, strict=True)):
        probs[row, target if is_right else 1 - target] = 0.7
    return Predictions(items, probs.log(), torch.tensor(targets), ("d", "f"), "valid")


@pytest.fixture
def price(preds):
    return decision_cost(preds, positive="d")


def test_one_in_fifty(price):
    assert check_07_1(1 / 50, price).state == check_07_1(0.0201, price).state == RIGHT
    assert check_07_1(None, price).state == UNFINISHED


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (0.5, "one half asks which is likelier"),
        (2 / 102, "a look costs the same at a broken cell"),
        (0.98, "the other way round"),
        (2, "in percent"),
        (50, "how many looks a miss costs"),
        (0.7, "the cheapest threshold on these"),
        (0.25, "where are they equal"),
        ("0.09", "must be a number"),
    ],
)
def test_other_thresholds_are_told_apart(price, answer, said):
    if said.startswith("the cheapest"):
        answer = float(price.thresholds[price.best])
    verdict = check_07_1(answer, price)
    assert verdict.state == NOT_YET and said in verdict.message


def test_two_kinds_of_cells(preds):
    verdict = check_07_2("poly", 0.9, 0.7, preds)
    assert verdict.state == RIGHT and "30 mono and 20 poly" in verdict.message
    assert check_07_2(None, None, None, preds).state == check_07_2("poly", 0.9, None, preds).state == UNFINISHED


@pytest.mark.parametrize(
    ("guess", "mono", "poly", "said"),
    [
        ("poly", 0.7, 0.9, "changed places"),
        ("poly", 90.0, 0.7, "mono_2 is 90: that is in percent"),
        ("poly", 0.54, 0.7, "divided by all cells"),
        ("poly", 27, 0.7, "how many are right"),
        ("poly", 0.9, 0.3, "poly_2 is 0.3: that is the share of wrong"),
        ("poly", 0.6, 0.7, "how many of all cells"),
        ("poly", 0.9, 0.82, "the accuracy on all cells"),
        ("poly", 0.9, 0.123, "preds.subset(rows).accuracy()"),
        ("harder", 0.9, 0.7, "guess_2 is the text 'harder'"),
        ("poly", "0.9", 0.7, "mono_2 must be a number"),
        ("poly", len, 0.7, "call it, with its brackets"),
    ],
)
def test_other_accuracies_are_told_apart(preds, guess, mono, poly, said):
    verdict = check_07_2(guess, mono, poly, preds)
    assert verdict.state == NOT_YET and said in verdict.message


def test_a_record_is_asked_for_its_accuracy(preds):
    assert "ask it for its .accuracy()" in check_07_2("poly", preds, 0.7, preds).message


def test_precision_and_recall():
    assert check_07_3(lambda m, k: (float(m[k, k] / m[:, k].sum()), float(m[k, k] / m[k].sum()))).state == RIGHT
    assert check_07_3(lambda m, k: torch.stack([m[k, k] / m[:, k].sum(), m[k, k] / m[k].sum()])).state == RIGHT


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda m, k: (m[k, k] / m[k].sum(), m[k, k] / m[:, k].sum()), "changed places"),
        (lambda m, k: (m[k, k] / m[:, k].sum(),) * 2, "recall divides by the row"),
        (lambda m, k: (m[k, k] / m[k].sum(),) * 2, "precision divides by the column"),
        (lambda m, k: (m[:, k].sum(), m[k].sum()), "those are the two sums"),
        (lambda m, k: (m[k, k] // m[:, k].sum(), m[k, k] // m[k].sum()), "divide with / and not with //"),
        (lambda m, k: (m[k, k] / m.sum(), m[k, k] / m.sum()), "of 40 called 0"),
        (lambda m, k: (m[0, 0] / m[:, 0].sum(), m[0, 0] / m[0].sum()), "not for class 2"),
        (lambda m, k: m[k, k] / m[:, k].sum(), "two numbers are wanted"),
        (lambda m, k: "0.75, 0.5", "two numbers are wanted"),
        (lambda m, k: print(m), "returns nothing"),
        (lambda m: m, "stopped with TypeError"),
    ],
)
def test_other_pairs_are_told_apart(function, said):
    verdict = check_07_3(function)
    assert verdict.state == NOT_YET and said in verdict.message


def test_an_empty_function_is_no_answer_yet():
    def precision_and_recall(matrix, k):
        """(precision, recall)."""

    assert check_07_3(precision_and_recall).state == UNFINISHED
