"""Lesson 06: each typical mistake meets its own sentence."""

from pathlib import Path

import pytest
import torch

from helpers.analysis.predictions import Predictions
from helpers.data.items import Item
from helpers.lessons.checks.lesson_06 import check_06_1, check_06_2, check_06_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED


def test_the_best_of_twelve():
    assert check_06_1("b").state == check_06_1(" B ").state == RIGHT
    assert check_06_1(None).state == UNFINISHED


@pytest.mark.parametrize(
    ("answer", "said"),
    [("a", "who chose the epoch"), ("c", "flattered, too"), ("d", "choose one of 'a', 'b', 'c'"), (2, "the number 2")],
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
AFTER = record([0] * 9 + [1] * 11, TARGETS)
LOOKED = record([1, 1, 1] + [0] * 7 + [1] * 10, TARGETS)  # four answers differ from AFTER; three are wrong


@pytest.mark.parametrize(
    ("guess", "by_max", "said"),
    [(4, 6, "prediction is close"), (torch.tensor(7), 6, "prediction is close"), (300, 2, "300 was predicted")],
)
def test_counts_are_right_however_the_prediction_fared(guess, by_max, said):
    verdict = check_06_2(guess, 4, torch.tensor(by_max), AFTER, LOOKED)
    assert verdict.state == RIGHT and said in verdict.message


@pytest.mark.parametrize(
    ("guess", "by_mean", "by_max", "said"),
    [
        (5, 16, 6, "the answers that stay the same"),
        (5, 3, 6, "those are the wrong answers"),
        (5, 7, 6, "count where looked.predicted and"),
        (5, 0.2, 6, ".sum() and not .mean()"),
        (5, 4, 17, "changed_by_max is 17 of 20"),
        (5, LOOKED, 6, "changed_by_mean is a whole record"),
        (5, 4, LOOKED, "changed_by_max is a whole record"),
        (5, LOOKED.predicted != AFTER.predicted, 6, "add up where it is True"),
        ("both", 4, 6, "guess_2 must be a number"),
    ],
)
def test_other_counts_are_told_apart(guess, by_mean, by_max, said):
    verdict = check_06_2(guess, by_mean, by_max, AFTER, LOOKED)
    assert verdict.state == NOT_YET and said in verdict.message


def test_nothing_counted_is_no_answer_yet():
    assert check_06_2(None, None, None, AFTER, LOOKED).state == UNFINISHED
    assert check_06_2(5, 4, None, AFTER, LOOKED).state == UNFINISHED


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
        (lambda x: torch.cat(eight(x)), "a list of eight batches is wanted"),
        (lambda x: [v.tolist() for v in eight(x)], "a list of eight tensors is wanted"),
        (lambda x: 8, "the number 8 came"),
        (lambda x: print(x.shape), "returns nothing"),
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
