"""Planted copies and planted wrong labels are found, other pictures are not; neighbours against scikit-learn."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from helpers.analysis.audit import (
    find_duplicates,
    find_label_errors,
    near_pairs,
    nearest_neighbours,
    out_of_fold_probs,
)
from helpers.data.items import Item
from helpers.data.splits import Split

NAMES = ("crack", "fine", "stain")


# Duplicates -----------------------------------------------------------------------------------------------------


def scene(seed: int) -> Image.Image:
    """Soft random shapes in grey, 120 x 100."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 8), dtype=np.uint8)
    return Image.fromarray(coarse).resize((120, 100), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """Twelve different pictures; copies of three: renamed, in another format, and a darker, smaller JPEG."""
    for i in range(12):
        scene(i).save(tmp_path / f"{i:02}.png")
    scene(3).save(tmp_path / "again.png", compress_level=1)
    scene(5).save(tmp_path / "other_format.bmp")
    scene(7).resize((90, 75)).point(lambda grey: grey * 0.8).save(tmp_path / "worse.jpg", quality=70)
    return tmp_path


def items_in(folder, labels=None):
    return tuple(Item(path.name, path, (labels or {}).get(path.name, "a")) for path in sorted(folder.iterdir()))


def test_planted_copies_are_found_and_nothing_else(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = find_duplicates(items_in(folder))
    assert [(d.first.name, d.second.name, d.kind) for d in found] == [
        ("03.png", "again.png", "exact"),
        ("05.png", "other_format.bmp", "exact"),
        ("07.png", "worse.jpg", "near"),
    ]
    assert 0.995 <= found[2].similarity < 1
    assert not any(d.across_split for d in found)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}, "nothing is written"


def test_those_across_the_split_come_first_and_say_so(folder):
    items = items_in(folder, {"worse.jpg": "b"})
    names = {item.name for item in items}
    found = find_duplicates(items, Split(tuple(names - {"worse.jpg", "00.png"}), ("worse.jpg", "00.png")))
    assert [(d.second.name, d.across_split) for d in found] == [
        ("worse.jpg", True),
        ("again.png", False),
        ("other_format.bmp", False),
    ]
    assert found[0].text == (
        f"07.png and worse.jpg: near, similarity {found[0].similarity:.3f}, "
        "one is in training, the other in validation, labelled a and b"
    )
    assert [d.same_label for d in found] == [False, True, True]
    assert found[1].text == "03.png and again.png: exact, similarity 1.000"


def test_a_group_of_copies_starts_from_the_training_picture(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        scene(0).save(tmp_path / name)
    found = find_duplicates(items_in(tmp_path), Split(("b.png",), ("a.png",), ("c.png",)))
    assert [(d.first.name, d.second.name, d.across_split) for d in found] == [
        ("b.png", "a.png", True),
        ("b.png", "c.png", True),
    ]
    assert "one is in training, the other in the test part" in found[1].text


def test_features_decide_when_they_are_given(folder):
    items = items_in(folder)
    features = torch.eye(len(items))
    assert [d.kind for d in find_duplicates(items, features=features)] == ["exact", "exact"]
    rows = [item.name for item in items]
    features[rows.index("worse.jpg")] = features[rows.index("07.png")] + 0.1 * features[rows.index("00.png")]
    near = find_duplicates(items, features=features)[-1]
    assert (near.first.name, near.second.name) == ("07.png", "worse.jpg")
    assert near.similarity == pytest.approx(1 / np.sqrt(1.01))
    assert len(find_duplicates(items, features=features, min_similarity=0.999)) == 2


def test_flat_pictures_are_only_the_same_when_every_pixel_is(tmp_path):
    for name, grey in (("a.png", 10), ("b.png", 200), ("c.png", 10)):
        Image.new("L", (20, 20), grey).save(tmp_path / name)
    assert [(d.first.name, d.second.name) for d in find_duplicates(items_in(tmp_path))] == [("a.png", "c.png")]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 20), st.integers(0, 20), st.integers(0, 99))
def test_near_pairs_by_brute_force(n, n_train, seed):
    table = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 3)))
    n_train = min(n_train, n)
    cosines = cosine_similarity(table)
    np.fill_diagonal(cosines, -2)
    partners = [(i, int(cosines[i].argmax())) for i in range(n)]
    partners += [(i, int(cosines[i, :n_train].argmax())) for i in range(n_train, n) if n_train]
    expected = {tuple(sorted(pair)) for pair in partners if cosines[pair] >= 0.9}
    found = near_pairs(table, n_train, 0.9)
    assert {(i, j) for i, j, _ in found} == expected and len(found) == len(expected)
    for i, j, similarity in found:
        assert similarity == pytest.approx(cosines[i, j], abs=1e-5)


def test_twenty_thousand_pictures_that_all_look_alike_are_searched_in_bounded_memory():
    """Every pair is a candidate here: 200 million, of which each picture may name one."""
    rng = np.random.default_rng(0)
    table = torch.from_numpy((rng.normal(size=16) + 0.01 * rng.normal(size=(20_000, 16))).astype(np.float32))
    table[7] = table[15_000] * 1.3
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = near_pairs(table, 15_000, 0.995)
    assert 10_000 <= len(found) <= 25_000
    assert any((i, j) == (7, 15_000) and s > 0.9999 for i, j, s in found)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000, "kB; all similarities take 1.6 GB"


def test_errors_of_duplicates_say_what_to_change(folder):
    items = items_in(folder)
    with pytest.raises(ValueError, match="3 rows of features for 15 items"):
        find_duplicates(items, features=torch.zeros(3, 2))
    with pytest.raises(TypeError, match="did you mean 'min_similarity'"):
        find_duplicates(items, min_similar=3)
    assert find_duplicates(()) == []


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
        find_label_errors(few, features[:41])
    with pytest.raises(ValueError, match=r"the smallest class, 1; got 5"):
        find_label_errors(items, features, groups=[item.label for item in items])
    with pytest.raises(ValueError, match="between 2 and"):
        find_label_errors(items, features, folds=1)
    with pytest.raises(ValueError, match="at least two classes"):
        find_label_errors([Item(f"{i}", Path(f"{i}"), "a") for i in range(10)], features[:10])
    with pytest.raises(TypeError, match="did you mean 'folds'"):
        find_label_errors(items, features, fold=3)
