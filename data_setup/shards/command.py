"""`python -m data_setup shard PATH`."""

import argparse
import sys
from pathlib import Path

from data_setup.base.folders import explained
from data_setup.base.text import counted, printable
from data_setup.own.labels import labelled
from data_setup.own.split_file import SPLIT_FILE, saved_split, write_split
from data_setup.shards.record import Index
from data_setup.shards.writing import MEGABYTES, write_shards


def main(argv: list[str]) -> int:
    """0, or 1 after printing what went wrong and what to type."""
    parser = argparse.ArgumentParser(prog="python -m data_setup shard")
    parser.description = "Write a folder's pictures and labels to tar archives (WebDataset) with an index beside them."
    parser.add_argument("path", type=Path, help="the folder")
    parser.add_argument("--out", type=Path, help="where to (default: PATH-shards)")
    parser.add_argument("--labels", help="a table, or a regular expression for names (default: folders)")
    parser.add_argument("--megabytes", type=float, default=MEGABYTES, help=f"size of a shard ({MEGABYTES})")
    options = parser.parse_args(argv)
    try:
        folder = options.path.absolute()
        out = (options.out or folder.with_name(f"{folder.name}-shards")).absolute()
        if out.is_relative_to(folder):
            raise ValueError(f"{out} lies in the folder itself, which would then hold them too: choose another --out")
        if not options.megabytes > 0:
            raise ValueError(f"--megabytes is the size of a shard, above 0; got {options.megabytes:g}")
        items = labelled(options.path, options.labels)
        split = saved_split(folder, items)
        index = write_shards(items, out, megabytes=options.megabytes)
        with explained(out, elsewhere="name another folder with --out"):
            if split:
                write_split(split, out / SPLIT_FILE, how=f"as in {SPLIT_FILE} of {folder.name}")
            else:
                (out / SPLIT_FILE).unlink(missing_ok=True)  # of an earlier set
        print(report(index))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def report(index: Index) -> str:
    """Where they are, how many and how large; the 20 largest classes."""
    total = sum(shard.bytes for shard in index.shards)
    size = f"{total / 1e6:,.1f} MB" if total < 1e9 else f"{total / 1e9:,.1f} GB"
    first = f"{counted(index.pictures, 'picture')} in {counted(len(index.shards), 'shard')}, {size}: {index.folder}"
    largest = sorted(index.counts.items(), key=lambda pair: -pair[1])[:20]
    return "\n".join([first, *(f"    {printable(label or 'not labelled')}: {count:,}" for label, count in largest)])
