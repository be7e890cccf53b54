"""The recipe's results: result.json and one HTML page of a run (page: report.html)."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from data_setup import solar
from data_setup.base.html import data_uri, page
from data_setup.base.text import counted
from helpers.analysis.interpret import Interpretation
from helpers.analysis.intervals import accuracy_interval, weighted_accuracy
from helpers.analysis.lr_curve import LRFinderResult
from helpers.analysis.predictions import Predictions
from helpers.export.bundle import versions
from helpers.export.card import source_of
from helpers.figures import curves, pictures, results
from helpers.learner import Learner
from helpers.recipe.settings import Settings

SCORES = ("accuracy", "tta_accuracy", "weighted_accuracy", "weighted_tta_accuracy")


def plan(settings: Settings) -> str:
    """How the unfrozen layers train, in a few words."""
    cycles = "one cycle" if settings.schedule == "one-cycle" else f"cycles of {' + '.join(map(str, settings.cycles))}"
    average = f", the last {settings.average} averaged" if settings.average > 1 else ""
    return f"{counted(settings.epochs, 'epoch')}, {cycles}{average}"


def facts_of(settings: Settings, learn: Learner, preds: Predictions, tta: Predictions) -> dict:
    """Everything a table of several runs needs, as JSON can hold it."""
    data, device, scores = learn.data, learn.device, {"accuracy": preds, "tta_accuracy": tta}
    facts = {name: asdict(accuracy_interval(record)) for name, record in scores.items()}
    if any(item.weight != 1 for item in preds.items):
        facts |= {f"weighted_{name}": asdict(weighted_accuracy(record)) for name, record in scores.items()}
    here = f"{device.type}, {os.cpu_count()} {platform.machine()} processors"
    meaning = solar.MEANING[settings.protocol] if solar.has_ratings(settings.folder) else ""
    own = {"rates": settings.rates(len(learn.groups)), "augment": asdict(settings.augment)}
    facts |= {"settings": asdict(settings) | own, "protocol": settings.protocol if meaning else "labels as they are"}
    facts |= {"training": plan(settings), "meaning": meaning, "split": data.split.digest()}
    facts |= {"classes": list(data.classes), "n": {"train": len(data.split.train), "valid": len(data.split.valid)}}
    facts |= {"majority": Interpretation(preds).report().majority, "epochs": list(map(asdict, learn.history.epochs))}
    facts |= {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else here}
    return facts | {"versions": versions(), "source": source_of(data)}


def draw_figures(learn: Learner, finder: Sequence[LRFinderResult], preds: Predictions, tta: Predictions) -> dict:
    """Heading -> drawings."""
    interp = Interpretation(tta)
    return {
        "What the model sees": [pictures.show_batch(learn.data)],
        "Learning rates: the last layer, then what was unfrozen": [curves.plot_lr_find(curve) for curve in finder],
        "Training": [plot(learn.history) for plot in (curves.plot_loss, curves.plot_lr)],
        "How good it is": [results.plot_accuracies({"plain": preds, "TTA": tta}), results.plot_confusion(interp)],
        "How sure it is": [results.plot_reliability(tta)],
        "Where it is most wrong": [pictures.plot_top_losses(interp, learn.data)],
    }


def report_page(facts: dict, figures: dict) -> str:
    """The page as HTML: every name in `facts` is escaped on its way in."""
    scores = {name: facts[name] for name in SCORES if name in facts}
    report = page(Path(__file__).with_name("report.html"), data_uri=data_uri)
    return report.render(facts, scores=scores, figures=figures)
