"""How the packaged networks' layers learn. torch's own gradients remember every table on the way and pass over each of
them again; here several layers are one step, and what it needs is had from less."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

ONE_PIXEL = [1, 1], [0, 0], [1, 1], False, [0, 0], 1  # of a convolution: stride, padding, dilation, how, groups
COLUMNS = 3  # of a filter, for which oneDNN has a fast gradient with AVX2; it takes wider filters for full ones
FEW_PIXELS = 64  # of a map, at most: there a norm stays a layer of its own, and a mixture may learn by a product
PRODUCTS_PAY = torch.backends.cpu.get_cpu_capability() == "AVX2"  # measured there alone


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
        return slope(arriving, *ctx.saved_tensors)


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


class ByColumns(torch.autograd.Function):
    """One filter a channel, whose gradient is found for a few columns of it at a time. For 64 pictures and filters of
    5 x 5 that takes 12 ms instead of 77 (1,152 channels of 4 x 4), 11 instead of 17 (672 of 8 x 8; AVX2). Computes in
    the filter's precision and keeps the maps in theirs."""

    @staticmethod
    def forward(ctx, maps, weight, padding):
        ctx.save_for_backward(maps, weight)
        ctx.padding = padding
        return F.conv2d(maps.to(weight.dtype), weight, padding=padding, groups=len(weight)).to(maps.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, arriving):
        (maps, weight), (above, before) = ctx.saved_tensors, ctx.padding
        maps, arriving = maps.to(weight.dtype), arriving.to(weight.dtype)
        channels, one, rows, columns = weight.shape
        of_maps, found = None, []
        if ctx.needs_input_grad[0]:
            of_maps = conv2d_input(maps.shape, weight, arriving, 1, ctx.padding, 1, channels)
        if maps.shape[2] < rows or maps.shape[3] < columns:  # too small for the fast gradient, unless padded before
            maps, above, before = F.pad(maps, (before, before, above, above)), 0, 0
        for first in range(0, columns, COLUMNS):
            n = min(COLUMNS, columns - first)
            after = arriving.shape[3] + n - 1 - maps.shape[3] - (before - first)  # below 0 what no column meets
            part = F.pad(maps, (before - first, after))
            found.append(conv2d_weight(part, (channels, one, rows, n), arriving, 1, (above, 0), 1, channels))
        return of_maps, torch.cat(found, dim=3), None


class MixedConvolution(torch.autograd.Function):
    """A convolution without bias in the filter's precision, of maps in another that are kept as they came: what follows
    from them is remembered in half as many bytes. `how`: stride, padding, dilation, groups."""

    @staticmethod
    def forward(ctx, maps, weight, *how):
        ctx.save_for_backward(maps, weight)
        ctx.how = how
        return F.conv2d(maps.to(weight.dtype), weight, None, *how).to(maps.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, arriving):
        (maps, weight), (stride, padding, dilation, groups) = ctx.saved_tensors, ctx.how
        exact = arriving.to(weight.dtype), maps.to(weight.dtype), weight
        how = [0], stride, padding, dilation, False, [0, 0], groups, [*ctx.needs_input_grad[:2], False]
        of_maps, of_weight, _ = torch.ops.aten.convolution_backward(*exact, *how)
        return of_maps, of_weight, None, None, None, None


class Mixture(torch.autograd.Function):
    """A convolution of one pixel, (N, C, H, W) by (K, C, 1, 1), of maps of few pixels: its gradient is a product of
    matrices, and as such found faster (64 pictures, 1,152 channels to 320, 4 x 4: 6 ms instead of 10; AVX2)."""

    @staticmethod
    def forward(ctx, maps: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(maps, weight)
        return F.conv2d(maps, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, arriving: Tensor) -> tuple[Tensor | None, Tensor]:
        maps, weight = ctx.saved_tensors
        of_maps = conv2d_input(maps.shape, weight, arriving) if ctx.needs_input_grad[0] else None
        return of_maps, (pixels(arriving).T @ pixels(maps)).view_as(weight)


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
    @torch.autocast("cpu", enabled=False)
    def forward(ctx, maps, weight, gamma, beta, norm, missing: tuple[int, int] | None, dtype: torch.dtype) -> Tensor:
        mix, n, maps = weight.flatten(1), maps.numel() // maps.shape[1], maps.to(weight.dtype)
        mean = maps.mean(dim=(0, 2, 3))
        around = maps - mean[:, None, None]
        covariance = torch.mm(pixels(around).T, pixels(around)) / n
        variance = (mix @ covariance * mix).sum(dim=1)
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mix @ mean, norm.momentum)
        norm.running_var.lerp_(variance * (n / (n - 1)), norm.momentum)
        deviation = (variance + norm.eps).sqrt()
        folded, around = (gamma / deviation)[:, None, None, None] * weight, around.to(dtype)
        found, ctx.middle = F.conv2d(around, folded.to(dtype), beta.to(dtype)), ...
        if missing:
            found, ctx.middle = clipped_among_zeros(found, missing)
        else:
            F.hardtanh_(found, 0.0, 6.0)
        ctx.save_for_backward(around, mix, gamma / deviation, deviation, covariance, found)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, arriving: Tensor):
        around, mix, gain, deviation, covariance, found = ctx.saved_tensors
        n, folded = around.numel() // around.shape[1], gain[:, None] * mix
        mixed = slope(arriving[ctx.middle], found[ctx.middle]), around, folded[..., None, None].to(around.dtype)
        wanted = [ctx.needs_input_grad[0], True, True]
        of_maps, together, of_beta = torch.ops.aten.convolution_backward(*mixed, [len(mix)], *ONE_PIXEL, wanted)
        together, of_beta = together.flatten(1).to(mix.dtype), of_beta.to(mix.dtype)
        of_gamma = (together * mix).sum(dim=1) / deviation
        of_weight = gain[:, None] * (together - (of_gamma / deviation)[:, None] * (mix @ covariance))
        if of_maps is not None:
            again = (folded.T @ ((of_gamma / deviation / n)[:, None] * mix))[..., None, None]
            of_maps -= F.conv2d(around, again.to(around.dtype), (of_beta @ folded / n).to(around.dtype))
        return of_maps, of_weight[..., None, None], of_gamma, of_beta, None, None, None


def slope(arriving: Tensor, clipped: Tensor) -> Tensor:
    """What arrives where nothing was clipped, and 0 elsewhere."""
    return torch.ops.aten.hardtanh_backward(arriving, clipped, 0.0, 6.0)


def clipped_among_zeros(maps: Tensor, missing: tuple[int, int]) -> tuple[Tensor, tuple]:
    """Larger maps, and where in them the clipped ones are; half of the rows and columns that are `missing` (the smaller
    half) lie above and at the left."""
    channels_last = maps.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    sides = [side + more for side, more in zip(maps.shape[2:], missing, strict=True)]
    room = torch.empty(*maps.shape[:2], *sides, dtype=maps.dtype, device=maps.device, memory_format=layout)
    rows, columns = (slice(more // 2, more // 2 + side) for side, more in zip(maps.shape[2:], missing, strict=True))
    for margin in (room[:, :, : rows.start], room[:, :, rows.stop :]):
        margin.zero_()
    for margin in (room[..., : columns.start], room[..., columns.stop :]):
        margin.zero_()
    torch.clamp(maps, 0.0, 6.0, out=room[:, :, rows, columns])
    return room, (..., rows, columns)


def has_few_pixels(maps: Tensor) -> bool:
    """Whether each map (..., H, W) is small."""
    return maps.shape[-2:].numel() <= FEW_PIXELS


def pixels(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N * H * W, C)"""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
