"""A block of the networks, from its filters (or the mixture before them) to the mixture after them, as one step: a few
pictures at a time, so that what one layer writes is still in the processor's cache when the next one reads it."""

import math
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from data_setup.lite.filters import Filters
from data_setup.lite.gradients import FoldedNorm, in_plain_torch, mixture_gradients
from data_setup.lite.norms import BatchNorm

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
    def forward(ctx, maps, mix, gamma, beta, weight, after_gamma, after_beta, mix_after, how: How) -> Tensor:
        if how.folds:
            folded, before = FoldedNorm.of(maps, mix, gamma, beta, how.before, how.dtype), None
            maps = folded.around
        else:
            folded, maps = None, channels_last(maps.to(how.dtype))
            before = BatchNorm.of(maps, how.before, high=6.0) if how.before else None
        after = BatchNorm(how.after, len(maps), high=6.0)
        filters = Filters(weight, how.dtype, how.stride, how.missing, before, after, clipped=how.folds)
        pieces = pieces_of(maps, len(weight))
        answers = [filters.answers(folded.clipped(piece) if folded else maps[piece]) for piece in pieces]
        after.know()
        ctx.pieces, ctx.filters, ctx.folds, mix_after = pieces, filters, how.folds, mix_after.to(how.dtype)
        ctx.save_for_backward(mix_after, *answers, *(folded or [maps]))
        return joined(len(maps), pieces, (F.conv2d(after.clip(answer), mix_after) for answer in answers))

    @staticmethod
    @torch.autograd.function.once_differentiable
    @torch.autocast("cpu", enabled=False)
    def backward(ctx, arriving: Tensor):
        (mix_after, *saved), pieces = ctx.saved_tensors, ctx.pieces
        parts, rest = list(zip(pieces, saved[: len(pieces)], strict=True)), saved[len(pieces) :]
        of_clipped, *of_after = back_to_the_norm(parts, ctx.filters.after, mix_after, channels_last(arriving))
        ctx.filters.learn()
        if ctx.folds:
            found = back_to_the_mixture(parts, of_clipped, ctx.filters, FoldedNorm(*rest), ctx.needs_input_grad[0])
        else:
            found = back_to_the_maps(parts, of_clipped, ctx.filters, *rest)
        return *found, *of_after, None


def back_to_the_norm(parts: list[tuple[slice, Tensor]], norm: BatchNorm, mix: Tensor, arriving: Tensor):
    """(the gradients of what comes out of the norm, a piece each; of its gamma; of its beta; of the mixture after it).
    parts: pieces and what the filters answered."""
    norm.learn()
    of_clipped, of_mix = [], torch.zeros(mix.shape)
    for piece, answer in parts:
        of_piece, of_weight = mixture_gradients(norm.clip(answer), mix, arriving[piece])
        of_clipped.append(channels_last(of_piece))
        norm.add(answer, of_clipped[-1])
        of_mix += of_weight
    return of_clipped, *norm.know_back(), of_mix


def back_to_the_maps(parts, of_clipped: list[Tensor], filters: Filters, maps: Tensor):
    """The gradients of the maps, of a mixture (there is none), of gamma and beta of the norm before the filters if
    there is one, and of the filters."""
    of_maps, norm = torch.empty_like(maps), filters.before
    for (piece, answer), of_piece in zip(parts, of_clipped, strict=True):
        filters.gradients(maps[piece], answer, of_piece, into=of_maps[piece])
    of_filters, _ = filters.know_back()
    if norm is None:
        return of_maps, None, None, None, of_filters
    of_weights = norm.know_back()
    return norm.give_back(maps, of_maps), None, *of_weights, of_filters


def back_to_the_mixture(parts, of_clipped: list[Tensor], filters: Filters, folded: FoldedNorm, wanted: bool):
    """The gradients of the maps (if they are wanted), of the mixture, of gamma and beta of its norm, and of the
    filters."""
    of_maps, of_mix = torch.empty_like(folded.around) if wanted else None, torch.zeros(folded.weight.shape)
    for (piece, answer), of_piece in zip(parts, of_clipped, strict=True):
        of_wide = filters.gradients(folded.clipped(piece), answer, of_piece)
        found, of_weight = folded.gradients_of_mixture(piece, of_wide, wanted=wanted)
        of_mix += of_weight
        if wanted:
            of_maps[piece] = found
    of_filters, of_beta = filters.know_back()
    return *folded.gradients(of_maps, of_mix, of_beta), of_filters


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
