"""The learner's own network, drawn and as a table: its stages, their sizes and parameters, what is frozen."""

import math
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes

from data_setup.base.text import counted, number
from helpers.figures.style import BLACK, BLUE, GREEN, GREY, MIDDLE_PT, PINK, RED, SMALL_PT, Drawing, ink
from helpers.lessons.heatmaps import as_map, prefix_tokens
from helpers.lessons.schematic import arrow, box, padlock, sheet, words
from helpers.models.groups import group_parameters, spread_rates
from helpers.runtime.precision import eval_mode

GROUP_COLOURS = (BLUE, GREEN, RED, PINK)
TALLEST_IN, WIDEST_IN = 1.7, 0.36


@dataclass(frozen=True)
class Stage:
    """One box of the drawing: what the stage gives for one photograph, and what it is made of."""

    side_px: int  # of its feature maps; 1 for pooled features and logits
    channels: int
    parameters: int
    group: int  # layer group, counted from 0
    trains: bool  # whether any of its parameters do


def stages_of(learn) -> list[Stage]:
    """The stages of a learner's body and, last, its head. A layer without weights of its own joins the one before."""
    prefix = prefix_tokens(learn.model)
    group_of = {id(module): index for index, group in enumerate(learn.groups) for module in group}
    model, found = learn.model, []
    images = torch.zeros(1, 3, learn.data.size, learn.data.size, device=learn.device)
    with torch.no_grad(), eval_mode(model):
        activations = model.normalize(images)
        for part in model.body:
            activations = part(activations)
            weights = list(part.parameters())
            channels = activations.shape[-1 if activations.ndim == 3 else 1]
            maps = as_map(activations, channels, prefix)
            side = 1 if maps is None else maps.shape[2]
            group = group_of.get(id(part), 0)
            stage = Stage(side, channels, _count(weights), group, _any_trains(weights))
            if found and not any(weight.ndim > 1 for weight in weights):
                before = found.pop()
                stage = Stage(
                    side,
                    stage.channels,
                    before.parameters + stage.parameters,
                    before.group,
                    before.trains or stage.trains,
                )
            found.append(stage)
    weights = list(model.head.parameters())
    if weights:
        found.append(Stage(1, len(learn.data.classes), _count(weights), len(learn.groups) - 1, _any_trains(weights)))
    return found


def _count(weights) -> int:
    return sum(weight.numel() for weight in weights)


def _any_trains(weights) -> bool:
    return any(weight.requires_grad for weight in weights)


def draw_network(learn, lr=None) -> Drawing:
    """The stages of `learn`, first layers at the left. A lock marks a layer group that is frozen: its boxes are pale.

    A box is as tall as its feature maps (square root of the side) and as wide as it has channels (logarithm). With
    `lr`, as given to `fit`, each group that trains has its rate. Draw it again after `freeze_to`.
    """
    stages = stages_of(learn)
    rates = None if lr is None else spread_rates(lr, len(learn.groups))
    rows = _group_rows(stages, len(learn.groups), rates)
    ax = sheet(3.35 + 0.3 * len(rows))
    floor = 0.95 + 0.3 * len(rows)
    left, step = 1.0, (ax.get_xlim()[1] - 1.0) / (len(stages) + 1)
    _columns(ax, stages, learn.data.size, floor, left, step)
    for index, (line, stage) in enumerate(zip(rows, _firsts(stages), strict=True)):
        y = 0.18 + 0.3 * (len(rows) - 1 - index)
        box(ax, (0.12, y - 0.08), 0.28, 0.18, _colour(stage.group), solid=stage.trains)
        if not stage.trains:
            padlock(ax, (0.56, y))
        words(ax, (0.75, y), line, ha="left")
    title = f"{learn.arch}, {counted(sum(stage.parameters for stage in stages), 'parameter')}"
    words(ax, (0.1, ax.get_ylim()[1] - 0.18), title, ha="left", weight="bold")
    flow = ", ".join(f"{stage.channels} of {stage.side_px} px" for stage in stages[:-1])
    text = (
        f"The network from left to right for a photograph of {learn.data.size} px: feature maps {flow}, then "
        f"{counted(stages[-1].channels, 'class')}. {' '.join(line + '.' for line in rows)}"
    )
    return Drawing(ax.figure, text)


