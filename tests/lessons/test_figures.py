"""Figures of the lessons are read back: the data in them, the words on them, the sentence beside them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_setup.items import Item
from data_setup.splits import Split
from helpers.analysis.predictions import Predictions
from helpers.data.augment import apply_draws, draw, side_on, top_down
from helpers.data.dataset import ImageData
from helpers.lessons.decisions import decision_cost
from helpers.lessons.figures import (
    each_operation,
    plot_cost,
    plot_lines,
    plot_schedule,
    show_augmented,
    show_each_operation,
)
from helpers.runtime.seeds import generator
from helpers.training.schedules import sgdr


def predictions(n=60, k=2, *, strength=2.0, classes=None, names=None, seed=0, labelled=True) -> Predictions:
    rng = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % k
    logits = torch.randn(n, k, generator=rng)
    logits[torch.arange(n), targets] += strength
    names = names or [f"valid/{i:05}.png" for i in range(n)]
    classes = classes or tuple(f"class {i}" for i in range(k))
    items = tuple(Item(name, Path(name), classes[t]) for name, t in zip(names, targets.tolist(), strict=True))
    targets = targets if labelled else torch.full((n,), -1)
    return Predictions(items, logits.log_softmax(1), targets, classes, "valid")


def line(ax, label):
    return next(artist for artist in ax.get_lines() if artist.get_label() == label)


def words(ax):
    return [text.get_text() for text in ax.texts]


@pytest.fixture
def data(tmp_path, course_data) -> ImageData:
    """Twelve drawn pictures of 20 px, seen at 16 px."""
    names = [f"{i:02}.png" for i in range(12)]
    items = [Item(name, tmp_path / name, "ab"[i % 2]) for i, name in enumerate(names)]
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 20), dtype=np.uint8)
    for item, pixels in zip(items, noise, strict=True):
        Image.fromarray(pixels).save(item.path)
    split = Split(tuple(names[:8]), tuple(names[8:]))
    return ImageData(items, split, size=16, presize_px=20, augment=top_down(min_scale=0.5), batch_size=8)


ITEMS = (("03.png", 0), (3, 0), (3, 1))  # the same picture by name and by row; another seed


def test_augmented_strip_starts_with_the_picture_itself(data):
    drawing = show_augmented(data, data.items[3], 5)
    axes = drawing.figure.axes
    assert np.allclose(axes[0].images[0].get_array(), data.eval_images([3])[0].permute(1, 2, 0))
    draws = draw(5, data.augment, generator("show_augmented", 0))
    expected = apply_draws(data.store.squares(torch.full((5,), 3)), draws, 16)
    assert np.allclose(axes[5].images[0].get_array(), expected[4].permute(1, 2, 0))
    assert [ax.get_title() for ax in axes][:2] == ["as it is", "draw 1"]
    assert drawing.text == "03.png as it is, and 5 random draws of its augmentation."
    drawn = [show_augmented(data, item, 2, seed=seed).figure.axes[2].images[0].get_array() for item, seed in ITEMS]
    assert (drawn[0] == drawn[1]).all() and not np.allclose(drawn[1], drawn[2])


def test_plot_lines_takes_rows_and_pairs():
    drawing = plot_lines({"row": [3, 4], "pair": ([5, 7], [1, 2])}, x_label="x", y_label="y", log_x=True)
    ax = drawing.figure.axes[0]
    assert line(ax, "row").get_xydata().tolist() == [[0, 3], [1, 4]]
    assert line(ax, "pair").get_xydata().tolist() == [[5, 1], [7, 2]]
    assert line(ax, "row").get_linestyle() != line(ax, "pair").get_linestyle()
    assert ax.get_xlabel() == "x (log axis)" and ax.get_xscale() == "log"
    assert drawing.text == "y against x: row and pair."


def test_names_in_foreign_letters_are_drawn_without_a_warning():
    """Catches names of other scripts that are dropped, escaped or replaced on the way into the figure."""
    drawing = plot_lines({"猫": [1, 2], "犬": [2, 1]}, x_label="x", y_label="y")
    assert drawing.png().startswith(b"\x89PNG")
    assert "猫" in drawing.text and "犬" in drawing.text
    assert sorted(words(drawing.figure.axes[0])) == ["犬", "猫"]


@pytest.mark.parametrize(("xs", "whole"), [(range(3), True), ((1.0, 2.0), True), ((0.5, 1.0, 2.0), False)])
def test_ticks_of_a_count_are_whole_numbers(xs, whole):
    drawing = plot_lines({"loss": (xs, [3, 2, 1][: len(xs)])}, x_label="epoch", y_label="loss")
    ticks = drawing.figure.axes[0].xaxis.get_majorticklocs()
    assert all(float(tick).is_integer() for tick in ticks) == whole


def test_schedule_before_training():
    drawing = plot_schedule({"restarts": sgdr(3, 1, 2), "by hand": [1.0, 0.5, 0.0]}, base_lr=0.02)
    ax = drawing.figure.axes[0]
    xs, ys = line(ax, "restarts").get_data()
    expected = [0.02 * sgdr(3, 1, 2)(x / 100) for x in xs]
    assert np.allclose(ys, expected, atol=1e-9) and ys.max() == pytest.approx(0.02)
    assert line(ax, "by hand").get_xydata().tolist() == [[0, 0.02], [50, 0.01], [100, 0]]
    assert "by hand (from 0.02 to 0, highest 0.02 at 0 %)" in drawing.text
    assert plot_schedule(lambda progress: 1.0).text.endswith("schedule (constant 1).")
    assert plot_schedule([]).text == "No schedule to draw: it has no steps."


def test_cost_curve_marks_three_thresholds():
    record = decision_cost(predictions(100, 2), positive="class 1", cost_of_miss=10, cost_of_look=1)
    drawing = plot_cost(record)
    ax = drawing.figure.axes[0]
    marks = {line.get_label().rsplit(":", 1)[0]: line.get_xydata()[0].tolist() for line in ax.get_lines()[1:]}
    assert marks["one half"] == [0.5, float(record.cost[record.half])]
    assert marks["look : miss"] == [0.1, float(record.cost[record.at(0.1)])]
    assert marks["cheapest"][1] == float(record.cost.min())
    curve = ax.get_lines()[0]
    assert curve.get_xydata()[-1].tolist() == [0.0, 100.0], "every photograph is looked at"
    assert "when a miss costs 10 and a look 1" in drawing.text


@pytest.mark.parametrize("ranges", [side_on(min_scale=0.5, max_rotate_deg=30), top_down()])
def test_each_operation_is_at_the_end_of_its_range(ranges):
    operations = each_operation(ranges)
    draws = draw(20_000, ranges, torch.Generator().manual_seed(0))
    for title, changes in operations.items():
        for field, value in changes.items():
            drawn = getattr(draws, field)
            if field in ("shift_x", "shift_y", "scale"):
                continue
            low, high = drawn.min().item(), drawn.max().item()
            margin = 0.01 * (high - low)
            assert (drawn - value).abs().min() < margin and low - margin < value < high + margin, title
    ends = 2 if ranges.min_scale < 1 else 0
    assert len(operations) == 1 + 3 * ranges.dihedral + 2 + 1 + ends + 4 * (ranges.max_warp > 0) + 4


def test_each_operation_alone(data):
    drawing = show_each_operation(data, 2)
    titles = [ax.get_title() for ax in drawing.figure.axes]
    shown = {
        title: ax.images[0].get_array() for title, ax in zip(titles, drawing.figure.axes, strict=True) if ax.images
    }
    turned = data.with_augment(side_on(max_rotate_deg=0, max_zoom=1, max_warp=0, max_lighting=0))
    assert list(shown)[:3] == ["as it is", "mirrored", "turned 90°"] and "50 % low right" in shown
    one_level = 1 / 255 + 1e-6  # exactly between two a CPU takes either
    assert np.allclose(np.asarray(shown["turned 180°"])[::-1, ::-1], shown["mirrored"][:, ::-1], atol=one_level)
    assert shown["darkest"].mean() < shown["as it is"].mean() < shown["brightest"].mean()
    assert shown["least contrast"].std() < shown["as it is"].std() < shown["most contrast"].std()
    assert show_each_operation(turned, 2).text == "02.png as it is, then each operation alone: mirrored."
    assert show_each_operation(data, 2, augment=replace(turned.augment, flip=False)).text == (
        "02.png as it is; this augmentation changes nothing."
    )
