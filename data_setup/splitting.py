"""The one random split of this project: it depends on names and a seed alone, and keeps the share of every stratum."""

import hashlib
from collections.abc import Hashable, Iterable, Mapping


def ranked(names: Iterable[str], seed: int) -> list[str]:
    """The names in a random order that is the same on every machine: by sha256 of "SEED/NAME"."""

    def rank(name: str) -> str:
        return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).hexdigest()

    return sorted(names, key=rank)


def stratified(strata: Mapping[str, Hashable], *, frac: float, seed: int) -> set[str]:
    """The share `frac` of the names (name -> stratum), the same share of every stratum, in any order of `strata`.

    Shares are rounded by largest remainder, so the total is exact; a stratum of two or more is never taken whole and
    never left out.
    """
    members: dict[Hashable, list[str]] = {}
    for name, stratum in strata.items():
        members.setdefault(stratum, []).append(name)
    exact = {stratum: round(len(names) * frac, 9) for stratum, names in members.items()}
    taken = {stratum: int(share) for stratum, share in exact.items()}
    left_over = round(len(strata) * frac) - sum(taken.values())
    by_remainder = sorted(exact, key=lambda stratum: (taken[stratum] - exact[stratum], repr(stratum)))
    for stratum in by_remainder[:left_over]:
        taken[stratum] += 1
    chosen: set[str] = set()
    for stratum, names in members.items():
        n = min(max(taken[stratum], 1), len(names) - 1)
        chosen.update(ranked(names, seed)[:n])
    return chosen
