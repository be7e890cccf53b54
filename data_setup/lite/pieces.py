"""A block of the networks, from its filters (or the mixture before them) to the mixture after them, as one step: a few
pictures at a time, so that what one layer writes is still in the processor's cache when the next one reads it."""

import math
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from data_setup.lite import compiled
from data_setup.lite.gradients import FoldedNorm, in_plain_torch, mixture_gradients

PIECE = 4 * 2**20  # bytes, about, of the widest maps that are there at a time


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
            folded, maps = (), channels_last(maps.to(how.dtype))
            x = Given(maps, compiled.BatchNorm.of(maps, how.before, high=6.0) if how.before else None)
            ctx.before = x.norm
        ctx.pieces, answers = pieces_of(maps, len(filters)), []
        after = compiled.BatchNorm(how.after, len(maps), high=6.0)
        wide, padding = even_margins(filters.to(how.dtype), how.missing)
        for piece in ctx.pieces:
            answer = F.conv2d(x.clipped(piece), wide, None, how.stride, padding, 1, len(filters))
            answers.append(channels_last(answer))
            after.add(answers[-1])
        after.know()
        ctx.how, ctx.after, mix_after = how, after, mix_after.to(how.dtype)
        ctx.save_for_backward(filters, mix_after, *answers, *(folded or [maps]))
        return joined(len(maps), ctx.pieces, (F.conv2d(after.clip(answer), mix_after) for answer in answers))

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, arriving: Tensor):
        how, pieces, (filters, mix_after, *saved) = ctx.how, ctx.pieces, ctx.saved_tensors
        parts = list(zip(pieces, saved[: len(pieces)], strict=True))
        x = FoldedNorm(*saved[len(pieces) :]) if how.folds else Given(*saved[len(pieces) :], ctx.before)
        of_clipped, of_after, of_mix_after = back_to_the_norm(parts, ctx.after, mix_after, channels_last(arriving))
        wanted = ctx.needs_input_grad[0]
        of_front, of_filters = back_to_the_maps(parts, of_clipped, ctx.after, filters, x, how, wanted=wanted)
        return *of_front, of_filters, *of_after, of_mix_after, None


def back_to_the_norm(parts: list[tuple[slice, Tensor]], norm: compiled.BatchNorm, mix: Tensor, arriving: Tensor):
    """(the gradients of what comes out of the norm, a piece each; of its gamma and beta; of the mixture after it).
    parts: pieces and what the filters answered."""
    norm.learn()
    of_clipped, of_mix = [], torch.zeros(mix.shape)
    for piece, answer in parts:
        of_piece, of_weight = mixture_gradients(norm.clip(answer), mix, arriving[piece])
        of_clipped.append(channels_last(of_piece))
        norm.add(answer, of_clipped[-1])
        of_mix += of_weight
    return of_clipped, norm.know_back(), of_mix


def back_to_the_maps(
    parts: list[tuple[slice, Tensor]], of_clipped: list[Tensor], norm, filters, x, how, *, wanted: bool
):
    """(the gradients of maps, mixture, gamma and beta; of the filters)"""
    of_filters, margins = torch.zeros(filters.shape), [n // 2 for n in how.missing]
    of_maps, of_weights = torch.empty_like(x.around if how.folds else x.maps), [0.0, 0.0]
    for (piece, answer), of_piece in zip(parts, of_clipped, strict=True):
        met, normed, into = x.clipped(piece), (norm, answer), None if how.folds else of_maps[piece]
        found, of_filter = compiled.filter_gradients(
            met, filters, of_piece, how.stride, margins, clipped=how.folds, normed=normed, into=into
        )
        of_filters += of_filter
        if how.folds:
            found, *more = x.gradients_of_mixture(piece, found, wanted=wanted)
            of_weights = [one + another for one, another in zip(of_weights, more, strict=True)]
            if wanted:
                of_maps[piece] = found
        else:
            x.add(piece, found)
    if how.folds:
        return x.gradients(of_maps if wanted else None, *of_weights), of_filters
    return x.gradients(of_maps), of_filters


class Given(NamedTuple):
    """What the filters meet where it is as wide as the maps."""

    maps: Tensor
    norm: compiled.BatchNorm | None

    def clipped(self, piece: slice) -> Tensor:
        return self.norm.clip(self.maps[piece]) if self.norm else self.maps[piece]

    def add(self, piece: slice, arriving: Tensor) -> None:
        """What arrives for some pictures, while it is in the cache."""
        if self.norm:
            if piece.start == 0:
                self.norm.learn()
            self.norm.add(self.maps[piece], arriving)

    def gradients(self, arriving: Tensor) -> tuple[Tensor, None, Tensor | None, Tensor | None]:
        """Of the maps, a mixture (there is none), gamma and beta, when all has been added."""
        if self.norm is None:
            return arriving, None, None, None
        of_gamma, of_beta = self.norm.know_back()
        return self.norm.give_back(self.maps, arriving), None, of_gamma, of_beta


def even_margins(filters: Tensor, missing: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """Filters that meet the same pixels, and as many zeros on all sides: where one more is missing below and at the
    right, the filters begin with zeros."""
    down, right = missing
    return F.pad(filters, (right % 2, 0, down % 2, 0)), (down - down // 2, right - right // 2)


def channels_last(maps: Tensor) -> Tensor:
    """As the kernels read them; a copy only where they lie otherwise."""
    return maps.contiguous(memory_format=torch.channels_last)


def joined(pictures: int, pieces: list[slice], found: Iterator[Tensor]) -> Tensor:
    """What is found for each piece, put in its place while it is in the cache."""
    first = next(found)
    if len(pieces) == 1:
        return first
    whole = torch.empty(pictures, *first.shape[1:], dtype=first.dtype, memory_format=torch.channels_last)
    for piece, part in zip(pieces, chain([first], found), strict=True):
        whole[piece] = part
    return whole


def pieces_of(maps: Tensor, channels: int) -> list[slice]:
    """Of maps with this many channels about `PIECE` at a time, and about as many pictures each time."""
    size = channels * maps.shape[2:].numel() * maps.element_size()
    pictures = math.ceil(len(maps) / math.ceil(len(maps) * size / PIECE))
    return [slice(first, first + pictures) for first in range(0, len(maps), pictures)]
