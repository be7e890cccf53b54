"""The lectures' eight steps to a world-class classifier, end to end, then test-time augmentation and analysis.

    python -m helpers.recipe --data solar --arch efficientnet_lite0 --size 224
    python -m helpers.recipe table FOLDER ...     results of several runs, side by side

It leaves report.html (one file, no network), result.json and model/ (see `helpers.export`) in the folder it names.
"""

import argparse
import csv
import importlib.util
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import accumulate
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

import data_setup
from helpers.augment import Augment, side_on, top_down
from helpers.data import ImageData
from helpers.export import export, need_packages, source_of, versions
from helpers.interpret import Interpretation
from helpers.intervals import Interval, accuracy_interval, bootstrap, compare, wilson
from helpers.items import Item
from helpers.learner import Learner
from helpers.lr_finder import RateCurve
from helpers.models import autocast
from helpers.predict import Predictions
from helpers.recipe_report import draw_figures, report_page, tabulate
from helpers.runtime import seeded, write_atomically
from helpers.safe_html import counted
from helpers.schedules import cycle_epochs
from helpers.splits import Split
from helpers.training import History, Hook, Run

RATINGS = "labels.csv"  # with a column "probability": how sure the experts were of a defect
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


# Data -----------------------------------------------------------------------------------------------------------


def load_data(settings: Settings) -> ImageData:
    """The pictures with their labels, weights and split, as the settings say."""
    folder = data_folder(settings)
    shared = {"size": settings.size, "augment": settings.augment, "batch_size": settings.batch_size}
    if settings.presize:
        shared["presize_px"] = settings.presize
    if has_ratings(folder):
        shared = {"presize_px": max(300, settings.size)} | shared  # the cells have 300 pixels: nothing is resampled
        return ImageData(cell_items(folder, settings.protocol), cell_split(folder, settings.seed), **shared)
    if settings.pattern:
        return ImageData.from_name_re(folder, settings.pattern, seed=settings.seed, **shared)
    return ImageData.from_folders(folder, seed=settings.seed, **shared)


def data_folder(settings: Settings) -> Path:
    """The folder of the catalogue's set, made ready if it is not, or the folder that is named."""
    known = {record.name for record in data_setup.catalogue()}
    is_folder = settings.data not in known and Path(settings.data).is_dir()
    return Path(settings.data) if is_folder else data_setup.prepare(settings.data)


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


# Training -------------------------------------------------------------------------------------------------------


class CycleEnds(Hook):
    """Keeps the weights at the end of some epochs, to stop at over-fitting or to average them.

    until_overfitting   when one of these epochs has a higher validation loss than the one before it in `ends`, stop and
                        go back to that one
    average             at the end put the mean of the last `average` kept weights in place
    """

    def __init__(self, ends: Sequence[int], *, until_overfitting: bool = False, average: int = 1):
        self.ends, self.until_overfitting, self.average = set(ends), until_overfitting, average
        self.kept: list[tuple[float, dict[str, Tensor]]] = []
        self.stopped = False

    def on_epoch_end(self, run: Run) -> None:
        if run.done not in self.ends:
            return
        loss = run.history.epochs[-1].valid_loss
        if self.until_overfitting and self.kept and loss > self.kept[-1][0]:
            print(
                f"over-fitting: this cycle ended at a validation loss of {loss:.4f}, the last at {self.kept[-1][0]:.4f}"
            )
            run.stop = self.stopped = True
            return
        state = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        self.kept = [*self.kept, (loss, state)][-self.average :]

    def on_fit_end(self, run: Run) -> None:
        if len(self.kept) > 1:
            average_weights(run, [state for _, state in self.kept])
        elif self.stopped:
            run.model.load_state_dict(self.kept[0][1])


