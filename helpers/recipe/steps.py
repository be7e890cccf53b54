"""The lectures' eight steps to a world-class classifier, end to end, then test-time augmentation and analysis.

    python -m helpers.recipe --data solar --arch efficientnet_lite0 --size 224
    python -m helpers.recipe table FOLDER ...     results of several runs, side by side

It leaves report.html (one file, no network), result.json and model/ (see `helpers.export`) in the folder it names.
"""

import importlib.util
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from time import perf_counter

import torch

import data_setup
from helpers.analysis.interpret import Interpretation
from helpers.analysis.intervals import Interval, accuracy_interval, bootstrap, compare, wilson
from helpers.analysis.predictions import Predictions
from helpers.data.augment import Augment
from helpers.data.dataset import ImageData
from helpers.export.bundle import export, need_packages, source_of, versions
from helpers.learner import Learner
from helpers.recipe.report import draw_figures, report_page, tabulate
from helpers.recipe.settings import Settings, parse
from helpers.recipe.solar_cells import cell_items, cell_split, has_ratings, weighted_accuracy
from helpers.runtime.files import write_atomically
from helpers.runtime.text import counted, number
from helpers.training.hooks import AverageWeights, StopAtOverfitting
from helpers.training.lr_finder import LRFinderResult
from helpers.training.run import History
from helpers.training.schedules import cycle_epochs

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
    curves: list[LRFinderResult] = field(default_factory=list)
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
        groups = "stages" if settings.copies else 3
        learn = Learner.pretrained(data, settings.arch, layer_groups=groups, seed=settings.seed, path=folder)
        learn.source()  # the activations
        n, rates = len(data.indices_of("valid")), group_rates(settings.rates, len(learn.groups))
        step.done = f"{data}, {_changed(settings.augment)}"
    with outcome.step("Find the highest learning rate at which the loss still clearly falls") as step:
        rates = _take_rate(outcome, learn.lr_find(), rates)
        step.done = f"{_advice(outcome.curves[-1])} Taken for the last layer: {number(rates[-1])}"
    with outcome.step("Train the last layer on kept activations") as step:
        step.trained(_whole(learn.fit(rates[-1], settings.head_epochs), settings.head_epochs), n)
        step.done = counted(settings.head_epochs, "epoch")
    with outcome.step("Train the last layer with augmentation (precompute=False), cycle_len=1") as step:
        learn.precompute = False
        history = learn.fit(rates[-1], settings.augmented_epochs, cycle_len=1)
        step.trained(_whole(history, settings.augmented_epochs), n)
        step.done = counted(settings.augmented_epochs, "epoch")
    with outcome.step(_unfreezing(settings)) as step:
        _unfreeze(settings, learn)
        step.done = f"{sum(p.numel() for p in learn.model.parameters() if p.requires_grad):,} weights train"
    with outcome.step("Give earlier layers lower learning rates") as step:
        step.done = f"{_listed(rates)} for the layer groups, first layers first"
    with outcome.step("Find the learning rate again") as step:
        rates = _take_rate(outcome, learn.lr_find(rates), rates)
        step.done = f"{_advice(outcome.curves[-1])} Taken: {_listed(rates)}"
    with outcome.step(f"Train {'these stages' if settings.copies else 'the full network'}: {_plan(settings)}") as step:
        history = _train_all(settings, learn, rates)
        learn.save("model")
        learn.precompute = False
        learn.to_fp32()  # from here on as the exported model computes: from the pictures, in full precision
        step.done = _fitting(history)
        preds = learn.get_preds("valid")
        step.judged(preds)
    return learn, preds


def group_rates(rates: Sequence[float], n_groups: int) -> list[float]:
    """One rate per layer group from (early, late, head): the earlier half of the body's groups, the later, the head."""
    early = n_groups // 2
    return [rates[0]] * early + [rates[1]] * (n_groups - 1 - early) + [rates[2]]


def _unfreezing(settings: Settings) -> str:
    if settings.copies:
        return f"Unfreeze the last {settings.stages} stages; keep what the first make of {settings.copies} copies"
    return "Unfreeze all layers"


def _unfreeze(settings: Settings, learn: Learner) -> None:
    if settings.bn_freeze:
        learn.bn_freeze(True)
    if not settings.copies:
        learn.unfreeze()
        return
    if settings.stages > len(learn.groups) - 2:
        raise ValueError(f"--stages is at most {len(learn.groups) - 2} for {settings.arch}; got {settings.stages}")
    learn.freeze_to(len(learn.groups) - 1 - settings.stages)
    if learn.split_point == 0:
        raise ValueError(f"{settings.arch} cannot be cut between its stages: train it with --copies 0")
    learn.precompute_copies(settings.copies)
    learn.source()  # the activations


def _train_all(settings: Settings, learn: Learner, rates: Sequence[float]) -> History:
    if settings.schedule == "one-cycle":
        ends = range(1, settings.epochs + 1)
        hooks = [AverageWeights(ends[-settings.average :])] if settings.average > 1 else []
        return _whole(learn.fit_one_cycle(settings.epochs, rates, hooks=hooks), settings.epochs)
    ends = list(accumulate(cycle_epochs(settings.cycles, 1, 2)))
    until = StopAtOverfitting(ends)
    hooks = [until] if settings.epochs == 0 else []
    if settings.average > 1:
        hooks.append(AverageWeights(ends[-settings.average :]))
    history = learn.fit(rates, settings.cycles, cycle_len=1, cycle_mult=2, hooks=hooks)
    return history if until.stopped else _whole(history, ends[-1])


def judge_again(outcome: Outcome, learn: Learner, preds: Predictions) -> Predictions:
    """Step 9: predictions of the validation pictures with test-time augmentation, compared with the plain ones."""
    with outcome.step(f"Test-time augmentation: {outcome.settings.tta} augmented views and the plain one") as step:
        tta = learn.tta(n=outcome.settings.tta)
        step.judged(tta)
        step.done = f"plain against TTA: {compare(preds, tta)}" if importlib.util.find_spec("scipy") else ""
    return tta


def _take_rate(outcome: Outcome, curve: LRFinderResult, rates: list[float]) -> list[float]:
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
    return ", ".join(number(rate) for rate in rates)


def _changed(augment: Augment) -> str:
    """The settings that switch something on."""
    off = Augment()
    on = [f"{name}={value}" for name, value in asdict(augment).items() if value != getattr(off, name)]
    return f"augmentation {', '.join(on)}" if on else "no augmentation"


def _advice(curve: LRFinderResult) -> str:
    found = {name: getattr(curve, name) for name in ("minimum", "steep", "valley", "slide")}
    said = ", ".join(f"{name} {number(rate)}" for name, rate in found.items() if rate is not None)
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
        "classes": list(data.classes),
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv[:1] == ["table"]:
            print(tabulate([Path(folder) for folder in argv[1:]]))
            return 0
        settings, folder = parse(argv, __doc__)
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
