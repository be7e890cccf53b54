"""One network, two published ways to read the expert's ratings: it learns his four answers, and decides afterwards.

A rating r says how probable the expert found a defect: 0, 1/3, 2/3 or 1 (`data_setup.solar.RATED`).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_setup import solar
from helpers.analysis.intervals import Interval
from helpers.analysis.predictions import Predictions
from helpers.lessons.envelope import block_of

CLASSES = ("defective", "functional")
DRAWS = 1000  # sets of blocks drawn with replacement


def read_ratings(probs: Tensor, classes: Sequence[str], protocol: str) -> Tensor:
    """(N, 2) probabilities of `CLASSES` from those of the four ratings, (N, 4) in the order of `classes`.

    "solar": defective is what the expert calls so, P(2/3) + P(1). "deitsch": every rating above 0 is defective and
    counts r, so saying "functional" loses P(1/3) / 3 + 2 P(2/3) / 3 + P(1) and saying "defective" loses P(0): the two
    are divided by their sum, and the likelier class is the one that loses less.
    """
    r = torch.tensor([solar.RATED[label] for label in classes], dtype=probs.dtype)
    if protocol == "solar":
        sides = probs @ (r >= 0.5).to(probs.dtype), probs @ (r < 0.5).to(probs.dtype)
    else:
        sides = probs @ r, probs @ (r == 0).to(probs.dtype)
    sides = torch.stack(sides, dim=1)
    return sides / sides.sum(dim=1, keepdim=True)


def predictions(
    probs: Tensor, classes: Sequence[str], names: Sequence[str], folder: Path, protocol: str
) -> Predictions:
    """`Predictions` of the cells `names`, labelled and weighted as the protocol says, from (N, 4) probabilities."""
    items = {item.name: item for item in solar.cell_items(folder, protocol)}
    items = tuple(items[name] for name in names)
    log_probs = read_ratings(probs, classes, protocol).clamp(min=1e-12).log().float()
    targets = torch.tensor([CLASSES.index(item.label) for item in items])
    return Predictions(items, log_probs, targets, CLASSES, "valid")


def weighted_by_block(preds: Predictions) -> Interval:
    """The weighted accuracy; 95 % of 1,000 draws of whole blocks of neighbours, with replacement, are in its interval.

    (Cells of a module are alike: single cells would say too little of how much another module may differ.)
    """
    weights = np.array([item.weight for item in preds.items])
    blocks, block = np.unique([block_of(item) for item in preds.items], return_inverse=True)
    total, right = (np.bincount(block, weights * hit) for hit in (1, preds.correct.numpy()))
    rows = np.random.default_rng(0).integers(len(blocks), size=(DRAWS, len(blocks)))
    low, high = np.quantile(right[rows].sum(1) / total[rows].sum(1), [0.025, 0.975]).tolist()
    return Interval(float(right.sum() / total.sum()), low, high)
