"""Small laboratories: move a control, see at once what it does, and read the choice as `.value` from code."""

import io
import math
from dataclasses import replace

import ipywidgets as widgets
import torch
from torch import Tensor

from data_setup.base.html import Html, data_uri, fill
from data_setup.base.text import counted, number
from helpers.data.augment import (
    Augment,
    Draws,
    adjust_lighting,
    apply_draws,
    draw,
    matrices,
    resize,
    side_on,
    warp,
)
from helpers.figures.curves import plot_lr_find
from helpers.figures.pictures import show_pictures
from helpers.figures.style import MIDDLE_PT, ORANGE
from helpers.lessons.figures import identity, plot_schedule
from helpers.lessons.on_page import drawn, figure_tag
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget, button, choice, row
from helpers.runtime.seeds import generator
from helpers.training.schedules import cycle_epochs, flat_cosine, one_cycle, sgdr


def _slider(name: str, value: float, low: float, high: float, step: float, on_change):
    """A slider with its name before it and its value behind, two to a line; it acts when it is let go."""
    kind = widgets.IntSlider if isinstance(step, int) else widgets.FloatSlider
    slider = kind(
        value=value, min=low, max=high, step=step, description=name,
        continuous_update=False, style={"description_width": "190px"}, layout={"width": "420px"},
    )  # fmt: skip
    slider.observe(lambda _: on_change(), "value")
    return slider


# --- augmentation ---------------------------------------------------------------------------------------

RANGES = {  # field of Augment: (its name on the page, lowest, highest, step)
    "max_rotate_deg": ("rotate up to, degrees", 0, 180, 1),
    "max_zoom": ("zoom up to, times", 1.0, 2.0, 0.05),
    "min_scale": ("crop at least, share", 0.1, 1.0, 0.05),
    "max_warp": ("warp up to", 0.0, 0.5, 0.05),
    "max_lighting": ("light up to", 0.0, 0.9, 0.05),
    "p_affine": ("share of pictures moved", 0.0, 1.0, 0.05),
    "p_lighting": ("share of pictures lit", 0.0, 1.0, 0.05),
}


class AugmentBrowser(StaticWidget):
    """One training picture before and after augmentation, at the strengths of the sliders.

    `.value` is the `Augment` they say: `data.with_augment(browser.value)`. With two interpolations the
    picture is turned first and cut to size afterwards, as most libraries do, and each of the steps blurs.
    """

    def __init__(self, data, *, augment: Augment | None = None, n: int = 7, seed: int = 0):
        start = augment or (data.augment if data.augment != Augment() else side_on())
        self._data, self._n, self._seed = data, n, seed
        self.sliders = {
            field: _slider(name, getattr(start, field), low, high, step, self._refresh)
            for field, (name, low, high, step) in RANGES.items()
        }
        self.checks = {
            "flip": widgets.Checkbox(value=start.flip, description="mirror left-right", indent=False),
            "dihedral": widgets.Checkbox(value=start.dihedral, description="all eight symmetries", indent=False),
        }
        for check in self.checks.values():
            check.layout.width = "auto"
            check.observe(lambda _: self._refresh(), "value")
        self.place = widgets.BoundedIntText(
            value=1, min=1, max=len(data.items_of("train")), description="Training picture",
            style=FULL_NAME, layout={"width": "200px"},
        )  # fmt: skip
        self.place.observe(lambda _: self._refresh(), "value")
        how_many = [("one", "one"), ("two", "two"), ("one above, two below", "both")]
        self.interpolations = choice("Interpolations", how_many, self._refresh, value="one")
        self.again = button("Draw again", self._draw_again, hint="the same strengths, other random numbers")
        self.shown = SafeText()
        super().__init__(
            [
                row(self.place, self.interpolations, self.again, *self.checks.values()),
                row(*self.sliders.values()),
                self.shown,
            ]
        )
        self._refresh()

    @property
    def value(self) -> Augment:
        """The augmentation that the controls say."""
        return Augment(**{field: control.value for field, control in {**self.sliders, **self.checks}.items()})

    def _draw_again(self) -> None:
        self._seed += 1
        self._refresh()

    def _refresh(self) -> None:
        drawing = self._picture()
        self._sentence = drawing.text
        self.shown.value = self._page = drawn(drawing, as_photo=True)

    def _picture(self):
        data, how = self._data, self.interpolations.value
        item = data.items_of("train")[self.place.value - 1]
        draws = draw(self._n, self.value, generator("AugmentBrowser", self._seed))
        square = data.store.squares(torch.tensor([data.index_of(item.name)]))  # uint8 (1, C, P, P)
        squares = square.expand(self._n, -1, -1, -1)
        before = resize(square, data.size)
        once, twice = (apply(squares, draws, data.size) for apply in (apply_draws, _in_two_steps))
        names = [f"draw {i}" for i in range(1, self._n + 1)]
        if how == "both":
            images, n = torch.cat([before, once[:3], before, twice[:3]]), len(names[:3])
            titles = [
                line for times in ("once", "twice") for line in ("as it is", *(f"{d}, {times}" for d in names[:3]))
            ]
            kept = 100 * float(_detail(twice) / _detail(once).clamp(min=1e-9))
            header = f"Two interpolations keep {kept:.0f} % of the detail of one."
            text = f"{item.name} as it is, and {counted(n, 'random draw')}: above with 1 interpolation, below with 2."
            return show_pictures(images.cpu(), titles, columns=n + 1, header=header, text=text)
        images, steps = (once, "1 interpolation") if how == "one" else (twice, "2 interpolations")
        text = f"{item.name} as it is, and {counted(self._n, 'random draw')} with {steps}."
        return show_pictures(torch.cat([before, images]).cpu(), ["as it is", *names], columns=4, text=text)

    def face(self) -> tuple[str, Html]:
        text = f"AugmentBrowser: {self._sentence}"
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=self._page)


