"""Small pictures for pages: made when first looked at, kept while there is room, as JPEG inside the page."""

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image

from helpers.data.decode import UnreadableImage, read_image
from helpers.review.html import Html, data_uri, fill, printable

KEPT = 1024  # pictures; a thumbnail of 160 px takes about 8 kB


def thumbnail(path: Path, side_px: int) -> Html:
    """The picture's address for an <img>, longest side at most `side_px`; never enlarged.

    Made once per version of the file. Raises UnreadableImage.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise UnreadableImage(f"{path} is not there any more ({error.strerror})") from error
    return _made(path, stat.st_mtime_ns, stat.st_size, side_px)


@lru_cache(maxsize=KEPT)
def _made(path: Path, _mtime_ns: int, _n_bytes: int, side_px: int) -> Html:
    image = read_image(path, at_least_px=side_px)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return jpeg_uri(image)


def jpeg_uri(image: Image.Image) -> Html:
    """Any picture of mode L or RGB as an address for an <img>."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80)
    return data_uri(buffer.getvalue(), "jpeg")


def picture(path: Path, alt: str, side_px: int) -> Html:
    """An <img> of the file with its alternative text; if it cannot be read, a sentence that says so."""
    try:
        address = thumbnail(path, side_px)
    except UnreadableImage as error:
        return fill(
            '<div role="img" aria-label="{alt}" style="max-width:{side}px;overflow-wrap:anywhere">'
            "<em>{problem}</em></div>",
            alt=alt,
            side=side_px,
            problem=error,
        )
    return image_tag(address, alt, side_px)


def image_tag(address: Html, alt: str, side_px: int) -> Html:
    """An <img> that fits into a square of `side_px`, small pictures enlarged with sharp pixels."""
    return fill(
        '<img alt="{alt}" src="{address}" style="width:{side}px;height:{side}px;object-fit:contain">',
        alt=printable(alt),
        address=address,
        side=side_px,
    )
