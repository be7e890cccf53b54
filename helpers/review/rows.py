"""The pictures of a review as rows: what is known of each, which ones to show, and in which order."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.data.dataset import ImageData
from helpers.data.items import VALID_FOLDERS, Item
from helpers.data.splits import PARTS
from helpers.review.marks import Mark
from helpers.runtime.text import counted

NO_LABEL = ""  # as a filter's label: pictures without one


@dataclass(frozen=True)
class Row:
    """One picture of a review. The numbers are None where there is no prediction or no label."""

    name: str
    path: Path
    label: str | None
    part: str = ""  # "train", "valid", "test"
    top: tuple[tuple[str, float], ...] = ()  # the likeliest classes with their probabilities, likeliest first
    loss: float | None = None  # -log p(label)
    caption: str = ""  # why it is in a ranked list

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
        return None if self.label is None or not self.top else self.label == self.predicted


@dataclass(frozen=True)
class Filter:
    """Which rows to show. None: all. A row without a prediction passes only the full probability range."""

    label: str | None = None  # a class, or NO_LABEL
    predicted: str | None = None
    correct: bool | None = None
    at_least: float = 0.0  # probability of the predicted class
    at_most: float = 1.0
    part: str | None = None
    mark: str | None = None  # one of KINDS, "any" or "none"
    text: str = ""  # part of the picture's name or of the note
    names: frozenset[str] | None = None  # a selection made elsewhere

    def passes(self, row: Row, mark: Mark | None) -> bool:
        sure, kinds = row.probability, ("any", mark.kind) if mark else ("none",)
        return (
            self.label in (None, row.label or NO_LABEL)
            and self.predicted in (None, row.predicted)
            and self.correct in (None, row.correct)
            and (self.at_least <= sure <= self.at_most if sure is not None else (self.at_least, self.at_most) == (0, 1))
            and self.part in (None, row.part)
            and self.mark in (None, *kinds)
            and self.text.casefold() in f"{row.name}\n{mark.note if mark else ''}".casefold()
            and (self.names is None or row.name in self.names)
        )


# key: (in words, the value of a row, largest first). Rows without a value come last, equal ones as given.
SORTS = {
    "loss": ("loss, highest first", lambda row: row.loss, True),
    "margin": ("margin, smallest first", lambda row: row.margin, False),
    "probability": ("probability, highest first", lambda row: row.probability, True),
    "name": ("name", lambda row: row.name, False),
    "given": ("the order given", None, False),
}


def arranged(rows: list[int], values: list, *, largest_first: bool) -> tuple[int, ...]:
    """`rows` sorted by values[row]; those whose value is None come last."""
    with_value = sorted((n for n in rows if values[n] is not None), key=values.__getitem__, reverse=largest_first)
    return (*with_value, *(n for n in rows if values[n] is None))


def image_data_of(source) -> ImageData | None:
    """The `ImageData` that `source` is, or that a Learner holds; None for anything else."""
    data = getattr(source, "data", source)
    return data if isinstance(data, ImageData) else None


def rows_from_items(source) -> tuple[Row, ...]:
    """One row per picture, without predictions, of an `ImageData`, a Learner (then with its part) or items.

    An item's part is that of the folder it lies in, if this is called train, valid or test; else it is not known.
    """
    data = image_data_of(source)
    items = data.items if data else tuple(source) if isinstance(source, Iterable) else (source,)
    if not all(isinstance(item, Item) for item in items):
        raise TypeError(
            f"expected an ImageData, a Learner or items, got {type(source).__name__}; "
            "for a folder: ImageData.from_folders(folder), or label_by_folder(folder)"
        )
    part_of = {name: part for part in PARTS for name in getattr(data.split, part)} if data else {}
    for item in items if not data else ():
        top = item.name.split("/")[0]
        part_of[item.name] = "valid" if top in VALID_FOLDERS else top if top in PARTS else ""
    return tuple(Row(item.name, item.path, item.label, part_of[item.name]) for item in items)


def rows_from_predictions(preds, *, n_top: int = 5) -> tuple[Row, ...]:
    """One row per prediction with its `n_top` likeliest classes."""
    top = preds.probs.topk(max(min(n_top, len(preds.classes)), 1), dim=1)
    columns = zip(preds.items, preds.predicted.tolist(), top.values.tolist(), top.indices.tolist(), strict=True)
    rows = []
    for (item, predicted, probs, places), loss in zip(columns, preds.losses.tolist(), strict=True):
        order = [predicted, *(k for k in places if k != predicted)]  # of equal ones the record's choice comes first
        classes = [preds.classes[k] for k in order[: len(places)]]
        top_classes = tuple(zip(classes, probs, strict=True))
        rows.append(Row(item.name, item.path, item.label, preds.part, top_classes, None if math.isnan(loss) else loss))
    return tuple(rows)


def as_ranking(found: Iterable) -> list[tuple[str, str]]:
    """(name, caption) pairs from such pairs, or from what `find_duplicates` or `find_label_errors` gave."""
    ranking = []
    for number, entry in enumerate(found, start=1):
        if hasattr(entry, "second"):  # Duplicate: its two pictures are shown side by side
            where = ", in {} and {}".format(*entry.parts) if entry.across_split else ""
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
        some = f"{counted(len(unknown), 'unknown picture')}, e.g. {unknown[0]!r}"
        raise KeyError(f"the ranked list names {some}; pass the data or items it was made from")
    return tuple(replace(by_name[name], caption=caption) for name, caption in ranking)
