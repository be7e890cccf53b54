"""Predictions made for tests: from logits, and such whose probabilities are true."""

from pathlib import Path

import numpy as np
import torch

from data_setup.items import Item
from helpers.analysis.predictions import Predictions


def preds_of(logits, targets, classes=None) -> Predictions:
    logits, targets = torch.as_tensor(logits, dtype=torch.float32), torch.as_tensor(targets)
    classes = classes or tuple(f"class {c}" for c in range(logits.shape[1]))
    items = tuple(Item(f"{i:05}.png", Path(f"{i:05}.png"), None) for i in range(len(logits)))
    return Predictions(items, logits.log_softmax(1), targets, classes, "valid")


def honest_preds(n: int, k: int, *, sharpen: float = 1.0, seed: int = 0) -> Predictions:
    """Truths drawn from the probabilities themselves, which are then sharpened by multiplying the logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 1.5
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = (probs.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=k - 1)
    return preds_of(logits * sharpen, targets)
