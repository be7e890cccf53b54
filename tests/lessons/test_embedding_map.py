"""The map: points where they belong, a lasso that takes what it goes round, and the browser below that shows it."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.lessons.embedding_map import SHAPES, EmbeddingMap, draw_points, embed_2d, inside, with_thumbnails
from helpers.review.browsers import LabelBrowser, MistakeBrowser
from helpers.review.rows import rows_from_items
from helpers.runtime.seeds import generator
from tests.review.made import alts, check_page, make_items, make_predictions


def two_groups(n):
    """(features (n, 8), which group): every second row far from the others."""
    which = torch.arange(n) % 2
    return torch.randn(n, 8, generator=generator("map")) + 20 * which[:, None], which.numpy().astype(bool)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_what_is_alike_lies_together(method):
    features, second = two_groups(40)
    points = embed_2d(features, method=method)
    assert points.shape == (40, 2) and points.min() == 0 and points.max() == 1
    centres = points[second].mean(axis=0), points[~second].mean(axis=0)
    away = [np.linalg.norm(points - centre, axis=1) for centre in centres]
    assert ((away[0] < away[1]) == second).all()
    np.testing.assert_array_equal(points, embed_2d(features, method=method))  # the same every time


@pytest.mark.parametrize(
    ("shape", "method", "sentence"),
    [((2, 8), "tsne", "at least 3 pictures; got 2"), ((9, 8), "umap", "'tsne' or 'pca'; got 'umap'")],
)
def test_what_cannot_be_mapped_says_so(shape, method, sentence):
    with pytest.raises(ValueError, match=sentence):
        embed_2d(torch.zeros(shape), method=method)


def test_equal_pictures_and_features_of_one_number_are_mapped_too():
    assert np.isfinite(embed_2d(torch.ones(9, 4))).all()
    assert embed_2d(torch.arange(9.0)[:, None], method="pca").shape == (9, 2)


@given(
    st.tuples(*[st.floats(0, 1)] * 4).map(sorted), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=20)
)
def test_a_rectangle_holds_what_lies_between_its_sides(sides, points):
    left, right, top, bottom = sides[0], sides[3], sides[1], sides[2]
    points = np.array(points or [(0.5, 0.5)])
    x, y = points.T
    found = inside(points, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]))
    between = (left < x) & (x < right) & (top < y) & (y < bottom)
    on_edge = np.isin(x, [left, right]) | np.isin(y, [top, bottom])
    assert (found == between)[~on_edge].all()


def test_a_lasso_need_not_be_convex():
    corners = np.array([(0, 0), (1, 0), (1, 1), (0.5, 0.2), (0, 1)])  # a notch from below
    np.testing.assert_array_equal(inside(np.array([(0.1, 0.5), (0.5, 0.5), (0.9, 0.5)]), corners), [True, False, True])


@pytest.fixture
def mapped(tmp_path):
    items = make_items(tmp_path / "made", [f"{i:02}.png" for i in range(30)], ["dark", "light"] * 15)
    browser = MistakeBrowser(make_predictions(items, ("dark", "light")), save_to=None)
    return EmbeddingMap(browser, two_groups(30)[0], method="pca")


def lasso(mapped, corners):
    mapped.keyboard._handle_custom_msg({"lasso": corners}, [])


def shown(mapped):
    return {mapped.browser.review.view[n].name for n in mapped.browser.review.order}


def test_the_lasso_opens_its_pictures_in_the_browser_and_show_all_opens_all(mapped):
    lasso(mapped, [[0, 0], [0.5, 0], [0.5, 1], [0, 1]])
    expected = {row.name for row, (x, _) in zip(mapped.rows, mapped.points, strict=True) if x < 0.5}
    assert shown(mapped) == expected and len(expected) == 15
    assert "15 pictures selected." in mapped.said.value
    x, y = mapped.points[7]
    lasso(mapped, [[x + 0.001, y]])  # a click
    assert shown(mapped) == {mapped.rows[7].name}
    lasso(mapped, [[0, 0], [0.001, 0.1], [0, 0.1]])  # round nothing: all
    mapped.show_all.click()
    assert len(shown(mapped)) == 30


def test_colours_say_label_prediction_or_loss(mapped):
    assert "by label: ● dark (15), ■ light (15)." in repr(mapped)
    answers = [row.predicted for row in mapped.rows]
    mapped.colour.value = "prediction"
    assert f"● dark ({answers.count('dark')})" in repr(mapped)
    mapped.colour.value = "loss"
    sure = sum(row.loss < 0.105 for row in mapped.rows)
    assert (f"p above 0.9 ({sure})" in repr(mapped)) == bool(sure)
    assert alts(mapped.face()[1])[0].startswith("Map of 30 pictures by loss")
    check_page(mapped.face()[1])


def test_more_classes_than_signs_become_one_group(tmp_path):
    labels = [f"class {n % 10}" for n in range(30)]
    items = make_items(tmp_path / "many", [f"{n:02}.png" for n in range(30)], labels)
    mapped = EmbeddingMap(LabelBrowser(items, save_to=None), two_groups(30)[0], method="pca")
    assert f"other classes ({30 - 3 * (len(SHAPES) - 1)})" in repr(mapped)
    assert [value for _, value in mapped.colour.options] == ["label"]
    with pytest.raises(ValueError, match="got 3 rows of features for 30 pictures"):
        EmbeddingMap(mapped.browser, torch.zeros(3, 8))


def test_groups_of_ones_own_colour_the_map(mapped):
    words = ["mono", "poly", "poly"] * 10
    own = EmbeddingMap(mapped.browser, two_groups(30)[0], groups={"kind": words}, method="pca")
    own.colour.value = "kind"
    assert "by kind: ● mono (10), ■ poly (20)." in repr(own)
    with pytest.raises(ValueError, match=r"groups\['kind'\] has 2 words for 30 pictures"):
        EmbeddingMap(mapped.browser, two_groups(30)[0], groups={"kind": ["mono", "poly"]})


def test_without_a_kernel_thumbnails_lie_at_their_points(tmp_path):
    items = make_items(tmp_path / "made", [f"{i}.png" for i in range(4)], ["dark", "light"] * 2)
    items[0].path.write_bytes(b"no picture")  # is left out
    rows = rows_from_items(items)
    points = np.array([(0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)])
    empty = draw_points(np.zeros((0, 2)), [], np.zeros(0, bool))
    pictured = np.asarray(Image.open(io.BytesIO(with_thumbnails(empty, points, rows))).convert("L"))
    height, width = pictured.shape
    for row, (x, y) in enumerate(points):
        around = pictured[int(y * height) - 26 : int(y * height) + 26, int(x * width) - 26 : int(x * width) + 26]
        assert (around == 255).all() == (row == 0)


def test_every_sign_is_drawn_where_its_point_is():
    points = np.array([(0.1 + 0.12 * n, 0.5) for n in range(len(SHAPES))])
    signs = [(sign, "#025A96") for sign in SHAPES]
    image = Image.open(io.BytesIO(draw_points(points, signs, np.zeros(len(SHAPES), bool)))).convert("L")
    pixels = np.asarray(image) < 200
    width = pixels.shape[1]
    for x, _ in points:
        near = pixels[:, int((x - 0.05) * width) : int((x + 0.05) * width)]
        rows, columns = np.nonzero(near)
        assert len(rows) > 20
        assert abs(rows.mean() - pixels.shape[0] / 2) < 3 and abs(columns.mean() - near.shape[1] / 2) < 3
