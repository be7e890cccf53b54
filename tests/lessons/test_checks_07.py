"""Lesson 07: each typical mistake meets its own sentence."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_setup.items import Item
from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.lesson_07 import check_07_1, check_07_2, check_07_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED
from helpers.lessons.decisions import decision_cost

# 30 mono cells, 27 answered correctly (0.9); 20 poly cells, 14 of them (0.7)
KINDS = ["mono"] * 30 + ["poly"] * 20
LOOKS, MISSES = 20, 7  # at one half: of the 25 of class d, and what is taken for one
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


def test_misses_that_the_saved_looks_pay_for(price):
    """50 cells, 20 looks at one half: 30 looks saved are worth 60: no miss of 100, five of 11."""
    assert (int(price.looks[price.half]), int(price.misses[price.half])) == (LOOKS, MISSES)
    assert check_07_1(0, price).state == RIGHT
    verdict = check_07_1(5, replace(price, cost_of_miss=11.0))
    assert verdict.state == RIGHT and "the ≈ 30 looks she saves are worth ≈ 60" in verdict.message
    assert check_07_1(None, price).state == UNFINISHED


def test_a_share_that_comes_out_even_is_right(price):
    """Catches the exact share, here the answer itself, taken for one that was not rounded."""
    even = replace(price, cost_of_miss=float(50 - LOOKS))
    assert check_07_1(2, even).state == check_07_1(2.0, even).state == RIGHT


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (2 * (50 - LOOKS) / 11, "round down"),
        (6, "with 6 she pays more"),
        (MISSES, "how many the model does miss"),
        (50 - LOOKS, "how many looks she saves"),
        (2 * (50 - LOOKS), "what the saved looks are worth"),
        (9, "the looks that she does take"),
        (1, "Each miss takes 11 of it"),
        ("5", "must be a number"),
    ],
)
def test_other_counts_of_misses_are_told_apart(price, answer, said):
    verdict = check_07_1(answer, replace(price, cost_of_miss=11.0))
    assert verdict.state == NOT_YET and said in verdict.message


def test_two_kinds_of_cells(preds):
    verdict = check_07_2("poly", 0.9, 0.7, preds)
    assert verdict.state == RIGHT and "mono ≈ 90.0 % of 30, 95 % confidence interval ≈ 74" in verdict.message
    assert "poly ≈ 70.0 % of 20" in verdict.message and "You said 'poly'" in verdict.message
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
        (lambda m, k: m[k, k] / m[:, k].sum(), "expected two numbers"),
        (lambda m, k: "0.75, 0.5", "expected two numbers"),
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
