"""Schematics for the words of a lecture, one function each: `draw_convolution()`, `draw_one_cycle()` ...

Every number in them is computed, and no two runs differ. Those made of photographs are in `photo_drawings`, those of
the learner's own model in `network`.
"""

import numpy as np

from data_setup.base.text import counted, number
from helpers.figures.style import (
    BIG_PT,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    MIDDLE_PT,
    ORANGE,
    RED,
    SMALL_PT,
    Drawing,
    ink,
    new_figure,
    style_axes,
)
from helpers.lessons.filters import CRACK, convolve
from helpers.lessons.schematic import arrow, box, frame, number_grid, padlock, pale, sheet, words
from helpers.training.schedules import one_cycle, one_cycle_momentum

PATCH = np.array(  # a dark crack runs from the upper right to the lower left
    [[200, 205, 198, 60, 190], [202, 199, 58, 195, 201], [197, 62, 196, 203, 199], [55, 194, 201, 198, 204]]
    + [[193, 202, 199, 200, 197]]
)


def draw_convolution(*, row: int = 0, column: int = 1, kernel=CRACK) -> Drawing:
    """A 3 x 3 kernel on 5 x 5 pixels: nine products, one sum. `row` and `column` (0..2) say where it lies."""
    kernel, result = np.asarray(kernel), convolve(PATCH, kernel).numpy()
    if not (0 <= row <= 2 and 0 <= column <= 2):
        raise ValueError(
            f"on 5 x 5 pixels a 3 x 3 kernel has its upper left corner in rows and columns 0 to 2; got {row}, {column}"
        )
    products = PATCH[row : row + 3, column : column + 3] * kernel
    ax = sheet(3.3, 7.0)
    side, top = 0.42, 2.65
    for x, title in ((1.15, "5 × 5 pixels"), (3.17, "kernel"), (5.57, "result")):
        words(ax, (x, 2.95), title, size_pt=BIG_PT)
    number_grid(ax, PATCH, (0.1, top), side=side, size_pt=SMALL_PT)
    frame(ax, (0.1 + column * side, top - (row + 3) * side), 3 * side, 3 * side, ORANGE)
    words(ax, (2.37, top - 2.5 * side), "×", size_pt=22)
    number_grid(ax, kernel, (2.55, top - side), side=side, shade="sign")
    arrow(ax, (3.95, top - 2.5 * side), (4.45, top - 2.5 * side))
    number_grid(ax, result, (4.65, top - side), side=0.62, shade="sign", size_pt=SMALL_PT)
    frame(ax, (4.65 + column * 0.62, top - side - (row + 1) * 0.62), 0.62, 0.62, ORANGE)
    total = f"{int(products.sum())}".replace("-", "−")
    words(ax, (0.1, 0.2), f"sum of the nine products in the frame: {total}", ha="left")
    text = (
        f"A 3 × 3 kernel lies on 5 × 5 pixels with a dark slanted line; nine products are added to {total}. "
        f"Moved to all nine places it gives 3 × 3 numbers, the largest, {int(result.max())}, on the line."
    )
    return Drawing(ax.figure, text)


def draw_activation() -> Drawing:
    """ReLU: what is below zero becomes zero, everything else passes."""
    ax = style_axes(x="number that comes in", y="number that goes on", height_in=3.4)
    xs = np.array([-3, 0, 3])
    ax.plot(xs, xs, "--", color=GREY, linewidth=1.5)
    ax.plot(xs, np.maximum(xs, 0), "-", color=BLUE, linewidth=3.5)
    for x in (-2.0, 2.0):
        y = max(x, 0.0)
        ax.plot([x], [y], "o", color=RED, markersize=10, zorder=5)
        shown = f"{x:g} → {y:g}".replace("-", "−")
        ax.annotate(shown, (x, y), (-10, 12), textcoords="offset points", ha="right", fontsize=BIG_PT, color=ink(RED))
    ax.annotate("without activation", (-2.2, -2.2), (10, -6), textcoords="offset points", fontsize=SMALL_PT)
    text = "ReLU: a number below zero becomes zero (−2 → 0), all others pass unchanged (2 → 2)."
    return Drawing(ax.figure, text)


