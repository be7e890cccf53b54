"""A misspelt or an older name fails, and the message says which one was meant."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable

# Keywords of the lectures (fastai 0.7, v1, v2): what they are called here ...
RENAMED = {
    **dict.fromkeys(("lr_max", "max_lr", "base_lr", "lrs"), "lr"),
    **dict.fromkeys(("n_epoch", "cyc_len", "tot_epochs"), "epochs"),
    **dict.fromkeys(("tfms", "ds_tfms", "aug_tfms", "batch_tfms"), "augment"),
    **dict.fromkeys(("valid_pct", "val_pct"), "valid_frac"),
    **dict.fromkeys(("nrows", "rows", "max_n", "n_aug"), "n"),
    **dict.fromkeys(("cbs", "callbacks", "callback_fns"), "hooks"),
    **dict.fromkeys(("ds_idx", "ds_type"), "part"),
    "bs": "batch_size", "sz": "size", "item_tfms": "presize_px", "pat": "pattern", "n_cycle": "cycles",
    "n_cycles": "cycles", "start_lr": "start", "end_lr": "end", "num_it": "steps", "div_factor": "div",
    "final_div": "div_final", "wd": "weight_decay", "ps": "dropout", "loss_func": "loss", "fn_col": "name_column",
    "label_col": "label_column", "model_dir": "path",
}  # fmt: skip
# ... and the line to type, where the function that was called has no such keyword.
ELSEWHERE = {
    "weight_decay": "Learner.pretrained(data, weight_decay=0.01)",
    "dropout": "Learner.pretrained(data, dropout=0.5)",
    "batch_size": "data.resized(size, batch_size=32)",
    "train_bn": 'Learner.pretrained(data, bn="train")',
    "suggest_funcs": "result = learn.lr_find(), which holds result.valley, .slide, .steep and .minimum",
    "dl": 'learn.get_preds("valid"), or learn.get_preds(items) for items of your own',
    "moms": "momentum always goes from 0.95 to 0.85 and back",
    "num_workers": "pictures are decoded once, so no workers are needed; leave it out",
}


def closest(word: str, choices: Iterable[str], *, most: int = 20) -> str:
    """ "did you mean 'x'?" when one of `choices` looks like `word`, else the first `most` choices."""
    choices = list(map(str, choices))
    near = difflib.get_close_matches(str(word), choices, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(choices[:most])}"


def did_you_mean(function: Callable, forwards_to: Callable | None = None) -> Callable:
    """An unknown keyword must fail, and say which one was meant; `forwards_to` takes what `**settings` collects."""
    takers = [function, forwards_to] if forwards_to else [function]
    parameters = {word: p for taker in takers for word, p in inspect.signature(taker).parameters.items()}
    known = [word for word, p in parameters.items() if p.kind != p.VAR_KEYWORD and word not in ("self", "cls")]
    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args, **keywords):
        for word in keywords:
            if word not in known:
                raise TypeError(f"{name}() has no keyword {word!r}; {_meant(word, known)}")
        return function(*args, **keywords)

    return checked


def _meant(word: str, known: list[str]) -> str:
    here = RENAMED.get(word, word)
    if here in known:
        return f"here it is called {here!r}"
    return f"here it is: {ELSEWHERE[here]}" if here in ELSEWHERE else closest(word, known)


def old_attribute(owner: object, name: str, lines: dict[str, str]) -> AttributeError:
    """The error to raise from `__getattr__`: `lines` has, for each older name, the line that does it here."""
    if name in lines:
        return AttributeError(f"{type(owner).__name__} has no {name!r}; here it is: {lines[name]}")
    names = [known for known in dir(owner) if not known.startswith("_")]
    return AttributeError(f"{type(owner).__name__} has no {name!r}; {closest(name, names)}")
