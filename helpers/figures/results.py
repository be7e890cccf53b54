"""Figures of what a model gets right and wrong: confusion, intervals, reliability."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_setup.base.text import counted, listed, shorten, two_lines
from helpers.analysis.calibration import reliability
from helpers.analysis.interpret import Interpretation, clustered_order
from helpers.analysis.intervals import accuracy_interval, accuracy_text
from helpers.analysis.predictions import Predictions
from helpers.figures import style
from helpers.figures.style import BIG_PT, BLACK, BLUE, MIDDLE_PT, WORDS, Drawing, empty_drawing, new_figure, style_axes

LARGE_SQUARES = 5  # classes up to which a square of the confusion matrix has room for two lines
WITH_NUMBERS = 12  # ... up to which the squares carry their counts
WITH_NAMES = 60  # ... up to which they have their names; beyond, the most confused pairs are named instead


def plot_confusion(interp: Interpretation) -> Drawing:
    """Which class is taken for which: rows are the truth, columns the answers, colour the share of the row.

    Up to 12 classes the squares carry counts; up to 60 they do not, and classes that are often confused stand side by
    side; beyond, no name would fit, and the 15 pairs that are confused most are drawn as bars.
    """
    counts, classes = interp.confusion_matrix(), interp.preds.classes
    total, correct, worst = int(counts.sum()), int(counts.diag().sum()), interp.most_confused()
    said = listed([f"{pair.truth} taken for {pair.predicted} {counted(pair.count, 'time')}" for pair in worst[:3]])
    detail = f"Correct: {correct:,} of {total:,}. " + (f"Most confused: {said}." if worst else "Nothing is confused.")
    most = "more than half" if correct > 0.55 * total else "fewer than half" if correct < 0.45 * total else "about half"
    text = f"Confusion of {counted(total, 'picture')} in {counted(len(classes), 'class')}: {most} are correct"
    if len(classes) <= WITH_NAMES:
        order = clustered_order(counts) if len(classes) > WITH_NUMBERS else list(range(len(classes)))
        figure = _draw_matrix(counts.numpy()[np.ix_(order, order)], [classes[place] for place in order])
        return Drawing(figure, f"{text} (on the diagonal).", detail)
    pairs = worst[:15]
    ax = style_axes(x="pictures", y="", title="truth → predicted", height_in=1.0 + 0.36 * len(pairs))
    ax.barh(range(len(pairs)), [pair.count for pair in pairs], color=BLUE)
    _name_rows(ax, [f"{shorten(pair.truth, 18)} → {shorten(pair.predicted, 18)}" for pair in pairs])
    ax.xaxis.set_major_locator(style.round_ticks(5, integer=True))
    for i, pair in enumerate(pairs):
        ax.text(pair.count, i, f" {pair.count}", va="center", fontsize=11)
    return Drawing(ax.figure, f"{text}. Bars: the {counted(len(pairs), 'pair')} confused most often.", detail)


def _draw_matrix(counts: np.ndarray, names: Sequence[str]):
    k, side = len(names), 6.5 if len(names) <= WITH_NUMBERS else 7.0
    ax = style_axes(ax=new_figure(side, side).add_subplot(), x="predicted", y="truth (each row: 100 %)")
    shares = counts / np.maximum(counts.sum(1), 1)[:, None]
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1.1)  # the root lifts rare confusions out of the white
    is_large = k <= LARGE_SQUARES
    size = MIDDLE_PT if is_large else 11 if k <= WITH_NUMBERS else 9 if k <= 40 else 7
    look = {"labels": [two_lines(name, 12) if is_large else shorten(name, 20) for name in names], "fontsize": size}
    ax.set_xticks(range(k), rotation=0 if is_large else 90, parse_math=False, **look)
    ax.set_yticks(range(k), parse_math=False, **look)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(np.arange(k + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="#BBBBBB", linewidth=0.6)
    ax.tick_params(which="both", length=0)
    look = {"ha": "center", "va": "center", "fontsize": BIG_PT if is_large else 11}
    for (i, j), count in np.ndenumerate(counts if k <= WITH_NUMBERS else np.zeros((0, 0))):
        words = f"{count}\n{100 * shares[i, j]:.0f} %" if is_large else f"{count}"
        ax.text(j, i, words, color="white" if shares[i, j] > 0.4 else BLACK, **look)
    return ax.figure


def _name_rows(ax, names: Sequence[str]) -> None:
    """A name at the left of each row, the first at the top."""
    ax.set_yticks(range(len(names)), names, **WORDS)
    ax.set_ylim(len(names) - 0.4, -0.6)


def plot_accuracies(preds: Mapping[str, Predictions]) -> Drawing:
    """The accuracy of each model with its 95 % confidence interval; dotted, always answering the most frequent class.

    Overlapping intervals do not prove two models equal: `intervals.compare` is the sharper, paired test.
    """
    if not preds:
        return empty_drawing("Nothing to compare yet: there are no predictions.")
    records = {name: record.labelled() for name, record in preds.items()}
    sizes = [len(record.items) for record in records.values()]
    n = f"{sizes[0]:,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
    x = f"accuracy (%) with 95 % confidence interval, n = {n}"
    ax = style_axes(x=x, y="", height_in=1.5 + (0.5 if len(records) <= 8 else 0.32) * len(records))
    for i, share in enumerate(map(accuracy_interval, records.values())):
        ax.plot([100 * share.low, 100 * share.high], [i, i], "-", color=BLUE, linewidth=3, solid_capstyle="butt")
        ax.plot([100 * share.estimate], [i], "o", color=BLUE, markersize=10, markeredgecolor="white")
        ax.text(1.02, i, f"{100 * share.estimate:.1f}", transform=ax.get_yaxis_transform(), va="center", **WORDS)
    _name_rows(ax, [shorten(name, 26) for name in records])
    ax.grid(axis="x", color="#DDDDDD")
    ax.set_axisbelow(True)
    detail = " ".join(f"{name}: {accuracy_text(record)}." for name, record in records.items())
    shares = [100 * float(record.targets.bincount().max()) / len(record.items) for record in records.values()]
    if len(majorities := {round(share, 1) for share in shares}) == 1:
        majority = majorities.pop()
        ax.axvline(majority, color=BLACK, linestyle=":", linewidth=2)
        ax.set_title(f"dotted: the most frequent class, {majority} %", fontsize=MIDDLE_PT, loc="left")
        detail += f" Always answering the most frequent class: {majority} %."
    text = f"Accuracy with its 95 % confidence interval on {n} pictures: {listed(list(records))}."
    return Drawing(ax.figure, text, detail)


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
    above.plot([0, 100], [0, 100], "--", color=BLACK, linewidth=1.5)
    above.text(0.97, 0.06, "dashed: perfectly calibrated", transform=above.transAxes, ha="right", **WORDS)
    above.errorbar(stated, true, yerr=[true - low, high - true], fmt="o", color=BLUE, markersize=8, capsize=5)
    first = edges[:-1][filled.numpy()].min()
    above.set_xlim(first - 2, 102)
    above.set_ylim(min(first, low.min()) - 3, 103)
    style_axes(ax=below, x="stated probability (%)", y="pictures")
    below.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=style.ORANGE, edgecolor=BLACK)
    below.yaxis.set_major_locator(style.round_ticks(3, integer=True))
    among = f"{counted(int(counts.sum()), 'picture')} in {counted(len(counts), 'bin')}"
    text = f"Share that is correct against stated probability: {among}; the dashed line is perfect."
    return Drawing(figure, text, record.text)
