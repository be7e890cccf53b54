"""Questions of the quizzes as records, read from notebooks/quizzes/NN.toml. Each knows how it reads without a kernel.

| kind | what the learner does | its fields besides `ask` |
|---|---|---|
| choice (default) | picks one of several options | option: text, feedback, right |
| predict | says what a piece of code will give | code, option, output (shown with the feedback) |
| number | types a number | answer, feedback; tolerance, unit, slip: value, feedback |
| order | puts items into their order | items (in the right order), feedback |
| match | finds what belongs together | pairs, feedback; distractors |
| label | says what each line of code does | pairs (line, what it does), feedback; distractors |
| open | writes two sentences | answer (a model answer); points (a checklist) |

`solar = true` marks a question about solar cells; it is left out when the course is about another set.
"""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from data_setup.base.arguments import closest
from data_setup.base.html import Html, fill, join
from data_setup.base.text import counted
from helpers.lessons.chosen import is_solar
from helpers.lessons.pairing import listed_pairs, mixed

QUIZZES = Path(__file__).resolve().parents[2] / "notebooks" / "quizzes"
LETTERS = "abcdef"
CODE_BLOCK = '<pre style="line-height:1.4;margin:4px 0">{code}</pre>'


@dataclass(frozen=True)
class Option:
    """One of the answers to choose from, and what is said to whoever chooses it."""

    text: str
    feedback: str
    right: bool = False


@dataclass(frozen=True)
class Choice:
    """What is asked, and the options; exactly one of them is right. With `code` it is a prediction."""

    ask: str
    option: tuple[Option, ...]
    code: str = ""
    output: str = ""  # what the code really gives

    def __post_init__(self):
        object.__setattr__(self, "option", tuple(_record(Option, option, self.ask) for option in self.option))
        right = sum(option.right for option in self.option)
        if right != 1 or not 2 <= len(self.option) <= len(LETTERS):
            raise ValueError(
                f"a question has 2 to {len(LETTERS)} options, one of them right; "
                f"{self.ask!r} has {len(self.option)}, {right} of them right"
            )

    @property
    def options(self) -> tuple[Option, ...]:
        """The options in the order they are shown."""
        return self.option

    @property
    def answer(self) -> int:
        """Which option is right, from 0."""
        return next(place for place, option in enumerate(self.option) if option.right)

    def lines(self) -> list[str]:
        """The question below its first line, as plain text."""
        return [*self.code.splitlines(), *map(self.lettered, range(len(self.option)))]

    def lettered(self, place: int) -> str:
        """ "b) the text of the second option"."""
        return f"{LETTERS[place]}) {self.option[place].text}"

    def shown(self) -> Html:
        """What is asked about, below the question."""
        return code_block(self.code)

    def page(self) -> Html:
        """What stands open where no kernel runs."""
        options = join(fill("<br>{option}", option=self.lettered(place)) for place in range(len(self.option)))
        return fill("{shown}<p>{options}</p>", shown=self.shown(), options=options)

    def solution(self) -> Html:
        """What is folded there."""
        answers = join(
            fill("<p>{letter}) {feedback}</p>", letter=LETTERS[place], feedback=option.feedback)
            for place, option in enumerate(self.option)
        )
        right = self.lettered(self.answer)
        return fill(
            "<p><b>{right}</b></p>{output}{answers}", right=right, output=code_block(self.output), answers=answers
        )


@dataclass(frozen=True)
class Matching:
    """Left sides and what belongs to each. `as_code`: the left sides are lines of code."""

    ask: str
    pairs: tuple[tuple[str, str], ...]
    feedback: str
    distractors: tuple[str, ...] = ()
    as_code: bool = False

    def __post_init__(self):
        object.__setattr__(self, "pairs", tuple((str(left), str(right)) for left, right in self.pairs))
        lefts = [left for left, _ in self.pairs]
        if len(set(lefts)) != len(lefts) or not 2 <= len(lefts) <= 8:
            raise ValueError(f"2 to 8 different left sides are matched; {self.ask!r} has {len(lefts)}")

    def entries(self) -> list[str]:
        """What can be chosen, in a mixed order."""
        return mixed([*(right for _, right in self.pairs), *self.distractors], self.ask)

    def lines(self) -> list[str]:
        """The left sides, then what to choose from, as plain text."""
        return [*(f"- {left}" for left, _ in self.pairs), f"choose from: {'; '.join(self.entries())}"]

    def shown(self) -> Html:
        """Nothing: the widget has the left sides."""
        return fill("")

    def page(self) -> Html:
        """The left sides in their order and what to choose from."""
        lefts = [left for left, _ in self.pairs]
        as_code = (fill("<div><tt>{left}</tt></div>", left=left) for left in lefts)
        rows = join(as_code if self.as_code else (fill("<div>- {left}</div>", left=left) for left in lefts))
        return fill("{rows}<p>Choose from: {entries}.</p>", rows=rows, entries="; ".join(self.entries()))

    def solution(self) -> Html:
        """Every pair, and why."""
        pairs = listed_pairs(self.pairs, as_code=self.as_code)
        return fill("{pairs}<p>{feedback}</p>", pairs=pairs, feedback=self.feedback)


