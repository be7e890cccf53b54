"""Labels that are probably wrong: what a simple classifier says about pictures it was not trained on."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.data.items import Item, class_names
from helpers.runtime.arguments import did_you_mean


class LabelError(NamedTuple):
    """One suspicious label, to be looked at, not to be believed."""

    item: Item
    given: str
    suggested: str
    score: float  # probability of the given label, out of fold: the lower, the more suspicious
    row: int  # place among the items


@did_you_mean
def find_label_errors(items: Sequence[Item], features: Tensor, *, folds: int = 5, seed: int = 0) -> list[LabelError]:
    """The items whose label is probably wrong, most suspicious first; row i of `features` (N, D) is items[i].

    Logistic regression on the features says what each picture is without having seen its label (`folds` folds);
    confident learning (cleanlab; Northcutt et al. 2021) tells which disagreements are more than doubt.
    """
    if len(features) != len(items):
        raise ValueError(f"got {len(features)} rows of features for {len(items)} items; row i must be about items[i]")
    rows = [row for row, item in enumerate(items) if item.label is not None]
    classes = class_names(items)
    targets = [classes.index(items[row].label) for row in rows]
    probs = out_of_fold_probs(torch.as_tensor(features)[rows], targets, folds=folds, seed=seed)
    errors = rank_label_errors([items[row] for row in rows], probs, classes)
    return [error._replace(row=rows[error.row]) for error in errors]


@did_you_mean
def out_of_fold_probs(features: Tensor, targets: Sequence[int], *, folds: int = 5, seed: int = 0) -> np.ndarray:
    """(N, K) float64: what a logistic regression trained on the other folds says of each row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    counts = np.bincount(targets) if len(targets) else np.zeros(1, dtype=int)
    if len(counts) < 2:
        raise ValueError("label errors need labelled pictures of at least two classes")
    if folds < 2 or counts.min() < folds:
        raise ValueError(
            f"folds is between 2 and the size of the smallest class, {counts.min()}; got {folds}: "
            "pass fewer folds, or leave classes with so few pictures out"
        )
    # of C = 0.0001, 0.001 and 0.01 the last was best on the solar cells: 84.9 % of 2,624, out of fold
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    cv = StratifiedKFold(folds, shuffle=True, random_state=seed)
    table = torch.as_tensor(features).detach().float().cpu().numpy()
    with threadpool_limits(1):  # the products are small: on two busy cores two threads took 35 s, one 4 s
        probs = cross_val_predict(classifier, table, np.asarray(targets), cv=cv, method="predict_proba")
    return probs.astype(np.float64)


def rank_label_errors(items: Sequence[Item], probs: np.ndarray, classes: Sequence[str]) -> list[LabelError]:
    """The suspicious labels, from out-of-fold `probs` (N, K) of labelled items; columns as in `vocab`."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    labels = np.array([list(classes).index(item.label) for item in items])
    scores = get_label_quality_scores(labels, probs, method="self_confidence")
    with warnings.catch_warnings():  # of a class with one picture or none cleanlab flags nothing, and says so each time
        warnings.filterwarnings("ignore", message="May not flag all label issues")
        found = np.flatnonzero(find_label_issues(labels, probs, n_jobs=1)).tolist()
    found.sort(key=lambda row: (scores[row], items[row].name))
    return [
        LabelError(items[row], items[row].label, classes[probs[row].argmax()], float(scores[row]), row) for row in found
    ]
