"""HTML from templates, the only place where it is made, and pictures inside it.

A file or a class may be called `<img src=x onerror=...>`. `fill` escapes every value, so such a name is shown
and never interpreted; the widgets refuse text that did not come through it.
"""

import base64
import io
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import jinja2
from markupsafe import Markup as Html
from PIL import Image

from data_setup.base.pictures import UnreadableImage, read_image
from data_setup.base.text import printable, shorten

CACHED_THUMBNAILS = 1024  # one of 160 px takes about 8 kB

PICTURE = '<img alt="{alt}" src="{address}" style="width:{side}px;height:{side}px;object-fit:contain">'
UNREADABLE = '<div role="img" aria-label="{alt}" style="max-width:{side}px"><em>{problem}</em></div>'


def fill(template: str, /, **values: object) -> Html:
    """`template` with every {name} replaced by its value, escaped unless it is `Html` itself."""
    return Html(template).format(**{name: _filtered(value) for name, value in values.items()})  # noqa: S704 (literals)


def page(file: Path, **known: object) -> jinja2.Template:
    """A Jinja file, to be rendered; it may use what is `known`, and what it shows is escaped as by `fill`.

    Its `.module` has the file's macros, as functions that return `Html`.
    """
    environment = jinja2.Environment(autoescape=True, finalize=_filtered, undefined=jinja2.StrictUndefined)
    return environment.from_string(file.read_text(encoding="utf-8"), globals=known)


def join(parts: Iterable[Html]) -> Html:
    """Pieces of HTML, one after the other; plain text among them is escaped."""
    return Html().join(_filtered(part) for part in parts)


def _filtered(value: object) -> str:
    return value if isinstance(value, Html) else printable(value)


def shortened(value: object, width: int) -> str:
    """Printable, and at most `width` letters; a long name loses its middle, so that its ending stays."""
    return shorten(printable(value), width)


def data_uri(content: bytes, kind: str) -> Html:
    """A picture embedded in the page, as the address of an <img>; `kind` is "jpeg" or "png"."""
    return fill("data:image/{kind};base64,{content}", kind=kind, content=base64.b64encode(content).decode())


def jpeg_uri(image: Image.Image) -> Html:
    """Any picture of mode L or RGB as an address for an <img>."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80)
    return data_uri(buffer.getvalue(), "jpeg")


def thumbnail(path: Path, side_px: int) -> Html:
    """The file's address for an <img>, longest side at most `side_px`; made once per version of the file.

    Raises UnreadableImage.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise UnreadableImage(f"{path} is missing ({error.strerror})") from error
    return _thumbnail(path, stat.st_mtime_ns, stat.st_size, side_px)


@lru_cache(maxsize=CACHED_THUMBNAILS)
def _thumbnail(path: Path, _mtime_ns: int, _n_bytes: int, side_px: int) -> Html:
    image = read_image(path, at_least_px=side_px)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return jpeg_uri(image)


def picture(path: Path, alt: str, side_px: int) -> Html:
    """An <img> of the file in a square of `side_px`; if it cannot be read, a sentence that says so."""
    try:
        address = thumbnail(path, side_px)
    except UnreadableImage as error:
        return fill(UNREADABLE, alt=alt, side=side_px, problem=error)
    return fill(PICTURE, alt=alt, address=address, side=side_px)
