"""Schematics made of the learner's own photographs: the split, presizing, the views of test-time augmentation."""

import math
from dataclasses import replace

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from data_setup.base.pictures import read_image
from data_setup.base.text import counted, shorten
from helpers.data.augment import Draws, apply_draws, draw, matrices
from helpers.figures.style import BLUE, GREEN, GREY, MIDDLE_PT, ORANGE, RED, SMALL_PT, Drawing, ink
from helpers.lessons.figures import row_of
from helpers.lessons.schematic import arrow, box, frame, padlock, photo, sheet, words
from helpers.runtime.precision import evaluating
from helpers.runtime.seeds import generator

MOST_PHOTOGRAPHS = 16  # in the longest strip
STRIPS = {"train": ("to learn from", BLUE), "valid": ("held out, to choose by", GREEN), "test": ("sealed", RED)}


def draw_split(data, *, sealed: int = 0) -> Drawing:
    """The parts of the data as strips of photographs, as long as they have photographs.

    The test part, or `sealed` photographs that `data` leaves out, is shown as covered squares with a lock.
    """
    counts = {part: len(data.indices_of(part)) for part in STRIPS}
    counts["test"] = counts["test"] or sealed
    counts = {part: count for part, count in counts.items() if count}
    each = math.ceil(max(counts.values()) / MOST_PHOTOGRAPHS)  # photographs that one square stands for
    ax = sheet(0.95 * len(counts) + 0.35)
    side = (ax.get_xlim()[1] - 0.2) / MOST_PHOTOGRAPHS
    for index, (part, count) in enumerate(counts.items()):
        y = 0.95 * (len(counts) - 1 - index) + 0.4
        purpose, colour = STRIPS[part]
        words(ax, (0.1, y + side + 0.17), f"{part}: {count:,}, {purpose}", ha="left", colour=ink(colour))
        n = max(1, round(count / each))
        if part == "test":
            for number in range(n):
                box(ax, (0.1 + number * side, y), side, side, GREY)
            padlock(ax, (0.1 + n * side + 0.25, y + side / 2), size=0.22)
        else:
            for number, row in enumerate(data.indices_of(part)[:n].tolist()):
                photo(ax, data.eval_images([row])[0, 0].numpy(), (0.1 + number * side, y), side)
        frame(ax, (0.1, y), n * side, side, colour)
    words(ax, (0.1, 0.17), f"one square stands for {counted(each, 'photograph')}", ha="left", size_pt=SMALL_PT)
    said = ", ".join(f"{count:,} {part} ({STRIPS[part][0]})" for part, count in counts.items())
    return Drawing(ax.figure, f"The split of {sum(counts.values()):,} photographs: {said}.")


def draw_presizing(data, item=0, *, seed: int = 1) -> Drawing:
    """A photograph's way into a batch: its file, the square kept in memory, the piece cut for one epoch.

    `item` is an Item, its name or row in `data`; `seed` draws the piece.
    """
    row = row_of(data, item)
    original = np.asarray(read_image(data.items[row].path).convert("L"))
    draws = draw(1, data.augment, generator("draw_presizing", seed))
    squares = data.store.squares(torch.tensor([row]), draws.crop_position)
    seen = apply_draws(squares, draws, data.size)[0, 0].cpu().numpy()
    kept = squares[0, 0].numpy()
    ax = sheet(3.5)
    largest = max(original.shape[0], kept.shape[0])
    places = []
    for x, pixels in ((0.1, original), (2.55, kept), (4.85, seen)):
        side = 1.95 * pixels.shape[0] / largest
        photo(ax, pixels, (x, 0.85), side)
        places.append((x, side))
    _outline(ax, draws, (places[1][0], 0.85), places[1][1])
    names = (
        f"the file\n{original.shape[1]} × {original.shape[0]} px",
        f"decoded once, kept\n{kept.shape[1]} × {kept.shape[0]} px",
        f"in this epoch\n{data.size} × {data.size} px",
    )
    for (x, _), name in zip(places, names, strict=True):
        words(ax, (x, 0.45), name, ha="left", size_pt=MIDDLE_PT)
    for (x, side), (following, _) in zip(places, places[1:], strict=False):
        arrow(ax, (x + side + 0.05, 1.3), (following - 0.05, 1.3))
    words(ax, (0.1, 3.2), "presize once, then turn, crop and shrink in one go", ha="left", weight="bold")
    text = (
        f"Presizing: the file of {original.shape[1]} × {original.shape[0]} px is decoded once to {kept.shape[1]} × "
        f"{kept.shape[0]} px; in each epoch another piece (the frame) becomes {data.size} × {data.size} px."
    )
    return Drawing(ax.figure, text)


