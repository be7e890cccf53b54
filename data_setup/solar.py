"""The set that needs no network: 2,624 solar cells, laid out for the lessons from the elpv-dataset package.

    solar/{train,valid,test}/{functional,defective}/{mono,poly}_{functional,defective}_NNNN.png
    solar/labels.csv     name,label,type,probability
    solar/test/SEALED.txt     why nothing above test/ reads the pictures in it

NNNN is the cell's published number. The published defect probability p is one expert's answer and confidence: surely
functional 0, unsure but functional 1/3, unsure but defective 2/3, surely defective 1. A cell counts as defective from
p = 0.5 on. 480 cells are sealed: eight blocks of 60 consecutive numbers, because the cells of a module are neighbours
(most of the 44 modules have 60 cells). The other 2,144 are split 75/25, stratified by p and type: 1,608 and 536.

Who wants other labels or another split takes `cell_items`, `cell_split` or `block_split`, which follow the ratings in
labels.csv.
"""

import csv
import importlib.util
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data_setup.base.folders import SEAL
from data_setup.base.progress import progress
from data_setup.items import Item
from data_setup.splits import Split, ranked, stratified

PACKAGE = "elpv-dataset==1.0.0.post1"
WARNING = (
    "No module id is published for these cells (cut from 44 modules), so any random split may put cells of "
    "one module on both sides: accuracies are likely to be optimistic for cells of a new module."
)
BLOCK = 60  # consecutive numbers
SEALED_BLOCKS = 8
DRAWS = 5_000
RATINGS = "labels.csv"
MEANING = {
    "solar": "A cell counts as defective when the expert called it defective, surely or not.",
    "deitsch": "A cell counts as defective unless the expert was sure that it is functional; while training, unsure "
    "ratings weigh 1/3 (rather functional) or 2/3 (rather defective): the protocol of Deitsch et al. 2019, whose "
    "88.42 % is the weighted accuracy.",
}
RATED = {  # what the expert said -> the published probability
    "surely functional": 0.0,
    "rather functional": 1 / 3,
    "rather defective": 2 / 3,
    "surely defective": 1.0,
}
SEAL_TEXT = """lesson 07 opens it
Nobody trains, tunes or chooses anything on these photographs, so the figures on them show how a model does on solar
modules it has never seen. Code that reads the folder above this one leaves them out.
"""


@dataclass(frozen=True)
class Cell:
    file: str  # as published: cell0001.png
    probability: str  # as published: 0.0, 0.3333333333333333, 0.6666666666666666 or 1.0
    type: str  # mono or poly

    @property
    def label(self) -> str:
        return "defective" if float(self.probability) >= 0.5 else "functional"

    @property
    def name(self) -> str:
        return f"{self.type}_{self.label}_{self.file.removeprefix('cell')}"

    @property
    def block(self) -> int:
        """Which `BLOCK` of consecutive numbers it is in; the first is 0."""
        return (int(self.file.removeprefix("cell").removesuffix(".png")) - 1) // BLOCK


def source_folder() -> Path:
    """The data folder of the installed package (none of its code runs); FileNotFoundError without it."""
    spec = importlib.util.find_spec("elpv_dataset")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    if folder is None or not (folder / "labels.csv").is_file():
        raise FileNotFoundError(f"the solar pictures come with a package that is not installed: pip install {PACKAGE}")
    return folder


def read_cells(source: Path) -> list[Cell]:
    """Every row of the published labels.csv (columns: images/cellNNNN.png, probability, type; no header)."""
    rows = [line.split() for line in (source / "labels.csv").read_text(encoding="utf-8").splitlines()]
    return [Cell(path.removeprefix("images/"), probability, kind) for path, probability, kind in rows]


def sealed_blocks(cells: list[Cell]) -> list[int]:
    """The blocks of the test part, sorted; a set without that many whole blocks, made for a test, has none."""
    return fair_blocks(cells, SEALED_BLOCKS, range(DRAWS))


def fair_blocks(cells: list[Cell], n: int, seeds: range) -> list[int]:
    """`n` whole blocks, sorted: the fairest of one random draw a seed; [] where there are not that many.

    Fairest: the least sum, over every (probability, type), of the difference between the cells it has and its share
    of all cells.
    """
    per_block = {block: Counter() for block in sorted({cell.block for cell in cells})}
    for cell in cells:
        per_block[cell.block][cell.probability, cell.type] += 1
    whole = {str(block): counts for block, counts in per_block.items() if counts.total() == BLOCK}
    if len(whole) < n:
        return []
    share = n * BLOCK / len(cells)
    fair = {stratum: n * share for stratum, n in Counter((cell.probability, cell.type) for cell in cells).items()}

    def unfairness(draw: list[str]) -> float:
        return sum(abs(sum(whole[block][stratum] for block in draw) - n) for stratum, n in fair.items())

    return sorted(int(block) for block in min((ranked(whole, seed)[:n] for seed in seeds), key=unfairness))


