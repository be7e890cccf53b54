"""The duel: twelve photographs, sorted into whole and broken (or one class and the others) by learner and network.

It opens the course (a small head that was trained in seconds plays), and comes back in lesson 07, where the learner's
own model plays, too. The learner's answers are kept on disk in between.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import ipywidgets as widgets

import data_setup
from data_setup.base.files import read_json, write_atomically
from data_setup.base.folders import explained
from data_setup.base.html import Html, fill, join, picture
from data_setup.items import Item
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons.chosen import asked_class, is_solar, kept_as
from helpers.lessons.heads import quick_learner
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget, button
from helpers.runtime.seeds import seed_for

BROKEN, WHOLE, OTHER = "broken", "whole", "another"
N_BROKEN, N_ALL = 5, 12
SIDE_PX = 200
QUICK_PX = 64  # what the small head sees
SMALL_HEAD, YOUR_MODEL = "the small head", "your model"
TASK = "Twelve photographs of solar cells. Which ones are broken? Sort them before you read on."
TILE = '<div style="display:inline-block;margin:4px;text-align:center">{picture}<br>{name}</div>'
FACE = (
    "<div><p>{task}</p>{shown}<details><summary>Labels, and what the network says</summary>{answers}"
    "<p>Correct of twelve: <b>{scores}</b>.</p></details></div>"
)


def twelve_photographs(data: ImageData, *, positive: str) -> tuple[Item, ...]:
    """Five broken and seven whole photographs of the validation part, mixed: the same ones whenever it is asked. Of a
    class that has fewer than five there, all; others make up the twelve.

    They are drawn by a hash of their file names. Raises ValueError when there are too few.
    """
    ranked = sorted(data.items_of("valid"), key=lambda item: seed_for("duel", item.path.name))
    broken = [item for item in ranked if item.label == positive][:N_BROKEN]
    whole = [item for item in ranked if item.label != positive][: N_ALL - len(broken)]
    if not broken or len(broken) + len(whole) < N_ALL:
        raise ValueError(
            f"the duel takes {N_ALL} validation photographs, one to {N_BROKEN} of them labelled {positive!r}; "
            f"found {len(broken)} and {len(whole)} others"
        )
    return tuple(sorted(broken + whole, key=lambda item: seed_for("order", item.path.name)))


def read_answers(file: Path, words: Sequence[str] = (WHOLE, BROKEN)) -> dict[str, str]:
    """Photograph -> one of the two words, as the learner sorted them; empty where nothing readable was kept."""
    return {name: answer for name, answer in read_json(file).items() if answer in words}


class Sorted(widgets.VBox):
    """One photograph, the two words to choose from, and what was found out about it."""

    def __init__(self, number: int, item: Item, options: Sequence[str], answer: str | None, on_change):
        name = f"Photograph {number}"
        self.item = item
        self.choice = widgets.ToggleButtons(
            options=list(options), value=answer, description=name, style={**FULL_NAME, "button_width": "72px"}
        )
        self.choice.observe(lambda _: on_change(), "value")
        self.said = SafeText()
        shown = SafeText(fill("{picture}", picture=picture(item.path, name, SIDE_PX)))
        super().__init__([shown, self.choice, self.said], layout={"width": f"{SIDE_PX + 50}px"})


class Duel(StaticWidget):
    """Sort twelve photographs by clicking, then see the labels and the network's answers beside your own.

    `Duel(data)` trains a small head at 64 px for the other side; `Duel(data, learn)` lets your model play as well.
    `.scores` is {player: correct answers of twelve}; yours stands there once every photograph is sorted.
    """

    def __init__(self, data: ImageData, your_model: Learner | None = None, *, positive: str | None = None):
        positive = positive or asked_class(data)
        self.task, self.words = TASK, (WHOLE, BROKEN)
        if not is_solar():
            self.task = f"Twelve photographs. Which ones are labelled {positive}? Sort them before you read on."
            self.words = (OTHER, positive)
        self.items = twelve_photographs(data, positive=positive)
        self.truth = [self.words[item.label == positive] for item in self.items]
        players = {SMALL_HEAD: quick_learner(data.resized(QUICK_PX))}
        if your_model is not None:
            players[YOUR_MODEL] = your_model
        self.p_broken = {name: _p_of(learn, self.items, positive) for name, learn in players.items()}
        self.file = data_setup.home() / kept_as("duel.json")
        kept = read_answers(self.file, self.words)
        self.photographs = [
            Sorted(number, item, self.words, kept.get(item.path.name), self._keep)
            for number, item in enumerate(self.items, start=1)
        ]
        self.show = button("Show the labels and the other answers", self._show)
        self.said = SafeText()
        self.said.add_class("course-status")
        grid = widgets.HBox(self.photographs, layout={"flex_flow": "row wrap", "grid_gap": "12px"})
        super().__init__([SafeText(fill("<p>{task}</p>", task=self.task)), grid, self.show, self.said])

    @property
    def answers(self) -> dict[str, str]:
        """Your answers so far, by file name."""
        return {shown.item.path.name: shown.choice.value for shown in self.photographs if shown.choice.value}

    @property
    def scores(self) -> dict[str, int]:
        """Correct answers of twelve, by player."""
        sorted_by = {name: [self.words[p >= 0.5] for p in row] for name, row in self.p_broken.items()}
        if len(self.answers) == len(self.items):
            sorted_by = {"you": [shown.choice.value for shown in self.photographs]} | sorted_by
        sorted_by[f"always {self.words[0]}"] = [self.words[0]] * len(self.items)
        return {
            name: sum(answer == true for answer, true in zip(row, self.truth, strict=True))
            for name, row in sorted_by.items()
        }

    def _keep(self) -> None:
        """Save the answers; those of other photographs stay in the file."""
        kept = read_answers(self.file, self.words) | self.answers
        try:
            with explained(self.file.parent), write_atomically(self.file) as temporary:
                temporary.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        except OSError as error:  # in a callback, where nobody would see it
            self.said.value = fill("Your answers are here, but not kept: {error}", error=error)

    def _show(self) -> None:
        missing = len(self.items) - len(self.answers)
        if missing:
            self.said.value = fill("Sort all twelve first; {missing} to go.", missing=missing)
            return
        for place, shown in enumerate(self.photographs):
            own = "as you said" if shown.choice.value == self.truth[place] else f"you said {shown.choice.value}"
            shown.said.value = fill(
                "<div><b>{truth}</b>, {own}{others}</div>", truth=self.truth[place], own=own, others=self._others(place)
            )
        self.said.value = fill("<div>Correct of twelve: <b>{scores}</b>.</div>", scores=_in_words(self.scores))

    def _others(self, place: int) -> Html:
        return join(
            fill(" · {name}: p({word}) ≈ {p}", name=name, word=self.words[1], p=f"{row[place]:.2f}")
            for name, row in self.p_broken.items()
        )

    def face(self) -> tuple[str, Html]:
        """The photographs; labels and the networks' answers are folded below."""
        text = f"The duel: {self.task} Run the cell to sort by clicking."
        shown = join(
            fill(TILE, picture=picture(item.path, f"Photograph {number}", SIDE_PX), name=f"Photograph {number}")
            for number, item in enumerate(self.items, start=1)
        )
        answers = join(
            fill(
                "<div>{number}. <b>{truth}</b>{others}</div>", number=place + 1, truth=truth, others=self._others(place)
            )
            for place, truth in enumerate(self.truth)
        )
        networks = {name: score for name, score in self.scores.items() if name != "you"}
        page = fill(FACE, task=self.task, shown=shown, answers=answers, scores=_in_words(networks))
        return text, page


def _p_of(learn: Learner, items: Sequence[Item], positive: str) -> list[float]:
    preds = learn.get_preds(items)
    return preds.probs[:, preds.classes.index(positive)].tolist()


def _in_words(scores: Mapping[str, int]) -> str:
    """The networks' scores are measured, so they carry the sign of an approximation."""
    return ", ".join(
        f"{name} {'≈ ' if name in (SMALL_HEAD, YOUR_MODEL) else ''}{score}" for name, score in scores.items()
    )
