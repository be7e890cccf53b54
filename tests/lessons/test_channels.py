"""Channels: the strongest photographs are those of a sort, the crop is where the peak is, a name can be tried."""

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons.channels import Channels, show_channels, try_a_name, watch_channels


@pytest.fixture
def channels(learn):
    return watch_channels(learn, stage=3)


def test_the_top_nine_are_those_of_a_sort_over_maps_computed_by_hand(learn, channels):
    rows = learn.data.indices_of("train")
    with torch.no_grad():
        maps = learn.model.eval().before(learn.data.eval_images(rows), 3)
    peaks = maps.amax(dim=(2, 3))
    torch.testing.assert_close(channels.peaks, peaks, rtol=1e-4, atol=1e-5)
    for channel in (0, 5):
        assert channels.top(channel) == peaks[:, channel].argsort(descending=True)[:9].tolist()
    assert channels.items == learn.data.items_of("train") and channels.side == maps.shape[-1]
    with pytest.raises(ValueError, match=f"channels 0 to {maps.shape[1] - 1}; got 999"):
        channels.top(999)


@pytest.mark.parametrize("stage", [0, 99])
def test_a_stage_without_maps_is_refused(learn, stage):
    with pytest.raises(ValueError, match=f"a stage with feature maps is 1 to .* got {stage}"):
        watch_channels(learn, stage=stage)


def test_the_most_telling_channel_is_the_one_that_differs(channels):
    peaks = torch.zeros_like(channels.peaks) + torch.arange(len(channels.items))[:, None] % 3
    peaks[:, 7] = torch.where(channels.targets == 0, 5.0, 1.0)
    made = Channels(channels.items, peaks, channels.places, channels.side, channels.targets, channels.classes)
    assert made.telling(1) == [7]


@pytest.mark.parametrize("place", [(0, 0), (3, 5), (7, 7)])
@pytest.mark.parametrize("size", [(80, 80), (120, 80), (80, 120)])
def test_the_crop_shows_the_place_of_the_peak(tmp_path, channels, place, size):
    """One bright dot lies where the peak is: on the middle square, which the model saw."""
    width, height = size
    left, top = (width - 80) // 2, (height - 80) // 2
    x, y = left + 10 * place[1] + 5, top + 10 * place[0] + 5
    pixels = np.zeros((height, width), np.uint8)
    pixels[y, x] = 255
    path = tmp_path / "dot.png"
    Image.fromarray(pixels).save(path)
    item = type(channels.items[0])("dot", path, "dark")
    peak = torch.tensor([[8 * place[0] + place[1]]])
    made = Channels((item,), torch.ones(1, 1), peak, 8, torch.zeros(1, dtype=torch.int64), ("dark",))
    crop = made.crop(0, 0)
    assert crop.max() == 255 and crop.shape == (30, 30)


def test_the_figure_has_a_row_for_each_channel(channels):
    drawing = show_channels(channels, [4, 2], n=5)
    assert len(drawing.figure.axes[0].images) == 10
    dark = sum(int(channels.targets[row] == 0) for row in channels.top(4, 5))
    assert f"channel 4: {dark} of 5 are dark" in drawing.detail and drawing.text.endswith("channels 4 and 2.")


@pytest.fixture
def many(pictures, course_data):
    data = ImageData.from_folders(pictures, size=32, batch_size=8, valid_frac=0.5)
    return watch_channels(Learner.pretrained(data, "test_resnet", pretrained=False), stage=3)


def test_a_name_is_tried_on_strong_and_weak_photographs(many):
    trial = try_a_name(many, 3, n=6)
    assert len(trial.fires) == 2 and len(trial.drawing.figure.axes) == 6
    assert trial.score(trial.fires).startswith("your name finds 2 of the 2 photographs that excite channel 3")
    others = [number for number in range(1, 7) if number not in trial.fires]
    assert "finds 0 of the 2" in trial.score(others) and trial.score(others).endswith("and 4 of the 4 that do not")
    assert try_a_name(many, 3, n=6).fires == trial.fires  # the same every time
    with pytest.raises(ValueError, match="the numbers 1 to 6; got 7"):
        trial.score([1, 7])
    with pytest.raises(ValueError, match="9 photographs to try a name on need at least 18"):
        try_a_name(many, 3)
