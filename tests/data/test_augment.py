"""Augmentation: geometry against scipy and torchvision, draws against their ranges, one interpolation by counting."""

import math
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.ndimage import map_coordinates
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from helpers.data import augment
from helpers.data.augment import (
    Augment,
    Draws,
    adjust_lighting,
    apply_draws,
    draw,
    light,
    matrices,
    no_augment,
    resize,
    side_on,
    soften,
    top_down,
    warp,
)
from helpers.lessons.figures import identity
from helpers.lessons.upright import basic
from helpers.runtime.seeds import generator

QUICK = settings(max_examples=25, deadline=None)
EVERYTHING = side_on(max_rotate_deg=20, max_zoom=1.5, min_scale=0.4, max_warp=0.3, max_lighting=0.4)


def squares(n=4, px=24, channels=3, seed=0):
    return torch.randint(0, 256, (n, channels, px, px), dtype=torch.uint8, generator=generator("squares", seed))


def smooth(px, n=1):
    """float (n, 3, px, px): slow waves, different in every direction."""
    y, x = np.mgrid[0:px, 0:px] / px
    waves = [np.sin(5 * x + 2 * y), np.cos(3 * x * y + y), np.sin(4 * y - x)]
    return torch.from_numpy(np.stack(waves) / 2 + 0.5).float().expand(n, -1, -1, -1)


def one(**changes):
    """Draws for one picture: nothing but `changes`."""
    return replace(identity(1), **{name: torch.tensor([float(value)]) for name, value in changes.items()})


# Geometry ------------------------------------------------------------------------------------------------------


def by_hand(image, draws, size):
    """The same picture in steps: where each output pixel looks, then scipy's linear interpolation, edges mirrored."""
    d = {field.name: getattr(draws, field.name).item() for field in fields(draws)}
    centres = (2 * np.arange(size) + 1) / size - 1
    y, x = np.meshgrid(centres, centres, indexing="ij")
    x, y = d["scale"] * x + (1 - d["scale"]) * d["shift_x"], d["scale"] * y + (1 - d["scale"]) * d["shift_y"]
    nearer = 1 + d["warp_x"] * x + d["warp_y"] * y
    x, y = x / nearer, y / nearer
    angle = d["angle_rad"] + d["quarter_turns"] * np.pi / 2
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    x = x * d["mirror"]
    height, width = image.shape[1:]
    where = [(y + 1) * height / 2 - 0.5, (x + 1) * width / 2 - 0.5]
    return np.stack([map_coordinates(channel, where, order=1, mode="reflect") for channel in image.numpy()])


@QUICK
@given(st.integers(0, 10_000), st.sampled_from([(24, 24), (24, 17), (16, 30)]))
def test_all_operations_together_are_what_they_are_one_by_one(seed, sizes):
    """Catches a wrong order of the matrices, swapped axes, a shift by half a pixel and a wrong edge."""
    ranges = top_down(max_rotate_deg=45, max_zoom=1.6, min_scale=0.3, max_warp=0.3, p_affine=0.9)
    draws = draw(1, ranges, generator(seed))
    image = smooth(sizes[0])
    np.testing.assert_allclose(warp(image, matrices(draws), sizes[1])[0], by_hand(image[0], draws, sizes[1]), atol=2e-4)


