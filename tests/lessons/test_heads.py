"""Heads on features: that they learn what can be learned, and that a run can be repeated to the last digit."""

import pytest
import torch
import torch.nn.functional as F

from helpers.lessons.heads import FeatureSet, hidden_head, logistic_head, measure, quick_learner, train_head
from helpers.runtime.seeds import generator


def two_clouds(n=60, width=8, apart=3.0):
    """Features of two classes, `apart` standard deviations from each other; training and validation part."""
    rng = generator("two clouds")
    targets = torch.arange(2 * n) % 2
    inputs = torch.randn(2 * n, width, generator=rng)
    inputs[:, 0] += apart * targets
    return FeatureSet(inputs[:n], targets[:n], inputs[n:], targets[n:], ("a", "b"))


def test_a_head_learns_two_clouds_and_the_run_says_so():
    features = two_clouds(apart=6)
    run = train_head(logistic_head(8, 2), features, rate=0.03, epochs=30, batch_size=10)
    assert run.valid_accuracy > 0.95 and run.valid_losses[-1] < 0.5 * run.valid_losses[0]
    assert len(run.train_losses) == len(run.valid_losses) == 30
    assert run.valid_losses[-1] == measure(run.head, features.valid, features.valid_targets)[0]


def test_runs_repeat_and_the_global_generator_is_left_alone():
    features = two_clouds()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = train_head(hidden_head(8, 2), features, rate=0.01, epochs=3, batch_size=10)
    second = train_head(hidden_head(8, 2), features, rate=0.01, epochs=3, batch_size=10)
    other = train_head(hidden_head(8, 2), features, rate=0.01, epochs=3, batch_size=10, seed=1)
    assert first.train_losses == second.train_losses != other.train_losses
    assert torch.equal(torch.get_rng_state(), state)


def test_measuring_is_cross_entropy_and_the_share_of_correct_answers():
    inputs, targets = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1, 1])
    loss, accuracy = measure(torch.nn.Identity(), inputs, targets)
    assert loss == pytest.approx(float(F.cross_entropy(inputs, targets)))
    assert accuracy == pytest.approx(2 / 3)


def test_features_stand_beside_their_own_labels(learn):
    """Catches rows in another order than the targets."""
    features = FeatureSet.of(learn)
    assert torch.equal(features.valid, learn.features("valid"))
    assert features.valid_targets.tolist() == [learn.data.classes.index(i.label) for i in learn.data.items_of("valid")]
    assert len(features.train) == len(features.train_targets) == len(learn.data.split.train)


def test_a_quick_learner_is_trained_says_nothing_and_predicts(data, capsys):
    learn = quick_learner(data, arch="test_resnet", pretrained=False)
    assert capsys.readouterr().out == ""
    assert len(learn.history.epochs) == 4
    assert learn.get_preds(data.items_of("valid")).probs.shape == (6, 2)
