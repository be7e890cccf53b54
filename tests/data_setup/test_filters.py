"""One filter a channel, by its kernel: against torch in float64, and beside norms against the norms' own kernels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from data_setup.lite import compiled
from data_setup.lite.filters import Filters, filters_fit
from data_setup.lite.norms import BatchNorm
from tests.data_setup.kernel_maps import assert_near, in_number_types, maps_of

pytestmark = pytest.mark.skipif(compiled.kernels() is None, reason="no C compiler with OpenMP, or another processor")
CHANNELS = 48


@st.composite
def sizes(draw) -> tuple[tuple[int, int, int], int, int, tuple[int, int]]:
    """((pictures, height, width), side of the filter, its stride, rows and columns of zeros): any size, even smaller
    than the filter."""
    side, stride, n = draw(st.sampled_from([3, 5])), draw(st.sampled_from([1, 2])), draw(st.integers(2, 5))
    missing = draw(st.integers(0, side - 1)), draw(st.integers(0, side - 1))
    height, width = (draw(st.integers(max(1, side - more), 12)) for more in missing)
    return (n, height, width), side, stride, missing


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def norm_of(pictures: int) -> BatchNorm:
    layer = nn.BatchNorm2d(CHANNELS)
    with torch.no_grad():
        layer.weight.copy_(random(CHANNELS, seed=3).add(1.5))
        layer.bias.copy_(random(CHANNELS, seed=4).add(1))
    return BatchNorm(layer, pictures, high=6.0)


def in_two(maps: torch.Tensor) -> list[torch.Tensor]:
    """Two pieces, the first one larger where they cannot be equal."""
    return list(maps.split(-(-len(maps) // 2)))


@in_number_types
@given(sizes())
def test_answers_and_gradients_are_torchs(dtype, size):
    """Catches rows, columns or channels that change places, a filter turned round, pixels that no filter meets, and
    zeros at the wrong side."""
    (n, height, width), side, stride, (down, right) = size
    maps, weight = maps_of(n, CHANNELS, height, width, dtype=dtype), random(CHANNELS, 1, side, side, seed=1)
    exact = maps.double().requires_grad_(), weight.to(dtype).double().requires_grad_()  # as it is computed forwards
    zeros = right // 2, right - right // 2, down // 2, down - down // 2
    answer = F.conv2d(F.pad(exact[0], zeros), exact[1], None, stride, groups=CHANNELS)
    arriving = maps_of(*answer.shape, dtype=dtype, seed=2)
    answer.backward(arriving.double())
    assert filters_fit(maps, weight, (stride, stride))
    filters = Filters(weight, dtype, (stride, stride), (down, right))
    found = filters.answers(maps)
    filters.learn()
    of_maps = filters.gradients(maps, None, arriving)
    of_weight, _ = filters.know_back()
    for ours, theirs in ((found, answer.detach()), (of_maps, exact[0].grad), (of_weight, exact[1].grad)):
        assert_near(ours, theirs)
    assert (of_maps == exact[0].grad.to(dtype)).float().mean() > 0.98 or dtype == torch.float32  # rounded, not cut off


@given(sizes())
def test_beside_norms_they_do_what_the_norms_do_alone(size):
    """In float32 reading what a norm clipped is reading its maps and clipping: the same to the last bit, and sums but
    for their order. Catches zeros that the norm moves, a norm's sums without a row, a row twice, and one norm's numbers
    taken for the other's."""
    (n, height, width), side, stride, missing = size
    maps, weight = maps_of(n, CHANNELS, height, width), random(CHANNELS, 1, side, side, seed=1)
    ways = []
    for beside in (True, False):
        before, after = norm_of(n), norm_of(n)
        for piece in in_two(maps):
            before.add(piece)
        before.know()
        filters = Filters(weight, maps.dtype, (stride, stride), missing, *((before, after) if beside else ()))
        met = [piece if beside else before.clip(piece) for piece in in_two(maps)]
        answers = [filters.answers(piece) for piece in met]
        if not beside:
            for answer in answers:
                after.add(answer)
        after.know()
        arriving = in_two(maps_of(n, *answers[0].shape[1:], seed=2))
        after.learn()
        for answer, one in zip(answers, arriving, strict=True):
            after.add(answer, one)
        of_after = after.know_back()
        filters.learn()
        before.learn()
        of_maps = []
        for piece, answer, one, own in zip(met, answers, arriving, in_two(maps), strict=True):
            given = one if beside else after.give_back(answer, one)
            of_maps.append(filters.gradients(piece, answer if beside else None, given))
            if not beside:
                before.add(own, of_maps[-1])
        of_weight, _ = filters.know_back()
        ways.append([*answers, *of_maps, of_weight, *of_after, *before.know_back(), after.layer.running_var])
    for ours, theirs in zip(*ways, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * max(1.0, float(theirs.abs().max())))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(ways[0][:2], ways[1][:2], strict=True))


