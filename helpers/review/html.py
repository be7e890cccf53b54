"""HTML from templates, the only place where it is made: what comes from the data is escaped on its way in.

A file or a class may be called `<img src=x onerror=...>`. `fill` escapes every value, so such a name is shown
and never obeyed; the widgets refuse text that did not come through it.
"""

import base64
import html
from collections.abc import Iterable


class Html(str):
    """Text that is HTML already: made by `fill` or `join`, from our own templates."""


def fill(template: str, /, **values: object) -> Html:
    """`template` with every {name} replaced by its value, escaped unless it is `Html` itself."""
    return Html(template.format_map({name: _safe(value) for name, value in values.items()}))


def join(parts: Iterable[Html]) -> Html:
    """Pieces of HTML, one after the other; plain text among them is escaped."""
    return Html("".join(map(_safe, parts)))


def _safe(value: object) -> str:
    return value if isinstance(value, Html) else html.escape(printable(value), quote=True)


def printable(value: object) -> str:
    """Text on one line that every browser can take: control characters and bad bytes become U+FFFD."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def shortened(value: object, width: int) -> str:
    """Printable, and at most `width` letters; a long name loses its middle, so that its ending stays."""
    text = printable(value)
    head = width // 2
    return text if len(text) <= width else f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def data_uri(content: bytes, kind: str) -> Html:
    """The address of a picture that stands in the page itself; `kind` is "jpeg" or "png"."""
    return fill("data:image/{kind};base64,{content}", kind=kind, content=base64.b64encode(content).decode())
