"""Lesson 04: each typical mistake meets its own sentence."""

import math
from pathlib import Path

import pytest
import torch

from data_setup.items import Item
from helpers.analysis.intervals import mcnemar
from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.lesson_04 import EPOCHS, check_04_1, check_04_2, check_04_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED


@pytest.mark.parametrize("answer", [40, 40.0, 1 + 3 + 9 + 27])
def test_forty_epochs(answer):
    assert check_04_1(answer).state == RIGHT


@pytest.mark.parametrize("answer", [*EPOCHS, 39])
def test_other_numbers_are_told_apart(answer):
    verdict = check_04_1(answer)
    assert verdict.state == NOT_YET and EPOCHS.get(answer, "and add them up") in verdict.message


def test_lengths_are_half_of_the_answer():
    assert "add them up" in check_04_1([1, 3, 9, 27]).message
    assert "got a list of 2" in check_04_1([1, 3]).message
    assert check_04_1(None).state == UNFINISHED


def answers(wrong):
    """Twenty photographs of class 0, of which those in `wrong` are taken for class 1."""
    targets = torch.zeros(20, dtype=torch.long)
    probs = torch.tensor([[0.1, 0.9] if row in wrong else [0.9, 0.1] for row in range(20)])
    items = tuple(Item(f"{row}.png", Path(f"{row}.png"), "a") for row in range(20))
    return Predictions(items, probs.log(), targets, ("a", "b"))


ALIKE = answers({0, 1}), answers({1, 2, 3})  # 1 against 2 discordant: p = 1
APART = answers(set()), answers(set(range(8)))  # 0 against 8: p = 2 / 2**8


def test_a_paired_test():
    alike, apart = (check_04_2(p, *pair) for p, pair in ((1.0, ALIKE), (2 / 2**8, APART)))
    assert alike.state == RIGHT and "above 0.05" in alike.message
    assert apart.state == RIGHT and "below 0.05" in apart.message
    assert check_04_2(mcnemar(*APART).p_value, *APART).state == RIGHT
    assert check_04_2(None, *ALIKE).state == UNFINISHED


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (mcnemar(*APART), "which of its fields"),
        (8, "lies between 0 and 1"),
        (0.4, "the difference of the accuracies"),
        (0.5, "gives another p value"),
        ("small", "must be a number"),
    ],
)
def test_other_p_values_are_told_apart(answer, said):
    verdict = check_04_2(answer, *APART)
    assert verdict.state == NOT_YET and said in verdict.message


def cosine(progress):
    return (1 + math.cos(math.pi * progress)) / 2


def test_two_cycles():
    assert check_04_3(lambda progress: cosine(2 * progress % 1)).state == RIGHT
    assert check_04_3(lambda p: cosine(2 * p) if p < 0.5 else cosine(2 * p - 1)).state == RIGHT


@pytest.mark.parametrize(
    ("restarting", "said"),
    [
        (cosine, "one fall over the whole training"),
        (lambda p: cosine(2 * p), "goes on beyond 1"),
        (lambda p: 1 - 2 * p % 1, "straight lines"),
        (lambda p: 1 - cosine(2 * p % 1), "rises where it should fall"),
        (lambda p: cosine(p % 0.5), "twice as slow"),
        (lambda p: 2 * cosine(p) % 1, "the whole part is taken away before"),
        (lambda p: 2 * p % 1, "what does cosine make of it"),
        (lambda p: 0.5, "at 0 and again at 0.5 it is 1"),
        (lambda p: print(p), "returns nothing"),
        (lambda p: [p], "must be a number"),
        (lambda: 1, "stopped with TypeError"),
    ],
)
def test_other_schedules_are_told_apart(restarting, said):
    verdict = check_04_3(restarting)
    assert verdict.state == NOT_YET and said in verdict.message


def test_an_empty_function_is_no_answer_yet():
    def restarting(progress):
        """1 falls to 0 twice."""

    assert check_04_3(restarting).state == UNFINISHED
