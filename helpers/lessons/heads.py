"""Small heads on cached features, trained in about a second: for experiments that a lesson repeats many times."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.data.dataset import ImageData, even_batches
from helpers.learner import Learner
from helpers.models.classifier import build_classifier
from helpers.runtime.seeds import generator, seeded
from helpers.runtime.torch_gaps import AdamW


@dataclass(frozen=True)
class FeatureSet:
    """Pooled features of the training and the validation photographs. Row i of both fields is about one photograph."""

    train: Tensor  # (N, D) float32
    train_targets: Tensor  # (N,) int64
    valid: Tensor  # (M, D) float32
    valid_targets: Tensor  # (M,) int64
    classes: tuple[str, ...]

    @classmethod
    def of(cls, learn: Learner) -> "FeatureSet":
        """What the body of `learn` makes of its data; computed once and kept on disk."""
        targets = learn.data.targets
        columns = []
        for part in ("train", "valid"):
            columns += [learn.features(part), targets[learn.data.indices_of(part)]]
        return cls(*columns, learn.data.classes)


@dataclass(frozen=True)
class HeadRun:
    """How the training of a head went, and the head. One entry per epoch, measured after it without dropout."""

    train_losses: tuple[float, ...]  # mean cross-entropy per photograph
    valid_losses: tuple[float, ...]
    train_accuracy: float  # of the head as it is at the end, 0..1
    valid_accuracy: float
    head: nn.Module


def logistic_head(n_features: int, n_classes: int, *, seed: int = 0) -> nn.Sequential:
    """(N, D) features -> (N, K) logits: standardised by BatchNorm, then one linear layer."""
    with seeded("logistic head", seed):
        return nn.Sequential(nn.BatchNorm1d(n_features, affine=False), nn.Linear(n_features, n_classes))


def hidden_head(n_features: int, n_classes: int, *, width: int = 64, seed: int = 0) -> nn.Sequential:
    """As `logistic_head`, with a hidden layer between: enough weights to learn the training photographs by heart."""
    with seeded("hidden head", seed):
        return nn.Sequential(
            nn.BatchNorm1d(n_features, affine=False),
            nn.Linear(n_features, width),
            nn.ReLU(),
            nn.Linear(width, n_classes),
        )


def train_head(
    head: nn.Module,
    features: FeatureSet,
    *,
    rate: float,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    watch: Callable[[nn.Module, int], None] | None = None,
) -> HeadRun:
    """Train `head` with Adam at a constant rate; writes to its weights.

    `watch(head, epoch)` is called before the training, with 0, and after each epoch, in evaluation mode.
    """
    if watch is not None:
        watch(head.eval(), 0)
    optimizer = AdamW(head.parameters(), lr=rate, weight_decay=0.0)  # without decay it is Adam
    rng = generator("train head", seed)
    train_losses, valid_losses = [], []
    for epoch in range(1, epochs + 1):
        head.train()
        for rows in even_batches(torch.randperm(len(features.train), generator=rng), batch_size):
            loss = F.cross_entropy(head(features.train[rows]), features.train_targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        train_losses.append(measure(head, features.train, features.train_targets)[0])
        valid_losses.append(measure(head, features.valid, features.valid_targets)[0])
        if watch is not None:
            watch(head, epoch)
    accuracies = [
        measure(head, inputs, targets)[1]
        for inputs, targets in (
            (features.train, features.train_targets),
            (features.valid, features.valid_targets),
        )
    ]
    return HeadRun(tuple(train_losses), tuple(valid_losses), *accuracies, head)


def measure(head: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) of a head; leaves it in evaluation mode."""
    head.eval()
    with torch.no_grad():
        logits = head(inputs)
    return float(F.cross_entropy(logits, targets)), float((logits.argmax(1) == targets).double().mean())


def quick_learner(data: ImageData, *, arch: str = "efficientnet_lite0", pretrained: bool = True) -> Learner:
    """A `Learner` with a logistic head on the frozen body, trained for a few seconds without a word."""
    model = build_classifier(arch, len(data.classes), size=data.size, pretrained=pretrained)
    n_features = model.features(torch.zeros(1, 3, data.size, data.size)).shape[1]
    model.head = logistic_head(n_features, len(data.classes))
    learn = Learner(data, model, arch=arch)
    learn.precompute = True
    with quietly():
        learn.fit(3e-4, 4)
    return learn


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing that is printed inside the block is shown."""
    with redirect_stdout(io.StringIO()):
        yield