def _columns(ax: Axes, stages: list[Stage], size: int, floor: float, left: float, step: float) -> None:
    """The photograph and every stage, standing on `floor`; below each its side and its channels."""
    for y, name in ((floor - 0.2, "side, px"), (floor - 0.45, "channels")):
        words(ax, (0.1, y), name, ha="left", size_pt=SMALL_PT)
    photograph = Stage(size, 3, 0, -1, False)
    before = None
    for index, stage in enumerate([photograph, *stages]):
        x = left + (index + 0.5) * step
        height = TALLEST_IN * max(math.sqrt(stage.side_px / size), 0.06)
        width = max(0.06, min(WIDEST_IN, 0.85 * step) * math.log2(stage.channels) / math.log2(1280))
        width = min(width, 0.9 * step)
        if stage is photograph:
            box(ax, (x - width / 2, floor), width, height, GREY)
        else:
            box(ax, (x - width / 2, floor), width, height, _colour(stage.group), solid=stage.trains)
        for y, value in ((floor - 0.2, stage.side_px), (floor - 0.45, stage.channels)):
            words(ax, (x, y), str(value), size_pt=SMALL_PT)
        if stage.group != before and before is not None and stage.group > 0:
            ax.plot([x - step / 2] * 2, [floor - 0.55, floor + TALLEST_IN], ":", color=BLACK, linewidth=1.2)
        before = stage.group
    words(ax, (left + 0.5 * step, floor + TALLEST_IN + 0.15), "photograph", size_pt=SMALL_PT)
    words(ax, (ax.get_xlim()[1] - 0.05, floor + 0.35), "classes", ha="right", size_pt=SMALL_PT)


def _colour(group: int) -> str:
    return GROUP_COLOURS[group % len(GROUP_COLOURS)]


def _firsts(stages: list[Stage]) -> list[Stage]:
    """The first stage of each layer group, in order."""
    return [next(stage for stage in stages if stage.group == group) for group in sorted({s.group for s in stages})]


def _group_rows(stages: list[Stage], n_groups: int, rates: list[float] | None) -> list[str]:
    """A line for each layer group: its name, its parameters, frozen or at which rate it trains."""
    rows = []
    for first in _firsts(stages):
        total = sum(stage.parameters for stage in stages if stage.group == first.group)
        name = "head" if first.group == n_groups - 1 and n_groups > 1 else f"group {first.group}"
        rate = f" at a rate of {number(rates[first.group])}" if rates and first.trains else ""
        rows.append(f"{name}: {counted(total, 'parameter')}, {'trains' + rate if first.trains else 'frozen'}")
    return rows


def print_groups(learn) -> None:
    """Print the layer groups: how many parameters each has, how many train, and what BatchNorm does there."""
    seen = "cached features" if learn.precompute else "pictures"
    print(f"{learn.arch}, {len(learn.data.classes)} classes, {learn.data.size} px, {seen}")
    print("group  stages   parameters    trainable  normalisation")
    grouped = zip(learn.groups, group_parameters(learn.model, learn.groups), strict=True)
    for index, (modules, parameters) in enumerate(grouped):
        name = "head" if modules == [learn.model.head] else str(index)
        policy = "trains" if name == "head" or learn.bn != "frozen everywhere" else "statistics frozen"
        if index < learn.trained_from:
            policy = learn.bn.removesuffix(" everywhere")
        trained = _count(parameter for parameter in parameters if parameter.requires_grad)
        print(f"{name:>5}  {len(modules):>6}  {_count(parameters):>11,}  {trained:>11,}  {policy}")


def draw_body_and_head(learn) -> Drawing:
    """Body and head in three boxes: what goes in and comes out, and where the weights are from."""
    stages = stages_of(learn)
    body, head = stages[:-1], stages[-1]
    features = learn.model.head[0].num_features if hasattr(learn.model.head[0], "num_features") else body[-1].channels
    ax = sheet(2.9)
    rows = (
        (0.75, 2.35, BLUE, "body", f"{_millions(sum(s.parameters for s in body))}\nparameters", "learned on ImageNet"),
        (4.05, 1.25, RED, "head", f"{_millions(head.parameters)}\nparameters", "new"),
    )
    for x, width, colour, name, inside, source in rows:
        box(ax, (x, 0.75), width, 1.35, colour)
        words(ax, (x + width / 2, 1.78), name, colour="white", weight="bold", size_pt=16)
        words(ax, (x + width / 2, 1.25), inside, colour="white")
        words(ax, (x + width / 2, 0.5), source, colour=ink(colour))
    size = learn.data.size
    for start, end in (((0.1, 1.42), (0.72, 1.42)), ((3.13, 1.42), (4.02, 1.42)), ((5.33, 1.42), (5.85, 1.42))):
        arrow(ax, start, end)
    words(ax, (0.08, 2.45), f"photograph\n3 × {size} × {size}", ha="left")
    words(ax, (3.58, 2.45), f"{features:,}\nfeatures", size_pt=MIDDLE_PT)
    words(ax, (5.9, 1.42), "\n".join(learn.data.classes), ha="left", size_pt=SMALL_PT)
    words(ax, (6.45, 2.45), f"{head.channels} logits", ha="right")
    text = (
        f"A photograph of 3 × {size} × {size} numbers goes through the body, whose weights were learned on ImageNet; "
        f"{features:,} features come out. The head, which is new, turns them into a number for each of "
        f"{counted(head.channels, 'class')}."
    )
    return Drawing(ax.figure, text)


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2g} million" if parameters >= 1e6 else f"{parameters:,}"