def average_weights(run: Run, states: Sequence[dict[str, Tensor]]) -> None:
    """Put the mean of several weights into the model, and measure its BatchNorm statistics where those train.

    torch.optim.swa_utils.update_bn would also reset the statistics that are frozen.
    """
    last = states[-1]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(dim=0)
        if last[name].is_floating_point()
        else last[name]
        for name in last
    }
    run.model.load_state_dict(mean)
    run.model.train()
    norms = [m for m in run.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    momentums = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    with torch.no_grad(), autocast(run.device, run.precision), seeded("average", run.seed):
        for batch in run.source.train_batches(run.device, run.batch_size, run.seed, "average"):
            run.model.after(batch.inputs, run.cut)
    for norm, momentum in zip(norms, momentums, strict=True):
        norm.momentum = momentum


# Steps ----------------------------------------------------------------------------------------------------------


@dataclass
class Step:
    """One step of the recipe: what was done, how long it took, and how good the model was after it."""

    number: int
    title: str
    done: str = ""
    accuracy: Interval | None = None
    n: int = 0
    seconds: float = 0.0

    @property
    def result(self) -> str:
        """The accuracy with n and interval, where the step has one."""
        if self.accuracy is None:
            return ""
        low, high = 100 * self.accuracy.low, 100 * self.accuracy.high
        return f"{100 * self.accuracy.estimate:.1f} % of {self.n}, 95 % interval {low:.1f}-{high:.1f}"

    def judged(self, preds: Predictions) -> None:
        self.accuracy, self.n = accuracy_interval(preds), int((preds.targets >= 0).sum())

    def trained(self, history: History, n: int) -> None:
        """What the last epoch recorded, of `n` validation pictures."""
        self.accuracy, self.n = wilson(round(history.epochs[-1].metrics["accuracy"] * n), n), n


@dataclass
class Outcome:
    """What a run has found out so far."""

    settings: Settings
    steps: list[Step] = field(default_factory=list)
    curves: list[RateCurve] = field(default_factory=list)
    facts: dict = field(default_factory=dict)  # what result.json holds

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time a step, and print its line when it is done."""
        step = Step(len(self.steps) + 1, title)
        print(f"\n{step.number}. {title}", flush=True)
        started = perf_counter()
        yield step
        step.seconds = perf_counter() - started
        self.steps.append(step)
        print(
            f"   step {step.number}, {step.seconds:.0f} s: {'; '.join(filter(None, [step.done, step.result]))}",
            flush=True,
        )


def run(settings: Settings, folder: Path, *, command: str = "") -> Outcome:
    """Train as the settings say; leave report.html, result.json and model/ in `folder`; every step prints a line."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        need_packages()
    except ModuleNotFoundError as error:  # better said now than after the training
        print(f"only the weights will be kept: {error}")
    outcome = Outcome(settings)
    learn, preds = train(outcome, folder)
    tta = judge_again(outcome, learn, preds)
    outcome.facts = facts_of(outcome, learn, preds, tta) | {"command": command}
    write_result(outcome, folder)  # whatever happens now
    with outcome.step("Analyse, and export the model") as step:
        interp = Interpretation(tta, learn)
        has_plots = importlib.util.find_spec("matplotlib") is not None
        figures = draw_figures(learn.data, learn.history, outcome.curves, preds, interp) if has_plots else []
        step.done = f"With TTA: {interp.report().text} {_export(learn, folder, preds, outcome.facts['meaning'])}"
    facts = write_result(outcome, folder)
    with write_atomically(folder / "report.html") as temporary:
        temporary.write_text(report_page(facts, figures), encoding="utf-8")
    (folder / "model.checkpoint.safetensors").unlink(missing_ok=True)
    return outcome


def train(outcome: Outcome, folder: Path) -> tuple[Learner, Predictions]:
    """Steps 1 to 8; (learner, its predictions of the validation pictures)."""
    settings = outcome.settings
    with outcome.step("Enable data augmentation, and precompute=True") as step:
        data = load_data(settings)
        learn = Learner.pretrained(data, settings.arch, seed=settings.seed, path=folder)
        learn.source()  # the activations
        n, rates = len(data.indices_of("valid")), list(settings.rates[-len(learn.groups) :])
        step.done = f"{data}, {_changed(settings.augment)}"
    with outcome.step("Find the highest learning rate at which the loss still clearly falls") as step:
        rates = _take_rate(outcome, learn.lr_find(), rates)
        step.done = f"{_advice(outcome.curves[-1])} Taken for the last layer: {rates[-1]:.1e}"
    with outcome.step("Train the last layer on kept activations") as step:
        step.trained(_whole(learn.fit(rates[-1], settings.head_epochs), settings.head_epochs), n)
        step.done = counted(settings.head_epochs, "epoch")
    with outcome.step("Train the last layer with augmentation (precompute=False), cycle_len=1") as step:
        learn.precompute = False
        history = learn.fit(rates[-1], settings.augmented_epochs, cycle_len=1)
        step.trained(_whole(history, settings.augmented_epochs), n)
        step.done = counted(settings.augmented_epochs, "epoch")
    with outcome.step("Unfreeze all layers") as step:
        if settings.bn_freeze:
            learn.bn_freeze(True)
        learn.unfreeze()
        step.done = f"{sum(p.numel() for p in learn.model.parameters() if p.requires_grad):,} weights train"
    with outcome.step("Give earlier layers lower learning rates") as step:
        step.done = f"{_listed(rates)} for the layer groups, first layers first"
    with outcome.step("Find the learning rate again") as step:
        rates = _take_rate(outcome, learn.lr_find(rates), rates)
        step.done = f"{_advice(outcome.curves[-1])} Taken: {_listed(rates)}"
    with outcome.step(f"Train the full network: {_plan(settings)}") as step:
        history = _train_all(settings, learn, rates)
        learn.save("model")
        learn.to_fp32()  # from here on as the exported model computes
        step.done = _fitting(history)
        preds = learn.get_preds("valid")
        step.judged(preds)
    return learn, preds


def _train_all(settings: Settings, learn: Learner, rates: Sequence[float]) -> History:
    if settings.schedule == "one-cycle":
        last = range(settings.epochs - settings.average + 1, settings.epochs + 1)
        hook = CycleEnds(last if settings.average > 1 else (), average=settings.average)
        return _whole(learn.fit_one_cycle(settings.epochs, rates, hooks=[hook]), settings.epochs)
    ends = list(accumulate(cycle_epochs(settings.cycles, 1, 2)))
    open_end = settings.epochs == 0
    hook = CycleEnds(
        ends if open_end or settings.average > 1 else (), until_overfitting=open_end, average=settings.average
    )
    history = learn.fit(rates, settings.cycles, cycle_len=1, cycle_mult=2, hooks=[hook])
    return history if hook.stopped else _whole(history, ends[-1])


def judge_again(outcome: Outcome, learn: Learner, preds: Predictions) -> Predictions:
    """Step 9: predictions of the validation pictures with test-time augmentation, compared with the plain ones."""
    with outcome.step(f"Test-time augmentation: {outcome.settings.tta} augmented views and the plain one") as step:
        tta = learn.tta(n=outcome.settings.tta)
        step.judged(tta)
        step.done = f"plain against TTA: {compare(preds, tta)}" if importlib.util.find_spec("scipy") else ""
    return tta


def _take_rate(outcome: Outcome, curve: RateCurve, rates: list[float]) -> list[float]:
    """The rates as set, or scaled so that the last one is the finder's valley."""
    outcome.curves.append(curve)
    if outcome.settings.use_finder and curve.valley is not None:
        return [rate * curve.valley / rates[-1] for rate in rates]
    return rates


def _whole(history: History, epochs: int) -> History:
    """The history of a training that was not interrupted: Ctrl-C ends the recipe, not one step of it."""
    if len(history.epochs) < epochs:
        raise KeyboardInterrupt
    return history


def _export(learn: Learner, folder: Path, preds: Predictions, note: str) -> str:
    try:
        export(learn, folder / "model", preds=preds, note=note)
    except (ModuleNotFoundError, FileExistsError, RuntimeError) as error:
        return f"Not exported: {error}. The weights are in model.safetensors, beside the report."
    (folder / "model.safetensors").unlink()  # the export holds them
    return "Exported to model/, beside the report."


# Words ----------------------------------------------------------------------------------------------------------


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:.1e}" for rate in rates)


