"""Write the learner's own copies: `python -m tools.work` (= `make work`).

A copy is made from the solved notebook, so the two cannot drift apart: cells tagged `solution` are left out,
a cell with a line `# solution` ends there with "Write your code here.", outputs are gone. A copy that exists
is never written again; `--reset 03` keeps the old one as 03_augmentation.bak-1.ipynb first. `--style clean`
makes twins with headings and code only, to follow a lecture with, in work/clean/.
"""

import argparse
import itertools
import sys
from pathlib import Path

from helpers.runtime.files import write_atomically
from tools.copies import clean_copy, digest, learner_copy
from tools.files import NOTEBOOKS, ROOT, find_notebooks, read_notebook, run_cli, title, write_notebook


def write_copy(path: Path, folder: Path, *, clean: bool = False, reset: bool = False) -> str:
    """Write the copy of the notebook at `path` into `folder`; returns what was done, in words."""
    target, lesson = folder / path.name, read_notebook(path)
    if target.exists() and not reset:
        changed = _lesson_of(target) not in (None, digest(lesson))
        return "kept as it is" + (f"; the lesson has changed since: --reset {path.stem}" if changed else "")
    try:
        copy = clean_copy(lesson) if clean else learner_copy(lesson)
    except ValueError as error:
        error.add_note(f"in {path.name}")
        raise
    what = "written"
    if target.exists():
        numbers = (folder / f"{path.stem}.bak-{number}.ipynb" for number in itertools.count(1))
        backup = next(free for free in numbers if not free.exists())
        target.rename(backup)
        what = f"written anew; your old one is {backup.name}"
    write_notebook(target, copy)
    return what


def _lesson_of(copy: Path) -> str | None:
    """Which version of the lesson a learner's file was made from; None when it does not say."""
    try:
        return read_notebook(copy).metadata.get("course", {}).get("lesson")
    except (ValueError, AttributeError):  # whatever the learner has made of the file, it stays
        return None


def write_progress_page(paths: list[Path], folder: Path) -> None:
    """A list of all lessons with boxes to tick; once it exists it is the learner's, and only gains new lessons."""
    page = folder / "README.md"
    begun = "# My progress\n\nWrite an x between the brackets of what you have finished.\n\n"
    text = page.read_text(encoding="utf-8") if page.exists() else begun
    missing = [path for path in paths if f"({path.name})" not in text]
    if not missing:
        return
    boxes = [f"- [ ] [{title(read_notebook(path), path.stem)}]({path.name})\n" for path in missing]
    with write_atomically(page) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n" * (1 + (text == begun)) + "".join(boxes), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.work", description="Write your own copies of the lessons.")
    parser.add_argument("--style", choices=["full", "clean"], default="full", help="clean: headings and code only")
    parser.add_argument("--reset", metavar="NAME", help="write this one anew and keep the old one as a backup")
    parser.add_argument("--from", dest="lessons", type=Path, default=NOTEBOOKS, help="where the lessons are")
    parser.add_argument("--folder", type=Path, default=ROOT / "work", help="where your copies go")
    chosen = parser.parse_args(arguments)
    clean = chosen.style == "clean"
    folder = chosen.folder / "clean" if clean else chosen.folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in find_notebooks([chosen.reset] if chosen.reset else [], chosen.lessons):
        print(f"{path.stem}: {write_copy(path, folder, clean=clean, reset=bool(chosen.reset))}")
    if not clean:
        write_progress_page(find_notebooks(folder=chosen.lessons), folder)
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
