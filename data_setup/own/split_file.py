"""A split in a file: names and parts, as JSON; `ImageData.from_folders` and the recipe read it in the data's folder."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from data_setup.base.files import write_atomically
from data_setup.base.text import counted
from data_setup.items import Item, has_parts
from data_setup.splits import PARTS, Split, split_by_folder, split_stratified

SPLIT_FILE = "split.json"


def write_split(split: Split, file: Path, *, how: str) -> None:
    """Write the split, and in words how it was made; atomically."""
    with write_atomically(file) as temporary:
        temporary.write_text(json.dumps({"how": how, **asdict(split)}, indent=1) + "\n", encoding="ascii")


def load_split(file: Path) -> tuple[Split, str]:
    """(the split in a file, how it was made). Raises FileNotFoundError, or ValueError if it is not a split."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        return Split(*(tuple(map(str, known[part])) for part in PARTS)), str(known.get("how", "a split"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no split file {file}: python -m data_setup split FOLDER") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not a split ({error}): python -m data_setup split FOLDER writes one") from None


def read_split(file: Path, items: Iterable[Item]) -> Split:
    """The split in a file, of these items; says how it was made, and how many items are in no part of it.

    Raises what `load_split` raises, and ValueError for a file that names pictures which are not among the items.
    """
    split, how = load_split(file)
    names = {item.name for item in items}
    named = {name for part in PARTS for name in getattr(split, part)}
    if missing := sorted(named - names):
        found = f"{file} names {counted(len(missing), 'picture')} that are not there or not labelled, e.g. {missing[0]}"
        raise ValueError(f"{found}: split again, python -m data_setup split {file.parent}")
    left_out = f"; {counted(len(names - named), 'picture')} in no part of it left out" if names - named else ""
    print(f"{file.name}: {how}{left_out}")
    return split


def saved_split(folder: Path | str, items: Iterable[Item]) -> Split | None:
    """The split of the folder's split.json; None without one."""
    file = Path(folder) / SPLIT_FILE
    return read_split(file, items) if file.is_file() else None


def split_in(folder: Path | str, items: Iterable[Item], *, valid_frac: float = 0.25, seed: int = 0) -> Split:
    """The split that a folder says: of its split.json, else of its folders train and valid; else a stratified one."""
    items = list(items)
    if saved := saved_split(folder, items):
        return saved
    return (split_by_folder if has_parts(items) else split_stratified)(items, valid_frac=valid_frac, seed=seed)
