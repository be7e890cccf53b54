"""Which arithmetic a network computes in: float32, or mixed precision where this machine is faster with it."""

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from data_setup.lite.gradients import in_one_step_here
from data_setup.lite.timings import cpu_capabilities, in_turns, kept, on_cpu
from helpers.runtime.depthwise import OnCPU
from helpers.runtime.graphs import Recording
from helpers.runtime.seeds import seeded

KINDS = {"depthwise": "tf_efficientnet_lite0", "dense": "resnet18"}  # of networks, and timm's name of the one timed
CLEARLY_FASTER = 0.95  # of float32's time; for less, its exact digits stay


def network_kind(model: nn.Module) -> str:
    """ "depthwise" if a convolution has one filter a channel (efficientnet, mobilenet, convnext), else "dense"."""
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return "depthwise" if any(conv.groups == conv.in_channels > 1 for conv in convolutions) else "dense"


def fast_precision(device: torch.device, kind: str, work: str = "training") -> torch.dtype:
    """bfloat16 where a network of this `network_kind` does this `WORK` faster with it, as timed on this device, else
    float32; COURSE_PRECISION overrides."""
    if chosen := os.environ.get("COURSE_PRECISION"):
        if chosen not in ("float32", "bfloat16"):
            raise ValueError(f"COURSE_PRECISION is float32 or bfloat16; got {chosen!r}: set it anew, or unset it")
        return getattr(torch, chosen)
    if not has_bfloat16(device):
        return torch.float32
    seconds = timings(kind, device, work)
    return torch.bfloat16 if seconds["bfloat16"] < CLEARLY_FASTER * seconds["float32"] else torch.float32


@functools.cache
def timings(kind: str, device: torch.device, work: str) -> dict[str, float]:
    """{"float32": s, "bfloat16": s}: seconds in which a network of this kind trains or predicts once on `device`."""
    where = on_cpu() if device.type == "cpu" else torch.cuda.get_device_name(device)
    name = f"{where}, torch {torch.__version__}, {work}, {kind} ({KINDS[kind]})"
    return kept(name, ["float32", "bfloat16"], partial(_measure, kind, device, work))


def _measure(kind: str, device: torch.device, work: str) -> dict[str, float]:
    """Processor seconds on a CPU; a GPU's own time for more and larger pictures, from a recording, as small networks
    leave it waiting for Python whatever they compute in."""
    import timm  # takes seconds to import

    shape = SHAPES[work] if device.type == "cpu" else (64, 3, 128, 128)
    with seeded("precision"):
        network, images = timm.create_model(KINDS[kind]), torch.rand(shape).to(device)
    network.to(device, memory_format=torch.channels_last)
    steps = {}
    for name in ("float32", "bfloat16"):
        step = partial(WORK[work], network, device, getattr(torch, name))
        steps[name] = partial(step, images)
        if device.type == "cuda":
            step(images)  # libraries are loaded and choose
            steps[name] = partial(Recording(step, [images], network.parameters()).replay, [images])
    return in_turns(steps, partial(_clock, device))


def _train(network: nn.Module, device: torch.device, precision: torch.dtype, images: Tensor) -> Tensor:
    network.zero_grad()
    with autocast(device, precision), torch.enable_grad():
        loss = network.train()(images).float().square().mean()
        loss.backward()
    return loss.detach()


def _predict(network: nn.Module, device: torch.device, precision: torch.dtype, images: Tensor) -> Tensor:
    with autocast(device, precision), torch.no_grad():
        return network.eval()(images)


WORK = {"training": _train, "predicting": _predict}  # one may be faster in bfloat16 where the other is not
SHAPES = {"training": (16, 3, 128, 128), "predicting": (64, 3, 64, 64)}  # smaller: casts weigh more than in use


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def has_bfloat16(device: torch.device) -> bool:
    """Whether timing is worth while: never on Apple's GPUs; emulated it is up to 100 times slower (pytorch 146508)."""
    if device.type != "cpu":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return in_one_step_here(torch.bfloat16) and any(has for name, has in cpu_capabilities().items() if "bf16" in name)


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast | OnCPU:
    """Convolutions and matrix products in `precision`; weights and sums stay float32. It may be entered many times."""
    if device.type == "cpu":
        return OnCPU(precision)
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Every part of the model evaluates inside the block; after it each is in the mode it had, whatever happened."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def evaluating(model: nn.Module, device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Inside the block the model predicts: evaluation mode, no gradients, in `precision`."""
    with eval_mode(model), torch.no_grad(), autocast(device, precision):
        yield
