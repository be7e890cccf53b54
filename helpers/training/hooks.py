"""Hooks for the training loop: keep the best weights, stop early, average weights.

Pass them to any `fit`: learn.fit_one_cycle(10, 1e-3, hooks=[KeepBest()]). `Hook` in `helpers.training.run` says when
each of their methods is called.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from helpers.runtime.precision import autocast
from helpers.runtime.seeds import seeded
from helpers.training.run import Hook, Run


class KeepBest(Hook):
    """Keeps the weights of the epoch with the best validation loss and puts them back at the end.

    The best of many epochs was chosen on the validation set: its accuracy there is optimistic.
    """

    remembers = ("best", "weights")

    def on_fit_begin(self, run: Run) -> None:
        self.best, self.weights = float("inf"), None

    def on_epoch_end(self, run: Run) -> None:
        loss = run.history.epochs[-1].valid_loss
        if loss < self.best:
            self.best, self.weights = loss, copy_of_weights(run)

    def on_fit_end(self, run: Run) -> None:
        if self.weights is not None:
            run.model.load_state_dict(self.weights)


class EarlyStopping(Hook):
    """Ends the training when the validation loss has not improved for `patience` epochs.

    With a rate that falls towards the end the best weights come last: prefer training again for fewer epochs.
    """

    remembers = ("best", "waited")

    def __init__(self, patience: int = 1):
        self.patience = patience

    def on_fit_begin(self, run: Run) -> None:
        self.best, self.waited = float("inf"), 0

    def on_epoch_end(self, run: Run) -> None:
        loss = run.history.epochs[-1].valid_loss
        self.best, self.waited = (loss, 0) if loss < self.best else (self.best, self.waited + 1)
        if self.waited >= self.patience:
            print(f"stopping early: no better validation loss for {self.patience} epochs")
            run.stop = True


class AverageWeights(Hook):
    """At the end the weights become the mean of those after the epochs `ends`, counted from 1.

    With the cycles' last epochs: the mean of SGDR's models; with the last few epochs: stochastic weight averaging
    (Izmailov et al. 2018). Raises ValueError when the training has no two of these epochs.
    """

    remembers = ("n", "mean")

    def __init__(self, ends: Sequence[int]):
        self.ends = sorted(set(map(int, ends)))

    def on_fit_begin(self, run: Run) -> None:
        if len(self.ends) < 2 or not 1 <= self.ends[0] < self.ends[-1] <= run.plan.epochs:
            raise ValueError(
                f"AverageWeights(ends) takes at least two of this training's epochs, 1 to {run.plan.epochs}; "
                f"got {self.ends}"
            )
        self.n, self.mean = 0, None

    def on_epoch_end(self, run: Run) -> None:
        if run.done not in self.ends:
            return
        self.n += 1
        weights = copy_of_weights(run)
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


def copy_of_weights(run: Run) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
