"""What is known of a data set before it is here: plain records, read without a network or torchvision."""

from collections.abc import Mapping
from dataclasses import dataclass, field

BLOCK = 4096  # a small file takes a whole block of the disk


@dataclass(frozen=True)
class Archive:
    """One published file; its mirrors have the same bytes.

    `check` is "sha256:HEX" or "md5:HEX" of the file, or "first-mib-md5:HEX" where no more than that was published.
    """

    urls: tuple[str, ...]  # tried in order
    bytes: int
    check: str
    strip: int = 0  # leading folders to drop from the names inside
    into: str = ""  # folder that it is unpacked into

    @property
    def filename(self) -> str:
        return self.urls[0].rpartition("/")[2]


@dataclass(frozen=True)
class Part:
    """One part of a data set as published: where its pictures are said to be, and how many there must be."""

    folder: str  # "train", "valid", "test"; "" where no split was published
    source: str = ""  # a folder of the archive, or a list of names in it
    arguments: Mapping = field(default_factory=dict)  # for torchvision's class
    pictures: int | None = None  # None: the part may be missing
    per_class: int | tuple[int, ...] | None = None  # the same for every class, or in the order of the classes


@dataclass(frozen=True)
class DataSet:
    """`layout` says how the pictures are found in what was unpacked (see arrange.py)."""

    name: str
    title: str
    pictures: int  # in the finished folder
    bytes: int  # to download; of the finished folder where nothing is downloaded
    licence: str
    source: str
    citation: str
    check: str  # in words, or "tree-sha256:HEX" (see base/folders.tree_digest)
    packings: tuple[tuple[Archive, ...], ...] = ()  # each alone makes the set; none: built from an installed package
    layout: str = "as unpacked"  # or "folders", "name lists", "torchvision CLASS"
    parts: tuple[Part, ...] = ()
    unpacked: int | None = None  # bytes that come out, where that is more than the archives have

    @property
    def tree(self) -> str | None:
        """The digest that the finished folder must have, where one is known."""
        kind, _, digest = self.check.partition(":")
        return digest if kind == "tree-sha256" else None

    @property
    def space(self) -> int:
        """Bytes of disk that making the set takes: the archives, what comes out of them, and half-filled blocks."""
        if not self.packings:
            return self.bytes
        return self.bytes + (self.unpacked or self.bytes) + self.pictures * BLOCK