def _detail(images: Tensor) -> Tensor:
    """How sharp pictures are: the mean difference between neighbouring pixels."""
    return images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()


def _in_two_steps(squares: Tensor, draws: Draws, size: int) -> Tensor:
    """What `apply_draws` does, but rotated and warped at full size first, and cropped to `size` afterwards."""
    still = identity(len(draws.scale))
    turn = replace(draws, scale=still.scale, shift_x=still.shift_x, shift_y=still.shift_y)
    crop = replace(still, scale=draws.scale, shift_x=draws.shift_x, shift_y=draws.shift_y)
    turned = warp(squares.float() / 255, matrices(turn), squares.shape[-1])
    cropped = warp(turned, matrices(crop), size)
    brightness, contrast = draws.brightness.to(squares.device), draws.contrast.to(squares.device)
    return adjust_lighting(cropped, brightness, contrast).expand(-1, 3, -1, -1)


# --- learning rate --------------------------------------------------------------------------------------


class RatePicker(StaticWidget):
    """The learning-rate finder's curve to choose from: click on it, move the slider, take a suggestion.

    `.value` is the rate, to three digits; it can be set, too.
    """

    def __init__(self, curve):
        self._curve = curve
        suggestions = {name: getattr(curve, name) for name in ("valley", "steep", "minimum", "slide")}
        self._suggestions = {name: rate for name, rate in suggestions.items() if rate is not None}
        low, high = (math.log10(rate) for rate in (curve.lrs[0], curve.lrs[-1]))
        start = next(iter(self._suggestions.values()), 10 ** ((low + high) / 2))
        self.slider = widgets.FloatLogSlider(
            value=start, base=10, min=low, max=high, step=0.02, description="Learning rate", readout_format=".2e",
            continuous_update=False, style=FULL_NAME, layout={"width": "520px"},
        )  # fmt: skip
        self.slider.observe(lambda _: self._refresh(), "value")
        self.buttons = {
            name: button(f"{name} {number(rate)}", lambda rate=rate: self._choose(rate), hint=f"take {name}")
            for name, rate in self._suggestions.items()
        }
        self.shown, self.said = SafeText(), SafeText()
        self.shown.add_class("course-curve")
        self.said.add_class("course-status")
        super().__init__(
            [self.shown, row(self.slider, *self.buttons.values()), self.said],
            help="A click on the curve chooses the rate there.",
            on_message=self._on_message,
        )
        self._refresh()

    @property
    def value(self) -> float:
        """The chosen learning rate."""
        return float(f"{self.slider.value:.3g}")

    @value.setter
    def value(self, rate: float) -> None:
        low, high = self._curve.lrs[0], self._curve.lrs[-1]
        if not low <= rate <= high:
            raise ValueError(f"the finder tried rates from {number(low)} to {number(high)}; got {rate}")
        self._choose(rate)

    def _choose(self, rate: float) -> None:
        self.slider.value = min(max(rate, self._curve.lrs[0]), self._curve.lrs[-1])

    def _on_message(self, message: dict) -> None:
        """A click: `at` is where on the picture's width."""
        if "at" in message:
            left, right, low, high = self._axis
            share = (float(message["at"]) - left) / (right - left)
            self._choose(float(f"{10 ** (low + share * (high - low)):.2g}"))

    def _refresh(self) -> None:
        drawing = plot_lr_find(self._curve)
        ax = drawing.figure.axes[0]
        ax.axvline(self.value, color=ORANGE, linewidth=4, alpha=0.8, zorder=5)
        label = {"transform": ax.get_xaxis_transform(), "fontsize": MIDDLE_PT, "ha": "center", "zorder": 8}
        ax.text(
            self.value,
            0.03,
            f"yours {number(self.value)}",
            **label,
            bbox={"facecolor": "white", "edgecolor": ORANGE},
        )
        buffer = io.BytesIO()
        drawing.figure.savefig(buffer, format="png", dpi=90)  # whole, so that the axis is where it says it is
        box = ax.get_position()
        self._axis = box.x0, box.x1, *(math.log10(limit) for limit in ax.get_xlim())
        self._sentence = drawing.text
        self._page = figure_tag(data_uri(buffer.getvalue(), "png"), drawing.text)
        self.shown.value = self._page
        self.said.value = fill("Chosen: {rate}. {advice}", rate=number(self.value), advice=self._curve.advice)

    def face(self) -> tuple[str, Html]:
        text = f"RatePicker: choose a learning rate on the finder's curve. {self._sentence}"
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=self._page)


