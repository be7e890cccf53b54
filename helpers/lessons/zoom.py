"""A photograph with its broken place pointed at, and the place again, enlarged, at several sizes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data_setup.base.pictures import read_image
from helpers.figures.style import ORANGE, Drawing
from helpers.lessons.schematic import arrow, frame, photo, sheet, words

# Thin cracks of the solar cells, by file name: (left, top, right, bottom) in pixels of the file.
HAIRLINES = {
    "mono_defective_0368.png": (190, 105, 290, 205),
    "mono_defective_1109.png": (90, 110, 190, 210),
    "mono_defective_0936.png": (60, 180, 160, 280),
    "mono_defective_0915.png": (90, 190, 190, 290),
}

Box = tuple[int, int, int, int]


def zoomed(path: Path | str, box: Box, *, sizes: Sequence[int] = (64,), title: str = "") -> Drawing:
    """The file with a frame at `box`, that place enlarged, and the same place of the file shrunk to `sizes` first.

    box: (left, top, right, bottom) in pixels of the file. sizes: pixels a side of the whole photograph, as a model
    sees it. All pieces are equally bright, and enlarged without smoothing.
    """
    image = read_image(Path(path)).convert("L")
    left, top, right, bottom = box
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise ValueError(
            f"box is (left, top, right, bottom) inside the {image.width} × {image.height} px of {Path(path).name}; "
            f"got {box}"
        )
    pieces = [(f"at {image.width} px", image.crop(box))]
    for size in sizes:
        small = image.resize((size, size), Image.Resampling.BICUBIC)
        across, down = size / image.width, size / image.height
        corners = (left * across, top * down, right * across, bottom * down)
        pieces.append((f"at {size} px", small.crop(_whole(corners))))
    side, floor = min(2.35, 6.9 / (len(pieces) + 1) - 0.1), 0.1
    ax = sheet(floor + side + (0.7 if title else 0.4), 7.0)
    photo(ax, np.asarray(image), (0.1, floor), side)
    words(ax, (0.1 + side / 2, floor + side + 0.2), "photograph")
    scale_x, scale_y = side / image.width, side / image.height
    corner = (0.1 + left * scale_x, floor + side - bottom * scale_y)
    width, height = (right - left) * scale_x, (bottom - top) * scale_y
    frame(ax, corner, width, height, ORANGE)
    middle = np.array([corner[0] + width / 2, corner[1] + height / 2])
    inward = np.array([0.1 + side / 2, floor + side / 2]) - middle
    far = np.abs(inward) > 0.2 * side
    if far.any():  # from the photograph's middle to the frame, where they are apart
        direction = np.sign(inward) * far
        tip = middle + direction * (width / 2, height / 2)
        arrow(ax, tuple(tip + 0.35 * direction / np.linalg.norm(direction)), tuple(tip), colour=ORANGE)
    brightest = np.asarray(image)
    for index, (name, piece) in enumerate(pieces, start=1):
        x = 0.1 + index * (side + 0.1)
        photo(ax, np.asarray(piece), (x, floor), side, top=np.quantile(brightest, 0.998))
        words(ax, (x + side / 2, floor + side + 0.2), name)
        frame(ax, (x, floor), side, side, ORANGE)
    if title:
        words(ax, (0.1, ax.get_ylim()[1] - 0.15), title, ha="left", weight="bold")
    shown = ", then ".join(name for name, _ in pieces)
    text = f"{Path(path).name} with a frame round a place, and the place enlarged: {shown}."
    return Drawing(ax.figure, text)


def _whole(corners: tuple[float, float, float, float]) -> Box:
    """The pixels that a box of fractions touches."""
    left, top, right, bottom = corners
    return int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))
