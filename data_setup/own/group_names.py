"""What belongs together, such as all pictures of a patient: a group is never on both sides of a split."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from data_setup.items import first_groups
from data_setup.own.labels import finder, guess_names, read_rows


def group_by_pattern(pattern: str, names: Sequence[str]) -> Callable[[str], str | None]:
    """Each of the picture names ("train/cat/7_1.jpg") -> group 1 of a regular expression searched in it, or the whole
    match where it has no group; None where it does not match.

    Raises ValueError for an invalid pattern, and for one that takes too long (`first_groups`).
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a valid regular expression: {error}") from None
    return dict(zip(names, first_groups(pattern, [(name,) for name in names]), strict=True)).get


def group_by_column(table: Path, column: str, folder: Path) -> Callable[[str], str | None]:
    """Picture name -> its value in a column of the table; None for a picture that is not in it, or has none."""
    rows, columns = read_rows(table)
    find = finder(folder)
    name_column = guess_names(rows, columns, folder, table)
    groups = {find(row[name_column]): row[column] or None for row in rows}
    return groups.get
