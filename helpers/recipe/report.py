"""The recipe's results: result.json and one HTML page of a run (page: report.html), and a table of several runs."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import jinja2
import torch

from helpers.analysis.interpret import Interpretation
from helpers.analysis.intervals import accuracy_interval
from helpers.analysis.predictions import Predictions
from helpers.export.bundle import versions
from helpers.export.card import source_of
from helpers.figures import curves, pictures, results
from helpers.learner import Learner
from helpers.recipe.settings import Settings
from helpers.recipe.solar_cells import MEANING, has_ratings, weighted_accuracy
from helpers.review.html import data_uri, printable
from helpers.runtime.text import counted
from helpers.training.lr_finder import LRFinderResult

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
    meaning = MEANING[settings.protocol] if has_ratings(settings.folder) else ""
    set_by_these = {"rates": settings.rates(len(learn.groups)), "augment": asdict(settings.augment)}
    return facts | {
        "settings": asdict(settings) | set_by_these,
        "protocol": settings.protocol if meaning else "labels as they are",
        "training": plan(settings),
        "meaning": meaning,
        "split": data.split.digest(),
        "classes": list(data.classes),
        "n": {"train": len(data.split.train), "valid": len(data.split.valid)},
        "majority": Interpretation(preds).report().majority,
        "epochs": [asdict(epoch) for epoch in learn.history.epochs],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else here,
        "versions": versions(),
        "source": source_of(data),
    }


def draw_figures(learn: Learner, finder: Sequence[LRFinderResult], preds: Predictions, tta: Predictions) -> dict:
    """Heading -> drawings."""
    interp = Interpretation(tta)
    return {
        "What the model sees": [pictures.show_batch(learn.data)],
        "Learning rates: the last layer, then what was unfrozen": [curves.plot_lr_find(curve) for curve in finder],
        "Training": [plot(learn.history) for plot in (curves.plot_loss, curves.plot_metrics, curves.plot_lr)],
        "How good it is": [results.plot_accuracies({"plain": preds, "TTA": tta}), results.plot_confusion(interp)],
        "How sure it is": [results.plot_reliability(tta)],
        "Where it is most wrong": [pictures.plot_top_losses(interp, learn.data)],
    }


def report_page(facts: dict, figures: dict) -> str:
    """The page as HTML: every name in `facts` is escaped on its way in."""
    environment = jinja2.Environment(autoescape=True, finalize=printable, undefined=jinja2.StrictUndefined)
    environment.filters["data_uri"] = partial(data_uri, kind="png")
    page = environment.from_string(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    scores = {_words(name): _percent(facts[name]) for name in SCORES if name in facts}
    return page.render(facts, scores=scores, figures=figures)


def tabulate(folders: Sequence[Path]) -> str:
    """The results below these folders as a Markdown table, and a line for runs that differ by their seed alone."""
    files = sorted(file for folder in folders for file in Path(folder).rglob("result.json"))
    if not files:
        raise FileNotFoundError(f"no result.json below {', '.join(map(str, folders))}")
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    runs.sort(key=lambda run: [run["settings"][name] for name in ("data", "protocol", "arch", "size", "seed")])
    scores = [name for name in SCORES if any(name in run for run in runs)]
    head = ["data", "protocol", "arch", "px", "training", "seed", "n", *(f"{_words(name)} (95 %)" for name in scores)]
    rows = [[*head, "minutes", "device"], ["---"] * (len(head) + 2), *(_cells(run, scores) for run in runs)]
    lines = [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]
    same_but_seed: dict[str, list[dict]] = {}
    for run in runs:
        same_but_seed.setdefault(json.dumps(run["settings"] | {"seed": None}), []).append(run)
    summaries = [_summary(group, scores) for group in same_but_seed.values() if len(group) > 1]
    return "\n".join([*lines, *([""] if summaries else []), *summaries])


def _cells(run: dict, scores: Sequence[str]) -> list:
    own, shares = run["settings"], [_percent(run[name]) if name in run else "-" for name in scores]
    what = [Path(own["data"]).name, run["protocol"], own["arch"], own["size"], run["training"], own["seed"]]
    return [*what, run["n"]["valid"], *shares, f"{run['seconds'] / 60:.1f}", run["device"]]


def _words(score: str) -> str:
    return score.replace("tta", "TTA").replace("_", " ")


def _percent(share: dict) -> str:
    low, high = (100 * share[end] for end in ("low", "high"))
    return f"{100 * share['estimate']:.1f} ({low:.1f}-{high:.1f})"


def _summary(runs: Sequence[dict], scores: Sequence[str]) -> str:
    """Mean, deviation and range over the seeds. Their validation pictures overlap, so this is no interval."""
    said = []
    for name in (name for name in scores if name in runs[0]):
        values = [100 * run[name]["estimate"] for run in runs]
        spread = f"standard deviation {statistics.stdev(values):.2f}, {min(values):.2f} to {max(values):.2f}"
        said.append(f"{_words(name)} {statistics.mean(values):.2f} % on average ({spread})")
    own, counts = runs[0]["settings"], f"{len(runs)} runs on {len({run['split'] for run in runs})} splits"
    what = f"{runs[0]['protocol']}, {own['arch']}, {own['size']} px, {runs[0]['training']}"
    return f"{what}: {counts}: {'; '.join(said)}."
