"""Channels named by pictures: the photographs that excite a channel most, cropped to where, and a test of a name."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_setup.base.pictures import read_image
from data_setup.base.text import counted, listed
from data_setup.items import Item
from helpers.figures.pictures import show_pictures
from helpers.figures.style import SMALL_PT, Drawing
from helpers.lessons.schematic import brightened, photo, sheet, words
from helpers.models.folding import predicting
from helpers.runtime.seeds import generator

CROP_SQUARES = 3  # a crop is this many squares of the feature map wide


@dataclass(frozen=True)
class Channels:
    """How strongly each channel of one stage answers to each photograph, and where. Row i is about items[i]."""

    items: tuple[Item, ...]
    peaks: Tensor  # (N, C) float, the strongest activation in the map
    places: Tensor  # (N, C) int64, where it is: row * side + column
    side: int  # squares of the feature map along one side
    targets: Tensor  # (N,) int64
    classes: tuple[str, ...]

    def top(self, channel: int, n: int = 9) -> list[int]:
        """Rows of the `n` photographs that excite a channel most, strongest first."""
        return self._peaks_of(channel).argsort(descending=True, stable=True)[:n].tolist()

    def telling(self, n: int = 6) -> list[int]:
        """The `n` channels whose peaks differ most between the first class and the others, most different first.

        The difference of the two means, in standard deviations of the channel's peaks.
        """
        first = self.targets == 0
        difference = self.peaks[first].mean(0) - self.peaks[~first].mean(0)
        return (difference / self.peaks.std(0).clamp(min=1e-9)).abs().argsort(descending=True)[:n].tolist()

    def crop(self, row: int, channel: int) -> np.ndarray:
        """The file's pixels around the place where the channel answers most: uint8 (h, w), about 3 squares wide."""
        pixels = np.asarray(read_image(self.items[row].path).convert("L"))
        place = int(self.places[row, channel])
        side = min(pixels.shape)
        reach = max(1, round(CROP_SQUARES * side / self.side))
        edges = []
        for length, square in zip(pixels.shape, divmod(place, self.side), strict=True):
            centre = (square + 0.5) / self.side * side + (length - side) / 2  # the model saw the middle square
            start = min(max(round(centre - reach / 2), 0), max(length - reach, 0))
            edges.append(slice(start, start + reach))
        return pixels[tuple(edges)]

    def _peaks_of(self, channel: int) -> Tensor:
        if not 0 <= channel < self.peaks.shape[1]:
            raise ValueError(f"this stage has the channels 0 to {self.peaks.shape[1] - 1}; got {channel}")
        return self.peaks[:, channel]


def watch_channels(learn, part: str = "train", *, stage: int | None = None) -> Channels:
    """What every channel of one stage answers to the photographs of a part, without augmentation.

    stage: after how many stages of the body to look (`learn.model.before`); None is the end of the first layer group.
    """
    model, data = learn.model, learn.data
    stage = len(learn.groups[0]) if stage is None else stage
    if not 0 < stage < len(model.body):
        raise ValueError(f"a stage with feature maps is 1 to {len(model.body) - 1} of this body; got {stage}")
    rows = data.indices_of(part)
    peaks, places = [], []
    with predicting(model, learn.device, learn.prediction_precision):
        for batch in data.eval_batches(rows, learn.device, 2 * data.batch_size):
            maps = model.before(batch.inputs, stage).float()  # (N, C, h, w)
            strongest = maps.flatten(2).max(dim=2)
            peaks.append(strongest.values.cpu())
            places.append(strongest.indices.cpu())
    return Channels(
        data.items_of(part), torch.cat(peaks), torch.cat(places), maps.shape[-1], data.targets[rows], data.classes
    )


def show_channels(channels: Channels, which: Sequence[int], *, n: int = 9) -> Drawing:
    """A row for each channel: the `n` places that excite it most, each cropped from another photograph."""
    which = list(which)
    side, left = 5.55 / n, 0.9
    ax = sheet((side + 0.06) * len(which) + 0.1)
    said = []
    for index, channel in enumerate(which):
        y = ax.get_ylim()[1] - (index + 1) * (side + 0.06)
        words(ax, (0.08, y + side / 2), f"channel\n{channel}", ha="left", size_pt=SMALL_PT)
        rows = channels.top(channel, n)
        for column, row in enumerate(rows):
            photo(ax, channels.crop(row, channel), (left + column * side, y), side - 0.04)
        first = sum(int(channels.targets[row]) == 0 for row in rows)
        said.append(f"channel {channel}: {first} of {len(rows)} are {channels.classes[0]}")
    text = f"The {n} places that excite each channel most, cropped from the photographs: channels {listed(which)}."
    return Drawing(ax.figure, text, f"{'; '.join(said)}.")


@dataclass(frozen=True)
class NameTest:
    """Photographs, some of which excite a channel and some do not: does the name that you gave it tell them apart?"""

    channel: int
    drawing: Drawing
    fires: tuple[int, ...]  # numbers below the photographs, counted from 1
    n: int

    def score(self, chosen: Sequence[int]) -> str:
        """How many of the photographs you chose, by their numbers, excite the channel."""
        wrong = [number for number in chosen if not 1 <= number <= self.n]
        if wrong:
            raise ValueError(f"the photographs have the numbers 1 to {self.n}; got {wrong[0]}")
        hits = len(set(chosen) & set(self.fires))
        extra = len(set(chosen)) - hits
        return (
            f"your name finds {hits} of the {len(self.fires)} photographs that excite channel {self.channel} "
            f"(numbers {listed(self.fires)}), and {extra} of the {self.n - len(self.fires)} that do not"
        )


def try_a_name(channels: Channels, channel: int, *, n: int = 9, seed: int = 0) -> NameTest:
    """`n` photographs in random order: a third from the strongest twentieth for a channel, the others from its lower
    half. Look at the channel on the training part, name it, and try the name on `watch_channels(learn, "valid")`.
    """
    order = channels.top(channel, len(channels.items))
    strong, weak = order[: max(n // 3, len(order) // 20)], order[len(order) // 2 :]
    n_strong = n // 3
    if len(order) < 2 * n or n < 3:
        raise ValueError(
            f"{n} photographs to try a name on need at least {max(2 * n, 6)} to choose from, and n of at "
            f"least 3; got {counted(len(order), 'photograph')}"
        )
    rng = generator("try_a_name", channel, seed)
    chosen = [strong[i] for i in torch.randperm(len(strong), generator=rng)[:n_strong]]
    chosen += [weak[i] for i in torch.randperm(len(weak), generator=rng)[: n - n_strong]]
    shown = [chosen[i] for i in torch.randperm(n, generator=rng)]
    fires = tuple(number for number, row in enumerate(shown, start=1) if row in strong)
    pictures = [brightened(np.asarray(read_image(channels.items[row].path).convert("L"))) for row in shown]
    text = f"{n} photographs, numbered from 1: {n_strong} of them excite channel {channel}."
    drawing = show_pictures(pictures, [str(number) for number in range(1, n + 1)], columns=3, text=text)
    return NameTest(channel, drawing, fires, n)
