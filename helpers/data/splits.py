"""Which pictures train and which only judge. A split is data: it is stored, compared, and survives resizing."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.data.items import VALID_FOLDERS, Item
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.files import write_atomically
from helpers.runtime.seeds import seed_for


@dataclass(frozen=True)
class Split:
    """Item names per part, each sorted; no name stands in two parts."""

    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...] = ()

    def __post_init__(self):
        for part in ("train", "valid", "test"):
            object.__setattr__(self, part, tuple(sorted(getattr(self, part))))
        twice = [name for name, times in Counter(self.train + self.valid + self.test).items() if times > 1]
        if twice:
            raise ValueError(
                f"{len(twice)} pictures stand twice in the split, e.g. {min(twice)}; it may judge or train, not both"
            )

    def digest(self) -> str:
        """sha256 of the parts: two splits are the same exactly when their digests are."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the split as JSON, in one piece or not at all."""
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=0))

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read what `save` wrote. Raises ValueError when the file is damaged."""
        try:
            return cls(**{part: tuple(names) for part, names in json.loads(Path(path).read_text()).items()})
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} holds no split ({error}); split again and save it again") from error


@did_you_mean
def split_by_folder(items: Iterable[Item], *, valid_frac: float = 0.25, seed: int = 0) -> Split:
    """By the first folder of each name: train, valid (or val), test; other folders are in no part.

    Without a folder valid, `valid_frac` of train judges, stratified. Raises ValueError without a folder train.
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

    Who goes where depends on the names and the seed alone, so neither the order of the files nor a picture
    added to another class changes it. Every class of two or more keeps at least one picture on each side.
    Pictures without a label, and all below a top folder `test`, are the test part (here and in the splits below).
    Raises ValueError when one side would be empty.
    """
    _check_fraction(valid_frac)
    strata, test = defaultdict(list), []
    for item in items:
        (test if _is_test(item) else strata[stratum(item)]).append(item.name)
    train, valid = [], []
    for names in strata.values():
        shuffled = sorted(names, key=lambda name: seed_for(seed, name))
        n_valid = min(max(round(len(names) * valid_frac), 1), len(names) - 1)
        valid += shuffled[:n_valid]
        train += shuffled[n_valid:]
    return _both_sides(train, valid, test)


@did_you_mean
def split_by_group(
    items: Iterable[Item], group_of: Callable[[Item], Hashable], *, valid_frac: float = 0.25, seed: int = 0
) -> Split:
    """Whole groups (one animal, one patient, one solar module) go to one side, near `valid_frac` of the pictures judge.

    Raises ValueError for a single group.
    """
    _check_fraction(valid_frac)
    groups, test = defaultdict(list), []
    for item in items:
        (test if _is_test(item) else groups[group_of(item)]).append(item.name)
    wanted = valid_frac * sum(map(len, groups.values()))
    judging, valid = [], []
    order = sorted(groups, key=lambda group: seed_for(seed, group))
    for group in order:
        if len(valid) + len(groups[group]) / 2 <= wanted:  # nearer to `wanted` with it than without it
            judging.append(group)
            valid += groups[group]
    judging = judging or sorted(order, key=lambda group: len(groups[group]))[:1]
    if len(judging) == len(groups):
        judging.pop()
    sides = {True: [], False: []}
    for group, names in groups.items():
        sides[group in judging] += names
    return _both_sides(sides[False], sides[True], test)


@did_you_mean
def k_folds(items: Iterable[Item], k: int, *, seed: int = 0) -> list[Split]:
    """k splits whose valid parts are disjoint, stratified by class, and together are all labelled items.

    As in `split_stratified` a picture added to another class moves nobody.
    """
    by_label, test = defaultdict(list), []
    for item in items:
        (test if _is_test(item) else by_label[item.label]).append(item.name)
    smallest = min(map(len, by_label.values()), default=0)
    if not 2 <= k <= smallest:
        raise ValueError(f"k is between 2 and the size of the smallest class, {smallest}; got {k}")
    folds = [[] for _ in range(k)]
    for label, names in by_label.items():
        first = seed_for(seed, label) % k  # else the first folds would get the odd picture of every class
        for position, name in enumerate(sorted(names, key=lambda name: seed_for(seed, name)), start=first):
            folds[position % k].append(name)
    everything = {name for fold in folds for name in fold}
    return [Split(tuple(everything - set(fold)), tuple(fold), tuple(test)) for fold in folds]


def _is_test(item: Item) -> bool:
    return item.label is None or item.name.startswith("test/")


def _check_fraction(valid_frac: float) -> None:
    if not 0 < valid_frac < 1:
        raise ValueError(f"valid_frac is the share of pictures that only judge, between 0 and 1; got {valid_frac}")


def _both_sides(train: list[str], valid: list[str], test: list[str]) -> Split:
    if not train or not valid:
        raise ValueError(
            f"the split leaves {len(train)} pictures to train on and {len(valid)} to judge by; both need at least one"
        )
    return Split(tuple(train), tuple(valid), tuple(test))


def content_hashes(items: Iterable[Item]) -> dict[str, str]:
    """sha256 of each file's bytes, by item name."""
    return {item.name: hashlib.sha256(item.path.read_bytes()).hexdigest() for item in items}


def find_leaks(items: Iterable[Item], split: Split) -> list[tuple[str, str]]:
    """Pairs (training picture, judging picture) whose files are byte for byte the same."""
    training, judging = set(split.train), set(split.valid) | set(split.test)
    trained_as = {}
    hashes = content_hashes(items)
    for name in sorted(training & hashes.keys()):
        trained_as.setdefault(hashes[name], name)
    return [(trained_as[hashes[name]], name) for name in sorted(judging & hashes.keys()) if hashes[name] in trained_as]
