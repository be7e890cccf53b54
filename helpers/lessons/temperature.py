"""A temperature for a model that is too sure of itself, or not sure enough."""

from dataclasses import dataclass, replace

from torch.nn import functional

from helpers.analysis.predictions import Predictions
from helpers.lessons.scoreboard import labelled_probs

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # range of temperatures that are tried


@dataclass(frozen=True)
class Temperature:
    """The number to divide the logits by: above 1 the model was overconfident, below 1 underconfident."""

    value: float  # 1 when it cannot be estimated: then `apply` changes nothing
    loss_before: float  # mean -log p(truth) of the pictures it was fitted on
    loss_after: float
    estimated: bool = True

    @property
    def text(self) -> str:
        if not self.estimated:
            return (
                "The temperature cannot be estimated from these pictures (the loss is lowest outside "
                f"{MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}); the probabilities stay as they are."
            )
        return (
            f"Temperature {self.value:.2f}: the loss goes from {self.loss_before:.3f} "
            f"to {self.loss_after:.3f}, no prediction changes."
        )

    def apply(self, preds: Predictions) -> Predictions:
        """New predictions, softened by a value above 1, sharpened below 1; the predicted classes stay the same."""
        return replace(preds, log_probs=(preds.log_probs / self.value).log_softmax(1))


def fit_temperature(preds: Predictions) -> Temperature:
    """The temperature with the least mean loss on these pictures (Guo et al. 2017). Validate it on others.

    Searched in 1 / temperature, in which the loss is convex.
    """
    from scipy.optimize import minimize_scalar

    probs, targets = labelled_probs(preds)
    logits = probs.log().clamp(min=-1e4)  # (N, K); probability 0 must not give 0 * inf

    def loss(sharpness: float) -> float:
        return float(functional.cross_entropy(logits * sharpness, targets))

    bounds = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x
    if min(map(loss, bounds)) <= loss(best):  # an end of the range is as good: the least loss lies there or beyond
        return Temperature(1.0, loss(1), loss(1), estimated=False)
    return Temperature(1 / best, loss(1), loss(best))
