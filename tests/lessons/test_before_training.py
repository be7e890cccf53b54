"""Four checks: closed forms of what is expected, and that each one finds the fault it is for."""

import math
from dataclasses import replace

import pytest
import torch

from helpers.lessons.before_training import _few, _first_loss, _shuffled, four_checks
from helpers.lessons.flatness import snapshot
from helpers.lessons.heads import FeatureSet
from helpers.runtime.seeds import generator


@pytest.fixture
def features():
    rng = generator("four checks")
    targets = (torch.rand(900, generator=rng) < 0.3).long()
    inputs = torch.randn(900, 300, generator=rng)
    inputs[:, :20] += targets[:, None]
    return FeatureSet(inputs[:450], targets[:450], inputs[450:], targets[450:], ("whole", "broken"))


def test_a_fresh_head_starts_near_the_loss_of_a_coin(features):
    assert _first_loss(features) == pytest.approx(math.log(2), abs=0.25)
    assert _first_loss(replace(features, classes=("a", "b", "c", "d"))) == pytest.approx(math.log(4), abs=0.3)


def test_twenty_photographs_are_learned_unless_they_all_look_the_same(features):
    """Catches a check that passes whatever the pictures are."""
    assert _few(features).train_accuracy == 1
    black = replace(features, train=torch.zeros_like(features.train))
    assert _few(black).train_accuracy == pytest.approx(0.5)


def test_a_class_may_have_fewer_photographs_than_its_share_of_twenty(features):
    """Catches "stack expects each tensor to be equal size", which lesson 01 explains as pictures of different sizes."""
    targets = torch.zeros_like(features.train_targets)
    targets[:7] = 1
    assert _few(replace(features, train_targets=targets)).train_accuracy == 1


def test_shuffled_labels_are_learned_and_do_not_help_on_true_ones(features):
    run = _shuffled(features)
    assert run.train_accuracy > 0.97 and run.valid_accuracy < 0.68
    leak = replace(features, valid=features.train[:400], valid_targets=features.train_targets[:400])
    assert _shuffled(leak).valid_accuracy < 0.7, "their own labels are not the shuffled ones"


def test_the_table_says_what_to_expect_and_what_came_and_the_learner_is_as_before(learn):
    before = snapshot(learn)
    found = four_checks(learn)
    assert all(torch.equal(before[name], weight) for name, weight in snapshot(learn).items())
    assert not learn.history.epochs and not learn.model.training
    assert found.largest_class == pytest.approx(0.5) and found.guessing == pytest.approx(0.5)
    assert found.noise_answer in learn.data.classes and 0.5 <= found.noise_p <= 1
    lines = repr(found).splitlines()
    assert lines[0].split() == ["check", "expected", "measured"] and len(lines) == 6
    assert lines[1].split()[-6:] == ["0.69", "=", "ln", "2", "≈", f"{found.first_loss:.2f}"]
    assert all("≈" in line for line in lines[1:])
    columns = {line.index("≈") for line in lines[1:3]}
    assert len(columns) == 1
