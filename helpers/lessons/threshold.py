"""From which probability on should she look twice? Misses, looks and their cost under one's own thumb."""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes

from data_setup.base.html import Html, fill
from data_setup.base.text import shorten
from helpers.analysis.predictions import Predictions, class_index
from helpers.figures.style import (
    BIG_PT,
    BLACK,
    BLUE,
    GREY,
    MIDDLE_PT,
    ORANGE,
    RED,
    SMALL_PT,
    Drawing,
    ink,
    new_figure,
    round_ticks,
)
from helpers.lessons.chosen import SOLAR_POSITIVE, THE_COURSES, positive_of
from helpers.lessons.decisions import DecisionCost, decision_cost
from helpers.lessons.on_page import drawn
from helpers.lessons.scoreboard import PRICES, labelled_probs
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget, button, row

BINS = 20
STATIC_THRESHOLDS = (0.02, 0.2, 0.5)
SITUATIONS = {  # button: (a miss, a look, why)
    "the board": (PRICES.miss, PRICES.look, "the prices of the whole course"),
    "night shift": (PRICES.miss, 20.0, "one inspector for three lines: a second look holds all of them up"),
    "warranty claim": (1000.0, PRICES.look, "the module is on a customer's roof: a miss costs a crane"),
}


def draw_thresholds(preds: Predictions, record: DecisionCost, thresholds: Sequence[float]) -> Drawing:
    """For each threshold the broken photographs by their probability, upwards, and the sound ones, downwards.

    Hatched is what goes wrong: broken ones left of the threshold are missed, sound ones right of it looked at in vain.
    """
    probs, targets = (tensor.numpy() for tensor in labelled_probs(preds))
    column = class_index(preds, record.positive)
    p, broken = probs[:, column], targets == column
    names = ("broken", "sound") if record.positive == SOLAR_POSITIVE else (shorten(record.positive, 16), "others")
    figure = new_figure(4.8)
    panels = figure.subplots(1, len(thresholds), sharey=True, squeeze=False)[0]
    for ax, threshold in zip(panels, thresholds, strict=True):
        _draw_panel(ax, p, broken, threshold, names)
        entry = record.at(threshold)
        missed, looks = f"missed {record.misses[entry]} of {record.misses[0]}", f"looks {record.looks[entry]}"
        lines = [f"from {threshold:g}", missed, looks, f"cost {record.cost[entry]:.0f}"]
        ax.set_title((", " if len(thresholds) == 1 else "\n").join(lines), fontsize=MIDDLE_PT)
        ax.xaxis.set_major_locator(round_ticks(10 // len(thresholds) ** 2))
    panels[0].set_ylabel(f"{names[1]} | {names[0]} photographs", fontsize=BIG_PT)
    panels[len(panels) // 2].set_xlabel(f"p({record.positive})", fontsize=BIG_PT)
    bars, said = panels[0].get_legend_handles_labels()
    figure.legend(bars, said, loc="outside lower center", ncols=2, fontsize=SMALL_PT, frameon=False)
    parts = [f"from {threshold:g} on {record.words(record.at(threshold))}" for threshold in thresholds]
    text = (
        f"Photographs by their probability of {record.positive}; a miss costs {record.cost_of_miss:g}, "
        f"a second look {record.cost_of_look:g}. Looking {', '.join(parts)}."
    )
    return Drawing(figure, text)


def _draw_panel(ax: Axes, p: np.ndarray, broken: np.ndarray, threshold: float, names: Sequence[str]) -> None:
    edges, looked = np.linspace(0, 1, BINS + 1), p >= threshold
    groups = (
        (f"{names[0]}, found", broken & looked, 1, BLUE, ""),
        (f"{names[0]}, missed", broken & ~looked, 1, RED, "xxx"),
        (f"{names[1]}, left alone", ~broken & ~looked, -1, GREY, ""),
        (f"{names[1]}, looked at", ~broken & looked, -1, ORANGE, "///"),
    )
    base = {1: np.zeros(BINS), -1: np.zeros(BINS)}
    for name, chosen, direction, colour, hatch in groups:
        heights = direction * np.histogram(p[chosen], edges)[0]
        style = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.5}
        ax.bar(edges[:-1], heights, 1 / BINS, bottom=base[direction], align="edge", label=name, **style)
        base[direction] = base[direction] + heights
    ax.axhline(0, color=BLACK, linewidth=1)
    ax.axvline(threshold, color=ink(RED), linewidth=2.5)
    ax.set_xlim(-0.02, 1.02)
    ax.tick_params(labelsize=SMALL_PT)
    ax.margins(y=0.08)
    ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    ax.spines[["top", "right"]].set_visible(False)


class ThresholdLab(StaticWidget):
    """A slider for the threshold and two prices: misses, looks and cost move with them. `.value` is the threshold.

    `preds` have two classes; `positive` is the one she looks for (default: the course's, see `positive_of`).
    """

    def __init__(self, preds: Predictions, *, positive: str = THE_COURSES):
        positive = positive_of(preds.classes, positive)
        decision_cost(preds, positive=positive)  # says at once what does not fit
        self._preds, self._positive = preds, positive
        self.slider = widgets.FloatSlider(
            value=0.5,
            min=0.0,
            max=1.0,
            step=0.005,
            description="look twice from p =",
            readout_format=".3f",
            continuous_update=False,
            style={"description_width": "140px"},
            layout={"width": "520px"},
        )
        self.prices = {name: _price(name, price) for name, price in zip(("a miss", "a look"), PRICES, strict=True)}
        for control in (self.slider, *self.prices.values()):
            control.observe(lambda _: self._refresh(), "value")
        self.buttons = {
            name: button(name, lambda name=name: self._set_prices(name), hint=why)
            for name, (_, _, why) in SITUATIONS.items()
        }
        self.shown, self.said = SafeText(), SafeText()
        self.said.add_class("course-status")
        super().__init__(
            [self.slider, row(*self.prices.values(), *self.buttons.values()), self.said, self.shown],
        )
        self._refresh()

    @property
    def value(self) -> float:
        """The chosen threshold."""
        return round(self.slider.value, 3)

    @value.setter
    def value(self, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"a threshold is a probability from 0 to 1; got {threshold}")
        self.slider.value = threshold

    @property
    def record(self) -> DecisionCost:
        """What every threshold costs at the prices in the two fields."""
        miss, look = (control.value for control in self.prices.values())
        return decision_cost(self._preds, positive=self._positive, cost_of_miss=miss, cost_of_look=look)

    def _set_prices(self, situation: str) -> None:
        miss, look, _ = SITUATIONS[situation]
        first, second = self.prices.values()
        with first.hold_trait_notifications(), second.hold_trait_notifications():  # both change before anyone looks
            first.value, second.value = miss, look

    def _refresh(self) -> None:
        try:
            record = self.record
        except ValueError as error:
            self.said.value = fill("{problem}", problem=str(error))
            return
        drawing = draw_thresholds(self._preds, record, [self.value])
        self.said.value = fill(
            "<b>Looking twice from {threshold} on: {words}.</b> Calibrated probabilities ask for {expected}.",
            threshold=f"{self.value:g}",
            words=record.words(record.at(self.value)),
            expected=f"{record.expected:.3g}",
        )
        self.shown.value = drawn(drawing)

    def face(self) -> tuple[str, Html]:
        drawing = draw_thresholds(self._preds, self.record, STATIC_THRESHOLDS)
        text = f"ThresholdLab: {drawing.text}"
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=drawn(drawing))


def _price(name: str, price: float) -> widgets.BoundedFloatText:
    layout = {"width": "150px"}
    return widgets.BoundedFloatText(value=price, min=0, max=10_000, description=name, style=FULL_NAME, layout=layout)
