"""A hook that averages weights, for any `fit`: learn.fit(1e-2, 3, cycle_len=2, hooks=[AverageWeights([2, 4, 6])])."""

from collections.abc import Sequence

import torch
from torch import nn

from helpers.runtime.precision import autocast
from helpers.runtime.seeds import seeded
from helpers.training.run import Hook, Run


class AverageWeights(Hook):
    """At the end the weights become the mean of those after the epochs `ends`, counted from 1.

    With the cycles' last epochs: the mean of SGDR's models; with the last few epochs: stochastic weight averaging
    (Izmailov et al. 2018). Raises ValueError for fewer than two, and for one that the training does not have.
    """

    remembers = ("n", "mean")

    def __init__(self, ends: Sequence[int]):
        self.ends = sorted(set(map(int, ends)))

    def on_fit_begin(self, run: Run) -> None:
        if len(self.ends) < 2 or not 1 <= self.ends[0] < self.ends[-1] <= run.plan.epochs:
            fits = f"at least two of this training's epochs, 1 to {run.plan.epochs}"
            raise ValueError(f"AverageWeights(ends) takes {fits}; got {self.ends}")
        self.n, self.mean = 0, None

    def on_epoch_end(self, run: Run) -> None:
        if run.done not in self.ends:
            return
        self.n += 1
        weights = run.weights()
        for name, tensor in weights.items():
            if self.n > 1 and tensor.is_floating_point():
                tensor.lerp_(self.mean[name], 1 - 1 / self.n)
        self.mean = weights

    def on_fit_end(self, run: Run) -> None:
        if self.n < len(self.ends):
            found = f"the training ended after {self.n} of the {len(self.ends)} epochs to average"
            print(f"{found}: " + ("these are averaged" if self.n > 1 else "the weights stay the last ones"))
        if self.n > 1:
            run.model.load_state_dict(self.mean)
            measure_statistics(run)


def measure_statistics(run: Run) -> None:
    """Give BatchNorm the statistics of the present weights, where it is not frozen: the mean over one epoch's batches.

    torch.optim.swa_utils.update_bn would also reset the statistics that are frozen.
    """
    run.model.train()
    norms = [m for m in run.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    momentums = [norm.momentum for norm in norms]
    plan, batch_size = run.plan, -(-run.plan.batch_size // run.micro_batches)  # no more at a time than in training
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean of all batches
        with torch.no_grad(), autocast(run.device, plan.precision), seeded("average", plan.seed):
            for batch in run.source.train_batches(run.device, batch_size, plan.seed, "average"):
                run.model.after(batch.inputs, run.split_point)
    finally:
        for norm, momentum in zip(norms, momentums, strict=True):
            norm.momentum = momentum
        run.model.eval()
