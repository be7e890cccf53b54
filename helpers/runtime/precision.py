"""Which arithmetic a network computes in: float32, or mixed precision where this machine is faster with it."""

import functools
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import data_setup
from helpers.runtime.files import write_atomically
from helpers.runtime.seeds import seeded

KINDS = {"depthwise": "tf_efficientnet_lite0", "dense": "resnet18"}  # of networks, and timm's name of the one timed
CLEARLY_FASTER = 0.95  # of float32's time; for less, its exact digits stay
TURNS = 5


def network_kind(model: nn.Module) -> str:
    """ "depthwise" if a convolution has one filter a channel (efficientnet, mobilenet, convnext), else "dense"."""
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return "depthwise" if any(conv.groups == conv.in_channels > 1 for conv in convolutions) else "dense"


def fast_precision(device: torch.device, kind: str) -> torch.dtype:
    """bfloat16 where a network of this `network_kind` is faster with it (on a CPU that has it: as timed), else float32;
    COURSE_PRECISION overrides."""
    if chosen := os.environ.get("COURSE_PRECISION"):
        if chosen not in ("float32", "bfloat16"):
            raise ValueError(f"COURSE_PRECISION is float32 or bfloat16; got {chosen!r}: set it anew, or unset it")
        return getattr(torch, chosen)
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    elif faster := device.type == "cpu" and cpu_has_bfloat16():
        faster = timings(kind)["bfloat16"] < CLEARLY_FASTER * timings(kind)["float32"]
    return torch.bfloat16 if faster else torch.float32


@functools.cache
def timings(kind: str) -> dict[str, float]:
    """{"float32": s, "bfloat16": s}: processor seconds in which a network of this kind trains and predicts once.

    Kept on the disk, so that a machine always computes alike, but for what was measured beside busy programs.
    """
    file = data_setup.home() / "cache" / "precision.json"
    name = f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {kind} ({KINDS[kind]})"
    try:
        kept = json.loads(file.read_text())
        kept = {name: {word: float(row[word]) for word in ("float32", "bfloat16")} for name, row in kept.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # missing or damaged
        kept = {}
    if name not in kept:
        kept[name] = _measure(kind)
        if not hasattr(os, "getloadavg") or os.getloadavg()[0] <= (os.cpu_count() or 1):  # Windows does not say
            with suppress(OSError), write_atomically(file) as temporary:  # a full or read-only disk: measured again
                temporary.write_text(json.dumps(kept, indent=1))
    return kept[name]


def _measure(kind: str) -> dict[str, float]:
    """The median of some turns each. Not the shortest: beside a busy program bfloat16's threads (oneDNN's weight
    gradients) wait for each other in a loop, a step takes up to ten times as long, and whoever trains feels it."""
    import timm  # takes seconds to import

    with seeded("precision"):
        network, images = timm.create_model(KINDS[kind]), torch.rand(16, 3, 64, 64)
    network.to(memory_format=torch.channels_last)
    turns = {"float32": [], "bfloat16": []}
    for name in ("float32", "bfloat16") * TURNS:
        started = time.process_time()
        with autocast(torch.device("cpu"), getattr(torch, name)):
            with torch.enable_grad():
                network.train()(images).float().square().mean().backward()
            with torch.no_grad():
                network.eval()(images)
        turns[name].append(time.process_time() - started)
    return {name: statistics.median(seconds) for name, seconds in turns.items()}


def cpu_has_bfloat16() -> bool:
    """Whether timing is worth while: a CPU that only emulates it is up to 100 times slower (pytorch issue 146508)."""
    return any(has_it is True for name, has_it in _capabilities().items() if "bf16" in name)


def cpu_name() -> str:
    """The processor as it calls itself."""
    return _capabilities().get("cpu_name") or platform.processor() or platform.machine()


def _capabilities() -> dict:
    return getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not say: then float32 is used


@contextmanager
def autocast(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Convolutions and matrix products in `precision`; weights and sums stay float32 (torch's autocast)."""
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
        if function is nn.functional.conv2d and len(args) > 1 and torch.is_grad_enabled():
            images, weight, *rest = args
            groups = rest[4] if len(rest) > 4 else kwargs.get("groups", 1)  # after bias, stride, padding, dilation
            if groups == images.shape[1] > 1:
                with torch.autocast("cpu", enabled=False):
                    return function(images.float(), weight.float(), *rest, **kwargs).to(images.dtype)
        return function(*args, **kwargs)
