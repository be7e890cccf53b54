"""Planted wrong labels are found, others are not; neighbours against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from data_setup.items import Item
from helpers.lessons.audit import find_label_errors, nearest_neighbours, out_of_fold_probs

NAMES = ("crack", "fine", "stain")


# Neighbours -----------------------------------------------------------------------------------------------------


def numbered_items(n):
    return tuple(Item(f"{i}.png", Path(f"{i}.png"), "a") for i in range(n))


def test_neighbours_are_the_largest_cosines():
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    query, items = torch.randn(8, generator=torch.Generator().manual_seed(1)), numbered_items(30)
    cosines = cosine_similarity(query[None], features)[0]
    found = nearest_neighbours(query, features, items, k=5)
    assert [n.item.name for n in found] == [f"{i}.png" for i in np.argsort(-cosines)[:5]]
    np.testing.assert_allclose([n.similarity for n in found], np.sort(cosines)[::-1][:5], rtol=1e-5)
    with_itself = nearest_neighbours(features[4], features, items, k=3)
    assert with_itself[0].item.name == "4.png" and with_itself[0].similarity == pytest.approx(1)
    assert nearest_neighbours(features[4], features, items, k=2, other_than="4.png") == with_itself[1:]
    assert len(nearest_neighbours(features[4], features, items, k=50, other_than="4.png")) == 29
    with pytest.raises(ValueError, match="30 rows of features for 5 items"):
        nearest_neighbours(query, features, items[:5])


# Label errors ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted():
    """Three clear clouds of 40 pictures; six labels are turned into the next class."""
    features, truth = make_blobs(n_samples=[40, 40, 40], n_features=6, cluster_std=1.2, random_state=0)
    wrong = set(np.random.default_rng(0).choice(120, 6, replace=False).tolist())
    given_labels = [(t + 1) % 3 if i in wrong else t for i, t in enumerate(truth.tolist())]
    items = tuple(Item(f"{i:03}.png", Path(f"{i:03}.png"), NAMES[label]) for i, label in enumerate(given_labels))
    return items, torch.from_numpy(features).float(), truth, wrong


def labels_of(items):
    return np.array([NAMES.index(item.label) for item in items])


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
    table, labels = features.numpy(), labels_of(items)
    probs = out_of_fold_probs(features, labels, folds=4, seed=3)
    for train, held_out in StratifiedKFold(4, shuffle=True, random_state=3).split(table, labels):
        scaler = StandardScaler().fit(table[train])
        model = LogisticRegression(C=0.01, max_iter=2000).fit(scaler.transform(table[train]), labels[train])
        np.testing.assert_allclose(probs[held_out], model.predict_proba(scaler.transform(table[held_out])), rtol=1e-4)
    expected = get_label_quality_scores(labels, out_of_fold_probs(features, labels), method="self_confidence")
    for error in find_label_errors(items, features):
        assert error.score == expected[error.row]


def test_near_copies_cannot_vouch_for_each_other(planted):
    """Each wrong label carries a feature of its own and has 24 copies: left apart by the folds, they confirm it."""
    items, features, _, wrong = planted
    own = torch.zeros(len(items), len(wrong))
    for place, row in enumerate(sorted(wrong)):
        own[row, place] = 8.0
    features = torch.cat([features, own], dim=1)
    rows = list(range(120)) + [row for row in sorted(wrong) for _ in range(24)]
    copies = [Item(f"{i:03}.png", Path("x"), items[row].label) for i, row in enumerate(rows)]
    alone = {rows[error.row] for error in find_label_errors(copies, features[rows])}
    groups = [("cell", row) for row in rows]
    grouped = {rows[error.row] for error in find_label_errors(copies, features[rows], groups=groups)}
    assert not alone & wrong
    assert grouped & wrong
    for numbers in (np.array(rows), torch.tensor(rows)):  # no list, and no two elements of a tensor are equal keys
        assert {rows[error.row] for error in find_label_errors(copies, features[rows], groups=numbers)} == grouped
    for other in (groups[:-1], [*groups, ("cell", 0)]):
        with pytest.raises(ValueError, match="groups for .* items"):
            find_label_errors(copies, features[rows], groups=other)


def test_a_class_of_three_pictures_is_searched_in_three_folds(planted):
    """As with 200 classes of ten. Catches five folds taken for granted."""
    items, features, _, _ = planted
    few = [row for row in range(len(items)) if items[row].label == items[0].label][3:]
    rows = sorted({*range(len(items))}.difference(few))
    labels = labels_of([items[row] for row in rows])
    expected = out_of_fold_probs(features[rows], labels, folds=3)
    np.testing.assert_array_equal(out_of_fold_probs(features[rows], labels), expected)


def test_unlabelled_pictures_are_left_out_and_rows_still_point_to_the_items(planted):
    items, features, _, wrong = planted
    blank = tuple(Item(f"blank{i}.png", Path(f"blank{i}.png"), None) for i in range(5))
    mixed = blank + items
    errors = find_label_errors(mixed, torch.cat([torch.zeros(5, 6), features]), groups=list(range(125)))
    assert len({error.row - 5 for error in errors} ^ wrong) <= 1
    assert all(mixed[error.row] is error.item for error in errors)


def test_clean_labels_give_nothing():
    features, truth = make_blobs(n_samples=[30, 30], n_features=4, cluster_std=0.3, random_state=1)
    items = [Item(f"{i}.png", Path(f"{i}.png"), NAMES[t]) for i, t in enumerate(truth)]
    assert find_label_errors(items, features) == []


def test_errors_of_label_errors_say_what_to_change(planted):
    items, features, _, _ = planted
    with pytest.raises(ValueError, match="119 rows of features for 120 items"):
        find_label_errors(items, features[:-1])
    few = items[:40] + (Item("x.png", Path("x.png"), "rare"),)
    with pytest.raises(ValueError, match=r"the smallest class, 1; got 5: pass fewer folds"):
        find_label_errors(few, features[:41], folds=5)
    with pytest.raises(ValueError, match=r"two pictures \(or groups\) of every class, and the smallest has 1: leave"):
        find_label_errors(items, features, groups=[item.label for item in items])
    with pytest.raises(ValueError, match="between 2 and"):
        find_label_errors(items, features, folds=1)
    with pytest.raises(ValueError, match="at least two classes"):
        find_label_errors([Item(f"{i}", Path(f"{i}"), "a") for i in range(10)], features[:10])
    with pytest.raises(TypeError, match="did you mean 'folds'"):
        find_label_errors(items, features, fold=3)
