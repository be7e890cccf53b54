"""Losses against torch's own means."""

import pytest
import torch
from torch import nn

from helpers.data.dataset import Batch
from helpers.training.loop import weights_of
from helpers.training.losses import per_picture

N, K = 6, 3
LOGITS = torch.randn(N, K, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 2, 2, 0, 2])
ONE_HOT = nn.functional.one_hot(TARGETS, K).float()
LOSSES = {
    "cross-entropy": (nn.CrossEntropyLoss(), TARGETS),
    "with class weights": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0])), TARGETS),
    "with smoothing": (nn.CrossEntropyLoss(label_smoothing=0.2), TARGETS),
    "margin": (nn.MultiMarginLoss(), TARGETS),
    "margin with weights": (nn.MultiMarginLoss(weight=torch.tensor([1.0, 2.0, 5.0])), TARGETS),
    "binary": (nn.BCEWithLogitsLoss(), ONE_HOT),
    "binary with weights": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 5.0])), ONE_HOT),
    "squares": (nn.MSELoss(), ONE_HOT),
    "soft margin": (nn.MultiLabelSoftMarginLoss(), ONE_HOT),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_the_weighted_mean_of_the_pictures_is_torchs(kind):
    """Catches BCEWithLogitsLoss that fails, a class weight counted twice, and a one-hot loss summed over classes."""
    loss, targets = LOSSES[kind]
    ours = per_picture(loss, K)
    batch = Batch(LOGITS, TARGETS, torch.ones(N))
    losses, weights = ours(LOGITS, TARGETS), weights_of(batch, ours)
    assert losses.shape == weights.shape == (N,)
    torch.testing.assert_close(losses.sum() / weights.sum(), loss(LOGITS, targets))
    assert loss.reduction == "mean", "the loss that was passed stays its owner's"


def test_mixed_targets_stay_as_they_are():
    """Catches MixUp's shares turned into class numbers."""
    soft = torch.rand(N, K, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    for loss in (nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()):
        torch.testing.assert_close(per_picture(loss, K)(LOGITS, soft).mean(), loss(LOGITS, soft))


class OneNumber(nn.Module):
    """A loss that takes the mean whatever one says."""

    def forward(self, logits, targets):
        return nn.functional.cross_entropy(logits, targets)


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (nn.NLLLoss(), r"NLLLoss expects probabilities.* use nn\.CrossEntropyLoss\(\) or nn\.BCEWithLogitsLoss\(\)"),
        (nn.BCELoss(), "BCELoss expects probabilities"),
        (OneNumber(), r"one number for each of 4 pictures; OneNumber gives \(\) with class numbers and \(\) with"),
        (nn.CrossEntropyLoss(weight=torch.ones(2)), "CrossEntropyLoss gives weight tensor should be defined"),
        (nn.CosineEmbeddingLoss(), "CosineEmbeddingLoss gives "),
        (nn.CrossEntropyLoss(ignore_index=2), r"ignore_index=2 .*metrics.* data\.with_items"),
    ],
)
def test_a_loss_that_cannot_be_asked_picture_by_picture_is_refused(loss, sentence):
    """Catches a training that runs on log probabilities of log probabilities, and a foreign error in the first step."""
    with pytest.raises(ValueError, match=sentence):
        per_picture(loss, K)
