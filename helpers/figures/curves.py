"""Lines: losses, metrics, rates. Each function draws one record and returns a `Drawing`.

The rule for the sentence (`text`), which notebooks compare word for word on every machine: it holds what follows from
the data and the settings, and of trained numbers only what a wide margin separates ("fell" means by more than 10 %).
Decimals of this run are in the figure, and in `detail`, which only the alternative text carries.
"""

import math

import numpy as np

from data_setup.base.text import counted, listed, number
from helpers.analysis.lr_curve import LRFinderResult
from helpers.figures import style
from helpers.figures.style import BLACK, BLUE, GREEN, GREY, MIDDLE_PT, PINK, RED, Drawing, empty_drawing, style_axes
from helpers.training.lr_finder import smoothed
from helpers.training.run import History


def plot_loss(history: History) -> Drawing:
    """Training loss of every step with a smoothed line, and the validation loss after each epoch.

    Leaves out the first ten and the last five steps, as the lectures do, when enough remain.
    """
    _need(history, History, "plot_loss(learn.history)")
    losses = np.asarray(history.losses, dtype=float)
    if not len(losses):
        return empty_drawing("No loss to draw yet: nothing has been trained.")
    shown, steps = _without_ends(len(losses)), np.arange(1, len(losses) + 1)
    ax = style_axes(x="training step", y="loss (dots: single batches)")
    ax.plot(steps[shown], losses[shown], ".", color=GREY, markersize=4)
    (training,) = ax.plot(steps[shown], _smooth(losses)[shown], "-", color=BLUE, linewidth=2.5, label="training")
    drawn = {"training": training}
    ends = zip(np.cumsum(history.steps_per_epoch), history.epochs, strict=False)  # an interrupted epoch has no row
    validated = [(end, epoch) for end, epoch in ends if math.isfinite(epoch.valid_loss)]
    if validated:
        places, values = zip(*((end, epoch.valid_loss) for end, epoch in validated), strict=True)
        look = {"color": RED, "linewidth": 2, "markersize": 8, "label": "validation"}
        (drawn["validation"],) = ax.plot(places, values, "s--", **look)
    ax.set_xlim(0, len(losses) * 1.02)
    style.name_ends(ax, drawn)
    text = f"Training loss over {counted(len(losses), 'step')} ({counted(len(history.epochs), 'epoch')}): "
    text += f"it {_course(losses)}{'; validation loss is marked after each epoch' if validated else ''}."
    if broken := int((~np.isfinite(losses)).sum()):
        text += f" At {counted(broken, 'step')} it was not a finite number."
    if not validated:
        return Drawing(ax.figure, text)
    best = min((epoch for _, epoch in validated), key=lambda epoch: epoch.valid_loss)
    lowest = f"its lowest is {best.valid_loss:.3f}, in epoch {best.number}"
    return Drawing(ax.figure, text, f"Validation loss ended at {values[-1]:.3f}; {lowest}.")


def _need(record: object, kind: type, line: str) -> None:
    if not isinstance(record, kind):
        raise TypeError(f"expected a {kind.__name__}, got {type(record).__name__}; type {line}")


def _without_ends(n: int) -> slice:
    return slice(10, n - 5) if n > 30 else slice(0, n)


