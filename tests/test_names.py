"""NAMES.md keeps its word: every name in the last column exists, every default stated there is the code's."""

import ast
import importlib
import importlib.util
import inspect
import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torchvision.transforms import v2

from helpers.analysis.interpret import Interpretation
from helpers.data.dataset import ImageData
from helpers.learner import Learner

TABLE = Path(__file__).resolve().parents[1] / "notebooks" / "NAMES.md"
ROOT = TABLE.parents[1]
MODULES = {  # audit: helpers.lessons.audit
    path.stem: ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("data_setup", "helpers")
    for path in (ROOT / package).rglob("*.py")
}
INSTANCES = {"learn": Learner, "data": ImageData, "interp": Interpretation}


def rows(text: str) -> list[list[str]]:
    """The cells of every table row but headings and rules."""
    lines = text.splitlines()
    following = zip(lines, [*lines[1:], ""], strict=True)
    kept = [line for line, after in following if line.startswith("|") and "|---" not in (line[:4], after[:4])]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in kept]


def last_column(text: str) -> list[str]:
    """Every piece of code in the last cells."""
    return [code for row in rows(text) for code in re.findall(r"`([^`]+)`", row[-1])]


def is_claim(code: str) -> bool:
    """Whether it names something here; others are values ("train") and words of other packages (v2.MixUp)."""
    return re.match(r"^(python -m |[a-z_]+\.)", code) is not None and not code.startswith("v2.")


def problem(code: str) -> str | None:
    """What is wrong with one claim: learn.fit(lr, cycles, cycle_mult=1), python -m helpers.recipe, data.classes."""
    if code.startswith("python -m "):
        return None if importlib.util.find_spec(code.split()[2]) else "no such module"
    node = ast.parse(code, mode="eval").body
    call = node if isinstance(node, ast.Call) else None
    owner, _, name = ast.unparse(call.func if call else node).partition(".")
    if owner in INSTANCES:
        thing = lookup(INSTANCES[owner], name)
    else:
        thing = getattr(importlib.import_module(MODULES[owner]), name, None) if owner in MODULES else None
    if thing is None:
        return "there is no such name"
    return wrong_call(thing, call) if call else None


def lookup(cls: type, name: str):
    """A class's attribute, or "set in __init__" for what its instances have."""
    if name in dir(cls) or name in getattr(cls, "__annotations__", ()):
        return getattr(cls, name, "set in __init__")
    source = inspect.getsource(cls)
    in_init = re.search(rf"self\.{name}\b.*=", source) or re.search(rf"self\.[\w., ]*\bself\.{name}\b", source)
    return in_init and "set in __init__"


def wrong_call(thing, call: ast.Call) -> str | None:
    if not callable(thing):
        return "is not called"
    parameters = {n: p for n, p in inspect.signature(thing).parameters.items() if n != "self"}
    asked = [n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    named = [ast.unparse(argument) for argument in call.args]
    if named != asked[: len(named)]:
        return f"asks for {', '.join(asked)}, not {', '.join(named)}"
    for keyword in call.keywords:
        known = {name: p.default for name, p in parameters.items()}
        if keyword.arg not in known and hasattr(thing, "__self__"):  # class methods hand their settings on
            known = {name: p.default for name, p in inspect.signature(thing.__self__).parameters.items()}
        elif keyword.arg not in known and any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            known = vars(thing())  # a ready-made set of settings
        if keyword.arg not in known:
            return f"has no parameter {keyword.arg}"
        stated, default = value_of(keyword.value), known[keyword.arg]
        if type(stated) is not type(default) or stated != default:
            return f"{keyword.arg} is {default!r} by default"
    return None


def value_of(node: ast.expr):
    """A literal, or a slice of literals."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "slice":
        return slice(*map(ast.literal_eval, node.args))
    return ast.literal_eval(node)


CLAIMS = [code for code in last_column(TABLE.read_text(encoding="utf-8")) if is_claim(code)]


@pytest.mark.parametrize("code", dict.fromkeys(CLAIMS))
def test_every_name_here_exists_with_the_default_it_is_given(code):
    """Catches a verb that was renamed and a default that was changed without the table."""
    assert problem(code) is None


def test_the_recipe_for_erasing_takes_another_rectangle_in_each_picture(data):
    """Catches a recipe that does not run, or that erases the same place of all pictures (as RandomErasing alone)."""
    recipe = re.search(r"```python\n(erase = .*?)```", TABLE.read_text(encoding="utf-8"), re.DOTALL)[1]
    names = {"torch": torch, "v2": v2}
    exec(recipe, names)
    torch.manual_seed(0)
    erased, targets = names["erasing"](torch.ones(32, 3, 16, 16), torch.arange(32))
    places = {tuple(picture.flatten().tolist()) for picture in erased if picture.min() == 0}
    assert 8 <= len(places) <= 24 and torch.equal(targets, torch.arange(32))
    learn = Learner.pretrained(
        data, "test_resnet", pretrained=False, precompute=False, batch_transform=names["erasing"]
    )
    assert math.isfinite(learn.fit(1e-3, 1).losses[0])


def test_every_row_is_whole_and_nearly_all_say_something_testable():
    """Catches a row that lost a column, and names written so that no test looks at them."""
    text = TABLE.read_text(encoding="utf-8")
    assert {len(row) for row in rows(text)} == {5}
    assert len(rows(text)) > 90
    silent = [row[0] for row in rows(text) if not any(map(is_claim, re.findall(r"`([^`]+)`", row[-1])))]
    assert len(silent) < 8, silent
    loose = [code for code in last_column(text) if not is_claim(code)]
    assert [code for code in loose if not re.match(r'^("\w+"|v2\.\w+|resume=True)$', code)] == []


def test_every_training_verb_and_factory_is_in_the_table():
    """Catches a new verb that the table forgets."""
    named = " ".join(CLAIMS)
    settings = {field.name for field in fields(Learner)}
    verbs = [name for name in vars(Learner) if not name.startswith("_") and name not in settings]
    missing = [f"learn.{verb}" for verb in verbs if f"learn.{verb}" not in named]
    assert set(missing) <= {f"learn.{name}" for name in INNER}, missing
    factories = [name for name in vars(ImageData) if name.startswith("from_")]
    assert [name for name in factories if f"data.{name}" not in named] == []


# methods of a learner that no generation of fastai has a word for
INNER = {"split_point", "source", "precision", "prediction_precision", "about", "features"}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("learn.fitt(lr, cycles)", "no such name"),
        ("learn.fit(cycles, lr)", "asks for lr, cycles"),
        ("learn.fit(cycle_mult=2)", "cycle_mult is 1 by default"),
        ("learn.fit(cycle_mult=True)", "cycle_mult is 1 by default"),
        ("learn.fit(cycle_length=1)", "no parameter cycle_length"),
        ("learn.fit_one_cycle(lr=slice(1e-3))", "lr is slice"),
        ("data.from_folders(valid_frac=0.2)", "valid_frac is 0.25"),
        ("data.vocabulary", "no such name"),
        ("learn.historia", "no such name"),
        ("augment.sideon()", "no such name"),
        ("nowhere.side_on()", "no such name"),
        ("python -m helpers.recipes", "no such module"),
    ],
)
def test_a_wrong_claim_is_seen(code, says):
    """Catches a test of the table that accepts everything."""
    assert says in problem(code)


@pytest.mark.parametrize("code", ["learn.history", "learn.precompute", "data.classes", "learn.fit(lr, cycles)"])
def test_a_right_claim_is_accepted(code):
    """Catches a test of the table that accepts nothing."""
    assert problem(code) is None
