"""Lines: losses, metrics, rates. Each function draws one record and returns a `Drawing`.

The rule for the sentence (`text`), because notebooks compare it word for word on every machine: it holds what
follows from the data and the settings (what is drawn, how many, in which classes, the rates of a schedule),
and of trained numbers only what a wide margin separates: a direction ("fell" means by more than 10 %), "more
than half", one of three ranges. Decimals of this one run are in the figure, and in `detail`, which only
the alternative text carries. Where a lesson's own numbers lie on such a margin, `.with_caption("...")`
puts another sentence.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes

from helpers.figures.style import (
    BLACK,
    BLUE,
    COLOURS,
    DASHES,
    GREEN,
    GREY,
    MARKS,
    PINK,
    RED,
    WORDS,
    Drawing,
    empty_drawing,
    name_ends,
    new_figure,
    round_ticks,
    say_inside,
    style_axes,
)
from helpers.runtime.text import counted, listed, number
from helpers.training.lr_finder import smoothed

# Training ---------------------------------------------------------------------------------------------------


def plot_loss(history) -> Drawing:
    """Training loss of every step with a smoothed line, and the validation loss after each epoch.

    Leaves out the first ten and the last five steps, as the lectures do, when enough remain.
    """
    losses = np.asarray(history.losses, dtype=float)
    if not len(losses):
        return empty_drawing("No loss to draw yet: nothing has been trained.")
    shown = _without_ends(len(losses))
    steps, smooth = np.arange(1, len(losses) + 1), _smooth(losses)
    ax = style_axes(x="training step", y="loss (dots: single batches)")
    ax.plot(steps[shown], losses[shown], ".", color=GREY, markersize=4)
    drawn = ax.plot(steps[shown], smooth[shown], "-", color=BLUE, linewidth=2.5, label="training")
    validated = [epoch for epoch in history.epochs if math.isfinite(epoch.valid_loss)]
    if validated:
        ends_of_epochs = np.cumsum(history.steps_per_epoch)
        places = [ends_of_epochs[i] for i, epoch in enumerate(history.epochs) if math.isfinite(epoch.valid_loss)]
        values = [epoch.valid_loss for epoch in validated]
        drawn += ax.plot(places, values, "s--", color=RED, linewidth=2, markersize=8, label="validation")
    ax.set_xlim(0, len(losses) * 1.02)
    name_ends(ax, {line.get_label(): line for line in drawn})
    return Drawing(ax.figure, *_loss_words(losses, history.epochs, validated))


def _without_ends(n: int) -> slice:
    return slice(10, n - 5) if n > 30 else slice(0, n)


def _loss_words(losses: np.ndarray, epochs: Sequence, validated: Sequence) -> tuple[str, str]:
    finite = losses[np.isfinite(losses)]
    first, last = _first_and_last_tenth(finite)
    steps = f"{counted(len(losses), 'step')} ({counted(len(epochs), 'epoch')})"
    text = f"Training loss over {steps}: it {_trend(first, last)}"
    text += "; validation loss is marked after each epoch." if validated else "."
    if broken := len(losses) - len(finite):
        text += f" At {counted(broken, 'step')} it was not a finite number."
    detail = f"Mean of the first tenth {first:.3f}, of the last tenth {last:.3f}." if len(finite) else ""
    if validated:
        best = min(validated, key=lambda epoch: epoch.valid_loss)
        detail += (
            f" Validation loss ended at {validated[-1].valid_loss:.3f}; "
            f"its lowest is {best.valid_loss:.3f}, in epoch {best.number}."
        )
    return text, detail.strip()


def _first_and_last_tenth(values: np.ndarray) -> tuple[float, float]:
    tenth = max(1, len(values) // 10)
    return (fmean(values[:tenth]), fmean(values[-tenth:])) if len(values) else (math.nan, math.nan)


def _trend(first: float, last: float) -> str:
    if math.isnan(first):
        return "was never a finite number"
    margin = 0.1 * abs(first)
    return "fell" if last < first - margin else "rose" if last > first + margin else "stayed about level"


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Moving average over a tenth of the steps, at most 50 (beta 0.98, fastai's); gaps where not finite."""
    finite = np.isfinite(losses)
    smooth = np.full(len(losses), math.nan)
    smooth[finite] = smoothed(losses[finite], beta=1 - 1 / max(1.0, min(50.0, len(losses) / 10)))
    return smooth


