"""What this machine is timed for, once: kept on the disk, so that it always computes alike."""

import json
import os
import platform
import statistics
from collections.abc import Callable
from contextlib import suppress

import torch

from data_setup.base.files import read_json, write_atomically
from data_setup.base.folders import home

TURNS = 5


def kept(name: str, ways: list[str], measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """{way: seconds}, from the disk or measured now. What was measured beside busy programs is not kept."""
    file = home() / "cache" / "timings.json"
    try:
        rows = {name: {way: float(seconds) for way, seconds in row.items()} for name, row in read_json(file).items()}
    except (ValueError, AttributeError, TypeError):  # damaged
        rows = {}
    if set(rows.get(name, {})) != set(ways):
        rows[name] = measure()
        if not hasattr(os, "getloadavg") or os.getloadavg()[0] <= (os.cpu_count() or 1):  # Windows does not say
            with suppress(OSError), write_atomically(file) as temporary:  # a full or read-only disk: measured again
                temporary.write_text(json.dumps(rows, indent=1))
    return rows[name]


def in_turns(ways: dict[str, Callable[[], object]], clock: Callable[[], float]) -> dict[str, float]:
    """{way: the median seconds of some turns}. Not the shortest: beside a busy program bfloat16's threads wait for each
    other, for up to ten times as long a step."""
    turns = {way: [] for way in ways}
    for way in [*ways] * TURNS:
        started = clock()
        ways[way]()
        turns[way].append(clock() - started)
    return {way: statistics.median(seconds) for way, seconds in turns.items()}


def on_cpu() -> str:
    """What a time on this processor depends on."""
    return f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """The processor as it calls itself."""
    return cpu_capabilities().get("cpu_name") or platform.processor() or platform.machine()


def cpu_capabilities() -> dict:
    return getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not say: then float32 is used
