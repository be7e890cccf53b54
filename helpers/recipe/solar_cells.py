"""The solar cells with the experts' ratings: which are defective, by two protocols, and how a seed splits them.

Both protocols put 75 % of the cells into training and 25 % into validation, with the same share of every rating and
type on both sides (Deitsch et al. 2019, "Automatic classification of defective photovoltaic module cells"). No list of
the modules is published: cells of one module may stand on both sides.
"""

import csv
from pathlib import Path

import torch

import data_setup
from helpers.analysis.predictions import Predictions
from helpers.data.items import Item
from helpers.data.splits import Split

RATINGS = "labels.csv"  # with a column "probability": how sure the experts were of a defect


def has_ratings(folder: Path) -> bool:
    """Whether the folder is one of solar cells, with the experts' ratings."""
    file = folder / RATINGS
    return file.is_file() and "probability" in file.read_text(encoding="utf-8").partition("\n")[0].split(",")


def _rated(folder: Path) -> list[dict[str, str]]:
    with (folder / RATINGS).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cell_items(folder: Path, protocol: str) -> tuple[Item, ...]:
    """The cells labelled "functional" or "defective" from the probability p that labels.csv gives each.

    "solar": defective from p = 0.5 on. "deitsch": defective when p > 0, and an unsure cell (p of 1/3 or 2/3) counts p
    in the loss (Deitsch et al. 2019).
    """
    items = []
    for row in _rated(folder):
        p = float(row["probability"])
        is_defective = p > 0 if protocol == "deitsch" else p >= 0.5
        weight = p if protocol == "deitsch" and is_defective else 1.0
        items.append(Item(row["name"], folder / row["name"], "defective" if is_defective else "functional", weight))
    return tuple(items)


def cell_split(folder: Path, seed: int) -> Split:
    """75/25, the same share of every (p, type) on both sides, by the rule that split the set on disk (seed 0)."""
    cells = {
        data_setup.solar.Cell(f"cell{row['name'][-8:]}", row["probability"], row["type"]): row["name"]
        for row in _rated(folder)
    }
    chosen = data_setup.solar.choose_valid(list(cells), seed=seed)
    return Split(
        train=tuple(name for cell, name in cells.items() if cell.file not in chosen),
        valid=tuple(name for cell, name in cells.items() if cell.file in chosen),
    )


def weighted_accuracy(preds: Predictions) -> float:
    """Share of the pictures' weights whose pictures are right."""
    weights = torch.tensor([item.weight for item in preds.items], dtype=torch.float64)
    return float((weights * preds.correct).sum() / weights.sum())
