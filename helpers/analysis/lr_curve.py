"""What a search for the learning rate says: four suggestions as in fastai v2, or none when the loss does not fall."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_setup.base.text import number
from helpers.training.lr_finder import FEWEST, smoothed

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
        fix = "take larger batches, or look at the data and labels."
        return LRFinderResult(*columns, f"No advice: the loss never clearly falls, single batches scatter more; {fix}")
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
