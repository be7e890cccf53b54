"""The model card: what an exported classifier is, how good, where from and how to run it (text: model_card.md)."""

import html
import json
import re
from pathlib import Path

from helpers.data.dataset import ImageData

DESCRIPTION = ("title", "source", "licence", "citation")


def read_json(file: Path) -> dict:
    """The object in a JSON file; {} when the file is missing or holds something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def source_of(data: ImageData) -> dict[str, str]:
    """What the data set's own manifest.json says (title, licence, citation, warning), {} when there is none."""
    item = data.items[0]
    manifest = read_json(item.path.absolute().parents[item.name.count("/")] / "manifest.json")
    return {key: str(manifest[key]) for key in (*DESCRIPTION, "warning") if key in manifest}


def model_card(about: dict, accuracy: str, source: dict[str, str], *, note: str = "") -> str:
    """The card as Markdown; names of classes and data sets are shown as text, never interpreted."""
    described = [f"- {key}: {_escaped(source[key])}" for key in DESCRIPTION if key in source]
    fields = about | {
        "classes": ", ".join(map(_escaped, about["classes"])),
        "n_classes": len(about["classes"]),
        "arch": _escaped(about["arch"]),
        "note": _escaped(note),
        "accuracy": accuracy,
        "data": "\n".join(described) or "No description came with the data set: say here what it is and its licence.",
        "warning": f"- {_escaped(source['warning'])}\n" if "warning" in source else "",
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
    }
    return Path(__file__).with_name("model_card.md").read_text(encoding="utf-8").format(**fields)


def _escaped(text: object) -> str:
    """Text on one line that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))
