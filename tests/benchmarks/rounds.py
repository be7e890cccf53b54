"""Contenders in turn: A B C, B C A, C A B ... so that what drifts (heat, other programs) meets all of them alike.

A ratio is taken within each round, then the median over the rounds. Ours runs twice in every round, as itself and as
"ours again": what these two differ by is the noise, and nothing below it is claimed.
"""

from collections.abc import Sequence
from statistics import mean, median, quantiles, stdev

OURS, AGAIN = "ours", "ours again"


def order(names: Sequence[str], number: int) -> list[str]:
    """The contenders of round `number`, each round beginning with another one."""
    start = number % len(names)
    return [*names[start:], *names[:start]]


def spread(values: Sequence[float]) -> float:
    """Interquartile range."""
    if len(values) < 2:
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low


def ratios(rounds: Sequence[dict[str, float]], peer: str) -> list[float]:
    """How many times as long (or as large) the peer's is as ours, round by round."""
    return [values[peer] / values[OURS] for values in rounds if peer in values and OURS in values]


def median_ratio(rounds: Sequence[dict[str, float]], peer: str) -> float:
    return median(ratios(rounds, peer))


def noise(rounds: Sequence[dict[str, float]]) -> float:
    """The largest share by which the same thing, run twice in one round, differed: 0.07 is 7 %."""
    both = [values for values in rounds if OURS in values and AGAIN in values]
    return max((max(v[AGAIN] / v[OURS], v[OURS] / v[AGAIN]) - 1 for v in both), default=0.0)


def best_tuned(rounds: Sequence[dict[str, float]], tuned: Sequence[str]) -> tuple[str, float]:
    """(name, ratio) of the tuned peer that comes nearest to ours; ("", nan) without one."""
    found = {name: median_ratio(rounds, name) for name in tuned if ratios(rounds, name)}
    name = min(found, key=found.get, default="")
    return name, found.get(name, float("nan"))


def not_lower(ours: Sequence[float], theirs: Sequence[float], n_pictures: int) -> bool:
    """Whether our accuracy is at least theirs, or lower by less than two standard errors of the difference.

    The error of each mean is the larger of what its seeds show and of what `n_pictures` validation pictures allow.
    """

    def error(values: Sequence[float]) -> float:
        p = mean(values)
        sampling = (p * (1 - p) / n_pictures) ** 0.5
        seeds = stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        return max(sampling, seeds)

    return mean(theirs) - mean(ours) <= 2 * (error(ours) ** 2 + error(theirs) ** 2) ** 0.5