@given(sizes())
def test_bfloat16_is_only_how_maps_are_read_and_written(size):
    """The same maps in float32, and answers rounded: the same to the last bit. Catches a norm before the filters that
    is rounded on the way, and a bfloat16 read as a float."""
    (n, height, width), side, stride, missing = size
    maps = maps_of(n, CHANNELS, height, width, dtype=torch.bfloat16)
    weight = random(CHANNELS, 1, side, side, seed=1).bfloat16().float()
    ways = []
    for dtype in (torch.bfloat16, torch.float32):
        before = norm_of(n)
        before.add(maps.float())
        before.know()
        before.how.half = dtype == torch.bfloat16
        filters = Filters(weight, dtype, (stride, stride), missing, before)
        answers = filters.answers(maps.to(dtype))
        filters.learn()
        of_maps = filters.gradients(
            maps.to(dtype), None, maps_of(*answers.shape, dtype=torch.bfloat16, seed=2).to(dtype)
        )
        ways.append((answers.bfloat16(), of_maps.bfloat16(), filters.know_back()[0]))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*ways, strict=True))


@in_number_types
@given(sizes())
def test_what_was_clipped_learns_nothing_and_the_rest_is_added_up(dtype, size):
    """Maps with many 0 and 6 among them: gradients are those of all maps where these were not clipped, and 0 there."""
    (n, height, width), side, stride, missing = size
    maps = maps_of(n, CHANNELS, height, width, dtype=dtype).mul(5).clamp_(0, 6)
    weight, found = random(CHANNELS, 1, side, side, seed=1), []
    for clipped in (True, False):
        filters = Filters(weight, dtype, (stride, stride), missing, clipped=clipped)
        answers = filters.answers(maps)
        filters.learn()
        arriving = maps_of(*answers.shape, dtype=dtype, seed=2)
        of_maps = torch.cat(
            [filters.gradients(*some) for some in zip(*map(in_two, (maps, answers, arriving)), strict=True)]
        )
        found.append((of_maps, *filters.know_back()))
    (ours, of_weight, of_bias), (every, same_weight, none) = found
    assert torch.equal(ours, every * ((maps > 0) & (maps < 6))) and torch.equal(of_weight, same_weight) and none is None
    rounding = 2**-8 if dtype == torch.bfloat16 else 1e-5  # what is added up is not rounded yet
    exact, size = ours.double().sum(dim=(0, 2, 3)), ours.double().abs().sum(dim=(0, 2, 3))
    assert ((of_bias - exact).abs() <= rounding * size + 1e-6).all()


def test_answers_far_from_0_keep_their_digits_beside_a_norm():
    """Catches a variance that is the difference of two large numbers."""
    maps, weight = maps_of(4, CHANNELS, 20, 20).add(1000), torch.ones(CHANNELS, 1, 3, 3)
    after = norm_of(4)
    answers = Filters(weight, maps.dtype, (1, 1), (0, 0), None, after).answers(maps)
    after.know()
    exact = answers.double().var(dim=(0, 2, 3)) * 0.1 + 0.9
    torch.testing.assert_close(after.layer.running_var.double(), exact, rtol=1e-5, atol=1e-5)


def test_the_same_numbers_come_out_each_time(two_threads):
    """Catches threads that add to the same sum."""
    maps, weight, arriving = (
        maps_of(8, CHANNELS, 33, 33),
        random(CHANNELS, 1, 3, 3),
        maps_of(8, CHANNELS, 33, 33, seed=1),
    )

    def once():
        after = norm_of(8)
        filters = Filters(weight, maps.dtype, (1, 1), (2, 2), None, after, clipped=True)
        answers = filters.answers(maps)
        after.know()
        after.learn()
        after.add(answers, arriving)
        after.know_back()
        filters.learn()
        return [answers, filters.gradients(maps, answers, arriving), *filters.know_back(), after.known]

    first, *again = (once() for _ in range(20))
    assert all(torch.equal(a, b) for found in again for a, b in zip(first, found, strict=True))


def test_threads_may_be_added_before_the_way_back(two_threads):
    """Catches sums of one thread that two write to."""
    torch.set_num_threads(1)
    maps, weight, before = maps_of(8, CHANNELS, 9, 9), random(CHANNELS, 1, 3, 3), norm_of(8)
    before.add(maps)
    before.know()
    filters = Filters(weight, maps.dtype, (1, 1), (2, 2), before)
    arriving, found = maps_of(*filters.answers(maps).shape, seed=1), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        filters.learn()
        found.append([filters.gradients(maps, None, arriving), filters.know_back()[0], before.know_back()])
        assert len(filters.sums) == len(before.sums) == 1
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
