"""How the packaged networks' layers learn. torch's own gradients remember every table on the way and pass over each of
them again; here several layers are one step, and what it needs is had from less."""

import functools
import math
import time
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from data_setup.lite.filters import Filters, filters_fit
from data_setup.lite.norms import BatchNorm
from data_setup.lite.timings import in_turns, kept, on_cpu

ONE_PIXEL = [1, 1], [0, 0], [1, 1], False, [0, 0], 1  # of a convolution: stride, padding, dilation, how, groups
COLUMNS = 3  # of a filter, for which oneDNN has a fast gradient; it takes wider filters for full ones
FEW_PIXELS = 64  # of a map, at most: there a norm stays a layer of its own
PROBES = {64: (112, 672), 16: (192, 1152)}  # pixels of a map: its channels, and those of its mixture, as in lite0
CLEARLY_FASTER = 0.9


def in_plain_torch(forward):
    """For what computes in types of its own choice: without autocast, and without whoever looks at each of torch's
    functions meanwhile (`torch.overrides.TorchFunctionMode`, as mixed precision does: 1.5 % of a step)."""

    @functools.wraps(forward)
    def plainly(*given):
        with torch.autocast("cpu", enabled=False), torch._C.DisableTorchFunction():
            return forward(*given)

    return plainly


class Clip(torch.autograd.Function):
    """ReLU6 in place, learning from what it returns: 0 and 6 tell where the slope is 0. (torch's own goes by what came
    in, and copies that before it overwrites it: a fifth of what a training step remembers.)"""

    @staticmethod
    def forward(ctx, maps: Tensor) -> Tensor:
        ctx.mark_dirty(F.hardtanh_(maps, 0.0, 6.0))
        ctx.save_for_backward(maps)
        return maps

    @staticmethod
    def backward(ctx, arriving: Tensor) -> Tensor:
        (maps,) = ctx.saved_tensors
        if arriving.dtype == torch.bfloat16 and maps.is_contiguous(memory_format=torch.channels_last):
            # from a pool it comes channel by channel, and the norm's gradient would take 5.0 ms instead of 0.7
            arriving = arriving.contiguous(memory_format=torch.channels_last)
        return slope(arriving, maps)


class PaddedClip(torch.autograd.Function):
    """`Clip`, into the middle of larger maps of zeros: two passes over the maps and one table fewer than one by one."""

    @staticmethod
    def forward(ctx, maps: Tensor, missing: tuple[int, int]) -> Tensor:
        room, ctx.middle = clipped_among_zeros(maps, missing)
        ctx.save_for_backward(room)
        return room

    @staticmethod
    def backward(ctx, arriving: Tensor) -> tuple[Tensor, None]:
        (room,) = ctx.saved_tensors
        return slope(arriving[ctx.middle], room[ctx.middle]), None


class ClippedNorm(torch.autograd.Function):
    """BatchNorm of this batch and ReLU6 (`high` 6; infinity: none) as one, for maps that fit `compiled`: two passes
    each way, where torch's two layers take four and three. Only what comes in is remembered."""

    @staticmethod
    @in_plain_torch
    def forward(ctx, maps: Tensor, gamma: Tensor, beta: Tensor, norm: torch.nn.BatchNorm2d, high: float) -> Tensor:
        ctx.norm = BatchNorm.of(maps, norm, high)
        ctx.save_for_backward(maps)
        return ctx.norm.clip(maps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, arriving: Tensor):
        (maps,) = ctx.saved_tensors
        arriving = arriving.contiguous(memory_format=torch.channels_last)
        return *ctx.norm.gradients(maps, arriving), None, None


