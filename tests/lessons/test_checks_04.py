"""Lesson 04: each typical mistake meets its own sentence."""

import math

import pytest

from helpers.lessons.checks.lesson_04 import EPOCHS, check_04_1, check_04_2, check_04_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED
from helpers.training import schedules


@pytest.mark.parametrize("answer", [40, 40.0, 1 + 3 + 9 + 27])
def test_forty_epochs(answer):
    assert check_04_1(answer).state == RIGHT


@pytest.mark.parametrize("answer", [*EPOCHS, 39])
def test_other_numbers_are_told_apart(answer):
    verdict = check_04_1(answer)
    assert verdict.state == NOT_YET and EPOCHS.get(answer, "and add them up") in verdict.message


def test_lengths_are_half_of_the_answer():
    assert "add them up" in check_04_1([1, 3, 9, 27]).message
    assert "a list of 2 came" in check_04_1([1, 3]).message
    assert check_04_1(None).state == UNFINISHED


def test_a_later_peak():
    assert check_04_2(schedules.one_cycle(pct_start=0.5)).state == RIGHT
    assert check_04_2(schedules.one_cycle()).state == UNFINISHED, "as the stub has it"


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (schedules.one_cycle(pct_start=0.75), "in the middle its multiplier is"),
        (schedules.one_cycle(pct_start=0.05), "in the middle its multiplier is"),
        (schedules.one_cycle(pct_start=0.5, div_final=10), "it ends elsewhere"),
        (schedules.one_cycle(pct_start=0.5, div=2), "it starts or rises otherwise"),
        (schedules.one_cycle, "call it, with its brackets"),
        (0.5, "the number 0.5 came, and a schedule"),
        ({"pct_start": 0.5}, "a dict of 1 came, and a schedule"),
        ("late", "a function is wanted"),
    ],
)
def test_other_peaks_are_told_apart(late, said):
    verdict = check_04_2(late)
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
