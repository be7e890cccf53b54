"""Shards written: a plan that the same folder always gives, then one whole archive after the other.

Killed in between, the same command writes only what is missing.
"""

import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from data_setup.base.files import read_json, write_atomically
from data_setup.base.files import sha256 as sha256_of
from data_setup.base.folders import explained, locked
from data_setup.base.progress import progress
from data_setup.items import Item, class_names
from data_setup.own.split_file import SPLIT_FILE
from data_setup.shards.record import INDEX, KIND, Contents, Index, Shard, finished, write_contents, write_index

BLOCK = 512  # bytes in which a tar archive counts
MEGABYTES = 256  # of a shard
OURS = re.compile(r"\d{6}\.(tar|json)")  # an archive, and what is in it


def write_shards(items: Iterable[Item], out: Path, *, megabytes: float = MEGABYTES) -> Index:
    """Write the pictures of `items` to shards in `out`, of about that size; returns their index.

    Every shard has pictures from anywhere in the set: the order follows the sha256 of the names. Each is written
    atomically, and one that an earlier run has finished stays, unless a picture or a label of it has changed since.
    Raises OSError when the disk is full, with what to do, and ValueError when `out` holds something else.
    """
    held = sorted(entry.name for entry in out.iterdir() if not entry.name.startswith(".")) if out.is_dir() else []
    foreign = [name for name in held if not OURS.fullmatch(name)]
    was_cut_off = foreign == [SPLIT_FILE] and len(held) > 1  # the index goes first
    if foreign and not was_cut_off and read_json(out / INDEX).get("kind") != KIND:
        raise ValueError(f"{out} holds other files, e.g. {foreign[0]}: choose another folder")
    items = sorted(items, key=lambda item: sha256(item.name.encode()).digest())
    sizes = [item.path.stat().st_size for item in items]
    plans = portions(items, sizes, most_bytes=int(megabytes * 1e6))
    with explained(out, sum(sizes), elsewhere="choose another folder"), locked(out):
        out.mkdir(parents=True, exist_ok=True)
        shards = [
            write_shard(out / f"{number:06}.tar", some)
            for number, some in enumerate(progress(plans, "shards", total=len(plans)))
        ]
        index = Index(out, tuple(class_names(items)), tuple(shards))
        write_index(index)
        for stale in out.iterdir():  # of an earlier set, which had more
            if OURS.fullmatch(stale.name) and int(stale.name[:6]) >= len(shards):
                stale.unlink()
    return index


def portions(items: Sequence[Item], sizes: Sequence[int], *, most_bytes: int) -> list[list[Item]]:
    """The items in their order, in lists of at most `most_bytes`; a larger picture has a list of its own."""
    found, room = [], 0
    for item, size in zip(items, sizes, strict=True):
        needed = size + 4 * BLOCK  # two headers, the description and what fills the last block
        if needed > room:
            found.append([])
            room = most_bytes
        found[-1].append(item)
        room -= needed
    return found


def write_shard(tar: Path, items: Sequence[Item]) -> Shard:
    """One archive: of each picture KEY.json (name, label, weight), then its file as it is, KEY.jpg or the like."""
    plan = plan_of(items)
    if kept := finished(tar, plan):
        return kept
    (tar.parent / INDEX).unlink(missing_ok=True)  # it would be about other shards
    contents = Contents()
    with write_atomically(tar) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
            for row, item in enumerate(items):
                key, suffix = f"{tar.stem}{row:06}", item.path.suffix.lower() or ".picture"
                about = {"name": item.name, "label": item.label, "weight": item.weight}
                _add(archive, f"{key}.json", json.dumps(about).encode())
                picture = item.path.read_bytes()
                for column, value in zip(
                    vars(contents).values(),
                    (item.name, item.label, item.weight, archive.offset + BLOCK, len(picture)),
                    strict=True,
                ):
                    column.append(value)
                _add(archive, key + suffix, picture)
        counts = dict(sorted(Counter(item.label or "" for item in items).items()))
        shard = Shard(tar.name, temporary.stat().st_size, sha256_of(temporary), len(items), counts)
    write_contents(tar, shard, contents, plan)
    return shard


def plan_of(items: Sequence[Item]) -> str:
    """sha256 over what decides a shard's bytes: names, labels, weights, and the files' sizes and times."""
    digest = sha256()
    for item in items:
        stat = item.path.stat()
        digest.update(repr((item.name, item.label, item.weight, stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner, no time: the same pictures make the same bytes
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
