"""Gradients of filters that are wide or larger than their maps: those of torch, found another way."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from data_setup.lite import compiled
from data_setup.lite import gradients as steps
from helpers.runtime import depthwise
from helpers.runtime.precision import autocast

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def on_any_processor(monkeypatch):
    monkeypatch.setattr(depthwise, "HAS_ONEDNN", True)
    monkeypatch.setattr(depthwise, "CAPABILITY", "AVX2")


def gradients(layer: nn.Conv2d, maps: torch.Tensor, *, own: bool) -> list[torch.Tensor]:
    """(answer, gradient of the maps, gradient of the filter), by this kit or by torch alone."""
    maps = maps.clone().requires_grad_()
    layer.zero_grad()
    with autocast(CPU, torch.float32) if own else torch.enable_grad():
        answer = layer(maps)
    assert ("ByColumns" in type(answer.grad_fn).__name__) is own
    (answer * torch.linspace(-1, 2, answer.numel(), dtype=answer.dtype).view(answer.shape)).sum().backward()
    return [answer.detach(), maps.grad, layer.weight.grad.clone()]


@given(st.integers(1, 3), st.integers(2, 4), st.sampled_from([3, 5, 7]), st.data())
def test_gradients_are_those_of_torch(n, channels, side, data):
    """Catches a filter that comes out turned, transposed or of another picture, in any layout and any shape."""
    height, width = (data.draw(st.integers(1, 9)) for _ in range(2))
    assume(min(height, width) < side or side > 3)
    layer = nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, bias=False).double()
    maps = torch.randn(n, channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(side))
    if data.draw(st.booleans()):
        maps = maps.contiguous(memory_format=torch.channels_last)
    for found, expected in zip(gradients(layer, maps, own=True), gradients(layer, maps, own=False), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "layer, side",
    [
        (nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), 3),
        (nn.Conv2d(4, 4, 5, padding=2, groups=4), 4),
        (nn.Conv2d(4, 4, 5, padding=2, stride=2, groups=4, bias=False), 4),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, bias=False), 2),
        (nn.Conv2d(4, 4, 5, padding="same", groups=4, bias=False), 4),
        (nn.Conv2d(4, 8, 5, padding=2, groups=4, bias=False), 4),
        (nn.Conv2d(4, 4, 5, padding=2, groups=2, bias=False), 4),
    ],
    ids=["large enough", "bias", "stride", "dilation", "named padding", "multiplier", "grouped"],
)
def test_what_is_not_meant_is_left_to_torch(layer, side):
    """Catches an argument that is dropped on the way: the answer must be torch's to the last bit."""
    maps = torch.rand(2, 4, side, side)
    with autocast(CPU, torch.float32):
        answer = layer(maps)
    assert "ByColumns" not in type(answer.grad_fn).__name__ and torch.equal(answer, layer(maps))


def test_other_processors_and_predictions_are_left_to_torch(monkeypatch):
    """Catches many thousand groups computed one by one where oneDNN is not, and gradients kept while predicting."""
    layer, maps = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False), torch.rand(2, 4, 3, 3)
    with autocast(CPU, torch.float32), torch.no_grad():
        assert layer(maps).grad_fn is None
    monkeypatch.setattr(depthwise, "CAPABILITY", "AVX512")
    with autocast(CPU, torch.float32):
        assert "ByColumns" not in type(layer(torch.rand(2, 4, 5, 5)).grad_fn).__name__
        assert "ByColumns" in type(layer(maps).grad_fn).__name__
    monkeypatch.setattr(depthwise, "HAS_ONEDNN", False)
    with autocast(CPU, torch.float32):
        assert "ByColumns" not in type(layer(maps).grad_fn).__name__


def test_for_what_is_frozen_no_kernel_is_compiled(monkeypatch):
    """A training of the head alone: catches a third of a second spent on gradients that nobody asks for."""
    monkeypatch.setattr(compiled, "kernels", lambda: pytest.fail("compiled"))
    layer = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False).requires_grad_(False)
    maps = torch.rand(2, 16, 5, 5).contiguous(memory_format=torch.channels_last)
    with autocast(CPU, torch.bfloat16):
        answer = layer(maps)
    assert answer.grad_fn is None and answer.dtype is torch.bfloat16


