"""Lesson 05: each typical mistake meets its own sentence."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from helpers.lessons.checks.lesson_05 import TIMES, check_05_1, check_05_2, check_05_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED


@pytest.mark.parametrize("answer", [12.25, (224 / 64) ** 2, 12.3])
def test_twelve_times_as_many(answer):
    assert check_05_1(answer).state == RIGHT


@pytest.mark.parametrize("answer", [*TIMES, 4])
def test_other_factors_are_told_apart(answer):
    verdict = check_05_1(answer)
    assert verdict.state == NOT_YET and TIMES.get(answer, "once more for the height") in verdict.message


@pytest.fixture
def cell(tmp_path):
    return picture(tmp_path / "cell.png", 300, 300)


def picture(path, width, height):
    Image.linear_gradient("L").resize((width, height)).save(path)
    return path


def test_square_pictures_are_the_same(cell):
    assert check_05_2(True, True, cell).message.startswith("as predicted")
    assert check_05_2(False, np.bool_(True), cell).message.startswith("other than predicted")
    assert check_05_2(None, None, cell).state == check_05_2(True, None, cell).state == UNFINISHED
    assert check_05_1(None).state == UNFINISHED


def test_wide_pictures_are_not(tmp_path):
    wide = picture(tmp_path / "wide.png", 600, 300)
    assert check_05_2(True, False, wide).state == RIGHT
    assert "same_2 is True: both must start" in check_05_2(True, True, wide).message


@pytest.mark.parametrize(
    ("guess", "same", "said"),
    [
        (True, False, "same_2 is False: both must start from the same file"),
        (True, np.ones((2, 2), dtype=bool), "same_2 is an object of type ndarray; wanted is one True or False"),
        (True, torch.ones(2, 2, dtype=torch.bool), "same_2 is a tensor of shape (2, 2)"),
        (True, "yes", "same_2 is the text 'yes'"),
        ("yes", True, "guess_2 is the text 'yes'; wanted is True or False"),
    ],
)
def test_other_comparisons_are_told_apart(cell, guess, same, said):
    verdict = check_05_2(guess, same, cell)
    assert verdict.state == NOT_YET and said in verdict.message


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
        (lambda p: means(p).tolist(), "a list of 2 came"),
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
