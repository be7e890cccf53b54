"""A map of photographs as a figure: alike ones together, coloured by what is asked, thumbnails at their places."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

import data_setup
from data_setup.base.pictures import read_image
from data_setup.base.text import counted, listed
from data_setup.items import Item
from helpers.figures.style import BLACK, COLOURS, MARKS, SMALL_PT, WORDS, Drawing, new_figure
from helpers.lessons.chosen import need_solar
from helpers.lessons.schematic import brightened

THUMBNAIL_PX = 44
DOUBT = {"0.0": "surely functional", "1.0": "surely defective"}  # the expert's rating; all others are unsure


def labels_of(items: Sequence[Item]) -> list[str]:
    """The label of each item."""
    return [item.label or "no label" for item in items]


def kinds_of(items: Sequence[Item]) -> list[str]:
    """What each solar cell is made of, from its file's name: "mono" or "poly"."""
    need_solar("kinds_of")
    return [item.path.name.partition("_")[0] for item in items]


def doubts_of(items: Sequence[Item]) -> list[str]:
    """What the expert said of each solar cell: "surely functional", "unsure" or "surely defective".

    Raises KeyError for a file that the set's table of ratings does not have.
    """
    need_solar("doubts_of")
    table = (data_setup.home() / "solar" / "labels.csv").read_text(encoding="utf-8").splitlines()
    rating_of = {row["name"].rpartition("/")[2]: row["probability"] for row in csv.DictReader(table)}
    return [DOUBT.get(str(float(rating_of[item.path.name])), "unsure") for item in items]


def spread_out(points: np.ndarray, n: int) -> list[int]:
    """Rows of `n` points (N, 2) far from each other: each next one is the farthest from all chosen before."""
    if not len(points):
        return []
    middle = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
    chosen = [int(middle.argmin())]
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(n, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


def draw_map(
    items: Sequence[Item],
    maps: Mapping[str, np.ndarray],
    groups: Sequence[str],
    *,
    by: str = "label",
    thumbnails: int = 20,
) -> Drawing:
    """One or more maps of the same photographs side by side, coloured by `groups`.

    maps: title -> points (N, 2) from `embed_2d`, row i about items[i]; e.g. {"before": ..., "after": ...}.
    groups: a word for each photograph; `by` says what they are about.
    thumbnails: how many to draw at most, the same on each map.
    """
    for title, points in maps.items():
        if len(points) != len(items) or len(groups) != len(items):
            raise ValueError(
                f"got {len(items)} photographs, {len(points)} points of {title!r} and {len(groups)} groups; "
                "row i of each is about items[i]"
            )
    counts = Counter(groups)
    order = sorted(counts, key=lambda group: (-counts[group], group))[: len(COLOURS)]
    one = len(maps) == 1
    figure = new_figure(6.0 if one else 4.2, 6.5 if one else 7.0)
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    for ax, (title, points) in zip(axes, maps.items(), strict=True):
        _scatter(ax, np.asarray(points), groups, order, size=16 if len(items) > 300 else 40)
        ax.set_title(title, **WORDS)
    shown = spread_out(np.asarray(list(maps.values())[-1]), thumbnails if one else thumbnails * 3 // 5)
    for ax, points in zip(axes, maps.values(), strict=True):  # the same photographs on each map
        _thumbnails(ax, [items[row] for row in shown], np.asarray(points)[shown], scale=0.65 if one else 0.5)
    handles, names = axes[0].get_legend_handles_labels()
    names = [f"{name} ({counts[name]:,})" for name in names]
    look = {"fontsize": SMALL_PT, "frameon": False, "markerscale": 1.8, "handletextpad": 0.2, "columnspacing": 1.0}
    figure.legend(
        handles, names, loc="outside lower center", ncols=1 if max(map(len, names)) > 30 else min(len(order), 3), **look
    )
    groups_said = listed([f"{counts[group]:,} {group}" for group in order])
    text = (
        f"{'Maps' if len(maps) > 1 else 'A map'} of {counted(len(items), 'photograph')} "
        f"({listed(list(maps))}), alike ones close together, coloured by {by}: {groups_said}."
    )
    return Drawing(figure, text)


def _scatter(ax: Axes, points: np.ndarray, groups: Sequence[str], order: list[str], *, size: float) -> None:
    ax.set(xticks=[], yticks=[], xlim=(-0.06, 1.06), ylim=(1.06, -0.06))
    ax.set_aspect("equal")
    which = np.asarray(groups)
    for number, group in enumerate(order):  # the largest group first, at the bottom
        rows = which == group
        look = {"c": COLOURS[number], "marker": MARKS[number], "s": size, "linewidths": 0.3, "edgecolors": "white"}
        ax.scatter(points[rows, 0], points[rows, 1], label=group, alpha=0.85, zorder=2 + number, **look)


def _thumbnails(ax: Axes, items: Sequence[Item], points: np.ndarray, *, scale: float) -> None:
    for item, point in zip(items, points, strict=True):
        picture = OffsetImage(np.asarray(thumbnail_of(item).convert("RGB")), zoom=scale)
        look = {"edgecolor": BLACK, "linewidth": 0.8}
        ax.add_artist(AnnotationBbox(picture, point, pad=0.06, bboxprops=look, zorder=20))


def thumbnail_of(item: Item) -> Image.Image:
    """A small square picture of the file, grey and bright enough to be seen."""
    image = read_image(item.path, at_least_px=THUMBNAIL_PX).convert("L").resize((THUMBNAIL_PX,) * 2)
    return Image.fromarray(brightened(np.asarray(image)))
