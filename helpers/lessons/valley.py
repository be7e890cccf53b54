"""A valley one can walk: two features of real photographs, two weights, and the loss as a landscape under them.

The loss is the mean squared error, because then the valley is exactly a bowl and everything can be worked out: each
step multiplies the distance to the lowest point by 1 - rate * curvature, in every direction by its own factor, so the
steepest direction sets the limit (with momentum: Goh 2017, "Why momentum really works").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import ipywidgets as widgets
import torch
from matplotlib.axes import Axes
from torch import Tensor

from data_setup.base.html import Html, fill
from data_setup.base.text import number
from helpers.data.dataset import ImageData
from helpers.figures.style import (
    BIG_PT,
    BLUE,
    GREY,
    MIDDLE_PT,
    ORANGE,
    RED,
    SMALL_PT,
    WIDTH_IN,
    Drawing,
    new_figure,
)
from helpers.lessons.chosen import asked_class
from helpers.lessons.on_page import drawn
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget, button, row

FEATURES = ("brightness", "unevenness")
START = (0.45, -0.45)
STEPS = 30
SETTINGS = {  # name on the button: (rate, momentum)
    "asleep": (0.003, 0.0),
    "slow": (0.05, 0.0),
    "healthy": (0.4, 0.0),
    "with momentum": (0.3, 0.6),
    "zigzag": (0.82, 0.0),
    "flies off": (0.9, 0.0),
}


@dataclass(frozen=True)
class Valley:
    """A straight-line model of two features: answer = inputs @ weights, and its mean squared error."""

    inputs: Tensor  # (N, 2) float64, each column centred
    answers: Tensor  # (N,) float64, 1 for broken (the class asked for) and 0 for whole, centred

    @classmethod
    def from_data(cls, data: ImageData, *, positive: str | None = None) -> "Valley":
        """Brightness (mean) and unevenness (standard deviation) of every training photograph, in tenths of white."""
        positive = positive or asked_class(data)
        rows = data.indices_of("train")
        grey = data.eval_images(rows).mean(dim=1).flatten(1).double()  # (N, H * W)
        inputs = 10 * torch.stack([grey.mean(dim=1), grey.std(dim=1)], dim=1)
        answers = (data.targets[rows] == data.classes.index(positive)).double()
        return cls(inputs - inputs.mean(dim=0), answers - answers.mean())

    def loss(self, weights: Tensor) -> Tensor:
        """Mean squared error: weights (..., 2) -> (...)."""
        return self.loss_at_lowest + (((weights - self.lowest) @ self.curvature) * (weights - self.lowest)).sum(-1) / 2

    def slope(self, weights: Tensor) -> Tensor:
        """Where the loss rises fastest, and how fast: the gradient (2,)."""
        return self.curvature @ (weights - self.lowest)

    @cached_property
    def curvature(self) -> Tensor:
        """The second derivatives (2, 2), the same everywhere."""
        return 2 * self.inputs.T @ self.inputs / len(self.answers)

    @cached_property
    def lowest(self) -> Tensor:
        """The weights (2,) with the least loss: least squares."""
        return torch.linalg.solve(self.curvature, 2 * self.inputs.T @ self.answers / len(self.answers))

    @cached_property
    def loss_at_lowest(self) -> float:
        """The loss there."""
        return float((self.inputs @ self.lowest - self.answers).square().mean())

    def edge(self, momentum: float = 0.0) -> float:
        """The rate from which on the walk flies off: 2 (1 + momentum) / steepest curvature."""
        return 2 * (1 + momentum) / float(torch.linalg.eigvalsh(self.curvature)[-1])

    def walk(self, rate: float, momentum: float = 0.0, *, steps: int = STEPS) -> Tensor:
        """The weights before every step and after the last: (steps + 1, 2)."""
        weights, velocity = torch.tensor(START, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        path = [weights]
        for _ in range(steps):
            velocity = momentum * velocity - rate * self.slope(weights)
            weights = weights + velocity
            path.append(weights)
        return torch.stack(path)

    def steps_needed(self, rate: float, momentum: float = 0.0, *, within: float = 0.01, most: int = 400) -> int | None:
        """Steps after which the loss stays within `within` of the lowest, None if not after `most`."""
        losses = self.loss(self.walk(rate, momentum, steps=most))
        off = ~(losses <= self.loss_at_lowest * (1 + within))  # a walk that flew off ends in nan
        last = int(off.nonzero()[-1]) if off.any() else -1
        return None if last == most else last + 1

    def sentence(self, rate: float, momentum: float = 0.0) -> str:
        """What a walk does, in one line."""
        loss = float(self.loss(self.walk(rate, momentum))[-1])
        return (
            f"Rate {number(rate)}, momentum {number(momentum)}: after {STEPS} steps the loss is ≈ {loss:.3g}; "
            f"the lowest is ≈ {self.loss_at_lowest:.3g}. The walk flies off "
            f"from a rate of ≈ {self.edge(momentum):.3g} on."
        )


def plot_walks(valley: Valley, walks: Mapping[str, tuple[float, float]]) -> Drawing:
    """The loss as a map over the two weights, lines of equal loss in grey, with a path for each (rate, momentum)."""
    columns = min(3, len(walks))
    rows = -(-len(walks) // columns)
    side_in = WIDTH_IN / columns
    figure = new_figure(rows * (side_in * 0.9 + 0.45) if columns > 1 else 5.0)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, (name, (rate, momentum)) in enumerate(walks.items()):
        ax = panels.flat[place]
        _draw_map(ax, valley, valley.walk(rate, momentum))
        said = f"{number(rate)}, momentum {number(momentum)}" if momentum else f"rate {number(rate)}"
        ax.set_title(f"{name}\n{said}" if name else said, fontsize=SMALL_PT, loc="left", parse_math=False)
        ax.tick_params(labelsize=SMALL_PT if columns > 1 else MIDDLE_PT)
    figure.supxlabel(f"weight of the {FEATURES[0]}", fontsize=BIG_PT)
    figure.supylabel(f"weight of the {FEATURES[1]}", fontsize=BIG_PT)
    said = "; ".join(
        f"{name or 'the walk'}: rate {number(rate)}, momentum {number(m)}" for name, (rate, m) in walks.items()
    )
    text = f"Paths of {STEPS} steps on a map of the loss, from the square to the star, its lowest point. {said}."
    losses = {name: float(valley.loss(valley.walk(*setting))[-1]) for name, setting in walks.items()}
    detail = ", ".join(f"{name} {loss:.3g}".strip() for name, loss in losses.items())
    return Drawing(figure, text, f"Losses at the end: {detail}; lowest {valley.loss_at_lowest:.3g}.")


def _draw_map(ax: Axes, valley: Valley, path: Tensor) -> None:
    start, lowest = torch.tensor(START, dtype=torch.float64), valley.lowest
    reach = 1.35 * (start - lowest).abs()
    across, up = (torch.linspace(float(c - r), float(c + r), 80) for c, r in zip(lowest, reach, strict=True))
    grid = torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1).double()  # (80, 80, 2)
    above = valley.loss(grid) - valley.loss_at_lowest
    highest = float(above.max())
    levels = [highest * (share / 9) ** 2 for share in range(1, 10)]
    ax.contour(across.numpy(), up.numpy(), above.numpy(), levels=levels, colors=GREY, linewidths=0.9)
    ax.plot(*path.T.numpy(), "-o", color=BLUE, linewidth=1.6, markersize=3.5)
    ax.plot(*start, "s", color=RED, markersize=9)
    ax.plot(*lowest, "*", color=ORANGE, markersize=16, markeredgecolor="black")
    ax.set_xlim(float(across[0]), float(across[-1]))
    ax.set_ylim(float(up[0]), float(up[-1]))


class ValleyLab(StaticWidget):
    """Walk the valley: a slider each for rate and momentum, and six settings to press, from asleep to flying off.

    `.value` is (rate, momentum). A task to set: reach 1 % above the lowest loss in as few steps as you can,
    `lab.valley.steps_needed(*lab.value)`.
    """

    def __init__(self, valley: Valley):
        self.valley = valley
        wide = {"style": FULL_NAME, "layout": {"width": "400px"}, "continuous_update": False}
        self.rate = widgets.FloatLogSlider(value=0.05, min=-3, max=0.3, step=0.01, description="rate", **wide)
        self.momentum = widgets.FloatSlider(value=0.0, min=0.0, max=0.95, step=0.05, description="momentum", **wide)
        self.buttons = {name: button(name, lambda name=name: self.set(*SETTINGS[name])) for name in SETTINGS}
        self._moving = False  # both sliders at once: draw when the second has arrived
        for slider in (self.rate, self.momentum):
            slider.observe(lambda _: self._moving or self._refresh(), "value")
        self.said, self.shown = SafeText(), SafeText()
        self.said.add_class("course-status")
        super().__init__([row(*self.buttons.values()), row(self.rate, self.momentum), self.said, self.shown])
        self._refresh()

    @property
    def value(self) -> tuple[float, float]:
        """(rate, momentum) as the sliders say."""
        return self.rate.value, self.momentum.value

    def set(self, rate: float, momentum: float) -> None:
        """Move both sliders."""
        self._moving = True
        self.rate.value, self.momentum.value = rate, momentum
        self._moving = False
        self._refresh()

    def _refresh(self) -> None:
        needed = self.valley.steps_needed(*self.value)
        arrives = f"It needs {needed} steps" if needed is not None else "It does not come"
        self.said.value = fill(
            "{sentence} {arrives} to within 1 %.", sentence=self.valley.sentence(*self.value), arrives=arrives
        )
        self.shown.value = drawn(plot_walks(self.valley, {"": self.value}))

    def face(self) -> tuple[str, Html]:
        """The six settings side by side."""
        drawing = plot_walks(self.valley, SETTINGS)
        text = f"ValleyLab: {drawing.text}"
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=drawn(drawing))
