"""What may be wrong with the data: the same picture more than once, labels that are probably wrong."""

import warnings
from collections import defaultdict
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from helpers.data.decode import read_image
from helpers.data.items import Item, class_names
from helpers.data.splits import Split
from helpers.runtime.arguments import did_you_mean

PARTS = {"train": "training", "valid": "validation", "test": "the test part"}
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
    _check_rows(features, items)
    similarities, rows = _most_similar(query[None], features, k + 1)
    near = [Neighbour(items[row], s) for row, s in zip(rows[0].tolist(), similarities[0].tolist(), strict=True)]
    return [neighbour for neighbour in near if neighbour.item.name != other_than][:k]


def _most_similar(queries: Tensor, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines and rows (M, k) of the most similar `features`, best first; a row of zeros is similar to nothing.

    (scikit-learn's NearestNeighbors(metric="cosine") gives the same and took 2.6 times as long on 20,000 pictures.)
    """
    queries, features = (functional.normalize(torch.as_tensor(table).float().cpu()) for table in (queries, features))
    shape = len(queries), min(k, len(features))
    cosines, rows = torch.empty(shape), torch.empty(shape, dtype=torch.int64)
    for block in torch.arange(len(queries)).split(BLOCK):
        cosines[block], rows[block] = (queries[block] @ features.T).topk(shape[1])
    return cosines, rows


def _check_rows(features, items: Sequence[Item]) -> None:
    if len(features) != len(items):
        raise ValueError(f"got {len(features)} rows of features for {len(items)} items; row i must be about items[i]")


# The same picture more than once --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Duplicate:
    """Two pictures that are the same or nearly so."""

    first: Item
    second: Item
    kind: str  # "exact": every pixel is equal; "near": almost the same thumbnail or features
    similarity: float  # cosine, 1 for exact duplicates
    parts: tuple[str | None, str | None] = (None, None)  # of the split, of the first and the second

    @property
    def across_split(self) -> bool:
        return None not in self.parts and self.parts[0] != self.parts[1]

    @property
    def same_label(self) -> bool:
        return self.first.label == self.second.label

    @property
    def text(self) -> str:
        said = [f"{self.first.name} and {self.second.name}: {self.kind}, similarity {self.similarity:.3f}"]
        if self.across_split:
            said.append("one is in {}, the other in {}".format(*(PARTS[part] for part in self.parts)))
        if not self.same_label:
            said.append(f"labelled {self.first.label} and {self.second.label}")
        return ", ".join(said)


@did_you_mean
def find_duplicates(
    items: Sequence[Item],
    split: Split | None = None,
    *,
    features: Tensor | None = None,
    min_similarity: float | None = None,
) -> list[Duplicate]:
    """Pairs of the same picture: those across the split first, then exact before near, then by similarity.

    n equal pictures are n - 1 pairs with the first of them, a training picture if there is one. A near pair is a
    picture and the one most like it (for a held-out picture also the most similar training picture) when the cosine
    of their thumbnails is at least 0.995, or that of the model's `features` (N, D) 0.98; `min_similarity` sets another.
    Turned, mirrored or cropped copies are not found. Many real pictures merely look alike: look before you delete.
    """
    if features is not None:
        _check_rows(features, items)
    if not items:
        return []
    least = min_similarity if min_similarity is not None else 0.995 if features is None else 0.98
    if not -1 <= least <= 1:
        raise ValueError(f"min_similarity is a cosine, at most 1, such as 0.98; got {min_similarity}")
    with ThreadPoolExecutor() as pool:
        contents, thumbnails = zip(*pool.map(_hash_and_thumbnail, items), strict=True)
    part_of = {name: part for part in PARTS for name in getattr(split, part, ())}
    parts = [part_of.get(item.name) for item in items]
    groups: dict[str, list[int]] = {}
    for row in sorted(range(len(items)), key=lambda row: parts[row] != "train"):  # training pictures come first
        groups.setdefault(contents[row], []).append(row)
    pairs = [(first, other, "exact", 1.0) for first, *others in groups.values() for other in others]
    distinct = [rows[0] for rows in groups.values()]
    table = torch.from_numpy(np.stack(thumbnails)) if features is None else torch.as_tensor(features)
    near = near_pairs(table[distinct], sum(parts[row] == "train" for row in distinct), least)
    pairs += [(distinct[a], distinct[b], "near", similarity) for a, b, similarity in near]
    found = [Duplicate(items[i], items[j], kind, s, (parts[i], parts[j])) for i, j, kind, s in pairs]
    return sorted(found, key=lambda d: (not d.across_split, d.kind, -d.similarity, d.first.name, d.second.name))


def near_pairs(table: Tensor, n_train: int, least: float) -> list[tuple[int, int, float]]:
    """(i, j, cosine), i < j: each row of `table` (N, D) with the row most like it, if their cosine is `least` or more,
    and each row after the first `n_train` with the most similar of these. Memory grows with N, not with its square."""
    pairs = {}

    def add(first_row: int, similarities: Tensor, rows: Tensor) -> None:
        for i, place in (similarities >= least).nonzero().tolist():
            own, other = first_row + i, int(rows[i, place])
            if own != other:
                pairs[min(own, other), max(own, other)] = float(similarities[i, place])

    add(0, *_most_similar(table, table, 2))  # one of the two is the row itself
    if 0 < n_train < len(table):
        add(n_train, *_most_similar(table[n_train:], table[:n_train], 1))
    return [(i, j, similarity) for (i, j), similarity in pairs.items()]


def _hash_and_thumbnail(item: Item) -> tuple[str, np.ndarray]:
    """sha256 of the pixels, and float32 (1024,): a 32 x 32 grey thumbnail less its mean, blind to exposure.

    (Asking a difference hash first, as imagehash.dhash, changed 1 of 204 near pairs of the solar cells: left out.)
    """
    image = read_image(item.path)
    pixels = np.asarray(image.convert("RGB"))
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32).ravel()
    return sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(), grey - grey.mean()


# Labels that are probably wrong ---------------------------------------------------------------------------------


class LabelError(NamedTuple):
    """One suspicious label, to be looked at, not to be believed."""

    item: Item
    given: str
    suggested: str
    score: float  # probability of the given label, out of fold: the lower, the more suspicious
    row: int  # place among the items


@did_you_mean
def find_label_errors(
    items: Sequence[Item], features: Tensor, *, groups: Sequence[Hashable] | None = None, folds: int = 5, seed: int = 0
) -> list[LabelError]:
    """The items whose label is probably wrong, most suspicious first; row i of `features` (N, D) is items[i].

    Logistic regression on the features predicts each picture without having seen its label (`folds` folds);
    confident learning (cleanlab; Northcutt et al. 2021) decides which disagreements are more than doubt.

    features   from a body that has never seen these labels: `Learner.pretrained(data).features("train")`. A body that
               was fine-tuned on them has learned the wrong ones, too
    groups     what each item belongs to (a patient, a module, copies of one picture): members of a group are in the
               same fold, so that near-copies cannot vouch for each other's labels
    """
    from cleanlab.filter import find_label_issues

    _check_rows(features, items)
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
    with warnings.catch_warnings():  # of a class with one picture cleanlab flags nothing, and says so each time
        warnings.filterwarnings("ignore", message="May not flag all label issues")
        suspicious = np.flatnonzero(find_label_issues(labels, probs, n_jobs=1)).tolist()
    found = []
    for place in suspicious:
        item, own = items[rows[place]], probs[place]
        found.append(LabelError(item, item.label, classes[own.argmax()], float(own[labels[place]]), rows[place]))
    return sorted(found, key=lambda error: (error.score, error.item.name))


def out_of_fold_probs(
    features: Tensor, labels: np.ndarray, *, groups: Sequence[Hashable] | None = None, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """(N, K) float64: predictions of a logistic regression trained on the other folds; groups stay together."""
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
    if not 2 <= folds <= smallest:
        raise ValueError(
            f"folds is between 2 and the pictures (or groups) of the smallest class, {smallest}; got {folds}: "
            "pass fewer folds, or leave classes with so few pictures out"
        )
    # of C = 0.0001, 0.001 and 0.01 the last was best on the solar cells: 84.9 % of 2,624, out of fold
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    cv = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    table = torch.as_tensor(features).detach().float().cpu().numpy()
    with threadpool_limits(1):  # the products are small: on two busy cores two threads took 35 s, one 4 s
        return cross_val_predict(classifier, table, labels, groups=groups, cv=cv, method="predict_proba").astype(float)