# --- schedules ------------------------------------------------------------------------------------------

KINDS = {"fit": "cycles with restarts", "fit_one_cycle": "one cycle", "fit_flat_cos": "flat, then cosine"}


class ScheduleLab(StaticWidget):
    """How the learning rate will move through the training, before any of it.

    `.method` is the learner's verb and `.value` its keywords: `getattr(learn, lab.method)(lr=0.01, **lab.value)`.
    """

    def __init__(self, *, cycles: int = 3, cycle_len: int = 1, cycle_mult: int = 2, epochs: int = 5):
        kinds = [(words, kind) for kind, words in KINDS.items()]
        self.kind = choice("Schedule", kinds, self._refresh, value="fit", width="300px")
        self.sliders = {
            "cycles": _slider("cycles", cycles, 1, 6, 1, self._refresh),
            "cycle_len": _slider("cycle_len, epochs", cycle_len, 1, 6, 1, self._refresh),
            "cycle_mult": _slider("cycle_mult", cycle_mult, 1, 4, 1, self._refresh),
            "epochs": _slider("epochs", epochs, 1, 30, 1, self._refresh),
        }
        self.controls = row()
        self.said, self.shown = SafeText(), SafeText()
        self.said.add_class("course-status")
        super().__init__([self.kind, self.controls, self.said, self.shown])
        self._refresh()

    @property
    def method(self) -> str:
        """The learner's verb."""
        return self.kind.value

    @property
    def value(self) -> dict[str, int]:
        """The keywords of `method`."""
        names = ("cycles", "cycle_len", "cycle_mult") if self.method == "fit" else ("epochs",)
        return {name: self.sliders[name].value for name in names}

    def _refresh(self) -> None:
        value = self.value
        self.controls.children = [self.sliders[name] for name in value]
        if self.method == "fit":
            schedule, lengths = sgdr(**value), cycle_epochs(**value)
            sums = f"{' + '.join(map(str, lengths))} = " if len(lengths) > 1 else ""
            epochs = f"{sums}{counted(sum(lengths), 'epoch')}"
        else:
            schedule = {"fit_one_cycle": one_cycle, "fit_flat_cos": flat_cosine}[self.method]()
            epochs = counted(value["epochs"], "epoch")
        call = f"learn.{self.method}(lr, {', '.join(f'{name}={number}' for name, number in value.items())})"
        self._sentence = f"{call} trains {epochs}."
        drawing = plot_schedule({KINDS[self.method]: schedule})
        self.said.value = fill("<b>{sentence}</b>", sentence=self._sentence)
        self.shown.value = drawn(drawing)

    def face(self) -> tuple[str, Html]:
        text = f"ScheduleLab: {self._sentence}"
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=self.shown.value)
