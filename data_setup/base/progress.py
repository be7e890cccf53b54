"""One progress bar for all long work: rate and remaining time as plain text, so every front end shows it."""

import os
import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(work: Iterable | None = None, title: str = "", **settings) -> tqdm:
    """A bar where somebody watches, in a terminal or a notebook; it vanishes when the work is done.

    `settings` are tqdm's: total, unit ... COURSE_PROGRESS=off switches all bars off, =on shows them everywhere.
    """
    watched = sys.stdout.isatty() or "ipykernel" in sys.modules
    shown = {"off": False, "on": True}.get(os.environ.get("COURSE_PROGRESS", ""), watched)
    how = {"file": sys.stdout, "leave": False, "mininterval": 0.5, "disable": not shown}
    return tqdm(work, desc=title, **how, **settings)
