"""What is in the shards of a folder, as JSON beside them, so that nobody needs to open them to know.

index.json is about all, and small. Beside each shard, 000000.tar, stands 000000.json with a row for each picture.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

from data_setup.base.files import read_json, write_atomically

INDEX = "index.json"
KIND = "image-classification-course shards"


@dataclass(frozen=True)
class Shard:
    """One archive."""

    file: str
    bytes: int
    sha256: str
    pictures: int
    counts: dict[str, int]  # pictures of each class; "" are those without a label


@dataclass(frozen=True)
class Index:
    """All shards of a folder. Row 0 is the first picture of the first shard, and so on through all of them."""

    folder: Path
    classes: tuple[str, ...]
    shards: tuple[Shard, ...]

    @property
    def pictures(self) -> int:
        return sum(shard.pictures for shard in self.shards)

    @property
    def counts(self) -> dict[str, int]:
        """Pictures of each class in all shards."""
        return dict(sorted(sum((Counter(shard.counts) for shard in self.shards), Counter()).items()))

    def place_of(self, row: int) -> tuple[int, int]:
        """(number of the shard, row in it) of a picture. Raises IndexError for a row that is not there."""
        left = row
        for number, shard in enumerate(self.shards):
            if 0 <= left < shard.pictures:
                return number, left
            left -= shard.pictures
        raise IndexError(f"there are {self.pictures:,} pictures, rows 0 to {self.pictures - 1:,}; got row {row}")

    def contents(self, number: int) -> "Contents":
        """The rows of shard `number`."""
        file = self.folder / self.shards[number].file
        return _contents(file.with_suffix(".json"), self.shards[number].sha256)


@dataclass(frozen=True)
class Contents:
    """The pictures of one shard: row i of every column is about its i-th picture."""

    names: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # the picture's first byte in the archive
    sizes: list[int] = field(default_factory=list)  # in bytes


def read_index(folder: Path | str) -> Index:
    """The index of the shards in `folder`. Raises ValueError, with what to type, when there is none."""
    folder = Path(folder)
    known = read_json(folder / INDEX)
    if known.get("kind") != KIND:
        found = f"{folder.absolute()} has no {INDEX} of finished shards"
        raise ValueError(f"{found}: python -m data_setup shard PATH --out {folder}")
    try:
        index = Index(folder, tuple(known["classes"]), tuple(Shard(**shard) for shard in known["shards"]))
        foreign = [shard.file for shard in index.shards if Path(shard.file).name != shard.file]
    except (KeyError, TypeError) as error:
        foreign = [f"{type(error).__name__} {error}"]
    if foreign:
        raise ValueError(f"{folder / INDEX} is damaged ({foreign[0]}): shard the folder again")
    return index


def write_index(index: Index) -> None:
    """Write it to its folder, atomically; last of all, so that who finds it finds every shard."""
    about = {"kind": KIND, "pictures": index.pictures, "counts": index.counts, "classes": index.classes}
    _write(index.folder / INDEX, about | {"shards": [asdict(shard) for shard in index.shards]})


def write_contents(tar: Path, shard: Shard, contents: Contents, plan: str) -> None:
    """Write what is in a shard beside it; `plan` says what was to be written there."""
    _write(tar.with_suffix(".json"), {"plan": plan, "shard": asdict(shard), **asdict(contents)})


def finished(tar: Path, plan: str) -> Shard | None:
    """The shard of an earlier run, if it is there whole and this very plan made it."""
    known = read_json(tar.with_suffix(".json"))
    if known.get("plan") != plan or not tar.is_file():
        return None
    shard = Shard(**known["shard"])
    return shard if tar.stat().st_size == shard.bytes else None


@lru_cache(maxsize=4)  # neighbours of a row are in the same shard
def _contents(file: Path, sha256: str) -> Contents:
    known = read_json(file)
    if known.get("shard", {}).get("sha256") != sha256:
        raise ValueError(f"{file} is not about its shard: shard the folder again")
    return Contents(**{name: known[name] for name in Contents.__dataclass_fields__})


def _write(file: Path, about: dict) -> None:
    with write_atomically(file) as temporary:
        temporary.write_text(json.dumps(about) + "\n", encoding="utf-8")
