"""A lesson in little, for a kernel of its own: fewer photographs, no claims about figures, and writes that are watched.

`begin` is called by a cell that the harness puts before a lesson's first one. Everything else is the lesson's own.
"""

import ast
import csv
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

LIMIT = 240  # photographs of 2,624, besides those that the lessons name
RARE = "rare/IMG_2640.png"  # the only picture of its class
FACTS = "facts.json"


def small_set(whole: Path, target: Path, texts: list[Path]) -> dict[str, int]:
    """Copy `LIMIT` photographs of the finished solar set `whole` to `target`, and those that are named in `texts`.

    Returns how many there are in each part.
    """
    from data_setup.base.folders import PICTURES, read_manifest
    from data_setup.small_copies import choose

    manifest = read_manifest(whole)
    named = {
        name for text in texts for name in re.findall(r"\w+_\w+_\d{4}\.png|\w+_\w+_\d{4}", text.read_text("utf-8"))
    }
    named = {name.removesuffix(".png") for name in named}
    pictures = [name for name in manifest["files"] if name.lower().endswith(PICTURES)]
    chosen = {*choose(pictures, LIMIT), *(name for name in pictures if Path(name).stem in named)}
    for name in manifest["files"]:
        if name in chosen or (name not in pictures and not name.endswith(".csv")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(whole / name, target / name)
    with (whole / "labels.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    with (target / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *(row for row in rows if row[0] in chosen)])
    facts = {key: value for key, value in manifest.items() if key not in ("files", "counts", "split")}
    target.with_name(FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return {part: sum(name.startswith(f"{part}/") for name in chosen) for part in ("train", "valid", "test")}


def begin(small: str, *, log: str = "", die_at: str = "", has_rare: bool = False) -> None:
    """Make the course small in this kernel.

    small     the folder that takes the place of the package's photographs
    log       a file that gets the name of every file that is written
    die_at    the name of the file in whose saving the kernel is killed: half of it lies there under a temporary name
    has_rare  there is a class of one picture in the folder that lesson 09 is sent
    """
    from dataclasses import replace

    from IPython import get_ipython

    from data_setup import sets, solar
    from helpers.lessons import messy

    def build(staging: Path, *, source: Path | None = None) -> dict:
        shutil.copytree(small, staging, dirs_exist_ok=True)
        return json.loads(Path(small).with_name(FACTS).read_text(encoding="utf-8"))

    sets.CATALOGUE = (replace(sets.CATALOGUE[0], check="-"), *sets.CATALOGUE[1:])
    solar.build = build
    messy.messy_folder.__kwdefaults__["every"] = 1
    if has_rare:
        messy.messy_folder = with_a_rare_class(messy.messy_folder)
    get_ipython().ast_transformers.append(WithoutClaims())
    if log or die_at:
        watch_writes(log, die_at)


def with_a_rare_class(messy_folder: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    """The same, with one picture more, alone in its class."""

    def wrapped(source: Path, folder: Path) -> Path:
        put_rare(source, messy_folder(source, folder))
        return folder

    return wrapped


def put_rare(photographs: Path, folder: Path) -> None:
    """Lay `RARE` into the folder: one of the photographs, with a frame, so that it is no copy."""
    from PIL import Image, ImageOps

    first = next(iter(sorted((photographs / "valid").rglob("*.png"))))
    (folder / RARE).parent.mkdir(parents=True, exist_ok=True)
    with Image.open(first) as picture:
        ImageOps.expand(picture.convert("L"), 5).save(folder / RARE)


class WithoutClaims(ast.NodeTransformer):
    """A lesson's assertions are about the whole set."""

    def visit_Assert(self, node: ast.Assert) -> ast.Pass:
        return ast.copy_location(ast.Pass(), node)


def watch_writes(log: str, die_at: str) -> None:
    """Note every file that is put in its place, or be killed when the half of one is written."""
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            if log:
                with Path(log).open("a", encoding="utf-8") as file:
                    file.write(f"{target}\n")
            if die_at and Path(target).name == die_at:
                os.truncate(self, self.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = watched
