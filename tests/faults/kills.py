"""Killed at any moment while a cache is built or a review writes its marks: what lies there is whole, and the next run
is right."""

import hashlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.doses import Tally, end_of, fork, kill_after

PICTURES = 300  # of each of two classes: three files of features


def caches(times: int) -> Tally:
    """SIGKILL at any moment of decoding pictures, and of computing features, `times` each.

    lost: a file under its own name that is not what a run without a kill writes, or a next run with other numbers.
    """
    import timm
    import torch

    from helpers.data.dataset import ImageData
    from helpers.learner import Learner
    from tests.conftest import draw_pictures

    assert timm  # imported once, not in every child
    torch.set_num_threads(1)
    tally, rng = Tally(), random.Random(0)
    before = os.environ.get("COURSE_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = draw_pictures(folder / "pictures", n=PICTURES)
        answer, home = folder / "answer", folder / "home"
        os.environ["COURSE_DATA"] = str(home)

        def decode() -> None:
            store = ImageData.from_folders(pictures, size=32).store
            answer.write_text(hashlib.sha256(store.flat.numpy()).hexdigest())

        def compute() -> None:
            learn = Learner.pretrained(ImageData.from_folders(pictures, size=32), "test_resnet", pretrained=False)
            answer.write_text(hashlib.sha256(learn.features("train").numpy()).hexdigest())

        try:
            for what, work in (("decoding", decode), ("computing features", compute)):
                shutil.rmtree(home / "cache" / "features", ignore_errors=True)
                start = folder / f"before {what}"  # the second finds the pixels
                if home.exists():
                    shutil.copytree(home, start, ignore=shutil.ignore_patterns(".*.tmp"))
                else:
                    start.mkdir()
                began = time.perf_counter()
                assert end_of(fork(work)) == 0
                seconds, whole, files = time.perf_counter() - began, answer.read_text(), contents(home)
                kills = 0
                while kills < times:
                    shutil.rmtree(home)
                    shutil.copytree(start, home)
                    answer.unlink(missing_ok=True)
                    tally.times += 1
                    kills += kill_after(fork(work), rng.uniform(0, seconds))
                    left = contents(home)
                    tally.facts[f"killed {what} with files already in place"] += len(left) > len(contents(start))
                    tally.facts[f"killed {what} in the middle of a write"] += bool(list(home.rglob(".*.tmp")))
                    tally.lost += any(files.get(file) != digest for file, digest in left.items())
                    answer.unlink(missing_ok=True)
                    tally.lost += end_of(fork(work)) != 0 or answer.read_text() != whole or contents(home) != files
                tally.facts[f"killed {what}"] = kills
        finally:
            os.environ.pop("COURSE_DATA")
            if before:
                os.environ["COURSE_DATA"] = before
    return tally


def contents(home: Path) -> dict[str, str]:
    """Every kept file under its own name -> sha256 of what it holds; the header of tensors has no fixed order."""
    import torch

    from helpers.runtime.tensor_files import load_tensors

    found = {}
    for path in sorted((home / "cache").rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix in (".u8", ".json", ".safetensors"):
            held = path.read_bytes()
            if path.suffix == ".safetensors":
                try:
                    tensors, about = load_tensors(path)
                    held = repr((about, sorted(tensors))).encode() + torch.cat(list(tensors.values())).numpy().tobytes()
                except ValueError:
                    held = b"half a file"
            found[str(path.relative_to(home))] = hashlib.sha256(held).hexdigest()
    return found


def held_in(file: Path) -> dict:
    """The marks in a file; none when it cannot be read, so that those that were made count as lost."""
    from helpers.review.mark_file import read_marks

    try:
        return read_marks(file) if file.is_file() else {}
    except ValueError:
        return {}


def marks(times: int) -> Tally:
    """SIGKILL at any moment of marking picture after picture; a new session goes on where the file says.

    lost: a mark that was made and is not in the file, a file that cannot be read, one picture marked otherwise.
    """
    from helpers.review.rows import Row
    from helpers.review.session import Review

    tally, rng = Tally(), random.Random(0)
    names = [f"picture {number:03}.png" for number in range(400)]
    rows = [Row(name, Path(name), "cat") for name in names]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reviews" / "marks.csv"

        def session(tell: Callable[[int], object]) -> None:
            review = Review(rows, ("cat", "dog"), save_to=file)
            for number in range(len(review.marks), len(names)):
                review.relabel(names[number], "dog")
                tell(number)

        while tally.times < times:
            file.unlink(missing_ok=True)
            made, has_ended = 0, False
            while not has_ended:
                reader, writer = os.pipe()
                child = fork(lambda writer=writer: session(lambda number: os.write(writer, b"x")))
                os.close(writer)
                killed = kill_after(child, rng.uniform(0.02, 0.3))
                while some := os.read(reader, 4096):
                    made += len(some)
                os.close(reader)
                held = held_in(file)
                # the last one may be in the file though nobody was told
                tally.lost += not made <= len(held) <= made + killed or list(held) != names[: len(held)]
                tally.lost += any(mark.new_label != "dog" for mark in held.values())
                made, has_ended = len(held), not killed
                tally.times += killed
                tally.facts["killed in the middle of a write"] += bool(list(file.parent.glob(".*.tmp")))
                for litter in file.parent.glob(".*.tmp"):
                    litter.unlink()
            tally.facts["reviews marked to their end"] += len(held) == len(names)
            tally.lost += len(held) != len(names)
    return tally
