"""Several models together."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from helpers.analysis.predictions import Predictions, check_same_pictures


def mean_of(records: Sequence[Predictions]) -> Predictions:
    """Several models together: the mean of their probabilities for the same pictures, one record like theirs.

    Raises ValueError without a record, or when they differ in pictures, order, classes or labels.
    """
    if not records:
        raise ValueError("mean_of takes at least one record: mean_of([learn.tta(), other.tta()])")
    for record in records[1:]:
        check_same_pictures(records[0], record)
    probs = torch.stack([record.probs for record in records]).mean(dim=0)
    return replace(records[0], log_probs=probs.clamp(min=1e-12).log())
