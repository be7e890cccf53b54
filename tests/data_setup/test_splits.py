"""Splits: who trains and who validates depends on names and seed alone, and nobody does both."""

import hashlib
from collections import Counter
from math import ceil, floor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_setup.items import Item, label_by_folder, label_by_regex
from data_setup.splits import Split, ranked, split_by_folder, split_by_group, split_stratified, stratified

QUICK = settings(max_examples=40, deadline=None)
ANY_SIZES = st.lists(st.integers(1, 30), min_size=2, max_size=6)  # pictures per class


def items_of(*sizes, unlabelled=0):
    """Items a/000, a/001 ... b/000 ...: `sizes` pictures per class."""
    items = [
        Item(f"{label}/{i:03}", Path("x"), label) for label, n in zip("abcdefg", sizes, strict=False) for i in range(n)
    ]
    return items + [Item(f"unknown/{i:03}", Path("x"), None) for i in range(unlabelled)]


def shares(split, part):
    return Counter(name[0] for name in getattr(split, part))


# The record ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts", [(["a", "b"], ["b"]), (["a"], ["b"], ["a"]), (["a"], ["b"], ["b"]), (["a", "a"], ["b"])]
)
def test_no_picture_stands_twice(parts):
    """Catches a picture that trains and validates, or counts twice in one part."""
    with pytest.raises(ValueError, match="1 picture in the split more than once, e.g. [ab]; each picture trains"):
        Split(*map(tuple, parts))


def test_the_digest_depends_on_the_parts_and_not_on_the_order():
    """Catches a digest that calls the same split different, or two splits the same when only the part changed."""
    split = Split(("b", "a"), ("c",), ("d",))
    assert split.train == ("a", "b")
    assert split.digest() == Split(("a", "b"), ("c",), ("d",)).digest()
    others = [Split(("a",), ("b", "c"), ("d",)), Split(("a", "b"), ("c", "d")), Split(("a", "b"), ("d",), ("c",))]
    assert len({split.digest(), *(other.digest() for other in others)}) == 4


def test_a_part_of_a_split_keeps_everybody_on_their_side():
    """Catches a picture that validated and trains after another was left out."""
    assert Split(("a", "b"), ("c", "d"), ("e",)).of({"b", "c", "e", "x"}) == Split(("b",), ("c",), ("e",))


# By strata: names and seed alone ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    frac=st.sampled_from([0.1, 0.25, 0.4, 0.5]),
    seed=st.integers(0, 9),
    shuffle=st.randoms(),
)
def test_every_stratum_gives_its_share_in_any_order(sizes, frac, seed, shuffle):
    """Catches a stratum that is left out or taken whole, shares that drift, and a split that knows the order."""
    strata = {f"{kind}-{n}.png": kind for kind, size in enumerate(sizes) for n in range(size)}
    chosen = stratified(strata, frac=frac, seed=seed)
    for kind, size in enumerate(sizes):
        taken = sum(strata[name] == kind for name in chosen)
        fair = {floor(size * frac), ceil(size * frac)} if size * frac >= 1 else {min(1, size - 1)}
        assert taken in fair and taken < size
    names = list(strata)
    shuffle.shuffle(names)
    assert stratified({name: strata[name] for name in names}, frac=frac, seed=seed) == chosen


def test_large_strata_add_up_exactly():
    """Catches shares that are all rounded down."""
    strata = {f"{n}.png": n % 7 for n in range(1003)}
    assert len(stratified(strata, frac=0.25, seed=0)) == round(1003 * 0.25)


def test_the_rank_is_sha256_of_seed_and_name():
    """Catches an order that depends on the machine or on Python's own hash."""
    names = [f"{n}.png" for n in range(50)]
    assert ranked(names, 3) == sorted(names, key=lambda name: hashlib.sha256(f"3/{name}".encode()).digest())
    assert ranked(names, 3) != ranked(names, 4)


# At random -----------------------------------------------------------------------------------------------------


@QUICK
@given(ANY_SIZES, st.floats(0.01, 0.99), st.integers(0, 5), st.randoms())
def test_a_stratified_split_covers_everything_and_keeps_the_shares(sizes, valid_frac, seed, random):
    """Catches lost pictures, a class missing on one side, shares that drift, and an influence of the order."""
    items = items_of(*sizes, unlabelled=2)
    if max(sizes) == 1:  # nothing can be held out
        with pytest.raises(ValueError, match="leaves .* pictures to train on and 0 to validate on; both need some"):
            split_stratified(items, valid_frac=valid_frac, seed=seed)
        return
    split = split_stratified(items, valid_frac=valid_frac, seed=seed)
    assert sorted(split.train + split.valid + split.test) == sorted(item.name for item in items)
    assert split.test == ("unknown/000", "unknown/001")
    for label, n in zip("abcdef", sizes, strict=False):
        n_valid = shares(split, "valid")[label]
        assert abs(n_valid - n * valid_frac) < 1 or n_valid in (1, n - 1)
        assert (n_valid >= 1 and n - n_valid >= 1) if n > 1 else n_valid == 0
    random.shuffle(items)
    assert split_stratified(items, valid_frac=valid_frac, seed=seed) == split


@QUICK
@given(ANY_SIZES, st.integers(1, 20), st.integers(0, 3))
def test_pictures_added_to_another_class_move_at_most_one(sizes, added, seed):
    """Catches a split drawn from one sequence of random numbers: every new file would reshuffle all classes."""
    before = split_stratified(items_of(10, *sizes), seed=seed)
    after = split_stratified(items_of(10, *[n + added for n in sizes]), seed=seed)
    mine = [{name for name in split.valid if name[0] == "a"} for split in (before, after)]
    assert len(mine[0] ^ mine[1]) <= 1


