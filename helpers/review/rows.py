"""The pictures of a review as rows: what is known of each, which ones to show, and in which order."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from data_setup.base.text import counted
from data_setup.items import VALID_FOLDERS, Item
from data_setup.splits import PARTS
from helpers.analysis.predictions import Predictions
from helpers.data.dataset import ImageData
from helpers.review.mark_file import Mark

N_TOP = 5  # classes of a prediction to show
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
    weight: float = 1.0  # its item's

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
    sure: tuple[float, float] = (0.0, 1.0)  # least and largest probability of the predicted class
    part: str | None = None
    mark: str | None = None  # one of KINDS, "any" or "none"
    text: str = ""  # part of the picture's name or of the note
    names: frozenset[str] | None = None  # a selection made elsewhere

    def passes(self, row: Row, mark: Mark | None) -> bool:
        (low, high), kinds = self.sure, ("any", mark.kind) if mark else ("none",)
        return (
            self.label in (None, row.label or NO_LABEL)
            and self.predicted in (None, row.predicted)
            and self.correct in (None, row.correct)
            and (low <= row.probability <= high if row.top else (low, high) == (0, 1))
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
        fix = "for a folder: ImageData.from_folders(folder), or label_by_folder(folder)"
        raise TypeError(f"expected an ImageData, a Learner or items, got {type(source).__name__}; {fix}")
    part_of = {name: part for part in PARTS for name in getattr(data.split, part)} if data else {}
    for item in items if not data else ():
        top = item.name.split("/")[0]
        part_of[item.name] = "valid" if top in VALID_FOLDERS else top if top in PARTS else ""
    return tuple(Row(item.name, item.path, item.label, part_of[item.name], weight=item.weight) for item in items)


def rows_from_predictions(preds: Predictions) -> tuple[Row, ...]:
    """One row per prediction with its likeliest classes; of equal ones the first class leads, as in the record."""
    order = preds.log_probs.sort(dim=1, descending=True, stable=True).indices[:, :N_TOP]  # (N, N_TOP)
    columns = (preds.items, order.tolist(), preds.probs.gather(1, order).tolist(), preds.losses.tolist())
    rows = []
    for item, places, probs, loss in zip(*columns, strict=True):
        top = tuple((preds.classes[k], p) for k, p in zip(places, probs, strict=True))
        loss = None if math.isnan(loss) else loss
        rows.append(Row(item.name, item.path, item.label, preds.part, top, loss, weight=item.weight))
    return tuple(rows)


def ranked(rows: Iterable[Row], found: Iterable) -> tuple[Row, ...]:
    """The rows that `found` names, in its order, a name perhaps more than once: (name, caption) pairs, or records
    with such `captions`, as `find_duplicates` and `find_label_errors` give them."""
    by_name = {row.name: row for row in rows}
    ranking = [pair for entry in found for pair in getattr(entry, "captions", (entry,))]
    if unknown := [name for name, _ in ranking if name not in by_name]:
        some = f"{counted(len(unknown), 'unknown picture')}, e.g. {unknown[0]!r}"
        raise KeyError(f"the ranked list names {some}; pass the data or items it was made from")
    return tuple(replace(by_name[name], caption=caption) for name, caption in ranking)
