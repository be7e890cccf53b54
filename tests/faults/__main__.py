"""`python -m tests.faults`: run the cases and print the ledger; `--long NAME`: a long dose."""

import argparse
import os
import sys

import pytest

from tests.faults.ledger import Ledger, read_rows


def run_cases(pytest_args: list[str]) -> int:
    """Run the cases here and those that the ledger refers to; 0 when every row is right or clear."""
    ledger = Ledger(read_rows())
    elsewhere = sorted({test for row in ledger.rows for test in (*row.right, *row.clear)})
    status = pytest.main(["-q", "tests/faults", *elsewhere, *pytest_args], plugins=[ledger])
    return int(status) or int(bool(ledger.problems()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--long", metavar="NAME", help="which dose; an unknown name lists them")
    parser.add_argument("--times", type=int, help="how often, where the full number takes too long")
    parser.add_argument("--names", nargs="+", metavar="NN", help="which lessons, for the dose of notebooks")
    parser.add_argument("--missing", action="store_true", help="of the lessons only what was never tried")
    known, others = parser.parse_known_args()
    if known.long is None:
        return run_cases(others)
    from tests.faults.long import give

    return give(known.long, known.times, known.names, known.missing)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
