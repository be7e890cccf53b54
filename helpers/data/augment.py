"""Augmentation in two moves: draw a few numbers per picture, then apply them all with one interpolation.

Crop, zoom, perspective, rotation and flips multiply into one 3 x 3 matrix per picture. The draws come from an explicit
CPU generator: the same on every device. torchvision's transforms plug in behind it, `Learner(batch_transform=...)`.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data_setup.base.arguments import did_you_mean
from data_setup.base.resampling import move, pixel_numbers
from helpers.runtime.device import upload

MOST_MINIFIED = 2.2  # times larger than the model sees: as far as `soften` is exact


@dataclass(frozen=True)
class Augment:
    """The ranges to draw from. Zero (or False, or 1 for the two scales) switches an operation off."""

    flip: bool = False  # left-right, for half of the pictures
    dihedral: bool = False  # one of the eight symmetries of the square
    max_rotate_deg: float = 0.0
    max_zoom: float = 1.0  # into the picture by up to this factor, around a random point
    min_scale: float = 1.0  # random crop of at least this share of the area
    max_warp: float = 0.0  # perspective: how much nearer one edge may come
    max_lighting: float = 0.0  # brightness and contrast
    p_affine: float = 0.75  # share of pictures that are rotated, zoomed, warped (each drawn by itself)
    p_lighting: float = 0.75

    def __post_init__(self):
        limits = {
            "min_scale": (0 < self.min_scale <= 1, "a share of the area, above 0 and at most 1"),
            "max_zoom": (self.max_zoom >= 1, "a factor of at least 1"),
            "max_lighting": (0 <= self.max_lighting < 1, "at least 0 and below 1"),
            "max_warp": (0 <= self.max_warp <= 0.5, "in 0..0.5"),  # beyond it a corner would be infinitely far away
            **{p: (0 <= getattr(self, p) <= 1, "a probability in 0..1") for p in ("p_affine", "p_lighting")},
        }
        for name, (holds, words) in limits.items():
            if not holds:
                raise ValueError(f"{name} is {words}; got {getattr(self, name)}")


@partial(did_you_mean, forwards_to=Augment)
def side_on(**changes) -> Augment:
    """For photographs of things that stand upright: mirrored left-right only (fastai's `aug_transforms`)."""
    return replace(Augment(flip=True, max_rotate_deg=10.0, max_zoom=1.1, max_warp=0.2, max_lighting=0.2), **changes)


@partial(did_you_mean, forwards_to=Augment)
def top_down(**changes) -> Augment:
    """For pictures without an up (satellites, microscopes, solar cells): all eight symmetries, no perspective."""
    return replace(Augment(dihedral=True, max_rotate_deg=10.0, max_zoom=1.1, max_lighting=0.2), **changes)


def no_augment() -> Augment:
    """Every picture as it is."""
    return Augment()


@dataclass(frozen=True)
class Draws:
    """What happens to each picture; every field is float (n,)."""

    crop_position: Tensor  # 0..1: where the square sits on the long side of the presized picture
    scale: Tensor  # side of the crop as a share of the square's side
    shift_x: Tensor  # centre of the crop, -1..1 of the room there is
    shift_y: Tensor
    angle_rad: Tensor
    warp_x: Tensor
    warp_y: Tensor
    mirror: Tensor  # -1 mirrored, 1 not
    quarter_turns: Tensor  # 0..3
    brightness: Tensor  # added to the logits of the pixels
    contrast: Tensor  # multiplies them

    def __getitem__(self, rows) -> "Draws":
        return Draws(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw(n: int, ranges: Augment, rng: torch.Generator) -> Draws:
    """Draw for `n` pictures at once, each by itself; uniform in each range, the crop's scale uniform in its area."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=rng)

    def sometimes(values: Tensor, probability: float, otherwise: float = 0.0) -> Tensor:
        return torch.where(torch.rand(n, generator=rng) < probability, values, torch.full_like(values, otherwise))

    most, lighting = math.radians(ranges.max_rotate_deg), ranges.max_lighting
    zoom = sometimes(uniform(1, ranges.max_zoom), ranges.p_affine, 1.0)
    return Draws(
        crop_position=uniform(0, 1),
        scale=uniform(ranges.min_scale, 1).sqrt() / zoom,
        shift_x=uniform(-1, 1),
        shift_y=uniform(-1, 1),
        angle_rad=sometimes(uniform(-most, most), ranges.p_affine),
        warp_x=sometimes(uniform(-ranges.max_warp, ranges.max_warp), ranges.p_affine),
        warp_y=sometimes(uniform(-ranges.max_warp, ranges.max_warp), ranges.p_affine),
        mirror=sometimes(-torch.ones(n), 0.5 if ranges.flip or ranges.dihedral else 0.0, 1.0),
        quarter_turns=uniform(0, 4).floor() if ranges.dihedral else torch.zeros(n),
        brightness=sometimes(torch.logit(uniform(0.5 - lighting / 2, 0.5 + lighting / 2)), ranges.p_lighting),
        contrast=sometimes(uniform(math.log(1 - lighting), -math.log(1 - lighting)), ranges.p_lighting).exp(),
    )


def matrices(draws: Draws) -> Tensor:
    """One homography per picture, from output to input coordinates (-1..1, centre 0): float (n, 3, 3)."""

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))

    zero, one = torch.zeros_like(draws.scale), torch.ones_like(draws.scale)
    x, y = (1 - draws.scale) * draws.shift_x, (1 - draws.scale) * draws.shift_y
    crop = matrix(draws.scale, zero, x, zero, draws.scale, y, zero, zero, one)
    # divides by 1 + warp_x x + warp_y y: at warp 0.2 one edge is 1.5 times as large as the other
    perspective = matrix(one, zero, zero, zero, one, zero, draws.warp_x, draws.warp_y, one)
    angle = draws.angle_rad + draws.quarter_turns * (math.pi / 2)
    rotation = matrix(angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one)
    mirror = matrix(draws.mirror, zero, zero, zero, one, zero, zero, zero, one)
    with torch.autocast("cpu", enabled=False):  # in bfloat16 a picture would be half a pixel off
        return mirror @ rotation @ perspective @ crop  # applied from right to left


def warp(images: Tensor, matrix: Tensor, size: int) -> Tensor:
    """Sample (N, C, H, W) float once, bilinear, through (N, 3, 3) on the CPU; edges mirrored: (N, C, size, size)."""
    matrix = upload(matrix, images.device)
    centres = torch.linspace(1 / size - 1, 1 - 1 / size, size, device=images.device)  # of the pixels, in -1..1
    along_x = matrix[:, :, 0, None] * centres  # (N, 3, size)
    along_y = matrix[:, :, 1, None] * centres + matrix[:, :, 2, None]
    points = along_y[..., :, None] + along_x[..., None, :]  # (N, 3, size, size), homogeneous
    grid = (points[:, :2] / points[:, 2:]).permute(0, 2, 3, 1)  # (N, size, size, 2)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def adjust_lighting(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Brightness and contrast on the pixels' logits, so that nothing leaves 0..1 (fastai v2's formula)."""
    logits = torch.logit(images, eps=1e-7)
    return logits.mul_(contrast.view(-1, 1, 1, 1)).add_(brightness.view(-1, 1, 1, 1)).sigmoid_()


def light(images: Tensor, draws: Draws) -> Tensor:
    """`adjust_lighting` of the pictures that drew any; the others keep their pixels to the last bit."""
    lit = (draws.brightness != 0) | (draws.contrast != 1)
    if not lit.any():
        return images
    changed = adjust_lighting(images, *upload(torch.stack([draws.brightness, draws.contrast]), images.device))
    return torch.where(upload(lit, images.device).view(-1, 1, 1, 1), changed, images)


def blur_taps(minify: Tensor) -> Tensor:
    """(N, 3) weights along each side of the blur that bilinear sampling leaves out when it minifies.

    Antialiasing weighs by a triangle of variance minify² / 6, sampling by one of 1 / 6; three taps add what is missing,
    exactly until `MOST_MINIFIED`.
    """
    share = ((minify**2 - 1) / 12).clamp(0, 1 / 3)  # what a neighbour gets
    return torch.stack([share, 1 - 2 * share, share], dim=1)


def soften(images: Tensor, minify: Tensor) -> Tensor:
    """Blur picture i of (N, C, H, W) float for being made `minify[i]` times smaller."""
    n, channels, height, width = images.shape
    taps = blur_taps(minify).repeat_interleave(channels, dim=0)  # (N * C, 3)
    kernels = taps[:, None, :, None] * taps[:, None, None, :]
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate").view(1, n * channels, height + 2, width + 2)
    with torch.autocast(images.device.type, enabled=False):
        return F.conv2d(padded, kernels, groups=n * channels).view(images.shape)


def apply_draws(squares: Tensor, draws: Draws, size: int) -> Tensor:
    """uint8 (N, C, P, P) in, float (N, 3, size, size) in 0..1 out, on its device; draws stay on the CPU: no sync.

    A CPU moves pixels as whole numbers, in half the time: the two ways differ in rounding alone.
    """
    matrix, px = matrices(draws), squares.shape[-1]
    still = torch.equal(matrix, torch.eye(3).expand_as(matrix))
    sharp = size if still else 2 * size if px > MOST_MINIFIED * size else px
    minify = draws.scale * sharp / size
    if squares.device.type == "cpu" and not still:
        if sharp != px:
            squares = F.interpolate(squares, (sharp, sharp), mode="bilinear", antialias=True)
        places = pixel_numbers(sharp) @ matrix.double().numpy() @ np.linalg.inv(pixel_numbers(size))
        levels = light(torch.linspace(0, 1, 256).expand(len(squares), 1, 1, 256), draws).flatten(1)
        images = torch.from_numpy(move(squares.numpy(), places, blur_taps(minify).numpy(), levels.numpy(), size))
    else:
        images = resize(squares, sharp)[:, : squares.shape[1]]  # grey pictures with one channel
        if (minify > 1).any() and not still:
            images = soften(images, upload(minify, squares.device))
        images = light(images if still else warp(images, matrix, size), draws)
    return images.expand(-1, 3, -1, -1)


def resize(squares: Tensor, size: int) -> Tensor:
    """The pictures as they are, at another size: uint8 (N, C, P, P) in, float (N, 3, size, size) in 0..1 out."""
    images = squares.float().div_(255)
    if images.shape[-1] != size:
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return images.expand(-1, 3, -1, -1)
