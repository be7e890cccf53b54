"""Which arithmetic a network computes in: mixed precision, by the processor's own abilities."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


def fast_precision(device: torch.device) -> torch.dtype:
    """The fastest arithmetic that needs no loss scaler: bfloat16 where the processor has it built in, else float32.

    The processor is asked, not timed, so that the same machine always answers the same. A CPU that only emulates
    bfloat16 is up to a hundred times slower with it (pytorch issue 146508).
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and _cpu_has_bfloat16()
    return torch.bfloat16 if native else torch.float32


@functools.cache
def _cpu_has_bfloat16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):  # newer torch
        return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()


@contextmanager
def autocast(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Convolutions and matrix products in `precision`; weights and sums stay float32 (torch's autocast).

    On a CPU depthwise convolutions train in float32 besides: see `DepthwiseInFloat32`.
    """
    mixed = precision != torch.float32
    exception = DepthwiseInFloat32() if mixed and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, dtype=precision, enabled=mixed), exception:
        yield


class DepthwiseInFloat32(TorchFunctionMode):
    """Inside the block a `conv2d` of one filter a channel that will need gradients computes in float32.

    torch computes these gradients slowly in bfloat16. With the exception efficientnet_lite0 trains 1.3 times as fast as
    in float32 and 2.2 times as fast as in bfloat16 alone (128 px, two cores; `make bench WHAT=floors` measures it).
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.conv2d and torch.is_grad_enabled() and _is_depthwise(*args):
            images, weight, *rest = args
            with torch.autocast("cpu", enabled=False):
                return function(images.float(), weight.float(), *rest).to(images.dtype)
        return function(*args, **(kwargs or {}))


def _is_depthwise(images, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> bool:
    """Whether these arguments of `conv2d`, in the order in which `nn.Conv2d` gives them, mean one filter a channel."""
    return groups == images.shape[1] > 1
