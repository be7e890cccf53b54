"""What came out of the archives, into the layout that the course reads: PART/CLASS/PICTURE, or CLASS/PICTURE.

The split is the published one, and the number of pictures of every part (and class, where it is known) is compared
with the published one. Files that are no pictures stay out. Pictures keep their bytes; those that come as arrays are
written as PNG, which loses nothing.
"""

import re
import shutil
from collections import Counter
from pathlib import Path

from data_setup.base.folders import PICTURES
from data_setup.base.progress import progress
from data_setup.downloads.fetch import Refused
from data_setup.downloads.records import DataSet, Part

IMAGES = "images"  # the folder of the pictures that lists name
SIGNATURES = {b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WEBP"}


def arrange(unpacked: Path, folder: Path, record: DataSet) -> dict:
    """Move the pictures of `record` from `unpacked` into `folder`; returns facts for the manifest.

    Raises Refused when a part is missing or does not have its published number of pictures.
    """
    if record.layout == "as unpacked":
        for path in sorted(unpacked.iterdir()):
            path.rename(folder / path.name)
        return {}
    facts: dict = {"split": {}}
    for part in record.parts:
        if record.layout == "folders":
            _move_folder(unpacked / part.source, folder / part.folder, part)
        elif record.layout == "name lists":
            _move_listed(unpacked, folder / part.folder, part)
        else:
            _read_with_torchvision(record.layout.removeprefix("torchvision "), unpacked, folder / part.folder, part)
        counts = count_classes(folder / part.folder)
        _compare(part, counts)
        facts["split"][part.folder or "all"] = sum(counts.values())
    if not record.layout.startswith("torchvision"):
        rest = unpacked / IMAGES if record.layout == "name lists" else unpacked
        facts["left_out"] = sum(map(_is_picture, rest.rglob("*")))
    if notes := _notes(folder, facts):
        facts["note"] = "; ".join(notes)
    return facts


def count_classes(part: Path) -> dict[str, int]:
    """Pictures per class folder of a part, classes sorted; those of a part without class folders are under "."."""
    counts = Counter(path.parent.relative_to(part).as_posix() for path in part.rglob("*") if _is_picture(path))
    return dict(sorted(counts.items()))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and path.is_file()


def _compare(part: Part, counts: dict[str, int]) -> None:
    """Raises Refused, with the first class that differs, when a part is not as published."""
    name, found = part.folder or "the set", sum(counts.values())
    wanted = part.per_class
    if isinstance(wanted, int):
        wanted = (wanted,) * len(counts)
    if wanted is not None:
        if len(wanted) != len(counts):
            raise Refused(f"{name} has {len(counts)} classes instead of {len(wanted)}")
        for (label, count), n in zip(counts.items(), wanted, strict=True):
            if count != n:
                raise Refused(f"{name} has {count:,} pictures of {label!r} instead of {n:,}")
    if part.pictures is not None and found != part.pictures:
        raise Refused(f"{name} has {found:,} pictures instead of {part.pictures:,}")


def _move_folder(source: Path, target: Path, part: Part) -> None:
    """A folder of the archive as it is, without what is no picture."""
    if not source.is_dir():
        if part.pictures is None:
            return
        raise Refused(f"there is no folder {part.source!r} in the archive; it holds {_names_in(source.parent)}")
    source.rename(target)
    for path in target.rglob("*"):
        if path.is_file() and not _is_picture(path):
            path.unlink()


def _move_listed(unpacked: Path, target: Path, part: Part) -> None:
    """The pictures that a list names (Pets): the first word of a line is NAME_NUMBER, for images/NAME_NUMBER.jpg."""
    if not (unpacked / part.source).is_file():
        raise Refused(f"there is no list {part.source!r} in the archive; it holds {_names_in(unpacked)}")
    lines = (unpacked / part.source).read_text(encoding="utf-8", errors="replace").splitlines()
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    for name in progress(names, f"sorting {target.name}", unit=" pictures"):
        matched = re.fullmatch(r"(\w+)_\d+", name, re.ASCII)
        picture = unpacked / IMAGES / f"{name}.jpg"
        if not matched or not picture.is_file():
            raise Refused(f"{part.source} names {name!r}, and there is no such picture in the archive")
        (target / matched[1]).mkdir(parents=True, exist_ok=True)
        picture.rename(target / matched[1] / picture.name)


def _read_with_torchvision(class_name: str, unpacked: Path, target: Path, part: Part) -> None:
    """The pictures of a part as torchvision's own class gives them; its pickles were compared with md5 before that."""
    from torchvision import datasets  # seconds, and only for these sets

    dataset_class = getattr(datasets, class_name)
    settings = dict(part.arguments)
    if class_name in ("Food101", "Flowers102", "EuroSAT"):  # made of files: give their paths, keep their bytes
        settings["loader"] = Path
    try:
        dataset = dataset_class(unpacked, **settings)
        numbers = range(len(dataset))
        for number in progress(numbers, f"writing {target.name}", unit=" pictures"):
            picture, label = dataset[number]
            place = target / folder_name(dataset.classes[int(label)])
            place.mkdir(parents=True, exist_ok=True)
            if isinstance(picture, Path):
                picture.rename(place / picture.name)
            else:
                picture.save(place / f"{number:05}.png")
    except (RuntimeError, ValueError, LookupError, FileNotFoundError, EOFError) as error:
        raise Refused(f"torchvision's {class_name} cannot read it ({error})") from error


def folder_name(label: str) -> str:
    """A class name that every file system takes as a folder: "T-shirt/top" is T-shirt-top."""
    return re.sub(r'[\\/:*?"<>|]', "-", label).strip(" .-")


def _names_in(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"


def _notes(folder: Path, facts: dict) -> list[str]:
    """What a reader with other tools should know of the pictures."""
    notes = []
    if left_out := facts.get("left_out"):
        notes.append(f"{left_out:,} pictures of the archive are in no part of the published split and stay out")
    disguised = Counter(kind for path in folder.rglob("*") if (kind := _disguised(path)))
    if disguised:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(disguised.items()))
        notes.append(f"named .jpg and of another kind inside: {kinds}; the course reads pictures by their content")
    return notes


def _disguised(path: Path) -> str | None:
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return None
    with path.open("rb") as file:
        head = file.read(4)
    return next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), None)


def clear(folder: Path) -> None:
    """Empty a folder."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