def draw_cached_features() -> Drawing:
    """What is computed once and what in every epoch, while the body is frozen."""
    ax = sheet(3.35, 7.0)
    for y, line, solid in ((2.75, "first epoch", False), (1.2, "every further epoch", None)):
        words(ax, (0.1, y + 0.35), line, ha="left", weight="bold")
        if solid is not None:
            box(ax, (0.1, y - 0.65), 0.8, 0.75, GREY)
            words(ax, (0.5, y - 0.27), "photo-\ngraphs", colour="white", size_pt=SMALL_PT)
            arrow(ax, (0.95, y - 0.27), (1.35, y - 0.27))
            box(ax, (1.4, y - 0.65), 1.5, 0.75, BLUE, solid=False)
            padlock(ax, (1.65, y - 0.28))
            words(ax, (2.3, y - 0.27), "body", backgroundcolor=pale(BLUE), weight="bold")
            arrow(ax, (2.95, y - 0.27), (3.35, y - 0.27))
    for y in (2.1, 0.55):
        box(ax, (3.4, y), 1.4, 0.75, GREEN)
        words(ax, (4.1, y + 0.38), "features", colour="white", weight="bold")
        arrow(ax, (4.85, y + 0.38), (5.2, y + 0.38))
        box(ax, (5.25, y), 0.85, 0.75, RED)
        words(ax, (5.67, y + 0.38), "head", colour="white", weight="bold")
        arrow(ax, (6.15, y + 0.38), (6.45, y + 0.38))
        words(ax, (6.7, y + 0.38), "loss")
    arrow(ax, (4.1, 2.05), (4.1, 1.35), dashed=True)
    words(ax, (4.2, 1.7), "kept", ha="left")
    words(ax, (3.5, 0.22), "Only the head runs again: the body would give the same features.")
    text = (
        "Cached features: the frozen body turns the photographs into features once, in the first epoch, and they are "
        "kept; in every further epoch only the head is computed."
    )
    return Drawing(ax.figure, text)


def draw_cached_copies() -> Drawing:
    """Two augmented copies of each photograph: both pass the body once, and each epoch takes one of them."""
    ax = sheet(3.9, 7.0)
    words(ax, (0.1, 3.6), "once", ha="left", weight="bold")
    box(ax, (0.1, 2.37), 0.85, 0.75, GREY)
    words(ax, (0.52, 2.745), "photo-\ngraphs", colour="white", size_pt=SMALL_PT)
    box(ax, (3.15, 2.1), 1.25, 1.29, BLUE, solid=False)
    padlock(ax, (3.4, 2.74))
    words(ax, (3.9, 2.745), "body", backgroundcolor=pale(BLUE), weight="bold")
    for number_of, y in ((1, 3.07), (2, 2.42)):
        arrow(ax, (1.0, 2.745), (1.4, y))
        box(ax, (1.45, y - 0.27), 1.2, 0.54, GREY)
        words(ax, (2.05, y), f"changed {number_of}", colour="white", size_pt=SMALL_PT)
        arrow(ax, (2.7, y), (3.1, y))
        arrow(ax, (4.45, y), (4.85, y))
        box(ax, (4.9, y - 0.27), 1.5, 0.54, GREEN)
        words(ax, (5.65, y), f"features {number_of}", colour="white", weight="bold", size_pt=SMALL_PT)
    words(ax, (0.1, 1.55), "every epoch", ha="left", weight="bold")
    arrow(ax, (5.4, 2.1), (4.0, 1.42), dashed=True)
    words(ax, (5.0, 1.6), "kept", ha="left")
    box(ax, (2.75, 0.62), 2.05, 0.75, GREEN)
    words(ax, (3.77, 1.0), "features 1 or 2", colour="white", weight="bold")
    arrow(ax, (4.85, 1.0), (5.2, 1.0))
    box(ax, (5.25, 0.62), 0.85, 0.75, RED)
    words(ax, (5.67, 1.0), "head", colour="white", weight="bold")
    arrow(ax, (6.15, 1.0), (6.45, 1.0))
    words(ax, (6.7, 1.0), "loss")
    words(ax, (3.5, 0.22), "For each photograph, chance picks one of its two copies.")
    text = (
        "Cached copies: two changed versions of each photograph pass through the frozen body once, the features of "
        "both are kept, and in every epoch the head sees those of one version, picked by chance."
    )
    return Drawing(ax.figure, text)


def draw_one_cycle(*, epochs: int = 5, lr: float = 1e-3, pct_start: float = 0.25) -> Drawing:
    """Rate and momentum of one-cycle through a training: one rises while the other falls."""
    progress = np.linspace(0, 1, 201)
    rate, momentum = one_cycle(pct_start=pct_start), one_cycle_momentum(pct_start=pct_start)
    rates = [lr * rate(share) for share in progress]
    momentums = [momentum(share) for share in progress]
    figure = new_figure(4.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    style_axes(x="", y="learning rate", ax=upper).plot(progress * epochs, rates, "-", color=BLUE, linewidth=3)
    style_axes(x="epoch", y="momentum", ax=lower).plot(progress * epochs, momentums, "--", color=RED, linewidth=3)
    for ax in (upper, lower):
        ax.axvline(pct_start * epochs, linestyle=":", color=BLACK, linewidth=1.2)
        ax.margins(y=0.12)
    side = {"ha": "right", "fontsize": MIDDLE_PT}
    upper.annotate("warm up", (0.97 * pct_start * epochs, 0.02 * lr), color=ink(BLUE), **side)
    upper.annotate("then ever smaller steps", (epochs, 0.92 * lr), **side)
    text = (
        f"One-cycle over {counted(epochs, 'epoch')}: the rate rises from {number(rates[0])} to {number(lr)} "
        f"in the first {100 * pct_start:g} % and falls to nearly nothing; momentum falls from {momentums[0]:g} to "
        f"{min(momentums):g} and rises again."
    )
    return Drawing(figure, text)