def _outline(ax: Axes, draws: Draws, corner: tuple[float, float], side: float) -> None:
    """Which piece of the square the draw takes: its outline, cut off at the square's edge."""
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1], [-1, -1, 1]])
    points = (matrices(draws)[0] @ corners.T).T
    points = (points[:, :2] / points[:, 2:]).clamp(-1, 1)
    xs = corner[0] + side * (points[:, 0] + 1) / 2
    ys = corner[1] + side * (1 - points[:, 1]) / 2
    ax.plot(xs.numpy(), ys.numpy(), "-", color=ORANGE, linewidth=3, zorder=6)


def draw_views(learn, item=0, *, n: int = 4, seed: int = 0) -> Drawing:
    """Test-time augmentation of one photograph: the plain view and `n` augmented ones, and what each says.

    `item` is an Item, its name or row in `learn.data`. The probability is that of the first class.
    """
    data = learn.data
    row = row_of(data, item)
    plain, views = data.eval_images([row]), _views(data, row, n, seed)
    images = torch.cat([plain, views])
    with evaluating(learn.model, learn.device, learn.prediction_precision):
        probs = learn.model(images.to(learn.device)).float().softmax(1)[:, 0].cpu()
    mean = float(0.75 * probs[1:].mean() + 0.25 * probs[0])  # the weights of `learn.tta`
    ax = sheet(3.3, 7.0)
    gap = 0.1
    side = min(1.27, 6.8 / (n + 1) - gap)
    for index, image in enumerate(images):
        x = 0.1 + index * (side + gap)
        photo(ax, image[0].numpy(), (x, 1.65), side)
        words(ax, (x + side / 2, 1.65 + side + 0.17), f"view {index}" if index else "as it is")
        words(ax, (x + side / 2, 1.45), f"p = {probs[index]:.2f}", size_pt=SMALL_PT)
        arrow(ax, (x + side / 2, 1.3), (3.5 + 0.12 * (index - n / 2), 0.72), colour=GREY)
    words(ax, (3.5, 0.5), f"together: p({shorten(data.classes[0], 20)}) = {mean:.2f}", weight="bold", size_pt=16)
    words(ax, (3.5, 0.15), "a quarter the plain view, three quarters the mean of the others", size_pt=SMALL_PT)
    text = f"{counted(n + 1, 'view')} of {data.items[row].name}, the first as it is, and one answer from all of them."
    detail = f"p({data.classes[0]}): {', '.join(f'{p:.2f}' for p in probs.tolist())}; together {mean:.2f}."
    return Drawing(ax.figure, text, detail)


def _views(data, row: int, n: int, seed: int) -> Tensor:
    """`n` augmented views of the picture at `row`: float (n, 3, size, size) in 0..1, on the CPU."""
    draws = draw(n, data.augment, generator("draw_views", seed))
    if data.augment.dihedral:  # all four turns once, so that the views differ to the eye
        draws = replace(draws, quarter_turns=torch.arange(n) % 4 * 1.0)
    squares = data.store.squares(torch.full((n,), row), draws.crop_position)
    return apply_draws(squares, draws, data.size).cpu()
