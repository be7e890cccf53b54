"""Everything before a tensor: data sets and weights on disk, verified; pictures, their labels and their split.

    python -m data_setup            the solar set and the packaged weights (no network)
    python -m data_setup pets       one data set of the catalogue
    python -m data_setup pets --limit 400    a small stratified copy of it, `pets-400`
    python -m data_setup --list     the catalogue, and what of it is here
    python -m data_setup check PATH what is wrong with a folder of your own, with --quarantine and restore
    python -m data_setup split PATH which of its pictures train, validate and test
    python -m data_setup shard PATH its pictures in tar archives, for sets of millions

It imports nothing of `helpers`, and neither torch nor Pillow to find, label and split pictures;
only a split by time reads EXIF data with Pillow.

| file | what it holds |
|---|---|
| items.py | the pictures below a folder, and their labels: from folders, from names |
| splits.py | which pictures train, validate and test: the only random split |
| sets.py | the catalogue: a record for each data set |
| solar.py | the embedded set: split and layout, what the expert's ratings mean |
| downloads/ | the sets that are downloaded: records, download, check, safe unpacking, layout |
| small_copies.py | a few pictures of every part and class |
| weights.py | the packaged ImageNet weights, under timm's names, and the 1,000 class names |
| lite | the networks these weights are for |
| backbones/ | networks of torchvision and timm by name: weights on disk or downloaded, what there is to choose from |
| check/ | a folder of one's own, before a model learns from it: what is wrong there, and what to do |
| own/ | a folder of one's own as it comes: labels in any table or text files, a split by class, group or time |
| shards/ | pictures in tar archives (WebDataset): written, indexed, read by many processes |
| base/ | what all of this, and `helpers`, stand on: words, arguments, bars, files, folders, pictures read, HTML |

COURSE_DATA moves the data folder; COURSE_MIRROR is a base address to download archives from instead.
"""

import re
from pathlib import Path

from data_setup import small_copies, solar
from data_setup.base import folders
from data_setup.base.folders import home
from data_setup.downloads import kept as downloads
from data_setup.downloads.records import DataSet
from data_setup.sets import catalogue, find
from data_setup.weights import imagenet_labels, weights_path

__all__ = ["catalogue", "home", "imagenet_labels", "prepare", "problems", "weights_path"]


def prepare(name: str = "solar", *, limit: int | None = None, verify: bool = False) -> Path:
    """Folder of the data set `name`, built or downloaded when it is not there, repaired when it is damaged.

    With `limit` it is the folder `NAME-LIMIT` (which `name` may say as well, "pets-400"): that many pictures, every
    part and class with its share, always the same ones. A set that is there is checked by names and sizes;
    `verify=True` hashes every byte. Raises ValueError (unknown name or impossible limit), FileNotFoundError (package
    missing), PermissionError, OSError (disk full) and RuntimeError (no network, wrong bytes); every message says what
    to type. A download that was stopped goes on where it stopped.
    """
    record, limit = _record_and_limit(name, limit)
    if limit is not None:
        return _prepare_small_copy(record, limit, verify=verify)
    here = downloads.folder_of(record.name)

    def build(staging: Path) -> dict:
        if not record.packings:
            return _known(record) | solar.build(staging)
        from data_setup.downloads.build import build as download  # requests loads only when it is needed

        return _known(record) | download(staging, record, here)

    folders.ensure(
        home() / record.name,
        build,
        tree=record.tree,
        verify=verify,
        remedy=f": pip install --force-reinstall {solar.PACKAGE}",
        need=record.space - downloads.size(here),
    )
    downloads.discard(here, home() / record.name)
    return home() / record.name


def _prepare_small_copy(record: DataSet, limit: int, *, verify: bool) -> Path:
    if not 0 < limit < record.pictures:
        raise ValueError(f"a copy of {limit:,} of the {record.pictures:,} pictures of {record.name} cannot be taken")
    folder = home() / f"{record.name}-{limit}"
    folders.ensure(folder, lambda staging: small_copies.build(staging, prepare(record.name), limit), verify=verify)
    return folder


def _record_and_limit(name: str, limit: int | None) -> tuple[DataSet, int | None]:
    """The record, and the limit that a name like "pets-400" says."""
    matched = re.fullmatch(r"(.+)-(\d+)", str(name))
    if limit is None and matched and any(record.name == matched[1] for record in catalogue()):
        name, limit = matched[1], int(matched[2])
    return find(name), limit


def _known(record: DataSet) -> dict:
    return {key: getattr(record, key) for key in ("name", "title", "source", "licence", "citation")}


def problems(name: str = "solar", *, every_byte: bool = False) -> list[str]:
    """What is wrong with the data set on disk, one phrase each; empty when it is ready. Changes nothing."""
    record, limit = _record_and_limit(name, None)
    folder = home() / (record.name if limit is None else f"{record.name}-{limit}")
    return folders.problems(folder, tree=None if limit else record.tree, every_byte=every_byte)
