"""Image browsers: look at pictures page by page, filter, sort, compare, and mark what is wrong."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from helpers.analysis.audit import nearest_neighbours
from helpers.analysis.heatmaps import heat_map
from helpers.analysis.predictions import Predictions
from helpers.review import pages
from helpers.review.browser import Browser
from helpers.review.html import Html, fill
from helpers.review.rows import Row, image_data_of, ranked, rows_from_items, rows_from_predictions
from helpers.review.session import PER_DATA_SET, Review
from helpers.review.widgets import drawn
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.text import counted

NEAR = 4  # neighbours to show


class LabelBrowser(Browser):
    """Look at pictures and correct their labels.

    `source` is an `ImageData`, a Learner or items. `found` is a ranked list to look at instead of all: (name, caption)
    pairs, or what `find_duplicates` or `find_label_errors` returned. `save_to` is the file of the marks: by default
    one for each data set, in the course's data folder; None keeps them in memory only.
    """

    @did_you_mean
    def __init__(
        self,
        source,
        *,
        found: Iterable | None = None,
        classes: Iterable[str] = (),
        save_to: Path | str | None = PER_DATA_SET,
        page_size: int = 12,
    ):
        rows = rows_from_items(source)
        view = None if found is None else ranked(rows, found)
        review = Review(rows, classes, view=view, save_to=save_to, page_size=page_size)
        super().__init__(review, what="picture", sort="name" if found is None else "given")


class MistakeBrowser(Browser):
    """Look at what a model answered, the worst first, and mark what the pictures tell.

    `preds` is a `Predictions`, or several (of train and valid, say). `source` is the Learner or its `ImageData`: then
    marks and export are about the whole data set, without it about the pictures of `preds`; a Learner adds heat maps.
    With `features` (N, D), row i about data.items[i], there are the training pictures that look most alike. `found`
    and `save_to` as in `LabelBrowser`.
    """

    @did_you_mean
    def __init__(
        self,
        preds: Predictions | Iterable[Predictions],
        source=None,
        *,
        features: Tensor | None = None,
        found: Iterable | None = None,
        save_to: Path | str | None = PER_DATA_SET,
        page_size: int = 12,
    ):
        records = _records(preds)
        self._data, self._features = image_data_of(source), features
        self._learn = source if hasattr(source, "get_preds") else None
        if source is not None and self._data is None:
            raise TypeError(f"expected a Learner or its ImageData after the predictions, got {type(source).__name__}")
        if features is not None and (self._data is None or len(features) != len(self._data.items)):
            n = "no data" if self._data is None else f"{len(self._data.items)} pictures"
            raise ValueError(f"features need data with one row per picture; got {len(features)} rows and {n}")
        rows = rows_from_items(self._data) if self._data else ()
        part_of, label_of = ({shown.name: getattr(shown, field) for shown in rows} for field in ("part", "label"))
        view = [shown for record in records for shown in rows_from_predictions(record)]
        if other := [shown for shown in view if rows and (shown.name, shown.label) not in label_of.items()]:
            raise ValueError(
                f"{counted(len(other), 'prediction')} about pictures that are not in this data or have another label "
                f"in it, e.g. {other[0].name}; predict again with learn.get_preds()"
            )
        view = [replace(shown, part=part_of.get(shown.name, shown.part)) for shown in view]
        if found is not None:
            view = ranked((*rows, *view), found)
        views = ({"Heat map": self._heat_map} if self._learn else {}) | (
            {} if features is None else {"Neighbours": self._neighbours}
        )
        sort = "given" if found is not None else "loss" if any(shown.loss is not None for shown in view) else "margin"
        review = Review(rows, records[0].classes, view=view, save_to=save_to, page_size=page_size)
        super().__init__(review, what="prediction", sort=sort, views=views)

    def _heat_map(self, shown: Row) -> Html:
        from helpers.figures.pictures import show_heat_map

        image = self._data.eval_images([self._data.index_of(shown.name)])[0]
        heat = heat_map(self._learn, image, self.review.classes.index(shown.predicted or shown.label))[0]
        return drawn(show_heat_map(image, heat, title=f"{shown.predicted or shown.label}, {Path(shown.name).name}"))

    def _neighbours(self, shown: Row) -> Html:
        train = self._data.indices_of("train").tolist()
        query = self._features[self._data.index_of(shown.name)]
        items = [self._data.items[index] for index in train]
        found = nearest_neighbours(query, self._features[train], items, k=NEAR, other_than=shown.name)
        near = [Row(n.item.name, n.item.path, n.item.label, caption=f"similarity {n.similarity:.2f}") for n in found]
        return fill(
            "{own}<div>Most alike among the training pictures:</div>{near}",
            own=pages.tile(self.review, shown, named=True),
            near=pages.tiles(self.review, near, pages.NEAR_PX),
        )


def _records(preds) -> tuple[Predictions, ...]:
    records = (preds,) if isinstance(preds, Predictions) else tuple(preds) if isinstance(preds, Iterable) else (preds,)
    if not records or not all(isinstance(record, Predictions) for record in records):
        got = type(preds).__name__
        raise TypeError(f"expected Predictions first, as learn.get_preds() gives them, got {got}")
    if len(known := {record.classes for record in records}) > 1:
        raise ValueError(f"the predictions are about different classes: {' and '.join(map(str, sorted(known)))}")
    return records
