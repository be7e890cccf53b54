"""Figures of what a model gets right and wrong: confusion, intervals, reliability, coverage, costs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.analysis.calibration import reliability
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
    new_figure,
    round_ticks,
    style_axes,
)
from helpers.runtime.text import counted, listed, shorten, two_lines

LARGE_SQUARES = 5  # classes up to which a square of the confusion matrix has room for two lines
WITH_NUMBERS = 12  # ... up to which the squares carry their counts
WITH_NAMES = 60  # ... up to which they have their names; beyond, the most confused pairs are named instead

# Confusion -------------------------------------------------------------------------------------------------


def plot_confusion(interp: Interpretation) -> Drawing:
    """Which class is taken for which: rows are the truth, columns the answers, colour the share of the row.

    Up to 12 classes the squares carry counts; up to 60 they do not, and classes that are often confused stand side by
    side; beyond, no name would fit, and the 15 pairs that are confused most are drawn as bars.
    """
    counts, classes = interp.confusion_matrix(), interp.preds.classes
    total, correct = int(counts.sum()), int(counts.diag().sum())
    worst = interp.most_confused()
    said = listed([f"{pair.truth} taken for {pair.predicted} {counted(pair.count, 'time')}" for pair in worst[:3]])
    detail = f"Correct: {correct:,} of {total:,}. " + (f"Most confused: {said}." if worst else "Nothing is confused.")
    among = f"{counted(total, 'picture')} in {counted(len(classes), 'class')}"
    text = f"Confusion of {among}: {_most(correct, total)} are correct"
    if len(classes) > WITH_NAMES:
        bars = f"Bars: the {counted(len(worst[:15]), 'pair')} confused most often."
        drawing = Drawing(_draw_pairs(worst[:15]), bars) if worst else empty_drawing("No two classes are confused.")
        return Drawing(drawing.figure, f"{text}. {drawing.text}", detail)
    order = clustered_order(counts) if len(classes) > WITH_NUMBERS else list(range(len(classes)))
    figure = _draw_matrix(counts.numpy()[np.ix_(order, order)], [classes[place] for place in order])
    return Drawing(figure, f"{text} (on the diagonal).", detail)


def _most(right: int, total: int) -> str:
    if right > 0.55 * total:
        return "more than half"
    return "fewer than half" if right < 0.45 * total else "about half"


def _draw_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    k = len(names)
    side = 6.5 if k <= WITH_NUMBERS else 7.0
    ax = style_axes(ax=new_figure(side, side).add_subplot(), x="predicted", y="truth (each row: 100 %)")
    shares = counts / np.maximum(counts.sum(1), 1)[:, None]
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1.1)  # the root lifts rare confusions out of the white
    _name_classes(ax, names)
    ax.set_xticks(np.arange(k + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(k + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="#BBBBBB", linewidth=0.6)
    ax.tick_params(which="both", length=0)
    size = BIG_PT if k <= LARGE_SQUARES else 11
    for (i, j), count in np.ndenumerate(counts if k <= WITH_NUMBERS else np.zeros((0, 0))):
        words = f"{count}\n{100 * shares[i, j]:.0f} %" if k <= LARGE_SQUARES else f"{count}"
        ax.text(j, i, words, ha="center", va="center", fontsize=size, color="white" if shares[i, j] > 0.4 else BLACK)
    return ax.figure


def _name_classes(ax: Axes, names: Sequence[str]) -> None:
    """Class names at both sides, as large as they fit: level where squares are wide, else upright below."""
    k = len(names)
    if k <= LARGE_SQUARES:
        labels, turned, size = [two_lines(name, 20 if k == 2 else 12) for name in names], 0, MIDDLE_PT
    else:
        labels, turned = [shorten(name, 20) for name in names], 90
        size = 11 if k <= WITH_NUMBERS else 9 if k <= 40 else 7
    beside = [two_lines(name, 12) for name in names] if k <= LARGE_SQUARES else labels
    ax.set_xticks(range(k), labels, rotation=turned, fontsize=size, parse_math=False)
    ax.set_yticks(range(k), beside, fontsize=size, parse_math=False)


def _draw_pairs(pairs: Sequence[Confusion]) -> Figure:
    ax = style_axes(x="pictures", y="", title="truth → predicted", height_in=1.0 + 0.36 * len(pairs))
    counts = [pair.count for pair in pairs]
    ax.barh(range(len(pairs)), counts, color=BLUE)
    names = [f"{shorten(pair.truth, 18)} → {shorten(pair.predicted, 18)}" for pair in pairs]
    ax.set_yticks(range(len(pairs)), names, fontsize=11, parse_math=False)
    ax.set_ylim(len(pairs) - 0.4, -0.6)
    ax.xaxis.set_major_locator(round_ticks(5, integer=True))
    for i, count in enumerate(counts):
        ax.text(count, i, f" {count}", va="center", fontsize=11)
    return ax.figure


# Intervals -------------------------------------------------------------------------------------------------


def plot_accuracies(preds: Mapping[str, Predictions] | Predictions) -> Drawing:
    """The accuracy of each model with its 95 % confidence interval; dotted, always answering the most frequent class.

    Overlapping intervals do not prove two models equal: `intervals.compare` is the sharper, paired test.
    """
    named = {preds.part: preds} if isinstance(preds, Predictions) else dict(preds)
    if not named:
        return empty_drawing("Nothing to compare yet: there are no predictions.")
    intervals = [accuracy_interval(record) for record in named.values()]
    labelled = [record.targets[record.targets >= 0] for record in named.values()]
    sizes = [len(targets) for targets in labelled]
    same_n = len(set(sizes)) == 1
    names = [name if same_n else f"{shorten(name, 18)} (n {n})" for name, n in zip(named, sizes, strict=True)]
    ax = _draw_intervals(list(zip(names, intervals, strict=True)))
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
        ax.figure, f"Accuracy with its 95 % confidence interval on {pictures}: {listed(list(named))}.", detail
    )


def _draw_intervals(rows: Sequence[tuple[str, Interval]]) -> Axes:
    """One line per row from the top: a mark at the estimate, its interval, its value at the right."""
    ax = style_axes(x="", y="", height_in=1.5 + (0.5 if len(rows) <= 8 else 0.32) * len(rows))
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


def plot_reliability(preds: Predictions) -> Drawing:
    """Is the model calibrated? Share that came true against stated probability, bin by bin."""
    record = reliability(preds)
    filled = record.counts > 0
    rows = (record.confidence, record.accuracy, record.low, record.high)
    stated, true, low, high = (100 * row[filled].numpy() for row in rows)
    edges, counts = 100 * record.edges.numpy(), record.counts.numpy()
    figure = new_figure(5.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    style_axes(ax=above, x="", y="correct (%)")
    above.plot([0, 100], [0, 100], "--", color=BLACK, linewidth=1.5, label="perfectly calibrated")
    look = {"fmt": "o", "color": BLUE, "markersize": 8, "linewidth": 2, "capsize": 5, "label": "bins"}
    above.errorbar(stated, true, yerr=[true - low, high - true], **look)
    first = edges[:-1][filled.numpy()].min()
    above.set_xlim(first - 2, 102)
    above.set_ylim(min(first, low.min()) - 3, 103)
    line = {"arrowstyle": "-", "color": BLACK, "linewidth": 0.8}
    on_diagonal, corner, words = ((first + 100) / 2,) * 2, (0.97, 0.06), "perfectly calibrated"
    above.annotate(words, on_diagonal, corner, textcoords="axes fraction", ha="right", arrowprops=line, **WORDS)
    style_axes(ax=below, x="stated probability (%)", y="pictures")
    below.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=ORANGE, edgecolor=BLACK)
    below.yaxis.set_major_locator(round_ticks(3, integer=True))
    among = f"{counted(int(counts.sum()), 'picture')} in {counted(len(counts), 'bin')}"
    text = f"Share that is correct against stated probability: {among}; the dashed line is perfect."
    return Drawing(figure, text, record.text)
