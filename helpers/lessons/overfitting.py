"""A hook for "train until it over-fits": it ends a training with restarts at the first cycle that got worse."""

from collections.abc import Sequence

from helpers.training.hooks import copy_of_weights
from helpers.training.run import Hook, Run


class StopAtOverfitting(Hook):
    """Ends the training when one of the epochs `ends` has a higher validation loss than the one before it in `ends`.

    The weights go back to those of the better one. Train "until it over-fits" with SGDR: `ends` are the cycles' last
    epochs, counted from 1, where the rate is low and the loss tells most.
    """

    remembers = ("stopped", "loss", "weights")

    def __init__(self, ends: Sequence[int]):
        self.ends = sorted(ends)

    def on_fit_begin(self, run: Run) -> None:
        self.stopped, self.loss, self.weights = False, float("inf"), None

    def on_epoch_end(self, run: Run) -> None:
        if run.done not in self.ends:
            return
        loss = run.history.epochs[-1].valid_loss
        if loss > self.loss:
            print(f"over-fitting: this cycle ended at a validation loss of {loss:.4f}, the last at {self.loss:.4f}")
            run.stop = self.stopped = True
        else:
            self.loss, self.weights = loss, copy_of_weights(run)

    def on_fit_end(self, run: Run) -> None:
        if self.stopped:
            run.model.load_state_dict(self.weights)
