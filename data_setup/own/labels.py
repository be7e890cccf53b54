"""Labels as people have them: in a table with any columns, in a text file beside each picture, in folders or names.

One label per picture: a picture with several is refused, and the message says what to do instead.
"""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path, PurePosixPath

from data_setup.base.arguments import closest, did_you_mean
from data_setup.base.folders import PICTURES, unsealed
from data_setup.base.text import counted, listed
from data_setup.items import Item, check_items, find_images, label_by_folder, label_by_regex

TABLES = (".csv", ".tsv")
NAME_WORDS = ("name", "path", "file", "filename", "image", "image_path")
LABEL_WORDS = ("label", "class", "category", "target", "diagnosis", "species", "breed")
WEIGHT_WORDS = ("weight", "weights", "sample_weight")
SEVERAL = re.compile(r"\s*[;|]\s*")
BOX = re.compile(r"\d+( +\d*\.?\d+){4,}")  # a class and a box: what object detection calls a label file
SAMPLE = 200  # rows by which columns are recognized
ONE_LABEL = (
    "this course is about one label per picture: keep the one that matters, make a class of each combination, "
    "or train one model per label (yes or no)"
)
Row = dict[str, str]


@did_you_mean
def label_by_table(
    table: Path | str,
    *,
    folder: Path | str,
    name_column: str | None = None,
    label_column: str | None = None,
    weight_column: str | None = None,
) -> tuple[Item, ...]:
    """Labels from a CSV file with a header. What is not given is found by content, and printed.

    name_column     paths below `folder`, or file names with or without suffix: the column with most files among them
    label_column    "label" or a similar word, else the only column whose words repeat; an empty value is no label.
                    Without one, columns of numbers that add up to 1 are soft labels: the largest is the label, and its
                    number the picture's weight
    weight_column   "weight": how much a picture counts in the training loss; default: all the same

    Raises ValueError for a column that is missing or cannot be guessed, a file that is not there, a picture in two
    rows, and a picture with several labels.
    """
    folder = Path(folder)
    rows, columns = read_rows(table)
    for column in filter(None, (name_column, label_column, weight_column)):
        if column not in columns:
            raise ValueError(f"{table} has no column {column!r}; {closest(column, columns)}")
    find = finder(folder)
    guessed, asked = [name_column, label_column], weight_column
    name_column = name_column or guess_names(rows, columns, folder, table)
    weight_column = weight_column or _by_word(columns, WEIGHT_WORDS)
    rest = [column for column in columns if column not in (name_column, weight_column)]
    label_column = label_column or _by_word(rest, LABEL_WORDS)
    soft = [] if label_column else soft_columns(rows, rest, table)
    label_column = label_column or (None if soft else guess_labels(rows, rest, table))
    if guessed != [name_column, label_column] and [name_column, label_column] != ["name", "label"]:
        label = f"the largest of {listed(soft)}, which is also the weight" if soft else f"column {label_column!r}"
        print(f"{Path(table).name}: pictures from column {name_column!r}, labels from {label}")
    if weight_column and not asked and len({row[weight_column] for row in rows}) > 1:
        print(f"{Path(table).name}: a picture counts as its {weight_column!r} says; rename it if it is no weight")
    items = []
    for row in rows:
        name = find(row[name_column]) or row[name_column]
        label = max(soft, key=lambda column: float(row[column])) if soft else row[label_column] or None
        weight = float(row[label]) if soft else 1.0
        if weight_column:
            weight *= _number(row[weight_column], f"{table}, {name}, {weight_column}")
        items.append(Item(name, folder / name, label, weight))
    if missing := [item.name for item in items if not (item.name and item.path.is_file())]:
        examples = ", ".join(map(repr, missing[:3]))
        raise ValueError(f"{table} names {len(missing)} files that are not below {folder}, e.g. {examples}")
    refuse_several(items)
    kept = set(unsealed(folder, [item.path for item in items]))
    return check_items(item for item in items if item.path in kept)


