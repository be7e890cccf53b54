"""Lesson 01b: each typical mistake meets its own sentence."""

import pytest
import torch

from helpers.lessons.checks.lesson_01b import BUSBARS, check_01b_1, check_01b_2, check_01b_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED
from helpers.lessons.filters import KERNELS


@pytest.mark.parametrize("answer", list(KERNELS))
def test_only_the_level_line_answers_to_busbars(answer):
    assert check_01b_1(answer, 900, 0).state == (RIGHT if answer == "level line" else NOT_YET)


@pytest.mark.parametrize(
    ("its_sum", "slanted", "said"),
    [
        (-900, 0, "sign is reversed"),
        (-300, 0, "row on the bar alone"),
        (1500, 0, "are subtracted"),
        (300, 0, "one column"),
        (450, 0, "multiply each row's sum"),
        ("900", 0, "sum_1 must be a number"),
        (900, 150, "slanted_1 is 150"),
        (900, "0", "slanted_1 must be a number"),
    ],
)
def test_the_right_kernel_without_its_reason_is_not_enough(its_sum, slanted, said):
    verdict = check_01b_1("level line", its_sum, slanted)
    assert verdict.state == NOT_YET and said in verdict.message


def test_a_kernel_without_its_sums_is_no_answer_yet():
    assert check_01b_1("level line", None, None).state == UNFINISHED


def test_every_kernel_of_the_figure_has_its_sentence():
    assert set(BUSBARS) == set(KERNELS)


MEASURED = {16: 0.63, 80: 0.78, 161: 0.83}


@pytest.mark.parametrize(
    ("auc_of", "answer", "state", "said"),
    [
        (MEASURED, 80, RIGHT, "labels are the expensive part"),
        (MEASURED, 161, NOT_YET, "take the smallest number"),
        (MEASURED, 16, NOT_YET, "take the smallest number"),
        ({16: 0.5, 20: 0.6, 24: 0.6}, 24, NOT_YET, "try larger ones"),
        ({16: 0.63}, 16, NOT_YET, "at least three"),
        ({16: 63, 80: 78, 161: 83}, 80, NOT_YET, "between 0 and 1"),
        ([0.63, 0.78, 0.83], 80, NOT_YET, "is a dict"),
        (None, 80, UNFINISHED, "fill auc_2"),
        (MEASURED, None, UNFINISHED, "put a number of photographs"),
    ],
)
def test_the_fewest_photographs_are_read_off_the_learners_own_numbers(auc_of, answer, state, said):
    verdict = check_01b_2(auc_of, answer, 0.75)
    assert verdict.state == state and said in verdict.message


RIGHT_KERNEL = KERNELS["slanted line \\"]


@pytest.mark.parametrize("kernel", [RIGHT_KERNEL, torch.tensor(RIGHT_KERNEL), [[-4, 2, 2], [2, -4, 2], [2, 2, -4]]])
def test_a_kernel_for_the_slanted_line_alone_is_right(kernel):
    assert check_01b_3(kernel).state == RIGHT


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (KERNELS["slanted line /"], "the other slant: mirror it"),
        ([[2, -1, -1], [-1, 2, -1], [-1, -1, 2]], "must be negative"),
        ([[-1, 0, 0], [0, -1, 0], [0, 0, -1]], "add up to zero"),
        ([[0] * 3] * 3, "does not answer to the slanted line at all"),
        ([[1, 1, 1], [1, -8, 1], [1, 1, 1]], "every row and every column"),
        (KERNELS["level line"], "every row and every column"),
        ([[-2, 1, 1], [1, -2, 1]], "three rows of three"),
        ("diagonal", "three rows of three"),
    ],
)
def test_other_kernels_are_told_apart(kernel, said):
    verdict = check_01b_3(kernel)
    assert verdict.state == NOT_YET and said in verdict.message


def test_an_empty_kernel_is_no_answer_yet():
    assert check_01b_3(None).state == UNFINISHED
