"""Image browsers: look at pictures page by page, filter, sort, compare, and mark what is wrong."""

from collections.abc import Iterable
from pathlib import Path

from helpers.analysis.audit import nearest_neighbours
from helpers.analysis.heatmaps import heat_map
from helpers.review import pages as review_pages
from helpers.review.browser import Browser
from helpers.review.html import Html
from helpers.review.session import Row, ranked, rows_from_items, rows_from_predictions
from helpers.review.widgets import drawn

NEAR = 4  # neighbours to show


def _parts(data) -> dict[str, str]:
    """Which part of the split each name is in; nothing without data."""
    if data is None:
        return {}
    return {name: part for part in ("train", "valid", "test") for name in getattr(data.split, part)}


class LabelBrowser(Browser):
    """Look at pictures and correct their labels.

    `source` is an `ImageData` or items; `found` a ranked list to show instead of all: (name, caption) pairs,
    or what `find_duplicates` or `find_label_errors` returned. `save_to` keeps the marks (None: nothing does).
    """

    def __init__(
        self,
        source,
        *,
        found: Iterable | None = None,
        classes: Iterable[str] = (),
        save_to: Path | str | None = "marks.csv",
        page_size: int = 12,
    ):
        data = source if hasattr(source, "split") else None
        rows = rows_from_items(data.items if data else source, _parts(data))
        classes = tuple(classes) or tuple(sorted({shown.label for shown in rows if shown.label is not None}))
        if found is not None:
            rows = ranked(rows, found)
        sort = "name" if found is None else "given"
        super().__init__(rows, classes, what="picture", save_to=save_to, page_size=page_size, sort=sort, views={})


class MistakeBrowser(Browser):
    """Look at what a model answered, the worst first, and mark what the pictures tell.

    `preds` is a `Predictions`, or several (of train and valid, say). With `data` every picture has its part
    of the split; with `learn` there are heat maps; with `features` (N, D), row i about data.items[i], the
    training pictures that look most alike. `found` and `save_to` as in `LabelBrowser`.
    """

    def __init__(
        self,
        preds,
        data=None,
        learn=None,
        *,
        features=None,
        found: Iterable | None = None,
        save_to: Path | str | None = "marks.csv",
        page_size: int = 12,
    ):
        records = [preds] if hasattr(preds, "log_probs") else list(preds)
        self._data, self._learn, self._features = data or getattr(learn, "data", None), learn, features
        if features is not None and (self._data is None or len(features) != len(self._data.items)):
            n = "no data" if self._data is None else f"{len(self._data.items)} pictures"
            raise ValueError(f"features need data with one row per picture; got {len(features)} rows and {n}")
        parts = _parts(data)
        rows = [shown for record in records for shown in rows_from_predictions(record, parts)]
        if found is not None:
            rows = ranked(rows, found)
        views = {"Heat map": self._heat_map} if learn is not None else {}
        if features is not None:
            views["Neighbours"] = self._neighbours
        has_loss = any(shown.loss is not None for shown in rows)
        sort = "given" if found is not None else "loss" if has_loss else "margin"
        super().__init__(
            rows,
            records[0].classes,
            what="prediction",
            save_to=save_to,
            page_size=page_size,
            sort=sort,
            views=views,
        )

    def _heat_map(self, shown: Row) -> Html:
        from helpers.figures.pictures import show_heat_map

        index = self._data.index_of(shown.name)
        image = self._data.eval_images([index])[0]
        heat = heat_map(self._learn, image, self.review.classes.index(shown.predicted))[0]
        return drawn(show_heat_map(image, heat, title=f"{shown.predicted}, {Path(shown.name).name}"))

    def _neighbours(self, shown: Row) -> Html:
        train = self._data.indices["train"].tolist()
        query = self._features[self._data.index_of(shown.name)]
        items = [self._data.items[index] for index in train]
        found = nearest_neighbours(query, self._features[train], items, k=NEAR, other_than=shown.name)
        return review_pages.neighbours(shown, found)
