"""The lectures' eight steps to a world-class classifier, end to end, then test-time augmentation and analysis.

    python -m helpers.recipe --data solar --arch efficientnet_lite0 --size 224

It leaves report.html (one file, no network), result.json and model/ (see `helpers.export`) in the folder it names.
The same command goes on where it was cut off. With several processes, begun again by torchrun when one has died:
    torchrun --standalone --nproc-per-node=2 --max-restarts=3 -m helpers.recipe --data ...
"""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from time import perf_counter

import torch

from data_setup import solar
from data_setup.base.files import was_begun, write_atomically
from data_setup.base.text import counted, number
from data_setup.own.labels import labelled
from data_setup.own.split_file import split_in
from helpers.analysis.intervals import accuracy_text, compare
from helpers.analysis.lr_curve import LRFinderResult
from helpers.data.dataset import ImageData
from helpers.export.bundle import export
from helpers.export.onnx import need_packages
from helpers.learner import Learner
from helpers.recipe.averaging import AverageWeights
from helpers.recipe.report import draw_figures, facts_of, plan, report_page
from helpers.recipe.settings import HEAD_EPOCHS, Settings, parse
from helpers.runtime.device import pick_device
from helpers.runtime.distributed import join, rank, total

UNFINISHED = "unfinished.json"  # beside the checkpoints: the settings of the run that they are of


@dataclass
class Step:
    """One step of the recipe: what was done, how good the model was after it, and how long it took."""

    number: int
    title: str
    done: str = ""
    result: str = ""
    seconds: float = 0.0


@contextmanager
def timed(steps: list[Step], title: str) -> Iterator[Step]:
    """The next step: its title is printed when it begins, its line when it is done."""
    step = Step(len(steps) + 1, title)
    steps.append(step)
    print(f"\n{step.number}. {title}", flush=True)
    started = perf_counter()
    yield step
    step.seconds = perf_counter() - started
    said = "; ".join(filter(None, [step.done, step.result]))
    print(f"   step {step.number}, {step.seconds:.0f} s: {said}", flush=True)


