"""What the course's schematics are made of: a sheet measured in inches, boxes, arrows, words, grids of numbers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Arc, FancyArrowPatch, Rectangle

from helpers.figures.style import BLACK, BLUE, GREY, MIDDLE_PT, RED, WIDTH_IN, new_figure

Point = tuple[float, float]


def sheet(height_in: float, width_in: float = WIDTH_IN) -> Axes:
    """An empty page: x from 0 to `width_in`, y from 0 (bottom) to `height_in`, in inches."""
    figure = new_figure(height_in, width_in)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width_in)
    ax.set_ylim(0, height_in)
    ax.set_axis_off()
    return ax


def words(ax: Axes, at: Point, text: str, *, size_pt: float = MIDDLE_PT, colour: str = BLACK, **look) -> None:
    """Text centred at a place; `look` goes to matplotlib's `text` (ha, va, weight ...)."""
    ax.text(*at, text, **{"ha": "center", "va": "center", "parse_math": False, **look}, fontsize=size_pt, color=colour)


def pale(colour: str, share: float = 0.25) -> tuple[float, float, float]:
    """The colour mixed with white: `share` of it."""
    return tuple(1 - share * (1 - part) for part in to_rgb(colour))


def box(ax: Axes, corner: Point, width: float, height: float, colour: str = BLUE, *, solid: bool = True) -> Rectangle:
    """A rectangle from its lower left corner; solid, or pale with slanted lines."""
    face = colour if solid else pale(colour)
    look = {"facecolor": face, "edgecolor": colour, "linewidth": 1.2, "hatch": None if solid else "////"}
    return ax.add_patch(Rectangle(corner, width, height, **look))


def arrow(ax: Axes, start: Point, end: Point, *, colour: str = BLACK, bend: float = 0.0, dashed: bool = False) -> None:
    """An arrow; `bend` curves it, 0 is straight."""
    look = {"arrowstyle": "-|>", "mutation_scale": 16, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
    style = "--" if dashed else "-"
    arc = f"arc3,rad={bend}"
    ax.add_patch(FancyArrowPatch(start, end, color=colour, connectionstyle=arc, linestyle=style, **look))


def padlock(ax: Axes, at: Point, *, size: float = 0.16) -> None:
    """A closed lock: these weights stay as they are. `size` is its width in inches."""
    x, y = at
    ax.add_patch(Rectangle((x - size / 2, y - size / 2), size, 0.8 * size, facecolor=BLACK, edgecolor=BLACK))
    ax.add_patch(Arc((x, y + 0.3 * size), 0.65 * size, size, theta1=0, theta2=180, color=BLACK, linewidth=2))


def photo(ax: Axes, pixels: np.ndarray, corner: Point, side: float, *, top: float | None = None) -> None:
    """A grey (H, W) picture in a square from its lower left corner.

    `top` is drawn white; by default the picture's brightest pixels are, for the solar cells are dark.
    """
    x, y = corner
    top = top or np.quantile(pixels, 0.998) or 1
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=top, extent=(x, x + side, y, y + side), aspect="auto", zorder=1)
    ax.add_patch(Rectangle(corner, side, side, facecolor="none", edgecolor=BLACK, linewidth=1, zorder=2))
    width_in, height_in = ax.figure.get_size_inches()  # imshow changed the limits
    ax.set_xlim(0, width_in)
    ax.set_ylim(0, height_in)


def brightened(pixels: np.ndarray) -> np.ndarray:
    """A grey (H, W) picture as uint8 whose brightest pixels are white: the solar cells are dark."""
    top = np.quantile(pixels, 0.998) or 1
    return (255.0 * (pixels / top)).clip(0, 255).astype(np.uint8)


def number_grid(
    ax: Axes,
    values: Sequence[Sequence[float]],
    corner: Point,
    *,
    side: float = 0.36,
    shade: str = "value",
    size_pt: float = MIDDLE_PT,
    decimals: int = 0,
) -> None:
    """A table of numbers (H, W), each in a square of `side` inches, from its upper left corner.

    shade: "value" grey from black (0) to white (255); "sign" orange-red below zero, blue above, stronger further off.
    """
    table = np.asarray(values, dtype=float)
    strongest = np.abs(table).max() or 1.0
    for (row, column), value in np.ndenumerate(table):
        x, y = corner[0] + column * side, corner[1] - (row + 1) * side
        if shade == "value":
            grey = float(np.clip(value / 255, 0, 1))
            face, dark = (grey,) * 3, grey < 0.5
        else:
            share = abs(value) / strongest
            face, dark = pale(BLUE if value > 0 else RED, 0.85 * share), share > 0.6
        ax.add_patch(Rectangle((x, y), side, side, facecolor=face, edgecolor=GREY, linewidth=0.8))
        ink = "white" if dark else BLACK
        text = f"{value:.{decimals}f}".replace("-", "−")
        words(ax, (x + side / 2, y + side / 2 - 0.01), text, size_pt=size_pt, colour=ink)


def frame(ax: Axes, corner: Point, width: float, height: float, colour: str, *, line: float = 3.0) -> None:
    """An empty rectangle from its lower left corner, on top of what is there."""
    ax.add_patch(Rectangle(corner, width, height, facecolor="none", edgecolor=colour, linewidth=line, zorder=5))