def _changed(augment: Augment) -> str:
    """The settings that switch something on."""
    off = Augment()
    on = [f"{name}={value}" for name, value in asdict(augment).items() if value != getattr(off, name)]
    return f"augmentation {', '.join(on)}" if on else "no augmentation"


def _advice(curve: RateCurve) -> str:
    found = {name: getattr(curve, name) for name in ("minimum", "steep", "valley", "slide")}
    said = ", ".join(f"{name} {rate:.1e}" for name, rate in found.items() if rate is not None)
    return f"{curve.advice}{f' ({said})' if said else ''}"


def _plan(settings: Settings) -> str:
    if settings.schedule == "one-cycle":
        plan = f"{counted(settings.epochs, 'epoch')}, one cycle"
    else:
        lengths = " + ".join(map(str, cycle_epochs(settings.cycles, 1, 2)))
        plan = f"cycle_mult=2, {lengths} epochs" if settings.epochs else "cycle_mult=2, until over-fitting"
    return plan + (f", the last {settings.average} averaged" if settings.average > 1 else "")


def _fitting(history: History) -> str:
    """Whether the training went on too long: then the validation loss was lowest before the end."""
    losses = [epoch.valid_loss for epoch in history.epochs]
    best = losses.index(min(losses))
    last = history.epochs[-1]
    seen = (
        f"{counted(len(losses), 'epoch')}, training loss {last.train_loss:.3f}, validation loss {last.valid_loss:.3f}"
    )
    if best == len(losses) - 1:
        return f"{seen}, its lowest: not over-fitting yet"
    return f"{seen}, lowest ({losses[best]:.3f}) after epoch {best + 1} of {len(losses)}"


