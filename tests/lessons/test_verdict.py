"""What all checks share: never an exception, never only "wrong", hints one after the other."""

import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest
import torch

from helpers.lessons import checks
from helpers.lessons.checks import verdict
from helpers.lessons.checks.verdict import (
    NOT_YET,
    RIGHT,
    UNFINISHED,
    choose,
    exercise,
    is_stub,
    not_yet,
    number,
    outcome,
    right,
    what,
)


@exercise(2, todo="write double(x)")
def check_double(double):
    return right("twice.") if outcome(double, 3) == 6 else not_yet("not twice.")


@exercise(1, todo="put a number into answer_1")
def check_number(answer):
    return right("a number.") if number(answer) > 0 else not_yet("not above zero.")


def stub(x):
    """Twice x."""


def dots(x): ...


def printing(x):
    print(2 * x)


def raising(x):
    raise KeyError("x")


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (lambda x: 2 * x, "exercise 2: right: twice."),
        (lambda x: x, "exercise 2: not yet: not twice."),
        (None, "exercise 2: not answered yet: write double(x)."),
        (..., "exercise 2: not answered yet: write double(x)."),
        (stub, "exercise 2: not answered yet: write double(x)."),
        (dots, "exercise 2: not answered yet: write double(x)."),
        (
            printing,
            "exercise 2: not yet: printing(3) returns nothing. "
            "Does its last line begin with return (and not with print)?",
        ),
        (raising, "exercise 2: not yet: raising(3) stopped with KeyError: 'x'"),
        (6, "exercise 2: not yet: expected a function, got the number 6: pass it without calling it."),
        ("f", "exercise 2: not yet: expected a function, got the text 'f': pass it without calling it."),
    ],
)
def test_what_a_check_of_a_function_says(answer, shown):
    assert " ".join(repr(check_double(answer)).split()) == " ".join(shown.split())


def test_an_exception_inside_the_check_becomes_a_message():
    """Catches a lesson that stops in the middle because somebody's answer was of a kind nobody thought of."""

    @exercise(3, todo="put two into it")
    def check(answer):
        return right("") if answer["two"] == 2 else not_yet("")

    said = check([1, 2])
    assert said.state == NOT_YET
    assert said.message.startswith("a list of 2 came, and that cannot be checked (TypeError: ")
    assert said.message.endswith("; put two into it.")


def test_ctrl_c_is_not_swallowed():
    def endless(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_double(endless)


def test_hints_come_one_by_one_and_only_for_wrong_answers():
    said = [check_number(-1).message for _ in range(6)]
    assert said[0] == "not above zero."
    assert said[1:4] == [f"not above zero. Hint {n} is for you." for n in (1, 2, 3)]
    assert said[4] == said[5] and "folder notebooks" in said[4]
    assert check_number(None).message == "put a number into answer_1."
    assert check_number(1).message == "a number."
    assert "Hint" not in check_double(abs).message, "each exercise counts for itself"


def test_unfinished_answers_are_no_tries():
    for _ in range(5):
        check_number(None)
    assert check_number(-1).message == "not above zero."


def test_a_message_ends_before_the_hint_begins():
    check_double(raising)
    assert check_double(raising).message.endswith("KeyError: 'x'. Hint 1 is for you.")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, 2.0), (0.5, 0.5), (torch.tensor(3), 3.0), (torch.tensor([0.25]), 0.25), (np.float32(2), 2)],
)
def test_whatever_is_one_number_is_a_number(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2", "got the text '2'"),
        (True, "got the truth value True"),
        (torch.zeros(2), "got a tensor of shape (2,)"),
        ([1], "got a list of 1"),
        (float("nan"), "nan, not a number"),
        (np.zeros(2), "came"),
    ],
)
def test_what_is_no_number_is_told(value, said):
    assert check_number(value).state == NOT_YET
    assert said in check_number(value).message


@pytest.mark.parametrize("answer", ["pad", " Pad ", "PAD"])
def test_a_choice_does_not_mind_capitals_and_blanks(answer):
    assert choose(answer, {"pad": right("fits"), "crop": not_yet("cut")}).state == RIGHT


@pytest.mark.parametrize("answer", ["pat", 3, ["pad"]])
def test_a_choice_that_is_not_offered_is_told_the_others(answer):
    said = choose(answer, {"pad": right("fits"), "crop": not_yet("cut")})
    assert said.state == NOT_YET and "'pad', 'crop'" in said.message


