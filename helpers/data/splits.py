"""Which pictures train and which are held out. A split is data: it can be compared, and survives resizing."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Hashable, Iterable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256

from data_setup.splitting import stratified
from helpers.data.items import VALID_FOLDERS, Item
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.seeds import seed_for
from helpers.runtime.text import counted

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
    labelled, test = _without_test(items, valid_frac)
    groups = defaultdict(list)
    for item in labelled:
        groups[group_of(item)].append(item.name)
    in_order = [groups[group] for group in sorted(groups, key=lambda group: seed_for(seed, group))]
    wanted, valid = valid_frac * len(labelled), []
    for names in in_order:
        if len(valid) + len(names) / 2 <= wanted:  # nearer to `wanted` with it than without it
            valid += names
    valid = valid or min(in_order, key=len, default=[])
    if len(valid) == len(labelled):
        valid = valid[: -len(in_order[-1])]  # somebody has to train
    return _split(labelled, valid, test)


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
