"""A place pointed at: the pieces show it, at the size they say."""

import numpy as np
import pytest
from PIL import Image

from helpers.lessons.zoom import HAIRLINES, zoomed


@pytest.fixture
def path(tmp_path):
    pixels = np.full((120, 120), 100, np.uint8)
    pixels[40:60, 70:90] = np.arange(20, 220, 10, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "made.png")
    return tmp_path / "made.png"


def test_the_first_piece_is_the_box_of_the_file_and_the_next_has_as_many_pixels_as_a_model_sees(path):
    drawing = zoomed(path, (70, 40, 90, 60), sizes=(60, 30))
    whole, piece, half, quarter = [np.asarray(image.get_array()) for image in drawing.figure.axes[0].images]
    assert whole.shape == (120, 120)
    np.testing.assert_array_equal(piece, np.tile(np.arange(20, 220, 10), (20, 1)))
    assert half.shape == (10, 10) and quarter.shape == (5, 6)  # 17.5 to 22.5 touches six
    assert drawing.text == (
        "made.png with a frame round a place, and the place enlarged: at 120 px, then at 60 px, then at 30 px."
    )


def test_the_frame_lies_round_the_box(path):
    ax = zoomed(path, (70, 40, 90, 60)).figure.axes[0]
    left, right, bottom, top = ax.images[0].get_extent()
    scale = (right - left) / 120
    expected = (left + 70 * scale, bottom + 60 * scale, 20 * scale)
    frames = [(patch.get_x(), patch.get_y(), patch.get_width()) for patch in ax.patches if hasattr(patch, "get_x")]
    assert any(np.allclose(found, expected) for found in frames)


def test_a_wide_file_is_shrunk_to_a_square_and_so_is_the_box(tmp_path):
    Image.new("L", (200, 100), 90).save(tmp_path / "wide.png")
    pieces = zoomed(tmp_path / "wide.png", (100, 20, 140, 60), sizes=(50,)).figure.axes[0].images
    assert pieces[2].get_array().shape == (20, 10)  # a quarter of the width, half of the height


@pytest.mark.parametrize("box", [(50, 10, 40, 20), (0, 0, 121, 20), (-1, 0, 5, 5)])
def test_a_box_outside_the_file_is_refused(path, box):
    with pytest.raises(ValueError, match="inside the 120 × 120 px of made.png"):
        zoomed(path, box)


def test_hairlines_lie_inside_photographs_of_300_px():
    assert all(0 <= left < right <= 300 and 0 <= top < bottom <= 300 for left, top, right, bottom in HAIRLINES.values())
