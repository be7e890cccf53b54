"""Planted copies are found, other pictures are not; near pairs by brute force."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

from data_setup.items import Item
from data_setup.splits import Split
from helpers.lessons import find_duplicates
from helpers.lessons.duplicates import near_pairs


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


def test_flat_pictures_are_only_the_same_when_every_pixel_is(tmp_path):
    for name, grey in (("a.png", 10), ("b.png", 200), ("c.png", 10)):
        Image.new("L", (20, 20), grey).save(tmp_path / name)
    assert [(d.first.name, d.second.name) for d in find_duplicates(items_in(tmp_path))] == [("a.png", "c.png")]


@settings(max_examples=25)
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


ALIKE = """
import resource
import numpy as np
import torch
from helpers.lessons.duplicates import near_pairs

rng = np.random.default_rng(0)
table = torch.from_numpy((rng.normal(size=16) + 0.01 * rng.normal(size=(20_000, 16))).astype(np.float32))
table[7] = table[15_000] * 1.3
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = near_pairs(table, 15_000, 0.995)
assert 10_000 <= len(found) <= 25_000
assert any((i, j) == (7, 15_000) and s > 0.9999 for i, j, s in found)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000, "kB; all similarities take 1.6 GB"
"""


@pytest.mark.alone
def test_twenty_thousand_pictures_that_all_look_alike_are_searched_in_bounded_memory():
    """Every pair is a candidate here: 200 million, of which each picture may name one (a process of its own)."""
    done = subprocess.run([sys.executable, "-c", ALIKE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_errors_of_duplicates_say_what_to_change(folder):
    items = items_in(folder)
    with pytest.raises(ValueError, match="at most 1, such as 0.98; got 98"):
        find_duplicates(items, min_similarity=98)
    with pytest.raises(TypeError, match="did you mean 'min_similarity'"):
        find_duplicates(items, min_similar=3)
    assert find_duplicates(()) == []
