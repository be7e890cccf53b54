"""Scrub through a training: what the model said of some photographs after each epoch, as a film and as four frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor, nn

from data_setup.base.html import Html, fill
from data_setup.base.pictures import read_image
from data_setup.base.text import counted
from data_setup.items import Item
from helpers.analysis.predictions import Predictions
from helpers.data.dataset import ImageData
from helpers.figures.style import BLUE, GREY, RED, SMALL_PT, Drawing
from helpers.lessons.heads import FeatureSet
from helpers.lessons.on_page import drawn
from helpers.lessons.schematic import box, photo, sheet, words
from helpers.review.widgets import SafeText, StaticWidget, row

THUMBNAIL_PX = 96


def hard_items(preds: Predictions, n: int = 24) -> list[Item]:
    """The `n` photographs whose probability of their own class is nearest to one half, in item order."""
    p = (-preds.losses).exp()
    rows = (p - 0.5).abs().argsort(stable=True)[:n].sort().values
    return [preds.items[i] for i in rows.tolist()]


@dataclass(frozen=True)
class Frame:
    """What the model said at one moment of the training."""

    epoch: int  # 0 is before the first
    p: tuple[float, ...]  # of each photograph's own class


@dataclass
class WatchPhotographs:
    """What a head on cached features says of some photographs: the probability of each one's own class.

    watch = WatchPhotographs.of(data, items, features)
    train_head(head, features, rate=1e-3, epochs=20, watch=watch)     # fills `watch.frames`
    TrainingPlayer(watch)
    """

    items: Sequence[Item]
    features: Tensor  # (n, D) of the items
    targets: Tensor  # (n,) int64
    frames: list[Frame] = field(default_factory=list)

    @classmethod
    def of(cls, data: ImageData, items: Sequence[Item], features: FeatureSet) -> "WatchPhotographs":
        """For validation photographs of `data`, whose features are `features.valid`; others raise ValueError."""
        row_of = {item.name: row for row, item in enumerate(data.items_of("valid"))}
        if strange := [item.name for item in items if item.name not in row_of]:
            raise ValueError(f"only validation photographs can be watched; {strange[0]} is none")
        rows = torch.tensor([row_of[item.name] for item in items])
        return cls(items, features.valid[rows], features.valid_targets[rows])

    def __call__(self, head: nn.Module, epoch: int) -> None:
        """Take a frame; epoch 0 begins a new film."""
        if epoch == 0:
            self.frames = []
        with torch.no_grad():
            own = head(self.features).softmax(1).gather(1, self.targets[:, None])[:, 0]
        self.frames.append(Frame(epoch, tuple(own.tolist())))


def draw_frame(watch: WatchPhotographs, number: int) -> Drawing:
    """One frame: every photograph with a bar, as long as the probability of its own class; orange below one half."""
    return _draw(watch, [number], columns=6, width_in=7.0)


def draw_four_frames(watch: WatchPhotographs) -> Drawing:
    """Four moments in a row, from before the first epoch to the end."""
    last = len(watch.frames) - 1
    return _draw(watch, sorted({round(last * share) for share in (0, 1 / 3, 2 / 3, 1)}), columns=4, width_in=7.0)


def _draw(watch: WatchPhotographs, numbers: list[int], *, columns: int, width_in: float) -> Drawing:
    if not watch.frames:
        raise ValueError("nothing was watched yet: type train_head(head, features, rate=1e-3, epochs=9, watch=watch)")
    gap = 0.2
    panel = (width_in - 0.2 - gap * (len(numbers) - 1)) / len(numbers)
    side = panel / columns - 0.06
    lines = -(-len(watch.items) // columns)
    bar = max(0.09, 0.14 * side)
    height = side + bar + 0.1
    ax = sheet(lines * height + 0.75, width_in)
    pictures = [_thumbnail(item) for item in watch.items]
    said = []
    for place, number in enumerate(numbers):
        frame, left = watch.frames[number], 0.1 + place * (panel + gap)
        right = sum(p >= 0.5 for p in frame.p)
        title = f"epoch {frame.epoch}" if frame.epoch else "before"
        words(ax, (left, ax.get_ylim()[1] - 0.18), f"{title}: {right}/{len(frame.p)}", ha="left", weight="bold")
        said.append(f"{title} {right}")
        for index, (pixels, p) in enumerate(zip(pictures, frame.p, strict=True)):
            x = left + index % columns * (side + 0.06)
            y = ax.get_ylim()[1] - 0.38 - (index // columns + 1) * height
            photo(ax, pixels, (x, y + bar + 0.02), side)
            box(ax, (x, y), side, bar, GREY, solid=False).set_hatch(None)
            box(ax, (x, y), max(p * side, 0.01), bar, BLUE if p >= 0.5 else RED)
    note = "bar: probability of the right class, orange below one half"
    words(ax, (0.1, 0.14), note, ha="left", size_pt=SMALL_PT)
    text = (
        f"{counted(len(watch.items), 'photograph')} at {counted(len(numbers), 'moment')} of a training of "
        f"{counted(len(watch.frames) - 1, 'epoch')}, each with a bar as long as the probability of its own class."
    )
    return Drawing(ax.figure, text, f"Above one half: {', '.join(said)} of {len(watch.items)}.")


def _thumbnail(item: Item) -> np.ndarray:
    image = read_image(item.path, at_least_px=THUMBNAIL_PX).convert("L")
    return np.asarray(image.resize((THUMBNAIL_PX, THUMBNAIL_PX)))


class TrainingPlayer(StaticWidget):
    """Play a watched training: a slider and a play button over the frames of `WatchPhotographs`."""

    def __init__(self, watch: WatchPhotographs):
        self._pages: dict[int, Html] = {}  # drawn when they are first shown
        self._watch, last = watch, len(watch.frames) - 1
        self.play = widgets.Play(value=0, min=0, max=last, interval=900, description="Play")
        self.slider = widgets.IntSlider(value=0, min=0, max=last, description="Epoch", layout={"width": "420px"})
        widgets.jslink((self.play, "value"), (self.slider, "value"))
        self.slider.observe(lambda _: self._refresh(), "value")
        self.shown = SafeText()
        super().__init__([row(self.play, self.slider), self.shown])
        self._refresh()

    def _refresh(self) -> None:
        number = self.slider.value
        if number not in self._pages:
            self._pages[number] = drawn(draw_frame(self._watch, number), as_photo=True)
        self.shown.value = self._pages[number]

    def face(self) -> tuple[str, Html]:
        drawing = draw_four_frames(self._watch)
        text = f"TrainingPlayer: {drawing.text}"
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=drawn(drawing, as_photo=True))
