"""Four checks before you train: each has a number to expect, and a fault that it finds.

After Karpathy's "A recipe for training neural networks" (2019) and CS231n's sanity checks.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.learner import Learner
from helpers.lessons.heads import FeatureSet, HeadRun, hidden_head, logistic_head, train_head
from helpers.runtime.precision import evaluating
from helpers.runtime.seeds import generator

N_FEW = 20  # photographs that a network must be able to learn by heart
N_SHUFFLED = 400
RATE, EPOCHS = 1e-3, 40


@dataclass(frozen=True, repr=False)
class FourChecks:
    """What came out, all shares in 0..1. In a notebook it shows itself, expected beside measured."""

    n_classes: int
    first_loss: float  # mean cross-entropy before any training
    few_accuracy: float  # on the twenty photographs that were trained on
    noise_answer: str  # what grey noise is taken for
    noise_p: float  # how sure, mean over the pictures of noise
    largest_class: float  # share of the most frequent class among the training photographs
    shuffled_train: float  # accuracy on training photographs whose labels were shuffled
    shuffled_valid: float  # accuracy on validation photographs, whose labels are their own
    guessing: float  # accuracy of an answer drawn at random with the classes' shares

    def __repr__(self) -> str:
        rows = [
            ("check", "expected", "measured"),
            ("1 loss before training", f"near {math.log(self.n_classes):.2f} = ln {self.n_classes}",
             f"≈ {self.first_loss:.2f}"),
            (f"2 {N_FEW} photographs by heart", "100 % correct", f"≈ {100 * self.few_accuracy:.0f} % correct"),
            ("3 grey noise", f"unsure, about {100 * self.largest_class:.0f} %",
             f"{self.noise_answer}, ≈ {100 * self.noise_p:.0f} % sure"),
            ("4 shuffled labels, training", "can be learned: 100 %", f"≈ {100 * self.shuffled_train:.0f} %"),
            ("  the same, held out", f"guessing: about {100 * self.guessing:.0f} %",
             f"≈ {100 * self.shuffled_valid:.0f} %"),
        ]  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{check:{widths[0]}}  {wanted:{widths[1]}}  {found}" for check, wanted, found in rows)


def four_checks(learn: Learner) -> FourChecks:
    """The four checks on the data and the body of `learn`; takes seconds, and leaves it as it was.

    1. A fresh head knows nothing: its loss is near ln K. Far above it, it starts out sure of wrong answers.
    2. Twenty photographs are learned to 100 %. If not, pictures and labels do not belong together, or nothing trains.
    3. Grey noise is neither class. A network that is sure of it all the same will be sure of every odd photograph.
    4. Shuffled labels are learned by heart, and help nobody on held-out photographs. If they seem to, there is a leak.
    """
    features = FeatureSet.of(learn)
    shares = torch.bincount(features.train_targets, minlength=len(features.classes)) / len(features.train_targets)
    answer, sure = _grey_noise(learn)
    few = _few(features)
    shuffled = _shuffled(features)
    return FourChecks(
        n_classes=len(features.classes),
        first_loss=_first_loss(features),
        few_accuracy=few.train_accuracy,
        noise_answer=features.classes[answer],
        noise_p=sure,
        largest_class=float(shares.max()),
        shuffled_train=shuffled.train_accuracy,
        shuffled_valid=shuffled.valid_accuracy,
        guessing=float(shares.square().sum()),
    )


def _first_loss(features: FeatureSet) -> float:
    """Mean loss of a logistic head that has not seen anything; BatchNorm takes its statistics from the batch."""
    head = logistic_head(features.train.shape[1], len(features.classes))
    with torch.no_grad():
        return float(F.cross_entropy(head(features.train), features.train_targets))


def _few(features: FeatureSet) -> HeadRun:
    """Train on twenty photographs, as many of each class as there are."""
    order = torch.randperm(len(features.train), generator=generator("twenty photographs"))
    by_class = [order[features.train_targets[order] == number] for number in range(len(features.classes))]
    rows = torch.cat([rows[: -(-N_FEW // len(by_class))] for rows in by_class])[:N_FEW]  # a class may have fewer
    head = hidden_head(features.train.shape[1], len(features.classes))
    return train_head(head, _subset(features, rows), rate=RATE, epochs=EPOCHS)


def _shuffled(features: FeatureSet) -> HeadRun:
    """Train on a few hundred photographs whose labels were mixed."""
    order = torch.randperm(len(features.train), generator=generator("shuffled labels"))
    few = _subset(features, order[:N_SHUFFLED])
    mixed = torch.randperm(len(few.train), generator=generator("shuffled labels", "order"))
    head = hidden_head(features.train.shape[1], len(features.classes))
    return train_head(head, replace(few, train_targets=few.train_targets[mixed]), rate=RATE, epochs=EPOCHS)


def _subset(features: FeatureSet, rows: Tensor) -> FeatureSet:
    return replace(features, train=features.train[rows], train_targets=features.train_targets[rows])


def _grey_noise(learn: Learner, n: int = 16) -> tuple[int, float]:
    """(class, mean probability) that `learn` gives pictures of grey noise."""
    size = learn.data.size
    noise = torch.rand(n, 1, size, size, generator=generator("grey noise")).expand(-1, 3, -1, -1)
    with evaluating(learn.model, learn.device, learn.prediction_precision):
        probs = learn.model(noise.to(learn.device)).float().softmax(dim=1).mean(dim=0)
    return int(probs.argmax()), float(probs.max())
