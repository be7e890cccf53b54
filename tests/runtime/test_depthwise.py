"""Gradients of filters that are wide or larger than their maps: those of torch, found another way."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

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


def test_mixed_precision_keeps_the_filter_in_float32():
    """Catches a gradient rounded to bfloat16 on its way, and an answer of another type than its input's."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
    maps = torch.rand(4, 8, 4, 4).bfloat16()
    expected = gradients(layer, maps.float(), own=False)[2]
    with autocast(CPU, torch.bfloat16):
        answer = layer(maps)
    assert answer.dtype is torch.bfloat16
    layer.zero_grad()
    exact = torch.linspace(-1, 2, answer.numel()).view(answer.shape)
    (answer.float() * exact).sum().backward()
    assert layer.weight.grad.dtype is torch.float32
    assert (layer.weight.grad - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("stride, layout", [(1, torch.channels_last), (2, torch.contiguous_format)])
def test_mixed_precision_keeps_maps_as_they_came(stride, layout):
    """Against torch's gradients of the same numbers in float32: catches a stride or padding that is lost, a gradient
    in the wrong layout, and maps that are remembered in twice as many bytes."""
    layer, kept = nn.Conv2d(8, 8, 3, stride, padding=1, groups=8, bias=False), []
    maps = torch.rand(4, 8, 9, 10).bfloat16().contiguous(memory_format=layout).requires_grad_()
    exact = maps.detach().float().requires_grad_()
    layer(exact).sum().backward()
    expected = layer.weight.grad.clone(), exact.grad
    layer.zero_grad()
    with (
        autocast(CPU, torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t),
    ):
        answer = layer(maps)
    answer.sum().backward()
    assert answer.dtype is torch.bfloat16 and [tensor.dtype for tensor in kept] == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(layer.weight.grad, expected[0])
    torch.testing.assert_close(maps.grad, expected[1].bfloat16())


def test_no_gradient_of_frozen_maps_is_computed(monkeypatch):
    """Catches a backward pass into what does not train."""
    monkeypatch.setattr(steps, "conv2d_input", lambda *_: pytest.fail("a gradient that nobody asked for"))
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)
    with autocast(CPU, torch.float32):
        layer(torch.rand(2, 4, 3, 3)).sum().backward()
    assert layer.weight.grad.shape == (4, 1, 5, 5)