@pytest.mark.parametrize("answer", [None, ..., "", "  ", "____", " __ "])
def test_a_placeholder_is_not_an_attempt(answer):
    """Catches a hint that is used up by running the cell as it came."""
    assert check_number(answer).state == UNFINISHED and not verdict.wrong_tries


def test_stubs_are_told_from_bodies():
    """Catches "not answered yet" for somebody who has written ten lines and forgot to return."""
    assert is_stub(stub) and is_stub(dots)
    assert not is_stub(printing) and not is_stub(raising) and not is_stub(print)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing (None)"),
        (0.123456, "the number 0.1235"),
        ("a" * 99, "the text '" + "a" * 56 + "..."),
        (torch.zeros(3, 3), "a tensor of shape (3, 3)"),
        (torch.tensor(2), "the tensor 2"),
        ({1, 2}, "a set of 2"),
        ({"a": 1}, "a dict of 1"),
        (stub, "the function stub"),
        (torch.nn.Linear, "the class Linear"),
        (iter([]), "an object of type list_iterator"),
    ],
)
def test_answers_in_words(value, words):
    assert what(value) == words


# --- held by the checks of every lesson -----------------------------------------------------------------------------

CHECKS = [
    getattr(module, name)
    for found in pkgutil.iter_modules(checks.__path__)
    if found.name.startswith("lesson_")
    for module in [importlib.import_module(f"{checks.__name__}.{found.name}")]
    for name in dir(module)
    if name.startswith("check_")
]


def raising_anything(*args, **named):
    raise RuntimeError("broken")


GARBAGE = [
    "x",
    "",
    -1,
    1e9,
    True,
    [],
    {},
    set(),
    object(),
    print,
    len,
    raising_anything,
    torch.zeros(2, 2),
    float("nan"),
]


class Unhelpful:
    """Raises whatever one does with it, even when it is shown."""

    def __repr__(self):
        raise ValueError("no words")

    def __eq__(self, other):
        raise ValueError("no comparison")

    __hash__ = None


def test_no_check_raises_or_praises_garbage():
    """Also not when the answer raises whatever one does with it. The reply is a sentence, never only "wrong"."""
    for check in CHECKS:
        for garbage in (*GARBAGE, Unhelpful()):
            said = check(*[garbage for _ in inspect.signature(check).parameters])
            name = f"{check.__name__} of {type(garbage).__name__}"
            assert said.state in (NOT_YET, UNFINISHED), name
            assert len(said.message.split()) >= 4, name
            assert repr(said).startswith(f"exercise {check.__name__[-1]}: {said.state}: "), name


def test_every_check_waits_for_an_answer():
    for check in CHECKS:
        said = check(*[None for _ in inspect.signature(check).parameters])
        assert said.state == UNFINISHED, check.__name__
        assert len(said.message.split()) >= 4 and said.message.endswith("."), check.__name__
    assert not verdict.wrong_tries


def test_lessons_that_have_checks_have_three():
    """Catches an exercise without a check, and a check whose name is not its exercise."""
    names = [check.__name__ for check in CHECKS]
    lessons = sorted({name.split("_")[1] for name in names})
    assert lessons[:4] == ["00", "01", "01b", "02"]
    assert names == [f"check_{lesson}_{k}" for lesson in lessons for k in (1, 2, 3)]


@pytest.mark.parametrize("before", range(40, 80))
def test_a_measured_interval_stays_on_one_line(before):
    """Catches "≈" at the end of a line and its number in the next, where nobody knows that it is measured."""
    said = repr(right("x" * (before - 20) + " accuracy ≈ 86.9 % of 221, interval ≈ 81.8 to 90.7; and so on"))
    assert "≈ 86.9" in said and "≈ 81.8 to 90.7" in said and "\x1f" not in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("before", range(40, 80))
def test_lines_break_alike_whatever_was_measured(before):
    """Catches a stored output that differs from a new one by where a line ends, because 13 became 6."""
    lines = [
        repr(right(f"{'x' * (before - 20)} right: ≈ {a} against ≈ {b}, and coins would give ≈ {c} each; and so on"))
        for a, b, c in ((13, 10, "11.5"), (6, 7, "6.5"), (150, 9, "79.5"))
    ]
    assert len({re.sub(r"[\d.]+", "#", said) for said in lines}) == 1
    assert max(map(len, "\n".join(lines).splitlines())) <= 80