def plot_metrics(history) -> Drawing:
    """Each metric of the validation set after each epoch; the last value of each is written at its end."""
    if not history.epochs:
        return empty_drawing("No metric to draw yet: no epoch has been finished.")
    names = list(history.epochs[-1].metrics)
    if not names:
        return empty_drawing("No metric to draw: this history has no metrics.")
    epochs = [epoch.number for epoch in history.epochs]
    ax = style_axes(x="epoch (counted from 0)", y="on the validation set")
    drawn = {}
    for i, name in enumerate(names):
        values = [epoch.metrics.get(name, math.nan) for epoch in history.epochs]
        look = {"color": COLOURS[i % 7], "linestyle": DASHES[i % 7], "marker": MARKS[i % 7]}
        line = ax.plot(epochs, values, markersize=8, linewidth=2, label=name, **look)[0]
        drawn[f"{name} {values[-1]:.3f}"] = line
    ax.set_xticks(epochs[:: math.ceil(len(epochs) / 10)])
    ax.margins(y=0.15)
    name_ends(ax, drawn)
    when = "the only epoch" if len(epochs) == 1 else f"each of {len(epochs)} epochs"
    text = f"{listed(names).capitalize()} on the validation set after {when}."
    return Drawing(ax.figure, text, f"At the end: {listed(list(drawn))}.")


# Rates ------------------------------------------------------------------------------------------------------


def plot_lr(history) -> Drawing:
    """The learning rate (of the last layer group) and the momentum at every step, one above the other."""
    lrs, momentums = history.lrs, history.momentums
    if not len(lrs):
        return empty_drawing("No learning rate to draw yet: nothing has been trained.")
    rows = [("learning rate", lrs, BLUE, "-")] + [("momentum", momentums, RED, "--")] * (len(momentums) > 0)
    figure = new_figure(2.6 * len(rows))
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, values, colour, dash) in zip(panels, rows, strict=True):
        style_axes(ax=ax, x="training step" if name == rows[-1][0] else "", y=name)
        ax.yaxis.set_major_locator(round_ticks(4))
        mark = "o" if len(values) == 1 else None
        ax.plot(range(1, len(values) + 1), values, color=colour, linestyle=dash, linewidth=2.5, marker=mark)
        if min(values) == max(values):  # else a constant looks as if it wavered
            ax.set_ylim(values[0] - (abs(values[0]) or 1) / 10, values[0] + (abs(values[0]) or 1) / 10)
    text = f"Learning rate over {counted(len(lrs), 'step')}: {_schedule_in_words(lrs)}"
    if len(momentums):
        low, high = number(min(momentums)), number(max(momentums))
        text += f"; momentum {f'stays at {low}' if low == high else f'is between {low} and {high}'}"
    return Drawing(figure, text + ".")


def _schedule_in_words(lrs: Sequence[float]) -> str:
    if min(lrs) == max(lrs):
        return f"{number(lrs[0])} throughout"
    peak = int(np.argmax(lrs))
    return (
        f"it starts at {number(lrs[0])}, is highest ({number(lrs[peak])}) at step {peak + 1} "
        f"and ends at {number(lrs[-1])}"
    )


RATE_MARKS = {"steep": ("^", RED), "valley": ("v", GREEN), "slide": ("D", PINK), "minimum": ("s", BLACK)}


