"""The bench from the command line; `make bench` runs it in an environment with the peers.

python -m tests.benchmarks                       rows with a target: two hours on two cores; goes on where it was
python -m tests.benchmarks --quick               fewer pictures: under ten minutes
python -m tests.benchmarks --check FILE          the quick rows; exit 1 when a ratio fell below the stored one of this
                                                 kind of machine; a kind that is not in FILE is added to it
python -m tests.benchmarks --gpu                 training steps and epochs on a CUDA device, after a look at what waits
python -m tests.benchmarks floors | growth       how near to the machine's limits | against number and size
"""

import argparse
import itertools
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

import data_setup
from helpers.runtime import precision
from helpers.runtime.device import pick_device
from tests.benchmarks import check, gpu, table
from tests.benchmarks.bench import Bench, machine, say
from tests.benchmarks.processes import ENVIRONMENT
from tests.benchmarks.rows import EXTRA, FORCED, FULL, GPU, IN_FLOAT32, QUICK, Row
from tests.benchmarks.work import Work

R8_ACCURACY = 0.80


def main() -> int:
    asked = arguments()
    if asked.check and not asked.check.is_file():
        sys.exit(f"there is no {asked.check} to compare with; make it: make bench QUICK=1 ARGS='--store {asked.check}'")
    os.environ.update(ENVIRONMENT)
    quick = asked.quick or asked.check is not None
    name = ("gpu-" if asked.gpu else "") + ("quick" if quick else "full")
    folder = Path(asked.out or data_setup.home() / "bench" / name)
    if asked.what == "floors":
        from tests.benchmarks import floors

        return floors.main(folder)
    if asked.what == "growth":
        from tests.benchmarks import growth

        return growth.main(folder, counts=asked.counts)
    if asked.fresh or asked.check:
        for file in folder.glob("*.json"):
            file.unlink()
    base = Work(data=asked.data, pattern=asked.pattern, limit=asked.limit)
    if asked.gpu:
        if not torch.cuda.is_available():
            sys.exit("--gpu needs a CUDA device, and there is none: leave it out")
        say(gpu.proof(base))
    for kind, work in itertools.product(precision.KINDS, precision.WORK):  # before the rows, as the peers' settings
        precision.fast_precision(pick_device(), kind, work)
    records = Bench(folder, base, quick=quick).run(chosen(GPU if asked.gpu else QUICK if quick else FULL, asked))
    report(folder, records)
    status = compare(asked.check, records) if asked.check else 0  # first: both may name one file
    if asked.store:
        check.add(asked.store, machine(), check.stored(records))
    return status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="?", default="rows", choices=["rows", "floors", "growth"])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller pictures, fewer rows")
    parser.add_argument("--gpu", action="store_true", help="the rows of a CUDA device; --quick: peers are not tuned")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare the quick rows with stored ratios")
    parser.add_argument("--store", type=Path, metavar="FILE", help="write this machine's ratios for a later --check")
    parser.add_argument("--data", default="solar", help="a prepared data set (default: solar)")
    parser.add_argument("--pattern", default="", help="label = group 1 of this expression on the file's name")
    parser.add_argument("--limit", type=int, default=0, help="at most so many pictures")
    parser.add_argument("--rows", nargs="*", metavar="KEY", help="only these rows, e.g. R4 R5")
    parser.add_argument("--rounds", type=int, help="rounds of every row")
    parser.add_argument("--out", help="folder of the records (default: data/bench/full or quick)")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is on disk already")
    parser.add_argument("--counts", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="of growth")
    return parser.parse_args()


def chosen(rows: tuple[Row, ...], asked: argparse.Namespace) -> list[Row]:
    """The rows that were asked for; none named: all of `rows`. By name there are more."""
    known = [*rows, *EXTRA] if rows is FULL else rows
    if unknown := set(asked.rows or ()) - {row.key for row in known}:
        sys.exit(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(row.key for row in known)}")
    picked = [row for row in known if row.key in asked.rows] if asked.rows else rows
    if not precision.has_bfloat16(pick_device()):  # emulated it takes a hundred times as long, and all are in float32
        picked = [replace(row, contenders=tuple(without_a_choice(row.contenders))) for row in picked]
    return [replace(row, rounds=asked.rounds) if asked.rounds else row for row in picked]


def without_a_choice(contenders: tuple[str, ...]) -> list[str]:
    """The contenders less those that are forced to one of two precisions."""
    return [name for name in contenders if name not in (*FORCED, IN_FLOAT32)]


def report(folder: Path, records: list[dict]) -> None:
    """Print the table and write it beside the records."""
    lines = table.lines(records)
    text = table.markdown(lines, machine())
    if forced := table.forced_markdown(records):
        text += "\n\nEach precision forced on us, beside the same peers:\n\n" + forced
    for record in records:
        if record["task"] == "fine_tune":
            text += "\n\n" + table.r8_markdown(record, R8_ACCURACY)
        for name, why in record["failed"].items():
            text += f"\n\n{record['key']}: {name} failed: {why.strip().splitlines()[-1]}"
    (folder / "table.md").write_text(text + "\n")
    (folder / "table.json").write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    say(f"\n{text}\n\nwritten to {folder / 'table.md'} and table.json")


def compare(file: Path, records: list[dict]) -> int:
    before, now = check.load(file, machine()), check.stored(records)
    if not before.keys() & now.keys():
        check.add(file, machine(), now)
        say(f"{file} has no ratios of {check.kind(machine())} yet: these are added, and nothing is compared")
        return 0
    found = check.regressions({row: before[row] for row in before.keys() & now.keys()}, now)
    say("\n".join(["slower than stored:", *found]) if found else "no ratio fell below what is stored")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
