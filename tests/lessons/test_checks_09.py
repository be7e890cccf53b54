"""Lesson 09: each typical mistake meets its own sentence."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_setup.items import Item, relabel
from helpers.lessons.checks.lesson_09 import check_09_1, check_09_2, check_09_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED

LABELS = ["mono_sound"] * 11 + ["poly_sound"] * 5 + ["mono_broken"] * 3 + ["poly_broken"] * 1
ITEMS = tuple(Item(f"{label}/{n}.png", Path(f"{n}.png"), label) for n, label in enumerate(LABELS))


@pytest.fixture
def data():
    """20 validate, 11 of them of one class; 40 train, 30 of them of one."""
    train = tuple(Item(f"t{n}.png", Path(f"t{n}.png"), "poly_sound" if n < 30 else "mono_sound") for n in range(40))
    parts = {"train": train, "valid": ITEMS}
    return SimpleNamespace(items=train + ITEMS, items_of=parts.get, classes=sorted(set(LABELS)))


def test_the_laziest_answer(data):
    assert check_09_1(0.55, data).state == check_09_1(11 / 20, data).state == RIGHT
    assert check_09_1(None, data).state == UNFINISHED


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (0.75, "among the training pictures"),
        (55, "in percent"),
        (11, "how many they are"),
        (0.25, "if all classes were equally large"),
        (11 / 60, "divided by all pictures"),
        (0.05, "the rarest class"),
        (0.9, "divide the largest count"),
        ("mono_sound", "must be a number"),
    ],
)
def test_other_shares_are_told_apart(data, answer, said):
    verdict = check_09_1(answer, data)
    assert verdict.state == NOT_YET and said in verdict.message


def two_of(part):
    return relabel(ITEMS, {item.name: item.label.split("_")[part] for item in ITEMS})


def test_two_classes():
    assert check_09_2(two_of(1), ITEMS).state == RIGHT
    assert check_09_2(None, ITEMS).state == UNFINISHED


@pytest.mark.parametrize(
    ("two", "said"),
    [
        ({item.name: "sound" for item in ITEMS}, "the second argument of relabel"),
        (["sound", "broken"], "expected new items"),
        (7, "got the number 7"),
        (two_of(1)[:5], "expected the same 20 items in the same order, got 5"),
        (ITEMS, "the labels are the old ones"),
        (two_of(0), "those are the kinds"),
        (relabel(ITEMS, {item.name: "_" + item.label.split("_")[1] for item in ITEMS}), "_broken, _sound; only"),
        (
            relabel(ITEMS, {i.name: {"sound": "broken", "broken": "sound"}[i.label.split("_")[1]] for i in ITEMS}),
            "20 items have the other state",
        ),
    ],
)
def test_other_labels_are_told_apart(two, said):
    verdict = check_09_2(two, ITEMS)
    assert verdict.state == NOT_YET and said in verdict.message


def test_what_belongs_together():
    assert check_09_3(lambda item: item.path.stem.rpartition("_")[0]).state == RIGHT
    assert check_09_3(lambda item: item.name.split("/")[-1].rsplit("_", 1)[0]).state == RIGHT
    assert "other words" in check_09_3(lambda item: item.path.stem.rpartition("_")[0].upper()).message


@pytest.mark.parametrize(
    ("group_of", "said"),
    [
        (lambda item: item.path.stem.rpartition("_")[2], "the number of the photograph"),
        (lambda item: item.name.rpartition("_")[0], "the folder must not count"),
        (lambda item: item.label, "that is the folder"),
        (lambda item: item.path.stem, "both show part07"),
        (lambda item: item.path.stem[:4], "they are different parts"),
        (lambda item: re.search(r"\d+", item.path.stem).group(), "left_wheel_12"),
        (lambda item: item.path.stem.partition("_")[0], "cut at the last underscore"),
        (lambda item: item.path.stem.rsplit("_"), "got a list of 2"),
        (lambda item: item.stem, "stopped with AttributeError"),
        (lambda item: print(item), "returns nothing"),
        ("part07", "expected a function"),
    ],
)
def test_other_groups_are_told_apart(group_of, said):
    verdict = check_09_3(group_of)
    assert verdict.state == NOT_YET and said in verdict.message


def test_an_empty_function_is_no_answer_yet():
    def group_of(item):
        """The part that a picture shows."""

    assert check_09_3(group_of).state == UNFINISHED
