"""Figures that only lessons draw: lines, schedules, operations of the augmentation, decisions, heat maps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import torch

from data_setup.base.arguments import did_you_mean
from data_setup.base.text import counted, listed, number, shorten
from helpers.data.augment import Augment, Draws, apply_draws, draw
from helpers.figures.pictures import as_pixels, place_picture, show_pictures
from helpers.figures.style import (
    BLACK,
    BLUE,
    COLOURS,
    DASHES,
    MARKS,
    MIDDLE_PT,
    PINK,
    RED,
    SMALL_PT,
    Drawing,
    empty_drawing,
    name_ends,
    new_figure,
    round_ticks,
    style_axes,
)
from helpers.lessons.decisions import DecisionCost
from helpers.runtime.seeds import generator


def plot_lines(
    lines: Mapping[str, Sequence[float] | tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    title: str = "",
    text: str = "",
) -> Drawing:
    """Lines with their names at their ends. Each is a row of y values, or a pair of rows (xs, ys)."""
    if not lines:
        return empty_drawing("Nothing to draw yet: there are no lines.")
    ax = style_axes(x=x_label + (" (log axis)" if log_x else ""), y=y_label, title=title, log_x=log_x)
    drawn, counts = {}, True
    for i, (name, line) in enumerate(lines.items()):
        is_pair = isinstance(line, tuple) and len(line) == 2 and np.ndim(line[0]) == 1
        xs, ys = line if is_pair else (range(len(line)), line)
        counts = counts and all(float(x).is_integer() for x in xs)
        colour, dash, mark = COLOURS[i % 7], DASHES[i % 7], MARKS[i % 7] if len(ys) <= 20 else None
        look = {"color": colour, "linestyle": dash, "marker": mark, "linewidth": 2.2, "markersize": 8}
        (drawn[name],) = ax.plot(xs, ys, label=name, **look)
    if counts and not log_x:  # there is no epoch 2.5
        ax.xaxis.set_major_locator(round_ticks(6, integer=True))
    if len(lines) > 1:
        name_ends(ax, drawn)
    return Drawing(ax.figure, text or f"{y_label} against {x_label}: {listed(list(lines))}.")


Multipliers = Callable[[float], float] | Sequence[float]


def plot_schedule(
    schedules: Multipliers | Mapping[str, Multipliers],
    *,
    base_lr: float | None = None,
    points: int = 400,
) -> Drawing:
    """What a schedule will do, before any training: multiplier (or rate, with `base_lr`) against progress.

    A schedule is a function from progress 0..1 to a multiplier, or a list with one multiplier per step;
    several go into a dict with a name each.
    """
    named = schedules if isinstance(schedules, Mapping) else {"schedule": schedules}
    lines = {}
    for name, schedule in named.items():
        values = [schedule(i / (points - 1)) for i in range(points)] if callable(schedule) else schedule
        values = np.asarray(values, dtype=float) * (1.0 if base_lr is None else base_lr)
        if len(values):
            lines[name] = (np.linspace(0, 100, len(values)), values)
    if not lines:
        return empty_drawing("No schedule to draw: it has no steps.")
    y_label = "multiplier of the rate" if base_lr is None else "learning rate"
    said = listed([f"{name} ({_multipliers(*line)})" for name, line in lines.items()])
    text = f"{y_label.capitalize()} over the whole training: {said}."
    return plot_lines(lines, x_label="progress of the training (%)", y_label=y_label, text=text)


def _multipliers(progress: np.ndarray, values: np.ndarray) -> str:
    if values.min() == values.max():
        return f"constant {number(float(values[0]))}"
    first, last, peak = number(float(values[0])), number(float(values[-1])), int(np.argmax(values))
    return f"from {first} to {last}, highest {number(float(values[peak]))} at {progress[peak]:.0f} %"


@did_you_mean
def show_augmented(
    data, item, n: int = 8, *, augment: Augment | None = None, seed: int = 0, columns: int = 0
) -> Drawing:
    """One picture as it is, and `n` draws of its augmentation. `item`: an Item, its name or row in `data`."""
    row = row_of(data, item)
    draws = draw(n, data.augment if augment is None else augment, generator("show_augmented", seed))
    squares = data.store.squares(torch.full((n,), row), draws.crop_position)
    images = torch.cat([data.eval_images([row]), apply_draws(squares, draws, data.size).cpu()])
    titles = ["as it is", *(f"draw {i}" for i in range(1, n + 1))]
    text = f"{data.items[row].name} as it is, and {counted(n, 'random draw')} of its augmentation."
    return show_pictures(images, titles, columns=columns, text=text)


def row_of(data, item) -> int:
    """The row of an Item, its name or its number in `data`."""
    if isinstance(item, int):
        return range(len(data.items))[item]
    return data.index_of(getattr(item, "name", item))


def identity(n: int) -> Draws:
    """Draws that change nothing."""
    neutral = {"crop_position": 0.5, "scale": 1.0, "mirror": 1.0, "contrast": 1.0}
    return Draws(**{field.name: torch.full((n,), neutral.get(field.name, 0.0)) for field in fields(Draws)})


def show_each_operation(data, item, *, augment: Augment | None = None, columns: int = 4) -> Drawing:
    """One picture as it is, then every operation of the augmentation alone at the ends of its range."""
    row = row_of(data, item)
    operations = each_operation(data.augment if augment is None else augment)
    draws = identity(len(operations))
    for i, changes in enumerate(operations.values()):
        for name, value in changes.items():
            changed = getattr(draws, name).clone()
            changed[i] = value
            draws = replace(draws, **{name: changed})
    squares = data.store.squares(torch.full((len(operations),), row))
    images = data.eval_images([row])
    if operations:
        images = torch.cat([images, apply_draws(squares, draws, data.size).cpu()])
    names = f", then each operation alone: {listed(list(operations))}"
    text = f"{data.items[row].name} as it is{names if operations else '; this augmentation changes nothing'}."
    return show_pictures(images, ["as it is", *operations], columns=min(columns, len(images)), text=text)


def each_operation(ranges: Augment) -> dict[str, dict[str, float]]:
    """Title -> the fields of `Draws` that differ from "nothing", for both ends of every range."""
    zoom, area, warp, light = ranges.max_zoom, ranges.min_scale, ranges.max_warp, ranges.max_lighting
    found: dict[str, dict[str, float]] = {}
    if ranges.flip or ranges.dihedral:
        found["mirrored"] = {"mirror": -1.0}
    if ranges.dihedral:
        found |= {f"turned {90 * quarter}°": {"quarter_turns": float(quarter)} for quarter in (1, 2, 3)}
    if ranges.max_rotate_deg:
        ends = (-ranges.max_rotate_deg, ranges.max_rotate_deg)
        found |= {f"rotated {angle:+g}°": {"angle_rad": math.radians(angle)} for angle in ends}
    if zoom > 1:
        found[f"zoomed {zoom:g} x"] = {"scale": 1 / zoom}
    if area < 1:
        side = math.sqrt(area)
        found[f"{100 * area:g} % top left"] = {"scale": side, "shift_x": -1.0, "shift_y": -1.0}
        found[f"{100 * area:g} % low right"] = {"scale": side, "shift_x": 1.0, "shift_y": 1.0}
    if warp:
        found |= {f"warped {axis} {end:+g}": {f"warp_{axis}": end} for axis in "xy" for end in (-warp, warp)}
    if light:
        shift = math.log((1 + light) / (1 - light))
        found |= {"darkest": {"brightness": -shift}, "brightest": {"brightness": shift}}
        found |= {"least contrast": {"contrast": 1 - light}, "most contrast": {"contrast": 1 / (1 - light)}}
    return found


def plot_cost(record: DecisionCost) -> Drawing:
    """Cost of 100 photographs against the threshold of a second look; three thresholds are marked.

    The cheapest here, the price of a look over that of a miss (right for calibrated probabilities), and one half.
    """
    thresholds, cost = record.thresholds.numpy().clip(max=1.0), record.cost.numpy()
    thresholds, cost = np.append(thresholds, 0.0), np.append(cost, cost[-1])  # below the lowest all are looked at
    ax = style_axes(x=f"looks twice from p({shorten(record.positive, 24)}) on", y="cost of 100 photographs")
    ax.step(thresholds, cost, where="post", color=BLUE, linewidth=2.5)
    points = (
        ("one half", 0.5, record.half, "o", BLACK),
        ("look : miss", record.expected, record.at(record.expected), "D", PINK),
        ("cheapest", thresholds[record.best], record.best, "s", RED),
    )
    for name, x, entry, shape, colour in points:
        label = f"{name}: {number(float(x))}, cost {cost[entry]:.0f}"
        ax.plot([x], [cost[entry]], shape, color=colour, markersize=10, zorder=5, label=label)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(0, None)
    ax.legend(fontsize=MIDDLE_PT, frameon=False, loc="upper left")
    text = (
        f"Cost of 100 photographs against the probability of {record.positive} from which on she looks twice, "
        f"when a miss costs {record.cost_of_miss:g} and a look {record.cost_of_look:g}."
    )
    return Drawing(ax.figure, text, record.text)


def show_heat_map(image, heat, *, title: str = "") -> Drawing:
    """A picture beside itself under its heat map: yellow where the model found most, dark where nothing.

    `image` is any picture; `heat` (H, W) float 0..1, from `heat_map`.
    """
    pixels, heat = as_pixels(image), np.asarray(heat, dtype=np.float32)
    if heat.shape != pixels.shape[:2]:
        raise ValueError(f"the heat map is {heat.shape}, the picture {pixels.shape[:2]}; make it from this picture")
    figure = new_figure(3.4)
    left, right = figure.subplots(1, 2)
    figure.suptitle(shorten(title, 56), fontsize=MIDDLE_PT, parse_math=False)
    place_picture(left, pixels, "picture", False)
    place_picture(right, pixels, "which places counted", False)
    layer = right.imshow(heat, cmap="viridis", vmin=0, vmax=1, alpha=0.55)
    bar = figure.colorbar(layer, ax=right, ticks=[0, 1], fraction=0.05)
    bar.ax.set_yticklabels(["nothing", "most"], fontsize=SMALL_PT)
    text = f"A picture and which places counted for the answer{f' ({title})' if title else ''}."
    down, across = np.unravel_index(int(heat.argmax()), heat.shape)
    place = f"{100 * across / heat.shape[1]:.0f} % from the left and {100 * down / heat.shape[0]:.0f} % from the top"
    return Drawing(figure, text, f"The strongest place is {place}." if heat.max() > 0 else "The map is empty.")