def test_geometry_is_exact_where_a_network_predicts_in_bfloat16():
    """Catches views for test-time augmentation that are off by half a pixel: autocast multiplies matrices, too."""
    draws = draw(16, top_down(max_rotate_deg=45, max_zoom=1.6, p_affine=1.0), generator(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = matrices(draws)
    assert torch.equal(found, matrices(draws))


@pytest.mark.parametrize(("angle_deg", "zoom"), [(0, 1.3), (10, 1.0), (-25, 1.0), (40, 1.5)])
def test_rotation_and_zoom_agree_with_torchvision(angle_deg, zoom):
    """Catches a rotation in radians taken for degrees, a zoom that shrinks, and a centre at the corner pixel."""
    px = 40
    image = smooth(px)
    ours = warp(image, matrices(one(angle_rad=math.radians(angle_deg), scale=1 / zoom)), px)
    bilinear = v2.InterpolationMode.BILINEAR
    theirs = v2.functional.affine(image, -angle_deg, [0, 0], zoom, [0, 0], interpolation=bilinear)
    inside = (
        v2.functional.affine(torch.ones_like(image), -angle_deg, [0, 0], zoom, [0, 0], interpolation=bilinear) > 0.999
    )
    assert inside.float().mean() > 0.7  # beyond it torchvision paints black where we mirror
    assert (ours - theirs)[inside].abs().max() < 1e-3


@pytest.mark.parametrize(("warp_x", "warp_y"), [(0.2, 0.0), (0.0, -0.3), (0.25, 0.15), (-0.1, 0.3)])
def test_perspective_agrees_with_torchvision_for_the_same_corners(warp_x, warp_y):
    """Catches a warp that is no perspective (lines bend) or moves the wrong edge."""
    px = 40
    image = smooth(px)
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=torch.float64)
    found = corners @ matrices(one(warp_x=warp_x, warp_y=warp_y))[0].double().T
    looked_at = found[:, :2] / found[:, 2:]
    start, end = (((points + 1) * px / 2).tolist() for points in (looked_at, corners[:, :2]))
    bilinear = v2.InterpolationMode.BILINEAR
    theirs = v2.functional.perspective(image, start, end, interpolation=bilinear)
    inside = v2.functional.perspective(torch.ones_like(image), start, end, interpolation=bilinear) > 0.999
    assert inside.float().mean() > 0.6
    assert (warp(image, matrices(one(warp_x=warp_x, warp_y=warp_y)), px) - theirs)[inside].abs().max() < 1e-3
    edges = looked_at.diff(dim=0, append=looked_at[:1]).norm(dim=1)
    assert edges.max() / edges.min() > 1.1


@pytest.mark.parametrize("px", [16, 25])
def test_mirror_and_quarter_turns_are_the_eight_symmetries(px):
    """Catches a symmetry that stands twice and one that is missing."""
    image = squares(1, px).float() / 255
    flips = [image.rot90(k, (2, 3)) for k in range(4)] + [image.flip(3).rot90(k, (2, 3)) for k in range(4)]
    seen = set()
    for mirror in (-1, 1):
        for turns in range(4):
            ours = warp(image, matrices(one(mirror=mirror, quarter_turns=turns)), px)
            distances = [(ours - flip).abs().max().item() for flip in flips]
            assert min(distances) < 1e-4
            seen.add(int(np.argmin(distances)))
    assert seen == set(range(8))


def test_flipping_twice_and_turning_four_times_change_nothing():
    """Catches a mirror about the wrong axis and a turn that is not quite a quarter."""
    image = squares(1, 20).float() / 255
    for changes, times in (({"mirror": -1}, 2), ({"quarter_turns": 1}, 4), ({"angle_rad": math.pi / 2}, 4)):
        moved, matrix = image, matrices(one(**changes))
        for number in range(times):
            moved = warp(moved, matrix, 20)
            assert number == times - 1 or (moved - image).abs().max() > 0.1
        assert (moved - image).abs().max() < 1e-4


@pytest.mark.parametrize("size", [20, 32, 100, 7])
def test_zero_strength_changes_nothing_at_all(size):
    """Catches a training picture that differs from the same picture in validation: by a resampling, or by light."""
    images = squares(3, 32 if size < 100 else 100)
    nothing = Augment(p_affine=1.0, p_lighting=1.0)
    for ranges in (no_augment(), nothing):
        moved = apply_draws(images, draw(3, ranges, generator(0)), size)
        assert torch.equal(moved, resize(images, size))
    if size == images.shape[-1]:
        assert torch.equal(moved, images.float() / 255)


def test_what_happens_to_one_picture_does_not_depend_on_its_neighbours():
    """Catches one draw for the whole batch (fastai's crop), and light that touches pictures drawn to have none."""
    images, draws = squares(8, 20), draw(8, EVERYTHING, generator(3))
    assert (draws.brightness == 0).any() and (draws.brightness != 0).any()
    together = apply_draws(images, draws, 16)
    alone = torch.cat([apply_draws(images[i : i + 1], draws[i : i + 1], 16) for i in range(8)])
    assert (together - alone).abs().max() < 1e-4


def in_floats(images, draws, size):
    """The steps one after the other, as a GPU takes them."""
    px = images.shape[-1]
    sharp = resize(images, 2 * size if px > augment.MOST_MINIFIED * size else px)
    minify = (draws.scale * sharp.shape[-1] / size).to(images.device)
    return light(warp(soften(sharp, minify), matrices(draws), size), draws)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("px", "roundings"), [(30, 1), (56, 2), (100, 3)])  # sampled; and blurred; and resized
