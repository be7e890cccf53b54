"""What every figure of the course shares: the `Drawing` that shows itself, colours, sizes, axes and words.

Figures are made without pyplot: nothing is left open, no global state is touched. Colours have Okabe and Ito's hues,
darkened until each is easy to see on white (contrast 3) and both colour-blind people and a grey print keep them apart;
lines also differ in dashes and marks. Names that come from the data are drawn as they are: a "$" is a "$".
"""

import io
import math
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from data_setup.base.text import number, one_line, shorten

if TYPE_CHECKING:  # matplotlib takes a second to import: the first figure pays for it
    from matplotlib import axes, figure, lines, ticker

BLACK, GREY, BLUE, RED, GREEN = "#000000", "#8A8A8A", "#025A96", "#BD4B00", "#008C62"
PINK, SKY, ORANGE = "#974775", "#678AB3", "#C88600"
COLOURS = (BLUE, RED, GREEN, PINK, BLACK, SKY, ORANGE)
DASHES = ("-", "--", "-.", ":", (0, (8, 2)), (0, (1, 1)), (0, (6, 2, 1, 2, 1, 2)))
MARKS = ("o", "s", "^", "D", "v", "P", "X")
BIG_PT, MIDDLE_PT, SMALL_PT = 14, 13, 12  # axis labels; ticks and names; titles of small pictures
WORDS = {"fontsize": MIDDLE_PT, "parse_math": False}
WIDTH_IN = 6.5  # 585 pixels in a notebook
DPI = 90


@dataclass(frozen=True, repr=False)
class Drawing:
    """A figure and one sentence that says what it shows. In a notebook it shows itself.

    `text` is the same on every machine (the rule: `helpers.figures.curves`), `detail` adds this run's exact numbers.
    The alternative text is both. `.figure.savefig("loss.pdf")` writes a file.
    """

    figure: "figure.Figure"
    text: str
    detail: str = ""

    def __post_init__(self):
        for name in ("text", "detail"):  # a class name may hold a line break; a sentence is one line
            object.__setattr__(self, name, one_line(getattr(self, name)))

    @property
    def alt(self) -> str:
        return f"{self.text} {self.detail}".strip()

    def png(self) -> bytes:
        """The figure as a PNG file, with the alternative text as its description."""
        buffer, about = io.BytesIO(), {"Software": None, "Description": self.alt}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # drawn as a box; the text has the name
            self.figure.savefig(
                buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.08, facecolor="white", metadata=about
            )
        return buffer.getvalue()

    def with_caption(self, text: str) -> "Drawing":
        """The same figure with another sentence."""
        return replace(self, text=text)

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": self.png(), "text/plain": self.text}, {"image/png": {"alt": self.alt}}


def new_figure(height_in: float = 4.0, width_in: float = WIDTH_IN) -> "figure.Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")


def style_axes(*, x: str, y: str, title="", height_in: float = 4.0, log_x: bool = False, ax=None) -> "axes.Axes":
    """The only axes of a new figure, or `ax`, with labels and sizes for a projector."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax = new_figure(height_in).add_subplot() if ax is None else ax
    ax.set_xlabel(x, fontsize=BIG_PT, parse_math=False)
    ax.set_ylabel(y, fontsize=BIG_PT, parse_math=False)
    if title:
        ax.set_title(title, fontsize=BIG_PT, loc="left", parse_math=False)
    ax.tick_params(labelsize=MIDDLE_PT)
    ax.spines[["top", "right"]].set_visible(False)
    ax.yaxis.set_major_locator(round_ticks(6))
    if log_x:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(numticks=6))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    else:
        ax.xaxis.set_major_locator(round_ticks(6))
    return ax


def round_ticks(at_most: int, *, integer: bool = False) -> "ticker.MaxNLocator":
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(at_most, steps=[1, 2, 2.5, 5, 10], integer=integer)


def ink(colour: str) -> str:
    """The colour, darkened so that words in it are easy to read on white (contrast above 4.5)."""
    from matplotlib.colors import to_hex, to_rgb

    return to_hex([0.7 * part for part in to_rgb(colour)])


def say_inside(ax: "axes.Axes", text: str, *, at: tuple[float, float] = (0.5, 0.5)) -> None:
    """A sentence in a box inside the axes, wrapped to fit."""
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": BLACK}
    wrapped = textwrap.fill(text, 42)
    ax.text(*at, wrapped, transform=ax.transAxes, ha="center", va="center", bbox=box, zorder=9, **WORDS)


def empty_drawing(text: str) -> Drawing:
    """For a record with nothing in it: the figure says so, too."""
    ax = new_figure(2.0).add_subplot()
    ax.set_axis_off()
    say_inside(ax, text)
    return Drawing(ax.figure, text)


def name_ends(ax: "axes.Axes", lines: Mapping[str, "lines.Line2D"]) -> None:
    """Write each line's name, after a piece of the line, at the right of the axes, at the height of its end.

    Names that would touch are pushed apart. Call it when the limits are final.
    """
    low, high = ax.get_ylim()
    gap = (high - low) * 1.25 * MIDDLE_PT / 72 / (ax.figure.get_size_inches()[1] * ax.get_position().height)
    finite = {name: [y for y in line.get_ydata() if math.isfinite(y)] for name, line in lines.items()}
    ends = sorted((float(values[-1]), name) for name, values in finite.items() if values)
    places = [min(max(y, low), high) for y, _ in ends]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    if places and places[-1] > high:
        places[-1] = high
        for i in reversed(range(len(places) - 1)):
            places[i] = min(places[i], places[i + 1] - gap)
    beside = ax.get_yaxis_transform()
    for (_, name), y in zip(ends, places, strict=True):
        piece = type(lines[name])([1.06, 1.11, 1.16], [y] * 3)  # apart from the line itself, which ends at 1
        piece.update_from(lines[name])
        piece.set(transform=beside, clip_on=False, markevery=[1], label="_piece")
        ax.add_artist(piece)
        ax.text(1.18, y, shorten(name, 20), transform=beside, color=ink(piece.get_color()), va="center", **WORDS)
    ax.set_ylim(low, high)