def plot_lr_find(curve) -> Drawing:
    """Loss against learning rate from the LR finder, its four suggestions marked, or why there are none.

    Leaves out the first ten and the last five steps when enough remain. The right end of the curve may leave
    the picture: there the loss has run away, and the part that matters would be too flat to see.
    """
    lrs, losses, smooth = (np.asarray(row, dtype=float) for row in (curve.lrs, curve.losses, curve.smooth))
    if not len(lrs):
        return empty_drawing("No curve to draw: the finder took no step.")
    shown = _without_ends(len(lrs))
    ax = style_axes(x="learning rate (log axis)", y="loss (smoothed; dots: raw)", log_x=True, height_in=4.4)
    ax.plot(lrs[shown], losses[shown], ".", color=GREY, markersize=4)
    ax.plot(lrs[shown], smooth[shown], "-", color=BLUE, linewidth=2.5, label="smoothed loss")
    marks = {name: rate for name in RATE_MARKS if (rate := getattr(curve, name)) is not None}
    finite = smooth[shown][np.isfinite(smooth[shown])]
    if len(finite):
        ax.set_ylim(*_loss_limits(finite, with_marks=bool(marks)))
    if not marks:
        say_inside(ax, curve.advice, at=(0.5, 0.84))
        text = "Loss against learning rate (log axis), without advice: the curve does not support any."
        return Drawing(ax.figure, text, curve.advice)
    _mark_rates(ax, marks, lrs, smooth)
    lowest = float(lrs[shown][np.nanargmin(smooth[shown])])
    text = (
        f"Loss against learning rate (log axis), lowest at a rate {_range_of(lowest)}; marked: {listed(list(marks))}."
    )
    said = listed([f"{name} {number(rate)}" for name, rate in marks.items()])
    detail = f"After {counted(len(lrs), 'step')}, lowest at {number(lowest)}; {said}. {curve.advice}"
    return Drawing(ax.figure, text, detail)


def _loss_limits(smooth: np.ndarray, *, with_marks: bool) -> tuple[float, float]:
    """Room below the start for the fall, a little above it, and the upper part of the axes for the words."""
    start, low = float(np.median(smooth[: max(1, len(smooth) // 10)])), float(smooth.min())
    fall = max(start - low, 0.05 * abs(start), 1e-6)
    top = start + 0.5 * fall if with_marks else min(float(smooth.max()), start + 3 * fall) + 0.1 * fall
    bottom = low - 0.15 * fall
    return bottom, bottom + (1.6 if with_marks else 1.45) * (top - bottom)


def _mark_rates(ax: Axes, marks: Mapping[str, float], lrs: np.ndarray, smooth: np.ndarray) -> None:
    """A mark of its own shape on the curve for each rate; above it name and value, beside a line to the mark.

    The names form steps, left of their lines where there is room, else right, so that no line crosses one.
    """
    left, right = np.log10(ax.get_xlim())
    usable = np.isfinite(smooth)
    low_first = sorted(marks.items(), key=lambda mark: mark[1])
    no_room = [name for name, rate in low_first if (math.log10(rate) - left) / (right - left) < 0.3]
    steps = [*reversed(low_first[: len(no_room)]), *low_first[len(no_room) :]]
    for step, (name, rate) in enumerate(steps):
        shape, colour = RATE_MARKS[name]
        y = float(np.interp(math.log(rate), np.log(lrs[usable]), smooth[usable]))
        side, edge = ("left", 0) if name in no_room else ("right", 1)
        ax.plot([rate], [y], shape, color=colour, markersize=11, markeredgecolor="white", zorder=6, label=name)
        line = {"arrowstyle": "-", "color": colour, "linewidth": 1.5, "relpos": (edge, 0.5), "shrinkA": 0, "shrinkB": 6}
        ax.annotate(
            f" {name} {number(rate)} ",
            xy=(rate, y),
            xytext=(rate, 0.7 + 0.09 * step),
            textcoords=ax.get_xaxis_transform(),
            ha=side,
            va="center",
            zorder=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            arrowprops=line,
            **WORDS,
        )


def _range_of(rate: float) -> str:
    """Three wide ranges: the lowest point of one network on one data set moves by a factor of two between machines."""
    return "below 0.001" if rate < 1e-3 else "between 0.001 and 1" if rate <= 1 else "above 1"
