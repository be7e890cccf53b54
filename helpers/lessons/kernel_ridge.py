"""A second opinion without training a network: kernel ridge regression on the frozen network's features.

Two photographs are alike as far as the stages of all bodies find them alike, whichever way each is turned: the mean
over every pair of symmetries (an invariant kernel, Haasdonk and Burkhardt 2007). A photograph's answer is a mean of
the answers of those that it is like.

`across_modules` adds that cells of one module are alike for reasons of their own (the camera's exposure, the expert's
eye that day): the random effects of statistics (Laird and Ware 1982). `by_number` does not look at all.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from data_setup.base.progress import progress
from helpers.analysis.predictions import Arithmetic
from helpers.lessons.every_stage import EveryStage
from helpers.lessons.symmetries import Symmetries
from helpers.models.folding import predicting

VIEWS = 4  # symmetries of each photograph: with n of them every likeness is a mean over n²
GAMMA, POWER = 1.2, 1.5  # of the kernel exp(-GAMMA d^POWER)
ALPHA = 0.01  # the penalty; all of these were chosen on splits that are not reported
MODULE_GAMMA, SHARED = 0.5, 0.5  # with modules: a wider kernel; the likeness that cells of other modules have, too
REACH = 40  # published numbers, at which cells share exp(-1) of what is their module's own
NEAR, NUMBER_ALPHA = 5, 0.1  # published numbers and the penalty, for who goes by the number alone
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


def second_opinion(kernel: np.ndarray, targets: Tensor, train: Tensor, rows: Tensor, n_classes: int) -> Tensor:
    """(len(rows), K) probabilities: a regression of the K answers (0 or 1) of the training rows, asked about `rows`.

    kernel: (n_items, n_train), the `likeness` of all items and the training rows."""
    return regression(kernel[train], kernel[rows], np.eye(n_classes)[targets[train]], ALPHA)


def across_modules(
    kernel: np.ndarray, numbers: Tensor, targets: Tensor, train: Tensor, rows: Tensor, n_classes: int
) -> Tensor:
    """As `second_opinion`, for cells of other modules than the training cells'.

    The kernel is `SHARED` for any two cells and the rest for neighbours alone. So training cells may explain each
    other by their module, and what they say about `rows` is the shared part: a crack is learned from the cells beside
    it that have none. numbers: (n_items,), the published ones.
    """
    numbers = numbers[train].float().numpy()
    near = np.exp(-np.abs(numbers[:, None] - numbers) / REACH)
    known = kernel[train] * (SHARED + (1 - SHARED) * near)
    return regression(known, SHARED * kernel[rows], np.eye(n_classes)[targets[train]], ALPHA)


def by_number(numbers: Tensor, targets: Tensor, train: Tensor, rows: Tensor, n_classes: int) -> Tensor:
    """(len(rows), K) probabilities by the published number, without any photograph: the neighbours' answers.

    What this knows of a split can be had without looking: it is how much cells of one module tell about each other.
    """
    from sklearn.metrics.pairwise import laplacian_kernel

    known, asked = (numbers[some, None].numpy() for some in (train, rows))
    answers = np.eye(n_classes)[targets[train]]
    kernels = laplacian_kernel(known, gamma=1 / NEAR), laplacian_kernel(asked, known, gamma=1 / NEAR)
    return regression(*kernels, answers, NUMBER_ALPHA)


def likeness(bodies: Sequence[Sequence[Tensor]], train: Tensor, gamma: float) -> np.ndarray:
    """(n_items, n_train): the mean of exp(-gamma d^POWER) over the bodies and all pairs of views, d their distance.

    bodies: of each the stages' features, (V, n_items, D)."""
    total, n_pairs = 0.0, sum(len(stages[0]) ** 2 for stages in bodies)
    for stages in bodies:
        views = torch.cat([scaled(stage, train) for stage in stages], dim=2) / len(stages) ** 0.5
        for ours, theirs in product(views, views):
            total += torch.exp(-gamma * torch.cdist(ours, theirs[train]) ** POWER) / n_pairs
    return total.double().numpy()


def regression(known: np.ndarray, asked: np.ndarray, answers: np.ndarray, alpha: float) -> Tensor:
    """(n, K) probabilities: kernel ridge regression of the (n_train, K) `answers`."""
    from sklearn.kernel_ridge import KernelRidge

    share = answers.mean(axis=0)
    probs = KernelRidge(kernel="precomputed", alpha=alpha).fit(known, answers - share).predict(asked) + share
    probs = probs.clip(LEAST)
    return torch.from_numpy(probs / probs.sum(axis=1, keepdims=True))


def scaled(stage: Tensor, train: Tensor) -> Tensor:
    """Roots (of a negative number minus its root); every column of mean 0 and deviation 1 over the training rows'
    views, all of mean square length 1 there. A root brings large and small answers of a filter nearer."""
    stage = stage.sign() * stage.abs().sqrt()
    deviation, mean = torch.std_mean(stage[:, train], dim=(0, 1), correction=0)
    stage = (stage - mean) / (deviation + 1e-6)
    return stage / stage[:, train].square().sum(dim=2).mean().sqrt()
