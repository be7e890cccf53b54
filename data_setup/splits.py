"""Which pictures train and which are held out. A split is data: it can be compared, and survives resizing."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256

from data_setup.base.arguments import did_you_mean
from data_setup.base.files import content_hash
from data_setup.base.text import counted
from data_setup.items import VALID_FOLDERS, Item

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """Item names per part, each sorted; no name is in two parts."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...] = ()

    def __post_init__(self):
        for part in PARTS:
            object.__setattr__(self, part, tuple(sorted(getattr(self, part))))
        times = Counter(self.train + self.valid + self.test)
        if repeated := [name for name in times if times[name] > 1]:
            more_than_once = f"{counted(len(repeated), 'picture')} in the split more than once, e.g. {min(repeated)}"
            raise ValueError(f"{more_than_once}; each picture trains, validates or tests")

    def of(self, names: Container[str]) -> "Split":
        """The split of these pictures alone; nobody changes sides."""
        return Split(*(tuple(name for name in getattr(self, part) if name in names) for part in PARTS))

    def digest(self) -> str:
        """sha256 of the parts: two splits are the same exactly when their digests are."""
        return sha256(json.dumps(asdict(self)).encode()).hexdigest()


def ranked(names: Iterable[str], seed: int) -> list[str]:
    """The names in a random order that is the same on every machine: by sha256 of "SEED/NAME"."""

    def rank(name: str) -> str:
        return sha256(f"{seed}/{name}".encode(errors="surrogateescape")).hexdigest()

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


@did_you_mean
def split_by_folder(items: Iterable[Item], *, valid_frac: float = 0.25, seed: int = 0) -> Split:
    """By the first folder of each name: train, valid (or val; else `valid_frac` of train, stratified), test, no part.

    Raises ValueError without a folder train.
    """
    parts = defaultdict(list)
    for item in items:
        top = item.name.split("/")[0]
        parts["valid" if top in VALID_FOLDERS else top].append(item)
    if "train" not in parts:
        found = ", ".join(sorted(parts)[:8]) or "nothing"
        fix = "Use split_stratified for one folder per class"
        raise ValueError(f"a split by folder needs the folders train and valid; found {found}. {fix}")
    train, valid, test = ([item.name for item in parts[part]] for part in PARTS)
    if valid:
        return Split(train, valid, test)
    drawn = split_stratified(parts["train"], valid_frac=valid_frac, seed=seed)
    return replace(drawn, test=(*drawn.test, *test))


@did_you_mean
def split_stratified(items: Iterable[Item], *, valid_frac: float = 0.25, seed: int = 0) -> Split:
    """A random split with the same share of every class on both sides, and at least one picture of two or more.

    It depends on the names and the seed alone, not on the order of the files. Pictures without a label, and all below
    a top folder `test`, are the test part (in `split_by_group`, too). Raises ValueError when one side would be empty.
    """
    labelled, test = _without_test(items, valid_frac)
    valid = stratified({item.name: item.label for item in labelled}, frac=valid_frac, seed=seed)
    return _split(labelled, valid, test)


@did_you_mean
def split_by_group(
    items: Iterable[Item], group_of: Callable[[Item], Hashable], *, valid_frac: float = 0.25, seed: int = 0
) -> Split:
    """Whole groups (one animal, one solar module) go to one side, nearly `valid_frac` of the pictures to validation.

    Raises ValueError for a single group.
    """

    def rank(group: Hashable) -> str:
        return sha256(repr((seed, group)).encode()).hexdigest()

    labelled, test = _without_test(items, valid_frac)
    groups = defaultdict(list)
    for item in labelled:
        groups[group_of(item)].append(item.name)
    in_order = [groups[group] for group in sorted(groups, key=rank)]
    wanted, valid = valid_frac * len(labelled), []
    for names in in_order:
        if len(valid) + len(names) / 2 <= wanted:  # nearer to `wanted` with it than without it
            valid += names
    valid = valid or min(in_order, key=len, default=[])
    if len(valid) == len(labelled):
        valid = valid[: -len(in_order[-1])]  # somebody has to train
    return _split(labelled, valid, test)


def tell_copies(items: Iterable[Item], split: Split) -> None:
    """Print how many validation pictures are, byte for byte, files that train. Raises OSError for a missing file."""
    path_of = {item.name: item.path for item in items}
    trained = {content_hash(path_of[name]) for name in split.train}
    if copies := [name for name in split.valid if content_hash(path_of[name]) in trained]:
        found = f"note: {counted(len(copies), 'validation picture')} also in training, e.g. {copies[0]!r}"
        print(f"{found}; the accuracy will be too high: leave them out with data.with_items(items)")


def _without_test(items: Iterable[Item], valid_frac: float) -> tuple[list[Item], list[str]]:
    """(items to divide, names of the test part)."""
    if not 0 < valid_frac < 1:
        raise ValueError(f"valid_frac is a share, between 0 and 1; got {valid_frac}")
    items = list(items)
    test = {item.name for item in items if item.label is None or item.name.startswith("test/")}
    return [item for item in items if item.name not in test], sorted(test)


def _split(labelled: list[Item], valid: Iterable[str], test: list[str]) -> Split:
    train = {item.name for item in labelled}.difference(valid)
    if not train or len(train) == len(labelled):
        sides = f"{len(train)} pictures to train on and {len(labelled) - len(train)} to validate on"
        raise ValueError(f"the split leaves {sides}; both need some")
    return Split(tuple(train), tuple(valid), tuple(test))
