"""Copies of one file on both sides of a split."""

import json

from data_setup.items import Item
from data_setup.splits import Split
from helpers.lessons.messy import find_leaks


def test_copies_across_the_split_are_found(tmp_path):
    """Catches copies under another name, and false alarms inside one part."""
    contents = {"t1": b"x", "t2": b"y", "t3": b"y", "v1": b"y", "v2": b"z", "s1": b"x", "left out": b"x"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    items = [Item(name, tmp_path / name, "a") for name in contents]
    split = Split(("t1", "t2", "t3"), ("v1", "v2"), ("s1",))
    assert find_leaks(items, split) == [("t1", "s1"), ("t2", "v1")]
    assert find_leaks(items, Split(("t2", "t3", "v1"), ("v2",))) == []
    json.dumps(find_leaks(items, split))  # plain names, to be stored
