"""A small copy of a data set, for a slow machine or a short lesson: every part and class keeps its share."""

import csv
import shutil
from collections import Counter
from pathlib import Path

from data_setup.base.folders import PICTURES, read_manifest
from data_setup.splits import ranked

OF_THE_WHOLE = {"files", "archives", "split", "counts", "note", "left_out"}  # facts that a copy does not share


def build(staging: Path, whole: Path, limit: int) -> dict:
    """Copy `limit` pictures of the finished set `whole` into the empty folder `staging`; facts for the manifest.

    Other files (tables, lists, seals) come along; a CSV table with a column `name` keeps the rows of these pictures.
    """
    manifest = read_manifest(whole)
    pictures = [name for name in manifest["files"] if name.lower().endswith(PICTURES)]
    chosen = choose(pictures, limit)
    for name in [*chosen, *(name for name in manifest["files"] if name not in set(pictures))]:
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".csv"):
            _copy_table(whole / name, staging / name, set(chosen))
        else:
            shutil.copyfile(whole / name, staging / name)
    facts = {key: value for key, value in manifest.items() if key not in OF_THE_WHOLE}
    parts = Counter(name.split("/")[0] if name.count("/") > 1 else "all" for name in chosen)
    return {**facts, "limit": limit, "of": len(pictures), "split": dict(parts)}


def choose(names: list[str], limit: int) -> list[str]:
    """`limit` of the names (PART/CLASS/PICTURE), sorted: at least one of every folder, the others in proportion.

    Which ones depends on the names and `limit` alone. Raises ValueError when there are more folders than that, or not
    more pictures.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    if not len(folders) <= limit < len(names):
        raise ValueError(
            f"a copy of {limit:,} pictures cannot be taken: there are {len(names):,} in {len(folders)} folders, and "
            f"each keeps one at least; type --limit with a number from {len(folders)} to {len(names) - 1:,}"
        )
    rest, spare = limit - len(folders), len(names) - len(folders)
    exact = {folder: (len(members) - 1) * rest / spare for folder, members in folders.items()}
    taken = {folder: int(share) for folder, share in exact.items()}
    by_remainder = sorted(exact, key=lambda folder: (taken[folder] - exact[folder], folder))
    for folder in by_remainder[: rest - sum(taken.values())]:
        taken[folder] += 1
    return sorted(name for folder, members in folders.items() for name in ranked(members, 0)[: taken[folder] + 1])


def _copy_table(source: Path, target: Path, chosen: set[str]) -> None:
    with source.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), list(reader.fieldnames or ())
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if row.get("name", "") in chosen or "name" not in columns)