def test_whole_numbers_are_the_floats_rounded(px, roundings, channels):
    """A CPU's way against a GPU's. Catches half a pixel of shift, other edges, another picture's blur or light."""
    coarse = torch.rand(48, channels, px // 5, px // 5, generator=generator("coarse"))
    images = nn.functional.interpolate(coarse, (px, px), mode="bicubic").clamp(0, 1).mul(255).byte()
    draws = draw(48, replace(EVERYTHING, min_scale=0.9, max_zoom=1.1), generator(5))
    found, dark = apply_draws(images, draws, 40), replace(draws, brightness=torch.zeros(48), contrast=torch.ones(48))
    least, most = ((in_floats(images, dark, 40) + by * roundings * 0.6 / 255).clamp(0, 1) for by in (-1, 1))
    assert (light(least, draws) <= found).all() and (found <= light(most, draws)).all()
    error = 255 * (apply_draws(images, dark, 40) - in_floats(images, dark, 40))
    assert error.abs().mean() < 0.3 * roundings**0.5 and error.mean().abs() < 0.1


def test_numbers_of_either_length_are_lit():
    """Catches pictures that stay as memory had them, since the light was written into a copy of another type."""
    images, draws = squares(4, 20), draw(4, EVERYTHING, generator(6))
    expected = apply_draws(images, draws, 16)
    torch.set_default_dtype(torch.float64)
    try:
        found = apply_draws(images, draws, 16)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found.to(torch.float32), expected, rtol=0, atol=1e-6)


def test_without_a_perspective_nothing_is_divided():
    """Against torch's own grid of an affine matrix. Catches two rows of the matrix where three are needed."""
    image, matrix = smooth(20, 6), matrices(draw(6, top_down(max_zoom=1.5), generator(7)))
    grid = nn.functional.affine_grid(matrix[:, :2], [6, 3, 16, 16], align_corners=False)
    expected = nn.functional.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(warp(image, matrix, 16), expected, rtol=0, atol=1e-5)
    turned = torch.cat([matrix, matrices(one(warp_x=0.3))])  # one picture with a perspective beside six without
    torch.testing.assert_close(warp(smooth(20, 7), turned, 16)[:6], expected, rtol=0, atol=1e-5)


def test_pictures_keep_to_0_to_1_in_every_corner_of_the_ranges():
    """Catches a perspective that divides by zero, and an overshoot that the normalisation would carry on."""
    ranges = top_down(max_rotate_deg=180, max_zoom=3, min_scale=0.05, max_warp=0.5, max_lighting=0.95, p_affine=1)
    images = apply_draws(squares(64, 16), draw(64, ranges, generator(1)), 12)
    assert images.shape == (64, 3, 12, 12) and images.dtype == torch.float32
    assert torch.isfinite(images).all() and images.min() >= 0 and images.max() <= 1
    images = apply_draws(squares(1, 16), one(warp_x=-0.5, warp_y=0.5), 64)
    assert torch.isfinite(images).all()


@pytest.mark.parametrize("ranges", [no_augment(), EVERYTHING])
def test_a_grey_picture_becomes_three_equal_channels(ranges):
    """Catches channels drawn differently, and a grey store that the model refuses."""
    images = apply_draws(squares(4, 16, channels=1), draw(4, ranges, generator(2)), 12)
    assert images.shape == (4, 3, 12, 12)
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


# Sharpness ----------------------------------------------------------------------------------------------------


def detail(images):
    """How sharp pictures are: the mean square of the differences between neighbouring pixels."""
    return float(images.diff(dim=-1).square().mean() + images.diff(dim=-2).square().mean())


