"""Pictures and their labels, as data: nothing here moves, renames or changes a file."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.runtime import closest, did_you_mean

# A picture is what its first bytes say it is, not what its name says (JPEG, PNG, GIF, BMP, WEBP).
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")


@dataclass(frozen=True)
class Item:
    """One picture. `name` is its key everywhere: in splits, caches and marks."""

    name: str  # path below the data set's folder, with "/" on every system
    path: Path  # where the file is now
    label: str | None  # None: not labelled (a test set)
    weight: float = 1.0  # how much this picture counts in the training loss


def find_images(folder: Path | str) -> list[Path]:
    """Every picture below `folder`, sorted by name; links to folders are not followed, so no loop can trap it.

    Raises FileNotFoundError when the folder is not there or holds no picture, and says what it holds instead.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder.absolute()}; check the path, or run `python -m data_setup`"
        )
    files = [path for path in _walk(folder) if not path.name.startswith(".")]
    pictures = [path for path in files if is_picture(path)]
    if not pictures:
        found = ", ".join(sorted({path.suffix or path.name for path in files})[:8]) or "nothing"
        raise FileNotFoundError(f"no picture (JPEG, PNG, GIF, BMP, WEBP) below {folder.absolute()}; it holds {found}")
    return sorted(pictures, key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterable[Path]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if not entry.is_symlink() and not entry.name.startswith("."):
                yield from _walk(entry)
        elif entry.is_file():
            yield entry


def is_picture(path: Path) -> bool:
    """True when the file's first bytes are those of a picture, or its name claims one (then reading it will complain)."""
    with path.open("rb") as file:
        head = file.read(12)
    by_content = head.startswith(SIGNATURES) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")
    return by_content or path.suffix.lower() in {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"}


def items_in(folder: Path | str, label_of: Callable[[str], str | None]) -> tuple[Item, ...]:
    """One item per picture below `folder`; `label_of` gets the picture's name ("train/cat/1.jpg")."""
    folder = Path(folder)
    names = [(path.relative_to(folder).as_posix(), path) for path in find_images(folder)]
    return tuple(Item(name, path, label_of(name)) for name, path in names)


def label_by_folder(folder: Path | str) -> tuple[Item, ...]:
    """Label = the name of the picture's own folder; pictures under a top folder `test` stay unlabelled."""
    return items_in(folder, lambda name: None if name.startswith("test/") else _parent(name, folder))


def _parent(name: str, folder: Path | str) -> str:
    if "/" not in name:
        raise ValueError(
            f"{name} lies directly in {folder}: put pictures into one folder per class, or label them by name"
        )
    return name.split("/")[-2]


@did_you_mean
def label_by_regex(folder: Path | str, pattern: str, *, on: str = "name") -> tuple[Item, ...]:
    """Label = group 1 of `pattern`, searched in the file's own name (`on="name"`) or its path below `folder` (`on="path"`).

    Raises ValueError when any picture does not match, with the count, examples and the pattern.
    """
    if on not in ("name", "path"):
        raise ValueError(f'on is "name" or "path"; got {on!r}')
    compiled = re.compile(pattern)
    if compiled.groups < 1:
        raise ValueError(f"the pattern {pattern!r} has no group: put ( ) around the part that is the label")
    unmatched, items = [], []
    for path in find_images(folder):
        name = path.relative_to(folder).as_posix()
        match = compiled.search(name if on == "path" else path.name)
        if match:
            items.append(Item(name, path, match.group(1)))
        else:
            unmatched.append(name)
    if unmatched:
        raise ValueError(
            f"{pattern!r} does not match {len(unmatched)} of {len(unmatched) + len(items)} names, "
            f"e.g. {', '.join(map(repr, unmatched[:3]))}; change the pattern or move those files out"
        )
    return tuple(items)


@did_you_mean
def label_by_table(
    table: Path | str,
    *,
    folder: Path | str,
    name_column: str = "name",
    label_column: str = "label",
    weight_column: str | None = None,
) -> tuple[Item, ...]:
    """Labels (and weights) from a CSV file with a header; `name_column` holds paths below `folder`. Sorted by name.

    Raises ValueError for a missing column, a file the table names but the folder lacks, or a name that stands twice.
    """
    with Path(table).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for column in filter(None, (name_column, label_column, weight_column)):
        if rows and column not in rows[0]:
            raise ValueError(f"{table} has no column {column!r}; {closest(column, rows[0])}")
    folder = Path(folder)
    items = [
        Item(
            row[name_column],
            folder / row[name_column],
            row[label_column] or None,
            float(row[weight_column]) if weight_column else 1.0,
        )
        for row in rows
    ]
    missing = [item.name for item in items if not item.path.is_file()]
    if missing:
        raise ValueError(
            f"{table} names {len(missing)} files that are not below {folder}, e.g. {', '.join(missing[:3])}"
        )
    return check_items(items)


def check_items(items: Iterable[Item]) -> tuple[Item, ...]:
    """The items sorted by name; raises ValueError when there are none or a name stands twice."""
    items = tuple(sorted(items, key=lambda item: item.name))
    if not items:
        raise ValueError("no items: a data set needs at least one picture")
    for before, after in zip(items, items[1:], strict=False):
        if before.name == after.name:
            raise ValueError(f"the name {after.name!r} stands twice; every picture needs a name of its own")
    return items


def vocabulary(items: Iterable[Item]) -> tuple[str, ...]:
    """The class names, sorted. The number a class has in the model is its position here."""
    return tuple(sorted({item.label for item in items if item.label is not None}))


def relabel(items: Iterable[Item], labels: Mapping[str, str | None]) -> tuple[Item, ...]:
    """New items with `labels[item.name]` where there is one; the files stay as they are.

    Raises KeyError when a name in `labels` is not among the items.
    """
    items = tuple(items)
    unknown = set(labels) - {item.name for item in items}
    if unknown:
        word = min(unknown)
        raise KeyError(f"no item is called {word!r}; {closest(word, [item.name for item in items][:2000])}")
    return tuple(replace(item, label=labels[item.name]) if item.name in labels else item for item in items)
