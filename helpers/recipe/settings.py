"""What of the recipe can be tuned, and the command line that sets it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import data_setup
from helpers.data.augment import Augment, side_on, top_down

MOST_CYCLES = 6  # 1 + 2 + 4 + 8 + 16 + 32 epochs


def _setting(default, text: str, **more):
    return field(default=default, metadata={"help": text, **more})


def _rates(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


@dataclass(frozen=True)
class Settings:
    """What can be tuned. The defaults suit pictures unlike ImageNet's without an up, such as solar cells."""

    data: str = _setting("solar", "a data set of `python -m data_setup list`, or a folder of pictures")
    protocol: str = _setting(
        "solar",
        "which solar cells are defective: solar = probability of at least 0.5; deitsch = any above 0, the unsure ones "
        "weighted by it; other data take their folders' names",
        choices=("solar", "deitsch"),
    )
    pattern: str = _setting("", "for other data: label = group 1 of this expression on the file's name")
    arch: str = _setting("efficientnet_lite0", "any architecture of timm or torchvision")
    size: int = _setting(224, "side of the pictures the model sees, in pixels")
    presize: int = _setting(0, "side at which pictures are decoded; 0 = as they are for solar cells, else 1.25 x size")
    batch_size: int = _setting(32, "pictures a step")
    seed: int = _setting(0, "of the split, the head and the order; split 0 of the solar cells is the one on disk")
    head_epochs: int = _setting(2, "epochs of the last layer on kept activations")
    augmented_epochs: int = _setting(3, "epochs of the last layer with augmentation, cycle_len=1")
    epochs: int = _setting(15, "epochs of the full network; 0 = double the cycles until it overfits")
    schedule: str = _setting(
        "sgdr", "for the full network: sgdr = cycles of 1, 2, 4 ... epochs", choices=("sgdr", "one-cycle")
    )
    rates: tuple[float, ...] = _setting((1e-3, 1e-3, 2e-3), "rates of the three layer groups, with commas", type=_rates)
    use_finder: bool = _setting(False, "take the finder's valley for the last group; the others keep their ratio to it")
    copies: int = _setting(
        0,
        "0: all layers train, on freshly augmented pictures; N: the last stages train, on the kept activations of N "
        "augmented copies of each picture, in a fraction of the time",
    )
    stages: int = _setting(2, "how many stages of the body train with --copies")
    bn_freeze: bool = _setting(False, "keep the body's BatchNorm statistics as ImageNet left them")
    average: int = _setting(1, "the mean of the weights at the end of the last N cycles (one-cycle: epochs)")
    tta: int = _setting(4, "augmented views of each picture at the end")
    similar: bool = _setting(
        False, "for pictures like ImageNet's: side_on, and ten times lower rates from group to group"
    )
    augment: Augment = top_down(max_rotate_deg=3.0, max_zoom=1.0, min_scale=0.85, max_lighting=0.1)

    def __post_init__(self):
        if len(self.rates) != 3:
            raise ValueError(f"rates are three, one per layer group (early, late, head); got {len(self.rates)}")
        if self.epochs < 0 or min(self.head_epochs, self.augmented_epochs, self.average, self.tta) < 1:
            raise ValueError(
                "every number of epochs, --average and --tta is at least 1 (--epochs 0: until over-fitting)"
            )
        if self.copies < 0 or self.stages < 1:
            raise ValueError(f"--copies is 0 or more and --stages 1 or more; got {self.copies} and {self.stages}")
        if self.average > 1 and self.epochs == 0:
            raise ValueError("training until over-fitting keeps the best cycle: it cannot average; name --epochs")
        if self.schedule == "one-cycle" and self.epochs == 0:
            raise ValueError("training until over-fitting goes by cycles: --schedule sgdr, or name --epochs")
        if self.schedule == "sgdr" and self.epochs and (self.epochs + 1).bit_count() != 1:
            fits = ", ".join(str(2**n - 1) for n in range(1, MOST_CYCLES + 1))
            raise ValueError(
                f"cycles of 1, 2, 4 ... make {fits} epochs; got {self.epochs} (--schedule one-cycle takes any)"
            )

    @property
    def cycles(self) -> int:
        """1 + 2 + 4 + ... epochs in this many cycles."""
        return (self.epochs + 1).bit_length() - 1 if self.epochs else MOST_CYCLES


QUICK = {"size": 96, "head_epochs": 1, "augmented_epochs": 1, "epochs": 3, "tta": 2}
SIMILAR = {"rates": (2e-5, 2e-4, 2e-3), "augment": side_on(min_scale=0.75)}


def parse(argv: Sequence[str], about: str) -> tuple[Settings, Path]:
    """(settings, report folder) of a command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m helpers.recipe", description=about, formatter_class=formatter)
    for knob in fields(Settings):
        if knob.metadata:
            options = {"help": f"{knob.metadata['help']} (default: {knob.default})", "default": argparse.SUPPRESS}
            if knob.type is bool:
                options["action"] = "store_true"
            else:
                options |= {"type": knob.metadata.get("type", knob.type), "choices": knob.metadata.get("choices")}
            parser.add_argument(f"--{knob.name.replace('_', '-')}", **options)
    parser.add_argument("--quick", action="store_true", help=f"a run of minutes: {QUICK}")
    parser.add_argument(
        "--report", type=Path, help="folder for report, result and model (default: runs/... in the data folder)"
    )
    given = vars(parser.parse_args(argv))
    report, presets = given.pop("report"), QUICK if given.pop("quick") else {}
    settings = Settings(**presets | (SIMILAR if given.get("similar") else {}) | given)
    what = f"solar-{settings.protocol}" if settings.data == "solar" else Path(settings.data).name
    name = f"{what}-{settings.arch}-{settings.size}px-seed{settings.seed}"
    return settings, report or data_setup.home() / "runs" / name
