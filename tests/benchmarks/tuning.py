"""How the tuned peers are tuned: precision and number of workers."""

import os
from dataclasses import replace

import torch

from helpers.runtime.device import pick_device
from helpers.runtime.precision import fast_precision, has_bfloat16
from tests.benchmarks.processes import Worker
from tests.benchmarks.work import Work

WORKERS = tuple(n for n in (0, 2, 4, 8, 16) if n <= max(4, os.cpu_count() or 1))
DATA_TASKS = ("decode", "batches")
PROBE_PICTURES = 256


def seconds(name: str, work: Work, task: str) -> float:
    """The second run of a task on a few pictures: the first one warms up."""
    with Worker(name, replace(work, limit=min(PROBE_PICTURES, work.limit or PROBE_PICTURES))) as worker:
        worker.run(task, 0)
        return worker.run(task, 0)["seconds"]


def usual(work: Work) -> dict[str, dict]:
    """What the probes of `tuned` found on two cores, without probing: for the quick bench. Beside a GPU all get as many
    workers as help (up to eight), and the precision that this kit has timed for itself."""
    if torch.cuda.is_available():
        kind = "depthwise" if work.arch.startswith("efficientnet") else "dense"
        named, workers = {"train_bf16": "training", "predict_bf16": "predicting"}, min(8, os.cpu_count() or 1)
        fast = {key: fast_precision(torch.device("cuda"), kind, work) is torch.bfloat16 for key, work in named.items()}
        return settings_of(fast | {"workers": workers}, workers)
    depthwise = work.arch.startswith("efficientnet")  # trains faster in float32 on a CPU
    native = bf16_is_built_in()
    return settings_of({"train_bf16": native and not depthwise, "predict_bf16": native, "workers": 2}, 2)


def settings_of(plain: dict, fastai_workers: int) -> dict[str, dict]:
    peers = dict.fromkeys(("plain", "timm", "timm compiled", "lightning"), plain)
    float32 = {"workers": plain["workers"]}
    return peers | {"plain, float32": float32, "fastai tuned": {"workers": fastai_workers}}


def tuned(work: Work, task: str) -> dict[str, dict]:
    """Settings by contender, found by measuring short epochs; what was measured stands under "probes"."""
    probes = {}

    def fastest(name: str, what: str, task: str, candidates: dict) -> Work:
        times = {label: seconds(name, candidate, task) for label, candidate in candidates.items()}
        probes[f"{name}, {what}"] = {label: round(value, 3) for label, value in times.items()}
        return candidates[min(times, key=times.get)]

    probed, plain = "batches" if task in DATA_TASKS else "epoch", work
    if probed == "epoch" and bf16_is_built_in():  # where it is emulated it is a hundred times slower
        plain = fastest("plain", "training", "epoch", {"float32": plain, "bfloat16": replace(plain, train_bf16=True)})
        plain = fastest("plain", "predicting", "tta", {"float32": plain, "bfloat16": replace(plain, predict_bf16=True)})
    plain = fastest("plain", "workers", probed, {str(n): replace(plain, workers=n) for n in WORKERS})
    fastai = fastest("fastai tuned", "workers", probed, {str(n): replace(work, workers=n) for n in WORKERS})
    found = {name: getattr(plain, name) for name in ("train_bf16", "predict_bf16", "workers")}
    return settings_of(found, fastai.workers) | {"probes": probes}


def bf16_is_built_in() -> bool:
    return has_bfloat16(pick_device())
