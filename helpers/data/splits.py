"""Which pictures train and which are held out. A split is data: it is stored, compared, and survives resizing."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from data_setup.splitting import ranked, stratified
from helpers.data.items import VALID_FOLDERS, Item
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.files import write_atomically
from helpers.runtime.seeds import seed_for
from helpers.runtime.text import counted


@dataclass(frozen=True)
class Split:
    """Item names per part, each sorted; no name is in two parts."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...] = ()

    def __post_init__(self):
        for part in ("train", "valid", "test"):
            object.__setattr__(self, part, tuple(sorted(getattr(self, part))))
        repeated = [name for name, times in Counter(self.train + self.valid + self.test).items() if times > 1]
        if repeated:
            raise ValueError(
                f"{counted(len(repeated), 'picture')} in the split more than once, e.g. {min(repeated)}; "
                "each picture trains, validates or tests"
            )

    def digest(self) -> str:
        """sha256 of the parts: two splits are the same exactly when their digests are."""
        return sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the split as JSON, atomically."""
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=0))

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read what `save` wrote. Raises ValueError when the file is damaged."""
        try:
            return cls(**{part: tuple(names) for part, names in json.loads(Path(path).read_text()).items()})
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a split ({error}); split again and save it again") from error


@did_you_mean
def split_by_folder(items: Iterable[Item], *, valid_frac: float = 0.25, seed: int = 0) -> Split:
    """By the first folder of each name: train, valid (or val), test; other folders are in no part.

    Without a folder valid, `valid_frac` of train is held out, stratified. Raises ValueError without a folder train.
    """
    parts = defaultdict(list)
    for item in items:
        top = item.name.split("/")[0]
        parts["valid" if top in VALID_FOLDERS else top].append(item)
    if "train" not in parts:
        found = ", ".join(sorted(parts)[:8]) or "nothing"
        raise ValueError(
            f"a split by folder needs the folders train and valid; found {found}. "
            "Use split_stratified for one folder per class"
        )
    names = {part: [item.name for item in parts[part]] for part in ("train", "valid", "test")}
    if not names["valid"]:
        drawn = split_stratified(parts["train"], valid_frac=valid_frac, seed=seed)
        return Split(drawn.train, drawn.valid, (*drawn.test, *names["test"]))
    return Split(**{part: tuple(names[part]) for part in names})


@did_you_mean
def split_stratified(
    items: Iterable[Item],
    *,
    valid_frac: float = 0.25,
    seed: int = 0,
    stratum: Callable[[Item], Hashable] = lambda item: item.label,
) -> Split:
    """A random split with the same share of every stratum (class, by default) on both sides.

    Who goes where depends on the names and the seed alone, not on the order of the files, and pictures added to one
    class move at most one in any other. Every class of two or more keeps at least one picture on each side.
    Pictures without a label, and all below a top folder `test`, are the test part (here and in the splits below).
    Raises ValueError when one side would be empty.
    """
    _check_fraction(valid_frac)
    labelled, test = _without_test(items)
    valid = stratified({item.name: stratum(item) for item in labelled}, frac=valid_frac, seed=seed)
    return _both_sides([item.name for item in labelled if item.name not in valid], valid, test)


@did_you_mean
def split_by_group(
    items: Iterable[Item], group_of: Callable[[Item], Hashable], *, valid_frac: float = 0.25, seed: int = 0
) -> Split:
    """Whole groups (one animal, one patient, one solar module) go to one side, nearly `valid_frac` to validation.

    Raises ValueError for a single group.
    """
    _check_fraction(valid_frac)
    labelled, test = _without_test(items)
    groups = defaultdict(list)
    for item in labelled:
        groups[group_of(item)].append(item.name)
    order = sorted(groups, key=lambda group: seed_for(seed, group))
    held_out, n_valid, wanted = [], 0, valid_frac * len(labelled)
    for group in order:
        if n_valid + len(groups[group]) / 2 <= wanted:  # nearer to `wanted` with it than without it
            held_out.append(group)
            n_valid += len(groups[group])
    held_out = held_out or sorted(order, key=lambda group: len(groups[group]))[:1]
    if len(held_out) == len(groups):
        held_out.pop()
    sides = {True: [], False: []}
    for group, names in groups.items():
        sides[group in held_out] += names
    return _both_sides(sides[False], sides[True], test)


@did_you_mean
def k_folds(items: Iterable[Item], k: int, *, seed: int = 0) -> list[Split]:
    """k splits whose valid parts are disjoint, stratified by class, and together are all labelled items.

    A picture added to one class moves nobody in another.
    """
    labelled, test = _without_test(items)
    by_label = defaultdict(list)
    for item in labelled:
        by_label[item.label].append(item.name)
    smallest = min(map(len, by_label.values()), default=0)
    if not 2 <= k <= smallest:
        raise ValueError(f"k is between 2 and the size of the smallest class, {smallest}; got {k}")
    folds = [[] for _ in range(k)]
    for label, names in by_label.items():
        first = seed_for(seed, label) % k  # else the first folds would get the odd picture of every class
        for position, name in enumerate(ranked(names, seed), start=first):
            folds[position % k].append(name)
    everything = {item.name for item in labelled}
    return [Split(tuple(everything - set(fold)), tuple(fold), tuple(test)) for fold in folds]


def _without_test(items: Iterable[Item]) -> tuple[list[Item], list[str]]:
    """(items to divide, names of the test part)."""
    items = list(items)
    test = {item.name for item in items if item.label is None or item.name.startswith("test/")}
    return [item for item in items if item.name not in test], sorted(test)


def _check_fraction(valid_frac: float) -> None:
    if not 0 < valid_frac < 1:
        raise ValueError(
            f"valid_frac is the share of pictures held out for validation, between 0 and 1; got {valid_frac}"
        )


def _both_sides(train: Collection[str], valid: Collection[str], test: Collection[str]) -> Split:
    if not train or not valid:
        raise ValueError(
            f"the split leaves {len(train)} pictures to train on and {len(valid)} to validate on; both need some"
        )
    return Split(tuple(train), tuple(valid), tuple(test))
