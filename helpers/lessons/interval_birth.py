"""How a confidence interval is born: the same photographs drawn again and again, and an interval from each draw."""

from collections.abc import Sequence

import torch

from data_setup.base.text import counted, listed
from helpers.analysis.intervals import Interval, wilson
from helpers.analysis.predictions import Predictions
from helpers.figures.style import BIG_PT, BLACK, BLUE, MIDDLE_PT, ORANGE, SMALL_PT, Drawing, new_figure, round_ticks
from helpers.runtime.seeds import generator

TIMES = 100


def drawn_intervals(preds: Predictions, n: int, *, times: int = TIMES, seed: int = 0) -> list[Interval]:
    """`times` intervals of the accuracy (Wilson's, 95 %), each from `n` photographs drawn with replacement."""
    if n < 1:
        raise ValueError(f"an interval needs at least 1 photograph; got n={n}")
    correct = preds.labelled().correct
    rng = generator("interval birth", n, seed)
    rows = torch.randint(len(correct), (times, n), generator=rng)
    return [wilson(int(right), n) for right in correct[rows].sum(dim=1)]


def how_an_interval_is_born(preds: Predictions, sizes: Sequence[int] = (50, 200, 536), *, seed: int = 0) -> Drawing:
    """A hundred intervals of each size as sticks; the line is the truth, and sticks that miss it are orange.

    The truth is the accuracy on all photographs of `preds`: here it is known, on new photographs it never is.
    """
    truth = preds.accuracy()
    figure = new_figure(4.4)
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    said = []
    for ax, n in zip(panels, sizes, strict=True):
        intervals = drawn_intervals(preds, n, seed=seed)
        missing = [not interval.low <= truth <= interval.high for interval in intervals]
        for y, (interval, misses) in enumerate(zip(intervals, missing, strict=True)):
            colour, width = (ORANGE, 3) if misses else (BLUE, 1.2)
            ax.plot([y, y], [100 * interval.low, 100 * interval.high], color=colour, linewidth=width)
        ax.axhline(100 * truth, color=BLACK, linewidth=1.5)
        ax.set_title(f"{n} photographs,\n{sum(missing)} of {TIMES} miss", fontsize=MIDDLE_PT)
        ax.set_xticks([])
        ax.tick_params(labelsize=SMALL_PT)
        ax.yaxis.set_major_locator(round_ticks(6))
        ax.spines[["top", "right", "bottom"]].set_visible(False)
        width = sum(interval.high - interval.low for interval in intervals) / TIMES
        said.append(f"{n} (≈ {sum(missing)} miss, ≈ {100 * width:.0f} points wide)")
    panels[0].set_ylabel("accuracy (%)", fontsize=BIG_PT)
    panels[len(panels) // 2].set_xlabel("one stick for each draw", fontsize=BIG_PT)
    text = (
        f"{counted(TIMES, 'interval')} each, from draws of {listed(said)} photographs; "
        f"the line is the accuracy on all {len(preds.labelled().items)}, ≈ {100 * truth:.1f} %."
    )
    return Drawing(figure, text)
