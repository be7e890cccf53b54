"""Where a training ends: how far each layer has moved, and how flat the loss is around the place.

The lecture says that restarts end in flatter valleys. `measure_flatness` looks: the weights are pushed a little in
random directions, and the loss is read again.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_setup.base.text import number
from helpers.figures.style import Drawing
from helpers.learner import Learner
from helpers.lessons.figures import plot_lines
from helpers.runtime.seeds import generator

Weights = Mapping[str, Tensor]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # they follow the data, no gradient moves them


def snapshot(learn: Learner) -> dict[str, Tensor]:
    """A copy of every weight and every BatchNorm statistic of the model, by name."""
    return {name: tensor.detach().clone() for name, tensor in learn.model.state_dict().items()}


def put_back(learn: Learner, weights: Weights) -> None:
    """Write a `snapshot` back into the model: several trainings from one start."""
    learn.model.load_state_dict(weights)


def layer_moves(before: Weights, after: Weights) -> dict[str, float]:
    """How far each stage has moved, as a share of its own length: |after - before| / |before|, first stages first.

    A stage is a part of the body ("body.0", "body.1", ...) or the head. The weights of norms and biases count, too.
    Raises ValueError when the two do not hold the same weights.
    """
    if before.keys() != after.keys():
        odd = min(before.keys() ^ after.keys())
        raise ValueError(f"the two snapshots are of different models: {odd} is in one of them only")
    moved: dict[str, tuple[float, float]] = {}
    for name in before:
        if name.startswith("normalize.") or name.endswith(STATISTICS):
            continue
        stage = ".".join(name.split(".")[: 2 if name.startswith("body.") else 1])
        step, size = moved.get(stage, (0.0, 0.0))
        change = (after[name].double() - before[name].double()).square().sum()
        moved[stage] = (step + float(change), size + float(before[name].double().square().sum()))
    return {stage: (step / size) ** 0.5 for stage, (step, size) in moved.items()}


@dataclass(frozen=True)
class Flatness:
    """The loss around the place where a training ended. Entry i of both fields is about `scales[i]`."""

    scales: tuple[float, ...]  # length of the push, as a share of the length of each weight tensor; the first is 0
    losses: tuple[float, ...]  # mean cross-entropy per photograph, mean over the draws

    def rise(self, scale: float) -> float:
        """By how much the loss has grown at this scale."""
        return self.losses[self.scales.index(scale)] - self.losses[0]


def measure_flatness(
    learn: Learner,
    scales: Sequence[float] = (0.02, 0.05, 0.1, 0.2),
    *,
    draws: int = 5,
    part: str = "valid",
    seed: int = 0,
) -> Flatness:
    """Push the trained weights in random directions and measure the loss. The model is as before afterwards.

    Each weight tensor that trains is moved by noise of `scale` times its own length, so that layers of large and of
    small weights are disturbed alike (after Li et al. 2018, "Visualizing the loss landscape"). One dimensional
    tensors (norms, biases) stay.
    """
    weights = [w for w in learn.model.parameters() if w.requires_grad and w.squeeze().ndim > 1]
    losses = [_loss(learn, part)]
    for scale in scales:
        total = 0.0
        for number_of_draw in range(draws):
            with pushed(weights, scale, generator("flatness", seed, number_of_draw)):
                total += _loss(learn, part)
        losses.append(total / draws)
    return Flatness((0.0, *scales), tuple(losses))


@contextmanager
def pushed(weights: Sequence[nn.Parameter], scale: float, rng: torch.Generator) -> Iterator[None]:
    """Inside the block every tensor is `scale` times its own length away; after it, exactly where it was."""
    kept = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight in weights:
                noise = torch.randn(weight.shape, generator=rng).to(weight.device)
                weight.add_(noise, alpha=float(scale * weight.norm() / noise.norm()))
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


def _loss(learn: Learner, part: str) -> float:
    preds = learn.get_preds(part)
    return float(F.nll_loss(preds.log_probs, preds.targets))


def plot_flatness(records: Mapping[str, Flatness]) -> Drawing:
    """The loss against the length of the push, a line for each training."""
    lines = {name: ([100 * scale for scale in record.scales], record.losses) for name, record in records.items()}
    detail = ", ".join(f"{name} from {number(r.losses[0])} to {number(r.losses[-1])}" for name, r in records.items())
    text = "Mean loss of the held-out photographs against the length of a random push of the weights."
    drawing = plot_lines(lines, x_label="push, % of the weights' length", y_label="loss", text=text)
    return Drawing(drawing.figure, text, f"{detail}.")
