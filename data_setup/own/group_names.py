"""What belongs together, such as all pictures of a patient: a group is never on both sides of a split."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from data_setup.base.text import listed
from data_setup.items import first_groups
from data_setup.own.labels import TABLES, finder, guess_names, read_rows, table_at


def group_of_pictures(
    group: str, names: Sequence[str], *, folder: Path, labels: str | None = None
) -> Callable[[str], str | None]:
    """Each of the picture names below `folder` -> its group; None for one that has none. `group` is a column of the
    table that `labels` names, or of a table in the folder, else a regular expression (`group_by_pattern`).

    Raises ValueError for a column that several tables have, and for an expression that matches no name.
    """
    tables = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in TABLES]
    if named := table_at(folder, labels):
        tables = [named, *(path for path in tables if path.resolve() != named.resolve())]
    columns = {}
    for table in tables:
        with suppress(ValueError, OSError):  # it is no table; that of the labels is read, and named, by others
            columns[table] = read_rows(table)[1]
    having = [table for table, some in columns.items() if group in some]
    if named in having or len(having) == 1:
        return group_by_column(named if named in having else having[0], group, folder)
    if having:
        found = f"{group!r} is a column of {listed([table.name for table in having])}"
        raise ValueError(f"{found}: name one of them with --labels")
    group_of = group_by_pattern(group, names)
    if names and not any(map(group_of, names)):
        some = [f"{table.name} has {listed(some)}" for table, some in columns.items()]
        where = f"a column ({'; '.join(some)})" if some else "a column, for there is no table in the folder"
        raise ValueError(
            f"--group {group!r} matches no picture's path, such as {names[0]!r}, and is not {where}; "
            "--group takes a regular expression for paths, such as '(patient_\\d+)', or a column of a table"
        )
    return group_of


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
    """Picture name -> its value in a column of the table; None for a picture that is not in it, or has none.

    Raises ValueError for a picture with two values.
    """
    rows, columns = read_rows(table)
    find = finder(folder)
    name_column = guess_names(rows, columns, folder, table)
    groups: dict[str | None, str | None] = {}
    for row in rows:
        name, group = find(row[name_column]), row[column] or None
        if name and groups.setdefault(name, group) != group:
            found = f"{table} has {name!r} in two rows, with {column} {groups[name]!r} and {group!r}"
            raise ValueError(f"{found}: a picture is in one group")
    return groups.get
