"""Shards read: all pictures of one in a row, by the library `webdataset`, or a few from anywhere by their place."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_setup.base.files import sha256, write_atomically
from data_setup.items import Item
from data_setup.shards.record import Index


@dataclass(frozen=True)
class Sample:
    """One picture of a shard."""

    name: str
    label: str | None
    weight: float
    content: bytes  # of its file


def stream(index: Index, number: int) -> Iterator[Sample]:
    """The pictures of shard `number`, in its order, none of them unpacked.

    Raises ModuleNotFoundError without webdataset, and ValueError when the shard is not what was written.
    """
    try:
        from webdataset.tariterators import group_by_keys, tar_file_expander
    except ModuleNotFoundError:
        raise ModuleNotFoundError("shards are read by webdataset: python -m pip install webdataset") from None
    shard = index.shards[number]
    path = (index.folder / shard.file).absolute()
    if not path.is_file() or sha256(path) != shard.sha256:
        again = f"delete it and type python -m data_setup shard PATH --out {index.folder}"
        raise ValueError(f"{path} is missing or damaged: {again}")
    with path.open("rb") as file:  # by webdataset's own opener it would stay open
        for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": file}])):
            (picture,) = (value for key, value in sample.items() if key != "json" and not key.startswith("__"))
            yield Sample(**json.loads(sample["json"]), content=picture)


def pictures(index: Index, rows: Iterable[int], into: Path) -> tuple[Item, ...]:
    """The pictures of a few rows as files below `into`, to be looked at: an item each, in the order of `rows`.

    Only these are read, by their place in the archive; those that are there already are not read again.
    """
    items = []
    for row in rows:
        number, place = index.place_of(row)
        contents = index.contents(number)
        name, size = contents.names[place], contents.sizes[place]
        path = into / name
        if not path.resolve().is_relative_to(into.resolve()):
            raise ValueError(f"{index.folder} names a picture {name!r}, which leads out of {into}: nothing was written")
        if not path.is_file() or path.stat().st_size != size:
            with (index.folder / index.shards[number].file).open("rb") as archive, write_atomically(path) as temporary:
                archive.seek(contents.starts[place])
                temporary.write_bytes(archive.read(size))
        items.append(Item(name, path, contents.labels[place], contents.weights[place]))
    return tuple(items)