def run(settings: Settings, folder: Path, *, command: str = "") -> None:
    """Train as the settings say; leave report.html, result.json and model/ in `folder`; every step prints a line."""
    need_packages()  # better known now than after the training
    folder.mkdir(parents=True, exist_ok=True)
    steps: list[Step] = []
    learn, curves = train(settings, folder, steps, resume=was_cut_off(settings, folder))
    with timed(steps, f"Test-time augmentation: {settings.tta} augmented views and the plain one") as step:
        preds, tta = learn.get_preds(), learn.tta(n=settings.tta)
        step.done, step.result = f"plain against TTA: {compare(preds, tta)}", accuracy_text(tta)
    if rank() > 0:
        return
    facts = facts_of(settings, learn, preds, tta) | {"command": command}
    with timed(steps, "Analyse, and export the model") as step:
        try:
            export(learn, folder / "model", note=facts["meaning"])
            step.done = "Exported to model/, beside the report."
            (folder / "model.safetensors").unlink(missing_ok=True)  # the export holds what it held
        except (OSError, RuntimeError) as error:
            step.done = f"Not exported: {error}. The weights are in model.safetensors, beside the report."
    facts |= {"steps": [asdict(step) for step in steps], "seconds": sum(step.seconds for step in steps)}
    page = report_page(facts, draw_figures(learn, curves, preds, tta))
    for name, text in (("result.json", json.dumps(facts, indent=1)), ("report.html", page)):
        with write_atomically(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    (folder / UNFINISHED).unlink(missing_ok=True)
    forget_checkpoints(folder)


def was_cut_off(settings: Settings, folder: Path) -> bool:
    """Whether a run with these settings has not come to its end here, as the first process finds; else one begins."""
    work = asdict(settings) | ({"data": str(Path(settings.data).resolve())} if Path(settings.data).is_dir() else {})
    goes_on = rank() == 0 and was_begun(folder / UNFINISHED, work)
    if rank() == 0 and not goes_on:
        forget_checkpoints(folder)
    goes_on = bool(total(torch.tensor(float(goes_on))))
    if goes_on:
        print(f"going on with the run that was cut off here; to begin again, delete {folder / UNFINISHED}")
    return goes_on


def forget_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of the recipe's trainings; other files of the folder stay."""
    for file in folder.glob("model.*.checkpoint.safetensors"):
        file.unlink(missing_ok=True)


def train(settings: Settings, folder: Path, steps: list[Step], *, resume=False) -> tuple[Learner, list[LRFinderResult]]:
    """Steps 1 to 8; the learner then computes in float32, as the exported model does."""
    with timed(steps, "Enable data augmentation, and precompute=True") as step:
        data, shared = load_data(settings), {"seed": settings.seed, "path": folder}
        learn = Learner.pretrained(data, settings.arch, layer_groups="stages" if settings.copies else 3, **shared)
        if settings.copies and settings.stages > (most := len(learn.groups) - 2):
            raise ValueError(f"--stages is at most {most} for {settings.arch}; got {settings.stages}")
        learn.source()  # the cached features
        rates = settings.rates(len(learn.groups))
        step.done = f"{data}, {settings.augment}"
    with timed(steps, "Find the highest learning rate at which the loss still clearly falls") as step:
        curves = [learn.lr_find()]
        step.done = f"{curves[0].advice} Taken for the last layer: {number(rates[-1])}"
    with timed(steps, "Train the last layer on cached features") as step:
        learn.name = "model.head"  # of its checkpoint
        learn.fit(rates[-1], HEAD_EPOCHS, resume=resume)
        step.done, step.result = counted(HEAD_EPOCHS, "epoch"), accuracy_after(learn)
    with timed(steps, "Train the last layer with augmentation (precompute=False), cycle_len=1") as step:
        learn.precompute, learn.name = False, "model.augmented"
        learn.fit(rates[-1], settings.augmented_epochs, cycle_len=1, resume=resume)
        step.done, step.result = counted(settings.augmented_epochs, "epoch"), accuracy_after(learn)
    stages = f"the last {settings.stages} stages; cache what the first make of {settings.copies} copies"
    with timed(steps, f"Unfreeze {stages if settings.copies else 'all layers'}") as step:
        if settings.copies:
            learn.freeze_to(-1 - settings.stages)
            learn.precompute_copies(settings.copies)
            learn.source()  # the features
        else:
            learn.unfreeze()
        step.done = f"{sum(p.numel() for p in learn.model.parameters() if p.requires_grad):,} parameters train"
    with timed(steps, "Give earlier layers lower learning rates") as step:
        step.done = f"{', '.join(map(number, rates))} for the layer groups, first layers first"
    with timed(steps, "Find the learning rate again") as step:
        curves.append(learn.lr_find(rates))
        step.done = f"{curves[1].advice} Taken for the last layer: {number(rates[-1])}"
    with timed(steps, f"Train {'these stages' if settings.copies else 'the full network'}: {plan(settings)}") as step:
        ends = list(accumulate(settings.cycles))[-settings.average :]
        how = {"hooks": [AverageWeights(ends)] if settings.average > 1 else [], "resume": resume}
        learn.name = "model.whole"
        if settings.schedule == "one-cycle":
            history = learn.fit_one_cycle(settings.epochs, rates, **how)
        else:
            history = learn.fit(rates, len(settings.cycles), cycle_len=1, cycle_mult=2, **how)
        learn.save("model")
        learn.precompute = False
        learn.to_fp32()
        losses = [round(epoch.valid_loss, 3) for epoch in history.epochs]  # over-fitting: the lowest is not the last
        step.done = f"training loss at the end {history.epochs[-1].train_loss:.3f}, validation losses {losses}"
        step.result = accuracy_after(learn)
    return learn, curves


def load_data(settings: Settings) -> ImageData:
    """The pictures with their labels, weights and split; of solar cells those of the protocol and the seed."""
    folder, size, augment = settings.folder, settings.size, settings.augment
    if not solar.has_ratings(folder):
        items = labelled(folder, settings.labels)
        return ImageData(items, split_in(folder, items, seed=settings.seed), size=size, augment=augment)
    items, split = solar.cell_items(folder, settings.protocol), solar.cell_split(folder, settings.seed)
    presize_px = max(300, size) if size >= 200 else None  # the cells have 300 px: large ones are cut from all of them
    return ImageData(items, split, size=size, augment=augment, presize_px=presize_px)


def accuracy_after(learn: Learner) -> str:
    """Of the validation pictures, after a training: Ctrl-C ends the recipe, not one step of it."""
    if learn.interrupted:
        raise KeyboardInterrupt
    return accuracy_text(learn.get_preds())


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        settings, folder = parse(argv, __doc__)
        join(pick_device())
        run(settings, folder, command=f"python -m helpers.recipe {shlex.join(argv)}")
        print(f"\nreport: {folder / 'report.html'}")
    except KeyboardInterrupt:
        print("interrupted; nothing was exported. The same command goes on from the last checkpoint")
        return 130
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
