"""Planted wrong labels come first; the probabilities are out of fold; the scores are cleanlab's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from helpers.analysis.label_errors import find_label_errors, out_of_fold_probs, rank_label_errors
from helpers.data.items import Item

NAMES = ("crack", "fine", "stain")


@pytest.fixture(scope="module")
def planted():
    """Three clear clouds of 40 pictures; six labels are turned into the next class."""
    features, truth = make_blobs(n_samples=[40, 40, 40], n_features=6, cluster_std=1.2, random_state=0)
    wrong = set(np.random.default_rng(0).choice(120, 6, replace=False).tolist())
    given = [(t + 1) % 3 if i in wrong else t for i, t in enumerate(truth.tolist())]
    items = tuple(Item(f"{i:03}.png", Path(f"{i:03}.png"), NAMES[label]) for i, label in enumerate(given))
    return items, torch.from_numpy(features).float(), truth, wrong


def test_planted_errors_are_found_with_the_right_suggestion(planted):
    items, features, truth, wrong = planted
    errors = find_label_errors(items, features)
    assert {error.row for error in errors} == wrong
    for error in errors:
        assert error.item == items[error.row]
        assert error.given == items[error.row].label
        assert error.suggested == NAMES[truth[error.row]]
    assert [error.score for error in errors] == sorted(error.score for error in errors)
    threads = torch.get_num_threads()
    assert errors == find_label_errors(items, features)
    assert torch.get_num_threads() == threads


def test_probabilities_come_from_models_that_did_not_see_the_picture(planted):
    items, features, _, _ = planted
    targets = np.array([NAMES.index(item.label) for item in items])
    probs = out_of_fold_probs(features, targets, folds=4, seed=3)
    table = features.numpy()
    for train, held_out in StratifiedKFold(4, shuffle=True, random_state=3).split(table, targets):
        scaler = StandardScaler().fit(table[train])
        model = LogisticRegression(C=0.01, max_iter=2000).fit(scaler.transform(table[train]), targets[train])
        np.testing.assert_allclose(probs[held_out], model.predict_proba(scaler.transform(table[held_out])), rtol=1e-4)


def test_scores_are_those_of_cleanlab(planted):
    items, features, _, _ = planted
    targets = np.array([NAMES.index(item.label) for item in items])
    probs = out_of_fold_probs(features, targets)
    expected = get_label_quality_scores(targets, probs, method="self_confidence")
    for error in rank_label_errors(items, probs, NAMES):
        assert error.score == expected[error.row] == probs[error.row, targets[error.row]]


def test_unlabelled_pictures_are_left_out_and_rows_still_point_to_the_items(planted):
    items, features, _, wrong = planted
    blank = tuple(Item(f"blank{i}.png", Path(f"blank{i}.png"), None) for i in range(5))
    mixed = blank + items
    errors = find_label_errors(mixed, torch.cat([torch.zeros(5, 6), features]))
    assert {error.row - 5 for error in errors} == wrong
    assert all(mixed[error.row] is error.item for error in errors)


def test_a_class_that_nobody_carries_does_not_disturb(planted):
    items, features, _, wrong = planted
    targets = [NAMES.index(item.label) for item in items]
    probs = np.insert(out_of_fold_probs(features, targets), 1, 0.0, axis=1)
    errors = rank_label_errors(items, probs, ("crack", "dust", "fine", "stain"))
    assert {error.row for error in errors} == wrong


def test_clean_labels_give_nothing():
    features, truth = make_blobs(n_samples=[30, 30], n_features=4, cluster_std=0.3, random_state=1)
    items = [Item(f"{i}.png", Path(f"{i}.png"), NAMES[t]) for i, t in enumerate(truth)]
    assert find_label_errors(items, features) == []


def test_errors_say_what_to_change(planted):
    items, features, _, _ = planted
    with pytest.raises(ValueError, match="119 rows of features for 120 items"):
        find_label_errors(items, features[:-1])
    few = items[:40] + (Item("x.png", Path("x.png"), "rare"),)
    with pytest.raises(ValueError, match="the size of the smallest class, 1; got 5: pass fewer folds"):
        find_label_errors(few, features[:41])
    with pytest.raises(ValueError, match="between 2 and"):
        find_label_errors(items, features, folds=1)
    same = [Item(f"{i}", Path(f"{i}"), "a") for i in range(10)]
    with pytest.raises(ValueError, match="at least two classes"):
        find_label_errors(same, features[:10])
    with pytest.raises(TypeError, match="did you mean 'folds'"):
        find_label_errors(items, features, fold=3)
