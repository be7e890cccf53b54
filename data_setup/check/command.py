"""`python -m data_setup check PATH` and `python -m data_setup restore UNDO`."""

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from sys import intern
from time import perf_counter

from data_setup.base.files import read_json, visible_files
from data_setup.base.folders import SEAL, explained, home, unsealed
from data_setup.base.progress import progress
from data_setup.base.text import counted
from data_setup.check import sets
from data_setup.check.findings import SEVERITIES, Case, Finding, finding, of_files
from data_setup.check.quarantine import quarantine, restore
from data_setup.check.reading import Facts, read
from data_setup.check.report import Report, summary, write
from data_setup.check.workers import Lost, answers
from data_setup.own.group_names import group_of_pictures
from data_setup.own.labels import labelled
from data_setup.own.split_file import SPLIT_FILE, load_split
from data_setup.splits import PARTS

MOVED = ("unreadable", "truncated", "crash", "huge", "broken link")
MOST_PROCESSES = 8  # each may hold a picture of 80 million pixels


def check_folder(folder: Path, *, labels: str | None = None, group: str | None = None) -> Report:
    """Read every visible file below `folder` and say what was found; sealed folders are left out.

    labels     a table, or a regular expression for names, as in `data_setup.own.labels.labelled`; default: folders
    group      a regular expression searched in every picture's name ("train/cat/7_1.jpg"): what its group 1 is must not
               be in two parts; or a column of a table, as in `data_setup.own.group_names.group_of_pictures`

    Raises FileNotFoundError, and ValueError for a pattern that is none, takes too long or matches nothing.
    """
    started = perf_counter()
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder.absolute()}; check the path")
    # first: a pattern that does not work costs no reading
    group_of = grouping(folder, group, labels) if group else no_group
    facts = facts_of(folder)
    pictures = [one for one in facts if one.kind == "picture"]
    names = [one.name for one in pictures]
    place, unclear = placed(folder, names, labels, group_of)
    same = sets.copies(facts)
    found = [
        *of_files(facts),
        *unclear,
        *sets.of_copies(same, place),
        *sets.near_copies(facts, place),
        *sets.of_groups(place),
        *sets.of_classes(place),
        *([] if labels else sets.of_folders(names, place, empty_classes(folder, names))),
    ]
    return Report(
        folder=folder.absolute(),
        formats=Counter(one.format for one in pictures),
        files=len(facts),
        bytes=sum(one.bytes for one in facts),
        parts=Counter(place[name].part for name in names),
        classes=Counter(place[name].label for name in names if place[name].label),
        findings=tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity))),
        offenders=tuple([one.name for one in facts if one.kind in MOVED] + sets.superfluous(same, place)),
        seconds=perf_counter() - started,
    )


def no_group(name: str) -> None:
    """No picture belongs with others."""


def grouping(folder: Path, group: str, labels: str | None) -> Callable[[str], str | None]:
    """The group of every file below `folder`, by its name."""
    names = [path.relative_to(folder).as_posix() for path in visible_files(folder)]
    return group_of_pictures(group, names, folder=folder, labels=labels)


def placed(
    folder: Path, names: list[str], labels: str | None, group_of: Callable[[str], str | None]
) -> tuple[dict[str, sets.Place], list[Finding]]:
    """Part, label and group of every picture, and what is unclear about them: the labels of a table, if one is named
    or all pictures lie in one folder, and the parts of the folder's split file, where there is one."""
    place, found = sets.places(names, group_of), []
    if labels or not any("/" in name for name in names):
        try:
            label_of = {item.name: item.label for item in labelled(folder, labels)}
            place = {name: replace(one, label=label_of.get(name)) for name, one in place.items()}
        except (ValueError, FileNotFoundError) as error:
            fix = "do what the message says"
            found += finding("labels", "serious", "labels cannot be read", fix, [Case((), str(error))])
    if (file := folder / SPLIT_FILE).is_file():
        try:
            split = load_split(file)[0]
            part_of = {name: part for part in PARTS for name in getattr(split, part)}
            place = {name: replace(one, part=part_of.get(name)) for name, one in place.items()}
            gone = [Case((name,), f"in {sets.PARTS[part]}") for name, part in part_of.items() if name not in place]
            title = f"{SPLIT_FILE} names it, but it is not there or cannot be read"
            found += finding("split", "serious", title, "split again: python -m data_setup split PATH", gone)
        except ValueError as error:
            fix = "split again: python -m data_setup split PATH"
            found += finding("split", "serious", "the split cannot be read", fix, [Case((SPLIT_FILE,), str(error))])
    return place, found


