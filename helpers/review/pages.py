"""What a review looks like: rows and marks in, HTML (pages.html) and alternative texts out. No widget, no state.

Correct and wrong, marked and selected are always said in words or signs, never by colour alone.
"""

from itertools import accumulate
from pathlib import Path

from data_setup.base.html import Html, page, picture
from data_setup.base.text import counted
from helpers.review.rows import Row
from helpers.review.session import Review

TILE_PX, ZOOM_PX, COMPARE_PX, STATIC_PX = 150, 400, 210, 96
STATIC_TILES, STATIC_CHARS = 24, 110_000  # the static face shows no more pictures than this
SIGNS = {"relabel": "✎", "right": "✓", "unsure": "?", "remove": "✕", "note": "✍"}
VERDICTS = {True: " ✓\N{NO-BREAK SPACE}correct", False: " ✗\N{NO-BREAK SPACE}wrong", None: ""}


def in_words(row: Row, mark: str = "") -> str:
    """The alternative text: 'cell_17.png: labelled defective, predicted functional 0.97, wrong; unsure'."""
    text = f"{row.name}: {label_in_words(row)}"
    if row.top:
        text += f", predicted {row.predicted} {row.probability:.2f}"
    if row.correct is not None:
        text += ", correct" if row.correct else ", wrong"
    if row.caption:
        text += f"; {row.caption}"
    return f"{text}; marked: {mark}" if mark else text


def mark_in_words(review: Review, name: str) -> str:
    """'new label dog (made against an older label: cat)'; "" without a mark."""
    mark = review.mark_of(name)
    stale = f" (made against an older label: {mark.old_label})" if review.is_stale(name) else ""
    return f"{mark}{stale}" if mark else ""


def label_in_words(row: Row) -> str:
    return "no label" if row.label is None else f"labelled {row.label}"


KNOWN = {"SIGNS": SIGNS, "VERDICTS": VERDICTS, "TILE_PX": TILE_PX, "ZOOM_PX": ZOOM_PX, "STATIC_PX": STATIC_PX}
KNOWN |= {"picture": picture, "in_words": in_words, "mark_in_words": mark_in_words, "label_in_words": label_in_words}
HTML = page(Path(__file__).with_name("pages.html"), **KNOWN).module
tile, tiles, zoomed = HTML.tile, HTML.tiles, HTML.zoomed  # their arguments stand in the file


def gallery(review: Review, sentence: str) -> Html:
    """The static face: the current page, with its marks; small enough for a notebook (below 150 kB)."""
    rows = review.page_rows()
    sizes = accumulate(len(tile(review, row, STATIC_PX, named=True)) for row in rows[:STATIC_TILES])
    shown = rows[: sum(size <= STATIC_CHARS for size in sizes)]
    rest = len(rows) - len(shown)
    return HTML.gallery(review, shown, sentence, f"And {counted(rest, 'more picture')} on this page." if rest else "")
