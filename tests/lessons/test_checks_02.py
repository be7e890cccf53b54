"""Lesson 02: each typical mistake meets its own sentence."""

import numpy as np
import pytest
import torch

from helpers.lessons.checks.lesson_02 import SUGGESTIONS, check_02_1, check_02_2, check_02_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED


@pytest.mark.parametrize("answer", SUGGESTIONS)
def test_three_suggestions_are_good_and_one_is_noise(answer):
    assert check_02_1(answer, "a").state == (NOT_YET if answer == "steep" else RIGHT)


@pytest.mark.parametrize(
    ("why", "said"),
    [("b", "has stopped falling"), ("c", "the rule of steep"), ("d", "gets nowhere"), ("e", "is not among them")],
)
def test_a_good_suggestion_needs_its_reason(why, said):
    verdict = check_02_1("valley", why)
    assert verdict.state == NOT_YET and said in verdict.message
    assert check_02_1("valley", None).state == UNFINISHED


@pytest.mark.parametrize(
    ("guess", "said"),
    [(0.5, "is the rule's"), (2, "says that it grows"), (0.25, "would be 1 / 4"), (0.8, "was 0.8; the rule says")],
)
def test_any_prediction_will_do_when_the_run_is_right(guess, said):
    verdict = check_02_2(guess, torch.tensor(0.47))
    assert verdict.state == RIGHT and said in verdict.message
    assert "0.47" not in verdict.message, "the measured figure differs between machines"


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.0, "the same batch size"),
        (2.1, "upside down"),
        (0.05, "the first 30"),
        (40, "the first 30"),
        ("half", "got the text 'half'"),
        (torch.zeros(30), "factor_2 must be a number"),
    ],
)
def test_other_factors_are_told_apart(factor, said):
    verdict = check_02_2(0.5, factor)
    assert verdict.state == NOT_YET and said in verdict.message


def test_a_prediction_without_a_run_is_no_answer_yet():
    assert check_02_2(0.5, None).state == UNFINISHED


@pytest.mark.parametrize(
    "spread",
    [
        lambda start, end, n: [start * (end / start) ** (i / (n - 1)) for i in range(n)],
        lambda start, end, n: np.geomspace(start, end, n),
        lambda start, end, n: torch.logspace(np.log10(start), np.log10(end), n, dtype=torch.float64),
        lambda start, end, n: torch.logspace(np.log10(start), np.log10(end), n),  # 32 bits
        lambda start, end, n: torch.logspace(np.log10(start), np.log10(end), n).tolist(),
    ],
)
def test_rates_evenly_spaced_in_log_are_right(spread):
    assert check_02_3(28, spread).state == RIGHT


@pytest.mark.parametrize(
    ("spread", "said"),
    [
        (lambda start, end, n: [start * (end / start) ** (i / (n - 1)) for i in range(n + 1)], "and 6 came"),
        (lambda start, end, n: [start * (end / start) ** (i / n) for i in range(n)], "n - 1 steps between them"),
        (lambda start, end, n: [start * (end / start) ** (i / (n - 1)) for i in range(1, n + 1)], "at i = 0"),
        (lambda start, end, n: np.linspace(start, end, n), "but not in log"),
        (lambda start, end, n: torch.linspace(start, end, n), "but not in log"),
        (
            lambda start, end, n: [1.0001 * rate for rate in np.geomspace(start, end, n)],
            "and it is 0.00010001:",
        ),
        (lambda start, end, n: [1e-4, 1e-3, 1e-2, 0.5, 1.0], "the steps between differ: 0.0001, 0.001, 0.01, 0.5, 1"),
        (lambda start, end, n: [end * (start / end) ** (i / (n - 1)) for i in range(n)], "must be start, 0.0001"),
        (lambda start, end, n: [10.0**i for i in range(-4, 1)], "use start, end and n"),
        (lambda start, end, n: [start - i * end for i in range(n)], "do not subtract"),
        (lambda start, end, n: start * (end / start), "expected a list of rates"),
        (lambda start, end, n: [], "expected a list of rates"),
        (lambda start, end, n: ["a"] * 5, "each rate must be a number"),
        (lambda start, end, n: [1 / 0], "stopped with ZeroDivisionError"),
        (lambda start, end: [start, end], "stopped with TypeError"),
    ],
)
def test_other_rates_are_told_apart(spread, said):
    verdict = check_02_3(27, spread)
    assert verdict.state == NOT_YET and said in verdict.message


def test_an_empty_function_is_no_answer_yet():
    def spread(start, end, n):
        """n rates from start to end, evenly spaced in log."""

    assert check_02_3(28, spread).state == UNFINISHED


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        (100, "steps of 20 %"),
        (9, "powers of ten"),
        (8, "factors of ten"),
        (50, "about a factor of a thousand"),
        ("many", "a number"),
    ],
)
def test_the_number_of_doublings_is_predicted_first(guess, said):
    verdict = check_02_3(guess, np.geomspace)
    assert verdict.state == NOT_YET and said in verdict.message
    assert check_02_3(None, np.geomspace).state == UNFINISHED
