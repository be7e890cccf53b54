"""Update against weight: how long a step is beside the weights it changes, per layer group."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from helpers.figures.style import BLACK, COLOURS, DASHES, WORDS, Drawing, empty_drawing, name_ends, style_axes
from helpers.learner import Learner
from helpers.training.run import Hook, Run

HEALTHY = -3  # a step of about a thousandth of the weights (Karpathy, makemore part 3; CS231n, neural networks 3)


class UpdateRatio(Hook):
    """A training hook that measures every step: `learn.fit(1e-3, 2, hooks=[ratio])`, with `ratio = UpdateRatio(learn)`.

    `.ratios` is {layer group: one number per step}: log10 of the length of the step over the length of the weights,
    both over all weight matrices and filters of the group (norms and biases, which start at 0 or 1, are left out).
    Groups that do not train are not in it. A second training goes on in the same record.
    """

    def __init__(self, learn: Learner):
        names = [f"group {number}" for number in range(len(learn.groups))]
        if learn.groups[-1] == [learn.model.head]:
            names[-1] = "head"
        self.weights = {
            name: [weight for module in group for weight in module.parameters() if weight.squeeze().ndim > 1]
            for name, group in zip(names, learn.groups, strict=True)
        }
        self.ratios: dict[str, list[float]] = {}

    def on_fit_begin(self, run: Run) -> None:
        self._trained = {
            name: weights for name, weights in self.weights.items() if any(weight.requires_grad for weight in weights)
        }
        self._before = {name: _flat(weights) for name, weights in self._trained.items()}

    def on_step_end(self, run: Run) -> None:
        for name, weights in self._trained.items():
            after = _flat(weights)
            step, size = (after - self._before[name]).norm(), self._before[name].norm()
            ratio = float(step / size)
            self.ratios.setdefault(name, []).append(math.log10(ratio) if ratio > 0 else -math.inf)
            self._before[name] = after


def _flat(weights: list[Tensor]) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in weights])


def plot_update_ratio(ratios: Mapping[str, list[float]]) -> Drawing:
    """log10(step / weight) of each layer group against the step, with a line at a thousandth."""
    if not ratios:
        return empty_drawing("Nothing to draw yet: no step was taken while the hook watched.")
    ax = style_axes(x="step", y="step / weight (log10)")
    lines = {}
    for (name, values), colour, dash in zip(ratios.items(), COLOURS, DASHES, strict=False):
        (lines[name],) = ax.plot(range(1, len(values) + 1), values, dash, color=colour, linewidth=2.2, label=name)
    ax.axhline(HEALTHY, color=BLACK, linewidth=1.2)
    left = ax.get_yaxis_transform()
    ax.text(0.02, HEALTHY, "a thousandth", transform=left, va="bottom", color=BLACK, **WORDS)
    ax.margins(x=0)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, HEALTHY - 0.3), max(high, HEALTHY + 0.3))
    if len(lines) > 1:
        name_ends(ax, lines)
    middles = {name: sorted(values)[len(values) // 2] for name, values in ratios.items()}
    detail = ", ".join(f"{name} 10^{middle:.1f}" for name, middle in middles.items())
    text = "How long each step is beside the weights it changes, per layer group; the line is at a thousandth (-3)."
    return Drawing(ax.figure, text, f"Middle step: {detail}.")
