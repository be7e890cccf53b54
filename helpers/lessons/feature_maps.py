"""One photograph on its way through the network: the first filters, and feature maps stage by stage."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from data_setup.base.text import counted, shorten
from helpers.figures.pictures import show_pictures
from helpers.figures.style import SMALL_PT, Drawing
from helpers.lessons.figures import row_of
from helpers.lessons.schematic import photo, sheet, words
from helpers.runtime.precision import evaluating

QUIET = 0.1  # a place is quiet below this share of its channel's peak


def first_filters(learn) -> Tensor:
    """The kernels of the first layer that sees pixels: float (F, 3, h, w), on the CPU."""
    for module in learn.model.body.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            return module.weight.detach().float().cpu()
    raise ValueError(f"{learn.arch} has no convolution on the three colours of a picture")


def show_first_filters(learn, *, columns: int = 8) -> Drawing:
    """The first layer's kernels as small pictures: grey is zero, each channel's strongest number is full colour."""
    kernels = first_filters(learn)
    strongest = kernels.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-9)
    n, _, height, width = kernels.shape
    text = f"{learn.arch}: the {n} filters of the first layer, {height} × {width} pixels in three colours each."
    return show_pictures(0.5 + 0.5 * kernels / strongest, columns=columns, text=text)


def maps_of(learn, item) -> list[Tensor]:
    """What each stage gives for one photograph, after ReLU: float (C, h, w) on the CPU, first stages first.

    Of several stages of the same size the last one. `item` is an Item, its name or row in `learn.data`.
    """
    model, data = learn.model, learn.data
    images = data.eval_images([row_of(data, item)]).to(learn.device)
    found = {}
    with evaluating(model, learn.device, learn.prediction_precision):
        activations = model.normalize(images)
        for stage in model.body:
            activations = stage(activations)
            if activations.ndim == 4:
                found[activations.shape[-1]] = activations[0].float().relu().cpu()
    if not found:
        raise ValueError(f"{learn.arch} has no feature maps to show: its stages cannot be run one after the other")
    return list(found.values())


def quiet_share(maps: Tensor) -> float:
    """Share of the places that stay below a tenth of their channel's peak; a channel that never answers is quiet."""
    peaks = maps.amax(dim=(1, 2), keepdim=True)
    return float(((maps < QUIET * peaks) | (peaks <= 0)).float().mean())


def show_journey(learn, items: Sequence, *, channels: int = 4) -> Drawing:
    """A row for each size of feature map: what the strongest channels make of one or two photographs.

    The channels are those that answer most to the first photograph, and the same for the second.
    """
    rows = [row_of(learn.data, item) for item in items]
    if not 1 <= len(rows) <= 2:
        raise ValueError(f"show one or two photographs on their way; got {len(rows)}")
    ways = [maps_of(learn, row) for row in rows]
    names = [shorten(learn.data.items[row].label or learn.data.items[row].name, 20) for row in rows]
    left, gap = 1.05, 0.2
    side = (6.95 - left - gap * (len(rows) - 1)) / (channels * len(rows)) - 0.05
    side = min(side, 0.95)
    ax = sheet((len(ways[0]) + 1) * (side + 0.07) + 0.4, 7.0)
    top = ax.get_ylim()[1] - 0.35
    for number, row in enumerate(rows):
        x = left + number * (channels * (side + 0.05) + gap)
        words(ax, (x, top + 0.18), names[number], ha="left", weight="bold")
        photo(ax, learn.data.eval_images([row])[0, 0].numpy(), (x, top - side), side)
    words(ax, (0.08, top - side / 2), "photo-\ngraph", ha="left", size_pt=SMALL_PT)
    for level, maps in enumerate(ways[0], start=1):
        y = top - (level + 1) * side - level * 0.07
        words(ax, (0.08, y + side / 2), f"{maps.shape[0]} of\n{maps.shape[1]} px", ha="left", size_pt=SMALL_PT)
        strongest = maps.amax(dim=(1, 2)).argsort(descending=True, stable=True)[:channels].tolist()
        for number, way in enumerate(ways):
            start = left + number * (channels * (side + 0.05) + gap)
            for column, channel in enumerate(strongest):
                photo(ax, _scaled(way[level - 1][channel]), (start + column * (side + 0.05), y), side)
    sizes = ", ".join(f"{maps.shape[0]} maps of {maps.shape[1]} px" for maps in ways[0])
    shares = ", ".join(f"{100 * quiet_share(maps):.0f} %" for maps in ways[0])
    text = (
        f"{counted(len(rows), 'photograph')} on the way through {learn.arch} ({' and '.join(names)}), the "
        f"{channels} strongest of {sizes}."
    )
    return Drawing(ax.figure, text, f"Quiet places of the first photograph, stage by stage: {shares}.")


def _scaled(feature_map: Tensor) -> np.ndarray:
    """A map as a picture in 0..1; black where nothing answers."""
    return (feature_map / feature_map.max().clamp(min=1e-9)).numpy()