@pytest.mark.parametrize("minify", [1.25, 1.5, 2.0])
def test_training_pictures_are_as_sharp_as_validation_pictures(minify):
    """Catches a training without antialiasing: its pictures were up to 18 % sharper than those it is validated on."""
    size = 64
    noise = torch.randint(0, 256, (8, 3, 40, 40), dtype=torch.uint8, generator=generator("noise"))
    px = round(size * minify)
    images = resize(noise, px).mul(255).round().byte()  # detail of all sizes, as a photograph has
    barely_turned = replace(identity(8), angle_rad=torch.full((8,), 1e-6))
    sharper = detail(apply_draws(images, barely_turned, size)) / detail(resize(images, size))
    assert sharper == pytest.approx(1, abs=0.03)


def test_softening_keeps_brightness_and_leaves_enlarged_pictures_alone():
    """Catches dark edges (padding with black), and a blur for crops that are enlarged anyway."""
    images = squares(2, 20).float() / 255
    softened = soften(images, torch.tensor([1.8, 0.7]))
    assert torch.equal(softened[1], images[1]) and detail(softened[:1]) < 0.8 * detail(images[:1])
    white = torch.ones(2, 1, 9, 9)
    torch.testing.assert_close(soften(white, torch.tensor([2.0, 1.5])), white)


# Light ---------------------------------------------------------------------------------------------------------


@QUICK
@given(st.floats(0.05, 0.95), st.floats(-3, 3), st.floats(0.2, 5))
def test_light_is_the_logit_formula(pixel, brightness, contrast):
    """Catches brightness multiplied instead of added, and contrast around black instead of middle grey."""
    lit = adjust_lighting(torch.full((1, 3, 2, 2), pixel), torch.tensor([brightness]), torch.tensor([contrast]))
    expected = 1 / (1 + math.exp(-(math.log(pixel / (1 - pixel)) * contrast + brightness)))
    assert lit.unique().numel() == 1
    assert lit[0, 0, 0, 0].item() == pytest.approx(expected, abs=1e-5)


def test_the_extremes_of_light_are_those_of_fastai():
    """Catches max_lighting=0.2 that means something else: middle grey moves to 0.4..0.6, contrast is 0.8..1/0.8."""
    draws = draw(4000, basic(max_lighting=0.2, p_lighting=1), generator(0))
    grey = torch.sigmoid(draws.brightness)
    assert 0.4 <= grey.min() < 0.402 and 0.598 < grey.max() <= 0.6
    assert 0.8 <= draws.contrast.min() < 0.801 and 1.248 < draws.contrast.max() <= 1.25
    assert abs(draws.contrast.log().mean()) < 0.01  # as often stronger as weaker


def test_black_and_white_stay_black_and_white_without_light():
    """Catches pixels clipped away from 0 and 1 on the way through the logits."""
    ends = torch.tensor([0.0, 1.0, 0.5]).view(1, 1, 1, 3)
    assert torch.allclose(adjust_lighting(ends, torch.zeros(1), torch.ones(1)), ends, atol=1e-6)


# Draws ---------------------------------------------------------------------------------------------------------


@QUICK
@given(
    st.builds(
        Augment,
        flip=st.booleans(), dihedral=st.booleans(), max_rotate_deg=st.floats(0, 180), max_zoom=st.floats(1, 4),
        min_scale=st.floats(0.01, 1), max_warp=st.floats(0, 0.5), max_lighting=st.floats(0, 0.99),
        p_affine=st.floats(0, 1), p_lighting=st.floats(0, 1),
    ),
    st.integers(0, 1000),
)  # fmt: skip
def test_every_number_drawn_lies_in_its_range(ranges, seed):
    """Catches a range in degrees used in radians, a share of the area used for the side, a probability ignored."""
    draws, slack = draw(50, ranges, generator(seed)), 1e-5
    assert all(getattr(draws, field.name).shape == (50,) for field in fields(Draws))
    assert ((draws.crop_position >= 0) & (draws.crop_position <= 1)).all()
    lowest = math.sqrt(ranges.min_scale) / ranges.max_zoom
    assert ((draws.scale >= lowest - slack) & (draws.scale <= 1 + slack)).all()
    for shift in (draws.shift_x, draws.shift_y):
        assert (shift.abs() <= 1).all()
    assert (draws.angle_rad.abs() <= math.radians(ranges.max_rotate_deg) + slack).all()
    for warped in (draws.warp_x, draws.warp_y):
        assert (warped.abs() <= ranges.max_warp + slack).all()
    assert set(draws.mirror.tolist()) <= ({-1.0, 1.0} if ranges.flip or ranges.dihedral else {1.0})
    assert set(draws.quarter_turns.tolist()) <= ({0.0, 1.0, 2.0, 3.0} if ranges.dihedral else {0.0})
    assert ((torch.sigmoid(draws.brightness) - 0.5).abs() <= ranges.max_lighting / 2 + slack).all()
    assert (draws.contrast.log().abs() <= -math.log(1 - ranges.max_lighting) + 1e-4).all()
    if ranges.p_affine == 0:
        assert not draws.angle_rad.any() and not draws.warp_x.any() and not draws.warp_y.any()
    if ranges.p_lighting == 0:
        assert (draws.brightness == 0).all() and (draws.contrast == 1).all()


