"""Nearest neighbours against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

import helpers.analysis.neighbours
from helpers.analysis.neighbours import nearest_neighbours, unit_rows
from helpers.data.items import Item


def items_of(n):
    return tuple(Item(f"{i}.png", Path(f"{i}.png"), "a") for i in range(n))


def random_features(n, width=8, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("block", [3, 1024])
def test_neighbours_are_the_largest_cosines(block, monkeypatch):
    monkeypatch.setattr(helpers.analysis.neighbours, "BLOCK", block)
    features, queries = random_features(30), random_features(7, seed=1)
    cosine = cosine_similarity(queries, features)
    found = nearest_neighbours(queries, features, items_of(30), k=5)
    for row, near in zip(cosine, found, strict=True):
        assert [n.item.name for n in near] == [f"{i}.png" for i in np.argsort(-row)[:5]]
        np.testing.assert_allclose([n.similarity for n in near], np.sort(row)[::-1][:5], rtol=1e-5)


def test_no_picture_is_its_own_neighbour():
    features, items = random_features(10), items_of(10)
    with_self = nearest_neighbours(features[4:5], features, items, k=2)[0]
    without = nearest_neighbours(features[4:5], features, items, k=2, own_names=["4.png"])[0]
    assert with_self[0].item.name == "4.png"
    assert without[0] == with_self[1]
    assert len(without) == 2
    others = nearest_neighbours(features, features, items, k=50, own_names=[item.name for item in items])
    assert [len(near) for near in others] == [9] * 10


def test_arrays_do_as_well_and_zeros_stay_zero():
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(rows, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_errors_say_what_does_not_fit():
    with pytest.raises(ValueError, match="4 rows of features for 5 items"):
        nearest_neighbours(random_features(1), random_features(4), items_of(5))
    with pytest.raises(ValueError, match="got 6 for queries and 8 for items"):
        nearest_neighbours(random_features(1, width=6), random_features(4), items_of(4))
    with pytest.raises(ValueError, match=r"got shape \(8,\)"):
        nearest_neighbours(random_features(1)[0], random_features(4), items_of(4))
    with pytest.raises(ValueError, match="1 own_names for 2 queries"):
        nearest_neighbours(random_features(2), random_features(4), items_of(4), own_names=["0.png"])
    with pytest.raises(ValueError, match="at least 1; got 0"):
        nearest_neighbours(random_features(2), random_features(4), items_of(4), k=0)