def _meaning(settings: Settings) -> str:
    """What the labels mean, for the report and the model card."""
    if not has_ratings(data_folder(settings)):
        return ""
    if settings.protocol == "solar":
        return "A cell counts as defective when the experts' probability of a defect is at least 0.5."
    return (
        "A cell counts as defective when the experts' probability of a defect is above 0; while training, unsure cells "
        "weighed that probability, 1/3 or 2/3 (the protocol of Deitsch et al. 2019)."
    )


# Results --------------------------------------------------------------------------------------------------------


def facts_of(outcome: Outcome, learn: Learner, preds: Predictions, tta: Predictions) -> dict:
    """Everything a table of several runs needs, as JSON can hold it."""
    settings, data = outcome.settings, learn.data
    scores = {"accuracy": preds, "tta_accuracy": tta}
    facts = {
        "settings": asdict(settings),
        "protocol": settings.protocol if has_ratings(data_folder(settings)) else "labels as they are",
        "training": _plan(settings),
        "meaning": _meaning(settings),
        "split": data.split.digest(),
        "classes": list(data.vocab),
        "n": {"train": len(data.split.train), "valid": len(data.split.valid)},
        **{name: asdict(accuracy_interval(record)) for name, record in scores.items()},
        "majority": Interpretation(preds).report().majority,
        "epochs": [asdict(epoch) for epoch in learn.history.epochs],
        "device": _device(learn.device),
        "versions": versions(),
        "source": source_of(data),
    }
    if any(item.weight != 1 for item in preds.items):
        facts |= {f"weighted_{name}": asdict(bootstrap(record, weighted_accuracy)) for name, record in scores.items()}
    return facts


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {os.cpu_count()} {platform.machine()} processors"


def write_result(outcome: Outcome, folder: Path) -> dict:
    """Write result.json, whole or not at all; returns what is in it."""
    steps = [asdict(step) | {"result": step.result} for step in outcome.steps]
    facts = outcome.facts | {"steps": steps, "seconds": sum(step.seconds for step in outcome.steps)}
    with write_atomically(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    return facts


# Command line ---------------------------------------------------------------------------------------------------


def parse(argv: Sequence[str]) -> tuple[Settings, Path]:
    """(settings, report folder) of a command line."""
    about, formatter = __doc__, argparse.RawDescriptionHelpFormatter
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv[:1] == ["table"]:
            print(tabulate([Path(folder) for folder in argv[1:]]))
            return 0
        settings, folder = parse(argv)
        run(settings, folder, command=f"python -m helpers.recipe {shlex.join(argv)}")
        print(f"\nreport: {folder / 'report.html'}")
    except KeyboardInterrupt:
        print("interrupted; nothing was exported")
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