def processes() -> int:
    """How many read at the same time."""
    return min(os.cpu_count() or 1, MOST_PROCESSES)


def facts_of(folder: Path) -> list[Facts]:
    """Every visible file below `folder`, read in processes of its own, sorted by name."""
    files = unsealed(folder, list(visible_files(folder)))
    broken = [path for path in files if not path.exists()]
    names = [path.relative_to(folder).as_posix() for path in set(files).difference(broken)]
    facts = [Facts(path.relative_to(folder).as_posix(), "broken link", f"to {path.readlink()}") for path in broken]
    tasks = ((folder, name) for name in sorted(names))
    done = answers(read, tasks, processes=min(processes(), len(names)))
    for (_, name), one in progress(done, "reading", total=len(names)):
        facts.append(Facts(name, "crash", str(one)) if isinstance(one, Lost) else shared(one))
    return sorted(facts, key=lambda one: one.name)


def shared(one: Facts) -> Facts:
    """With words that many files have in common held once: each came from its process by itself."""
    words = {key: intern(getattr(one, key)) for key in ("kind", "reason", "format", "mode")}
    return replace(one, **words)


def empty_classes(folder: Path, names: list[str]) -> list[str]:
    """Folders beside those of classes in which no picture can be read."""
    full = {above for name in names for above in Path(name).parents}
    beside = {Path(name).parent.parent for name in names if name.count("/")}
    empty = []
    for above in sorted(beside):
        for entry in sorted((folder / above).iterdir()):
            is_folder = entry.is_dir() and not entry.name.startswith((".", "__")) and not (entry / SEAL).is_file()
            if is_folder and above / entry.name not in full:
                empty.append((above / entry.name).as_posix())
    return empty


def report_folder(folder: Path) -> Path:
    """Where its report goes: named as the folder, and with a hash of its path where that is another one's report."""
    own = home() / "check" / folder.resolve().name
    if read_json(own / "report.json").get("folder", str(folder)) != str(folder):
        own = own.with_name(f"{own.name}-{sha256(str(folder).encode()).hexdigest()[:6]}")
    return own


def main(argv: list[str]) -> int:
    """0 without serious findings, 1 with one, 2 when the command itself fails."""
    parser = argparse.ArgumentParser(prog="python -m data_setup check", description=__doc__)
    parser.description = "Read every picture below a folder and report what is wrong with it. Changes nothing there."
    parser.add_argument("path", type=Path, help="the folder")
    parser.add_argument("--out", type=Path, help="folder for report.html and report.json (default: in the data folder)")
    parser.add_argument("--labels", help="a table, or a regular expression for names (default: folders)")
    parser.add_argument(
        "--group",
        help="what must not be on both sides of the split, such as a patient: a regular expression, whose group 1 in "
        "each picture's path is its group, or a column of the table of labels or of a table in the folder",
    )
    parser.add_argument(
        "--quarantine",
        action="store_true",
        help="move files that cannot be read and copies "
        "into a folder beside; `python -m data_setup restore FOLDER` moves them back",
    )
    options = parser.parse_args(argv)
    try:
        folder = options.path.absolute()
        out = (options.out or report_folder(folder)).absolute()
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"the report would lie in the folder that is checked, {folder}: name another with --out")
        report = check_folder(folder, labels=options.labels, group=options.group)
        print(summary(report))
        with explained(out, elsewhere="name another folder with --out"):
            page, data = write(report, out, processes=processes())
        print(f"page with the pictures: {page}\nfor programs: {data}")
        if options.quarantine and report.offenders:
            undo = quarantine(folder, report.offenders)
            print(f"{counted(len(report.offenders), 'file')} moved to {undo.parent}")
            print(f"to move them back: python -m data_setup restore {subprocess.list2cmdline([str(undo)])}")
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int(report.n_serious > 0)


def main_restore(argv: list[str]) -> int:
    """Moves back what --quarantine has moved."""
    parser = argparse.ArgumentParser(prog="python -m data_setup restore", description=main_restore.__doc__)
    parser.add_argument("undo", type=Path, help="the undo file, or the quarantine folder")
    try:
        print(restore(parser.parse_args(argv).undo))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
