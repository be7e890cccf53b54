"""The made sets: what is in them, and that they are the same every time."""

from collections import Counter

from PIL import Image

from data_setup.base.files import content_hash
from data_setup.items import label_by_folder, label_by_regex
from data_setup.own.split_file import split_in
from tests.anyset import made
from tests.anyset.made import BREEDS, KIND_SIDES, MARKS, PER_MARK, SIDE, make_breeds, make_kinds, make_marks


def test_the_marks_are_ten_classes_of_small_grey_pictures(tmp_path):
    folder = make_marks(tmp_path / "marks")
    items = label_by_folder(folder)
    assert {item.label for item in items} == set(MARKS) and len(items) == 10 * sum(PER_MARK.values())
    with Image.open(items[0].path) as picture:
        assert (picture.size, picture.mode, picture.format) == ((SIDE, SIDE), "L", "PNG")
    split = split_in(folder, items)
    assert [len(part) for part in (split.train, split.valid, split.test)] == [600, 240, 120]


def test_the_breeds_have_sizes_groups_and_wrong_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "BREED_SIDES", (16, 60))  # nothing here depends on it
    folder = make_breeds(tmp_path / "breeds")
    items = label_by_regex(folder, r"^(.+)_\d+\.jpg$")
    counts = Counter(item.label for item in items)
    assert set(counts) == set(BREEDS) and min(counts.values()) >= 20
    sizes = set()
    for item in items[:40]:
        with Image.open(item.path) as picture:
            sizes.add(picture.size)
            assert (picture.mode, picture.format) == ("RGB", "JPEG")
    assert len(sizes) > 30
    split = split_in(folder, items)
    for part in (split.train, split.valid, split.test):
        assert {name.rpartition("_")[0] for name in part} == set(BREEDS), "a part lacks a class"
    assert len({content_hash(item.path) for item in items}) == len(items)


def test_the_kinds_are_as_many_as_asked_for_and_no_two_are_of_the_same_traits(tmp_path, monkeypatch):
    """On a few of the 200. Catches traits that run out, and a class without a picture."""
    drawn = []
    monkeypatch.setattr(made, "_animal", lambda *given, draw=made._animal: drawn.append(given[0]) or draw(*given))
    monkeypatch.setattr(made, "N_KINDS", 30)
    monkeypatch.setattr(made, "PER_KIND", 3)
    items = label_by_folder(make_kinds(tmp_path / "kinds"))
    assert len({item.label for item in items}) == 30 and len(items) == 90
    assert len(set(drawn)) == 30 and len({content_hash(item.path) for item in items}) == 90
    assert any(not item.path.name.startswith(item.label) for item in items), "some labels are wrong"
    with Image.open(items[0].path) as picture:
        assert all(KIND_SIDES[0] <= side < KIND_SIDES[1] for side in picture.size) and picture.format == "JPEG"
    assert len(made.COATS) * len(made.BODIES) * len(made.COLOURS) * 2 >= 200
