"""Quizzes: the questions of notebooks/quizzes/NN.toml to be answered by clicking and typing.

Questions and options stand in the order of the file. Where no kernel runs, the page shows the questions with the
answers folded away.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from data_setup.base.files import read_json, write_atomically
from data_setup.base.html import Html, fill, join
from helpers.lessons.guess import read_number
from helpers.lessons.pairing import Pairing, not_all
from helpers.lessons.quiz_questions import (
    QUIZZES,
    Choice,
    Matching,
    Number,
    Open,
    Option,
    Question,
    code_block,
    read_quiz,
)
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget, button

ANSWERS = QUIZZES.parents[1] / "work" / "answers"
FEWEST_SENTENCES, FEWEST_WORDS = 2, 8
# ipywidgets gives each option one line of fixed height; ours may need two.
STYLE = fill(
    "<style>.course-quiz .widget-radio-box label {{height: auto; line-height: 1.6; white-space: normal}}</style>"
)


class Asked(widgets.VBox):
    """One question with its controls. `.right` is None until it is checked."""

    def __init__(self, number: int, question: Question, on_check: Callable[[], None]):
        self.number, self.question, self._on_check = number, question, on_check
        self.right: bool | None = None
        self.said = SafeText()
        self.said.add_class("course-status")
        asked = fill(
            '<div style="line-height:1.5"><b>{number}.</b> {ask}</div>{shown}',
            number=number,
            ask=question.ask,
            shown=question.shown(),
        )
        super().__init__(
            [SafeText(fill("{asked}", asked=asked)), *self.controls(), self.said],
            layout={"margin": "0 0 12px 0", "align_items": "flex-start"},
        )

    def controls(self) -> list[widgets.Widget]:
        """What the learner answers with; made before the widget is."""
        raise AssertionError("every kind of question has controls of its own")

    def say(self, right: bool | None, said: Html) -> None:
        """The verdict of a check; (None, nothing) takes it away, for the answer has changed."""
        self.right = right
        self.said.value = said
        self._on_check()

    def clear(self, _change: object = None) -> None:
        """The answer has changed."""
        self.say(None, fill(""))


class AskedChoice(Asked):
    """Choose with the mouse, or with Tab and Space, then check."""

    def controls(self) -> list[widgets.Widget]:
        options = [(self.question.lettered(place), place) for place in range(len(self.question.options))]
        self.choice = widgets.RadioButtons(
            options=options, value=None, description=f"Answer {self.number}", style=FULL_NAME, layout={"width": "100%"}
        )
        self.choice.observe(self.clear, "value")
        self.check = button(f"Check answer {self.number}", self._check)
        return [self.choice, self.check]

    def _check(self) -> None:
        if self.choice.value is None:
            self.say(None, fill("Choose an answer first."))
            return
        option = self.question.options[self.choice.value]
        self.say(option.right, fill("{said}{output}", said=feedback(option), output=code_block(self.question.output)))


class AskedNumber(Asked):
    """Type a number, then check."""

    def controls(self) -> list[widgets.Widget]:
        self.field = widgets.Text(description=f"Answer {self.number}", style=FULL_NAME, layout={"width": "240px"})
        self.field.observe(self.clear, "value")
        self.check = button(f"Check answer {self.number}", self._check)
        unit = SafeText(fill("<span>{unit}</span>", unit=self.question.unit))
        return [widgets.HBox([self.field, unit]), self.check]

    def _check(self) -> None:
        value = read_number(self.field.value)
        if value is None:
            self.say(None, fill("Type a number first, such as 12 or 0.5."))
            return
        right = self.question.fits(value)
        self.say(right, verdict(right, self.question.said_of(value)))


class AskedPairs(Asked):
    """Choose an entry for every row, then check."""

    def controls(self) -> list[widgets.Widget]:
        question = self.question
        self.pairing = Pairing(
            f"answer {self.number}", question.pairs, self._check, on_change=self.clear,
            options=question.entries(), as_code=question.as_code,
        )  # fmt: skip
        self.check = self.pairing.check
        return [self.pairing]

    def _check(self, wrong: list[str]) -> None:
        if wrong:
            self.say(False, not_all(wrong, len(self.question.pairs)))
        else:
            self.say(True, verdict(True, self.question.feedback))


class AskedOpen(Asked):
    """Write two sentences; then a model answer unfolds. What was written is kept in `file`."""

    file: Path | None = None

    def controls(self) -> list[widgets.Widget]:
        self.field = widgets.Textarea(
            description=f"Answer {self.number}",
            placeholder="two sentences",
            style=FULL_NAME,
            layout={"width": "640px", "height": "90px"},
        )
        self.field.observe(self.clear, "value")
        self.check = button(f"Keep answer {self.number} and compare", self._check)
        return [self.field, self.check]

    def keep_in(self, file: Path) -> None:
        """Save there, and begin with what was saved there before."""
        self.file = file
        self.field.value = read_answers(file).get(self.question.ask, "")

    def _check(self) -> None:
        written = self.field.value.strip()
        if not is_enough(written):
            self.say(None, fill("Write two sentences first, as you would say it to a colleague."))
            return
        kept = read_answers(self.file) | {self.question.ask: written}
        told = f"Kept in {'/'.join(self.file.parts[-3:])}."
        try:
            with write_atomically(self.file) as temporary:
                temporary.write_text(json.dumps(kept, indent=1, ensure_ascii=False), encoding="utf-8")
        except OSError as error:  # in a callback, where nobody would see it
            told = f"NOT kept in {self.file} ({error.strerror}): make room there and click again."
        self.say(None, fill("{told} One way to say it:{answer}", told=told, answer=self.question.solution()))


def is_enough(text: str) -> bool:
    """At least two sentences, and not only two words."""
    sentences = [piece for piece in re.split(r"[.!?]+(?:\s+|$)", text) if piece.strip()]
    return len(sentences) >= FEWEST_SENTENCES and len(text.split()) >= FEWEST_WORDS


def read_answers(file: Path) -> dict[str, str]:
    """Question -> what the learner wrote; empty where nothing readable was kept."""
    return {question: str(answer) for question, answer in read_json(file).items()}


ASKED = {Choice: AskedChoice, Number: AskedNumber, Matching: AskedPairs, Open: AskedOpen}


class Quiz(StaticWidget):
    """The quiz of a lesson, `Quiz("02")`. Written answers are kept in `answers`/02.json."""

    def __init__(self, lesson: str, *, folder: Path = QUIZZES, answers: Path = ANSWERS):
        self.lesson = lesson
        self.questions = read_quiz(folder / f"{lesson}.toml")
        self.total = SafeText()
        self.total.add_class("course-status")
        self.asked = []
        for number, question in enumerate(self.questions, start=1):
            widget = next(widget for kind, widget in ASKED.items() if isinstance(question, kind))
            self.asked.append(widget(number, question, self._count))
        for asked in self.asked:
            if isinstance(asked, AskedOpen):
                asked.keep_in(answers / f"{lesson}.json")
        super().__init__([SafeText(STYLE), *self.asked, self.total])
        self.add_class("course-quiz")
        self._count()

    @property
    def score(self) -> int:
        """How many questions are answered correctly at the moment."""
        return sum(bool(asked.right) for asked in self.asked)

    def _count(self) -> None:
        n = sum(not isinstance(question, Open) for question in self.questions)
        self.total.value = fill("{score} of {n} correct.", score=self.score, n=n)

    def face(self) -> tuple[str, Html]:
        """The questions as text, and as a page with the answers folded."""
        head = f"Quiz of lesson {self.lesson}, {len(self.questions)} questions."
        lines, parts = [head], []
        for number, question in enumerate(self.questions, start=1):
            lines += ["", f"{number}. {question.ask}", *(f"   {line}" for line in question.lines())]
            parts.append(folded(number, question))
        lines += ["", "Run the cell to answer by clicking."]
        return "\n".join(lines), fill("<div><p>{head}</p>{parts}</div>", head=head, parts=join(parts))


def verdict(right: bool, said: str) -> Html:
    """ "Right." or "Not yet.", and why."""
    word = "Right" if right else "Not yet"
    return fill('<div style="line-height:1.5"><b>{word}.</b> {said}</div>', word=word, said=said)


def feedback(option: Option) -> Html:
    """What is said to whoever checked this option."""
    return verdict(option.right, option.feedback)


def folded(number: int, question: Question) -> Html:
    """A question for readers without a kernel: the answer opens on a click or with Enter."""
    return fill(
        "<p><b>{number}.</b> {ask}</p>{page}"
        "<details><summary>Answer to question {number}</summary>{solution}</details>",
        number=number,
        ask=question.ask,
        page=question.page(),
        solution=question.solution(),
    )
