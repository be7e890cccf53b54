"""Lesson 05: each typical mistake meets its own sentence."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from data_setup.items import Item
from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.lesson_05 import SIDES, check_05_1, check_05_2, check_05_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED


@pytest.mark.parametrize("answer", [200, 200.0, torch.tensor(200)])
def test_two_thirds_of_the_photograph(answer):
    assert check_05_1(answer).state == RIGHT


@pytest.mark.parametrize("answer", [*SIDES, 180])
def test_other_sides_are_told_apart(answer):
    verdict = check_05_1(answer)
    assert verdict.state == NOT_YET and SIDES.get(answer, "at 180 px the crack is 1.8 wide") in verdict.message


def record(answers, names="abcd"):
    items = tuple(Item(name, Path(name), "defective") for name in names)
    probs = torch.tensor([[p, 1 - p] for p in answers])
    return Predictions(items, probs.log(), torch.zeros(len(items), dtype=torch.int64), CLASSES, "valid")


CLASSES = ("defective", "functional")
TRAINED = record([0.9, 0.9, 0.9, 0.2])  # three of four correct
AT_96 = record([0.9, 0.3, 0.3, 0.2])  # one of four


def test_a_step_down_is_measured():
    verdict = check_05_2(60, AT_96, TRAINED, 96)
    assert verdict.state == RIGHT and "≈ 25.0 % after ≈ 75.0 %, and 60 was predicted" in verdict.message


@pytest.mark.parametrize(
    ("guess", "at_96", "said"),
    [
        (60, TRAINED, "the record of the larger size"),
        (60, 0.25, "the whole record is wanted"),
        (60, record([0.9, 0.3, 0.3, 0.2], "efgh"), "about other photographs"),
        (0.6, AT_96, "in percent that would be 60"),
        ("less", AT_96, "guess_2 must be a number"),
    ],
)
def test_other_steps_are_told_apart(guess, at_96, said):
    verdict = check_05_2(guess, at_96, TRAINED, 96)
    assert verdict.state == NOT_YET and said in verdict.message


def test_another_size_than_the_one_asked_for_is_said():
    """Catches the line of the last hint, typed as it stands there."""
    verdict = check_05_2(60, AT_96, TRAINED, 112)
    assert verdict.state == NOT_YET and "looks at 112 px now; 96 are asked for" in verdict.message


def test_nothing_measured_is_no_answer_yet():
    assert check_05_1(None).state == UNFINISHED
    assert check_05_2(None, None, TRAINED, 160).state == check_05_2(60, None, TRAINED, 160).state == UNFINISHED


def means(p):
    return (p[0::2, 0::2] + p[0::2, 1::2] + p[1::2, 0::2] + p[1::2, 1::2]) / 4


def test_half_the_picture():
    assert check_05_3(means).state == RIGHT
    assert check_05_3(lambda p: p.reshape(2, 2, 3, 2).mean(dim=(1, 3))).state == RIGHT


@pytest.mark.parametrize(
    ("halve", "said"),
    [
        (lambda p: 4 * means(p), "the sum of the four"),
        (lambda p: p[0::2, 0::2], "only every second pixel"),
        (lambda p: (p[0::2, 0::2] + p[1::2, 0::2]) / 2, "one below the other"),
        (lambda p: (p[0::2, 0::2] + p[0::2, 1::2]) / 2, "side by side"),
        (lambda p: (p[0::2, 0::2] + p[1::2, 1::2]) / 2, "on the diagonal"),
        (lambda p: F.max_pool2d(p[None], 2)[0], "the largest of the four"),
        (lambda p: (p[:2, :3] + p[:2, 3:] + p[2:, :3] + p[2:, 3:]) / 4, "laid on each other"),
        (lambda p: p[1::2, 1::2], "the mean of the four there"),
        (lambda p: means(p).T, "became (3, 2) (width and height changed places)"),
        (lambda p: F.avg_pool2d(p[None], 2), "became (1, 2, 3)"),
        (lambda p: p, "became (4, 6)"),
        (lambda p: means(p).tolist(), "got a list of 2"),
        (lambda p: print(p.shape), "returns nothing"),
        (lambda p: p.halve(), "stopped with AttributeError"),
    ],
)
def test_other_halves_are_told_apart(halve, said):
    verdict = check_05_3(halve)
    assert verdict.state == NOT_YET and said in verdict.message


def test_an_empty_function_is_no_answer_yet():
    def halve(picture):
        """Each new pixel is the mean of a square of four."""

    assert check_05_3(halve).state == UNFINISHED
