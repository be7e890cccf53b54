"""The walk through the pipeline: every stage with its shape, and the stage that fails with the file and the fix."""

import re

import numpy as np
import pytest
from PIL import Image

from data_setup.base.pictures import UnreadableImage
from helpers.data.dataset import ImageData
from helpers.lessons.course import summary


def test_the_summary_walks_through_every_stage(data, capsys):
    """Catches a stage without its shape, type and range, and a summary that is only true of another data set."""
    summary(data)
    lines = capsys.readouterr().out.splitlines()
    first = data.items_of("train")[0]
    pixels = np.asarray(Image.open(first.path))
    assert lines[:6] == [
        "ImageData: 18 train, 6 valid; 2 classes (dark, light); 32 px from 40 px (crop)",
        "train: dark 9, light 9",
        "valid: dark 3, light 3",
        "test: no pictures",
        f"first training picture: '{first.name}', labelled 'dark'",
        f"  decode: uint8 (32, 40, 3), from {pixels.min()} to {pixels.max()}",
    ]
    expected = [
        r"  presize to 40 px: uint8 \(3, 40, 50\), from \d+ to \d+",
        r"  cut squares of 40 px: uint8 \(8, 3, 40, 40\), from \d+ to \d+",
        r"  augment a batch: float32 \(6, 3, 32, 32\), from 0(\.0*\d{1,2})? to (0\.\d{1,2}|1)",
        r"  targets of the batch: int64 \(6,\), from 0 to 1",
    ]
    for line, pattern in zip(lines[6:], expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_a_damaged_picture_ends_the_summary_at_its_stage(data, capsys):
    """Catches a summary that looks at the first pictures only and calls the rest sound."""
    data.items[-1].path.write_bytes(b"<html>")
    with pytest.raises(UnreadableImage, match="1 of 24 pictures cannot be read"):
        summary(data)
    out = capsys.readouterr().out
    assert "  decode: uint8" in out and "  presize to 40 px: FAILED\n" in out
    assert "light_11.png is not a readable picture" in out


def test_a_summary_of_many_classes_stays_short(tmp_path, capsys, course_data):
    """Catches a screen full of dog breeds."""
    for k in range(15):
        (tmp_path / f"c{k:02}").mkdir()
        for i in range(2):
            Image.new("L", (8, 8)).save(tmp_path / f"c{k:02}" / f"{i}.png")
    summary(ImageData.from_folders(tmp_path, size=8, valid_frac=0.5))
    out = capsys.readouterr().out
    assert "15 classes (c00, c01, c02, c03, c04, c05, ...)" in out and "c11 1 and 3 more classes" in out
