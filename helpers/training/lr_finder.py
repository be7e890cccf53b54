"""The learning-rate finder: a hundred steps, each longer than the last, and no trace of them afterwards.

Range test of Smith 2015; steps, smoothing and stop rule as in fastai v2. `helpers.analysis.lr_curve` reads the curve.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import accumulate, chain, count

from data_setup.base.progress import progress
from helpers.runtime.seeds import seeded
from helpers.training.loop import set_rates, train_step
from helpers.training.run import Run

BETA = 0.98  # of the moving average
STOP_AT = 4.0  # times the best smoothed loss
FEWEST = 10  # fewer are no curve


def lr_find(run: Run, *, start: float = 1e-7, end: float = 10.0, steps: int = 100) -> tuple[list[float], list[float]]:
    """Train `steps` steps at rates from `start` to `end`, evenly spaced in log; stop when the loss is 4 times its best.

    Returns the rates and the losses of the steps it took. A copy is trained: nothing of `run` changes, nor any random
    generator, also when the search is interrupted. Raises ValueError for rates that do not grow or too few steps.
    """
    if not 0 < start < end or steps < FEWEST:
        raise ValueError(f"the finder needs 0 < start < end and at least {FEWEST} steps; got {start}, {end}, {steps}")
    if not (last := run.optimizer.param_groups[-1]["base_lr"]) > 0:
        raise ValueError(f"the finder scales the rates of the groups by the last one, so that is above 0; got {last}")
    model, optimizer = deepcopy((run.model, run.optimizer))  # together: the optimizer's parameters stay the model's
    trial = replace(run, model=model.train(), optimizer=optimizer)
    rates = [start * (end / start) ** (i / (steps - 1)) for i in range(steps)]
    losses: list[float] = []
    key = run.device, run.plan.batch_size, run.plan.seed, "lr_find"
    batches = chain.from_iterable(run.source.train_batches(*key, n, share=run.share) for n in count())
    with seeded("lr_find", run.plan.seed):
        for rate, batch in zip(rates, progress(batches, "lr_find", total=steps), strict=False):
            set_rates(optimizer, rate / last, None)
            losses.append(float(train_step(trial, batch)))
            smooth = smoothed(losses)
            if not math.isfinite(losses[-1]) or smooth[-1] > STOP_AT * min(smooth):
                break
    return rates[: len(losses)], losses


def smoothed(losses: Sequence[float], beta: float = BETA) -> list[float]:
    """Exponential moving average, corrected for its start: m_i / (1 - beta^i)."""
    averages = accumulate(losses, lambda average, loss: beta * average + (1 - beta) * loss, initial=0.0)
    return [average / (1 - beta**i) for i, average in enumerate(averages) if i > 0]
