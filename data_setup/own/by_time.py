"""A split by time: the past trains, the latest days are held out, as it will be when the model is used."""

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

from PIL import ExifTags, Image

from data_setup.base.folders import FORMATS
from data_setup.base.text import counted
from data_setup.items import Item
from data_setup.splits import Split

IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
WITH_TIME = re.compile(r"(?<!\d)((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])[0-2]\d[0-5]\d[0-5]\d")
TAGS = (ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized)


def split_by_time(items: Iterable[Item], day_of: Callable[[Item], date | None], *, valid_frac: float) -> Split:
    """The latest days validate, nearly `valid_frac` of the pictures; a day is never divided, as pictures of one series
    are near copies. Pictures without a label are the test part.

    Raises ValueError for pictures without a date, and when all are of one day.
    """
    items = list(items)
    test = {item.name for item in items if item.label is None or item.name.startswith("test/")}
    days = defaultdict(list)
    for item in items:
        if item.name not in test:
            days[day_of(item)].append(item.name)
    if undated := sorted(days.pop(None, [])):
        found = f"{counted(len(undated), 'picture')} without a date, in EXIF or in the name, e.g. {undated[0]}"
        fix = "write dates into the names (2024-05-17_...), or split by group or stratified"
        raise ValueError(f"{found}: {fix}. The file's own time only says when it was copied")
    if len(days) < 2:
        raise ValueError("all pictures are of one day: there is no earlier one to train on. Split by group instead")
    wanted, valid = valid_frac * sum(map(len, days.values())), []
    for day in sorted(days, reverse=True)[:-1]:
        if valid and len(valid) + len(days[day]) / 2 > wanted:  # farther from `wanted` with it than without it
            break
        valid += days[day]
    train = {name for names in days.values() for name in names}.difference(valid)
    return Split(tuple(train), tuple(valid), tuple(test))


def day_taken(path: Path) -> date | None:
    """The day on which a picture was taken: from its EXIF data, else from its name; None when neither says."""
    return _day(r"(\d{4}):(\d\d):(\d\d)", exif_time(path)) or _day(WITH_TIME, path.name) or _day(IN_NAME, path.name)


def exif_time(path: Path) -> str:
    """ "2024:05:17 09:30:00", or "" when the file has none."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # of damaged metadata
            exif = image.getexif()
            inner = exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # Pillow's readers raise whatever the damage leads them to; the check names such files
        return ""
    return next((str(found) for tag in TAGS if (found := inner.get(tag))), "")


def _day(pattern: str | re.Pattern, text: str) -> date | None:
    for match in re.finditer(pattern, text):
        try:
            return date(*map(int, match.groups()))
        except ValueError:  # 2024-02-31
            continue
    return None
