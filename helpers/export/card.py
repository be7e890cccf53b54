"""The model card: what an exported classifier is, how good, where from and how to run it (text: model_card.md)."""

import html
import re
from pathlib import Path

import jinja2

from data_setup.base.files import read_json
from helpers.data.dataset import ImageData


def source_of(data: ImageData) -> dict[str, str]:
    """What the data set's own manifest.json says, {} when there is none."""
    item = data.items[0]
    manifest = read_json(item.path.absolute().parents[item.name.count("/")] / "manifest.json")
    return {key: str(manifest[key]) for key in ("title", "source", "licence", "citation", "warning") if key in manifest}


def model_card(about: dict, accuracy: str, source: dict[str, str], *, note: str = "") -> str:
    """The card as Markdown; what is filled in, such as names of classes, is shown as text, never interpreted."""
    environment = jinja2.Environment(finalize=_escaped, undefined=jinja2.StrictUndefined, trim_blocks=True)  # noqa: S701
    card = environment.from_string(Path(__file__).with_name("model_card.md").read_text(encoding="utf-8"))
    return card.render(about, accuracy=accuracy, source=source, note=note)


def _escaped(text: object) -> str:
    """Text on one line that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))