class ByColumns(torch.autograd.Function):
    """One filter a channel, in the maps' precision; where no kernel is compiled for it, the filter's gradient is found
    for a few columns of it at a time.
    For 64 pictures and filters of 5 x 5 (672 channels of 8 x 8) that takes 11 ms instead of 17 in float32 (AVX2), and 2
    instead of 19 in bfloat16."""

    @staticmethod
    def forward(ctx, maps, weight, stride, padding):
        ctx.save_for_backward(maps, weight)
        ctx.how = stride, padding
        return F.conv2d(maps, weight.to(maps.dtype), None, stride, padding, 1, len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, arriving):
        (maps, weight), (stride, padding) = ctx.saved_tensors, ctx.how
        if ctx.needs_input_grad[0] and filters_fit(maps, weight, stride):
            filters = Filters(weight, maps.dtype, stride, [2 * n for n in padding])
            filters.learn()
            of_maps = filters.gradients(maps, None, arriving.contiguous(memory_format=torch.channels_last))
            return of_maps, filters.know_back()[0], None, None
        of_maps, of_weight = None, gradient_by_columns(maps, weight, arriving, stride, padding)
        if ctx.needs_input_grad[0]:
            if maps.dtype == torch.bfloat16 and stride != (1, 1):
                of_maps = gradient_by_places(maps, weight.to(maps.dtype), arriving, stride, padding)
            else:
                of_maps = gradient_of_maps(maps, weight.to(maps.dtype), arriving, stride, padding)
        return of_maps, of_weight, None, None


def gradient_of_maps(maps: Tensor, weight: Tensor, arriving: Tensor, stride=(1, 1), padding=(0, 0)) -> Tensor:
    """As `torch.nn.grad.conv2d_input` finds it. That one makes maps up and copies them; with those that are here
    a step of lite0 takes 0.98 of the time (AVX512, in float32 as in mixed precision)."""
    how = None, stride, padding, (1, 1), False, (0, 0), maps.shape[1] // weight.shape[1], (True, False, False)
    return torch.ops.aten.convolution_backward(arriving, maps, weight, *how)[0]


