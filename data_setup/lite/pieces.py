"""A block of the networks, from its filters (or the mixture before them) to the mixture after them, as one step: a few
pictures at a time, so that what one layer writes is still in the processor's cache when the next one reads it."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from data_setup.lite import compiled
from data_setup.lite.gradients import FoldedNorm, in_plain_torch, mixture_gradients

PIECE = 4 * 2**20  # bytes of the widest maps that are there at a time


class How(NamedTuple):
    """What a block needs beside its maps and weights."""

    before: torch.nn.BatchNorm2d | None  # the norm before the filters, if it belongs to this step
    folds: bool  # whether that norm comes with the mixture before it, as `NormedMixture` has it
    after: torch.nn.BatchNorm2d
    stride: tuple[int, int]
    missing: tuple[int, int]  # rows and columns of zeros that the filters need, the smaller half above and at the left
    dtype: torch.dtype  # of all maps, and of the weights where they meet them


class Block(torch.autograd.Function):
    """mixture(ReLU6(BatchNorm(filters(x)))), where x are the maps, ReLU6(BatchNorm(maps)), or
    ReLU6(BatchNorm(mixture(maps))). For layers that fit `compiled`.

    Of what is wide the filters' answers are remembered, and the maps if they are. On the way back the rest is computed
    once more, piece by piece: with what need not be written and read again this takes no longer.
    """

    @staticmethod
    @in_plain_torch
    def forward(ctx, maps, mix, gamma, beta, filters, after_gamma, after_beta, mix_after, how: How) -> Tensor:
        if how.folds:
            x = folded = FoldedNorm.of(maps, mix, gamma, beta, how.before, how.dtype)
            maps = folded.around
        else:
            folded, maps = (), maps.to(how.dtype).contiguous(memory_format=torch.channels_last)
            x = Given(maps, compiled.BatchNorm.of(maps, how.before, high=6.0) if how.before else None)
            ctx.before = x.norm
        ctx.pieces, answers = pieces_of(maps, len(filters)), []
        after = compiled.BatchNorm(how.after, len(maps), high=6.0)
        wide, padding = even_margins(filters.to(how.dtype), how.missing)
        for piece in ctx.pieces:
            answers.append(F.conv2d(x.clipped(piece), wide, None, how.stride, padding, 1, len(filters)))
            after.add(answers[-1])
        after.know()
        ctx.how, ctx.after, mix_after = how, after, mix_after.to(how.dtype)
        ctx.save_for_backward(filters, mix_after, *answers, *(folded or [maps]))
        return joined([F.conv2d(after.clip(answer), mix_after) for answer in answers])

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, arriving: Tensor):
        how, after, pieces, (filters, mix_after, *saved) = ctx.how, ctx.after, ctx.pieces, ctx.saved_tensors
        answers, saved = saved[: len(pieces)], saved[len(pieces) :]
        x = FoldedNorm(*saved) if how.folds else Given(*saved, ctx.before)
        arriving = arriving.contiguous(memory_format=torch.channels_last)
        after.learn()
        of_clipped, of_mix_after = [], torch.zeros(mix_after.shape)
        for piece, answer in zip(pieces, answers, strict=True):
            of_piece, of_weight = mixture_gradients(after.clip(answer), mix_after, arriving[piece])
            after.add(answer, of_piece)
            of_clipped.append(of_piece)
            of_mix_after += of_weight
        of_after = after.know_back()
        of_maps, of_filters, margins = [], torch.zeros(filters.shape), [side // 2 for side in how.missing]
        of_mix, of_beta = 0.0, 0.0
        for piece, answer, of_piece in zip(pieces, answers, of_clipped, strict=True):
            of_x, of_filter = compiled.filter_gradients(
                x.clipped(piece), filters, of_piece, how.stride, margins, clipped=how.folds, normed=(after, answer)
            )
            of_filters += of_filter
            if how.folds:
                of_x, *of_weights = x.gradients_of_mixture(piece, of_x, wanted=ctx.needs_input_grad[0])
                of_mix, of_beta = of_mix + of_weights[0], of_beta + of_weights[1]
            of_maps.append(of_x)
        of_maps = joined(of_maps) if ctx.needs_input_grad[0] or not how.folds else None
        of_front = x.gradients(of_maps, of_mix, of_beta) if how.folds else x.gradients(of_maps)
        return *of_front, of_filters, *of_after, of_mix_after, None


class Given(NamedTuple):
    """What the filters meet where it is as wide as the maps."""

    maps: Tensor
    norm: compiled.BatchNorm | None

    def clipped(self, piece: slice) -> Tensor:
        return self.norm.clip(self.maps[piece]) if self.norm else self.maps[piece]

    def gradients(self, arriving: Tensor) -> tuple[Tensor, None, Tensor | None, Tensor | None]:
        """Of the maps, a mixture (there is none), gamma and beta."""
        if self.norm is None:
            return arriving, None, None, None
        of_maps, of_gamma, of_beta = self.norm.gradients(self.maps, arriving)
        return of_maps, None, of_gamma, of_beta


def even_margins(filters: Tensor, missing: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """Filters that meet the same pixels, and as many zeros on all sides: where one more is missing below and at the
    right, the filters begin with zeros."""
    down, right = missing
    return F.pad(filters, (right % 2, 0, down % 2, 0)), (down - down // 2, right - right // 2)


def joined(pieces: list[Tensor]) -> Tensor:
    return torch.cat(pieces) if len(pieces) > 1 else pieces[0]


def pieces_of(maps: Tensor, channels: int) -> list[slice]:
    """As many pictures at a time as `PIECE` allows, of maps with this many channels."""
    pictures = max(1, PIECE // (channels * maps.shape[2:].numel() * maps.element_size()))
    return [slice(first, first + pictures) for first in range(0, len(maps), pictures)]
