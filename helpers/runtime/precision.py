"""Which arithmetic a network computes in: float32, or mixed precision where this machine is faster with it."""

import functools
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import data_setup
from helpers.runtime.files import write_atomically
from helpers.runtime.seeds import seeded

KINDS = ("depthwise", "dense")  # of networks
CLEARLY_FASTER = 0.95  # of float32's time; for less, its exact digits stay
TURNS = 7


def network_kind(model: nn.Module) -> str:
    """ "depthwise" if a convolution has one filter a channel (efficientnet, mobilenet, convnext), else "dense"."""
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return "depthwise" if any(conv.groups == conv.in_channels > 1 for conv in convolutions) else "dense"


def fast_precision(device: torch.device, kind: str) -> torch.dtype:
    """bfloat16 where a network of this `network_kind` is faster with it, else float32; neither needs a loss scaler.

    A GPU with bfloat16 has units for it that are several times as fast as its float32. A CPU that has the instructions
    may be slower with them, so it is timed. The environment variable COURSE_PRECISION overrides.
    """
    if chosen := os.environ.get("COURSE_PRECISION"):
        if chosen not in ("float32", "bfloat16"):
            raise ValueError(f"COURSE_PRECISION is float32 or bfloat16; got {chosen!r}: set it anew, or unset it")
        return getattr(torch, chosen)
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        faster = device.type == "cpu" and cpu_has_bfloat16() and is_faster(timings(kind))
    return torch.bfloat16 if faster else torch.float32


def is_faster(seconds: dict[str, float]) -> bool:
    """Whether these `timings` speak for bfloat16."""
    return seconds["bfloat16"] < CLEARLY_FASTER * seconds["float32"]


@functools.cache
def timings(kind: str) -> dict[str, float]:
    """{"float32": s, "bfloat16": s}: processor seconds a small network of this kind trains and predicts in.

    Measured once per processor, number of threads and version of torch; then they come from the disk, so that the
    same machine always computes alike. What was measured beside busy programs is used in this process only.
    """
    file = data_setup.home() / "cache" / "precision.json"
    name = f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {kind}"
    kept = _read(file)
    if name not in kept:
        kept[name] = _measure(kind)
        if not _is_busy():
            with suppress(OSError), write_atomically(file) as temporary:  # a full or read-only disk: measured again
                temporary.write_text(json.dumps(kept, indent=1))
    return kept[name]


def _is_busy() -> bool:
    """Whether more programs than processors wanted to compute in the last minute; Windows does not say."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)


def _read(file: Path) -> dict[str, dict[str, float]]:
    """What was measured before; nothing of a file that is missing or damaged."""
    try:
        kept = json.loads(file.read_text())
        return {name: {word: float(row[word]) for word in ("float32", "bfloat16")} for name, row in kept.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _measure(kind: str) -> dict[str, float]:
    """The median of some turns each, in processor time, which other programs on the machine hardly change.

    Not the shortest turn: beside a busy program the threads of oneDNN's bfloat16 weight gradients wait for each other
    in a loop, a step takes up to ten times as long, and whoever trains there would feel it.
    """
    with seeded("precision"):
        network, images = _small_network(kind), torch.rand(16, 3, 64, 64)
    turns = {"float32": [], "bfloat16": []}
    for _ in range(TURNS):
        for name, seconds in turns.items():
            started = time.process_time()
            _train_and_predict(network, images, getattr(torch, name))
            seconds.append(time.process_time() - started)
    return {name: statistics.median(seconds) for name, seconds in turns.items()}


def _small_network(kind: str) -> nn.Module:
    """(N, 3, 64, 64) -> (N, 256, 4, 4), in the manner of mobilenet ("depthwise") or resnet ("dense")."""

    def conv(width_in: int, width: int, side: int = 3, **how) -> nn.Sequential:
        layer = nn.Conv2d(width_in, width, side, padding=side // 2, bias=False, **how)
        return nn.Sequential(layer, nn.BatchNorm2d(width), nn.ReLU(inplace=True))

    layers = [conv(3, 32, stride=2)]
    for width in (64, 128, 256):
        half, wide = width // 2, 2 * width
        if kind == "depthwise":
            layers += [conv(half, wide, 1), conv(wide, wide, stride=2, groups=wide), conv(wide, width, 1)]
        else:
            layers += [conv(half, width, stride=2), conv(width, width)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _train_and_predict(network: nn.Module, images: Tensor, precision: torch.dtype) -> None:
    with torch.enable_grad(), autocast(torch.device("cpu"), precision):
        network.train()(images).float().square().mean().backward()
    with torch.no_grad(), autocast(torch.device("cpu"), precision):
        network.eval()(images)


def cpu_has_bfloat16() -> bool:
    """Whether timing is worth while: a CPU that only emulates it is up to 100 times slower (pytorch issue 146508)."""
    if hasattr(torch.cpu, "get_capabilities"):  # newer torch
        return any(has_it is True for name, has_it in torch.cpu.get_capabilities().items() if "bf16" in name)
    return "bf16" in _cpuinfo()


def cpu_name() -> str:
    """The processor as it calls itself."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cpuinfo() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text() if file.exists() else ""


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
        kwargs = kwargs or {}
        if function is F.conv2d and len(args) > 1 and torch.is_grad_enabled() and _is_depthwise(*args, **kwargs):
            images, weight, *rest = args
            with torch.autocast("cpu", enabled=False):
                return function(images.float(), weight.float(), *rest, **kwargs).to(images.dtype)
        return function(*args, **kwargs)


def _is_depthwise(images, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> bool:
    """Whether these arguments of `conv2d`, in the order in which `nn.Conv2d` gives them, mean one filter a channel."""
    return groups == images.shape[1] > 1