def test_a_picture_added_to_its_own_class_moves_at_most_one():
    """Catches a reshuffle of the whole class by one new picture."""
    before, after = (set(split_stratified(items_of(n, 5)).valid) for n in (40, 41))
    assert len(before - after) <= 1


def test_the_order_of_the_directory_does_not_matter(tmp_path, monkeypatch):
    """Catches a split that another machine's disk draws differently (fastai: same seed, other split)."""
    for name in items_of(8, 8):
        (tmp_path / name.name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name.name}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    expected = split_stratified(label_by_folder(tmp_path))
    listing = Path.iterdir
    monkeypatch.setattr(
        Path, "iterdir", lambda self: sorted(listing(self), key=lambda path: str(path)[::-1], reverse=True)
    )
    assert split_stratified(label_by_folder(tmp_path)) == expected


def test_another_seed_is_another_split_and_chance_is_fair():
    """Catches a seed that is ignored, and a picture that always validates."""
    items = items_of(20, 20)
    splits = [split_stratified(items, seed=seed) for seed in range(60)]
    assert len({split.digest() for split in splits}) == 60
    times = Counter(name for split in splits for name in split.valid)
    assert len(times) == 40 and max(times.values()) <= 30  # 15 expected; binomial(60, 1/4) above 30: 1 in 100,000


@pytest.mark.parametrize("valid_frac", [0, 1, -0.1, 25])
def test_a_share_outside_0_to_1_is_refused(valid_frac):
    """Catches 25 taken for a quarter, and 0 that leaves nobody to validate on."""
    for split in (split_stratified, lambda items, **k: split_by_group(items, lambda item: item.name[-1], **k)):
        with pytest.raises(ValueError, match=f"valid_frac is a share, between 0 and 1; got {valid_frac}"):
            split(items_of(5, 5), valid_frac=valid_frac)


def test_pictures_below_test_never_train_nor_validate():
    """Catches a declared test set that leaks into the training part because it has labels."""
    items = [*items_of(6, 6), *(Item(f"test/{label}/{i}", Path("x"), label) for label in "ab" for i in range(4))]
    tested = {item.name for item in items if item.name.startswith("test/")}
    for split in (split_stratified(items), split_by_group(items, lambda item: item.name)):
        assert set(split.test) == tested


# By folder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_folders_decide(valid):
    """Catches val/ and validation/ not known as valid, and other folders trained on."""
    names = ["train/a/1", "train/b/1", f"{valid}/a/2", "test/3", "sample/train/a/9"]
    split = split_by_folder([Item(name, Path("x"), "a") for name in names])
    assert split == Split(("train/a/1", "train/b/1"), (f"{valid}/a/2",), ("test/3",))


def test_without_a_valid_folder_a_share_of_train_validates():
    """Catches an error for the train/ + test/ layout, and test pictures drawn for validation."""
    items = [Item(f"train/{item.name}", Path("x"), item.label) for item in items_of(8, 8)]
    split = split_by_folder([*items, Item("test/1", Path("x"), "a")], valid_frac=0.25, seed=3)
    assert split == Split(*(getattr(split_stratified(items, seed=3), part) for part in ("train", "valid")), ("test/1",))


def test_a_missing_train_folder_is_reported_with_what_is_there():
    """Catches an empty training part."""
    with pytest.raises(ValueError, match="needs the folders train and valid; found cat, dog. Use split_stratified"):
        split_by_folder([Item("cat/1", Path("x"), "cat"), Item("dog/1", Path("x"), "dog")])


def test_folders_decide_for_labels_from_names_too(tmp_path):
    """Catches a split by folder that only works with class folders inside."""
    for name in ("train/cat_1.png", "train/dog_2.png", "valid/cat_3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    assert split_by_folder(label_by_regex(tmp_path, "(cat|dog)")).valid == ("valid/cat_3.png",)


# By group ------------------------------------------------------------------------------------------------------


@QUICK
@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.floats(0.05, 0.95), st.integers(0, 3))
def test_a_group_is_never_divided_and_the_share_is_near(sizes, valid_frac, seed):
    """Catches pictures of one animal on both sides, and one large group that turns 25 % into 90 %."""
    items = [Item(f"{g}-{i}", Path("x"), "ab"[i % 2]) for g, n in enumerate(sizes) for i in range(n)]
    split = split_by_group(items, lambda item: item.name.split("-")[0], valid_frac=valid_frac, seed=seed)
    groups = [{name.split("-")[0] for name in part} for part in (split.train, split.valid)]
    assert not groups[0] & groups[1] and len(groups[0] | groups[1]) == len(sizes)
    assert len(split.train) + len(split.valid) == sum(sizes)
    wanted = valid_frac * sum(sizes)
    assert len(split.valid) - wanted <= max(max(sizes) / 2, min(sizes))  # half a group too many, or the smallest one
    assert wanted - len(split.valid) <= max(sizes)
    assert split_by_group(items[::-1], lambda item: item.name.split("-")[0], valid_frac=valid_frac, seed=seed) == split


def test_pictures_without_a_label_are_not_put_into_a_group():
    """Catches a training part with pictures that have no target."""
    items = items_of(4, 4, unlabelled=3)
    split = split_by_group(items, lambda item: item.name[-1])
    assert len(split.test) == 3 and not {name for name in split.train + split.valid if name.startswith("unknown")}


def test_one_group_cannot_be_split():
    """Catches an empty part that only fails after the first epoch."""
    with pytest.raises(ValueError, match="leaves 8 pictures to train on and 0 to validate on"):
        split_by_group(items_of(4, 4), lambda item: "the same module")
