"""Everything that belongs to the solar cells: what the ratings mean, two protocols, the split of a seed, a score.

labels.csv holds one expert's answer for each cell: 0 surely functional, 1/3 unsure but functional, 2/3 unsure but
defective, 1 surely defective. Which cells make a module is not published: one may be on both sides of any split.
"""

import csv
from pathlib import Path

import numpy as np

from data_setup.items import Item
from data_setup.splits import Split, stratified
from helpers.analysis.intervals import Interval
from helpers.analysis.predictions import Predictions
from helpers.data.dataset import ImageData

RATINGS = "labels.csv"
MEANING = {
    "solar": "A cell counts as defective when the expert called it defective, surely or not.",
    "deitsch": "A cell counts as defective unless the expert was sure that it is functional; while training, unsure "
    "ratings weigh 1/3 (rather functional) or 2/3 (rather defective): the protocol of Deitsch et al. 2019, whose "
    "88.42 % is the weighted accuracy.",
}


def has_ratings(folder: Path) -> bool:
    """Whether the folder is one of solar cells, with the expert's ratings."""
    file = folder / RATINGS
    return file.is_file() and "probability" in file.read_text(encoding="utf-8").partition("\n")[0].split(",")


def load_cells(folder: Path, *, protocol: str, seed: int, size: int, **settings) -> ImageData:
    """The cells with labels, weights and split; `settings` go to `ImageData`."""
    presize_px = max(300, size) if size >= 200 else None  # the cells have 300 px: large ones are cut from all of them
    items, split = cell_items(folder, protocol), cell_split(folder, seed)
    return ImageData.from_items(items, split, size=size, presize_px=presize_px, **settings)


def cell_items(folder: Path, protocol: str) -> tuple[Item, ...]:
    """The cells labelled "functional" or "defective" by the rating r that labels.csv gives each.

    "solar": defective from r = 0.5 on. "deitsch": defective when r > 0, and an unsure cell counts r in the loss.
    """
    items = []
    for row in _rated(folder):
        r = float(row["probability"])
        is_defective = r > 0 if protocol == "deitsch" else r >= 0.5
        weight = r if protocol == "deitsch" and is_defective else 1.0
        items.append(Item(row["name"], folder / row["name"], "defective" if is_defective else "functional", weight))
    return tuple(items)


def cell_split(folder: Path, seed: int) -> Split:
    """75/25 of all cells, also the sealed ones, as published: the same share of every (rating, type) on both sides."""
    rows = {f"cell{row['name'][-8:]}": row for row in _rated(folder)}  # by published name, as the set on disk
    strata = {published: (row["probability"], row["type"]) for published, row in rows.items()}
    valid = {rows[published]["name"] for published in stratified(strata, frac=0.25, seed=seed)}
    train = {row["name"] for row in rows.values()} - valid
    return Split(train=tuple(train), valid=tuple(valid))


def weighted_accuracy(preds: Predictions) -> Interval:
    """Share of the weights whose pictures are correct; the interval holds 95 % of 1,000 bootstrap draws.

    The published 88.42 % is this: 527 / 596, as 656 cells weigh about 598 (Deitsch et al. print 88.4228187919 %).
    """
    weights = np.array([item.weight for item in preds.items])
    rows = np.random.default_rng(0).integers(len(weights), size=(1000, len(weights)))
    right = weights * preds.correct.numpy()
    low, high = np.quantile(right[rows].sum(1) / weights[rows].sum(1), [0.025, 0.975]).tolist()
    return Interval(float(right.sum() / weights.sum()), low, high)


def _rated(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / RATINGS).read_text(encoding="utf-8").splitlines()))
