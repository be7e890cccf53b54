"""Schematics made of photographs: counts, sizes and probabilities are those of the data and the model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from helpers.data.augment import top_down
from helpers.lessons.photo_drawings import MOST_PHOTOGRAPHS, draw_presizing, draw_split, draw_views


def words(drawing):
    return [text.get_text() for text in drawing.figure.axes[0].texts]


def test_the_strips_are_as_long_as_the_parts(data):
    drawing = draw_split(data, sealed=9)
    assert drawing.text == (
        "The split of 33 photographs: 18 train (to learn from), 6 valid (held out, to choose by), 9 test (sealed)."
    )
    each = -(-18 // MOST_PHOTOGRAPHS)
    assert len(drawing.figure.axes[0].images) == round(18 / each) + round(6 / each)  # none of the sealed ones
    assert f"one square stands for {each} photographs" in words(drawing)
    assert "test" not in draw_split(data).text


def test_a_test_part_of_the_data_is_covered_too(data):
    train = data.split.train
    data = replace(data, split=replace(data.split, train=train[:-4], test=train[-4:]))
    drawing = draw_split(data)
    assert "14 train" in drawing.text and "4 test (sealed)" in drawing.text
    assert len(drawing.figure.axes[0].images) == 14 + 6


def test_presizing_shows_the_files_own_size_the_kept_one_and_the_models(data):
    drawing = draw_presizing(data.with_augment(top_down()), 3)
    shown = [image.get_array().shape for image in drawing.figure.axes[0].images]
    kept = data.store.squares(torch.tensor([3])).shape[-1]
    assert shown == [(32, 40), (kept, kept), (32, 32)]
    for size in ("40 × 32 px", f"{kept} × {kept} px", "32 × 32 px"):
        assert size in drawing.text


def test_the_views_and_their_mean_are_those_of_the_model(learn):
    learn.data = learn.data.with_augment(top_down(max_lighting=0.8, p_lighting=1.0))
    with torch.no_grad():
        logits = learn.model.eval()(learn.data.eval_images([2]))
        learn.model.head[-1].weight.mul_(100)  # the views' answers lie far apart
        learn.model.head[-1].bias = nn.Parameter(-100 * logits[0])  # and the plain one at one half
    drawing = draw_views(learn, 2, n=1, seed=0)
    shown = [np.asarray(image.get_array()) for image in drawing.figure.axes[0].images]
    assert len(shown) == 2 and not any(np.array_equal(shown[0], other) for other in shown[1:])
    name = learn.data.items[2].name
    plain = float(learn.get_preds([learn.data.items[2]]).probs[0, 0])
    probabilities = [float(text.removeprefix("p = ")) for text in words(drawing) if text.startswith("p = ")]
    assert probabilities[0] == pytest.approx(plain, abs=0.006) and plain == pytest.approx(0.5, abs=0.05)
    mean = 0.25 * probabilities[0] + 0.75 * np.mean(probabilities[1:])
    assert abs(probabilities[0] - np.mean(probabilities[1:])) > 0.2  # else any weights would do
    together = float(drawing.detail.removesuffix(".").rpartition(" ")[2])
    assert together == pytest.approx(mean, abs=0.011)
    assert drawing.text == f"2 views of {name}, the first as it is, and one answer from all of them."
