"""What cached features say about the data: which pictures look alike, which labels are probably wrong."""

import warnings
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data_setup.base.arguments import did_you_mean
from data_setup.items import Item, class_names

BLOCK = 256  # pictures compared with all others at once: 256 x 100,000 similarities take 100 MB


class Neighbour(NamedTuple):
    """One picture and its cosine similarity to the query: 1 is the same, 0 nothing in common."""

    item: Item
    similarity: float


@did_you_mean
def nearest_neighbours(
    query: Tensor, features: Tensor, items: Sequence[Item], *, k: int = 4, other_than: str | None = None
) -> list[Neighbour]:
    """The `k` items whose `features` (N, D) are most similar to `query` (D,), best first; none named `other_than`."""
    check_rows(features, items)
    similarities, rows = most_similar(query[None], features, k + 1)
    near = [Neighbour(items[row], s) for row, s in zip(rows[0].tolist(), similarities[0].tolist(), strict=True)]
    return [neighbour for neighbour in near if neighbour.item.name != other_than][:k]


def most_similar(queries: Tensor, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines and rows (M, k) of the most similar `features`, best first; a row of zeros is similar to nothing.

    (scikit-learn's NearestNeighbors(metric="cosine") gives the same and took 2.6 times as long on 20,000 pictures.)
    """
    queries, features = (functional.normalize(torch.as_tensor(table).float().cpu()) for table in (queries, features))
    cosines = torch.empty(min(BLOCK, len(queries)), len(features))  # one for all blocks: else each may take new memory
    found = [
        torch.mm(block, features.T, out=cosines[: len(block)]).topk(min(k, len(features)))
        for block in queries.split(BLOCK)
    ]
    return torch.cat([block.values for block in found]), torch.cat([block.indices for block in found])


def check_rows(features: Tensor, items: Sequence[Item]) -> None:
    """Raise ValueError unless there is one row of features for each item."""
    if len(features) != len(items):
        raise ValueError(f"got {len(features)} rows of features for {len(items)} items; row i must be about items[i]")


class LabelError(NamedTuple):
    """One suspicious label, to be looked at, not to be believed."""

    item: Item
    given: str
    suggested: str
    score: float  # probability of the given label, out of fold: the lower, the more suspicious
    row: int  # place among the items

    @property
    def captions(self) -> list[tuple[str, str]]:
        """(name, caption) of the picture, as an image browser shows it."""
        return [(self.item.name, f"perhaps {self.suggested}; probability of its label {self.score:.2f}")]


@did_you_mean
def find_label_errors(
    items: Sequence[Item],
    features: Tensor,
    *,
    groups: Sequence[Hashable] | None = None,
    folds: int | None = None,
    seed: int = 0,
) -> list[LabelError]:
    """The items whose label is probably wrong, most suspicious first; row i of `features` (N, D) is items[i].

    Logistic regression on the features predicts each picture without having seen its label (`folds` folds, by default
    five, or as many as the smallest class has pictures or groups); confident learning (cleanlab; Northcutt et al. 2021)
    decides which disagreements are more than doubt.

    features   from a body that has never seen these labels: `Learner.pretrained(data).features("train")`. A body that
               was fine-tuned on them has learned the wrong ones, too
    groups     what each item belongs to (a patient, a module, copies of one picture): members of a group are in the
               same fold, so that near-copies cannot vouch for each other's labels
    """
    check_rows(features, items)
    rows = [row for row, item in enumerate(items) if item.label is not None]
    classes = class_names(items)
    labels = np.array([classes.index(items[row].label) for row in rows], dtype=int)
    if groups is not None:
        groups = groups.tolist() if hasattr(groups, "tolist") else list(groups)
        if len(groups) != len(items):
            raise ValueError(f"got {len(groups)} groups for {len(items)} items; groups[i] is the group of items[i]")
        numbers = {group: number for number, group in enumerate(groups)}
        groups = [numbers[groups[row]] for row in rows]
    probs = out_of_fold_probs(torch.as_tensor(features)[rows], labels, groups=groups, folds=folds, seed=seed)
    suspects = (
        (items[rows[place]], probs[place], labels[place], rows[place]) for place in confident_errors(labels, probs)
    )
    found = [LabelError(item, item.label, classes[p.argmax()], float(p[own]), row) for item, p, own, row in suspects]
    return sorted(found, key=lambda error: (error.score, error.item.name))


def confident_errors(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Places of the labels that are probably wrong (cleanlab), the least probable first; `probs` (N, K) out of fold."""
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():  # of a class with one picture cleanlab flags nothing, and says so each time
        warnings.filterwarnings("ignore", message="May not flag all label issues")
        places = np.flatnonzero(find_label_issues(labels, probs, n_jobs=1))
    return places[np.argsort(probs[places, labels[places]], kind="stable")]


def out_of_fold_probs(
    features: Tensor,
    labels: np.ndarray,
    *,
    groups: Sequence[Hashable] | None = None,
    folds: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """(N, K) float64: predictions of a logistic regression trained on the other folds; groups stay together.

    `folds`: by default five, or as many as the smallest class has pictures (or groups).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    groups_of = defaultdict(set)
    for label, group in zip(labels.tolist(), range(len(labels)) if groups is None else groups, strict=True):
        groups_of[label].add(group)
    smallest = min(map(len, groups_of.values()), default=0)
    if len(groups_of) < 2:
        raise ValueError("label errors need labelled pictures of at least two classes")
    if folds is None and smallest < 2:
        found = f"two pictures (or groups) of every class, and the smallest has {smallest}"
        raise ValueError(f"label errors need {found}: leave so small classes out")
    folds = min(5, smallest) if folds is None else folds
    if not 2 <= folds <= smallest:
        most = f"the pictures (or groups) of the smallest class, {smallest}"
        raise ValueError(f"folds is between 2 and {most}; got {folds}: pass fewer folds, or leave so small classes out")
    # of C = 0.0001, 0.001 and 0.01 the last was best on the solar cells: 84.9 % of 2,624, out of fold
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    cv = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    table = torch.as_tensor(features).detach().float().cpu().numpy()
    with threadpool_limits(1):  # the products are small: on two busy cores two threads took 35 s, one 4 s
        return cross_val_predict(classifier, table, labels, groups=groups, cv=cv, method="predict_proba").astype(float)
