"""The learning-rate finder: a hundred steps, each longer than the last, and no trace of them afterwards.

Range test of Smith 2015; steps, smoothing, stop rule and the four suggestions as in fastai v2.
"""

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import accumulate, count

import numpy as np

from helpers.data.dataset import Batch
from helpers.runtime.progress import progress
from helpers.runtime.seeds import seeded
from helpers.runtime.text import number
from helpers.training.loop import set_rates, train_step
from helpers.training.run import Run

BETA = 0.98  # of the moving average
STOP_AT = 4.0  # times the best smoothed loss
FEWEST = 10  # points; fewer are no curve
CLEAR_FALL = 3.0  # standard errors that the fall must have before anything is advised; one flat curve in 40 has them


@dataclass(frozen=True, repr=False)
class LRFinderResult:
    """Loss against learning rate (of the last layer group), and four suggestions; None where there is no advice."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]  # of each step
    smooth: tuple[float, ...]  # debiased exponential moving average
    advice: str  # one sentence
    minimum: float | None = None  # a tenth of the rate with the lowest loss
    steep: float | None = None  # where the loss falls fastest per factor of the rate
    valley: float | None = None  # half way through the longest series of ever lower points
    slide: float | None = None  # well over one power of ten before the loss bends upwards

    def __repr__(self) -> str:
        return f"LRFinderResult: {len(self.lrs)} steps; {self.advice}"


def lr_find(run: Run, *, start: float = 1e-7, end: float = 10.0, steps: int = 100) -> LRFinderResult:
    """Train `steps` steps at rates from `start` to `end`, evenly spaced in log; stop when the loss is 4 times its best.

    A copy is trained: nothing of `run` changes, nor any random generator, also when the search is interrupted.
    Raises ValueError for rates that do not grow or fewer than ten steps.
    """
    if not 0 < start < end or steps < FEWEST:
        raise ValueError(f"the finder needs 0 < start < end and at least {FEWEST} steps; got {start}, {end}, {steps}")
    if not (last := run.optimizer.param_groups[-1]["base_lr"]) > 0:
        raise ValueError(f"the finder scales the rates of the groups by the last one, so that is above 0; got {last}")
    model, optimizer = deepcopy((run.model, run.optimizer))  # together: the optimizer's parameters stay the model's
    trial = replace(run, model=model.train(), optimizer=optimizer)
    rates = [start * (end / start) ** (i / (steps - 1)) for i in range(steps)]
    losses: list[float] = []
    with seeded("lr_find", run.plan.seed):
        for rate, batch in zip(rates, progress(batches_forever(run), "lr_find", total=steps), strict=False):
            set_rates(optimizer, rate / last, None)
            losses.append(float(train_step(trial, batch)))
            smooth = smoothed(losses)
            if not math.isfinite(losses[-1]) or smooth[-1] > STOP_AT * min(smooth):
                break
    return read_curve(rates[: len(losses)], losses, steps=steps)


def batches_forever(run: Run) -> Iterator[Batch]:
    """Training batches, epoch after epoch."""
    for epoch in count():
        yield from run.source.train_batches(run.device, run.plan.batch_size, run.plan.seed, "lr_find", epoch)


def smoothed(losses: Sequence[float], beta: float = BETA) -> list[float]:
    """Exponential moving average, corrected for its start: m_i / (1 - beta^i)."""
    averages = accumulate(losses, lambda average, loss: beta * average + (1 - beta) * loss, initial=0.0)
    return [average / (1 - beta**i) for i, average in enumerate(averages) if i > 0]


def read_curve(lrs: Sequence[float], losses: Sequence[float], *, steps: int = 100) -> LRFinderResult:
    """The curve with its suggestions. As in fastai the first tenth and the last five points do not count."""
    smooth = smoothed(losses)
    rates, curve = np.array(lrs[steps // 10 : -5]), np.array(smooth[steps // 10 : -5])
    if not np.isfinite(curve).all():
        rates, curve = rates[: np.isfinite(curve).argmin()], curve[: np.isfinite(curve).argmin()]
    columns = (tuple(lrs), tuple(losses), tuple(smooth))
    if len(curve) < FEWEST:
        advice = f"No advice: the loss left the curve after {len(losses)} steps; start at a lower rate."
        return LRFinderResult(*columns, advice)
    fall, error = fall_and_error(losses[: steps // 10 + int(curve.argmin()) + 1])
    if fall <= CLEAR_FALL * error:
        advice = (
            "No advice: the loss never clearly falls, single batches scatter more; take larger batches, or look at "
        )
        return LRFinderResult(*columns, advice + "the data and labels.")
    rules = {rule.__name__: rule(rates, curve) for rule in (minimum, steep, valley, slide)}
    return LRFinderResult(*columns, f"Take the valley, about {number(rules['valley'])}, or a rate near it.", **rules)


def fall_and_error(losses: Sequence[float]) -> tuple[float, float]:
    """How far the mean of the second half lies below that of the first, and the standard error of this difference.

    `losses` are those of single batches up to the curve's lowest point. Their scatter is taken from neighbours, whose
    rates are nearly the same, so that the fall itself does not count as scatter.
    """
    first, second = np.array_split(np.array(losses), 2)
    scatter = math.sqrt(np.square(np.diff(losses)).mean() / 2)  # a difference of two scatters by √2 of one
    return float(first.mean() - second.mean()), scatter * math.sqrt(1 / len(first) + 1 / len(second))


def minimum(lrs: np.ndarray, losses: np.ndarray) -> float:
    """A tenth of the rate at which the loss is lowest: at the lowest point itself it has stopped falling."""
    return float(lrs[losses.argmin()]) / 10


def steep(lrs: np.ndarray, losses: np.ndarray) -> float:
    """The rate at which the loss falls fastest against the logarithm of the rate.

    As in fastai that is the largest drop between two neighbouring points, which may be noise on the flat part.
    """
    return float(lrs[(np.diff(losses) / np.diff(np.log(lrs))).argmin()])


def valley(lrs: np.ndarray, losses: np.ndarray) -> float:
    """A half into the longest strictly falling subsequence (fastai's Valley: one third plus half of a third)."""
    lengths = []  # of the longest that ends at each point
    for i, loss in enumerate(losses):
        lengths.append(1 + max((lengths[j] for j in range(i) if loss < losses[j]), default=0))
    longest = max(lengths)
    return float(lrs[lengths.index(longest) - longest + int(longest / 3) + int(longest / 6)])


def slide(lrs: np.ndarray, losses: np.ndarray, *, apart: int = 15, threshold: float = 0.005) -> float:
    """From the right, the rate `apart` points before slopes that far apart become alike (Novetta's rule)."""
    slopes, right = np.gradient(losses), len(losses) - 1
    rate = lrs[max(right - apart, 0)]
    while right >= apart and abs(slopes[right] - slopes[right - apart]) > threshold:
        rate = lrs[right - apart]
        right -= 1
    return float(rate)
