"""Presizing against Pillow; the store: cut against plain indexing, complete on disk or not there at all."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_setup.base import pictures as picture_files
from data_setup.base.pictures import METHODS, UnreadableImage, fingerprint, presize, read_presized
from helpers.data import pixels as module
from helpers.data.pixels import PixelStore, load_or_decode


def drawn(width, height, mode="RGB", seed=0):
    """A smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


# Presizing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(60, 40), (40, 60), (41, 41), (33, 90), (300, 200), (20, 11)])
def test_crop_pad_and_squish_are_pillows_resize(size, mode):
    """Catches a squashed picture, a second resampling, aliasing and swapped width and height."""
    image, px = drawn(*size, mode=mode), 32
    short, long = min(size), max(size)
    bilinear = Image.Resampling.BILINEAR

    def pixels(image):
        return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)

    tolerance = 2 if long > 4 * px else 0  # far larger pictures are halved first (Pillow's reducing_gap)
    crop = pixels(image.resize(tuple(round(side * px / short) for side in size), bilinear)).astype(int)
    assert np.abs(presize(image, px, "crop") - crop).max() <= tolerance
    squished = pixels(image.resize((px, px), bilinear)).astype(int)
    assert np.abs(presize(image, px, "squish") - squished).max() <= tolerance
    padded = presize(image, px, "pad")
    width, height = (round(side * px / long) for side in size)
    left, top = (px - width) // 2, (px - height) // 2
    assert padded.shape == (len(image.getbands()), px, px)
    whole = pixels(image.resize((width, height), bilinear)).astype(int)
    assert np.abs(padded[:, top : top + height, left : left + width] - whole).max() <= tolerance
    mirrored = np.pad(whole, [(0, 0), (top, px - height - top), (left, px - width - left)], mode="symmetric")
    assert np.abs(padded - mirrored).max() <= tolerance


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 40), st.sampled_from(METHODS))
def test_presizing_fits_any_shape(width, height, px, method):
    """Catches a side of no pixels, a short side one pixel short, and a strip that fills the memory."""
    pixels = presize(drawn(width, height), px, method)
    c, h, w = pixels.shape
    assert c == 3 and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    if method == "crop":
        assert min(h, w) == px
        ratio = max(width, height) / min(width, height)
        assert abs(max(h, w) - px * min(ratio, 4)) <= 1 + px / min(width, height)  # cut to whole pixels
    else:
        assert (h, w) == (px, px)


def test_of_a_long_strip_the_middle_is_kept_untouched():
    """Catches a strip cut from its beginning, and a cut that samples the picture a second time."""
    strip = np.zeros((3, 2001, 3), np.uint8)
    strip[:, 1000] = 255
    pixels = presize(Image.fromarray(strip), 3, "crop")
    assert pixels.shape[1] == 3 and 12 <= pixels.shape[2] <= 13
    assert sorted(np.unique(pixels)) == [0, 255] and (pixels == 255).sum() == 9


def test_pad_keeps_the_whole_of_a_long_strip():
    """Catches a strip whose ends are cut although padding promises all of it."""
    strip = np.zeros((10, 1000, 3), np.uint8)
    strip[:, :100], strip[:, -100:] = 255, 100
    pixels = presize(Image.fromarray(strip), 100, "pad")
    assert pixels[0, 50, 3] == 255 and pixels[0, 50, 96] == 100 and pixels[0, 50, 50] == 0


def test_an_unknown_method_is_named():
    """Catches a typo that falls through to one of the methods."""
    with pytest.raises(ValueError, match="method is one of crop, pad, squish; got 'squash'"):
        presize(drawn(8, 8), 8, "squash")


# The store -----------------------------------------------------------------------------------------------------


def store_of(*pictures, px):
    return PixelStore.of_pictures([torch.as_tensor(picture) for picture in pictures], px)


def random_pictures(n, *shape, seed=0):
    return list(torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 13), (1, 11, 8), (1, 8, 8)])
def test_pictures_of_one_shape_and_of_many_are_cut_alike(shape):
    """Catches a fast path that gives other pixels than the plain one."""
    pictures = random_pictures(5, *shape)
    uniform, ragged = store_of(*pictures, px=8), store_of(*pictures, *random_pictures(1, 3, 9, 8), px=8)
    rows, crop_position = torch.tensor([4, 0, 0, 2]), torch.tensor([0.0, 1.0, 0.3, 0.5])
    assert uniform.uniform == (shape[1:] == (8, 8)) and not ragged.uniform
    squares = uniform.squares(rows, crop_position)
    assert torch.equal(squares, ragged.squares(rows, crop_position))
    assert torch.equal(uniform.picture(3), pictures[3])
    for square, row, where in zip(squares, rows.tolist(), crop_position.tolist(), strict=True):
        top, left = (round((extent - 8) * where) for extent in shape[1:])
        assert torch.equal(square, pictures[row][:, top : top + 8, left : left + 8])


