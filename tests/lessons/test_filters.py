"""Filters by hand against torch and scipy; the kernels light what they are named after."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from helpers.lessons.filters import CRACK, KERNELS, convolve, grey, pool, random_kernel, show_filtered


@given(*[st.integers(1, 9)] * 2, *[st.integers(1, 4)] * 2, st.integers(0, 1000))
def test_the_loops_agree_with_torch_and_scipy(rows, columns, height, width, seed):
    rng = np.random.default_rng(seed)
    image, kernel = rng.normal(size=(rows + height, columns + width)), rng.normal(size=(height, width))
    by_hand = convolve(image, kernel)
    expected = functional.conv2d(torch.tensor(image)[None, None], torch.tensor(kernel)[None, None])[0, 0]
    torch.testing.assert_close(by_hand, expected)
    top, left = height // 2, width // 2  # scipy keeps the size and centres the kernel
    whole = ndimage.correlate(image, kernel)
    np.testing.assert_allclose(by_hand, whole[top : top + rows + 1, left : left + columns + 1], atol=1e-9)


def line_picture(direction):
    """A dark line on bright ground: "/", "\\", "|" or "-"."""
    pixels = np.full((21, 21), 200.0)
    for i in range(21):
        row, column = {"/": (i, 20 - i), "\\": (i, i), "|": (i, 10), "-": (10, i)}[direction]
        pixels[row, column] = 60
    return pixels


@pytest.mark.parametrize(
    ("direction", "name"),
    [("/", "slanted line /"), ("\\", "slanted line \\"), ("|", "upright line"), ("-", "level line")],
)
def test_a_kernel_answers_most_to_its_own_line(direction, name):
    answers = {other: float(convolve(line_picture(direction), kernel).max()) for other, kernel in KERNELS.items()}
    del answers["edge"]
    assert max(answers, key=answers.get) == name
    for kernel in KERNELS.values():
        assert convolve(np.full((9, 9), 123.0), kernel).abs().max() == 0  # nothing to see on an even surface


def test_random_kernels_are_new_each_time_and_sum_to_zero():
    assert random_kernel(1).sum().abs() < 1e-12 and not torch.equal(random_kernel(1), random_kernel(2))
    assert torch.equal(random_kernel(3), random_kernel(3))


def test_pooling_keeps_the_largest_of_each_block():
    image = torch.tensor([[1.0, 5, 0, 0], [2, 3, 0, 9], [0, 0, 7, 7], [4, 0, 7, 8]])
    assert pool(image).tolist() == [[5, 9], [4, 8]]


def test_pictures_of_any_kind_become_grey_numbers_of_0_to_255():
    assert grey(torch.full((3, 4, 4), 0.5)).unique().tolist() == [127.5]
    assert grey(np.full((4, 4), 100, np.uint8)).unique().tolist() == [100]


def test_show_filtered_shows_where_the_kernel_found_something():
    drawing = show_filtered(line_picture("/").astype(np.uint8), {"slanted": CRACK})
    answer = drawing.figure.axes[1].images[0].get_array()
    rows, columns = np.nonzero(answer > 0.5)
    assert (rows + columns == 18).all() and len(rows) == 19  # the line, one pixel nearer: the kernel needs a margin
    assert drawing.text == "A photograph, then where it looks like each kernel, bright where it does: slanted."


@pytest.mark.parametrize(("image", "kernel"), [((2, 9), (3, 3)), ((3, 9, 9), (3, 3)), ((9, 9), (3,))])
def test_a_kernel_that_does_not_fit_is_refused(image, kernel):
    with pytest.raises(ValueError, match="slides over a grey picture"):
        convolve(np.zeros(image), np.zeros(kernel))