def test_draws_are_spread_as_they_should_be():
    """Catches a crop uniform in its side, flips that are not half, turns that prefer one direction, a p of 1."""
    n = 4000
    draws = draw(n, top_down(min_scale=0.2, max_zoom=1, max_warp=0.3, p_affine=0.75, p_lighting=0.5), generator(5))
    assert stats.kstest(draws.scale.square().numpy(), stats.uniform(0.2, 0.8).cdf).pvalue > 0.001
    assert stats.kstest(draws.crop_position.numpy(), stats.uniform().cdf).pvalue > 0.001
    both = (draws.mirror > 0) * 4 + draws.quarter_turns
    assert stats.chisquare(torch.bincount(both.long(), minlength=8).numpy()).pvalue > 0.001
    for values, expected in (
        (draws.angle_rad, 0.75),
        (draws.warp_x, 0.75),
        (draws.warp_y, 0.75),
        (draws.brightness, 0.5),
    ):
        assert (values != 0).float().mean().item() == pytest.approx(expected, abs=0.03)
    assert (draws.contrast != 1).float().mean().item() == pytest.approx(0.5, abs=0.03)
    turned = draws.angle_rad[draws.angle_rad != 0] / math.radians(10)
    assert stats.kstest(turned.numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.001
    flips = draw(n, side_on(), generator(6)).mirror
    assert (flips < 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_every_picture_of_a_batch_is_drawn_by_itself():
    """Catches one crop, one warp or one erased box for the whole batch (fastai v2, on the GPU)."""
    draws = draw(64, replace(EVERYTHING, p_affine=1.0, p_lighting=1.0), generator(0))
    for name in (
        "crop_position",
        "scale",
        "shift_x",
        "shift_y",
        "angle_rad",
        "warp_x",
        "warp_y",
        "brightness",
        "contrast",
    ):
        assert getattr(draws, name).unique().numel() == 64, name
    images = apply_draws(squares(1, 24).expand(64, -1, -1, -1), draws, 16)
    assert images.flatten(1).unique(dim=0).shape[0] == 64


def test_one_seed_gives_one_set_of_draws_and_the_global_generator_is_left_alone():
    """Catches a draw from the global generator, which another cell of the notebook may have moved."""
    before = torch.get_rng_state()
    first, again, other = (draw(8, EVERYTHING, generator(seed)) for seed in (1, 1, 2))
    for field in fields(Draws):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    assert not torch.equal(first.angle_rad, other.angle_rad)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_numbers_are_drawn_whatever_is_switched_on_elsewhere():
    """Catches a lesson in which switching the light off also moves every crop."""
    with_light, without = (draw(8, side_on(max_lighting=m), generator(1)) for m in (0.2, 0.0))
    for name in ("crop_position", "scale", "shift_x", "angle_rad", "warp_x", "mirror"):
        assert torch.equal(getattr(with_light, name), getattr(without, name))


@pytest.mark.gpu
def test_the_gpu_draws_the_same_and_shows_the_same():
    """Catches draws made on the device, whose generator gives other numbers than the CPU's."""
    images, draws = squares(16, 40), draw(16, EVERYTHING, generator(1))
    assert draws.scale.device.type == "cpu"
    here, there = in_floats(images, draws, 32), apply_draws(images.cuda(), draws, 32)
    assert there.is_cuda and (here - there.cpu()).abs().max() < 1e-3


# One interpolation ---------------------------------------------------------------------------------------------


class Resamplings(TorchDispatchMode):
    """Writes down every operation inside the block that samples pixels anew."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if any(word in name for word in ("grid_sampl", "upsample", "pool", "roll")):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


def test_a_training_batch_is_resampled_once(data, monkeypatch):
    """Catches a second interpolation: fastai v2 makes two with min_scale, and blurs every picture by it."""
    data.store  # noqa: B018 (decoding is not what is counted)
    planes = sum(len(data.store.picture(row)) for row in data.rows["train"].tolist())
    for name in [name for name in dir(cv2) if any(word in name for word in ("warp", "resize", "remap"))]:
        function = getattr(cv2, name)
        monkeypatch.setattr(cv2, name, lambda *args, f=function, n=name, **how: seen.names.append(n) or f(*args, **how))
    for ranges, expected in (
        (side_on(min_scale=0.5), ["warpPerspective"] * planes),
        (top_down(min_scale=0.3, max_zoom=2.0, max_warp=0.2), ["warpPerspective"] * planes),
        (no_augment(), ["_upsample_bilinear2d_aa"] * math.ceil(len(data.rows["train"]) / 8)),
    ):
        augmented = data.with_augment(ranges)
        with Resamplings() as seen:
            list(augmented.train_batches(torch.device("cpu"), 8, "test"))
        assert seen.names == expected
    with Resamplings() as seen:
        in_floats(squares(3, 20), draw(3, EVERYTHING, generator(0)), 20)
    assert seen.names == ["grid_sampler_2d"]


# Batch transforms of torchvision -------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [v2.MixUp(num_classes=3), v2.CutMix(num_classes=3), v2.RandomErasing(p=1.0)],
    ids=lambda t: type(t).__name__,
)
def test_torchvisions_batch_transforms_plug_in(transform, channels):
    """Catches a batch that torchvision refuses, targets the loss refuses, and a transform that writes to the store."""
    images, targets = squares(6, 16, channels), torch.tensor([0, 1, 2, 2, 1, 0])
    kept = images.clone()
    batch = apply_draws(images, draw(6, EVERYTHING, generator(0)), 12)
    torch.manual_seed(0)
    changed, mixed = transform(batch, targets)
    assert changed.shape == batch.shape and not torch.equal(changed, batch) and torch.equal(images, kept)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 3))
    losses = nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1)(model(changed), mixed)
    losses.mean().backward()
    assert losses.shape == (6,) and torch.isfinite(losses).all()
    if mixed.is_floating_point():
        assert mixed.shape == (6, 3) and torch.allclose(mixed.sum(dim=1), torch.ones(6))


# Settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_scale": 0.0}, "min_scale is a share of the area, above 0 and at most 1; got 0.0"),
        ({"min_scale": 1.5}, "min_scale is a share of the area"),
        ({"max_zoom": 0.9}, "max_zoom is a factor of at least 1; got 0.9"),
        ({"max_lighting": 1.0}, "max_lighting is at least 0 and below 1; got 1.0"),
        ({"max_warp": 0.6}, "max_warp is in 0..0.5; got 0.6"),
        ({"p_affine": 75}, "p_affine is a probability in 0..1; got 75"),
        ({"p_lighting": -0.1}, "p_lighting is a probability in 0..1; got -0.1"),
    ],
)
def test_impossible_ranges_are_refused(changes, message):
    """Catches a percentage taken for a share, and a warp that turns pictures inside out."""
    with pytest.raises(ValueError, match=message):
        side_on(**changes)


def test_a_misspelt_setting_is_named():
    """Catches side_on(rotate=30) that rotates by 10."""
    with pytest.raises(TypeError, match="side_on.. has no keyword 'max_rotate'; did you mean 'max_rotate_deg'"):
        side_on(max_rotate=30)


def test_the_presets_are_what_the_lectures_say():
    """Catches a mirror in `basic` (letters!), upside-down photographs, and defaults that left those of fastai."""
    assert side_on() == Augment(True, False, 10.0, 1.1, 1.0, 0.2, 0.2, 0.75, 0.75)
    assert top_down() == Augment(False, True, 10.0, 1.1, 1.0, 0.0, 0.2, 0.75, 0.75)
    assert basic() == Augment(False, False, 10.0, 1.0, 1.0, 0.0, 0.05, 0.75, 0.75)
    assert no_augment() == Augment()
    assert [field.name for field in fields(augment.Augment)][:3] == ["flip", "dihedral", "max_rotate_deg"]
