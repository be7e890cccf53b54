"""Ratios now against ratios stored: times differ from machine to machine, ratios hardly do."""

from statistics import median

from tests.benchmarks.rounds import OURS, noise, ratios, spread
from tests.benchmarks.table import COLUMNS, values_of

LEAST_BAND = 0.10  # a smaller change is never called a regression


def stored(records: list[dict]) -> dict:
    """{row: {peer: {"ratio", "band"}}}: what a later run is compared with."""
    result = {}
    for record in records:
        rounds = values_of(record, lambda answer: answer["seconds"])
        peers = [name for name in COLUMNS if name != OURS and ratios(rounds, name)]
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
