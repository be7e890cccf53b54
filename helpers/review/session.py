"""The state of a review, without any widget: which pictures are shown, in which order, and what is marked.

Marks belong to a picture's name, not to its place on a page, so they survive every filter, page and restart.
Each one is saved at once. Nothing here moves, renames or changes a picture: `apply` returns new items.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from helpers.data.items import Item, relabel
from helpers.review.marks import KINDS, Mark, read_marks, read_table, write_marks, write_table
from helpers.runtime.arguments import closest
from helpers.runtime.text import counted

TABLE_COLUMNS = ["name", "label", "old_label", "mark"]


@dataclass(frozen=True)
class Row:
    """One picture of a review. The numbers are None where there is no prediction or no label."""

    name: str
    path: Path
    label: str | None
    part: str = ""  # "train", "valid", "test"
    top: tuple[tuple[str, float], ...] = ()  # the likeliest classes with their probabilities, likeliest first
    loss: float | None = None  # -log p(label)
    caption: str = ""  # why it stands in a ranked list

    @property
    def predicted(self) -> str | None:
        return self.top[0][0] if self.top else None

    @property
    def probability(self) -> float | None:
        """Of the predicted class."""
        return self.top[0][1] if self.top else None

    @property
    def margin(self) -> float | None:
        """How far the likeliest class leads the second."""
        return self.top[0][1] - self.top[1][1] if len(self.top) > 1 else None

    @property
    def correct(self) -> bool | None:
        return None if self.label is None or not self.top else self.label == self.top[0][0]


@dataclass(frozen=True)
class Filter:
    """Which rows to show. None: all. A row without a prediction passes only the full probability range."""

    label: str | None = None
    predicted: str | None = None
    correct: bool | None = None
    at_least: float = 0.0  # probability of the predicted class
    at_most: float = 1.0
    part: str | None = None
    marked: bool | None = None
    name_has: str = ""

    def passes(self, row: Row, is_marked: bool) -> bool:
        sure = row.probability
        return (
            self.label in (None, row.label)
            and self.predicted in (None, row.predicted)
            and self.correct in (None, row.correct)
            and self.part in (None, row.part)
            and self.marked in (None, is_marked)
            and self.name_has.casefold() in row.name.casefold()
            and (self.at_least <= sure <= self.at_most if sure is not None else (self.at_least, self.at_most) == (0, 1))
        )


# key: (in words, the value of a row, largest first). Rows without a value come last, equal ones as given.
SORTS = {
    "loss": ("loss, highest first", lambda row: row.loss, True),
    "margin": ("margin, smallest first", lambda row: row.margin, False),
    "probability": ("probability, highest first", lambda row: row.probability, True),
    "name": ("name", lambda row: row.name, False),
    "given": ("the order given", None, False),
}


def rows_from_items(items: Iterable[Item], part_of: Mapping[str, str] | None = None) -> tuple[Row, ...]:
    """One row per item, without predictions; `part_of` says which part of the split a name is in."""
    part_of = part_of or {}
    return tuple(Row(item.name, item.path, item.label, part_of.get(item.name, "")) for item in items)


def rows_from_predictions(preds, part_of: Mapping[str, str] | None = None, *, n_top: int = 5) -> tuple[Row, ...]:
    """One row per prediction with its `n_top` likeliest classes; `part_of[name]` replaces its part."""
    part_of = part_of or {}
    top = preds.probs.topk(max(min(n_top, len(preds.classes)), 1), dim=1)
    columns = zip(preds.items, preds.predicted.tolist(), top.values.tolist(), top.indices.tolist(), strict=True)
    losses = [None if math.isnan(loss) else loss for loss in preds.losses.tolist()]
    rows = []
    for (item, predicted, probs, places), loss in zip(columns, losses, strict=True):
        rest = [(preds.classes[k], p) for k, p in zip(places, probs, strict=True) if k != predicted]
        top_classes = (
            (preds.classes[predicted], probs[0]),
            *rest[: len(places) - 1],
        )  # equal ones: the first class
        part = part_of.get(item.name, preds.part)
        rows.append(Row(item.name, item.path, item.label, part, top_classes, loss))
    return tuple(rows)


def as_ranking(found: Iterable) -> list[tuple[str, str]]:
    """(name, caption) pairs from such pairs, or from what `find_duplicates` or `find_label_errors` gave."""
    ranking = []
    for number, entry in enumerate(found, start=1):
        if hasattr(entry, "second"):  # Duplicate: its two pictures stand side by side
            where = ", one trains and the other judges" if entry.across_split else ""
            caption = f"pair {number}: {entry.kind} duplicate{where}"
            ranking += [(entry.first.name, caption), (entry.second.name, caption)]
        elif hasattr(entry, "suggested"):  # LabelError
            caption = f"perhaps {entry.suggested}; probability of its label {entry.score:.2f}"
            ranking.append((entry.item.name, caption))
        else:
            name, caption = entry
            ranking.append((name, caption))
    return ranking


def ranked(rows: Iterable[Row], found: Iterable) -> tuple[Row, ...]:
    """The rows that a ranked list (see `as_ranking`) names, in its order; a name may come more than once."""
    by_name = {row.name: row for row in rows}
    ranking = as_ranking(found)
    if unknown := [name for name, _ in ranking if name not in by_name]:
        some = f"{counted(len(unknown), 'picture')} that are not here, e.g. {unknown[0]!r}"
        raise KeyError(f"the ranked list names {some}; pass the items it was made from")
    return tuple(replace(by_name[name], caption=caption) for name, caption in ranking)


class Review:
    """Rows to look at, page by page, and the marks made on them.

    `save_to` (a CSV file; None: memory only) is read at the start and rewritten after every mark; two reviews
    may share it. What cannot be written is kept here and written with the next mark, and `problem` says so.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        classes: Iterable[str] = (),
        *,
        save_to: Path | str | None = None,
        page_size: int = 12,
    ):
        if page_size < 1:
            raise ValueError(f"page_size is how many pictures a page shows, at least 1; got {page_size}")
        self.rows = tuple(rows)
        self.classes = tuple(classes) or tuple(sorted({row.label for row in self.rows if row.label is not None}))
        self.save_to = None if save_to is None else Path(save_to)
        self.page_size = page_size
        self._first_row = {row.name: row for row in reversed(self.rows)}
        self._marks: dict[str, Mark] = read_marks(self.save_to) if self.save_to else {}
        self._unsaved: dict[str, Mark | None] = {}
        self._done: list[tuple[str, Mark | None, Mark | None]] = []  # (name, mark before, mark after), for undo
        self._undone: list[tuple[str, Mark | None, Mark | None]] = []
        self.problem = ""
        self._filter, self._sort, self._reverse, self._page = Filter(), "given", False, 0
        self._reorder()

    # --- looking ----------------------------------------------------------------------------------------

    def show(self, **changes) -> None:
        """Change the filter, e.g. `show(correct=False)`; what is not named stays as it is. Back to page 0."""
        for word in set(changes) - set(Filter.__dataclass_fields__):
            raise TypeError(f"show() has no keyword {word!r}; {closest(word, Filter.__dataclass_fields__)}")
        self._filter = replace(self._filter, **changes)
        self._reorder()

    def sort_by(self, key: str, *, reverse: bool = False) -> None:
        """Order the rows by one of SORTS, or the other way round. Back to page 0."""
        if key not in SORTS:
            raise ValueError(f"cannot sort by {key!r}; {closest(key, SORTS)}")
        self._sort, self._reverse = key, reverse
        self._reorder()

    def _reorder(self) -> None:
        """Filter and sort once. Until the next call the pages stand still, whatever is marked."""
        _, value_of, largest_first = SORTS[self._sort]
        shown = [n for n, row in enumerate(self.rows) if self._filter.passes(row, row.name in self._marks)]
        if value_of is None:
            self._order = tuple(reversed(shown) if self._reverse else shown)
        else:
            values = {n: value for n in shown if (value := value_of(self.rows[n])) is not None}
            with_value = sorted(values, key=values.__getitem__, reverse=largest_first != self._reverse)
            self._order = (*with_value, *(n for n in shown if n not in values))
        self._page = 0

    @property
    def filter(self) -> Filter:
        return self._filter

    @property
    def sorted_by(self) -> str:
        """In words: 'loss, highest first'."""
        return SORTS[self._sort][0] + (", reversed" if self._reverse else "")

    @property
    def order(self) -> tuple[int, ...]:
        """Places in `rows` of everything that is shown, page after page."""
        return self._order

    @property
    def page(self) -> int:
        return self._page

    @property
    def pages(self) -> int:
        return max(1, math.ceil(len(self._order) / self.page_size))

    def go_to(self, page: int) -> None:
        """Turn to a page, counted from 0; beyond an end means the page at that end."""
        self._page = min(max(page, 0), self.pages - 1)

    def page_rows(self) -> tuple[Row, ...]:
        start = self._page * self.page_size
        return tuple(self.rows[n] for n in self._order[start : start + self.page_size])

    # --- marking ----------------------------------------------------------------------------------------

    @property
    def marks(self) -> dict[str, Mark]:
        """A copy of all marks by picture name, also those about pictures that are not here."""
        return dict(self._marks)

    def mark_of(self, name: str) -> Mark | None:
        return self._marks.get(name)

    def elsewhere(self) -> tuple[str, ...]:
        """Marked names that are not among the rows: of another part or data set, or the file is gone."""
        return tuple(sorted(name for name in self._marks if name not in self._first_row))

    def relabel(self, name: str, label: str) -> None:
        """Mark: the label should be `label`. The label it has already counts as "right"."""
        if label not in self.classes:
            raise ValueError(f"{label!r} is not a class; {closest(label, self.classes)}")
        old = self._row(name).label
        self._change(name, Mark("right", old) if label == old else Mark("relabel", old, label))

    def mark(self, name: str, kind: str) -> None:
        """Mark a picture as "right", "unsure" or "remove"."""
        if kind not in KINDS[1:]:
            raise ValueError(f"cannot mark as {kind!r}; {closest(kind, KINDS[1:])}, or relabel(name, label)")
        self._change(name, Mark(kind, self._row(name).label))

    def clear(self, name: str) -> None:
        """Take the mark away."""
        self._row(name)
        self._change(name, None)

    def undo(self) -> str:
        """Take back the last mark made here; the name it was about, or "" when there is none."""
        if not self._done:
            return ""
        name, before, after = self._done.pop()
        self._undone.append((name, before, after))
        self._set(name, before)
        return name

    def redo(self) -> str:
        """Make the last mark taken back once more; the name it was about, or "" when there is none."""
        if not self._undone:
            return ""
        name, before, after = self._undone.pop()
        self._done.append((name, before, after))
        self._set(name, after)
        return name

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def _row(self, name: str) -> Row:
        if name not in self._first_row:
            near = get_close_matches(name, list(self._first_row)[:2000], n=1)
            raise KeyError(f"no picture here is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return self._first_row[name]

    def _change(self, name: str, mark: Mark | None) -> None:
        before = self._marks.get(name)
        if before != mark:
            self._done.append((name, before, mark))
            self._undone.clear()
            self._set(name, mark)

    def _set(self, name: str, mark: Mark | None) -> None:
        _put(self._marks, name, mark)
        self._unsaved[name] = mark
        self.save()

    # --- keeping and using the marks --------------------------------------------------------------------

    def save(self) -> None:
        """Bring the changes into the file, and take over what another review wrote there meanwhile."""
        if self.save_to is None:
            return
        try:
            marks = read_marks(self.save_to) if self.save_to.exists() else dict(self._marks)
            for name, mark in self._unsaved.items():
                _put(marks, name, mark)
            write_marks(self.save_to, marks)
        except (OSError, ValueError) as error:
            self.problem = f"The marks are NOT saved: {error}. They stay in memory until the next mark is."
        else:
            self._marks, self.problem = marks, ""
            self._unsaved.clear()

    def report(self) -> str:
        """What was marked, and which marks are about pictures that are not here or had another label then."""
        here = [(name, mark) for name, mark in self._marks.items() if name in self._first_row]
        counts = {kind: sum(mark.kind == kind for _, mark in here) for kind in KINDS}
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        text = f"{counted(len(here), 'mark')} ({kinds})." if here else "No marks."
        if elsewhere := self.elsewhere():
            text += f" {counted(len(elsewhere), 'mark')} kept for pictures that are not here: {_some(elsewhere)}."
        then = [n for n, mark in here if self._first_row[n].label not in (mark.old_label, mark.new_label)]
        if then:
            text += f" {counted(len(then), 'mark')} made when the label was another: {_some(sorted(then))}."
        return text

    def apply(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """New items: with the new labels, without those to remove. No file is touched."""
        items = tuple(items)
        names = {item.name for item in items}
        marks = {name: mark for name, mark in self._marks.items() if name in names}
        labels = {name: mark.new_label for name, mark in marks.items() if mark.kind == "relabel"}
        gone = {name for name, mark in marks.items() if mark.kind == "remove"}
        return tuple(item for item in relabel(items, labels) if item.name not in gone)

    def export(self, path: Path | str) -> Path:
        """Write the labels as the marks leave them, without the removed pictures, for `ImageData.from_table`.

        Columns: name, label, old_label, mark. Raises FileExistsError rather than replace any other file.
        """
        path = Path(path)
        if path.exists() and read_table(path)[:1] != [TABLE_COLUMNS]:
            raise FileExistsError(f"{path} is something else than a table of labels; export to another name")
        lines = []
        for name in sorted(self._first_row):
            mark, old = self._marks.get(name), self._first_row[name].label
            if mark is None or mark.kind != "remove":
                new = mark.new_label if mark and mark.kind == "relabel" else old
                lines.append([name, new or "", old or "", mark.kind if mark else ""])
        write_table(path, TABLE_COLUMNS, lines)
        return path


def _put(marks: dict[str, Mark], name: str, mark: Mark | None) -> None:
    if mark is None:
        marks.pop(name, None)
    else:
        marks[name] = mark


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