def read_rows(table: Path | str) -> tuple[list[Row], list[str]]:
    """(rows, columns) of a table in UTF-8, separated by commas, semicolons or tabs: what its header has most of."""
    try:
        with Path(table).open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark before UTF-8
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=header.count))
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} is not a table in UTF-8 ({error}): save it as CSV, UTF-8") from None
    if not rows:
        raise ValueError(f"{table} has a header but no rows" if columns else f"{table} is empty")
    if odd := [number for number, row in enumerate(rows, 1) if None in row or None in row.values()]:
        raise ValueError(
            f"row {odd[0]} of {table} has more or fewer values than the {len(columns)} columns of its header"
        )
    return rows, columns


def finder(folder: Path) -> Callable[[str], str | None]:
    """What a table calls a picture -> its name: a path below `folder` (or from there on), a file's name, or either
    without its suffix, if only one picture has it. None when there is no such picture."""

    @cache
    def known() -> dict[str, str | None]:
        names: dict[str, str | None] = {}
        for path in find_images(folder):
            name = path.relative_to(folder).as_posix()
            for text in {path.name, path.stem, name.removesuffix(path.suffix)}:
                names[text] = None if text in names else name
        return names

    return lambda text: path_below(folder, text) or known().get(_plain(text))


def path_below(folder: Path, text: str) -> str | None:
    """A path below `folder` as a table writes it, whole, from the folder or from there on -> the picture's name, if
    the file is there. What lies elsewhere is no picture of this folder."""
    top, tidy, plain = folder.absolute(), PurePosixPath(text).as_posix(), _plain(text)
    for name in (tidy, plain, plain.removeprefix(f"{top.name}/")):
        path = Path(os.path.normpath(top / name))
        if path.is_file() and path.is_relative_to(top):
            return path.relative_to(top).as_posix()
    return None


def _plain(text: str) -> str:
    return text.strip().replace("\\", "/").removeprefix("./")


def guess_names(rows: Sequence[Row], columns: Sequence[str], folder: Path, table: Path | str) -> str:
    """The column of which most values are pictures: paths, else names with or without suffix."""
    for find in (partial(path_below, folder), finder(folder)):
        n_found = {column: sum(find(row[column]) is not None for row in rows[:SAMPLE]) for column in columns}
        best = max(columns, key=lambda column: n_found[column])
        if n_found[best]:
            return best
    if named := _by_word(columns, NAME_WORDS):
        return named  # what it names is missing: `label_by_table` says which files
    fix = "pass name_column=, and as folder= the folder in which its paths begin"
    raise ValueError(f"no column of {table} names pictures that are there ({', '.join(columns)}): {fix}")


def guess_labels(rows: Sequence[Row], rest: Sequence[str], table: Path | str) -> str:
    """The only column, or the only one whose words repeat."""
    repeating = [c for c in rest if 1 < len({row[c] for row in rows}) <= len(rows) / 2 and not _is_fraction(rows, c)]
    fitting = repeating if len(rest) > 1 else rest
    if len(fitting) == 1:
        return fitting[0]
    found = f"choose from {', '.join(fitting or rest)}" if rest else "there is only one column"
    raise ValueError(f"which column of {table} is the label? Pass label_column=; {found}")


def soft_columns(rows: Sequence[Row], rest: Sequence[str], table: Path | str) -> list[str]:
    """Columns of numbers from 0 to 1 that add up to 1 in each row; [] where there are none.

    Raises ValueError when they are ones and zeros that do not: then a picture has several labels, or none.
    """
    shares = [column for column in rest if _are_shares(rows, column)]
    totals = [sum(float(row[column]) for column in shares) for row in rows]
    if len(shares) > 1 and all(abs(total - 1) < 0.01 for total in totals):
        return shares
    if len(shares) > 2 and all(float(row[column]) in (0, 1) for row in rows for column in shares):
        n = sum(total > 1 for total in totals)
        several = f"{counted(n, 'picture')} with several labels and {sum(total == 0 for total in totals):,} with none"
        raise ValueError(f"{table} has yes or no for each of {listed(shares)}, and {several}: {ONE_LABEL}")
    return []


