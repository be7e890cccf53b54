"""Lesson 06: each typical mistake meets its own sentence."""

from pathlib import Path

import pytest
import torch

from data_setup.items import Item
from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.lesson_06 import check_06_1, check_06_2, check_06_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED


def test_the_best_of_twelve():
    assert check_06_1("b").state == check_06_1(" B ").state == RIGHT
    assert check_06_1(None).state == UNFINISHED


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("a", "who chose the epoch"),
        ("c", "too good as well"),
        ("d", "choose one of 'a', 'b', 'c'"),
        (2, "the number 2"),
    ],
)
def test_other_letters_are_told_apart(answer, said):
    verdict = check_06_1(answer)
    assert verdict.state == NOT_YET and said in verdict.message


def record(answers, targets):
    items = tuple(Item(f"{n}.png", Path(f"{n}.png"), "ab"[target]) for n, target in enumerate(targets))
    probs = torch.full((len(answers), 2), 0.2)
    probs[range(len(answers)), answers] = 0.8
    return Predictions(items, probs.log(), torch.tensor(targets), ("a", "b"), "valid")


TARGETS = [0] * 10 + [1] * 10
PLAIN = record([0] * 9 + [1] * 11, TARGETS)  # one wrong
PAIR = record([1, 1, 1] + [0] * 7 + [1] * 10, TARGETS)  # three wrong, others than that one


@pytest.mark.parametrize("only_pair", [1, torch.tensor(1)])
def test_the_photographs_that_only_one_gets_right(only_pair):
    verdict = check_06_2(5, 3, only_pair, PLAIN, PAIR)
    assert verdict.state == RIGHT and "≈ 1 against ≈ 3, and 5 was predicted" in verdict.message
    assert "≈ 2 each, give or take ≈ 1;" in verdict.message  # 4 coins: mean 2, deviation 1


@pytest.mark.parametrize(
    ("guess", "only_plain", "only_pair", "said"),
    [
        (5, 1, 3, "changed places"),
        (5, 19, 17, "all that each gets right"),
        (5, 16, 16, "that both get right"),
        (5, 4, 4, "all on which they differ"),
        (5, 7, 2, "7 and 2 came"),
        (5, 0.2, 1, ".sum() and not .mean()"),
        (5, PLAIN, 1, "only_plain is a whole record"),
        (5, 3, PLAIN.predicted == PAIR.predicted, "add up where it is True"),
        ("both", 3, 1, "guess_2 must be a number"),
    ],
)
def test_other_counts_are_told_apart(guess, only_plain, only_pair, said):
    verdict = check_06_2(guess, only_plain, only_pair, PLAIN, PAIR)
    assert verdict.state == NOT_YET and said in verdict.message


def test_nothing_counted_is_no_answer_yet():
    assert check_06_2(None, None, None, PLAIN, PAIR).state == UNFINISHED
    assert check_06_2(5, 3, None, PLAIN, PAIR).state == UNFINISHED


def eight(images):
    turns = [images.rot90(k, dims=(2, 3)) for k in range(4)]
    return turns + [turn.flip(-1) for turn in turns]


def test_eight_views():
    assert check_06_3(eight).state == RIGHT
    assert check_06_3(lambda x: tuple(v for t in (x, x.mT) for v in (t, t.flip(2), t.flip(3), t.flip(2, 3)))).state == (
        RIGHT
    )


@pytest.mark.parametrize(
    ("views", "said"),
    [
        (lambda x: eight(x)[:4], "four views"),
        (lambda x: eight(x)[:7], "7 views, 7 of them different"),
        (lambda x: eight(x)[:4] * 2, "8 views, 4 of them different"),
        (lambda x: [v for k in range(4) for v in (x.rot90(k, (2, 3)), x.rot90(k, (2, 3)).flip(1))], "colours changed"),
        (lambda x: [x.rot90(k, (1, 2)) for k in range(8)], "and that of the batch"),
        (lambda x: [v + 1 for v in eight(x)], "no position of the square"),
        (lambda x: torch.cat(eight(x)), "expected a list of eight batches"),
        (lambda x: [v.tolist() for v in eight(x)], "expected a list of eight tensors"),
        (lambda x: 8, "got the number 8"),
        (lambda x: print(x.shape), "returns nothing"),
        (lambda x: [x, *(x.rot90(k) for k in (1, 2, 3))], "a view has shape (3, 2, 2, 2), and that of the batch"),
        (lambda x: x.turn(), "stopped with AttributeError"),
    ],
)
def test_other_views_are_told_apart(views, said):
    verdict = check_06_3(views)
    assert verdict.state == NOT_YET and said in verdict.message


def test_an_empty_function_is_no_answer_yet():
    def eight_views(images):
        """The eight symmetries of the square."""

    assert check_06_3(eight_views).state == UNFINISHED
