"""Maps as figures: every photograph once, in its group's colour, thumbnails where their points are."""

import numpy as np
import pytest

from data_setup.items import Item
from helpers.lessons.photo_map import doubts_of, draw_map, kinds_of, labels_of, spread_out
from tests.review.made import make_items


@pytest.fixture
def items(tmp_path):
    return make_items(tmp_path / "made", [f"{i:02}.png" for i in range(30)], ["dark", "light", "light"] * 10)


@pytest.fixture
def points():
    return np.random.default_rng(0).random((30, 2))


def test_every_photograph_is_one_point_of_its_group(items, points):
    drawing = draw_map(items, {"features": points}, labels_of(items), thumbnails=4)
    ax = drawing.figure.axes[0]
    offsets = [np.asarray(collection.get_offsets()) for collection in ax.collections]
    assert [len(found) for found in offsets] == [20, 10]  # the larger group first
    light = [n for n, item in enumerate(items) if item.label == "light"]
    np.testing.assert_allclose(offsets[0], points[light])
    assert drawing.text == (
        "A map of 30 photographs (features), alike ones close together, coloured by label: 20 light and 10 dark."
    )
    boxes = [artist.xy for artist in ax.artists]
    np.testing.assert_allclose(boxes, points[spread_out(points, 4)])


def test_before_and_after_show_the_same_photographs(items, points):
    drawing = draw_map(items, {"before": points, "after": 1 - points}, labels_of(items), thumbnails=10)
    before, after = ([np.asarray(artist.xy) for artist in ax.artists] for ax in drawing.figure.axes)
    assert len(before) == 6
    np.testing.assert_allclose(before, 1 - np.asarray(after))
    with pytest.raises(ValueError, match="30 photographs, 30 points of 'before' and 3 groups"):
        draw_map(items, {"before": points}, ["a"] * 3)


def test_points_far_from_each_other_are_chosen():
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
    crowd = 0.5 + 0.01 * np.random.default_rng(1).random((50, 2))
    chosen = spread_out(np.concatenate([crowd, corners]), 5)
    assert set(chosen[1:]) == {50, 51, 52, 53} and chosen[0] < 50
    assert sorted(spread_out(corners, 20)) == [0, 1, 2, 3] and spread_out(np.zeros((0, 2)), 5) == []


def test_kind_and_doubt_are_read_from_name_and_table(tmp_path, course_data):
    folder = course_data / "solar"
    folder.mkdir(parents=True)
    rows = ["train/a/mono_a_0001.png,a,mono,0.0", "train/a/poly_a_0002.png,a,poly,0.3333333333333333"]
    rows += ["valid/b/mono_b_0003.png,b,mono,1.0"]
    (folder / "labels.csv").write_text("\n".join(["name,label,type,probability", *rows]))
    items = [Item(name, folder / name, "a") for name in (row.partition(",")[0] for row in rows)]
    assert kinds_of(items) == ["mono", "poly", "mono"]
    assert doubts_of(items) == ["surely functional", "unsure", "surely defective"]
