"""A misspelt name fails, and the message says which one was meant."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable


def closest(word: str, choices: Iterable[str], *, most: int = 20) -> str:
    """ "did you mean 'x'?" when one of `choices` looks like `word`, else the first `most` choices."""
    choices = list(map(str, choices))
    near = difflib.get_close_matches(str(word), choices, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there is {', '.join(choices[:most])}"


def did_you_mean(function: Callable, forwards_to: Callable | None = None) -> Callable:
    """A misspelt keyword must fail, and say which one was meant; `forwards_to` takes what `**settings` collects."""
    takers = [function, forwards_to] if forwards_to else [function]
    parameters = {word: p for taker in takers for word, p in inspect.signature(taker).parameters.items()}
    known = [word for word, p in parameters.items() if p.kind != p.VAR_KEYWORD and word not in ("self", "cls")]
    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args, **keywords):
        for word in keywords:
            if word not in known:
                raise TypeError(f"{name}() has no keyword {word!r}; {closest(word, known)}")
        return function(*args, **keywords)

    return checked
