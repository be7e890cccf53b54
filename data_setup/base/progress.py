"""One progress bar for all long work: rate and remaining time as plain text, so every front end shows it."""

import os
import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(work: Iterable | None = None, title: str = "", *, total: int | None = None) -> tqdm:
    """A bar that vanishes when the work is done. COURSE_PROGRESS=off switches all bars off."""
    off = os.environ.get("COURSE_PROGRESS") == "off"
    return tqdm(work, desc=title, total=total, file=sys.stdout, leave=False, mininterval=0.5, disable=off)
