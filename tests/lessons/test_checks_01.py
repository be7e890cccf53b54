"""Lesson 01: each typical mistake meets its own sentence."""

from pathlib import Path

import pytest
import torch

from data_setup.items import Item
from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.lesson_01 import FIVE, SQUARES, check_01_1, check_01_2, check_01_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED

ITEMS = tuple(Item(f"{number}.png", Path(f"{number}.png"), "dark") for number in range(20))


def answers(correct: set[int]) -> Predictions:
    """A record of twenty photographs, all of class 0, with the correct answer for those in `correct`."""
    probs = torch.tensor([[0.8, 0.2] if row in correct else [0.3, 0.7] for row in range(20)])
    return Predictions(ITEMS, probs.log(), torch.zeros(20, dtype=torch.int64), ("dark", "light"), "valid")


FIRST, SECOND = answers(set(range(10))), answers(set(range(7, 20)))  # 7 only the first, 10 only the second, 3 both


@pytest.mark.parametrize("answer", SQUARES)
def test_only_pad_keeps_flaws_and_angles(answer):
    assert check_01_1(answer).state == (RIGHT if answer == "pad" else NOT_YET)


def test_the_photographs_that_decide_are_counted():
    assert check_01_2(7, 10, FIRST, SECOND).state == RIGHT
    assert check_01_2(torch.tensor(7), torch.tensor(10), FIRST, SECOND).state == RIGHT


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((10, 7), "the two are swapped"),
        ((10, 13), "all that each gets right"),
        ((3, 3), "nothing can be learned"),
        ((17, 17), "all on which they differ"),
        ((1, 2), "1 and 2 came: count where one is correct"),
        ((torch.ones(20, dtype=torch.bool), 10), ".sum() counts"),
        (("7", 10), "got the text '7'"),
    ],
)
def test_other_counts_are_told_apart(counts, said):
    verdict = check_01_2(*counts, FIRST, SECOND)
    assert verdict.state == NOT_YET and said in verdict.message


def test_one_count_alone_is_no_answer_yet():
    assert check_01_2(7, None, FIRST, SECOND).state == UNFINISHED


def lead(probs):
    largest, second = probs.topk(2, dim=1).values.unbind(dim=1)
    return largest - second


def test_the_smallest_lead_is_least_sure():
    assert check_01_3(lambda probs, k: lead(probs).argsort()[:k].tolist()).state == RIGHT
    assert check_01_3(lambda probs, k: lead(probs).argsort()[:k]).state == RIGHT, "a tensor of rows will do"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda probs, k: lead(probs).argsort(descending=True)[:k].tolist(), "those are the surest ones"),
        (lambda probs, k: probs.amax(dim=1).argsort()[:k].tolist(), "the order of the largest probability alone"),
        (lambda probs, k: (probs.amax(dim=1) - 0.5).abs().argsort()[:k].tolist(), "the distance from one half"),
        (lambda probs, k: (probs[:, 1] - 0.5).abs().argsort()[:k].tolist(), "how near column 1 is"),
        (lambda probs, k: (probs * probs.log()).sum(dim=1).argsort()[:k].tolist(), "how spread the whole row is"),
        (lambda probs, k: lead(probs).argsort().tolist(), "cut the list after k"),
        (lambda probs, k: lead(probs).argsort()[:2].tolist(), "use k, not a number"),
        (lambda probs, k: lead(probs).sort().values[:k].tolist(), "argsort() gives the rows"),
        (lambda probs, k: lead(probs).argmin().item(), "expected a list of row numbers"),
        (lambda probs, k: [0, 4], "[0, 4] came: the two smallest leads are"),
        (lambda probs, k: [1, 2, 4][:k], "right for four classes, but not for two"),
        (lambda probs, k: probs.nonsense, "stopped with AttributeError"),
        (lambda probs, k: ["a"], "each of the rows must be a number"),
    ],
)
def test_other_orders_are_told_apart(function, said):
    verdict = check_01_3(function)
    assert verdict.state == NOT_YET and said in verdict.message


def test_the_five_rows_are_probabilities():
    assert torch.allclose(torch.tensor(FIVE).sum(dim=1), torch.ones(5))


def test_an_empty_function_is_no_answer_yet():
    def least_sure(probs, k):
        """Rows of the k pictures with the smallest lead."""

    assert check_01_3(least_sure).state == UNFINISHED
