"""Quizzes from notebooks/quizzes/NN.toml: plain radio buttons, and for each option an answer of its own.

Questions and options stand in the order of the file. Where no kernel runs, the page shows the questions with the
answers folded away.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets

from helpers.review.html import Html, fill, join
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget, button

QUIZZES = Path(__file__).resolve().parents[2] / "notebooks" / "quizzes"
LETTERS = "abcdef"
# ipywidgets gives each option one line of fixed height; ours may need two.
STYLE = fill(
    "<style>.course-quiz .widget-radio-box label {{height: auto; line-height: 1.6; white-space: normal}}</style>"
)


@dataclass(frozen=True)
class Option:
    """One of the answers to choose from, and what is said to whoever chooses it."""

    text: str
    feedback: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """What is asked, and the options; exactly one of them is right."""

    ask: str
    options: tuple[Option, ...]

    def __post_init__(self):
        right = sum(option.right for option in self.options)
        if right != 1 or not 2 <= len(self.options) <= len(LETTERS):
            raise ValueError(
                f"a question has 2 to {len(LETTERS)} options, one of them right; "
                f"{self.ask!r} has {len(self.options)}, {right} of them right"
            )

    @property
    def answer(self) -> int:
        """Which option is right, from 0."""
        return next(place for place, option in enumerate(self.options) if option.right)


def read_quiz(path: Path) -> tuple[Question, ...]:
    """The questions of a quiz file. Raises FileNotFoundError with the names that exist."""
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.toml")))
        raise FileNotFoundError(f"there is no quiz {path.stem!r}; there are {there}")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Question(question["ask"], tuple(Option(**option) for option in question["option"]))
        for question in table["question"]
    )


class Asked(widgets.VBox):
    """One question: choose with the mouse, or with Tab and Space, then check."""

    def __init__(self, number: int, question: Question, on_check):
        self.number, self.question, self._on_check = number, question, on_check
        self.right: bool | None = None  # None: not checked yet
        asked = SafeText(
            fill('<div style="line-height:1.5"><b>{number}.</b> {ask}</div>', number=number, ask=question.ask)
        )
        options = [(lettered(place, option), place) for place, option in enumerate(question.options)]
        self.choice = widgets.RadioButtons(
            options=options, value=None, description=f"Answer {number}", style=FULL_NAME, layout={"width": "100%"}
        )
        self.choice.observe(lambda _: self._say(None), "value")
        self.check = button(f"Check answer {number}", self._check)
        self.said = SafeText()
        self.said.add_class("course-status")
        super().__init__(
            [asked, self.choice, self.check, self.said], layout={"margin": "0 0 12px 0", "align_items": "flex-start"}
        )

    def _check(self) -> None:
        chosen = self.choice.value
        self._say(None if chosen is None else self.question.options[chosen])
        if chosen is None:
            self.said.value = fill("Choose an answer first.")

    def _say(self, option: Option | None) -> None:
        """Show the feedback of the checked option; None takes it away, for another choice is made."""
        self.right = option and option.right
        self.said.value = feedback(option) if option else fill("")
        self._on_check()


class Quiz(StaticWidget):
    """The quiz of a lesson, `Quiz("02")`."""

    def __init__(self, lesson: str, *, folder: Path = QUIZZES):
        self.lesson = lesson
        self.questions = read_quiz(folder / f"{lesson}.toml")
        self.total = SafeText()
        self.total.add_class("course-status")
        self.asked = [Asked(number, question, self._count) for number, question in enumerate(self.questions, start=1)]
        super().__init__([SafeText(STYLE), *self.asked, self.total])
        self.add_class("course-quiz")
        self._count()

    @property
    def score(self) -> int:
        """How many questions are answered correctly at the moment."""
        return sum(bool(asked.right) for asked in self.asked)

    def _count(self) -> None:
        self.total.value = fill("{score} of {n} correct.", score=self.score, n=len(self.questions))

    def face(self) -> tuple[str, Html]:
        """The questions as text, and as a page with the answers folded."""
        head = f"Quiz of lesson {self.lesson}, {len(self.questions)} questions."
        lines, parts = [head], []
        for number, question in enumerate(self.questions, start=1):
            options = [lettered(place, option) for place, option in enumerate(question.options)]
            lines += ["", f"{number}. {question.ask}", *(f"   {option}" for option in options)]
            parts.append(folded(number, question))
        lines += ["", "Run the cell to answer by clicking."]
        return "\n".join(lines), fill("<div><p>{head}</p>{parts}</div>", head=head, parts=join(parts))


def lettered(place: int, option: Option) -> str:
    return f"{LETTERS[place]}) {option.text}"


def feedback(option: Option) -> Html:
    return fill(
        '<div style="line-height:1.5"><b>{word}.</b> {feedback}</div>',
        word="Right" if option.right else "Not yet",
        feedback=option.feedback,
    )


def folded(number: int, question: Question) -> Html:
    """A question for readers without a kernel: the answer opens on a click or with Enter."""
    options = join(
        fill("<br>{option}", option=lettered(place, option)) for place, option in enumerate(question.options)
    )
    answers = join(
        fill("<p>{letter}) {feedback}</p>", letter=LETTERS[place], feedback=option.feedback)
        for place, option in enumerate(question.options)
    )
    return fill(
        "<p><b>{number}.</b> {ask}{options}</p>"
        "<details><summary>Answer to question {number}</summary><p><b>{right}</b></p>{answers}</details>",
        number=number,
        ask=question.ask,
        options=options,
        right=lettered(question.answer, question.options[question.answer]),
        answers=answers,
    )
