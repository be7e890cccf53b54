"""A folder as somebody might send it: solar cells under other names, with the usual faults; and copies found in it."""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_setup.base.files import content_hash
from data_setup.base.folders import explained, staged
from data_setup.items import Item, find_images
from data_setup.splits import Split

CLASSES = {
    ("mono", "functional"): "mono_sound",
    ("mono", "defective"): "mono_broken",
    ("poly", "functional"): "poly_sound",
    ("poly", "defective"): "poly_broken",
}
TYPO = "poly_borken"
MESSY_CLASSES, MESSY_PICTURES = 6, 60  # of `messy_copy`: classes, and pictures of each at most
NOTE = ".what-we-did.json"  # hidden: `find_images` and `label_by_folder` do not see it
WEB_PAGE = "<!DOCTYPE html>\n<html><body>404: the picture is not here any more</body></html>\n"


def messy_folder(source: Path, folder: Path, *, every: int = 4) -> Path:
    """Write every `every`-th cell of the solar set in `source` to `folder`, one folder a class, and spoil it a little.

    A damaged file, a web page that calls itself a picture, a text among the pictures, the same picture twice (once
    with two labels), a class whose name is misspelt, and eight cells in a wrong folder (`misfiled` says which).
    The folder is complete or as it was before. Raises FileExistsError when it is something else than what an earlier
    call wrote, and OSError with the remedy when nothing can be written.
    """
    with _afresh(folder) as staging:
        placed = _copies(source, staging, every)
        moved = [*_move(placed["mono_sound"][2:34:8], staging / "poly_sound")]
        moved += _move(placed["poly_sound"][2:34:8], staging / "mono_sound")
        _move(placed["poly_broken"][::9], staging / TYPO)
        twice, both = placed["mono_sound"][5], placed["poly_sound"][7]
        shutil.copy(twice, twice.with_stem(f"{twice.stem} (copy)"))
        shutil.copy(both, staging / "poly_broken" / both.name)
        damaged = placed["poly_sound"][11]
        damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
        (staging / "mono_broken" / "IMG_9001.png").write_text(WEB_PAGE, encoding="utf-8")
        (staging / "mono_sound" / "notes.txt").write_text("ask Kim about number 8\n", encoding="utf-8")
        (staging / NOTE).write_text(json.dumps({"misfiled": moved}), encoding="utf-8")
    return folder


def messy_copy(items: Iterable[Item], folder: Path) -> Path:
    """The same faults in a copy of some pictures of any set: its commonest classes, named IMG_0001 and so on.

    Neighbouring numbers are of different classes; within a class they follow the files' names. Raises ValueError for a
    set with fewer than four classes of twelve pictures, FileExistsError as `messy_folder` does.
    """
    by_class: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.name):
        if item.label is not None:
            by_class.setdefault(item.label, []).append(item)
    names = sorted(by_class, key=lambda label: (-len(by_class[label]), label))[:MESSY_CLASSES]
    if len(names) < 4 or len(by_class[names[3]]) < 12:
        raise ValueError("a messy copy takes four classes of at least 12 pictures each; this set has fewer")
    with _afresh(folder) as staging:
        placed: dict[str, list[Path]] = {name: [] for name in names}
        for place in range(MESSY_PICTURES):
            for index, (name, files) in enumerate(placed.items()):
                if place < len(by_class[name]):
                    source = by_class[name][place].path
                    target = staging / name / f"IMG_{place * len(names) + index + 1:04}{source.suffix}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    files.append(Path(shutil.copy(source, target)))
        first, second, third, fourth = names[:4]
        truth = dict.fromkeys(_move(placed[first][2:10:2], staging / second), first)
        truth |= dict.fromkeys(_move(placed[second][2:10:2], staging / first), second)
        _move(placed[third][::5], staging / f"{third}{third[-1]}")
        shutil.copy(placed[first][0], placed[first][0].with_stem(f"{placed[first][0].stem} (copy)"))
        shutil.copy(placed[second][0], staging / fourth / placed[second][0].name)
        damaged = placed[second][1]
        damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
        (staging / fourth / "IMG_9001.png").write_text(WEB_PAGE, encoding="utf-8")
        (staging / first / "notes.txt").write_text("ask Kim about number 8\n", encoding="utf-8")
        (staging / NOTE).write_text(json.dumps({"misfiled": truth}), encoding="utf-8")
    return folder


def true_labels(folder: Path) -> dict[str, str]:
    """The label that each misfiled picture of `messy_copy` should have, by its name."""
    return dict(json.loads((folder / NOTE).read_text(encoding="utf-8"))["misfiled"])


@contextmanager
def _afresh(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `folder`, complete or not at all."""
    if folder.exists() and not (folder / NOTE).is_file():
        raise FileExistsError(f"{folder} is not a folder of this lesson; move it away, it would be overwritten")
    with explained(folder.parent), staged(folder) as staging:
        yield staging


def misfiled(folder: Path) -> set[str]:
    """The items, by name, that `messy_folder` put into a wrong folder."""
    return set(json.loads((folder / NOTE).read_text(encoding="utf-8"))["misfiled"])


def _copies(source: Path, folder: Path, every: int) -> dict[str, list[Path]]:
    """One folder per class; the files in order of their numbers."""
    cells = sorted(find_images(source), key=lambda path: path.stem.split("_")[-1])
    placed = {name: [] for name in CLASSES.values()}
    for name in placed:
        (folder / name).mkdir(parents=True)
    for path in cells:
        kind, state, number = path.stem.split("_")
        if int(number) % every == 0:
            name = CLASSES[kind, state]
            placed[name].append(Path(shutil.copy(path, folder / name / f"IMG_{number}.png")))
    return placed


def _move(paths: list[Path], folder: Path) -> list[str]:
    """Their names below the common folder, where they now are."""
    folder.mkdir(exist_ok=True)
    return [f"{folder.name}/{path.replace(folder / path.name).name}" for path in paths]


def content_hashes(items: Iterable[Item]) -> dict[str, str]:
    """sha256 of each file's bytes, by item name."""
    return {item.name: content_hash(item.path) for item in items}


def find_leaks(items: Iterable[Item], split: Split) -> list[tuple[str, str]]:
    """Pairs (training picture, held-out picture) whose files are byte for byte the same."""
    hashes = content_hashes(items)
    training = {hashes[name]: name for name in reversed(split.train) if name in hashes}  # the first by name stays
    held_out = sorted(split.valid + split.test)
    return [(training[hashes[name]], name) for name in held_out if hashes.get(name) in training]
