"""One photograph on its way: maps are the model's own, the strongest channels lead."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.learner import Learner
from helpers.lessons.feature_maps import first_filters, maps_of, quiet_share, show_first_filters, show_journey


def test_maps_are_what_the_stages_give_after_relu(learn):
    for module in learn.model.body.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.5)  # so that a stage of normalisation changes its maps
    maps = maps_of(learn, 3)
    sides = [found.shape[-1] for found in maps]
    assert sides == sorted(set(sides), reverse=True)
    last_of_its_size = {}
    with torch.no_grad():
        images = learn.model.eval().normalize(learn.data.eval_images([3]))
        for stages in range(1, len(learn.model.body) + 1):
            given = learn.model.body(images, 0, stages)[0]
            last_of_its_size[given.shape[-1]] = given
    for found in maps:
        torch.testing.assert_close(found, last_of_its_size[found.shape[-1]].relu(), rtol=1e-4, atol=1e-5)


def test_quiet_share_counts_places_below_a_tenth():
    maps = torch.tensor([[[1.0, 0.05], [0.2, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert quiet_share(maps) == (2 + 4) / 8


def test_the_first_filters_are_those_that_see_colours(learn):
    filters = first_filters(learn)
    weight = next(m.weight for m in learn.model.body.modules() if isinstance(m, nn.Conv2d))
    assert torch.equal(filters, weight) and filters.shape[1] == 3
    drawing = show_first_filters(learn)
    shown = [np.asarray(ax.images[0].get_array()) for ax in drawing.figure.axes if ax.images]
    assert len(shown) == len(filters)
    expected = (0.5 + 0.5 * filters[0] / filters[0].abs().max()).detach().permute(1, 2, 0).numpy()
    np.testing.assert_allclose(shown[0], expected, atol=1e-6)


def test_the_journey_shows_the_same_channels_for_both_photographs(learn):
    drawing = show_journey(learn, [0, 14], channels=3)
    maps, others = maps_of(learn, 0), maps_of(learn, 14)
    shown = [np.asarray(image.get_array()) for image in drawing.figure.axes[0].images]
    assert len(shown) == 2 + 2 * 3 * len(maps)
    strongest = int(maps[0].amax(dim=(1, 2)).argmax())
    first = shown[2:]
    for picture, whole in ((first[0], maps[0]), (first[3], others[0])):
        expected = whole[strongest] / whole[strongest].max().clamp(min=1e-9)
        np.testing.assert_allclose(picture, expected.numpy(), atol=1e-5)
    assert f"{maps[0].shape[0]} maps of {maps[0].shape[1]} px" in drawing.text
    with pytest.raises(ValueError, match="one or two photographs"):
        show_journey(learn, [0, 1, 2])


def test_a_network_without_stages_says_so(data):
    learn = Learner(data, nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)))
    with pytest.raises(ValueError, match="no feature maps to show"):
        maps_of(learn, 0)
    with pytest.raises(ValueError, match="no convolution"):
        first_filters(learn)