def test_the_square_lies_in_the_middle_unless_asked_otherwise():
    """Catches a validation picture cut from the corner, or one that moves from epoch to epoch."""
    wide = torch.arange(9).expand(3, 4, 9).to(torch.uint8).contiguous()
    tall = torch.arange(8).view(1, 8, 1).expand(3, 8, 4).to(torch.uint8).contiguous()
    store = store_of(wide, tall, px=4)
    middle = store.squares(torch.tensor([0, 1]))
    assert middle[0, 0, 0].tolist() == [2, 3, 4, 5] and middle[1, 0, :, 0].tolist() == [2, 3, 4, 5]
    ends = [store.squares(torch.tensor([0, 1]), torch.full((2,), where)) for where in (0.0, 1.0)]
    assert [end[0, 0, 0, 0].item() for end in ends] == [0, 5]
    assert [end[1, 0, 0, 0].item() for end in ends] == [0, 4]


def test_grey_and_colour_mix_in_one_batch():
    """Catches a grey picture that fills one channel only, or shifts the pictures behind it."""
    grey, colour = random_pictures(1, 1, 6, 6)[0], random_pictures(1, 3, 6, 6)[0]
    squares = store_of(grey, colour, grey, px=6).squares(torch.tensor([2, 1, 0]))
    assert torch.equal(squares, torch.stack([grey.expand(3, -1, -1), colour, grey.expand(3, -1, -1)]))


@pytest.mark.gpu
def test_a_store_on_the_gpu_gives_the_same_squares():
    """Catches indices or copies that behave differently there."""
    for pictures in (random_pictures(4, 3, 8, 8), [*random_pictures(3, 3, 8, 12), *random_pictures(1, 1, 9, 8)]):
        here = store_of(*pictures, px=8)
        there = here.on(torch.device("cuda"))
        rows, crop_position = torch.tensor([3, 1, 1]), torch.tensor([0.2, 0.0, 1.0])
        assert there.flat.is_cuda
        assert torch.equal(here.squares(rows, crop_position), there.squares(rows, crop_position).cpu())


# On disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def paths(tmp_path):
    """Six pictures of different shapes and modes."""
    (tmp_path / "set").mkdir()
    for i in range(6):
        drawn(20 + 3 * i, 30 - 2 * i, "L" if i == 2 else "RGB", seed=i).save(tmp_path / "set" / f"{i}.png")
    return [tmp_path / "set" / f"{i}.png" for i in range(6)]


