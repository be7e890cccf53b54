"""A second opinion without training a network: kernel ridge regression on the frozen network's features.

Two photographs are alike as far as all stages find them alike, and a photograph's answer is a mean of the answers of
those that it is like. Every training photograph stands there in several symmetries.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from data_setup.base.progress import progress
from helpers.analysis.predictions import Arithmetic
from helpers.lessons.every_stage import EveryStage
from helpers.lessons.symmetries import Symmetries
from helpers.models.folding import predicting

VIEWS = 4  # symmetries of each photograph: with n of them the kernel has (n * n_train)² numbers
GAMMA, ALPHA = 1.0, 0.1  # the kernel's width and the penalty, chosen on splits that are not reported
LEAST = 0.005  # no probability is smaller: a regression may well say -0.1


def stage_features(model: EveryStage, symmetries: Symmetries, how: Arithmetic) -> list[Tensor]:
    """(VIEWS, n_items, 3 F) float32 for each stage of `every_stage.PARTS`, from cached activations."""
    rows, views = torch.arange(len(symmetries.data.items)), []
    with predicting(model, how.device, how.precision):
        for k in progress(range(VIEWS), "features of stages"):
            batches = symmetries.seen_as(k).eval_batches(rows, how.device, how.batch_size)
            found = [list(model.stage_features(batch.inputs, symmetries.split_point)) for batch in batches]
            views.append([torch.cat(stage).cpu() for stage in zip(*found, strict=True)])
    return [torch.stack(stage) for stage in zip(*views, strict=True)]


def second_opinion(stages: Sequence[Tensor], targets: Tensor, train: Tensor, rows: Tensor, n_classes: int) -> Tensor:
    """(len(rows), K) probabilities: a regression of the K answers (0 or 1) of the training rows, asked about every
    view of `rows`, and the mean. stages: (V, n_items, D) each."""
    from sklearn.kernel_ridge import KernelRidge  # takes a second to import

    features = np.concatenate([scaled(stage, train) for stage in stages], axis=2) / np.sqrt(len(stages))
    n_views, answers = len(features), np.eye(n_classes, dtype=np.float32)[targets[train]]
    share = answers.mean(axis=0)
    ridge = KernelRidge(kernel="rbf", gamma=GAMMA, alpha=ALPHA)
    ridge.fit(np.concatenate(features[:, train]), np.tile(answers - share, (n_views, 1)))
    answers = ridge.predict(np.concatenate(features[:, rows])).reshape(n_views, len(rows), n_classes).mean(axis=0)
    probs = (answers + share).clip(LEAST)
    return torch.from_numpy(probs / probs.sum(axis=1, keepdims=True))


def scaled(stage: Tensor, train: Tensor) -> np.ndarray:
    """Every column of mean 0 and deviation 1 over the training rows' views, all of mean square length 1 there."""
    stage = stage.numpy()
    known = stage[:, train].reshape(-1, stage.shape[2])
    stage = (stage - known.mean(axis=0)) / (known.std(axis=0) + 1e-6)
    return stage / np.sqrt((stage[:, train] ** 2).sum(axis=2).mean())
