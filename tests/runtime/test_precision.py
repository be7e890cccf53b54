"""Which arithmetic is chosen, and what mixed precision computes."""

import pytest
import torch
from torch import nn

from helpers.runtime import precision
from helpers.runtime.precision import autocast, fast_precision

CPU = torch.device("cpu")


def test_bfloat16_only_where_the_processor_has_it(monkeypatch):
    """Catches emulated bfloat16 (a hundred times slower) and bfloat16 on a device nobody asked about."""
    for has_it, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda has_it=has_it: has_it)
        assert fast_precision(torch.device("cpu")) == expected
        asked = {}
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda asked=asked, has_it=has_it, **k: asked.update(k) or has_it
        )
        assert fast_precision(torch.device("cuda")) == expected
        assert asked == {"including_emulation": False}
    assert fast_precision(torch.device("mps")) == torch.float32


def types_seen(layer: nn.Conv2d, *, training: bool) -> list[torch.dtype]:
    """The types of the inputs that torch's convolution kernel was given, and of the layer's answer."""
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "convolution" in str(function):
                seen.append(args[0].dtype)
            return function(*args, **(kwargs or {}))

    with torch.set_grad_enabled(training), autocast(CPU, torch.bfloat16), Watch():
        answer = layer(torch.rand(2, 8, 9, 9))
    return [*seen, answer.dtype]


@pytest.mark.parametrize(
    "layer, training, expected",
    [
        (nn.Conv2d(8, 8, 3, groups=8), True, torch.float32),
        (nn.Conv2d(8, 16, 3, stride=2, padding="valid", groups=8), True, torch.float32),
        (nn.Conv2d(8, 8, 3, groups=8), False, torch.bfloat16),
        (nn.Conv2d(8, 8, 3, groups=2), True, torch.bfloat16),
        (nn.Conv2d(8, 8, 1), True, torch.bfloat16),
    ],
    ids=["depthwise", "with a multiplier", "while predicting", "grouped", "pointwise"],
)
def test_only_depthwise_convolutions_that_train_stay_in_float32(layer, training, expected):
    """Catches slow gradients in bfloat16, and everything else left in float32 with them."""
    assert types_seen(layer, training=training)[0] is expected


def test_mixed_gradients_are_those_of_float32_up_to_rounding():
    """Catches a gradient lost or counted twice on the way through the two types."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    images = torch.rand(4, 3, 9, 9)
    gradients = {}
    for dtype in (torch.float32, torch.bfloat16):
        model.zero_grad()
        with autocast(CPU, dtype):
            answer = model(images)
        answer.float().square().mean().backward()
        gradients[dtype] = [parameter.grad.clone() for parameter in model.parameters()]
    for exact, mixed in zip(*gradients.values(), strict=True):
        assert mixed.dtype is torch.float32
        assert (mixed - exact).norm() < 0.02 * exact.norm()


def test_the_exception_ends_with_the_block():
    """Catches a mode that stays on and computes float32 for whoever trains next in plain torch."""
    layer = nn.Conv2d(8, 8, 3, groups=8)
    with autocast(CPU, torch.bfloat16):
        pass
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.rand(1, 8, 9, 9)).dtype is torch.bfloat16
    with autocast(CPU, torch.float32):
        assert layer(torch.rand(1, 8, 9, 9)).dtype is torch.float32
