"""Ratios now against ratios stored for the same kind of machine: times differ from day to day, ratios hardly do."""

import json
from pathlib import Path
from statistics import median

from tests.benchmarks.rounds import OURS, noise, ratios, spread
from tests.benchmarks.rows import FORCED
from tests.benchmarks.table import COLUMNS, values_of

LEAST_BAND = 0.10  # a smaller change is never called a regression


def kind(machine: dict) -> str:
    """The name of a kind of machine: its GPU, or its processor, its widest instructions, and its cores."""
    return machine["gpu"] or f"{machine['cpu']} ({machine['instructions']}), {machine['cores']} cores"


def load(file: Path, machine: dict) -> dict:
    """The stored ratios of this kind of machine, as `stored` gives them; {} when there are none."""
    return json.loads(file.read_text()).get(kind(machine), {}).get("ratios", {})


def add(file: Path, machine: dict, ratios: dict) -> None:
    """Write this machine's ratios beside those of other kinds; rows that were not measured now stay as they are."""
    kinds = json.loads(file.read_text()) if file.exists() else {}
    kept = load(file, machine) if file.exists() else {}
    kinds[kind(machine)] = {"machine": machine, "ratios": kept | ratios}
    file.write_text(json.dumps(kinds, indent=1) + "\n")


def stored(records: list[dict]) -> dict:
    """{row: {peer: {"ratio", "band"}}}: what a later run is compared with."""
    result = {}
    for record in records:
        rounds = values_of(record, lambda answer: answer["seconds"])
        peers = [name for name in COLUMNS if name not in (OURS, *FORCED) and ratios(rounds, name)]
        result[record["key"]] = {
            name: {"ratio": median(ratios(rounds, name)), "band": band(rounds, name)} for name in peers
        }
    return result


def band(rounds: list[dict[str, float]], peer: str) -> float:
    """The share by which a ratio moves from run to run: its own spread or the noise, whichever is larger."""
    values = ratios(rounds, peer)
    return max(LEAST_BAND, noise(rounds), spread(values) / median(values))


def regressions(before: dict, now: dict) -> list[str]:
    """One sentence for every ratio that fell by more than the bands of both runs allow, or is not there any more."""
    found = []
    for row, peers in before.items():
        for peer, then in peers.items():
            today = now.get(row, {}).get(peer)
            if today is None:
                found.append(f"{row}: nothing was measured against {peer}")
                continue
            lowest = then["ratio"] / (1 + then["band"]) / (1 + today["band"])
            if today["ratio"] < lowest:
                found.append(
                    f"{row}: {today['ratio']:.2f} times {peer}, {then['ratio']:.2f} when stored (at least {lowest:.2f})"
                )
    return found