@dataclass(frozen=True)
class Order(Matching):
    """Items that have an order. The left sides are the items, mixed; the right sides are their places."""

    @classmethod
    def of(cls, ask: str, items: tuple[str, ...], feedback: str) -> "Order":
        """From the items in their right order."""
        place_of = {item: str(place) for place, item in enumerate(items, start=1)}
        return cls(ask, tuple((item, place_of[item]) for item in mixed(items, ask)), feedback)

    def entries(self) -> list[str]:
        """The places, first to last."""
        return sorted((place for _, place in self.pairs), key=int)

    def solution(self) -> Html:
        """The items in their order, and why."""
        in_order = sorted(self.pairs, key=lambda pair: int(pair[1]))
        rows = join(fill("<div>{place}. {item}</div>", place=place, item=item) for item, place in in_order)
        return fill("{rows}<p>{feedback}</p>", rows=rows, feedback=self.feedback)


@dataclass(frozen=True)
class Slip:
    """A wrong number that people often come to, and what is said to them."""

    value: float
    feedback: str


@dataclass(frozen=True)
class Number:
    """A number to be typed; right when it is within `tolerance` of the answer."""

    ask: str
    answer: float
    feedback: str
    tolerance: float = 0.0
    unit: str = ""
    slip: tuple[Slip, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "slip", tuple(_record(Slip, slip, self.ask) for slip in self.slip))

    def fits(self, value: float) -> bool:
        """Whether `value` is right."""
        return abs(value - self.answer) <= self.tolerance + 1e-9

    def said_of(self, value: float) -> str:
        """What is said to whoever typed `value`."""
        if self.fits(value):
            return self.feedback
        close = (slip.feedback for slip in self.slip if abs(value - slip.value) <= self.tolerance + 1e-9)
        return next(close, f"{value:g} is too {'high' if value > self.answer else 'low'}.")

    def lines(self) -> list[str]:
        """What to type, as plain text."""
        return [f"a number{f', {self.unit}' if self.unit else ''}: ____"]

    def shown(self) -> Html:
        """Nothing: the widget has a field."""
        return fill("")

    def page(self) -> Html:
        """The unit that is wanted."""
        return fill("<p>{line}</p>", line=self.lines()[0])

    def solution(self) -> Html:
        """The number, and why."""
        answer = f"{self.answer:g} {self.unit}".strip()
        return fill("<p><b>{answer}</b></p><p>{feedback}</p>", answer=answer, feedback=self.feedback)


@dataclass(frozen=True)
class Open:
    """A question in own words. Nobody grades it; a model answer and a checklist stand beside it afterwards."""

    ask: str
    answer: str
    points: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What to write, as plain text."""
        return ["write two sentences"]

    def shown(self) -> Html:
        """Nothing: the widget has a field."""
        return fill("")

    def page(self) -> Html:
        """What to write."""
        return fill("<p>Write two sentences before you open the answer.</p>")

    def solution(self) -> Html:
        """The model answer, and what a good one holds."""
        points = join(fill("<div>☐ {point}</div>", point=point) for point in self.points)
        checklist = fill("<p>Is this in yours?</p>{points}", points=points) if self.points else fill("")
        return fill("<p>{answer}</p>{checklist}", answer=self.answer, checklist=checklist)


Question = Choice | Matching | Number | Open
KINDS = {
    "choice": Choice,
    "predict": Choice,
    "number": Number,
    "order": Order.of,
    "match": Matching,
    "label": lambda **given: Matching(**given, as_code=True),
    "open": Open,
}
FIELDS = {  # all that a file may say, by kind
    "choice": {"option"},
    "predict": {"option", "code", "output"},
    "number": {field.name for field in fields(Number)},
    "order": {"items", "feedback"},
    "match": {"pairs", "feedback", "distractors"},
    "label": {"pairs", "feedback", "distractors"},
    "open": {field.name for field in fields(Open)},
}


def read_quiz(path: Path) -> tuple[Question, ...]:
    """The questions of a quiz file. Raises FileNotFoundError with the names that exist, ValueError for a wrong one."""
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.toml")))
        raise FileNotFoundError(f"no quiz is called {path.stem!r}; choose from {there}")
    tables = [dict(table) for table in tomllib.loads(path.read_text(encoding="utf-8"))["question"]]
    about_cells = [table.pop("solar", False) for table in tables]
    if is_solar() or not any(about_cells):
        return tuple(map(question_of, tables))
    print(f"note: {counted(sum(about_cells), 'question')} about solar cells left out")
    return tuple(question_of(table) for table, left_out in zip(tables, about_cells, strict=True) if not left_out)


def question_of(given: dict) -> Question:
    """The record of one table of the file."""
    ask, kind = given.get("ask", ""), given.pop("kind", "choice")
    if kind not in KINDS:
        raise ValueError(f"{ask!r} is of kind {kind!r}; {closest(kind, KINDS)}")
    if unknown := set(given) - FIELDS[kind] - {"ask"}:
        raise ValueError(
            f"{ask!r}, of kind {kind}, has no field {min(unknown)!r}; {closest(min(unknown), FIELDS[kind])}"
        )
    try:
        return KINDS[kind](
            **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        )
    except TypeError as error:
        raise ValueError(f"{ask!r}, of kind {kind}: {error}") from error


def _record(record: type, given: object, ask: str):
    if isinstance(given, record):
        return given
    try:
        return record(**given)
    except TypeError as error:
        raise ValueError(f"{ask!r}: {error}") from error


def code_block(code: str) -> Html:
    """Lines of code, nothing where there are none."""
    if not code.strip():
        return fill("")
    lines = join(
        fill("{line}<br>", line=line.replace(" ", "\N{NO-BREAK SPACE}")) for line in code.strip("\n").splitlines()
    )
    return fill(CODE_BLOCK, code=lines)
