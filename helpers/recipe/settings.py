"""What of the recipe can be set, and the command line that sets it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path

import data_setup
from helpers.data.augment import Augment, side_on, top_down
from helpers.models.groups import spread_rates
from helpers.training.schedules import cycle_epochs

HEAD_LR = 2e-3
HEAD_EPOCHS = 2  # of the last layer on cached features
QUICK = {"size": 96, "augmented_epochs": 1, "epochs": 3, "tta": 2}


def _setting(default, text: str, choices: Sequence[str] | None = None):
    return field(default=default, metadata={"help": f"{text} (default: {default})", "choices": choices})


@dataclass(frozen=True)
class Settings:
    """The defaults suit pictures unlike ImageNet's that have no upright position, such as solar cells."""

    data: str = _setting("solar", "a data set of `python -m data_setup list`, or a folder of pictures")
    labels: str = _setting("", "of a folder: a table, or a regular expression for names; empty: its folders")
    protocol: str = _setting("solar", "what the solar cells' ratings mean, see data_setup.solar", ("solar", "deitsch"))
    arch: str = _setting("efficientnet_lite0", "any architecture of timm or torchvision")
    size: int = _setting(224, "side of the pictures the model sees, in pixels")
    seed: int = _setting(0, "of the split, the head and the order")
    augmented_epochs: int = _setting(3, "epochs of the last layer with augmentation, cycle_len=1")
    epochs: int = _setting(15, "epochs of the full network")
    schedule: str = _setting("sgdr", "sgdr = cycles of 1, 2, 4 ... epochs", ("sgdr", "one-cycle"))
    copies: int = _setting(0, "N: only the last stages train, on cached features of N augmented copies of each picture")
    stages: int = _setting(2, "how many stages of the body train with --copies")
    average: int = _setting(1, "the mean of the weights at the end of the last N cycles (one-cycle: epochs)")
    tta: int = _setting(4, "augmented views of each picture at the end")
    similar: bool = _setting(False, "for pictures like ImageNet's: side-on views, and lower rates for earlier layers")

    def __post_init__(self):
        if min(self.epochs, self.augmented_epochs, self.average, self.tta, self.stages) < 1 or self.copies < 0:
            raise ValueError("every number of epochs, --average, --tta and --stages is at least 1, --copies at least 0")
        if self.schedule == "sgdr" and (self.epochs + 1).bit_count() != 1:
            raise ValueError(f"sgdr cycles of 1, 2, 4 ... make 1, 3, 7, 15 or 31 epochs; got {self.epochs}")
        if self.average > len(self.cycles):
            raise ValueError(f"--average {self.average}, and {len(self.cycles)} cycles (one-cycle: epochs) to average")

    @property
    def folder(self) -> Path:
        """Of the catalogue's set, made ready if it is not, or the folder that is named."""
        is_named = Path(self.data).is_dir() and self.data not in {record.name for record in data_setup.catalogue()}
        return Path(self.data) if is_named else data_setup.prepare(self.data)

    @property
    def cycles(self) -> list[int]:
        """Length of each SGDR cycle of the full network, in epochs; of one-cycle, of each epoch."""
        n = (self.epochs + 1).bit_length() - 1
        return [1] * self.epochs if self.schedule == "one-cycle" else cycle_epochs(n, 1, 2)

    def rates(self, n_groups: int) -> list[float]:
        """One rate per layer group, first layers first."""
        if self.similar:
            return spread_rates(slice(HEAD_LR / 100, HEAD_LR), n_groups)
        return [HEAD_LR / 2] * (n_groups - 1) + [HEAD_LR]

    @property
    def augment(self) -> Augment:
        if self.similar:
            return side_on(min_scale=0.75)
        return top_down(max_rotate_deg=3.0, max_zoom=1.0, min_scale=0.85, max_lighting=0.1)


def parse(argv: Sequence[str], about: str) -> tuple[Settings, Path]:
    """(settings, report folder) of a command line."""
    parser = argparse.ArgumentParser("python -m helpers.recipe", description=about)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for one in fields(Settings):
        how = {"action": "store_true"} if one.type is bool else {"type": one.type, "choices": one.metadata["choices"]}
        how |= {"default": argparse.SUPPRESS, "help": one.metadata["help"]}
        parser.add_argument(f"--{one.name.replace('_', '-')}", **how)
    parser.add_argument("path", nargs="?", help="the same as --data PATH")
    parser.add_argument("--quick", action="store_true", help=f"a run of minutes: {QUICK}")
    parser.add_argument("--report", type=Path, help="folder for what is left behind (default: runs/... in the data)")
    given = vars(parser.parse_args(argv))
    report, presets = given.pop("report"), QUICK if given.pop("quick") else {}
    given |= {"data": path} if (path := given.pop("path")) else {}
    settings = Settings(**presets | given)
    arch = settings.arch.replace("/", "-")  # timm/resnet18 is no folder
    path = Path(settings.data).resolve()  # two folders may have the same name
    data = f"{path.name}-{sha256(str(path).encode()).hexdigest()[:6]}" if path.is_dir() else Path(settings.data).name
    name = f"{data}-{settings.protocol}-{arch}-{settings.size}px-seed{settings.seed}"
    return settings, report or data_setup.home() / "runs" / name
