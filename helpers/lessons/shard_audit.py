"""Features in shards: which pictures look alike, and which labels are probably wrong, with one shard in memory."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from data_setup.base.arguments import did_you_mean
from helpers.lessons.audit import LabelError, Neighbour, confident_errors, most_similar
from helpers.lessons.shards import ShardFeatures

STRENGTH = 0.01  # C of the logistic regression, as in `audit.out_of_fold_probs`


@did_you_mean
def nearest_in_shards(features: ShardFeatures, query: Tensor, *, k: int = 4) -> list[Neighbour]:
    """The `k` pictures whose features are most similar to `query` (D,), best first; their pictures are files then."""
    best: list[tuple[float, int]] = []
    first = 0
    for table in features.blocks():
        cosines, rows = most_similar(query[None], table, k)
        found = zip(cosines[0].tolist(), (first + rows[0]).tolist(), strict=True)
        best = sorted([*best, *found], key=lambda pair: (-pair[0], pair[1]))[:k]
        first += len(table)
    items = features.items([row for _, row in best])
    return [Neighbour(item, cosine) for item, (cosine, _) in zip(items, best, strict=True)]


@did_you_mean
def label_errors_in_shards(
    features: ShardFeatures, *, most: int = 100, folds: int = 5, seed: int = 0
) -> list[LabelError]:
    """At most `most` labels that are probably wrong, most suspicious first, as `find_label_errors` finds them.

    Their pictures are files then, for any browser. In memory are one shard's features, and of each picture a
    probability per class.
    """
    names, classes = features.labels(), features.index.classes
    rows = np.array([row for row, name in enumerate(names) if name is not None])
    labels = np.full(len(names), -1)
    labels[rows] = [classes.index(names[row]) for row in rows.tolist()]
    probs = out_of_fold_probs(features, labels, folds=folds, seed=seed)
    found = rows[confident_errors(labels[rows], probs[rows])[:most]]
    return [
        LabelError(item, item.label, classes[probs[row].argmax()], float(probs[row, labels[row]]), int(row))
        for item, row in zip(features.items(found.tolist()), found, strict=True)
    ]


def out_of_fold_probs(features: ShardFeatures, labels: np.ndarray, *, folds: int = 5, seed: int = 0) -> np.ndarray:
    """(N, K) float64, as `audit.out_of_fold_probs` gives them, from logistic regressions that pass over the shards.

    `labels` (N,) are class numbers, -1 where there is none. All folds train at once: the sum of their losses, each with
    the penalty |w|^2 / (2 C), is minimized by L-BFGS, whose every step is one pass. Columns are standardized with the
    mean and deviation of each fold's own training rows. Raises ValueError for more folds than the smallest class has
    pictures.
    """
    from scipy.optimize import minimize

    fold_of = folds_of(labels, folds=folds, seed=seed)
    means, deviations = _moments(features, fold_of, folds)  # (F, D, 1)
    n_classes = int(labels.max()) + 1
    columns = 1 if n_classes == 2 else n_classes  # of two classes the second one's logit is enough
    n_weights, n_known = means.numel() * columns, int((labels >= 0).sum())

    def unpacked(packed: np.ndarray) -> tuple[Tensor, Tensor]:
        """Weights (F, D, M) of standardized columns, and biases (F, 1, M)."""
        packed = torch.from_numpy(packed)
        return packed[:n_weights].view(folds, -1, columns), packed[n_weights:].view(folds, 1, columns)

    def passes(packed: np.ndarray) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Of each shard: features (n, D), logits (F, n, M), class numbers (n,) and folds (n,)."""
        weights, biases = unpacked(packed)
        weights = weights / deviations
        biases = biases - (means * weights).sum(1, keepdim=True)
        first = 0
        for table in features.blocks():
            some, table = slice(first, first + len(table)), table.double()
            yield table, table @ weights + biases, torch.from_numpy(labels[some]), torch.from_numpy(fold_of[some])
            first += len(table)

    def loss_and_slopes(packed: np.ndarray) -> tuple[float, np.ndarray]:
        weights, biases = unpacked(packed)
        loss, slopes = weights.square().sum() / (2 * STRENGTH), weights / STRENGTH
        bias_slopes = torch.zeros_like(biases)
        for table, logits, targets, own in passes(packed):
            losses = _losses(logits.requires_grad_(), targets.clamp(min=0)) * _trains(own, folds)
            (errors,) = torch.autograd.grad(losses.sum(), logits)
            total = errors.sum(1, keepdim=True)
            loss, bias_slopes = loss + losses.sum().detach(), bias_slopes + total
            slopes = slopes + (table.T @ errors - means * total) / deviations
        return float(loss) / n_known, torch.cat([slopes.flatten(), bias_slopes.flatten()]).numpy() / n_known

    start = np.zeros(n_weights + folds * columns)
    best = minimize(loss_and_slopes, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-6}).x
    probs = []
    for _, logits, _, own in passes(best):
        logits = logits[own.clamp(min=0), torch.arange(len(own))]  # (n, M) of the fold that has not seen the row
        both = torch.cat([torch.zeros_like(logits), logits], dim=1) if columns == 1 else logits
        probs.append(both.softmax(dim=1))
    return torch.cat(probs).numpy()


def folds_of(labels: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """The fold of every row (N,), each class shared out evenly; -1 without a label."""
    from sklearn.model_selection import StratifiedKFold

    known = np.flatnonzero(labels >= 0)
    smallest = int(np.bincount(labels[known]).min()) if len(known) else 0
    if not 2 <= folds <= smallest:
        raise ValueError(f"folds is between 2 and the pictures of the smallest class, {smallest}; got {folds}")
    fold_of = np.full(len(labels), -1)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(known, labels[known])
    for fold, (_, held_out) in enumerate(parts):
        fold_of[known[held_out]] = fold
    return fold_of


def _trains(own: Tensor, folds: int) -> Tensor:
    """1.0 where a row trains a fold's regression: (F, n)."""
    return ((own >= 0) & (own != torch.arange(folds)[:, None])).double()


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log likelihood of each row and fold: (F, n) of logits (F, n, M)."""
    if logits.shape[2] == 1:
        return torch.nn.functional.softplus(torch.where(targets == 1, -logits[..., 0], logits[..., 0]))
    return -logits.log_softmax(dim=2)[:, torch.arange(len(targets)), targets]


def _moments(features: ShardFeatures, fold_of: np.ndarray, folds: int) -> tuple[Tensor, Tensor]:
    """(mean, standard deviation) of every column over each fold's training rows: (F, D, 1) float64."""
    sums, first = 0, 0
    for table in features.blocks():
        trains = _trains(torch.from_numpy(fold_of[first : first + len(table)]), folds)
        table = table.double()
        sums = sums + trains @ torch.cat([torch.ones(len(table), 1), table, table.square()], dim=1)
        first += len(table)
    counts, sums, squares = sums.split([1, table.shape[1], table.shape[1]], dim=1)
    means = sums / counts
    deviations = (squares / counts - means.square()).clamp(min=0).sqrt()
    deviations = torch.where(deviations > 1e-12, deviations, 1.0)  # a column that is the same everywhere
    return means[..., None], deviations[..., None]