def _course(losses: np.ndarray) -> str:
    """From the first tenth to the last."""
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return "was never a finite number"
    tenth = max(1, len(finite) // 10)
    first, last = finite[:tenth].mean(), finite[-tenth:].mean()
    margin = 0.1 * abs(first)
    return "fell" if last < first - margin else "rose" if last > first + margin else "stayed about level"


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Moving average over a tenth of the steps, at most 50 (beta 0.98, fastai's); gaps where not finite."""
    finite = np.isfinite(losses)
    smooth = np.full(len(losses), math.nan)
    smooth[finite] = smoothed(losses[finite], beta=1 - 1 / max(1.0, min(50.0, len(losses) / 10)))
    return smooth


def plot_lr(history: History) -> Drawing:
    """The learning rate (of the last layer group) and the momentum at every step, one above the other."""
    _need(history, History, "plot_lr(learn.history)")
    lrs, momentums = history.lrs, history.momentums
    if not len(lrs):
        return empty_drawing("No learning rate to draw yet: nothing has been trained.")
    rows = [("learning rate", lrs, BLUE, "-")] + [("momentum", momentums, RED, "--")] * (len(momentums) > 0)
    figure = style.new_figure(2.6 * len(rows))
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, values, colour, dash) in zip(panels, rows, strict=True):
        style_axes(ax=ax, x="training step" if ax is panels[-1] else "", y=name)
        ax.yaxis.set_major_locator(style.round_ticks(4))
        mark = "o" if len(values) == 1 else None
        ax.plot(range(1, len(values) + 1), values, color=colour, linestyle=dash, linewidth=2.5, marker=mark)
        if min(values) == max(values):  # else a constant looks as if it wavered
            ax.set_ylim(values[0] - (abs(values[0]) or 1) / 10, values[0] + (abs(values[0]) or 1) / 10)
    said = f"{number(lrs[0])} throughout"
    if min(lrs) < max(lrs):
        said = f"it starts at {number(lrs[0])}, is highest ({number(max(lrs))}) at step {np.argmax(lrs) + 1} "
        said += f"and ends at {number(lrs[-1])}"
    if len(momentums):
        low, high = number(min(momentums)), number(max(momentums))
        said += f"; momentum {f'stays at {low}' if low == high else f'is between {low} and {high}'}"
    return Drawing(figure, f"Learning rate over {counted(len(lrs), 'step')}: {said}.")


RATE_MARKS = {"steep": ("^", RED), "valley": ("v", GREEN), "slide": ("D", PINK), "minimum": ("s", BLACK)}


def plot_lr_find(curve: LRFinderResult) -> Drawing:
    """Loss against learning rate from the LR finder, its four suggestions marked, or why there are none.

    Leaves out the first ten and the last five steps when enough remain. The right end of the curve may leave
    the picture: there the loss has run away, and the part that matters would be too flat to see.
    """
    _need(curve, LRFinderResult, "plot_lr_find(learn.lr_find())")
    lrs, losses, smooth = (np.asarray(row, dtype=float) for row in (curve.lrs, curve.losses, curve.smooth))
    shown, usable = _without_ends(len(lrs)), np.isfinite(smooth)
    ax = style_axes(x="learning rate (log axis)", y="loss (smoothed; dots: raw)", log_x=True, height_in=4.4)
    ax.plot(lrs[shown], losses[shown], ".", color=GREY, markersize=4)
    ax.plot(lrs[shown], smooth[shown], "-", color=BLUE, linewidth=2.5)
    marks = {name: rate for name in RATE_MARKS if (rate := getattr(curve, name)) is not None}
    if len(finite := smooth[shown][usable[shown]]):
        scatter = 0.0 if marks else float(abs(losses - smooth)[shown][usable[shown]][: len(finite) // 2 + 1].max())
        start, low = float(np.median(finite[: max(1, len(finite) // 10)])), float(finite.min())
        fall = max(start - low, scatter, 0.05 * abs(start), 1e-6)
        ax.set_ylim(low - max(0.15 * fall, scatter), min(max(*finite, start + scatter), start + fall) + 0.3 * fall)
    if not marks:
        style.say_inside(ax, curve.advice, at=(0.5, 1.16))  # above: inside it would hide the curve
        text = "Loss against learning rate (log axis), without advice: the curve does not support any."
        return Drawing(ax.figure, text, curve.advice)
    for name, rate in marks.items():
        loss, (shape, colour) = np.interp(math.log(rate), np.log(lrs[usable]), smooth[usable]), RATE_MARKS[name]
        look = {"color": colour, "markersize": 11, "markeredgecolor": "white", "zorder": 6}
        ax.plot([rate], [loss], shape, label=f"{name} {number(rate)}", clip_on=False, **look)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=MIDDLE_PT)
    lowest = float(lrs[shown][np.nanargmin(smooth[shown])])  # moves by a factor of two between machines
    about = "below 0.001" if lowest < 1e-3 else "between 0.001 and 1" if lowest <= 1 else "above 1"
    text = f"Loss against learning rate (log axis), lowest at a rate {about}; marked: {listed(list(marks))}."
    said = listed([f"{name} {number(rate)}" for name, rate in marks.items()])
    detail = f"After {counted(len(lrs), 'step')}, lowest at {number(lowest)}; {said}. {curve.advice}"
    return Drawing(ax.figure, text, detail)
