"""Lesson 03: each typical mistake meets its own sentence."""

import pytest
import torch

from helpers.data.augment import side_on, top_down
from helpers.lessons.checks.lesson_03 import SETS, WRONG_SETS, check_03_1, check_03_2, check_03_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED
from helpers.lessons.upright import basic

GOOD = {"numbers": basic, "hands": basic, "leaves": top_down, "dogs": side_on}


def test_sets_that_keep_the_labels_true_are_right():
    assert check_03_1(GOOD).state == RIGHT
    assert check_03_1({name: SETS[made.__name__]() for name, made in GOOD.items()}).state == RIGHT, "called, too"
    assert check_03_1({name: made.__name__ for name, made in GOOD.items()}).state == RIGHT, "as text, too"


@pytest.mark.parametrize(("name", "chosen"), WRONG_SETS)
def test_every_other_choice_has_its_own_sentence(name, chosen):
    verdict = check_03_1(GOOD | {name: SETS[chosen]})
    assert verdict.state == NOT_YET
    assert verdict.message == f"3 of 4 fit; {WRONG_SETS[name, chosen]}."


def test_every_choice_is_foreseen():
    assert len(SETS) * len(GOOD) == len(WRONG_SETS) + len(GOOD)


def test_what_is_still_open_is_named():
    verdict = check_03_1(GOOD | {"hands": None, "dogs": None})
    assert verdict.state == UNFINISHED and verdict.message.startswith("hands, dogs still to be filled in")


@pytest.mark.parametrize(
    ("answer", "said"),
    [(GOOD | {"dogs": "upright"}, "the text 'upright' came"), ([basic] * 4, "a list of 4 came; expected a dictionary")],
)
def test_answers_of_another_kind_are_told(answer, said):
    verdict = check_03_1(answer)
    assert verdict.state == NOT_YET and said in verdict.message


BELT = {"max_rotate_deg": 5, "max_lighting": 0.4, "max_warp": 0, "max_zoom": 1}


def test_the_set_for_the_belt_is_right():
    assert check_03_2(side_on(**BELT)).state == RIGHT
    assert check_03_2(basic(**BELT | {"flip": True})).state == RIGHT, "made from another set"
    assert check_03_2(None).state == UNFINISHED


@pytest.mark.parametrize(
    ("belt", "said"),
    [
        (top_down(**BELT), "no cell ever comes upside down"),
        (basic(**BELT), "this set never mirrors"),
        (side_on(**BELT | {"max_rotate_deg": 10}), "max_rotate_deg is 10, but the belt"),
        (side_on(**BELT | {"max_lighting": 0.2}), "max_lighting is 0.2, but the lamp"),
        (side_on(max_rotate_deg=5, max_lighting=0.4), "max_warp is 0.2, but the camera does not move"),
        (side_on(**BELT | {"max_zoom": 1.1}), "max_zoom is 1.1, but a zoom"),
        (side_on(**BELT, min_scale=0.8), "min_scale is 0.8, but a crop"),
        (side_on, "the function side_on came; call it"),
        ("side_on", "the text 'side_on' came; expected a set"),
    ],
)
def test_other_sets_are_told_apart(belt, said):
    verdict = check_03_2(belt)
    assert verdict.state == NOT_YET and said in verdict.message


def of(*rows):
    return torch.tensor([[float(value) for value in row] for row in rows])


def test_the_zoom_is_right():
    assert check_03_3(lambda f, x=0, y=0: of([1 / f, 0, x], [0, 1 / f, y], [0, 0, 1])).state == RIGHT


@pytest.mark.parametrize(
    ("zoom", "said"),
    [
        (lambda f, x, y: of([f, 0, x], [0, f, y], [0, 0, 1]), "half as large"),
        (lambda f, x, y: of([1 / f, 0, 0], [0, 1 / f, 0], [x, y, 1]), "belongs in the last column"),
        (lambda f, x, y: of([1 / f, 0, x / f], [0, 1 / f, y / f], [0, 0, 1]), "the shift is scaled, too"),
        (lambda f, x, y: of([1 / f, 0, x * f], [0, 1 / f, y * f], [0, 0, 1]), "the shift is scaled, too"),
        (lambda f, x, y: of([1 / f, 0, -x], [0, 1 / f, -y], [0, 0, 1]), "looks to the left"),
        (lambda f, x, y: of([1 / f, 0, x], [0, 1 / f, y], [0, 0, 0]), "always 0, 0, 1"),
        (lambda f, x, y: of([1 / f, 0, x], [0, 1, y], [0, 0, 1]), "belongs on the diagonal twice"),
        (lambda f, x, y: of([1 / f, 0, x], [0, 1 / f, x], [0, 0, 1]), "1 / factor belongs"),
        (lambda f, x, y: of([1 / f, 0, x], [0, 1 / f, 0], [0, 0, 1]), "y belongs in the second row"),
        (lambda f, x, y: of([0.5, 0, x], [0, 0.5, y], [0, 0, 1]), "not for zoom(4, 0, 0.25)"),
        (lambda f, x, y: of([1 / f, 0, x], [0, 1 / f, y]), "a tensor of shape (2, 3) came"),
        (lambda f, x, y: [[1 / f, 0, x], [0, 1 / f, y], [0, 0, 1]], "wrap it in torch.tensor"),
        (lambda f: f, "stopped with TypeError"),
    ],
)
def test_other_zooms_are_told_apart(zoom, said):
    verdict = check_03_3(zoom)
    assert verdict.state == NOT_YET and said in verdict.message


def test_an_empty_function_is_no_answer_yet():
    def zoom(factor, x=0.0, y=0.0):
        """The matrix that looks `factor` times closer around (x, y)."""

    assert check_03_3(zoom).state == UNFINISHED
