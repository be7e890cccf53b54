"""Copies of one file on both sides of a split."""

from collections.abc import Iterable

from helpers.data.items import Item, content_hash
from helpers.data.splits import Split


def content_hashes(items: Iterable[Item]) -> dict[str, str]:
    """sha256 of each file's bytes, by item name."""
    return {item.name: content_hash(item.path) for item in items}


def find_leaks(items: Iterable[Item], split: Split) -> list[tuple[str, str]]:
    """Pairs (training picture, held-out picture) whose files are byte for byte the same."""
    hashes = content_hashes(items)
    training = {hashes[name]: name for name in reversed(split.train) if name in hashes}  # the first by name stays
    held_out = sorted(split.valid + split.test)
    return [(training[hashes[name]], name) for name in held_out if hashes.get(name) in training]
