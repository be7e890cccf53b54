"""Schedules are functions: progress of the training, 0 to 1, in; a multiplier for the learning rate out."""

import math
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from data_setup.base.arguments import need_whole

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """1, whatever the progress."""
    return 1.0


def anneal(start: float, end: float, progress: float) -> float:
    """Half a cosine wave from `start` to `end` as progress goes 0..1."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def cosine(progress: float) -> float:
    """1 falls to 0 along half a cosine wave: slowly, fast, slowly."""
    return anneal(1.0, 0.0, progress)


def cycle_epochs(cycles: int, cycle_len: int = 1, cycle_mult: int = 1) -> list[int]:
    """Length of each cycle in epochs. Three cycles of cycle_len 1 and cycle_mult 2 are 1 + 2 + 4 = 7 epochs.

    Their sum is fastai 0.7's cycle_len (mult^n - 1) / (mult - 1).
    """
    need_whole(cycles=cycles, cycle_len=cycle_len, cycle_mult=cycle_mult)
    return [cycle_len * cycle_mult**index for index in range(cycles)]


def sgdr(cycles: int, cycle_len: int = 1, cycle_mult: int = 1) -> Schedule:
    """Cosine annealing with warm restarts (Loshchilov and Hutter 2016): each cycle falls from 1 to 0."""
    lengths = cycle_epochs(cycles, cycle_len, cycle_mult)
    ends = list(accumulate(lengths))

    def multiplier(progress: float) -> float:
        epoch = progress * ends[-1]
        cycle = bisect_right(ends[:-1], epoch + 1e-9)  # an end belongs to the next cycle, but for the last one's
        return cosine(1 - (ends[cycle] - epoch) / lengths[cycle])

    return multiplier


def two_phases(start: float, middle: float, end: float, pct_start: float) -> Schedule:
    """`start` to `middle` over the first `pct_start` of training, then to `end`, each along half a cosine wave."""

    def value(progress: float) -> float:
        if progress < pct_start:
            return anneal(start, middle, progress / pct_start)
        return anneal(middle, end, (progress - pct_start) / (1 - pct_start))

    return value


def one_cycle(*, pct_start: float = 0.25, div: float = 25.0, div_final: float = 1e5) -> Schedule:
    """1/div rises to 1 over the first `pct_start` of training, then falls to 1/div_final, both along a cosine.

    Smith and Topin 2017; defaults of fastai v2 (v1 had pct_start 0.3).
    """
    if not 0 < pct_start < 1:
        raise ValueError(f"pct_start is the rising share of training, between 0 and 1; got {pct_start}")
    return two_phases(1 / div, 1.0, 1 / div_final, pct_start)


def one_cycle_momentum(*, pct_start: float = 0.25, high: float = 0.95, low: float = 0.85) -> Schedule:
    """Momentum moves against the rate: `high` to `low` and back to `high` (a value, not a multiplier)."""
    return two_phases(high, low, high, pct_start)


def flat_cosine(*, pct_start: float = 0.75) -> Schedule:
    """1 for the first `pct_start` of training, then a cosine to 0 (fastai v2's `fit_flat_cos`, which ends at 1e-5)."""
    if not 0 <= pct_start < 1:
        raise ValueError(f"pct_start is the flat share of training, at least 0 and below 1; got {pct_start}")
    return lambda progress: 1.0 if progress < pct_start else cosine((progress - pct_start) / (1 - pct_start))