def refuse_several(items: Iterable[Item]) -> None:
    """Raise ValueError for a picture with several labels: in two rows, or in one text such as "cat;dog", if one of
    its pieces is in another picture's label as well (a class may be called "a;b")."""
    items = list(items)
    given = defaultdict(set)
    for item in items:
        given[item.name].add(item.label)
    for name, labels in given.items():
        if len(labels) > 1:
            found = f"the name {name!r} appears more than once, labelled {listed(sorted(map(str, labels)))}"
            raise ValueError(f"{found}; {ONE_LABEL}")
    pieces = {label: set(SEVERAL.split(label)) for label in {item.label for item in items if item.label}}
    times = Counter(piece for some in pieces.values() for piece in some)
    for item in items:
        if item.label and len(pieces[item.label]) > 1 and any(times[piece] > 1 for piece in pieces[item.label]):
            raise ValueError(f"{item.name} is labelled {item.label!r}, which is several labels; {ONE_LABEL}")


def label_by_text_file(folder: Path | str) -> tuple[Item, ...]:
    """Label = the text in the file beside each picture with the same name and the suffix .txt: x.jpg and x.txt.

    An empty one is no label. Raises ValueError for a picture without a text file, and for several labels in one.
    """
    folder = Path(folder)
    items, missing = [], []
    for path in find_images(folder):
        name, file = path.relative_to(folder).as_posix(), path.with_suffix(".txt")
        if not file.is_file():
            missing.append(name)
            continue
        lines = file.read_text(encoding="utf-8-sig", errors="replace").split("\n")
        lines = [line.strip() for line in lines if line.strip()]
        if any(BOX.fullmatch(line) for line in lines):
            raise ValueError(f"{file} holds boxes, for object detection: this course tells whole pictures apart")
        items.append(Item(name, path, ";".join(lines) or None))
    if missing:
        found = f"{counted(len(missing), 'picture')} without a text file of the same name, e.g. {missing[0]}"
        raise ValueError(f"{found}: write its label into one, or label by folder, name or table")
    refuse_several(items)
    return check_items(items)


def labelled(folder: Path | str, labels: str | None = None) -> tuple[Item, ...]:
    """The items of a folder as it comes. `labels`: a table, or a regular expression for names; default: the folders
    of the pictures, else a text file beside each, else the only table there. Raises ValueError when there is none."""
    folder = Path(folder)
    if table := table_at(folder, labels):
        return label_by_table(table, folder=folder)
    if labels:
        return label_by_regex(folder, labels)
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".")) if folder.is_dir() else []
    if not entries or any(entry.is_dir() for entry in entries):
        return label_by_folder(folder)
    if any(entry.suffix.lower() in PICTURES and entry.with_suffix(".txt").is_file() for entry in entries):
        return label_by_text_file(folder)
    tables = [path for path in entries if path.suffix.lower() in TABLES]
    if len(tables) == 1:
        return label_by_table(tables[0], folder=folder)
    found = f"tables there: {', '.join(path.name for path in tables)}" if tables else "there is no table either"
    fix = "say where labels are: a table (--labels FILE.csv), or a pattern for names (--labels '^([a-z]+)_')"
    raise ValueError(f"all pictures lie in one folder, {folder}, and {found}: {fix}")


def table_at(folder: Path, labels: str | None) -> Path | None:
    """The table that `labels` names, in the folder or from here; None where it names none."""
    if not labels or Path(labels).suffix.lower() not in TABLES:
        return None
    inside = folder / labels
    return inside if inside.is_file() else Path(labels)


def _by_word(columns: Sequence[str], words: Sequence[str]) -> str | None:
    return next((column for word in words for column in columns if column.strip().lower() == word), None)


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: expected a number, got {text!r}") from None


def _are_shares(rows: Sequence[Row], column: str) -> bool:
    try:
        return all(0 <= float(row[column]) <= 1 for row in rows)
    except ValueError:
        return False


def _is_fraction(rows: Sequence[Row], column: str) -> bool:
    try:
        return not all(float(row[column]).is_integer() for row in rows)
    except ValueError:
        return False
