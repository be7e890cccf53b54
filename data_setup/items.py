"""Pictures and their labels, as data: nothing here moves, renames or changes a file."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from data_setup.base.arguments import closest, did_you_mean
from data_setup.base.files import visible_files
from data_setup.base.folders import FORMATS, PICTURES, SEAL, unsealed
from data_setup.base.text import counted

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
RAW = {".dng", ".nef", ".cr2", ".arw", ".orf", ".pef"}  # a camera's own files: they begin like a TIFF
FOREIGN = {".heic", ".heif", ".avif", ".jp2", ".svg", ".psd", *RAW}
SEARCH_SECONDS = 10
SEARCH = """
import json, re, sys
pattern, tries = json.load(sys.stdin)
found = [next(filter(None, (re.search(pattern, text) for text in texts)), None) for texts in tries]
json.dump([match and match[min(1, match.re.groups)] for match in found], sys.stdout)
"""
VALID_FOLDERS = ("valid", "val", "validation")


@dataclass(frozen=True)
class Item:
    """One picture. `name` is its key everywhere: in splits, caches and marks."""

    name: str  # path below the data set's folder, with "/" on every system
    path: Path  # where the file is now
    label: str | None  # None: not labelled (a test set)
    weight: float = 1.0  # how much this picture counts in the training loss


def find_images(folder: Path | str) -> list[Path]:
    """Every picture below `folder`, sorted by name; hidden files, links to folders and sealed folders are left out.

    Raises FileNotFoundError when there is no folder or no picture in it, and says what it holds instead.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder.absolute()}; check the path, or run `python -m data_setup`")
    files = unsealed(folder, list(visible_files(folder)))
    broken = {path for path in files if not path.exists()}
    pictures = [path for path in files if path not in broken and is_picture(path)]
    readable = ", ".join(FORMATS)
    if not pictures:
        found = f"no picture ({readable}) below {folder.absolute()}; it holds {_kinds(files)}"
        raise FileNotFoundError(f"{found}: check the path, or save the pictures in one of these formats")
    if foreign := {path for path in files if path.suffix.lower() in FOREIGN}.difference(pictures, broken):
        print(f"note: {counted(len(foreign), 'file')} left out ({_kinds(foreign)}); only {readable} are read")
    if broken:
        first = min(broken).relative_to(folder).as_posix()
        print(f"note: {counted(len(broken), 'broken link')} left out, e.g. {first!r}")
    return sorted(pictures, key=lambda path: path.relative_to(folder).as_posix())


def _kinds(files: Iterable[Path]) -> str:
    return ", ".join(sorted({path.suffix or path.name for path in files})[:8]) or "nothing"


def is_picture(path: Path) -> bool:
    """True when the first bytes are those of a picture, or the name claims one (then reading it will complain)."""
    with path.open("rb") as file:
        head = file.read(12)
    bmp, webp = head[:2] == b"BM" and head[6:10] == bytes(4), head[:4] == b"RIFF" and head[8:] == b"WEBP"
    suffix = path.suffix.lower()
    return suffix in PICTURES or bmp or webp or (head.startswith(SIGNATURES) and suffix not in RAW)


def items_in(folder: Path | str, label_of: Callable[[str], str | None]) -> tuple[Item, ...]:
    """One item per picture below `folder`; `label_of` gets the picture's name ("train/cat/1.jpg")."""
    paths = find_images(folder)
    return _labelled(folder, paths, [label_of(path.relative_to(folder).as_posix()) for path in paths])


def _labelled(folder: Path | str, paths: Iterable[Path], labels: Iterable[str | None]) -> tuple[Item, ...]:
    items = []
    for path, label in zip(paths, labels, strict=True):
        label = normalize("NFC", label) if label else label  # a Mac types other Unicode
        items.append(Item(path.relative_to(folder).as_posix(), path, label))
    _tell_look_alikes("class", class_names(items))
    _tell_look_alikes("picture", [item.name for item in items])
    return tuple(items)


def _tell_look_alikes(what: str, words: Iterable[str]) -> None:
    first = {}
    pairs = [f"{a!r} and {b!r}" for b in words if (a := first.setdefault(normalize("NFC", b).casefold(), b)) != b]
    if pairs:
        print(f"note: {counted(len(pairs), what)} named almost like another, e.g. {pairs[0]}: are both meant?")


def has_parts(items: Iterable[Item]) -> bool:
    """Whether the top folders are parts of the set: train/CLASS/..., or train/... and valid/... without classes."""
    items = list(items)
    deep = {item.name.split("/")[0] for item in items if item.name.count("/") > 1}
    flat = {item.name.split("/")[0] for item in items if item.name.count("/") == 1}
    return "train" in deep or ("train" in flat and bool(flat & {*VALID_FOLDERS}))


