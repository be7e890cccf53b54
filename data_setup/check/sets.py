"""What only several files together show: copies, leaks between parts and groups, and classes out of shape."""

import difflib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from data_setup.base.text import counted, listed
from data_setup.check.findings import Case, Finding, finding
from data_setup.check.near import near_pairs
from data_setup.check.reading import Facts
from data_setup.items import VALID_FOLDERS

PARTS = {"train": "training", "valid": "validation", "test": "the test part"}
FEW = 20  # pictures of a class to train on: with fewer, its figures are mostly luck
IMBALANCE = 10  # times as many pictures in the largest class as in the smallest
ALMOST = 0.83  # of difflib's ratio: "borken" and "broken" have 0.833, "mouse" and "moose" 0.8
OUTSIDE = "put it into the folder of its class, or label pictures by name or table"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture belongs. All pictures of one place share it."""

    part: str | None  # "train", "valid" or "test"; None: not split yet
    label: str | None
    group: str | None = None  # what must not be in two parts: a patient, a module

    def __str__(self) -> str:
        words = [PARTS.get(self.part, ""), f"labelled {self.label}" if self.label else ""]
        return ", ".join(filter(None, words))


def places(names: Sequence[str], group_of: Callable[[str], str | None]) -> dict[str, Place]:
    """Part and label as the folders say them: train/cat/1.jpg, or cat/1.jpg where there are no parts; test/ is always
    the test part, as in `split_stratified`."""
    deep = {name.split("/")[0] for name in names if name.count("/") > 1}
    flat = {name.split("/")[0] for name in names if name.count("/") == 1}
    has_parts = "train" in deep or ("train" in flat and bool(flat & {*VALID_FOLDERS}))
    found, known = {}, {}
    for name in names:
        part, folders = None, name.split("/")[:-1]
        if folders and (folders[0] == "test" or (has_parts and folders[0] in ("train", *VALID_FOLDERS))):
            part, *folders = folders
            part = "valid" if part in VALID_FOLDERS else part
        place = Place(part, normalize("NFC", folders[-1]) if folders else None, group_of(name))
        found[name] = known.setdefault(place, place)
    return found


def copies(facts: Iterable[Facts]) -> list[tuple[Facts, ...]]:
    """Files that show the same picture, pixel for pixel, two or more at a time. Blank pictures are no copies."""
    same = defaultdict(list)
    for one in facts:
        if one.kind == "picture" and one.spread:
            same[one.pixels].append(one)
    return [tuple(sorted(members, key=lambda one: one.name)) for members in same.values() if len(members) > 1]


def of_copies(found: Sequence[tuple[Facts, ...]], place: Mapping[str, Place]) -> list[Finding]:
    """Exact copies: across parts, under two labels, in two groups, or only superfluous."""
    leaks, contradictions, groups, others = [], [], [], []
    for members in found:
        names = tuple(one.name for one in members)
        same = "the same bytes" if len({one.digest for one in members}) == 1 else "the same pixels in different files"
        where = [place[name] for name in names]
        case = Case(names, f"{same}: {'; '.join(dict.fromkeys(filter(None, map(str, where))))}".removesuffix(": "))
        parts, labels, owners = ({getattr(one, key) for one in where} - {None} for key in ("part", "label", "group"))
        if len(parts) > 1:
            leaks.append(case)
        if len(labels) > 1:
            contradictions.append(case)
        if len(owners) > 1:
            groups.append(case)
        if max(len(parts), len(labels), len(owners)) < 2:
            others.append(case)
    return [
        *finding(
            "leak",
            "serious",
            "the same picture on both sides of the split",
            "keep it in one part: --quarantine keeps the copy that is held out",
            leaks,
        ),
        *finding(
            "contradiction",
            "serious",
            "the same picture under different labels",
            "decide which label is right and delete the other copy; --quarantine moves all of them",
            contradictions,
        ),
        *finding(
            "group copies",
            "serious",
            "the same picture in different groups",
            "these groups are one, or a file was put into the wrong one: correct that before you split by group",
            groups,
        ),
        *finding(
            "copies",
            "warning",
            "the same picture more than once",
            "keep one: a random split would put copies on both sides; --quarantine moves the others",
            others,
        ),
    ]


def near_copies(facts: Sequence[Facts], place: Mapping[str, Place]) -> list[Finding]:
    """Pictures that are nearly the same; of exact copies only the first takes part."""
    surplus = {one.name for members in copies(facts) for one in members[1:]}
    looks = [one for one in facts if one.kind == "picture" and one.look and one.name not in surplus]
    leaks, others = [], []
    for i, j, cosine in near_pairs([one.look for one in looks], [place[one.name].part for one in looks]):
        names = looks[i].name, looks[j].name
        parts, labels = ([getattr(place[name], key) for name in names] for key in ("part", "label"))
        differ = f", labelled {listed(labels)}" if len({*labels} - {None}) > 1 else ""
        across = None not in parts and parts[0] != parts[1]
        where = f", one in {PARTS[parts[0]]}, one in {PARTS[parts[1]]}" if across else ""
        (leaks if across else others).append(Case(names, f"similarity {cosine:.4f}{where}{differ}"))
    look = "look at each pair: a copy that was resized, saved again, brightened or mirrored, or only much alike"
    return [
        *finding(
            "near leak",
            "warning",
            "nearly the same picture on both sides of the split",
            f"{look}; keep copies in one part, or split by group",
            leaks,
        ),
        *finding("near copies", "warning", "nearly the same picture twice", f"{look}; keep one of a copy", others),
    ]


def of_groups(place: Mapping[str, Place]) -> list[Finding]:
    """Groups with pictures in more than one part."""
    held = defaultdict(lambda: defaultdict(list))
    for name, one in sorted(place.items()):
        if one.group is not None and one.part is not None:
            held[one.group][one.part].append(name)
    cases = []
    for group, parts in held.items():
        if len(parts) > 1:
            counts = listed([f"{len(parts[part])} in {PARTS[part]}" for part in PARTS if part in parts])
            cases.append(Case(tuple(names[0] for names in parts.values()), f"group {group!r}: {counts}"))
    fix = "split again: python -m data_setup split PATH --by group --group PATTERN"
    return finding("group leak", "serious", "a group on both sides of the split", fix, cases)


def of_classes(place: Mapping[str, Place]) -> list[Finding]:
    """Classes with few pictures, one of them much larger than another, or missing where the model is trained."""
    counts = {part: Counter() for part in (None, *PARTS)}
    for one in place.values():
        if one.label is not None:
            counts[one.part][one.label] += 1
    training = counts["train"] or counts[None]
    if not training:
        return []
    largest, n = training.most_common(1)[0]
    unknown = {label: part for part in ("valid", "test") for label in counts[part] if label not in training}
    few = sorted((count, label) for label, count in training.items() if count < FEW)
    small = sorted((count, label) for label, count in training.items() if count * IMBALANCE < n)
    return [
        *finding(
            "one class",
            "serious",
            "one class only: there is nothing to tell apart",
            "add a folder of pictures of something else",
            [Case((largest,), counted(n, "picture"))] * (len(training) == 1),
        ),
        *finding(
            "unknown class",
            "serious",
            "a class that no training picture has",
            "move some of its pictures to training, or take it out of the other parts",
            [Case((label,), f"only in {PARTS[part]}") for label, part in unknown.items()],
        ),
        *finding(
            "misspelt",
            "warning",
            "a small class whose name is almost that of a large one",
            "if it is misspelt, move its pictures to the other folder",
            [Case(pair, "{:,} and {:,} pictures".format(*map(training.get, pair))) for pair in misspelt(training)],
        ),
        *finding(
            "few",
            "warning",
            f"a class with fewer than {FEW} pictures to train on",
            "collect more, or join it with another class",
            [Case((label,), counted(count, "picture")) for count, label in few],
        ),
        *finding(
            "imbalance",
            "warning",
            f"a class more than {IMBALANCE} times smaller than the largest, {largest!r}",
            "collect more, give its pictures a larger weight, and look at each class by itself, not at accuracy alone",
            [Case((label,), f"{count:,} of {n:,}") for count, label in small],
        ),
    ]


def misspelt(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """(small class, large class) with names that differ in a letter or two, and not in a digit: cat_1, cat_2."""
    small = sorted(name for name, count in counts.items() if count < FEW)
    found = []
    for name, other in itertools.product(small, sorted(counts)):
        if counts[other] < 5 * counts[name]:
            continue  # before the slow comparison: there may be thousands of small classes
        differ = re.sub(r"\D", "", name) != re.sub(r"\D", "", other)
        likeness = difflib.SequenceMatcher(None, name, other).ratio()
        if name != other and not differ and likeness >= ALMOST:
            found.append((name, other))
    return found


def of_folders(names: Sequence[str], place: Mapping[str, Place], empty: Sequence[str]) -> list[Finding]:
    """Class folders that look alike or hold no picture, and pictures beside class folders."""
    alike = defaultdict(set)
    for folder in {name.rpartition("/")[0] for name in names}:
        if raw := folder.rpartition("/")[2]:
            alike[re.sub(r"\s+", " ", normalize("NFKC", raw).casefold()).strip()].add(raw)
    twins = [tuple(sorted(raw)) for raw in alike.values() if len(raw) > 1]
    outside = [name for name in names if place[name].label is None and place[name].part != "test"]
    labelled = any(one.label is not None for one in place.values())
    return [
        *finding(
            "alike",
            "serious",
            "class names that differ only in capitals, spaces or the way an accent is typed",
            "if they mean one class, put the pictures into one folder, else rename one of them",
            [Case(pair, ", ".join(map(ascii, pair))) for pair in sorted(twins)],
        ),
        *finding(
            "outside",
            "serious",
            "a picture beside the class folders",
            OUTSIDE,
            [Case((name,), "it has no class") for name in outside if labelled],
        ),
        *finding(
            "empty class",
            "serious",
            "a class folder without a picture",
            "put pictures there, or delete the folder",
            [Case((name,), "") for name in empty],
        ),
    ]


def superfluous(found: Sequence[tuple[Facts, ...]], place: Mapping[str, Place]) -> list[str]:
    """Names of copies that are to go, so that every picture is there once: the one that is held out stays (a figure on
    held-out pictures then still means the same), else the first by name; of a picture with two labels, none stays."""
    going = []
    order = ["test", "valid", "train", None]
    for members in found:
        names = sorted((one.name for one in members), key=lambda name: (order.index(place[name].part), name))
        labels = {place[name].label for name in names} - {None}
        going += names if len(labels) > 1 else names[1:]
    return going
