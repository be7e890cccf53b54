"""How near a training step and an epoch come to what this machine can do, and where the rest goes.

The ceilings are measured in the same run: a matrix product in float32 and in bfloat16 for arithmetic, a large copy for
memory. The floor of a step is what its arithmetic takes at the first, or what its traffic takes at the second,
whichever is longer. The sum of both is the model that eager PyTorch can come near: its convolutions and its
normalisations run one after the other.

Traffic of a layer: it reads its input and writes its output; backward it reads the gradient of its output and what it
kept, and writes the gradient of its input. That is five tensors a layer, counted at four bytes (two in bfloat16).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers.models.classifier import build_classifier
from helpers.runtime.precision import autocast, has_bfloat16
from tests.benchmarks.bench import has_weights, machine, say
from tests.benchmarks.contenders.ours import Ours
from tests.benchmarks.work import STEPS, Work

LEAVES = (nn.Conv2d, nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6, nn.SiLU, nn.MaxPool2d, nn.Linear)
KINDS = {  # of the profile: what an operator's name contains
    "convolution, backward": ("convolution_backward",),
    "convolution, forward": ("convolution", "conv2d"),
    "normalisation": ("batch_norm",),
    "activation": ("relu", "hardtanh", "silu", "clamp", "threshold"),
    "optimizer": ("adam", "zero_"),
    "copies and conversions": ("aten::copy_", "_to_copy", "ToCopyBackward"),
    "augmentation": ("grid_sampler", "logit", "sigmoid", "upsample", "index_select", "where"),
    "head and products": ("addmm", "aten::mm", "linear", "dropout"),
}


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    ceilings = measured_ceilings()
    say("ceilings: " + ", ".join(f"{name} {value:.0f}" for name, value in ceilings.items()))
    works = [replace(Work(), arch=arch, pretrained=has_weights(arch)) for arch in ("efficientnet_lite0", "resnet34")]
    reports = [report(work, ceilings) for work in works]
    (folder / "floors.json").write_text(
        json.dumps({"machine": machine(), "ceilings": ceilings, "floors": reports}, indent=1)
    )
    text = markdown(reports, ceilings)
    (folder / "floors.md").write_text(text + "\n")
    say(f"\n{text}\n\nwritten to {folder / 'floors.md'} and floors.json")
    return 0


# Ceilings ------------------------------------------------------------------------------------------------------


def measured_ceilings() -> dict[str, float]:
    """GFLOP/s of matrix products and GB/s of a copy, with all cores, on random numbers."""
    device = Ours(Work()).device
    n, numbers = (8192, 2**30) if device.type == "cuda" else (2048, 2**26)
    a = torch.rand(n, n, device=device) - 0.5
    low, source = a.bfloat16(), torch.rand(numbers, device=device)
    target = torch.empty_like(source)
    found = {"float32 GFLOP/s": 2 * n**3 / best_seconds(lambda: a @ a, device) / 1e9}
    if has_bfloat16(device):
        found["bfloat16 GFLOP/s"] = 2 * n**3 / best_seconds(lambda: low @ low, device) / 1e9
    return found | {"copy GB/s": 2 * source.nbytes / best_seconds(lambda: target.copy_(source), device) / 1e9}


def best_seconds(work: Callable[[], object], device: torch.device, repeats: int = 7) -> float:
    """The fastest of some runs: a ceiling is what the machine can do, not what it does on average."""
    times = []
    for _ in range(repeats):
        started = perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(perf_counter() - started)
    return min(times)


# Floors --------------------------------------------------------------------------------------------------------


def report(work: Work, ceilings: dict[str, float]) -> dict:
    """Floor, model and measurement per picture of one architecture, in milliseconds, and a profile of ours."""
    ours = Ours(work)
    step_s = seconds_of(ours, "step", repeats=3) / (STEPS * work.batch_size)
    epoch_s = seconds_of(ours, "epoch", repeats=2) / (work.count("train"))
    run = ours.kept["step"][0]
    bf16 = run.plan.precision == torch.bfloat16
    arithmetic_s = flops_per_picture(work) / ceilings["bfloat16 GFLOP/s" if bf16 else "float32 GFLOP/s"] / 1e9
    traffic_s = bytes_per_picture(work, bf16=bf16) / ceilings["copy GB/s"] / 1e9
    return {
        "arch": work.arch, "precision": "bfloat16" if bf16 else "float32", "size_px": work.size_px,
        "arithmetic_ms": 1e3 * arithmetic_s, "traffic_ms": 1e3 * traffic_s,
        "floor_ms": 1e3 * max(arithmetic_s, traffic_s), "model_ms": 1e3 * (arithmetic_s + traffic_s),
        "R9_ms": 1e3 * step_s, "R4_ms": 1e3 * epoch_s, "profile": profile(ours), "work": asdict(work),
        "step_s": step_seconds(ours) if bf16 and ours.device.type == "cpu" else {},
    }  # fmt: skip


def seconds_of(ours: Ours, task: str, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):  # the first one warms up
        timed = ours.begin(task, 0)
        started = perf_counter()
        timed()
        times.append(perf_counter() - started)
    return median(times[1:])


def step_seconds(ours: Ours, rounds: int = 3) -> dict[str, float]:
    """Seconds of a training step in each arithmetic a CPU with bfloat16 has, in turns, medians."""
    run = ours.kept["step"][0]
    ways = {
        "float32": autocast(run.device, torch.float32),
        "bfloat16 alone": torch.autocast(run.device.type, torch.bfloat16),
        "mixed": autocast(run.device, torch.bfloat16),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run.autocast in ways.items():
            times[name].append(seconds_of(ours, "step", repeats=1) / STEPS)
    return {name: median(values) for name, values in times.items()}


def flops_per_picture(work: Work) -> float:
    """Operations forward and backward, a product and a sum counted as two.

    Forward as PyTorch counts them, with gradients on: a strided filter computes in another way without. Backward twice
    as many, for the gradients of inputs and of weights. (PyTorch's own count of the backward pass forgets groups.)
    """
    model = build_classifier(work.arch, len(work.classes), size=work.size_px, pretrained=False).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 3, work.size_px, work.size_px))
    return 3 * counter.get_total_flops()


def bytes_per_picture(work: Work, *, bf16: bool) -> float:
    """Bytes that the layers move forward and backward when each runs by itself (see above)."""
    model = build_classifier(work.arch, len(work.classes), size=work.size_px, pretrained=False).eval()
    moved = 0

    def count(layer, inputs, output) -> None:
        nonlocal moved
        moved += 2 * inputs[0].numel() + 3 * output.numel()

    for layer in model.modules():
        if isinstance(layer, LEAVES):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.rand(1, 3, work.size_px, work.size_px))
    return moved * (2 if bf16 else 4)


# Where the rest goes -------------------------------------------------------------------------------------------


def profile(ours: Ours) -> dict[str, float]:
    """Share of the processor's time of one training epoch of ours by kind of operator, largest first."""
    timed = ours.begin("epoch", 0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        timed()
    shares: dict[str, float] = {}
    for event in profiler.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), "other")
        shares[kind] = shares.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(shares.values())
    return {kind: share / total for kind, share in sorted(shares.items(), key=lambda pair: -pair[1])}