def label_by_folder(folder: Path | str) -> tuple[Item, ...]:
    """Label = the name of the picture's own folder, but none directly in a top folder `test`.

    Raises ValueError for a picture outside a class folder, and for a class folder without a picture.
    """
    folder = Path(folder)
    items = items_in(folder, lambda name: name.split("/")[-2] if "/" in name else None)
    parts = {"train", *VALID_FOLDERS} if has_parts(items) else set()  # else these names are classes like any other
    no_class = {"", *parts}
    for item in items:
        if (above := item.name.rpartition("/")[0]) in no_class:
            fix = "put pictures into one folder per class, or label them by name"
            raise ValueError(f"{item.name} lies directly in {folder / above}: {fix}")
    _refuse_empty_classes(folder, items)
    return relabel(items, {item.name: None for item in items if re.fullmatch("test/[^/]+", item.name)})


def _refuse_empty_classes(folder: Path, items: Iterable[Item]) -> None:
    folders = {item.path.parent for item in items}
    full = folders.union(*(folder.parents for folder in folders))
    beside = sorted({folder.parent for folder in folders})
    for entry in (entry for above in beside for entry in sorted(above.iterdir()) if entry not in full):
        if entry.is_dir() and not entry.name.startswith((".", "__")) and not (entry / SEAL).is_file():
            held = "is a link, which is not followed" if entry.is_symlink() else _kinds(visible_files(entry))
            fix = "put pictures there, or delete the folder"
            raise ValueError(f"the class folder {entry} holds no picture ({held}): {fix}")


@did_you_mean
def label_by_regex(folder: Path | str, pattern: str) -> tuple[Item, ...]:
    """Label = group 1 of `pattern`, searched in each file's name; the slash before it may be part of the pattern.

    Raises ValueError for a pattern that is not a regular expression with a group, or that does not match every picture.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a valid regular expression: {error}") from None
    if compiled.groups < 1:
        raise ValueError(f"the pattern {pattern!r} has no group: put ( ) around the part that is the label")
    paths = find_images(folder)
    tries = [(path.name, f"/{path.name}") for path in paths]  # fastai v1's patterns want a "/" first
    items = _labelled(folder, paths, [found or None for found in first_groups(pattern, tries)])
    if unmatched := [item.path.name for item in items if item.label is None]:
        found = f"{len(unmatched)} of {len(items)} file names, e.g. {', '.join(map(repr, unmatched[:3]))}"
        raise ValueError(f"{pattern!r} does not match {found}; change the pattern or move those files out")
    return items


def first_groups(pattern: str, tries: Sequence[Sequence[str]]) -> list[str | None]:
    """Group 1 of the pattern (the whole match where it has none) in the first text of each row that it fits, or None.

    In a process of its own: `re` has no time limit. Raises ValueError when it takes longer than SEARCH_SECONDS.
    """
    command = [sys.executable, "-I", "-S", "-c", SEARCH]
    how = {"capture_output": True, "text": True, "timeout": SEARCH_SECONDS, "check": True}
    try:
        done = subprocess.run(command, input=json.dumps([pattern, tries]), **how)
    except subprocess.TimeoutExpired:
        found = f"{pattern!r} was still searching {len(tries)} names after {SEARCH_SECONDS} s"
        raise ValueError(f"{found}: take a simpler pattern, with no + or * around another") from None
    return json.loads(done.stdout)


def check_items(items: Iterable[Item]) -> tuple[Item, ...]:
    """The items sorted by name. Raises ValueError for none, a repeated name, an impossible label or weight."""
    items = tuple(sorted(items, key=lambda item: getattr(item, "name", "")))
    if not items:
        raise ValueError("no items: a data set needs at least one picture")
    for item, previous in zip(items, (None, *items), strict=False):
        if not isinstance(item, Item):
            got = f"{type(item).__name__} {item!r}"
            raise TypeError(f"expected items, got {got}; for a folder: ImageData.from_folders(folder)")
        if previous and item.name == previous.name:
            raise ValueError(f"the name {item.name!r} appears more than once; every picture needs a name of its own")
        if not isinstance(item.label, str | None):
            raise ValueError(f"{item.name} is labelled {item.label!r}; a label is text, or None: label=str(...)")
        if not 0 <= item.weight < math.inf:
            raise ValueError(f"{item.name} has weight {item.weight}; a weight is a number of at least 0")
    return items


def class_names(items: Iterable[Item]) -> tuple[str, ...]:
    """The class names, sorted. The number a class has in the model is its position here."""
    return tuple(sorted({item.label for item in items if item.label is not None}))


def relabel(items: Iterable[Item], labels: Mapping[str, str | None]) -> tuple[Item, ...]:
    """New items with `labels[item.name]` where there is one. Raises KeyError for a name that no item has."""
    items = tuple(items)
    names = [item.name for item in items]
    if unknown := set(labels).difference(names):
        raise KeyError(f"no item is called {min(unknown)!r}; {closest(min(unknown), names[:2000])}")
    return tuple(replace(item, label=labels[item.name]) if item.name in labels else item for item in items)
