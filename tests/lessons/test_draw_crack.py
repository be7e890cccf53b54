"""A drawn crack: as wide and as dark as asked, and the model's answer to it is the one it gives to a file."""

import numpy as np
import pytest
from PIL import Image

from helpers.lessons.draw_crack import DARKNESS, CrackPainter, crack_table, p_of, show_crack_table, with_line
from tests.review.made import alts, check_page


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_level_line_is_as_wide_and_as_dark_as_asked(width):
    image = Image.new("L", (100, 100), 200)
    drawn = np.asarray(with_line(image, width, [(0.1, 0.505), (0.9, 0.505)]), dtype=float)
    lost = (200 - drawn[:, 50]) / (200 * (1 - DARKNESS))  # how much of each pixel is covered
    assert lost.sum() == pytest.approx(width, abs=0.3)
    assert abs((lost * np.arange(100)).sum() / lost.sum() - 50) < 0.6
    assert (drawn[:, 5] == 200).all()
    assert image.getextrema() == (200, 200)  # the picture given is left as it was


def test_no_width_changes_nothing_and_a_negative_one_is_refused(data):
    path = data.items[0].path
    np.testing.assert_array_equal(with_line(path, 0), Image.open(path).convert("L"))
    with pytest.raises(ValueError, match="0 or more pixels wide; got -1"):
        with_line(path, -1)


def test_the_answer_is_the_one_to_a_file(learn):
    item = learn.data.items[5]
    image = Image.open(item.path).convert("L")
    image.save(item.path)
    expected = learn.get_preds([item]).probs[0].tolist()
    assert p_of(learn, [image])[0] == pytest.approx(expected[0], abs=1e-5)
    assert p_of(learn, [image], positive="light")[0] == pytest.approx(expected[1], abs=1e-5)


def test_the_table_has_a_probability_for_each_width_and_size(learn):
    table = crack_table(learn, 3, widths=(0, 4), sizes=(32, 48))
    path = learn.data.items[3].path
    assert list(table) == [32, 48]
    for size, row in table.items():
        assert row == pytest.approx([p_of(learn, [with_line(path, width)], size=size)[0] for width in (0, 4)], abs=1e-5)
    assert table[32] != table[48]
    drawing = show_crack_table(learn, 3, widths=(0, 4), sizes=(32, 48))
    words = [text.get_text() for text in drawing.figure.axes[0].texts]
    for row in table.values():
        assert all(f"{p:.2f}" in words for p in row)


def test_several_photographs_give_their_mean(learn):
    """Catches the photographs and the widths mixed up, and a first photograph that stands for all of them."""
    chosen = [learn.data.items[3], learn.data.items[11].name, 7]
    table = crack_table(learn, chosen, widths=(0, 4), sizes=(32,))
    single = [crack_table(learn, item, widths=(0, 4), sizes=(32,))[32] for item in chosen]
    assert table[32] == pytest.approx(np.mean(single, axis=0).tolist(), abs=1e-5)
    drawing = show_crack_table(learn, chosen, widths=(0, 4), sizes=(32,))
    assert "the mean of 3 photographs" in drawing.text and learn.data.items[3].name in drawing.text
    assert "the mean of" not in show_crack_table(learn, 3, widths=(0, 4), sizes=(32,)).text
    with pytest.raises(ValueError, match="no photograph to draw on"):
        crack_table(learn, [])


def test_painting_asks_the_model_again_and_clear_takes_it_back(learn):
    painter = CrackPainter(learn, 3)
    assert painter.p == painter.before and "with 0 strokes" in painter.said.value
    painter.width.value = 9
    assert painter.canvas.width == 9
    points = [[0.1, 0.1], [0.5, 0.6], [0.9, 0.9]]
    painter.canvas.strokes = [{"width": 30.0, "points": points}]
    image = Image.open(learn.data.items[3].path).convert("L")
    expected = with_line(image, 30 * image.width / 300, points)
    np.testing.assert_array_equal(painter.picture, expected)
    assert painter.p == pytest.approx(p_of(learn, [expected])[0]) and "with 1 stroke," in painter.said.value
    before = painter.before
    learn.model.head[-1].weight.data.neg_()  # every answer turns round
    painter.canvas.strokes = [{"width": 30.0, "points": points[:2]}]
    assert before != pytest.approx(0.5, abs=0.01) and painter.before == pytest.approx(1 - before)
    painter.clear.click()
    assert painter.p == painter.before and painter.canvas.strokes == []
    bundle, _ = painter._repr_mimebundle_()
    assert len(alts(bundle["text/html"])) == 1 and "paint on" in bundle["text/plain"]
    check_page(bundle["text/html"])
