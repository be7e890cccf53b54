"""Figures of what a model gets right and wrong: confusion, intervals, reliability, coverage, costs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from helpers.analysis.calibration import Reliability, reliability
from helpers.analysis.interpret import Confusion, Interpretation, clustered_order
from helpers.analysis.intervals import Interval, accuracy_interval, accuracy_text
from helpers.analysis.predictions import Predictions
from helpers.figures.style import (
    BIG_PT,
    BLACK,
    BLUE,
    MIDDLE_PT,
    ORANGE,
    WORDS,
    Drawing,
    empty_drawing,
    figure_of,
    new_figure,
    round_ticks,
    style_axes,
)
from helpers.runtime.arguments import closest
from helpers.runtime.text import counted, listed, shorten, two_lines

LARGE_CELLS = 5  # classes up to which a cell of the confusion matrix has room for two lines
WITH_NUMBERS = 12  # ... up to which the cells carry their counts
WITH_NAMES = 60  # ... up to which they have their names; beyond, the most confused pairs are named instead
PIXELS = 250  # ... up to which each class has a row of its own

# Confusion -------------------------------------------------------------------------------------------------


def plot_confusion(
    interp: Interpretation,
    *,
    cluster: bool | None = None,
    pairs: int = 15,
    around: str | None = None,
    ax: Axes | None = None,
) -> Drawing:
    """Which class is taken for which: rows are the truth, columns the answers, colour the share of the row.

    Up to 12 classes the cells carry counts; up to 60 they do not, and classes that are often confused stand
    side by side (`cluster` says otherwise); beyond, the `pairs` that are confused most are drawn as bars, below
    the whole matrix without names. `around` zooms in: one class and those it is confused with, with counts.
    """
    if around is not None:
        return _plot_around(interp, around, ax)
    counts, classes = interp.confusion_matrix(), interp.preds.classes
    total, right = int(counts.sum()), int(counts.diag().sum())
    worst = interp.most_confused()
    said = [f"{pair.truth} taken for {pair.predicted} {counted(pair.count, 'time')}" for pair in worst[:3]]
    detail = f"Right: {right:,} of {total:,}." + (
        f" Most confused: {listed(said)}." if said else " Nothing is confused."
    )
    among = f"{counted(total, 'picture')} in {counted(len(classes), 'class')}"
    text = f"Confusion of {among}: {_most(right, total)} are right"
    if len(classes) > WITH_NAMES:
        drawing = _plot_many(counts, worst[:pairs], ax)
        return Drawing(drawing.figure, f"{text}. {drawing.text}", detail)
    cluster = len(classes) > WITH_NUMBERS if cluster is None else cluster
    order = clustered_order(counts) if cluster else list(range(len(classes)))
    ax = _draw_matrix(counts.numpy()[np.ix_(order, order)], [classes[place] for place in order], ax)
    return Drawing(figure_of(ax), f"{text} (on the diagonal).", detail)


def _most(right: int, total: int) -> str:
    if right > 0.55 * total:
        return "more than half"
    return "fewer than half" if right < 0.45 * total else "about half"


def _plot_around(interp: Interpretation, name: str, ax: Axes | None) -> Drawing:
    """The rows and columns of one class and of the eleven most often confused with it, in either direction."""
    counts, classes = interp.confusion_matrix(), interp.preds.classes
    if name not in classes:
        raise ValueError(f"there is no class {name!r}; {closest(name, classes)}")
    centre = classes.index(name)
    mixed = (counts[centre] + counts[:, centre]).index_fill(0, torch.tensor(centre), 0)
    near = [place for place in mixed.argsort(descending=True, stable=True).tolist() if mixed[place]]
    shown = sorted([centre, *near[: WITH_NUMBERS - 1]])
    if len(shown) == 1:
        return empty_drawing(ax, f"{name} is confused with no other class.")
    ax = _draw_matrix(counts[shown][:, shown].numpy(), [classes[p] for p in shown], ax, counts.sum(1)[shown].numpy())
    others = counted(len(shown) - 1, "class")
    text = f"Confusion of {name} and the {others} most often confused with it, of {len(classes):,}."
    said = [f"{classes[place]} {counted(int(mixed[place]), 'time')}" for place in near[:3]]
    return Drawing(figure_of(ax), text, f"In either direction: {listed(said)}.")


def _draw_matrix(counts: np.ndarray, names: Sequence[str], ax: Axes | None, totals: np.ndarray | None = None) -> Axes:
    """`totals`: the pictures of each row, when the matrix is only a part of a larger one."""
    k = len(names)
    ax = (
        new_figure(6.2 if k <= WITH_NUMBERS else 7.0, 6.5 if k <= WITH_NUMBERS else 7.0).add_subplot()
        if ax is None
        else ax
    )
    style_axes(ax, x="predicted", y="truth (each row: 100 %)" if totals is None else "truth (a part of each row)")
    shares = counts / np.maximum(counts.sum(1) if totals is None else totals, 1)[:, None]
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1.1)  # the root lifts rare confusions out of the white
    _name_classes(ax, names)
    ax.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="#BBBBBB", linewidth=0.6)
    ax.tick_params(which="both", length=0)
    size = BIG_PT if k <= LARGE_CELLS else 11
    for (i, j), count in np.ndenumerate(counts if k <= WITH_NUMBERS else np.zeros((0, 0))):
        cell = f"{count}\n{100 * shares[i, j]:.0f} %" if k <= LARGE_CELLS else f"{count}"
        colour = "white" if shares[i, j] > 0.4 else BLACK
        ax.text(j, i, cell, ha="center", va="center", fontsize=size, color=colour)
    return ax


def _name_classes(ax: Axes, names: Sequence[str]) -> None:
    """Class names at both sides, as large as they fit: level where cells are wide, else upright below."""
    k = len(names)
    if k <= LARGE_CELLS:
        labels, turned, size = [two_lines(name, 20 if k == 2 else 12) for name in names], 0, MIDDLE_PT
    else:
        labels, turned = [shorten(name, 20) for name in names], 90
        size = 11 if k <= WITH_NUMBERS else 9 if k <= 40 else 7
    beside = [two_lines(name, 12) for name in names] if k <= LARGE_CELLS else labels
    ax.set_xticks(range(k), labels, rotation=turned, fontsize=size, parse_math=False)
    ax.set_yticks(range(k), beside, fontsize=size, parse_math=False)


def _plot_many(counts: Tensor, pairs: Sequence[Confusion], ax: Axes | None) -> Drawing:
    """The pairs confused most; above them, where there is room, the whole matrix, so large that no name fits."""
    if ax is not None or not pairs:
        return _plot_pairs(pairs, ax)
    heights = 5.8, 1 + 0.36 * len(pairs)
    parts = new_figure(sum(heights)).subfigures(2, 1, height_ratios=heights)  # each with margins of its own
    above, below = (part.add_subplot() for part in parts)
    order = clustered_order(counts)
    shares = counts.numpy()[np.ix_(order, order)] / np.maximum(counts.numpy()[order].sum(1, keepdims=True), 1)
    starts = np.arange(0, len(order), -(-len(order) // PIXELS))  # of several cells in one pixel the largest shows
    pooled = np.maximum.reduceat(np.maximum.reduceat(shares, starts, axis=0), starts, axis=1)
    style_axes(above, x="predicted", y="truth", title="often confused classes side by side")
    extent = (0, len(order), len(order), 0)
    above.imshow(np.sqrt(pooled), cmap="Blues", vmin=0, vmax=1.1, interpolation="nearest", extent=extent)
    words = f"below, the {counted(len(pairs), 'pair')} confused most often"
    return _plot_pairs(pairs, below).with_caption(f"Above, all classes, those often confused side by side; {words}.")


def _plot_pairs(pairs: Sequence[Confusion], ax: Axes | None) -> Drawing:
    if not pairs:
        return empty_drawing(ax, "No two classes are confused.")
    ax = style_axes(ax, x="pictures", y="", title="truth → predicted", height_in=1.0 + 0.36 * len(pairs))
    counts = [pair.count for pair in pairs]
    ax.barh(range(len(pairs)), counts, color=BLUE)
    names = [f"{shorten(pair.truth, 18)} → {shorten(pair.predicted, 18)}" for pair in pairs]
    ax.set_yticks(range(len(pairs)), names, fontsize=11, parse_math=False)
    ax.set_ylim(len(pairs) - 0.4, -0.6)
    ax.xaxis.set_major_locator(round_ticks(5, integer=True))
    for i, count in enumerate(counts):
        ax.text(count, i, f" {count}", va="center", fontsize=11)
    return Drawing(figure_of(ax), f"Bars: the {counted(len(pairs), 'pair')} confused most often.")


# Intervals -------------------------------------------------------------------------------------------------


def plot_accuracies(preds: Mapping[str, Predictions] | Predictions, *, ax: Axes | None = None) -> Drawing:
    """The accuracy of each model with its 95 % confidence interval; dotted, always answering the most frequent class.

    Overlapping intervals do not prove two models equal: `intervals.compare` is the sharper, paired test.
    """
    named = {preds.part: preds} if isinstance(preds, Predictions) else dict(preds)
    if not named:
        return empty_drawing(ax, "Nothing to compare yet: there are no predictions.")
    intervals = [accuracy_interval(record) for record in named.values()]
    labelled = [record.targets[record.targets >= 0] for record in named.values()]
    sizes = [len(targets) for targets in labelled]
    same_n = len(set(sizes)) == 1
    names = [name if same_n else f"{shorten(name, 18)} (n {n})" for name, n in zip(named, sizes, strict=True)]
    ax = _draw_intervals(list(zip(names, intervals, strict=True)), ax)
    ax.set_xlabel(
        f"accuracy (%) with 95 % confidence interval{f', n = {sizes[0]:,}' if same_n else ''}", fontsize=BIG_PT
    )
    detail = " ".join(f"{name}: {accuracy_text(record)}." for name, record in named.items())
    majorities = {round(100 * float(targets.bincount().max()) / len(targets), 1) for targets in labelled}
    if len(majorities) == 1:
        majority = majorities.pop()
        ax.axvline(majority, color=BLACK, linestyle=":", linewidth=2)
        ax.set_title(f"dotted: the most frequent class, {majority} %", fontsize=MIDDLE_PT, loc="left")
        detail += f" Always answering the most frequent class: {majority} %."
    pictures = counted(sizes[0], "picture") if same_n else f"{min(sizes):,} to {max(sizes):,} pictures"
    return Drawing(
        figure_of(ax), f"Accuracy with its 95 % confidence interval on {pictures}: {listed(list(named))}.", detail
    )


def _draw_intervals(rows: Sequence[tuple[str, Interval]], ax: Axes | None) -> Axes:
    """One line per row from the top: a mark at the estimate, its interval, its value at the right."""
    ax = style_axes(ax, x="", y="", height_in=1.5 + (0.5 if len(rows) <= 8 else 0.32) * len(rows))
    for i, (_, share) in enumerate(rows):
        ax.plot([100 * share.low, 100 * share.high], [i, i], "-", color=BLUE, linewidth=3, solid_capstyle="butt")
        ax.plot([100 * share.estimate], [i], "o", color=BLUE, markersize=10, markeredgecolor="white")
        value = "none" if math.isnan(share.estimate) else f"{100 * share.estimate:.1f}"
        ax.text(1.02, i, value, transform=ax.get_yaxis_transform(), va="center", **WORDS)
    ax.set_yticks(range(len(rows)), [shorten(name, 26) for name, _ in rows], **WORDS)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="x", color="#DDDDDD")
    ax.set_axisbelow(True)
    return ax


# How sure --------------------------------------------------------------------------------------------------


def plot_reliability(record: Reliability | Predictions, *, ax: Axes | None = None) -> Drawing:
    """Is the model right as often as it says? Share right against stated probability, bin by bin.

    Without `ax`, a second panel counts the pictures of each bin.
    """
    record = reliability(record) if isinstance(record, Predictions) else record
    filled = record.counts > 0
    sure, right, low, high = (
        100 * row[filled].numpy() for row in (record.confidence, record.accuracy, record.low, record.high)
    )
    edges, below = 100 * record.edges.numpy(), None
    if ax is None:
        ax, below = new_figure(5.4).subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    style_axes(ax, x="" if below else "stated probability (%)", y="right (%)")
    ax.plot([0, 100], [0, 100], "--", color=BLACK, linewidth=1.5, label="as often as it says")
    spread = [right - low, high - right]
    ax.errorbar(sure, right, yerr=spread, fmt="o", color=BLUE, markersize=8, linewidth=2, capsize=5, label="bins")
    first = edges[:-1][filled.numpy()].min()
    ax.set_xlim(first - 2, 102)
    ax.set_ylim(min(first, low.min()) - 3, 103)
    line = {"arrowstyle": "-", "color": BLACK, "linewidth": 0.8}
    on_diagonal, corner = ((first + 100) / 2,) * 2, (0.97, 0.06)
    ax.annotate(
        "right as often as it says",
        on_diagonal,
        corner,
        textcoords="axes fraction",
        ha="right",
        arrowprops=line,
        **WORDS,
    )
    if below is not None:
        style_axes(below, x="stated probability (%)", y="pictures")
        below.bar(
            edges[:-1],
            record.counts.numpy(),
            width=np.diff(edges),
            align="edge",
            color=ORANGE,
            edgecolor=BLACK,
        )
        below.yaxis.set_major_locator(round_ticks(3, integer=True))
    pictures, bins = counted(int(record.counts.sum()), "picture"), counted(len(record.counts), "bin")
    text = f"Share right against stated probability: {pictures} in {bins}; the dashed line is perfect."
    return Drawing(figure_of(ax), text, record.text)
