"""Bug hunts: every one shows its symptom as it stands, and a repaired one is accepted however it is written."""

import re

import pytest
import torch
import torch.nn.functional as F

from helpers.lessons.bug_hunt import BUGS, BugHunt, caught
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED
from tests.review.made import check_page


def repaired_batch(images, training, rng):
    mirrored = torch.rand(len(images), generator=rng) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images) if training else images


def repaired_optimizer(model):
    model.requires_grad_(True)
    return torch.optim.SGD(model.parameters(), lr=0.1)


def repaired_gradient(model, parts):
    for inputs, targets in parts:
        (F.cross_entropy(model(inputs), targets) / len(parts)).backward()
    return model.weight.grad


def repaired_split(files):
    contents = sorted({content for _, content in files})[::5]
    valid = [file for file in files if file[1] in contents]
    return [file for file in files if file not in valid], valid


REPAIRED = {
    "00": [lambda name: name.split("_")[0], lambda name: re.match("[a-z]+", name)[0]],
    "01": [lambda predicted, targets: (predicted == targets).float().mean()],
    "02": [F.cross_entropy, lambda logits, targets: F.nll_loss(logits.log_softmax(1), targets)],
    "03": [repaired_batch],
    "04": [repaired_optimizer],
    "05": [lambda pixels: (pixels.float() - 127) / 128],
    "06": [lambda log_probs: log_probs.exp().mean(dim=0)],
    "07": [lambda alarm, broken: (alarm & broken).sum() / broken.sum()],
    "08": [repaired_gradient],
    "09": [repaired_split],
    "10": [lambda batches: torch.cat(batches).mean()],
}
OTHER_WRONG = {  # the symptom has gone, and something else is broken
    "02": (lambda logits, targets: F.nll_loss(logits.softmax(1), targets), "two answers cost -1, less than nothing"),
    "05": (lambda pixels: (pixels - 127) / 128, "bytes have no numbers below 0"),
    "03": (lambda images, training, rng: images, "not augmented either"),
    "06": (lambda log_probs: log_probs.mean(dim=0).softmax(-1), "not the mean"),
    "07": (lambda alarm, broken: torch.tensor(1.0), "8 of 32 broken ones"),
    "09": (lambda files: (files, []), "48 and 0 came out"),
}


def one_coin(images, training, rng):
    return images.flip(-1) if training and torch.rand((), generator=rng) < 0.5 else images


def every_second_one(images, training, rng):
    return torch.cat([images[::2].flip(-1), images[1::2]]) if training else images


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (one_coin, "share one coin"),
        (lambda images, training, rng: images.flip(-1) if training else images, "share one coin"),
        (lambda images, training, rng: images.flip(-2) if training else images, "neither as it was nor mirrored"),
        (every_second_one, "neither as it was nor mirrored"),  # the order has changed, the labels have not
        (
            lambda images, training, rng: torch.where(
                torch.rand(len(images), 1, 1, 1, generator=rng) < (0.1 if training else 0), images.flip(-1), images
            ),
            "not half",
        ),
    ],
)
def test_each_training_photograph_has_a_coin_of_its_own(function, words):
    said = caught("03", function)
    assert said.state == NOT_YET and words in said.message


@pytest.mark.parametrize("lesson", BUGS)
def test_the_lines_run_and_show_their_symptom(lesson):
    """Catches a bug that was repaired by accident, and one that stops instead of giving a wrong number."""
    hunt = BugHunt(lesson)
    assert hunt.symptom and hunt.symptom in repr(hunt) and hunt.bug.source in repr(hunt)
    assert hunt.bug.source.count("def ") == 1
    assert all(f"{name}." not in hunt.bug.source or name in hunt.bug.imports for name in ("re", "torch", "F"))
    assert "returns nothing" not in hunt.symptom
    said = caught(lesson, hunt.bug.lines)
    assert said.state == NOT_YET and hunt.symptom in said.message
    check_page(str(hunt._repr_html_()).replace("<pre", "<div").replace("</pre", "</div"))


@pytest.mark.parametrize(("lesson", "function"), [(lesson, f) for lesson, all_of in REPAIRED.items() for f in all_of])
def test_a_repaired_one_is_accepted_and_teaches_one_more_thing(lesson, function):
    said = caught(lesson, function)
    assert said.state == RIGHT and said.message == BUGS[lesson].moral, said
    assert repr(said).startswith(f"bug hunt {lesson}: right: ")
    assert BUGS[lesson].moral not in repr(BugHunt(lesson)), "that would give it away"


@pytest.mark.parametrize("lesson", OTHER_WRONG)
def test_a_repair_that_breaks_something_else_is_not_accepted(lesson):
    function, words = OTHER_WRONG[lesson]
    said = caught(lesson, function)
    assert said.state == NOT_YET and words in said.message


@pytest.mark.parametrize("lesson", BUGS)
@pytest.mark.parametrize(
    "answer", [None, 3, "x", lambda *_: None, lambda *_: 1 / 0, lambda *_: object(), lambda *_: ...]
)
def test_whatever_comes_gets_a_sentence(lesson, answer):
    said = caught(lesson, answer)
    assert said.state in (NOT_YET, UNFINISHED) and len(said.message.split()) >= 4


def test_every_lesson_has_a_hunt_and_others_are_named():
    assert list(BUGS) == [f"{lesson:02}" for lesson in range(11)] == list(REPAIRED)
    with pytest.raises(ValueError, match="no bug hunt is called '11'"):
        BugHunt("11")
