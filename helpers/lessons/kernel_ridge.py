"""A second opinion without training a network: kernel ridge regression on the frozen network's features.

Two photographs are alike as far as all stages find them alike, and a photograph's answer is a mean of the answers of
those that it is like. Every training photograph stands there in several symmetries.

`across_modules` adds that cells of one module are alike for reasons of their own (the camera's exposure, the expert's
eye that day): the random effects of statistics (Laird and Ware 1982). `by_number` does not look at all.
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
MODULE_GAMMA, SHARED = 0.3, 0.5  # with modules: a wider kernel; the likeness that cells of other modules have, too
REACH = 40  # published numbers, at which cells share exp(-1) of what is their module's own
NEAR = 5  # published numbers, for who goes by the number alone
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
    known, asked = kernels(stages, train, rows, GAMMA)
    return regression(known, asked, np.eye(n_classes)[targets[train]])


def across_modules(
    stages: Sequence[Tensor], numbers: Tensor, targets: Tensor, train: Tensor, rows: Tensor, n_classes: int
) -> Tensor:
    """As `second_opinion`, for cells of other modules than the training cells'.

    The kernel is `SHARED` for any two cells and the rest for neighbours alone. So training cells may explain each
    other by their module, and what they say about `rows` is the shared part: a crack is learned from the cells beside
    it that have none. numbers: (n_items,), the published ones.
    """
    known, asked = kernels(stages, train, rows, MODULE_GAMMA)
    numbers = numbers[train].float().numpy()
    near = np.exp(-np.abs(numbers[:, None] - numbers) / REACH)
    known *= SHARED + (1 - SHARED) * np.tile(near, (len(stages[0]),) * 2)
    return regression(known, SHARED * asked, np.eye(n_classes)[targets[train]])


def by_number(numbers: Tensor, targets: Tensor, train: Tensor, rows: Tensor, n_classes: int) -> Tensor:
    """(len(rows), K) probabilities by the published number, without any photograph: the neighbours' answers.

    What this knows of a split can be had without looking: it is how much cells of one module tell about each other.
    """
    from sklearn.metrics.pairwise import laplacian_kernel

    known, asked = (numbers[some, None].numpy() for some in (train, rows))
    answers = np.eye(n_classes)[targets[train]]
    return regression(laplacian_kernel(known, gamma=1 / NEAR), laplacian_kernel(asked, known, gamma=1 / NEAR), answers)


def kernels(stages: Sequence[Tensor], train: Tensor, rows: Tensor, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """How alike the training rows' views are, and `rows`' views to them: (V n_train, V n_train), (V n, V n_train)."""
    from sklearn.metrics.pairwise import rbf_kernel  # takes a second to import

    features = np.concatenate([scaled(stage, train) for stage in stages], axis=2) / np.sqrt(len(stages))
    known, asked = (np.concatenate(features[:, some]) for some in (train, rows))
    return rbf_kernel(known, gamma=gamma), rbf_kernel(asked, known, gamma=gamma)


def regression(known: np.ndarray, asked: np.ndarray, answers: np.ndarray) -> Tensor:
    """(n, K) probabilities: kernel ridge regression of the (n_train, K) `answers`, the mean over all views."""
    from sklearn.kernel_ridge import KernelRidge

    share, n_views = answers.mean(axis=0), len(known) // len(answers)
    ridge = KernelRidge(kernel="precomputed", alpha=ALPHA)
    ridge.fit(known, np.tile(answers - share, (n_views, 1)).astype(known.dtype))
    found = ridge.predict(asked).reshape(n_views, -1, len(share)).mean(axis=0)
    probs = (found + share).clip(LEAST)
    return torch.from_numpy(probs / probs.sum(axis=1, keepdims=True))


def scaled(stage: Tensor, train: Tensor) -> np.ndarray:
    """Every column of mean 0 and deviation 1 over the training rows' views, all of mean square length 1 there."""
    stage = stage.numpy()
    known = stage[:, train].reshape(-1, stage.shape[2])
    stage = (stage - known.mean(axis=0)) / (known.std(axis=0) + 1e-6)
    return stage / np.sqrt((stage[:, train] ** 2).sum(axis=2).mean())
