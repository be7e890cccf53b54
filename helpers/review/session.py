"""The state of a review, without any widget: which pictures are shown, in which order, and what is marked.

Marks belong to a picture's name, not to its place on a page, so they survive every filter, page and restart.
Each one is saved at once. Nothing here moves, renames or changes a picture: `apply` returns new items.
"""

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from data_setup.base.arguments import closest, did_you_mean
from data_setup.base.text import counted
from data_setup.items import Item, relabel
from data_setup.splits import PARTS
from helpers.review.mark_file import KINDS, Mark, MarkFile, Step, default_file, read_table, write_table
from helpers.review.rows import SORTS, Filter, Row

TABLE_COLUMNS = ["name", "label", "old_label", "mark", "note", "weight"]
HELD_OUT = ("valid", "test")
CHANGES = ("relabel", "remove")  # kinds of marks that `apply` carries out
PER_DATA_SET = "one file per data set"  # as `save_to`: see `default_file`

Names = str | Iterable[str]


class Review:
    """The rows of a whole data set, the view of them that is looked at page by page, and the marks made on them.

    `view` (default: all) is what can be seen; marks, `apply` and `export` are about all `rows`. `save_to` is a CSV
    file, PER_DATA_SET or None (memory only); it is written after every mark, and several reviews may share it.
    """

    def __init__(
        self, rows: Iterable[Row], classes=(), *, view: Iterable[Row] | None = None, save_to=None, page_size: int = 12
    ):
        if page_size < 1:
            raise ValueError(f"page_size is the number of pictures per page, at least 1; got {page_size}")
        rows = tuple(rows)
        self.view = rows if view is None else tuple(view)
        self.row_of = {row.name: row for row in rows}
        for row in self.view:
            self.row_of.setdefault(row.name, row)
        self.classes = tuple(classes) or tuple(sorted({row.label for row in rows if row.label is not None}))
        self.page_size = page_size
        self.file = MarkFile(default_file(self.row_of.values()) if save_to == PER_DATA_SET else save_to)
        self._done: list[Step] = []
        self._undone: list[Step] = []
        self._filter, self._sort, self._reverse = Filter(), "given", False
        self._reorder()

    @partial(did_you_mean, forwards_to=Filter)
    def show(self, **changes) -> None:
        """Change the filter, e.g. `show(correct=False)`; what is not named stays as it is. Back to page 0."""
        self._filter = replace(self._filter, **changes)
        self._reorder()

    def sort_by(self, key: str, *, reverse: bool = False) -> None:
        """Order the view by one of SORTS, or in reverse. Back to page 0."""
        if key not in SORTS:
            raise ValueError(f"cannot sort by {key!r}; {closest(key, SORTS)}")
        self._sort, self._reverse = key, reverse
        self._reorder()

    def _reorder(self) -> None:
        """Filter and sort once: until the next call the pages stay the same, whatever is marked."""
        _, value_of, largest_first = SORTS[self._sort]
        marks, values = self.marks, [value_of(row) if value_of else n for n, row in enumerate(self.view)]
        shown = [n for n, row in enumerate(self.view) if self._filter.passes(row, marks.get(row.name))]
        known = [n for n in shown if values[n] is not None]
        known.sort(key=values.__getitem__, reverse=largest_first != self._reverse)
        self.order = (*known, *(n for n in shown if values[n] is None))
        self.page = 0

    @property
    def sorted_by(self) -> str:
        """In words: 'loss, highest first'."""
        return SORTS[self._sort][0] + (", reversed" if self._reverse else "")

    @property
    def pages(self) -> int:
        return max(1, math.ceil(len(self.order) / self.page_size))

    def go_to(self, page: int) -> None:
        """Turn to a page, counted from 0; beyond an end means the page at that end."""
        self.page = min(max(page, 0), self.pages - 1)

    def page_rows(self) -> tuple[Row, ...]:
        start = self.page * self.page_size
        return tuple(self.view[n] for n in self.order[start : start + self.page_size])

    @property
    def marks(self) -> dict[str, Mark]:
        """A copy of all marks by picture name, also those about pictures that are not here."""
        return dict(self.file.refresh())

    def mark_of(self, name: str) -> Mark | None:
        return self.file.marks.get(name)

    def relabel(self, names: Names, label: str) -> None:
        """Mark one picture or several: the label should be `label`. The label it has already counts as "right"."""
        if label not in self.classes:
            raise ValueError(f"{label!r} is not a class; {closest(label, self.classes)}")
        self._mark(names, lambda old: Mark("right", old) if label == old else Mark("relabel", old, label))

    def mark(self, names: Names, kind: str) -> None:
        """Mark one picture or several as "right", "unsure" or "remove"."""
        if kind not in KINDS[1:4]:
            raise ValueError(f"cannot mark as {kind!r}; {closest(kind, KINDS[1:4])}, or relabel(name, label)")
        self._mark(names, lambda old: Mark(kind, old))

    def mark_rest(self, names: Names) -> int:
        """Mark as "right" those that have no mark now, nobody's; returns how many that were."""
        return len(self._change(names, lambda name, now: now or Mark("right", self.row_of[name].label)))

    def note(self, names: Names, text: str) -> None:
        """Write a note beside the mark; a picture without a mark gets one that is only a note. "" removes it."""

        def noted(name: str, now: Mark | None) -> Mark | None:
            marked = replace(now or Mark("note", self.row_of[name].label), note=text)
            return None if marked.kind == "note" and not text else marked

        self._change(names, noted)

    def clear(self, names: Names) -> None:
        """Remove the mark."""
        self._change(names, lambda name, now: None)

    def _mark(self, names: Names, new_mark: Callable[[str | None], Mark]) -> None:
        """Give each picture the mark that `new_mark` makes from its label; a note stays."""
        self._change(names, lambda name, now: replace(new_mark(self.row_of[name].label), note=now.note if now else ""))

    def _change(self, names: Names, change: Callable[[str, Mark | None], Mark | None]) -> Step:
        names = [names] if isinstance(names, str) else list(names)
        for name in set(names).difference(self.row_of):
            raise KeyError(f"no picture here is called {name!r}; {closest(name, list(self.row_of)[:2000], most=3)}")
        if step := self.file.update(names, change):
            self._done.append(step)
            self._undone.clear()
        return step

    def undo(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Undo the last marks made here: (pictures whose mark changed, pictures somebody else has marked since)."""
        return self._take_back(self._done, self._undone)

    def redo(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Make the last undone marks again; returns the same as `undo`."""
        return self._take_back(self._undone, self._done)

    def _take_back(self, steps: list[Step], taken: list[Step]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if not steps:
            return (), ()
        step = steps.pop()
        reverse = self.file.update(step, lambda name, now: step[name][0] if now == step[name][1] else now)
        taken += [reverse] if reverse else []
        return tuple(reverse), tuple(name for name in step if name not in reverse)

    def is_stale(self, name: str) -> bool:
        """Was the mark made against another label than the picture has now? Such a mark is not carried out."""
        mark = self.mark_of(name)
        return mark is not None and name in self.row_of and mark.is_stale(self.row_of[name].label)

    def report(self) -> str:
        """What was marked, and which marks are about unknown pictures, older labels or held-out pictures."""
        here = {name: mark for name, mark in self.marks.items() if name in self.row_of}
        counts = {kind: sum(mark.kind == kind for mark in here.values()) for kind in KINDS}
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        text = f"{counted(len(here), 'mark')} ({kinds})." if here else "No marks."
        if elsewhere := sorted(set(self.marks) - set(here)):
            text += f" {counted(len(elsewhere), 'mark')} kept for pictures that are not here: {_some(elsewhere)}."
        if stale := sorted(name for name in here if self.is_stale(name)):
            text += f" {counted(len(stale), 'mark')} made against an older label, not carried out: {_some(stale)}."
        if n := sum(self._is_held_out(name) and here[name].kind in CHANGES for name in here):
            text += f" {counted(n, 'change')} to held-out pictures, carried out only with held_out=True."
        if any(self.row_of[name].part not in PARTS and here[name].kind in CHANGES for name in here):
            text += " Which pictures are held out is not known here: a browser of the data or Learner protects them."
        return text

    def apply(self, items: Iterable[Item], *, held_out: bool = False) -> tuple[Item, ...]:
        """New items: with the new labels, without those to remove. No file is touched.

        Marks made against an older label are never carried out, those of validation and test pictures only with
        `held_out=True`: correcting what the model got wrong makes its accuracy look better than it is. A warning
        says what was left as it is.
        """
        items, marks, done, refused = tuple(items), self.marks, {}, {}
        for item in items:
            mark = marks.get(item.name)
            if mark is None or mark.kind not in CHANGES:
                continue
            if mark.is_stale(item.label):
                refused[item.name] = "made against an older label"
            elif self._is_held_out(item.name) and not held_out:
                refused[item.name] = "held-out pictures change only with held_out=True"
            else:
                done[item.name] = mark
        if refused:
            why = "; ".join(sorted(set(refused.values())))
            words = f"{counted(len(refused), 'mark')} not carried out ({why}): {_some(sorted(refused))}"
            warnings.warn(words, stacklevel=2)
        labels = {name: mark.new_label for name, mark in done.items() if mark.kind == "relabel"}
        return tuple(item for item in relabel(items, labels) if item.name not in done or item.name in labels)

    def export(self, path: Path | str, *, held_out: bool = False) -> Path:
        """Write the labels of the whole data set as `apply` leaves them, for `ImageData.from_table` (a new split).

        Columns: name, label, old_label, mark, note, weight. Raises FileExistsError rather than replace any other file.
        """
        path = Path(path)
        if path.exists() and read_table(path)[:1] not in ([TABLE_COLUMNS], [TABLE_COLUMNS[:-1]]):  # an older one
            raise FileExistsError(f"{path} is not a table of labels; export to another name")
        items = [Item(row.name, row.path, row.label, row.weight) for _, row in sorted(self.row_of.items())]
        lines = []
        for item in self.apply(items, held_out=held_out):
            mark, old = self.mark_of(item.name), self.row_of[item.name].label
            kind, note = (mark.kind, mark.note) if mark else ("", "")
            lines.append([item.name, item.label or "", old or "", kind, note, str(item.weight)])
        write_table(path, TABLE_COLUMNS, lines)
        return path

    def _is_held_out(self, name: str) -> bool:
        return name in self.row_of and self.row_of[name].part in HELD_OUT


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
