"""Everything before a tensor: data sets and weights on disk, verified; pictures, their labels and their split.

    python -m data_setup            the solar set and the packaged weights (no network)
    python -m data_setup pets       one data set of the catalogue
    python -m data_setup list       the catalogue
    python -m data_setup check PATH what is wrong with a folder of your own, with --quarantine and restore

It imports nothing of `helpers`, and neither torch nor Pillow to find, label and split pictures.

| file | what it holds |
|---|---|
| items.py | the pictures below a folder, and their labels: from folders, from names, from a table |
| splits.py | which pictures train, validate and test: the only random split |
| sets.py | a record for each data set: pictures, licence, source, citation, check |
| solar.py | the embedded set: split and layout, what the expert's ratings mean |
| downloads.py | download, check, safe unpacking |
| lite.py | the networks these weights are for |
| weights.py | the packaged ImageNet weights, under timm's names, and the 1,000 class names |
| check/ | a folder of one's own, before a model learns from it: what is wrong there, and what to do |
| base/ | what all of this, and `helpers`, stand on: words, arguments, files, folders, a picture's file read |

COURSE_DATA moves the data folder; COURSE_MIRROR is a base address to download archives from instead.
"""

from pathlib import Path

from data_setup import solar
from data_setup.base import folders
from data_setup.base.folders import home
from data_setup.sets import catalogue, find
from data_setup.weights import imagenet_labels, weights_path

__all__ = ["catalogue", "home", "imagenet_labels", "prepare", "problems", "weights_path"]


def prepare(name: str = "solar", *, verify: bool = False) -> Path:
    """Folder of the data set `name`, built or downloaded when it is not there, repaired when it is damaged.

    A set that is there is checked by names and sizes; `verify=True` hashes every byte. Raises ValueError
    (unknown name), FileNotFoundError (package missing), PermissionError, OSError (disk full) and RuntimeError
    (no network, wrong bytes); every message says what to type.
    """
    record = find(name)

    def build(staging: Path) -> dict:
        if record.archives:
            from data_setup import downloads  # pooch and requests load only when they are needed

            facts = downloads.build(staging, record)
        else:
            facts = solar.build(staging)
        known = {key: getattr(record, key) for key in ("name", "title", "source", "licence", "citation")}
        return known | facts

    folders.ensure(
        home() / record.name,
        build,
        tree=record.tree,
        verify=verify,
        remedy=f": pip install --force-reinstall {solar.PACKAGE}",
        need=record.bytes * (2 if record.archives else 1),  # the archive and what comes out of it
    )
    return home() / record.name


def problems(name: str = "solar", *, every_byte: bool = False) -> list[str]:
    """What is wrong with the data set on disk, one phrase each; empty when it is ready. Changes nothing."""
    record = find(name)
    return folders.problems(home() / record.name, tree=record.tree, every_byte=every_byte)
