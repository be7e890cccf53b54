"""Grids of pictures with the model's answers: picked ones, or some at random."""

from dataclasses import replace

import torch

from data_setup.base.arguments import did_you_mean
from data_setup.base.text import counted
from helpers.analysis.interpret import PICKS, Picks
from helpers.analysis.predictions import Predictions
from helpers.figures.pictures import show_pictures
from helpers.figures.style import Drawing, empty_drawing
from helpers.runtime.seeds import generator

ANSWERS = "each with the model's answer, its probability, and the label where the answer is wrong"


def show_picks(picks: Picks, data, *, columns: int = 0) -> Drawing:
    """What `Interpretation.pick` gave: pictures, the answers, how sure they are, and the label if wrong."""
    of = "" if picks.of_class is None else f", class {picks.of_class}"
    which = PICKS[picks.which].partition(":")[0].format(of=of)  # without counts: the same on every machine
    text = f"{which}: {counted(len(picks.indices), 'picture')}, {ANSWERS}."
    return _show_answers(picks.preds, data, header=picks.caption, text=text, columns=columns)


@did_you_mean
def show_results(preds: Predictions, data, n: int = 9, *, seed: int = 0, columns: int = 0) -> Drawing:
    """`n` pictures drawn at random from the predictions, correct and wrong as they come."""
    rows = torch.randperm(len(preds.items), generator=generator("show_results", seed))[:n].tolist()
    among = f"{len(preds.items):,} of the {preds.part} part"
    text = f"{counted(len(rows), 'picture')} drawn at random from {among}, {ANSWERS}."
    return _show_answers(preds.subset(rows), data, text=text, columns=columns)


def _show_answers(preds: Predictions, data, *, text: str, columns: int, header: str = "") -> Drawing:
    if not preds.items:
        return empty_drawing(f"No pictures to show. {header}".strip())
    titles, answers, wrong = [], [], ((preds.targets >= 0) & ~preds.correct).tolist()
    rows = zip(preds.predicted.tolist(), preds.targets.tolist(), preds.probs.amax(1).tolist(), wrong, strict=True)
    for answer, target, p, is_wrong in rows:
        parts = [preds.classes[answer], f"p = {p:.2f}"]  # a line each: four pictures stand side by side
        parts.append(f"is {preds.classes[target]}" if is_wrong else "correct" if target >= 0 else "no label")
        titles.append("\n".join(parts))
        answers.append(", ".join([*parts[:2], *["wrong"] * is_wrong, parts[2]]))
    said = "; ".join(f"{item.name}: {answer}" for item, answer in zip(preds.items, answers, strict=True))
    images = data.eval_images([data.index_of(item.name) for item in preds.items])
    drawing = show_pictures(images, titles, columns=columns, wrong=wrong, header=header, text=text)
    return replace(drawing, detail=f"{header} {said}.")
