"""Hooks that watch the validation loss: keep the best epoch's weights, stop early.

Pass them to any `fit`: learn.fit_one_cycle(10, 1e-3, hooks=[KeepBest()]). `Hook` in `helpers.training.run` says when
each of their methods is called.
"""

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
            self.best, self.weights = loss, run.weights()

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
