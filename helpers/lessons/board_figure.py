"""The board as a figure: a panel for each measure, a line for each model, a dot with its confidence interval."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from data_setup.base.text import counted, two_lines
from helpers.figures.style import (
    BLUE,
    GREY,
    MIDDLE_PT,
    RED,
    SMALL_PT,
    Drawing,
    empty_drawing,
    ink,
    new_figure,
    round_ticks,
)
from helpers.lessons.measure_words import MEASURES, MeasureWords
from helpers.lessons.scoreboard import Measures

WIDTH_IN = 8.0
ROW_IN = 0.46
APART = 0.55  # the share of a panel between its two numbers, at least
NARROW = 0.25  # a panel spans at least this share of its largest number
EDGE = 0.2  # a number nearer to the panel's edge is written inwards
NAME_WIDTH = 20  # letters in each of the two lines of a model's name
Line = tuple[str, Measures, bool]  # title, what it is worth, whether on the same photographs as most lines


def draw_board(lines: Sequence[Line]) -> Drawing:
    """Models from top to bottom; the best so far is an orange square. Those on other photographs are hollow circles."""
    if not lines:
        return empty_drawing('The board is empty: board.add("03", "name of the model", learn.get_preds()) fills it.')
    shown = [name for name in MEASURES if any(getattr(measures, name) for _, measures, _ in lines)]
    figure = new_figure(1.0 + ROW_IN * len(lines), WIDTH_IN)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, name in zip(panels, shown, strict=True):
        _draw_panel(ax, name, lines)
    panels[0].set_yticks(range(len(lines)), [two_lines(title, NAME_WIDTH) for title, _, _ in lines], fontsize=SMALL_PT)
    panels[0].set_ylim(len(lines) - 0.5, -0.7)
    text = f"The board: {counted(len(lines), 'model')}, {len(shown)} measures each, with 95 % confidence intervals."
    return Drawing(figure, text, " ".join(_in_words(line) for line in lines))


def _draw_panel(ax: Axes, name: str, lines: Sequence[Line]) -> None:
    words = MEASURES[name]
    values = [getattr(measures, name) for _, measures, _ in lines]
    best = _best(words, [value if same else None for value, (_, _, same) in zip(values, lines, strict=True)])
    for y, (value, (_, _, same)) in enumerate(zip(values, lines, strict=True)):
        if value is None:
            continue
        colour, shape = (RED, "s") if y == best else (BLUE, "o")
        low, high = words.scale * value.low, words.scale * value.high
        at = words.scale * value.estimate
        ax.plot([low, high], [y, y], color=colour, linewidth=2.5, solid_capstyle="butt")
        ax.plot([at], [y], shape, color=colour, markersize=8, markerfacecolor=colour if same else "white")
        weight = "bold" if y == best else "normal"
        place = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": SMALL_PT}
        ax.annotate(words.number(value.estimate), (at, y), (0, 5), color=ink(colour), fontweight=weight, **place)
    ax.set_title(words.title, fontsize=MIDDLE_PT)
    ax.tick_params(labelsize=SMALL_PT, length=0, axis="y")
    ax.tick_params(labelsize=SMALL_PT, axis="x")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.grid(axis="x", color=GREY, alpha=0.35)
    ax.margins(x=0.25)
    low, high = ax.get_xlim()
    if high - low < NARROW * high:  # "no model" alone has hardly an interval: ticks as near would hide each other
        ax.set_xlim(low - NARROW * high / 2, high + NARROW * high / 2)
    _place_ticks(ax)


def _place_ticks(ax: Axes) -> None:
    """Two round numbers, far apart and away from the next panel: this one is an inch wide, three would not fit."""
    low, high = ax.get_xlim()
    pair = (low, high)
    for at_most in range(8, 0, -1):
        inside = [tick for tick in round_ticks(at_most).tick_values(low, high) if low <= tick <= high]
        if len(inside) > 1 and inside[-1] - inside[0] >= APART * (high - low):
            pair = (inside[0], inside[-1])  # the fewer are allowed, the rounder they are
    ax.set_xticks(pair)
    for label, tick in zip(ax.get_xticklabels(), pair, strict=True):
        place = (tick - low) / (high - low)
        label.set_horizontalalignment("left" if place < EDGE else "right" if place > 1 - EDGE else "center")


def _best(words: MeasureWords, values: Sequence) -> int | None:
    """The line with the best estimate; the first of equal ones, and none where a single model stands."""
    found = [(value.estimate, y) for y, value in enumerate(values) if value is not None]
    if len(found) < 2:
        return None
    pick = min if words.lower_is_better else max
    return pick(found, key=lambda pair: pair[0])[1]


def _in_words(line: Line) -> str:
    title, measures, _ = line
    parts = [
        f"{words.short} {words.text(getattr(measures, name))}"
        for name, words in MEASURES.items()
        if getattr(measures, name)
    ]
    return f"{title}: {', '.join(parts)}."
