"""Rows, files, predictions and the reading of widgets that several tests share."""

import hashlib
import html.parser
import math
import re
from collections import Counter
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image

from data_setup.base.html import fill
from data_setup.items import Item
from helpers.analysis.predictions import Predictions
from helpers.review.rows import Row
from helpers.runtime.seeds import generator

CLASSES = ("cat", "dog")
OUR_TAGS = {"div", "span", "img", "b", "em", "p", "br", "small", "wbr", "table", "tr", "th", "td"}
OUR_ATTRIBUTES = {"alt", "src", "style", "role", "aria-label"}


def make_rows(n=30, seed=0):
    """Rows with and without labels and predictions, in three parts, some of them alike."""
    rng = torch.Generator().manual_seed(seed)
    draws = torch.rand(n, generator=rng).mul(10).round().div(10).tolist()  # tenths: ties on purpose
    rows = []
    for i, p in enumerate(draws):
        label = [None, "cat", "dog"][i % 3]
        top = () if i % 7 == 0 else tuple(sorted([("cat", p), ("dog", 1 - p)], key=lambda entry: -entry[1]))
        loss = -math.log(max(dict(top)[label], 1e-6)) if top and label else None
        part = ("train", "valid", "test")[i % 3]
        rows.append(Row(f"{part}/{i:03}.png", Path(f"{i}.png"), label, part, top, loss))
    return rows


def make_files(folder, n=6):
    for i in range(n):
        (folder / f"{i}.png").write_bytes(bytes([i]) * 10)
    return tuple(Item(f"{i}.png", folder / f"{i}.png", CLASSES[i % 2]) for i in range(n))


def hashes(folder):
    return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir())


def make_items(folder, names, labels):
    """One small picture per name; the file itself has a tame name."""
    folder.mkdir(exist_ok=True)
    items = []
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        path = folder / f"{i}.png"
        Image.new("L" if i % 2 else "RGB", (30 + i % 5, 20), 9 * i % 256).save(path)
        items.append(Item(name, path, label))
    return tuple(items)


def make_predictions(items, classes, part="valid", seed=0):
    logits = torch.randn(len(items), len(classes), generator=generator("test", seed))
    targets = torch.tensor([-1 if item.label is None else classes.index(item.label) for item in items])
    return Predictions(items, logits.log_softmax(1), targets, classes, part)


def walk(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def alts(page):
    return re.findall(r'<img alt="([^"]*)"', page)


class OnlyOurTags(html.parser.HTMLParser):
    """Raises on any tag or attribute that no template of ours has."""

    def handle_starttag(self, tag, attributes):
        assert tag in OUR_TAGS, tag
        for name, value in attributes:
            assert name in OUR_ATTRIBUTES, (tag, name)
            if name == "src":
                assert value.startswith("data:image/"), value
            if name == "style":
                assert re.fullmatch(r"[a-zA-Z0-9:;%#\- .]*", value), value


def check_page(page):
    parser = OnlyOurTags()
    parser.feed(page)
    parser.close()


def controls_of(root):
    found = [w for w in walk(root) if isinstance(w, widgets.DOMWidget) and hasattr(w, "description")]
    return [control for control in found if not isinstance(control, widgets.HTML)]


def operate(control):
    """What a person can do with it: click, choose another entry, move the slider, type."""
    if isinstance(control, widgets.Button):
        control.click()
    elif isinstance(control, widgets.Checkbox):
        control.value = not control.value
    elif isinstance(control, widgets.Dropdown):
        control.index = 1 if control.index != 1 else 0
    elif isinstance(control, widgets.Text):
        control.value = "1"
    elif isinstance(control, widgets.FloatRangeSlider):
        control.value = (0.2, 0.52)
    else:
        control.value = control.min if control.value != control.min else control.max


def held_by(figure):
    """A digest of what the lines, pictures and words of a figure hold: in place of its pixels, which take long."""
    axes = figure.axes
    arrays = [line.get_xydata() for ax in axes for line in ax.lines]
    arrays += [image.get_array() for ax in axes for image in ax.images]
    words = [text.get_text() for ax in axes for text in (ax.title, *ax.texts)]
    data = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(data + repr(words).encode()).hexdigest()


def unrendered(drawing, *, as_photo=False):
    """In place of `helpers.review.widgets.drawn`: the sentence of a figure and what it holds."""
    return fill("<p>{text} {held}</p>", text=drawing.text, held=held_by(drawing.figure))


def seen(root):
    """What a person sees besides the controls' own positions."""
    return [w.value for w in walk(root) if isinstance(w, widgets.HTML)]


def press(browser, key, columns=4, shift=False):
    """What keys.js sends for a key; with the arrows, `columns` pictures are side by side."""
    steps = {"ArrowLeft": -1, "ArrowRight": 1, "ArrowUp": -columns, "ArrowDown": columns}
    arrow = key in steps and {"step": steps[key], "how": "range" if shift else "only"}
    browser.keyboard._handle_custom_msg(arrow or {"key": key}, [])


def click(browser, tile, how="only"):
    """What keys.js sends for a click on a picture, plain or with Ctrl ("toggle") or Shift ("range")."""
    browser.keyboard._handle_custom_msg({"tile": tile, "how": how}, [])
