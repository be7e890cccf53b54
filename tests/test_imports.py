"""The arrows between modules: data flows one way; numbers, drawing and clicking are different modules."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.lessons.files import ROOT

# A module may import only what stands before it in this list.
NUMBERS = [
    *("words", "runtime", "precision", "progress", "checkpoints", "doctor"),
    *("items", "splits", "presize", "neighbours", "duplicates", "label_errors", "augment", "data"),
    *("bodies", "models", "features", "schedules", "metrics", "training", "hooks", "lr_finder", "predict"),
    *("saving", "learner"),
    *("intervals", "report", "calibration", "heatmaps", "interpret"),
    *("export", "distributed"),
    *("safe_html", "marks", "review", "thumbnails", "review_pages"),
]
DRAWING = ["drawing", "picture_plots", "result_plots", "plots"]
CLICKING = ["keyboard", "widget_parts", "browser_base", "browsers", "labs"]
ORDER = [*NUMBERS, *DRAWING, "solar_cells", "recipe_settings", "recipe_report", "recipe", *CLICKING, "lessons"]
# What a verb of an earlier module may fetch when it is called, and not before: learn.plot_loss(), learn.export().
WHEN_CALLED = {"plots", "picture_plots", "export", "browsers"}
ONLY_IN = {"matplotlib": set(DRAWING), "ipywidgets": {*CLICKING, "lessons"}, "anywidget": {*CLICKING, "lessons"}}

FILES = sorted((ROOT / "helpers").rglob("*.py"))


def module_of(path: Path) -> str:
    """The name in ORDER: the file's, or the sub-package's."""
    return path.relative_to(ROOT / "helpers").parts[0].removesuffix(".py")


def imports(source: str) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether it waits inside a function) of every import; those only for type checkers are skipped."""

    def visit(node: ast.AST, waits: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, waits) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{'.' * node.level}{node.module or ''}.{alias.name}", waits) for alias in node.names)
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            inside = waits or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inside)

    return visit(ast.parse(source), False)


def wrong_arrows(module: str, source: str) -> list[str]:
    """The imports that `module` must not have."""
    wrong = []
    for name, waits in imports(source):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if package == "":
            wrong.append(f"{name}: write the whole name, helpers...")
        elif package == "helpers" and target in ORDER and target != module:
            later = ORDER.index(target) >= ORDER.index(module)
            if later and not (waits and target in WHEN_CALLED):
                wrong.append(f"helpers.{target} comes later")
        elif package in ONLY_IN and module not in ONLY_IN[package]:
            wrong.append(f"{package} belongs to {', '.join(sorted(ONLY_IN[package]))}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_imports_only_what_comes_before_it(path):
    module = module_of(path)
    if module == "__init__":
        module = "lessons"  # the last one: it may name everything
    assert module in ORDER, f"helpers/{module} has no place in ORDER yet: put it after everything it imports"
    assert wrong_arrows(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sorted((ROOT / "data_setup").glob("*.py")), ids=lambda path: path.name)
def test_data_setup_knows_nothing_of_helpers(path):
    assert [name for name, _ in imports(path.read_text(encoding="utf-8")) if name.startswith("helpers")] == []


@pytest.mark.parametrize("module", ["helpers", "helpers.learner", "helpers.interpret", "helpers.review"])
def test_numbers_load_neither_drawing_nor_widgets(module):
    code = f"import sys, {module}; print([m for m in ('matplotlib', 'ipywidgets', 'anywidget') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.parametrize(
    ("module", "source", "fine"),
    [
        ("data", "from helpers.items import Item", True),
        ("items", "from helpers.data import ImageData", False),
        ("items", "import helpers.data", False),
        ("items", "from helpers import data", False),
        ("items", "from .data import ImageData", False),
        ("learner", "def f():\n    from helpers.plots import plot_loss", True),
        ("learner", "from helpers.plots import plot_loss", False),
        ("items", "def f():\n    from helpers.learner import Learner", False),
        ("learner", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from helpers.plots import x", True),
        ("learner", "def f():\n    import matplotlib.pyplot", False),
        ("plots", "import matplotlib.pyplot", True),
        ("plots", "import ipywidgets", False),
        ("lessons", "import ipywidgets", True),
        ("lessons", "import matplotlib", False),
    ],
)
def test_a_wrong_arrow_is_seen(module, source, fine):
    assert (wrong_arrows(module, source) == []) is fine
