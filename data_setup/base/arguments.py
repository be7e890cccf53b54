"""A misspelt name, or one of fastai 0.7, v1 and v2, fails, and the message says which one was meant."""

import difflib
import functools
import inspect
import tomllib
from collections.abc import Callable, Iterable
from numbers import Integral
from pathlib import Path

OLDER = tomllib.loads(Path(__file__).with_name("older_names.toml").read_text(encoding="utf-8"))
RENAMED = {old: new for new, words in OLDER["renamed"].items() for old in words}


def closest(word: str, choices: Iterable[str], *, most: int = 20) -> str:
    """ "did you mean 'x'?" when one of `choices` looks like `word`, else the first `most` choices."""
    choices = list(map(str, choices))
    near = difflib.get_close_matches(str(word), choices, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(choices[:most])}"


def need_whole(**values: object) -> None:
    """Raise ValueError unless each value is a whole number of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")


def did_you_mean(function: Callable, forwards_to: Callable | None = None) -> Callable:
    """An unknown keyword must fail, and say which one was meant; `forwards_to` takes what `**settings` collects."""

    def keywords_of(taker: Callable) -> list[str]:
        parameters = inspect.signature(taker).parameters.values()
        known = [p.name for p in parameters if p.kind != p.VAR_KEYWORD and p.name not in ("self", "cls")]
        return getattr(taker, "keywords", known)

    known = keywords_of(function) + (keywords_of(forwards_to) if forwards_to else [])
    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args, **keywords):
        for word in keywords:
            if word not in known:
                raise TypeError(f"{name}() has no keyword {word!r}; {_meant(word, known)}")
        return function(*args, **keywords)

    checked.keywords = known
    return checked


def _meant(word: str, known: list[str]) -> str:
    here = RENAMED.get(word, word)
    if here in known:
        return f"here it is called {here!r}"
    elsewhere = OLDER["elsewhere"].get(here)
    return f"here it is: {elsewhere}" if elsewhere else closest(word, known)


def old_attribute(owner: object, name: str, lines: dict[str, str]) -> AttributeError:
    """The error to raise from `__getattr__`: `lines` has, for each older name, the line that does it here."""
    kind = owner if isinstance(owner, type) else type(owner)
    if hasattr(type(owner), name):  # a property that failed: its own error says why
        object.__getattribute__(owner, name)
    if name in lines:
        return AttributeError(f"{kind.__name__} has no {name!r}; here it is: {lines[name]}")
    names = [known for known in dir(owner) if not known.startswith("_")]
    return AttributeError(f"{kind.__name__} has no {name!r}; {closest(name, names)}")


class OlderNames(type):
    """The type of a class whose older names, `ImageData.from_folder`, say the line that does it here."""

    def __getattr__(cls, name: str):
        raise old_attribute(cls, name, OLDER.get(cls.__name__, {}))
