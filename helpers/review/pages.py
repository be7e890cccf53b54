"""What a review looks like: rows and marks in, HTML and alternative texts out. No widget, no state.

Right and wrong, marked and selected are always said in words or signs, never by colour alone.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from helpers.analysis.audit import Neighbour
from helpers.review.html import Html, fill, join
from helpers.review.marks import Mark
from helpers.review.session import Review, Row
from helpers.review.thumbnails import picture
from helpers.runtime.text import counted

TILE_PX, ZOOM_PX, COMPARE_PX, NEAR_PX, STATIC_PX = 150, 400, 210, 100, 96
STATIC_TILES, STATIC_CHARS = 24, 110_000  # the static face shows no more pictures than this
SIGNS = {"relabel": "✎", "right": "✓", "unsure": "?", "remove": "✕"}


def in_words(row: Row, mark: Mark | None = None) -> str:
    """The alternative text: 'cell_17.png: labelled defective, predicted functional 0.97, wrong; unsure'."""
    text = f"{row.name}: {_label(row)}"
    if row.top:
        text += f", predicted {row.predicted} {row.probability:.2f}"
    if row.correct is not None:
        text += ", right" if row.correct else ", wrong"
    if row.caption:
        text += f"; {row.caption}"
    return f"{text}; marked: {mark}" if mark else text


def _label(row: Row) -> str:
    return "no label" if row.label is None else f"labelled {row.label}"


def caption(row: Row, mark: Mark | None) -> Html:
    """The lines below a picture; the file's name stands elsewhere."""
    lines = [fill("{label}", label=_label(row))]
    if row.top:
        verdict = {True: "✓ right", False: "✗ wrong", None: ""}[row.correct]
        line = fill(
            'predicted {predicted} {p} <b style="white-space:nowrap">{verdict}</b>',
            predicted=row.predicted,
            p=f"{row.probability:.2f}",
            verdict=verdict,
        )
        lines.append(line)
    if row.caption:
        lines.append(fill("<em>{caption}</em>", caption=row.caption))
    if mark:
        lines.append(fill("<b>{sign} {mark}</b>", sign=SIGNS[mark.kind], mark=mark))
    return join(fill("<div>{line}</div>", line=line) for line in lines)


def tile(row: Row, mark: Mark | None, side_px: int = TILE_PX) -> Html:
    """One picture of a page, with its caption."""
    return fill(
        '<div style="line-height:1.3;overflow-wrap:anywhere">{picture}{caption}</div>',
        picture=picture(row.path, in_words(row, mark), side_px),
        caption=caption(row, mark),
    )


def zoomed(row: Row, mark: Mark | None) -> Html:
    """One picture large, with everything known about it."""
    facts = [("part", row.part)] if row.part else []
    facts += [(f"p({name})", f"{p:.3f}") for name, p in row.top]
    facts += [("loss", f"{row.loss:.3f}")] if row.loss is not None else []
    facts += [("margin", f"{row.margin:.3f}")] if row.margin is not None else []
    return fill(
        '<div style="line-height:1.4">{name}{tile}<table>{facts}</table></div>',
        name=breakable(row.name),
        tile=tile(row, mark, ZOOM_PX),
        facts=join(_fact(name, value) for name, value in facts),
    )


def _fact(name: str, value: str) -> Html:
    return fill(
        '<tr style="line-height:1.4"><th style="text-align:left">{name}</th><td>&emsp;{value}</td></tr>',
        name=name,
        value=value,
    )


def side_by_side(title: str, rows: Iterable[Row], marks: Mapping[str, Mark]) -> Html:
    """Two pictures at the same size."""
    pieces = _wrapped(_named(row, marks.get(row.name), COMPARE_PX) for row in rows)
    return fill("<div>{title}</div>{pieces}", title=title, pieces=pieces)


def neighbours(row: Row, found: Sequence[Neighbour]) -> Html:
    """A picture and those most like it to the model, most similar first."""
    near = [Row(n.item.name, n.item.path, n.item.label, caption=f"similarity {n.similarity:.2f}") for n in found]
    return fill(
        "<div>{own}</div><div>Most alike among the training pictures:</div>{near}",
        own=_named(row, None, TILE_PX),
        near=_wrapped(_named(other, None, NEAR_PX) for other in near),
    )


def gallery(review: Review, sentence: str) -> Html:
    """The static face: the current page, with its marks; small enough for a notebook (below 150 kB)."""
    rows, marks = review.page_rows(), review.marks
    pieces, left = [], STATIC_CHARS
    for row in rows[:STATIC_TILES]:
        piece = _named(row, marks.get(row.name), STATIC_PX)
        if len(piece) > left:
            break
        pieces.append(piece)
        left -= len(piece)
    rest = len(rows) - len(pieces)
    more = f"And {counted(rest, 'more picture')} on this page." if rest else ""
    return fill("<div><p>{text}</p>{tiles}<p>{more}</p></div>", text=sentence, tiles=_wrapped(pieces), more=more)


def _named(row: Row, mark: Mark | None, side_px: int) -> Html:
    return fill(
        '<div style="width:{width}px;line-height:1.3">{tile}<small>{name}</small></div>',
        width=max(side_px, 130) + 10,  # room for the words
        tile=tile(row, mark, side_px),
        name=breakable(row.name),
    )


def breakable(name: str) -> Html:
    """A file's name that may go on in the next line after a slash, a dash or an underscore."""
    return join(fill("{piece}<wbr>", piece=piece) for piece in re.findall(r"[^/_-]*[/_-]?", name) if piece)


def _wrapped(pieces: Iterable[Html]) -> Html:
    return fill('<div style="display:flex;flex-wrap:wrap;gap:8px">{pieces}</div>', pieces=join(pieces))