def gradient_by_places(maps: Tensor, weight: Tensor, arriving: Tensor, stride, padding) -> Tensor:
    """The gradient of the maps at a stride: a pixel meets every second row and column of the filter, which ones goes by
    its place. For each of these places it is a convolution without a stride. (oneDNN's own takes 95 ms in bfloat16 and
    8.5 by way of float32, this one 4.8: 64 pictures, 96 channels of 65 x 65.)"""
    (down, right), (above, before), (*_, rows, columns) = stride, padding, weight.shape
    *_, height, width = arriving.shape
    size = *arriving.shape[:2], (height - 1) * down + rows, (width - 1) * right + columns
    reached = torch.empty(size, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
    if down > rows or right > columns:  # pixels between that no filter meets
        reached.zero_()
    for a, b in product(range(min(down, rows)), range(min(right, columns))):
        part = weight[..., a::down, b::right].flip(2, 3)
        around = part.shape[2] - 1, part.shape[3] - 1
        reached[:, :, a::down, b::right] = F.conv2d(arriving, part, None, 1, around, 1, len(weight))
    missing = maps.shape[3] + before - size[3], maps.shape[2] + above - size[2]
    if missing == padding == (0, 0):
        return reached
    return F.pad(reached, (-before, missing[0], -above, missing[1]))


def gradient_by_columns(maps: Tensor, weight: Tensor, arriving: Tensor, stride, padding) -> Tensor:
    """The gradient of `weight` (C, 1, rows, columns), at most `COLUMNS` columns at a time."""
    (channels, one, rows, columns), (above, before), found = weight.shape, padding, []
    if maps.shape[2] < rows or maps.shape[3] < columns:  # too small for the fast gradient, unless padded before
        maps, above, before = F.pad(maps, (before, before, above, above)), 0, 0
    if columns <= COLUMNS:
        return conv2d_weight(maps, weight.shape, arriving, stride, (above, before), 1, channels).to(weight.dtype)
    for first in range(0, columns, COLUMNS):
        n = min(COLUMNS, columns - first)
        after = (arriving.shape[3] - 1) * stride[1] + n - maps.shape[3] - (before - first)  # below 0: met by no column
        part = F.pad(maps, (before - first, after))
        found.append(conv2d_weight(part, (channels, one, rows, n), arriving, stride, (above, 0), 1, channels))
    return torch.cat(found, dim=3).to(weight.dtype)


class Mixture(torch.autograd.Function):
    """A convolution of one pixel, (N, C, H, W) by (K, C, 1, 1), of maps of few pixels: its gradient is a product of
    matrices, on some machines found faster as such (64 pictures, 1,152 channels to 320, 4 x 4: 6 ms instead of 10 in
    float32 (AVX2), 2.5 instead of 4.0 in bfloat16 (AVX512)). Computed in `dtype`."""

    @staticmethod
    @in_plain_torch
    def forward(ctx, maps: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        maps, weight = maps.to(dtype), weight.to(dtype)
        ctx.save_for_backward(maps, weight)
        return F.conv2d(maps, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, arriving: Tensor) -> tuple[Tensor | None, Tensor, None]:
        of_maps, of_weight = mixture_by_product(*ctx.saved_tensors, arriving, wanted=ctx.needs_input_grad[0])
        return of_maps, of_weight, None  # autograd sees to their types


def mixture_by_product(maps: Tensor, weight: Tensor, arriving: Tensor, *, wanted: bool) -> tuple[Tensor | None, Tensor]:
    """The gradients of the maps, if they are wanted, and of the weights of a mixture."""
    of_maps = gradient_of_maps(maps, weight, arriving) if wanted else None
    return of_maps, (pixels(arriving).T @ pixels(maps)).view_as(weight)


def mixture_by_convolution(maps: Tensor, weight: Tensor, arriving: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.convolution_backward(arriving, maps, weight, [0], *ONE_PIXEL, [True, True, False])[:2]


def mixture_gradients(maps: Tensor, weight: Tensor, arriving: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the maps and of the weights of a mixture, in the faster of two ways."""
    if maps.shape[-2:].numel() <= pixels_for_products(maps.dtype):
        return mixture_by_product(maps, weight, arriving, wanted=True)
    return mixture_by_convolution(maps, weight, arriving)


@functools.cache
def pixels_for_products(dtype: torch.dtype | None) -> int:
    """How many a map may have, at most, for a mixture to learn faster by a product, as timed on this machine."""
    if dtype not in (torch.float32, torch.bfloat16) or not in_one_step_here(dtype):
        return 0
    for pixels, (channels, more) in PROBES.items():
        name = f"{on_cpu()}, torch {torch.__version__}, mixture of {channels} to {more}, {pixels} pixels, {dtype}"
        seconds = kept(name, ["product", "convolution"], functools.partial(time_mixture, pixels, channels, more, dtype))
        if seconds["product"] < CLEARLY_FASTER * seconds["convolution"]:
            return pixels
    return 0


@in_plain_torch
@torch.no_grad()
def time_mixture(pixels: int, channels: int, more: int, dtype: torch.dtype) -> dict[str, float]:
    """Processor seconds in which the gradients of 64 pictures are found in either way."""
    side = math.isqrt(pixels)
    maps, arriving = (torch.ones(64, side, side, n, dtype=dtype).permute(0, 3, 1, 2) for n in (channels, more))
    mixed = maps, torch.ones(more, channels, 1, 1, dtype=dtype), arriving
    by_convolution, by_product = (
        functools.partial(way, *mixed) for way in (mixture_by_convolution, mixture_by_product)
    )
    ways = {"convolution": by_convolution, "product": functools.partial(by_product, wanted=True)}
    for way in ways.values():
        way()  # oneDNN makes its kernels
    return in_turns(ways, time.process_time)


class NormedMixture(torch.autograd.Function):
    """ReLU6(BatchNorm(a mixture of channels)); neither the mixture nor its norm is ever written down.

    Every channel of a mixture is y = w·x, so its mean is w·mean(x) and its variance σ² = w·Cov(x)·w: both are had from
    what comes in, a sixth as wide as what goes out. The norm is then a change of the weights. Around their mean,

        u = (γ/σ) w·x + β

    is what is clipped. With g the slope that arrives for u, and sums over the n pixels of all pictures,

        dβ = Σ g
        dγ = Σ g (w·x) / σ
        dw = (γ/σ) (Σ g x - (dγ/σ) Cov(x)·w)
        dx = Σ (γ/σ) (g - dβ/n - (w·x) dγ/(nσ)) w, summed over the channels of u

    that is, the gradients of a mixture by (γ/σ) w, and what the mean and σ add (Ioffe and Szegedy 2015).

    The mixture and its gradients are computed in `dtype`; means, covariances and all that follows from them in the
    weights' own.
    """

    @staticmethod
    @in_plain_torch
    def forward(ctx, maps, weight, gamma, beta, norm, missing: tuple[int, int] | None, dtype: torch.dtype) -> Tensor:
        folded = FoldedNorm.of(maps, weight, gamma, beta, norm, dtype)
        found, ctx.middle = clipped_mixture(folded.around, folded.weight, folded.bias, missing or (0, 0))
        ctx.save_for_backward(*folded, found)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, arriving: Tensor):
        *folded, found = ctx.saved_tensors
        folded = FoldedNorm(*folded)
        arriving = slope(arriving[ctx.middle], found[ctx.middle])
        gradients = folded.gradients_of_mixture(slice(None), arriving, wanted=ctx.needs_input_grad[0])
        of_beta = arriving.sum(dim=(0, 2, 3), dtype=folded.mix.dtype)
        return *folded.gradients(*gradients, of_beta), None, None, None


class FoldedNorm(NamedTuple):
    """What `NormedMixture` knows of its maps and weights; the first three in the precision in which they meet."""

    around: Tensor  # the maps around their mean
    weight: Tensor  # (γ/σ) w, (K, C, 1, 1)
    bias: Tensor  # β
    mix: Tensor  # w, (K, C)
    gain: Tensor  # γ/σ
    deviation: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, maps: Tensor, weight, gamma, beta, norm: torch.nn.BatchNorm2d, dtype: torch.dtype):
        """Also moves the running statistics."""
        mix, n, maps = weight.flatten(1), maps.numel() // maps.shape[1], maps.to(weight.dtype)
        mean = maps.mean(dim=(0, 2, 3))
        around = maps - mean[:, None, None]
        covariance = torch.mm(pixels(around).T, pixels(around)) / n
        variance = (mix @ covariance * mix).sum(dim=1)
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mix @ mean, norm.momentum)
        norm.running_var.lerp_(variance * (n / (n - 1)), norm.momentum)
        deviation = (variance + norm.eps).sqrt()
        gain = gamma / deviation
        mixed = around.to(dtype), (gain[:, None, None, None] * weight).to(dtype), beta.to(dtype)
        return cls(*mixed, mix, gain, deviation, covariance)

    def clipped(self, pictures: slice) -> Tensor:
        """ReLU6 of some pictures' mixture."""
        return clipped_mixture(self.around[pictures], self.weight, self.bias, (0, 0))[0]

    def gradients_of_mixture(self, pictures: slice, arriving: Tensor, *, wanted: bool) -> tuple[Tensor | None, ...]:
        """Of some pictures' maps (if they are wanted) and of the folded weights, as if mean and deviation were
        constants. (Not of beta: with it oneDNN takes half as long again.)"""
        mixed = arriving, self.around[pictures], self.weight
        of_maps, of_weight, _ = torch.ops.aten.convolution_backward(*mixed, [0], *ONE_PIXEL, [wanted, True, False])
        return of_maps, of_weight.to(self.mix.dtype)

    def gradients(self, of_maps: Tensor | None, together: Tensor, of_beta: Tensor):
        """Of all pictures' maps, w, gamma and beta, with what the mean and σ add: `together` is Σ g x."""
        around, _, _, mix, gain, deviation, covariance = self
        n, folded, together = around.numel() // around.shape[1], gain[:, None] * mix, together.flatten(1)
        of_gamma = (together * mix).sum(dim=1) / deviation
        of_weight = gain[:, None] * (together - (of_gamma / deviation)[:, None] * (mix @ covariance))
        if of_maps is not None:
            again = (folded.T @ ((of_gamma / deviation / n)[:, None] * mix))[..., None, None]
            of_maps -= F.conv2d(around, again.to(around.dtype), (of_beta @ folded / n).to(around.dtype))
        return of_maps, of_weight[..., None, None], of_gamma, of_beta


def in_one_step_here(dtype: torch.dtype) -> bool:
    """Whether oneDNN is here and this processor convolves in `dtype`; torch emulates others, oneDNN does not."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def clipped_convolution(maps, weight, bias, padding=(0, 0), stride=(1, 1), dilation=(1, 1), groups=1) -> Tensor:
    """A convolution and its ReLU6 in one step of oneDNN's, as torch's own compiler calls it; it has no gradient."""
    in_one_step = torch.ops.mkldnn._convolution_pointwise
    return in_one_step(maps, weight, bias, padding, stride, dilation, groups, "hardtanh", [0.0, 6.0], "")


def slope(arriving: Tensor, clipped: Tensor) -> Tensor:
    """What arrives where nothing was clipped, and 0 elsewhere."""
    return torch.ops.aten.hardtanh_backward(arriving, clipped, 0.0, 6.0)


def clipped_mixture(maps: Tensor, weight: Tensor, bias: Tensor, missing: tuple[int, int]) -> tuple[Tensor, tuple]:
    """ReLU6 of a mixture with its bias, among zeros, and where in them. The narrow maps that come in are padded: so the
    wide ones are written once (64 pictures, 16 to 96 channels of 64 x 64: 3.7 ms instead of 5.9 in bfloat16)."""
    rows, columns = middle_among(maps, missing)
    above, before = rows.start, columns.start
    room = F.pad(maps, (before, missing[1] - before, above, missing[0] - above)) if any(missing) else maps
    if maps.device.type == "cpu" and in_one_step_here(maps.dtype):
        found = clipped_convolution(room, weight, bias)
    else:
        found = F.hardtanh_(F.conv2d(room, weight, bias), 0.0, 6.0)
    return zeros_around(found, rows, columns), (..., rows, columns)


def clipped_among_zeros(maps: Tensor, missing: tuple[int, int]) -> tuple[Tensor, tuple]:
    """Larger maps, and where in them the clipped ones are."""
    channels_last = maps.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    sides = [side + more for side, more in zip(maps.shape[2:], missing, strict=True)]
    room = torch.empty(*maps.shape[:2], *sides, dtype=maps.dtype, device=maps.device, memory_format=layout)
    rows, columns = middle_among(maps, missing)
    torch.clamp(maps, 0.0, 6.0, out=room[:, :, rows, columns])
    return zeros_around(room, rows, columns), (..., rows, columns)


def middle_among(maps: Tensor, missing: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the maps among the `missing` ones, half of which (the smaller half) lie above and at the
    left."""
    rows, columns = (slice(more // 2, more // 2 + side) for side, more in zip(maps.shape[2:], missing, strict=True))
    return rows, columns


def zeros_around(room: Tensor, rows: slice, columns: slice) -> Tensor:
    """The same maps, everything outside of these rows and columns 0."""
    for margin in (room[:, :, : rows.start], room[:, :, rows.stop :]):
        margin.zero_()
    for margin in (room[..., : columns.start], room[..., columns.stop :]):
        margin.zero_()
    return room


def has_few_pixels(maps: Tensor) -> bool:
    """Whether each map (..., H, W) is small."""
    return maps.shape[-2:].numel() <= FEW_PIXELS


def pixels(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N * H * W, C)"""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
