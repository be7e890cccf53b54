"""What a review looks like: rows and marks in, HTML and alternative texts out. No widget, no state.

Correct and wrong, marked and selected are always said in words or signs, never by colour alone.
"""

from collections.abc import Iterable

from helpers.review.html import Html, fill, join, picture
from helpers.review.rows import Row
from helpers.review.session import Review
from helpers.runtime.text import counted

TILE_PX, ZOOM_PX, COMPARE_PX, STATIC_PX = 150, 400, 210, 96
STATIC_TILES, STATIC_CHARS = 24, 110_000  # the static face shows no more pictures than this
FACT = '<tr style="line-height:1.4"><th style="text-align:left">{name}</th><td>&emsp;{value}</td></tr>'
SIGNS = {"relabel": "✎", "right": "✓", "unsure": "?", "remove": "✕", "note": "✍"}


def in_words(row: Row, mark: str = "") -> str:
    """The alternative text: 'cell_17.png: labelled defective, predicted functional 0.97, wrong; unsure'."""
    text = f"{row.name}: {_label(row)}"
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


def _label(row: Row) -> str:
    return "no label" if row.label is None else f"labelled {row.label}"


def tile(review: Review, row: Row, side_px: int = TILE_PX, *, named: bool = False) -> Html:
    """One picture with its caption; `named`: with the file's name, too."""
    mark = mark_in_words(review, row.name)
    lines = [_label(row)]
    if row.top:
        verdict = {True: " ✓\N{NO-BREAK SPACE}correct", False: " ✗\N{NO-BREAK SPACE}wrong", None: ""}[row.correct]
        lines.append(f"predicted {row.predicted} {row.probability:.2f}{verdict}")
    lines += [fill("<em>{caption}</em>", caption=row.caption)] if row.caption else []
    lines += [fill("<b>{sign} {mark}</b>", sign=SIGNS[review.mark_of(row.name).kind], mark=mark)] if mark else []
    lines += [fill("<small>{name}</small>", name=row.name)] if named else []
    return fill(
        '<div style="max-width:{width}px;line-height:1.3;overflow-wrap:anywhere">{picture}{lines}</div>',
        width=max(side_px, 130) + 10,  # room for the words
        picture=picture(row.path, in_words(row, mark), side_px),
        lines=join(fill("<div>{line}</div>", line=line) for line in lines),
    )


def tiles(review: Review, rows: Iterable[Row], side_px: int) -> Html:
    """Pictures side by side, with names."""
    return _side_by_side(tile(review, row, side_px, named=True) for row in rows)


def _side_by_side(pieces: Iterable[Html]) -> Html:
    return fill('<div style="display:flex;flex-wrap:wrap;gap:8px">{pieces}</div>', pieces=join(pieces))


def zoomed(review: Review, row: Row) -> Html:
    """One picture large, with everything known about it."""
    facts = [("part", row.part)] if row.part else []
    facts += [(f"p({name})", f"{p:.3f}") for name, p in row.top]
    facts += [(name, f"{n:.3f}") for name, n in (("loss", row.loss), ("margin", row.margin)) if n is not None]
    return fill(
        "<div>{tile}<table>{facts}</table></div>",
        tile=tile(review, row, ZOOM_PX, named=True),
        facts=join(fill(FACT, name=name, value=value) for name, value in facts),
    )


def gallery(review: Review, sentence: str) -> Html:
    """The static face: the current page, with its marks; small enough for a notebook (below 150 kB)."""
    rows, pieces, n_chars = review.page_rows(), [], 0
    for row in rows[:STATIC_TILES]:
        piece = tile(review, row, STATIC_PX, named=True)
        n_chars += len(piece)
        if n_chars > STATIC_CHARS:
            break
        pieces.append(piece)
    rest = len(rows) - len(pieces)
    more = f"And {counted(rest, 'more picture')} on this page." if rest else ""
    return fill("<div><p>{text}</p>{tiles}<p>{more}</p></div>", text=sentence, tiles=_side_by_side(pieces), more=more)
