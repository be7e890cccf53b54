"""`python -m data_setup split PATH --by stratified|group|time`."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from data_setup.base.folders import explained
from data_setup.base.text import counted, printable
from data_setup.items import Item
from data_setup.own.by_time import day_taken, split_by_time
from data_setup.own.group_names import group_of_pictures
from data_setup.own.labels import labelled
from data_setup.own.split_file import SPLIT_FILE, write_split
from data_setup.splits import PARTS, Split, split_by_group, split_stratified


def main(argv: list[str]) -> int:
    """0, or 1 after printing what went wrong and what to type."""
    parser = argparse.ArgumentParser(prog="python -m data_setup split")
    parser.description = "Decide which pictures of a folder train, validate and test, and write that to a file."
    parser.add_argument("path", type=Path, help="the folder")
    ways = "at random, with the same share of every class; whole groups; the latest days"
    parser.add_argument("--by", choices=("stratified", "group", "time"), default="stratified", help=ways)
    parser.add_argument(
        "--group",
        help="with --by group: a regular expression, whose group 1 in each picture's path "
        "is its group, or a column of the table of labels or of a table in the folder",
    )
    parser.add_argument("--labels", help="a table, or a regular expression for names (default: folders)")
    parser.add_argument("--valid", type=float, default=0.25, help="share of the pictures to validate on (0.25)")
    parser.add_argument("--test", type=float, default=0.0, help="share to keep for the very end (0)")
    parser.add_argument("--seed", type=int, default=0, help="of the random draw (0)")
    parser.add_argument("--out", type=Path, help=f"the file (default: {SPLIT_FILE} in the folder, where it is read)")
    options = parser.parse_args(argv)
    try:
        items = labelled(options.path, options.labels)
        way = way_of(options, items)
        split = divide(items, way, valid_frac=options.valid, test_frac=options.test)
        file = options.out or options.path / SPLIT_FILE
        with explained(file.parent, elsewhere="name another file with --out"):
            write_split(split, file, how=how_in_words(options))
        print(printable_table(items, split))
        where = "ImageData.from_folders and helpers.recipe read it from there"
        if options.out and options.out.absolute() != (options.path / SPLIT_FILE).absolute():
            where = f"it is read only where it is called {options.path / SPLIT_FILE}"
        print(f"split written to {file}; {where}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def way_of(options: argparse.Namespace, items: tuple[Item, ...]) -> Callable[..., Split]:
    """A function (items, valid_frac=) of the options."""
    if (options.by == "group") != (options.group is not None):
        raise ValueError("--by group takes --group PATTERN or --group COLUMN, and the others do not")
    if options.by == "time":
        return partial(split_by_time, day_of=lambda item: day_taken(item.path))
    if options.by == "stratified":
        return partial(split_stratified, seed=options.seed)
    return partial(split_by_group, group_of=grouping(options, items), seed=options.seed)


def grouping(options: argparse.Namespace, items: tuple[Item, ...]) -> Callable[[Item], str]:
    """The group of one of the items. Raises ValueError for one that has none."""
    names = [item.name for item in items]
    how = group_of_pictures(options.group, names, folder=options.path, labels=options.labels)

    def group_of(item: Item) -> str:
        group = how(item.name)
        if group is None:
            found = f"{options.group!r} gives no group for {item.name}"
            raise ValueError(f"{found}: change the pattern or the table, or move the picture out")
        return group

    return group_of


def divide(items: tuple[Item, ...], way: Callable[..., Split], *, valid_frac: float, test_frac: float) -> Split:
    """The test part is taken first, in the same way as validation from what is left; both are shares of all."""
    if not 0 <= test_frac < 1 or not 0 < valid_frac < 1 - test_frac:
        found = f"--valid {valid_frac} and --test {test_frac}"
        raise ValueError(f"{found} leave nothing to train on: shares between 0 and 1, together below 1")
    if not test_frac:
        return way(items, valid_frac=valid_frac)
    first = way(items, valid_frac=test_frac)
    rest = set(first.train)
    inner = way([item for item in items if item.name in rest], valid_frac=valid_frac / (1 - test_frac))
    return Split(inner.train, inner.valid, first.valid + first.test)


def how_in_words(options: argparse.Namespace) -> str:
    """ "split by group '(p\\d+)', 25 % to validate, seed 0"."""
    words = {"stratified": "stratified", "group": f"by group {options.group!r}", "time": "by time, whole days"}
    shares = f"{100 * options.valid:g} % to validate" + f", {100 * options.test:g} % to test" * (options.test > 0)
    return f"split {words[options.by]}, {shares}" + f", seed {options.seed}" * (options.by != "time")


def printable_table(items: tuple[Item, ...], split: Split) -> str:
    """Pictures of every class in each part, a line a class; the 20 largest."""
    label_of = {item.name: item.label for item in items}
    counts = {part: Counter(label_of[name] for name in getattr(split, part)) for part in PARTS}
    classes = sum(counts.values(), Counter()).most_common(20)
    lines = [f"{part}: {counted(counts[part].total(), 'picture')}" for part in PARTS if counts[part]]
    for label, _ in classes:
        shares = ", ".join(f"{counts[part][label]:,} {part}" for part in PARTS if counts[part])
        lines.append(f"    {printable(label or 'not labelled')}: {shares}")
    return "\n".join(lines)