def markdown(reports: list[dict], ceilings: dict[str, float]) -> str:
    head = [
        "network",
        "arithmetic",
        "traffic",
        "floor",
        "sum of both",
        "step (R9)",
        "of the sum",
        "epoch (R4)",
        "of R9",
    ]
    rows = [
        [
            f"{r['arch']}, {r['size_px']} px, {r['precision']}",
            *(f"{r[key]:.2f} ms" for key in ("arithmetic_ms", "traffic_ms", "floor_ms", "model_ms", "R9_ms")),
            percent(r["model_ms"] / r["R9_ms"]),
            f"{r['R4_ms']:.2f} ms",
            percent(r["R9_ms"] / r["R4_ms"]),
        ]
        for r in reports
    ]  # fmt: skip
    table = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    profiles = [
        f"{r['arch']}, where an epoch's processor time goes: "
        + ", ".join(f"{kind} {percent(share)}" for kind, share in r["profile"].items() if share >= 0.005)
        for r in reports
    ]
    steps = [
        f"{r['arch']}, a step of {r['work']['batch_size']} pictures: "
        + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in r["step_s"].items())
        for r in reports
        if r["step_s"]
    ]
    measured = "Ceilings: " + ", ".join(f"{name} {value:.0f}" for name, value in ceilings.items())
    words = "Per picture; the epoch includes validation of a third as many pictures."
    return "\n\n".join(["\n".join(table), f"{measured}. {words}", *profiles, *steps])


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
