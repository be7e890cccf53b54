"""Lesson 08: each typical mistake meets its own sentence."""

import pytest
import torch

from helpers.lessons.checks.lesson_08 import FIT, check_08_1, check_08_2, check_08_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED


@pytest.mark.parametrize("answer", [8, 8.0, 32 / 4, torch.tensor(8)])
def test_a_quarter_of_the_batch_fits(answer):
    assert check_08_1(answer).state == RIGHT


@pytest.mark.parametrize("answer", [*FIT, 10])
def test_other_batches_are_told_apart(answer):
    verdict = check_08_1(answer)
    assert verdict.state == NOT_YET and FIT.get(answer, "how many times as many pixels") in verdict.message


def test_no_answer_yet():
    assert check_08_1(None).state == check_08_2(None, None, 1968).state == UNFINISHED
    assert check_08_2(41, None, 1968).state == UNFINISHED, "the run is missing"
    assert "'8'" in check_08_1("8").message


def test_the_steps_of_an_epoch():
    verdict = check_08_2(41, 41, 1968)
    assert verdict.state == RIGHT and verdict.message.startswith("you predicted it")
    assert "and 48 was predicted" in check_08_2(48, 41, 1968).message
    assert check_08_2(4, 4, 145).state == RIGHT, "rounded up"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (1968, "a step takes a whole batch"),
        (48, "the size of a batch"),
        (62, "an epoch with batches of 32"),
        (205, "the steps of five epochs"),
        (40, "count the losses of its history"),
        ([0.7] * 41, "a list of 41: len(...)"),
        ("41", "steps_2 must be a number"),
    ],
)
def test_other_steps_are_told_apart(steps, said):
    verdict = check_08_2(41, steps, 1968)
    assert verdict.state == NOT_YET and said in verdict.message


def test_the_slope_of_the_whole():
    assert check_08_3(lambda s, n: sum(a * b for a, b in zip(s, n, strict=True)) / sum(n)).state == RIGHT


@pytest.mark.parametrize(
    ("whole_slope", "said"),
    [
        (lambda s, n: sum(s) / len(s), "the mean of the two means"),
        (lambda s, n: sum(a * b for a, b in zip(s, n, strict=True)), "the sum over all pictures"),
        (lambda s, n: sum(s), "the counts have no say"),
        (lambda s, n: sum(a * b for a, b in zip(s, n, strict=True)) / len(n), "divided by the number of parts"),
        (lambda s, n: s[-1], "the last part alone"),
        (lambda s, n: s[0], "add up to 8; among four"),
        (lambda s, n: (s[0] * n[0] + s[1] * n[1]) / (n[0] + n[1]), "not for three"),
        (lambda s, n: float(sum(a * b for a, b in zip(s, n, strict=True))) / sum(n), "stopped with"),
        (lambda s, n: print(s), "returns nothing"),
        (7, "expected a function"),
    ],
)
def test_other_slopes_are_told_apart(whole_slope, said):
    verdict = check_08_3(whole_slope)
    assert verdict.state == NOT_YET and said in verdict.message


def test_a_tensor_is_a_slope_too():
    def first_number(slopes, counts):
        return sum(float(torch.as_tensor(s).sum()) * n for s, n in zip(slopes, counts, strict=True)) / sum(counts)

    verdict = check_08_3(first_number)
    assert verdict.state == NOT_YET and "no float(...)" in verdict.message


def test_an_empty_function_is_no_answer_yet():
    def whole_slope(slopes, counts):
        """The mean slope over all pictures, from the mean slopes of parts."""

    assert check_08_3(whole_slope).state == UNFINISHED
