"""Lesson 01: each typical mistake meets its own sentence."""

from pathlib import Path

import pytest
import torch

from helpers.data.items import Item
from helpers.data.splits import split_stratified
from helpers.lessons.checks.lesson_01 import FIVE, SQUARES, check_01_1, check_01_2, check_01_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED

ITEMS = tuple(Item(f"{label}/{n}.png", Path(f"{n}.png"), label) for label in ("dark", "light") for n in range(200))
ZERO, ONE = (split_stratified(ITEMS, seed=seed) for seed in (0, 1))
VALID, TRAIN = (set(ZERO.valid), set(ONE.valid)), (set(ZERO.train), set(ONE.train))
SHARED = len(VALID[0] & VALID[1])


@pytest.mark.parametrize("answer", SQUARES)
def test_only_pad_keeps_flaws_and_angles(answer):
    assert check_01_1(answer).state == (RIGHT if answer == "pad" else NOT_YET)


def test_the_shared_pictures_are_counted():
    assert "your prediction is close" in check_01_2(100 / 4, SHARED, ITEMS).message
    far = check_01_2(100, SHARED, ITEMS)
    assert far.state == RIGHT and "100 was predicted" in far.message, "a prediction may be wrong"


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        (100, "the same seed"),
        (len(VALID[0] | VALID[1]), "& keeps those of both"),
        (len(TRAIN[0] & TRAIN[1]), "take valid"),
        (100 - SHARED, "do not share"),
        (3, "shared_2 is 3: make both splits"),
        (VALID[0] & VALID[1], "len(...)"),
        ("25", "the text '25' came"),
    ],
)
def test_other_counts_are_told_apart(shared, said):
    verdict = check_01_2(25, shared, ITEMS)
    assert verdict.state == NOT_YET and said in verdict.message


def test_a_prediction_without_a_run_is_no_answer_yet():
    assert check_01_2(25, None, ITEMS).state == UNFINISHED


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
        (lambda probs, k: lead(probs).argmin().item(), "a list of row numbers is wanted"),
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
