"""Image browsers: look at pictures page by page, filter, sort, compare, and mark what is wrong."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from data_setup.base.arguments import did_you_mean
from data_setup.base.text import counted
from helpers.analysis.predictions import Predictions
from helpers.review.browser import Browser, View
from helpers.review.rows import image_data_of, ranked, rows_from_items, rows_from_predictions
from helpers.review.session import PER_DATA_SET, Review


class LabelBrowser(Browser):
    """Look at pictures and correct their labels; `.review` has the marks, `apply` and `export`.

    `source` is an `ImageData`, a Learner or items. `found` is a ranked list to look at instead of all: (name, caption)
    pairs, or what `find_duplicates` or `find_label_errors` returned. `save_to` is the file of the marks: by default
    one for each data set, in the course's data folder; None keeps them in memory only.
    """

    @did_you_mean
    def __init__(
        self, source, *, found: Iterable | None = None, classes: Iterable[str] = (), save_to=PER_DATA_SET, page_size=12
    ):
        rows = rows_from_items(source)
        view = None if found is None else ranked(rows, found)
        review = Review(rows, classes, view=view, save_to=save_to, page_size=page_size)
        super().__init__(review, what="picture", sort="name" if found is None else "given")


class MistakeBrowser(Browser):
    """Look at what a model answered, the worst first, and mark what the pictures tell.

    `preds` is a `Predictions`, or several (of train and valid, say). `source` is the Learner or its `ImageData`: then
    marks and export are about the whole data set, without it about the pictures of `preds`. `views` are more ways to
    look closer, such as `neighbours_view` and `heat_view` of the lessons. Else as `LabelBrowser`.
    """

    @did_you_mean
    def __init__(
        self, preds, source=None, *, found=None, views: Mapping[str, View] = {}, save_to=PER_DATA_SET, page_size=12
    ):
        records = _records(preds)
        if source is not None and image_data_of(source) is None:
            raise TypeError(f"expected a Learner or its ImageData after the predictions, got {type(source).__name__}")
        rows = () if source is None else rows_from_items(source)
        known = {shown.name: shown for shown in rows}
        view = [shown for record in records for shown in rows_from_predictions(record)]
        if other := [n for n in view if rows and (n.name not in known or known[n.name].label != n.label)]:
            said = f"{counted(len(other), 'prediction')} about pictures that are not in this data or have another label"
            raise ValueError(f"{said} in it, e.g. {other[0].name}; predict again with learn.get_preds()")
        view = [replace(shown, part=known.get(shown.name, shown).part) for shown in view]
        sort = "loss" if any(shown.loss is not None for shown in view) else "margin"
        if found is not None:
            view, sort = ranked((*rows, *view), found), "given"
        review = Review(rows, records[0].classes, view=view, save_to=save_to, page_size=page_size)
        super().__init__(review, what="prediction", sort=sort, views=views)


def _records(preds) -> tuple[Predictions, ...]:
    records = (preds,) if isinstance(preds, Predictions) else tuple(preds) if isinstance(preds, Iterable) else (preds,)
    if not records or not all(isinstance(record, Predictions) for record in records):
        got = type(preds).__name__
        raise TypeError(f"expected Predictions first, as learn.get_preds() gives them, got {got}")
    if len(known := {record.classes for record in records}) > 1:
        raise ValueError(f"the predictions are about different classes: {' and '.join(map(str, sorted(known)))}")
    return records
