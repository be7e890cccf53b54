"""Planted copies are found, other pictures are not, and those across the split come first."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import helpers.analysis.duplicates
from helpers.analysis.duplicates import _close_hashes, difference_hash, find_duplicates
from helpers.data.items import Item
from helpers.data.splits import Split


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
    found = find_duplicates(items_in(folder))
    assert [(d.first.name, d.second.name, d.kind) for d in found] == [
        ("03.png", "again.png", "exact"),
        ("05.png", "other_format.bmp", "exact"),
        ("07.png", "worse.jpg", "near"),
    ]
    assert found[2].bits <= 10
    assert 0.995 <= found[2].similarity < 1
    assert not any(d.across_split for d in found)


def test_those_across_the_split_come_first_and_say_so(folder):
    items = items_in(folder, {"worse.jpg": "b"})
    names = {item.name for item in items}
    split = Split(tuple(names - {"worse.jpg", "00.png"}), ("worse.jpg", "00.png"))
    found = find_duplicates(items, split)
    assert [(d.second.name, d.across_split) for d in found] == [
        ("worse.jpg", True),
        ("again.png", False),
        ("other_format.bmp", False),
    ]
    assert not found[0].same_label
    assert (
        found[0].text == f"07.png and worse.jpg: near, similarity {found[0].similarity:.3f}, "
        "one trains and the other judges, labelled a and b"
    )
    assert found[1].text == "03.png and again.png: exact, similarity 1.000"


def test_a_group_of_copies_starts_from_the_training_picture(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        scene(0).save(tmp_path / name)
    found = find_duplicates(items_in(tmp_path), Split(("b.png",), ("a.png",), ("c.png",)))
    assert [(d.first.name, d.second.name, d.across_split) for d in found] == [
        ("b.png", "a.png", True),
        ("b.png", "c.png", True),
    ]


def test_features_confirm_when_they_are_given(folder):
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


@settings(max_examples=25)
@given(st.integers(1, 25), st.integers(0, 64), st.integers(0, 99), st.sampled_from([4, 1024]))
def test_close_hashes_by_brute_force(n, max_bits, seed, block):
    hashes = np.random.default_rng(seed).random((n, 64)) < 0.5
    expected = {(i, j, int((hashes[i] != hashes[j]).sum())) for i in range(n) for j in range(i + 1, n)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(helpers.analysis.duplicates, "BLOCK", block)
        found = list(_close_hashes(hashes, max_bits))
    assert len(found) == len(set(found))
    assert set(found) == {pair for pair in expected if pair[2] <= max_bits}


def test_difference_hash_survives_exposure_size_and_colour_mode():
    image = scene(1)
    hashed = difference_hash(image)
    assert hashed.shape == (64,)
    assert hashed.dtype == bool
    for changed in (image.resize((60, 50)), image.point(lambda grey: grey * 0.7), image.convert("RGB")):
        assert (difference_hash(changed) != hashed).sum() <= 4
    assert (difference_hash(scene(2)) != hashed).sum() > 10
    ramp = Image.fromarray(np.tile(np.arange(90, dtype=np.uint8), (80, 1)))
    assert difference_hash(ramp).all(), "every cell is brighter than its left neighbour"


def test_errors_say_what_to_change(folder, monkeypatch):
    items = items_in(folder)
    with pytest.raises(ValueError, match="3 rows of features for 15 items"):
        find_duplicates(items, features=torch.zeros(3, 2))
    monkeypatch.setattr(helpers.analysis.duplicates, "MOST_CANDIDATES", 10)
    with pytest.raises(ValueError, match="max_bits=64 proposes more than 10 pairs of 13 pictures; lower it"):
        find_duplicates(items, max_bits=64)
    with pytest.raises(TypeError, match="did you mean 'max_bits'"):
        find_duplicates(items, max_bit=3)
    assert find_duplicates(()) == []


def test_nothing_is_written(folder):
    before = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    find_duplicates(items_in(folder))
    assert before == {path.name: path.read_bytes() for path in Path(folder).iterdir()}
