"""The envelope: the sealed photographs, opened for the last word on a model; every opening is counted and said."""

import json
from dataclasses import replace

import data_setup
from data_setup.base.files import write_atomically
from data_setup.base.folders import explained
from data_setup.items import Item, label_by_folder
from data_setup.solar import BLOCK
from data_setup.splits import Split
from helpers.analysis.predictions import Predictions
from helpers.data.dataset import ImageData
from helpers.lessons.chosen import is_solar, kept_as, set_name
from helpers.lessons.scoreboard import Measures, measures

COUNT_FILE = "envelope.json"


def open_envelope(data: ImageData) -> ImageData:
    """`data` with the sealed photographs as its validation part; what it trains on and how it shows them stay.

    Of another set than the solar cells those are its test part; without one (with labels) the data stays as it is.
    For `learn.set_data(open_envelope(learn.data))`; then `learn.tta()` is about the sealed ones. Prints how often the
    envelope has been opened on this machine, and keeps that number in `envelope.json` beside the data sets.
    """
    sealed = _solar_cells() if is_solar() else [item for item in data.items_of("test") if item.label is not None]
    if not sealed:
        print(f"{set_name()} has no test part with labels, so there is no envelope: what follows is about the")
        print("validation part, on which everything was chosen.")
        return data
    split = Split(train=data.split.train, valid=tuple(item.name for item in sealed))
    opened = replace(data, items=(*data.items_of("train"), *sealed), split=split)
    with explained(data_setup.home()):  # what cannot be counted is not opened
        times = _count_one_more()
    print(f"THE ENVELOPE IS OPEN: {len(sealed)} photographs that nothing was trained, tuned or chosen on.")
    if times == 1:
        print("Opened for the first time on this machine; what you change from here on is chosen with it in view.")
    else:
        print(f"Opened {times} times on this machine: whatever you changed in between was chosen with it in view.")
    return opened


def _solar_cells() -> list[Item]:
    folder = data_setup.prepare() / "test"
    return [replace(item, name=f"test/{item.name}") for item in label_by_folder(folder)]


def block_of(item: Item) -> int:
    """Which block of 60 consecutive published numbers a cell is in: neighbours, mostly of one module."""
    return (published_number(item) - 1) // BLOCK


def published_number(item: Item) -> int:
    """1 to 2,624: the order in which the cells were published; neighbours are mostly of one module."""
    return int(item.path.stem[-4:])


def measures_by_block(preds: Predictions) -> Measures:
    """The board's measures, their 95 % confidence intervals from drawing whole blocks: cells of a module are alike."""
    return measures(preds, groups=[block_of(item) for item in preds.items])


def _count_one_more() -> int:
    file = data_setup.home() / kept_as(COUNT_FILE)
    try:
        before = int(json.loads(file.read_text(encoding="utf-8"))["opened"])
    except FileNotFoundError:
        before = 0
    except (ValueError, KeyError, TypeError):
        print(f"note: {file} is damaged; it was there, so the envelope was opened at least once before")
        before = 1
    with write_atomically(file) as staged:
        staged.write_text(json.dumps({"opened": before + 1}) + "\n", encoding="utf-8")
    return before + 1
