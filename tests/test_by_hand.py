"""The walk every lesson takes: write the naive version, import the helper, see that both agree.

The naive versions use nothing but arithmetic; each test would catch a helper that does not do what its lesson says.
"""

import math

import pytest
import torch
from torch import nn

from data_setup.items import Item
from helpers.analysis.interpret import Interpretation
from helpers.analysis.predictions import Predictions
from helpers.learner import Learner
from helpers.models.groups import spread_rates
from helpers.training.metrics import accuracy, balanced_accuracy, count_confusions, error_rate, f1
from helpers.training.schedules import cosine, cycle_epochs, one_cycle, sgdr


def softmax(logits):
    """Probabilities of one picture: every number made positive, then all divided by their sum."""
    largest = max(logits)  # does not change the result, but keeps the exponentials small
    powers = [math.exp(logit - largest) for logit in logits]
    return [power / sum(powers) for power in powers]


def negative_log_likelihood(probs, target):
    """How surprised the model is by the truth: 0 when it was sure of it, without limit when it was sure of another."""
    return -math.log(probs[target])


def cross_entropy(batch_of_logits, targets):
    """The mean surprise over a batch."""
    losses = [
        negative_log_likelihood(softmax(row), target) for row, target in zip(batch_of_logits, targets, strict=True)
    ]
    return sum(losses) / len(losses)


def confusion_matrix(targets, predicted, n_classes):
    """Rows are the truth, columns what the model said."""
    matrix = [[0] * n_classes for _ in range(n_classes)]
    for target, said in zip(targets, predicted, strict=True):
        matrix[target][said] += 1
    return matrix


@pytest.fixture
def preds():
    """A record of 40 pictures in three unequal classes, and the logits behind it."""
    rng = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(40, 3, generator=rng)
    targets = torch.tensor([0] * 25 + [1] * 10 + [2] * 5)
    items = tuple(Item(f"{n:02}.png", None, "abc"[t]) for n, t in enumerate(targets.tolist()))
    return logits, Predictions(items, logits.log_softmax(dim=1), targets, ("a", "b", "c"), "valid")


def test_softmax(preds):
    """Catches probabilities along the wrong axis, or ones that do not add up."""
    logits, record = preds
    by_hand = [softmax(row) for row in logits.tolist()]
    torch.testing.assert_close(record.probs, torch.tensor(by_hand))


def test_softmax_of_large_numbers_does_not_overflow():
    """Catches the naive exponential of 1000."""
    assert softmax([1000.0, 1001.0]) == pytest.approx(torch.tensor([1000.0, 1001.0]).softmax(0).tolist())


def test_negative_log_likelihood(preds):
    """Catches another class's probability, a forgotten sign or a base-2 logarithm."""
    logits, record = preds
    by_hand = [
        negative_log_likelihood(softmax(row), t)
        for row, t in zip(logits.tolist(), record.targets.tolist(), strict=True)
    ]
    torch.testing.assert_close(record.losses, torch.tensor(by_hand))


def test_cross_entropy_is_the_learners_validation_loss(data):
    """Catches a printed loss that is not the mean over all pictures of what the record says of each."""
    learn = Learner.pretrained(data, "test_resnet", pretrained=False).to_fp32()
    learn.fit(1e-3, 1)
    with torch.no_grad():
        logits = learn.model.eval()(data.eval_images(data.indices_of("valid")))
    targets = learn.get_preds("valid").targets
    by_hand = cross_entropy(logits.tolist(), targets.tolist())
    assert by_hand == pytest.approx(nn.CrossEntropyLoss()(logits, targets).item(), rel=1e-5)
    assert by_hand == pytest.approx(learn.history.epochs[-1].valid_loss, rel=1e-4)
    assert by_hand == pytest.approx(learn.get_preds("valid").losses.mean().item(), rel=1e-4)


def test_cosine_schedule():
    """Catches a cosine that starts at 0, ends above it, or is not half a wave."""
    for step in range(101):
        assert cosine(step / 100) == pytest.approx((1 + math.cos(math.pi * step / 100)) / 2)
    assert (cosine(0), cosine(1), cosine(0.5)) == pytest.approx((1, 0, 0.5))


def test_cycles_that_double():
    """Catches 3 x 1 x 2 = 6: cycles of 1, 2 and 4 epochs are 7, and each starts at the full rate again."""
    lengths, length = [], 1
    for _ in range(3):
        lengths.append(length)
        length *= 2
    assert lengths == cycle_epochs(3, 1, 2) and sum(lengths) == 7
    schedule, start = sgdr(3, 1, 2), 0
    for length in lengths:
        for tenth in range(10):
            expected = (1 + math.cos(math.pi * tenth / 10)) / 2
            assert schedule((start + length * tenth / 10) / 7) == pytest.approx(expected, abs=1e-9)
        start += length


def test_one_cycle_in_its_two_halves():
    """Catches the top at another place than a quarter, and other ends than 1/25 and 1/100000."""
    for step in range(100):
        progress = step / 100
        if progress < 0.25:
            share = (1 - math.cos(math.pi * progress / 0.25)) / 2
            by_hand = 1 / 25 + (1 - 1 / 25) * share
        else:
            share = (1 - math.cos(math.pi * (progress - 0.25) / 0.75)) / 2
            by_hand = 1 + (1e-5 - 1) * share
        assert one_cycle()(progress) == pytest.approx(by_hand)


def test_rates_of_a_slice():
    """Catches even steps instead of even factors."""
    by_hand, rate = [], 1e-5
    for _ in range(3):
        by_hand.append(rate)
        rate *= 10
    assert spread_rates(slice(1e-5, 1e-3), 3) == pytest.approx(by_hand)


def test_confusion_matrix(preds):
    """Catches rows and columns swapped, in the counts the loop sums and in the matrix a person reads."""
    _, record = preds
    by_hand = confusion_matrix(record.targets.tolist(), record.predicted.tolist(), 3)
    batches = torch.arange(40).split(7)  # batch by batch, as the loop does
    counts = sum(count_confusions(record.predicted[rows], record.targets[rows], 3) for rows in batches)
    assert counts.tolist() == by_hand
    assert torch.as_tensor(Interpretation(record).confusion_matrix()).tolist() == by_hand


def test_metrics_from_the_matrix(preds):
    """Catches recall and precision swapped, and an average over pictures where one over classes is meant."""
    _, record = preds
    matrix = confusion_matrix(record.targets.tolist(), record.predicted.tolist(), 3)
    right = sum(matrix[k][k] for k in range(3))
    recalls = [matrix[k][k] / sum(matrix[k]) for k in range(3)]
    precisions = [matrix[k][k] / max(sum(row[k] for row in matrix), 1) for k in range(3)]
    scores = [2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precisions, recalls, strict=True)]
    counts = torch.tensor(matrix, dtype=torch.float64)
    assert accuracy(counts) == pytest.approx(right / 40) == pytest.approx(record.accuracy())
    assert error_rate(counts) == pytest.approx(1 - right / 40)
    assert balanced_accuracy(counts) == pytest.approx(sum(recalls) / 3)
    assert f1(counts) == pytest.approx(sum(scores) / 3)


def test_always_the_most_frequent_class_is_no_better_than_guessing():
    """Catches accuracy sold as skill: 25 of 40 for one answer, and 1/3 once each class counts the same."""
    counts = torch.tensor(confusion_matrix([0] * 25 + [1] * 10 + [2] * 5, [0] * 40, 3), dtype=torch.float64)
    assert accuracy(counts) == 25 / 40 and balanced_accuracy(counts) == pytest.approx(1 / 3)