@pytest.mark.parametrize("computes_in_it", [True, False])
def test_mixed_precision_leaves_a_gradient_in_float32(computes_in_it, monkeypatch):
    """Catches a gradient summed in bfloat16, and an answer of another type than its input's, where the processor
    computes in bfloat16 and where it would emulate it."""
    monkeypatch.setattr(depthwise, "in_one_step_here", lambda _: computes_in_it)
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
    maps = torch.rand(4, 8, 4, 4).bfloat16()
    expected = gradients(layer, maps.float(), own=False)[2]
    with autocast(CPU, torch.bfloat16):
        answer = layer(maps)
    assert answer.dtype is torch.bfloat16 and ("ByColumns" in type(answer.grad_fn).__name__) is computes_in_it
    layer.zero_grad()
    exact = torch.linspace(-1, 2, answer.numel()).view(answer.shape)
    (answer.float() * exact).sum().backward()
    assert layer.weight.grad.dtype is torch.float32
    assert (layer.weight.grad - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("side, stride", [(3, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_mixed_precision_keeps_maps_as_they_came(side, stride, layout, monkeypatch):
    """Against torch's gradients of the same numbers in float32: catches a stride or padding that is lost, and maps that
    are remembered in twice as many bytes."""
    monkeypatch.setattr(depthwise, "in_one_step_here", lambda _: True)
    layer, kept = nn.Conv2d(8, 8, side, stride, padding=1, groups=8, bias=False), []
    maps = torch.rand(4, 8, 9, 10).bfloat16().contiguous(memory_format=layout).requires_grad_()
    layer.weight.data.copy_(layer.weight.bfloat16())
    exact = maps.detach().float().requires_grad_()
    layer(exact).sum().backward()
    expected = layer.weight.grad.clone(), exact.grad
    layer.zero_grad()
    keep = torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.dtype) or tensor, lambda t: t)
    with autocast(CPU, torch.bfloat16), keep:
        answer = layer(maps)
    answer.sum().backward()
    assert answer.dtype is torch.bfloat16 and kept == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(layer.weight.grad, expected[0], rtol=0.01, atol=0.01)
    torch.testing.assert_close(maps.grad.float(), expected[1], rtol=0.01, atol=0.01)


@given(st.sampled_from([1, 3, 5]), st.integers(0, 2), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.data())
def test_gradients_at_a_stride_are_put_together_from_places_and_columns(side, padding, stride, data):
    """Against torch's: catches rows and columns that are swapped, a filter not turned, padding at the wrong side,
    pixels that no filter meets, and columns that begin a step too late."""
    height, width = (data.draw(st.integers(max(1, side - 2 * padding), 9)) for _ in range(2))
    random = torch.Generator().manual_seed(side)
    maps = torch.randn(2, 3, height, width, dtype=torch.float64, generator=random, requires_grad=True)
    weight = torch.randn(3, 1, side, side, dtype=torch.float64, generator=random, requires_grad=True)
    answer = nn.functional.conv2d(maps, weight, None, stride, padding, groups=3)
    arriving = torch.randn(answer.shape, dtype=torch.float64, generator=random)
    answer.backward(arriving)
    given = maps.detach(), weight.detach(), arriving, stride, (padding, padding)
    torch.testing.assert_close(steps.gradient_by_places(*given), maps.grad)
    torch.testing.assert_close(steps.gradient_by_columns(*given), weight.grad)


def test_no_gradient_of_frozen_maps_is_computed():
    """Catches a backward pass into what does not train."""
    layer, flops = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False), []
    for maps in (torch.rand(2, 4, 3, 3), torch.rand(2, 4, 3, 3, requires_grad=True)):
        with autocast(CPU, torch.float32):
            answer = layer(maps)
        with FlopCounterMode(display=False) as counter:
            answer.sum().backward()
        flops.append(counter.get_total_flops())
    assert layer.weight.grad.shape == (4, 1, 5, 5) and 0 < flops[0] < flops[1]
