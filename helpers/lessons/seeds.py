"""The same small training over several seeds, and what one way of training gains on another, in pairs."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_setup.base.arguments import did_you_mean
from helpers.analysis.intervals import check_same_pictures
from helpers.analysis.predictions import Predictions
from helpers.lessons.chosen import THE_COURSES, positive_of
from helpers.lessons.measure_words import MEASURES
from helpers.lessons.scoreboard import Measures, resampled, summarise
from helpers.runtime.seeds import seed_for


@dataclass(frozen=True)
class SeedRuns:
    """One way of training, once for each seed; entry i of `preds` is about seeds[i], all on the same photographs."""

    name: str
    seeds: tuple[int, ...]
    preds: tuple[Predictions, ...]
    positive: str | None

    @cached_property
    def draws(self) -> list[dict[str, np.ndarray]]:
        """For each seed every measure (1 + D,): its value, then those of the drawn sets, the same for all seeds."""
        return [resampled(preds, self.positive) for preds in self.preds]

    def values(self, measure: str) -> list[float]:
        """This measure ("auc", "found", ...) for each seed."""
        return [float(each[measure][0]) for each in self.draws]

    @property
    def text(self) -> str:
        """A line for each measure: its value for each seed, and the mean."""
        n = int((self.preds[0].targets >= 0).sum())
        lines = [f"{self.name}: {len(self.seeds)} seeds ({', '.join(map(str, self.seeds))}), {n} photographs"]
        for name, words in MEASURES.items():
            if name in self.draws[0]:
                row = self.values(name)
                shown = "  ".join(f"≈ {words.number(value)}" for value in row)
                lines.append(f"  {words.short:8}  {shown}  mean ≈ {words.number(float(np.mean(row)))}{words.unit}")
        return "\n".join(lines)


@did_you_mean
def many_seeds(
    name: str,
    train: Callable[[int], Predictions],
    *,
    seeds: int | Sequence[int] = 3,
    positive: str | None = THE_COURSES,
) -> SeedRuns:
    """Call `train(seed)` for each seed (a count means 0, 1, ...); it trains from the start and returns its predictions.

    What the trainings print is not shown. `positive` as in `measures`.
    """
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if len(numbers) < 2:
        raise ValueError(f"one run says nothing about luck: give at least 2 seeds; got {seeds}")
    preds = []
    for seed in numbers:
        with redirect_stdout(io.StringIO()):
            found = train(seed)
        if not isinstance(found, Predictions):
            raise TypeError(f"train(seed) returns predictions, as learn.get_preds() does; got {type(found).__name__}")
        if preds:
            check_same_pictures(preds[0], found)
        preds.append(found)
    return SeedRuns(name, numbers, tuple(preds), positive_of(preds[0].classes, positive))


@dataclass(frozen=True)
class SeedComparison:
    """Second minus first, mean over the seeds, with intervals over photographs and seeds."""

    first: SeedRuns
    second: SeedRuns
    gains: Measures
    by_seed: dict[str, tuple[float, ...]]  # measure -> the difference for each seed

    def significant(self, measure: str) -> bool:
        """Whether 0 lies outside the 95 % confidence interval of this measure's difference."""
        interval = getattr(self.gains, measure)
        return not interval.low <= 0 <= interval.high

    @property
    def text(self) -> str:
        """A line for each measure: the mean difference, its interval, and with how many seeds it is an improvement."""
        n_seeds = len(self.first.seeds)
        lines = [
            f"{self.second.name} minus {self.first.name}: mean of {n_seeds} seeds, {self.gains.n} photographs "
            "(95 % confidence intervals)"
        ]
        for name, words in MEASURES.items():
            if name in self.by_seed:
                sign = -1 if words.lower_is_better else 1
                better = sum(sign * difference > 0 for difference in self.by_seed[name])
                change = words.step_text(getattr(self.gains, name))
                lines.append(f"  {words.short:8}  {change}, better with ≈ {better} of {n_seeds} seeds")
        return "\n".join(lines)


@did_you_mean
def compare_seeds(first: SeedRuns, second: SeedRuns) -> SeedComparison:
    """Is the second way of training better? Pairs of equal seeds on equal photographs, drawn together.

    A draw takes photographs and seeds with replacement (Efron and Tibshirani 1993, chapter 8). The differences between
    seeds are widened by the root of S / (S - 1) first, as few seeds drawn with replacement vary too little.
    """
    if first.seeds != second.seeds or first.positive != second.positive:
        raise ValueError(
            f"a paired comparison needs the same seeds and class: {first.name} has {first.seeds} and "
            f"{first.positive}, {second.name} {second.seeds} and {second.positive}"
        )
    check_same_pictures(first.preds[0], second.preds[0])
    pairs = list(zip(first.draws, second.draws, strict=True))
    differences = {name: np.stack([after[name] - before[name] for before, after in pairs]) for name in first.draws[0]}
    n_seeds, n_draws = next(iter(differences.values())).shape
    chosen = np.random.default_rng(seed_for("seeds", n_seeds)).integers(0, n_seeds, (n_seeds, n_draws))
    chosen[:, 0] = range(n_seeds)  # the estimate: every seed once
    drawn = {}
    for name, each in differences.items():  # (S, 1 + D)
        mean = each.mean(axis=0)
        wider = mean + (each - mean) * np.sqrt(n_seeds / (n_seeds - 1))
        drawn[name] = np.take_along_axis(wider, chosen, axis=0).mean(axis=0)
    by_seed = {name: tuple(each[:, 0].tolist()) for name, each in differences.items()}
    return SeedComparison(first, second, summarise(drawn, first.preds[0]), by_seed)
