"""What a check says of an answer: right, not yet and why, or not answered yet.

A check is a function of the learner's answers, made by `@exercise(number, todo=...)`: it returns `right(...)`,
`not_yet(...)` or `unfinished(...)`. Whatever it is given and whatever the learner's code does, it never raises.
After the second wrong try it also points to the next of the three folded hints.
"""

import dis
import functools
import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

RIGHT, NOT_YET, UNFINISHED = "right", "not yet", "not answered yet"
HINTS = 3  # each exercise has as many
WIDTH = 80  # letters in a line, so that a narrow page need not break it again
TOGETHER = re.compile(r"≈ [\d.,]+( to [\d.,]+)?")  # a measured number or interval stays on one line
ROOM = 6  # letters that a measured number takes at least when lines are broken, so that 9 and 13 break them alike
UNBROKEN, NOTHING = "\x1f", "\x1e"  # stand for a blank where no line may end, and for nothing
EMPTY_BODY = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}  # of a function that is only a stub

wrong_tries: Counter[str] = Counter()  # by check, since the kernel started


@dataclass(frozen=True, repr=False)
class Verdict:
    """One sentence or two about an answer. In a notebook it shows itself."""

    state: str
    message: str
    title: str = "exercise"

    def __repr__(self) -> str:
        whole = TOGETHER.sub(lambda found: found[0].replace(" ", UNBROKEN).ljust(ROOM, NOTHING), self.message)
        text = textwrap.fill(f"{self.title}: {self.state}: {whole}", WIDTH, break_long_words=False)
        return text.replace(UNBROKEN, " ").replace(NOTHING, "")

    def titled(self, title: str) -> "Verdict":
        """The same verdict under this name, e.g. "exercise 2"."""
        return replace(self, title=title)


def right(message: str) -> Verdict:
    """The answer fits; `message` adds one thing not said before: why, where it ends, its name, or what comes next."""
    return Verdict(RIGHT, message)


def not_yet(message: str) -> Verdict:
    """The answer does not fit; `message` says what came, and what to think of next."""
    return Verdict(NOT_YET, message)


def unfinished(message: str) -> Verdict:
    """Nothing to check yet; `message` says what to write."""
    return Verdict(UNFINISHED, message)


class Settled(Exception):
    """The verdict is found before the check has come to its end."""

    def __init__(self, verdict: Verdict):
        super().__init__(verdict.message)
        self.verdict = verdict


def exercise(
    number: int, *, todo: str, in_steps: bool = False
) -> Callable[[Callable[..., Verdict]], Callable[..., Verdict]]:
    """Make a check of exercise `number` from a function of the answers. `todo` says what is to be written.

    The check waits until every answer is there; `in_steps` it only waits for the first, and looks at the rest itself.
    """

    def decorate(rule: Callable[..., Verdict]) -> Callable[..., Verdict]:
        @functools.wraps(rule)
        def check(*answers, **named) -> Verdict:
            try:
                given = (*answers, *named.values())[: 1 if in_steps else None]
                is_open = any(map(is_placeholder, given))
                verdict = unfinished("") if is_open else rule(*answers, **named)
            except Settled as early:
                verdict = early.verdict
            except Exception as error:  # whatever came, the lesson goes on
                came = " and ".join(what(answer) for answer in (*answers, *named.values()))
                verdict = not_yet(f"{came} came, and that cannot be checked ({type(error).__name__}: {error}); {todo}.")
            if verdict.state == UNFINISHED and not verdict.message:
                verdict = unfinished(f"{todo}.")
            return with_hint(verdict, rule.__name__).titled(f"exercise {number}")

        return check

    return decorate


def with_hint(verdict: Verdict, name: str) -> Verdict:
    """After the second wrong answer to the check `name`, the verdict also says which hint to open."""
    if verdict.state != NOT_YET:
        return verdict
    wrong_tries[name] += 1
    tries = wrong_tries[name]
    if tries == 1:
        return verdict
    if tries <= HINTS + 1:
        pointer = f"Hint {tries - 1} is for you."
    else:
        pointer = "The solution, with its reason, stands in the lesson's own notebook (folder notebooks)."
    ended = verdict.message if verdict.message.endswith((".", "?", "!")) else f"{verdict.message}."
    return replace(verdict, message=f"{ended} {pointer}")


def is_placeholder(answer: object) -> bool:
    """Whether nothing was written yet: None, `...`, or a text of blanks and underscores such as "____"."""
    return answer is None or answer is ... or (isinstance(answer, str) and not answer.strip(" _"))


# --- looking at answers -------------------------------------------------------------------------------------


def outcome(function: Callable, *arguments, **named):
    """What the learner's function returns for these arguments; if it returns nothing or stops, that settles it."""
    if not callable(function):
        raise Settled(not_yet(f"expected a function, got {what(function)}: pass it without calling it."))
    call = f"{getattr(function, '__name__', 'it')}({_list_of(arguments, named)})"
    try:
        result = function(*arguments, **named)
    except Exception as error:
        raise Settled(not_yet(f"{call} stopped with {type(error).__name__}: {error}")) from None
    if result is None or result is ...:
        if is_stub(function):
            raise Settled(unfinished(""))
        raise Settled(not_yet(f"{call} returns nothing. Does its last line begin with return (and not with print)?"))
    return result


def is_stub(function: Callable) -> bool:
    """Whether a function has no body yet: a docstring, `...` or `pass` and nothing else."""
    try:
        return {instruction.opname for instruction in dis.get_instructions(function)} <= EMPTY_BODY
    except TypeError:  # not written in Python
        return False


def number(value, *, name: str = "the answer") -> float:
    """The answer as a float: of a number or of a tensor that holds just one; anything else settles it."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if hasattr(value, "item") and not isinstance(value, torch.Tensor | str):  # NumPy's numbers
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Settled(not_yet(f"{name} must be a number; got {what(value)}."))
    if math.isnan(value):
        raise Settled(not_yet(f"{name} is nan, not a number: somewhere zero was divided by zero."))
    return float(value)


def choose(answer, verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict of the chosen word; capitals and blanks around it do not matter."""
    options = ", ".join(repr(option) for option in verdicts)
    if not isinstance(answer, str):
        return not_yet(f"{what(answer)} came; choose one of {options}, with the quotation marks.")
    return verdicts.get(answer.strip().lower(), not_yet(f"{answer!r} is not among them; choose one of {options}."))


def what(value) -> str:
    """An answer in a few words: 'the number 0.5', 'the text 'pad'', 'a list of 4', 'a tensor of shape (3, 3)'."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, bool):
        return f"the truth value {value}"
    if isinstance(value, int | float):
        return f"the number {short(value)}"
    if isinstance(value, str):
        return f"the text {short(value)}"
    if isinstance(value, torch.Tensor):
        return f"the tensor {short(value)}" if value.numel() == 1 else f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Sequence | set | frozenset | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    return f"an object of type {type(value).__name__}"


def short(value) -> str:
    """A value as it stands in a sentence: numbers to four digits, long texts cut, tensors by their shape."""
    if isinstance(value, torch.Tensor):
        return short(value.item()) if value.numel() == 1 else f"<{tuple(value.shape)} tensor>"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _list_of(arguments: Sequence, named: Mapping) -> str:
    return ", ".join([*map(short, arguments), *(f"{name}={short(value)}" for name, value in named.items())])
