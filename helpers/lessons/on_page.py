"""Figures on the pages of the lessons' widgets, each with its sentence as alternative text."""

import io

from PIL import Image

from data_setup.base.html import Html, data_uri, fill, jpeg_uri
from helpers.figures.style import Drawing


def drawn(drawing: Drawing, *, as_photo: bool = False) -> Html:
    """A `Drawing` on a page, its sentence as alternative text; photographs as JPEG."""
    png = drawing.png()
    address = jpeg_uri(Image.open(io.BytesIO(png)).convert("RGB")) if as_photo else data_uri(png, "png")
    return figure_tag(address, drawing.text)


def figure_tag(address: Html, alt: str) -> Html:
    """An <img> at its own size, narrower where the page is."""
    return fill('<img alt="{alt}" src="{address}" style="max-width:100%">', alt=alt, address=address)
