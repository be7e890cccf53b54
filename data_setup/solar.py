"""The set that needs no network: 2,624 solar cells, laid out for the lessons from the elpv-dataset package.

    solar/{train,valid}/{functional,defective}/{mono,poly}_{functional,defective}_NNNN.png
    solar/labels.csv     name,label,type,probability

NNNN is the cell's published number. The published defect probability p is one expert's answer and confidence: surely
functional 0, unsure but functional 1/3, unsure but defective 2/3, surely defective 1. A cell counts as defective from
p = 0.5 on. The split is 75/25, stratified by p and type (as in Deitsch et al. 2019: 1,968 and 656 cells).
"""

import importlib.util
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data_setup.splitting import stratified

PACKAGE = "elpv-dataset==1.0.0.post1"
WARNING = (
    "No module id is published for these cells (cut from 44 modules), so any random split may put cells of "
    "one module on both sides: accuracies are likely to be optimistic for cells of a new module."
)


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


def build(staging: Path, *, source: Path | None = None) -> dict:
    """Lay the set out in the empty folder `staging`; returns facts for the manifest.

    `source` is a folder like the package's (labels.csv, images/), by default the package's own.
    """
    source = source or source_folder()
    cells = sorted(read_cells(source), key=lambda cell: cell.file)
    valid = stratified({cell.file: (cell.probability, cell.type) for cell in cells}, frac=0.25, seed=0)
    rows = ["name,label,type,probability"]
    counts: Counter[str] = Counter()
    for cell in tqdm(cells, desc="solar", unit="picture", delay=1, leave=False, disable=None):
        part = "valid" if cell.file in valid else "train"
        target = staging / part / cell.label / cell.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "images" / cell.file, target)
        rows.append(f"{target.relative_to(staging).as_posix()},{cell.label},{cell.type},{cell.probability}")
        counts[f"{part}/{cell.label}/{cell.type}/p={float(cell.probability):.2f}"] += 1
    (staging / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")
    return {
        "warning": WARNING,
        "split": {
            "train": len(cells) - len(valid),
            "valid": len(valid),
            "rule": "25 % of every (probability, type), largest remainder, ranked by sha256 of '0/FILE'",
        },
        "counts": dict(sorted(counts.items())),
    }
