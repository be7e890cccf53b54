"""What schematics are made of: brightness, locks and boxes, numbers in their squares."""

import numpy as np
import pytest

from helpers.lessons.schematic import box, brightened, number_grid, photo, sheet


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_the_brightest_pixels_become_white_and_the_others_keep_their_share(kind):
    pixels = np.full((40, 40), 20).astype(kind)
    pixels[:20] = 80
    assert np.unique(brightened(pixels)).tolist() == [63, 255]
    assert not brightened(np.zeros((4, 4), kind)).any()


def test_a_sheet_is_measured_in_inches_also_after_a_photograph():
    ax = sheet(3.0, 6.0)
    photo(ax, np.zeros((9, 9), np.uint8), (4.0, 1.0), 1.5)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 6), (0, 3))
    assert ax.images[0].get_extent() == [4.0, 5.5, 1.0, 2.5]
    left, bottom = ax.transData.transform((1, 1)) / ax.figure.dpi
    assert (left, bottom) == pytest.approx((1, 1))


def test_every_number_stands_in_its_square_in_letters_one_can_read():
    ax = sheet(3.0)
    number_grid(ax, [[0, 255], [100, -3]], (1.0, 2.0), side=0.5)
    shown = {text.get_text(): (text.get_position(), text.get_color()) for text in ax.texts}
    assert shown["0"][0] == pytest.approx((1.25, 1.74)) and shown["100"][0] == pytest.approx((1.25, 1.24))
    assert shown["0"][1] == "white" and shown["255"][1] == "#000000"
    assert "\N{MINUS SIGN}3" in shown


def test_a_pale_box_has_slanted_lines_too():
    ax = sheet(2.0)
    assert box(ax, (0, 0), 1, 1, solid=False).get_hatch() and not box(ax, (0, 0), 1, 1).get_hatch()