def test_the_key_changes_with_content_order_size_and_method_and_with_nothing_else(paths, tmp_path, monkeypatch):
    """Catches a stale cache (fastai 0.7 names it by architecture and size alone), and one lost when a folder moves."""
    key = fingerprint(paths, 32, "crop")
    assert len(key) == 24 and key == fingerprint(paths, 32, "crop")
    (tmp_path / "moved").symlink_to(tmp_path / "set")
    moved = [tmp_path / "moved" / path.name for path in paths]
    assert fingerprint(moved, 32, "crop") == key
    others = [
        fingerprint(paths, 33, "crop"),
        fingerprint(paths, 32, "pad"),
        fingerprint(paths[::-1], 32, "crop"),
        fingerprint(paths[:5], 32, "crop"),
    ]
    monkeypatch.setattr("data_setup.base.pictures.CACHE_VERSION", 0)  # a kit that presizes in another way
    others.append(fingerprint(paths, 32, "crop"))
    monkeypatch.undo()
    stamp = paths[3].stat()
    paths[3].write_bytes(paths[3].read_bytes() + b"\0")
    os.utime(paths[3], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # even when the clock says nothing happened
    others.append(fingerprint(paths, 32, "crop"))
    assert len({key, *others}) == 7


def test_a_file_that_is_gone_is_named_by_the_key(paths):
    """Catches a raw system error for a data set that was moved away."""
    paths[1].unlink()
    with pytest.raises(
        UnreadableImage, match="1.png cannot be read .No such file.*; was the data set moved or deleted"
    ):
        fingerprint(paths, 32)


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files read so far."""
    names = []
    monkeypatch.setattr(
        picture_files, "read_presized", lambda path, *how: names.append(path.name) or read_presized(path, *how)
    )
    return names


@pytest.mark.parametrize("method", METHODS)
def test_the_store_holds_every_picture_in_order_and_is_made_once(paths, tmp_path, decoded, method):
    """Catches pictures under another's row, and a second decoding."""
    for _ in range(2):
        store = load_or_decode(paths, tmp_path / "cache" / "k.u8", presize_px=16, method=method)
    assert sorted(decoded) == [path.name for path in paths]
    for index, path in enumerate(paths):
        assert np.array_equal(store.picture(index), read_presized(path, 16, method))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["k.json", "k.u8"]


def test_order_holds_over_many_pieces(tmp_path, monkeypatch):
    """Catches threads that hand in their pictures in the order in which they finish."""
    monkeypatch.setattr(
        picture_files, "read_presized", lambda path, *how: np.full((1, 2, 2), int(path.name) % 251, np.uint8)
    )
    paths = [Path(f"{i}") for i in range(600)]
    store = load_or_decode(paths, tmp_path / "k.u8", presize_px=2)
    assert store.squares(torch.arange(600))[:, 0, 0, 0].tolist() == [i % 251 for i in range(600)]


def test_all_bad_files_stand_in_one_error_and_nothing_is_written(paths, tmp_path):
    """Catches one error per attempt (fix, start again, next error), and a store with holes."""
    paths[1].write_bytes(b"")
    paths[4].write_bytes(b"<html>")
    paths[5].unlink()
    with pytest.raises(UnreadableImage) as caught:
        load_or_decode(paths, tmp_path / "cache" / "k.u8", presize_px=16)
    first, *lines = str(caught.value).splitlines()
    assert first == "3 of 6 pictures cannot be read:"
    for line, name, words in zip(lines, ("1", "4", "5"), ("file is empty", "web page", "is missing"), strict=True):
        assert f"{name}.png" in line and words in line
    assert list((tmp_path / "cache").iterdir()) == []


def test_of_very_many_bad_files_four_are_explained_and_twenty_more_named(tmp_path):
    """Catches an error message that nobody reads to its end."""
    paths = [tmp_path / f"{i:02}" for i in range(30)]
    with pytest.raises(UnreadableImage) as caught:
        load_or_decode(paths, tmp_path / "cache" / "k.u8", presize_px=16)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[0]) == (6, "30 of 30 pictures cannot be read:")
    assert lines[-1] == f"and 26 more: {', '.join(f'{i:02}' for i in range(4, 24))}, ..."


def test_a_full_disk_says_where_and_what_helps(paths, tmp_path, monkeypatch):
    """Catches "No space left on device" without a word of which, in the first line of a lesson."""

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_presized", full)
    with pytest.raises(OSError, match="could not be kept in .*pixels .*No space left on device.*COURSE_DATA"):
        load_or_decode(paths, tmp_path / "pixels" / "a.u8", presize_px=8)
    assert list((tmp_path / "pixels").iterdir()) == []


def test_a_decode_that_is_cut_off_leaves_nothing_half(paths, tmp_path, monkeypatch):
    """Catches a store that ends in the middle and is taken for a whole one the next time."""
    folder = tmp_path / "cache"
    whole = load_or_decode(paths, folder / "whole.u8", presize_px=16)

    def interrupted(path, *how):
        if path.name == "4.png":
            raise KeyboardInterrupt
        return read_presized(path, *how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(picture_files, "read_presized", interrupted)
        load_or_decode(paths, folder / "k.u8", presize_px=16)
    assert not list(folder.glob("*k.*"))
    replace, names = Path.replace, []

    def dies_before_the_second(self, target):
        names.append(Path(target).name)
        if len(names) == 2:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", dies_before_the_second)
        load_or_decode(paths, folder / "k.u8", presize_px=16)
    assert names == ["k.u8", "k.json"]  # the file that vouches for the other comes last
    again = load_or_decode(paths, folder / "k.u8", presize_px=16)
    assert torch.equal(again.flat, whole.flat) and again.shapes == whole.shapes


@pytest.mark.parametrize("damage", ["pixels short", "pixels gone", "shapes cut", "shapes of another", "shapes no list"])
def test_a_store_damaged_on_disk_is_made_again(paths, tmp_path, damage, decoded):
    """Catches pictures made of other pictures' rows, and an error only deleting a hidden file can cure."""
    expected = load_or_decode(paths, tmp_path / "k.u8", presize_px=16).flat.clone()
    pixels, shapes = tmp_path / "k.u8", tmp_path / "k.json"
    match damage:
        case "pixels short":
            pixels.write_bytes(pixels.read_bytes()[:-7])
        case "pixels gone":
            pixels.unlink()
        case "shapes cut":
            shapes.write_text(shapes.read_text()[:20])
        case "shapes of another":
            shapes.write_text("[[3, 16, 16]]")
        case "shapes no list":
            shapes.write_text("[1]")
    store = load_or_decode(paths, tmp_path / "k.u8", presize_px=16)
    assert torch.equal(store.flat, expected) and len(store) == 6 and len(decoded) == 12