def build(staging: Path, *, source: Path | None = None) -> dict:
    """Lay the set out in the empty folder `staging`; returns facts for the manifest.

    `source` is a folder like the package's (labels.csv, images/), by default the package's own.
    """
    source = source or source_folder()
    cells = sorted(read_cells(source), key=lambda cell: cell.file)
    blocks = sealed_blocks(cells)
    sealed = {cell.file for cell in cells if cell.block in blocks}
    strata = {cell.file: (cell.probability, cell.type) for cell in cells if cell.file not in sealed}
    valid = stratified(strata, frac=0.25, seed=0)
    rows = ["name,label,type,probability"]
    counts: Counter[str] = Counter()
    for cell in progress(cells, "solar"):
        part = "test" if cell.file in sealed else "valid" if cell.file in valid else "train"
        target = staging / part / cell.label / cell.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "images" / cell.file, target)
        rows.append(f"{target.relative_to(staging).as_posix()},{cell.label},{cell.type},{cell.probability}")
        counts[f"{part}/{cell.label}/{cell.type}/p={float(cell.probability):.2f}"] += 1
    (staging / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")
    if sealed:
        (staging / "test" / SEAL).write_text(SEAL_TEXT, encoding="utf-8", newline="\n")
    return {
        "warning": WARNING,
        "sealed": "test" if sealed else None,
        "sealed_blocks": blocks,  # block b: the published numbers 60 b + 1 to 60 b + 60
        "split": {
            "train": len(strata) - len(valid),
            "valid": len(valid),
            "test": len(sealed),
            "rule": "25 % of every (probability, type), largest remainder, ranked by sha256 of '0/FILE'",
        },
        "counts": dict(sorted(counts.items())),
    }


def has_ratings(folder: Path) -> bool:
    """Whether the folder is one of solar cells, with the expert's ratings."""
    file = folder / RATINGS
    return file.is_file() and "probability" in file.read_text(encoding="utf-8").partition("\n")[0].split(",")


def cell_items(folder: Path, protocol: str) -> tuple[Item, ...]:
    """The cells labelled "functional" or "defective" by the rating r that labels.csv gives each.

    "solar": defective from r = 0.5 on. "deitsch": defective when r > 0, and an unsure cell counts r in the loss.
    "ratings": four classes, the expert's own words (`RATED`).
    """
    words = {probability: word for word, probability in RATED.items()}
    items = []
    for row in _rated(folder):
        r = float(row["probability"])
        is_defective = r > 0 if protocol == "deitsch" else r >= 0.5
        weight = r if protocol == "deitsch" and is_defective else 1.0
        label = words[r] if protocol == "ratings" else "defective" if is_defective else "functional"
        items.append(Item(row["name"], folder / row["name"], label, weight))
    return tuple(items)


def cell_split(folder: Path, seed: int) -> Split:
    """75/25 of all cells, also the sealed ones, as published: the same share of every (rating, type) on both sides."""
    rows = {f"cell{row['name'][-8:]}": row for row in _rated(folder)}  # by published name, as the set on disk
    strata = {published: (row["probability"], row["type"]) for published, row in rows.items()}
    valid = {rows[published]["name"] for published in stratified(strata, frac=0.25, seed=seed)}
    train = {row["name"] for row in rows.values()} - valid
    return Split(train=tuple(train), valid=tuple(valid))


def block_split(folder: Path, seed: int) -> Split:
    """25 % of all cells in whole blocks of 60 neighbours, as a new solar module would come: the fairest of 5,000 draws.

    Raises ValueError when the folder has too few cells.
    """
    rows = {f"cell{row['name'][-8:]}": row for row in _rated(folder)}
    cells = [Cell(published, row["probability"], row["type"]) for published, row in rows.items()]
    n = round(0.25 * len(cells) / BLOCK)
    if not (blocks := fair_blocks(cells, n, range(seed * DRAWS, (seed + 1) * DRAWS)) if n else []):
        raise ValueError(f"a quarter of {len(cells)} cells is no whole block of {BLOCK}: use cell_split")
    valid = {rows[cell.file]["name"] for cell in cells if cell.block in blocks}
    return Split(train=tuple({row["name"] for row in rows.values()} - valid), valid=tuple(valid))


def _rated(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / RATINGS).read_text(encoding="utf-8").splitlines()))
