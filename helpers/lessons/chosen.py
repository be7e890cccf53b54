"""Which set of pictures the course is about: the solar cells, unless somebody names another one.

`COURSE_DATA_SET` in the environment decides; without it what lesson 00 kept with `choose_set(DATA)`; else the solar
cells. A set is a name of `python -m data_setup --list` ("pets", "pets-400"), a folder in the course's data folder, or
the path of any folder whose pictures have labels (`python -m data_setup check PATH` looks at it first).

    COURSE_LABELS     where its labels are, if not in folders: a table, or a pattern for file names
    COURSE_POSITIVE   the class that is looked for: what "found", "may skip" and "cost" are about
    COURSE_AUGMENT    what may change in a picture: side_on (the default), top_down or basic (see `course_augment`)
"""

import functools
import json
import os
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import data_setup
from data_setup.base.arguments import closest
from data_setup.base.files import read_json, write_atomically
from data_setup.base.folders import MANIFEST, explained
from data_setup.items import Item
from data_setup.own.labels import labelled
from data_setup.own.split_file import split_in
from data_setup.splits import Split

SOLAR = "solar"
SOLAR_POSITIVE = "defective"
CHOICE = "course.json"  # in the data folder
NAMES = r"^(.+)_\d+\.\w+$"  # of pictures that all lie in one folder: Abyssinian_12.jpg
THE_COURSES = "the class the course asks for"  # as `positive`: see `positive_of`


def set_name() -> str:
    """The chosen set as it was named: "solar", "pets", a folder."""
    named = os.environ.get("COURSE_DATA_SET", "").strip()
    return named or str(read_json(data_setup.home() / CHOICE).get("set") or SOLAR)


def is_solar() -> bool:
    """Whether the course is about the solar cells."""
    return set_name() == SOLAR


def choose_set(name: str) -> Path:
    """Make `name` the set of all lessons on this machine, and give its folder; COURSE_DATA_SET goes before it.

    Raises ValueError for a set that is neither known nor a folder.
    """
    chosen = os.environ.get("COURSE_DATA_SET", "").strip()
    if chosen and chosen != name:
        print(f"COURSE_DATA_SET={chosen} is set, so the course is about {chosen} and not about {name}")
        return set_folder(chosen)
    folder, before = set_folder(name), set_name()
    kept = data_setup.home() / CHOICE
    if name != SOLAR or kept.is_file():
        with explained(kept.parent), write_atomically(kept) as temporary:
            temporary.write_text(json.dumps({"set": name}) + "\n", encoding="utf-8")
    if name not in (SOLAR, before):
        print(
            f"the course is about {name} from here on; `make work RESET=all` writes your copies of the lessons for it"
        )
    return folder


def set_folder(name: str | None = None) -> Path:
    """The folder of a set (default: the chosen one), prepared when the course knows it."""
    name = set_name() if name is None else name
    inside, elsewhere = data_setup.home() / name, Path(name).expanduser()
    if inside.is_dir() and not (inside / MANIFEST).is_file():
        return inside
    if elsewhere.name != name and elsewhere.is_dir():
        return elsewhere.absolute()
    try:
        return data_setup.prepare(name)
    except ValueError as error:
        raise ValueError(f"{error}; a folder of your own is named by its path: COURSE_DATA_SET=/path/to/it") from None


def kept_as(name: str) -> str:
    """A file's name in the data folder, with the set's in it unless it is the solar cells: "board-pets.json"."""
    if is_solar():
        return name
    stem, dot, suffix = name.partition(".")
    return f"{stem}-{slug()}{dot}{suffix}"


def slug() -> str:
    """The chosen set in a file's name. Two folders with the same name differ by a hash of their paths."""
    path = Path(set_name())
    return path.name + (f"-{sha256(str(path.absolute()).encode()).hexdigest()[:6]}" if path.name != str(path) else "")


def set_items() -> tuple[tuple[Item, ...], Split]:
    """The pictures of the chosen set with their labels and split; read once in a process."""
    return _items_of(set_folder(), os.environ.get("COURSE_LABELS"))


@functools.lru_cache(maxsize=4)
def _items_of(folder: Path, labels: str | None) -> tuple[tuple[Item, ...], Split]:
    in_folders = any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())
    tables = [*folder.glob("*.csv"), *folder.glob("*.tsv"), *folder.glob("*.txt")]
    items = labelled(folder, labels or (None if in_folders or tables else NAMES))
    return items, split_in(folder, items)


def positive_of(classes: Sequence[str], positive: str | None = THE_COURSES) -> str | None:
    """The class that is looked for. None: there is none, so measures are the mean over every class against the rest.

    `positive` itself, if a class is given; else COURSE_POSITIVE; else "defective"; of two classes the rarer one.
    """
    if positive != THE_COURSES:
        return positive
    wanted = os.environ.get("COURSE_POSITIVE")
    if wanted:
        if wanted not in classes:
            raise ValueError(f"COURSE_POSITIVE={wanted} is not a class here; {closest(wanted, classes)}")
        return wanted
    if SOLAR_POSITIVE in classes:
        return SOLAR_POSITIVE
    return rarer_of(classes) if len(classes) == 2 else None


def rarer_of(classes: Sequence[str]) -> str:
    """Of two classes the one with fewer pictures in the chosen set; the first, if it does not have them."""
    counts = Counter(item.label for item in set_items()[0]) if not is_solar() else Counter()
    return min(classes, key=lambda label: (counts[label], classes.index(label)))


def asked_class(data) -> str:
    """The class that one question is about ("is it a ...?"): the positive one, else the commonest of `data.valid`."""
    counts = Counter(item.label for item in data.items_of("valid"))
    return positive_of(data.classes) or min(data.classes, key=lambda label: (-counts[label], label))


def need_solar(what: str) -> None:
    """Raise RuntimeError when the course is about another set: `what` knows solar cells only."""
    if not is_solar():
        raise RuntimeError(
            f"{what} knows the solar cells only, and the course is about {set_name()}: `make work RESET=all` writes "
            "the lessons for it, without this cell"
        )
