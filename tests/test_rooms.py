"""The rooms of the package: which may import which, what importing one loads, how much there is to read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.notebook_files import ROOT

MAX_ROOM_FILES, MAX_FILE_LINES = 8, 450
ROOMS = [
    ROOT / "data_setup",
    ROOT / "data_setup/backbones",
    ROOT / "data_setup/base",
    ROOT / "data_setup/check",
    ROOT / "data_setup/downloads",
    ROOT / "data_setup/lite",
    ROOT / "data_setup/own",
    ROOT / "data_setup/shards",
    ROOT / "tools",
    *sorted({path.parent for path in (ROOT / "helpers").glob("*/*.py")}),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    """import-linter with the contracts of pyproject.toml, over the packages in `folder`."""
    command = [
        str(Path(sys.executable).with_name("lint-imports")),
        "--no-cache",
        "--config",
        str(ROOT / "pyproject.toml"),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder)})


PLANTED = {  # file: a line that must not stand there, and the contract that it breaks
    "helpers/data/pixels.py": ("import helpers.figures.style", "A room uses only the rooms below it"),
    "helpers/training/schedules.py": ("def draw():\n    import matplotlib.pyplot", "draw nothing and show no widgets"),
    "helpers/runtime/seeds.py": ("import tools.course", "does not know the authors' tools"),
    "data_setup/weights.py": ("import helpers.runtime", "prepared without the package"),
    "data_setup/items.py": ("def sizes():\n    import PIL.Image", "before they are read"),
    "helpers/review/mark_file.py": ("import matplotlib", "Figures and lessons draw"),
    "helpers/figures/style.py": ("import ipywidgets", "Only review and lessons make widgets"),
}


def test_a_wrong_import_is_seen_even_inside_a_function(tmp_path):
    """Catches a contract that no longer holds anything. That the package keeps them all is for `make lint` to say."""
    for package in ("helpers", "data_setup", "tools"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (line, _) in PLANTED.items():
        with (tmp_path / name).open("a", encoding="utf-8") as module:
            module.write(f"\n{line}\n")
    said = lint_imports(tmp_path).stdout
    broken = [line for line in said.splitlines() if line.endswith(" BROKEN")]
    assert [name for name, (_, contract) in PLANTED.items() if not any(contract in line for line in broken)] == [], said


def test_training_knows_its_source_by_a_protocol():
    """The training room knows no photographs: of the data room it uses the type of a batch, nothing else."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "helpers/training").glob("*.py")]
    assert {line for text in texts for line in re.findall(r"(?:from|import) helpers\.data.*", text)} <= {
        "from helpers.data.dataset import Batch"
    }


TRAIN = """
from data_setup.lite import EfficientNetLite
from helpers.runtime.torch_gaps import AdamW

network = EfficientNetLite("efficientnet_lite0")
optimizer = AdamW(network.parameters(), fused=True)
network.classifier.weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
"""
STEPS = [  # one after the other in one process, which takes seconds to start: what is done, and what must not be loaded
    ("import data_setup.splits", {"helpers", "torch", "numpy", "PIL"}),
    ("import helpers", {"torch", "matplotlib", "ipywidgets"}),
    (TRAIN, {"torch._dynamo", "timm", "torchvision"}),
    (
        "import helpers.learner, helpers.analysis.interpret, helpers.export.bundle",
        {"matplotlib", "ipywidgets", "timm", "torchvision"},
    ),
    ("import helpers.figures.curves", {"ipywidgets"}),
]


def test_importing_a_room_and_training_a_packaged_network_load_no_more_than_they_need():
    """Catches the seconds that torch's compiler, timm or matplotlib take to import, at every start of every lesson."""
    lines = [f"{step}\nprint(*({heavy} & set(sys.modules)))" for step, heavy in STEPS]
    command = [sys.executable, "-c", "\n".join(["import sys", *lines])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "\n" * len(STEPS), done.stdout + done.stderr


def test_every_name_of_the_map_is_there():
    import helpers

    assert [name for name in helpers.__all__ if getattr(helpers, name).__name__ != name] == []
    with pytest.raises(AttributeError, match="'ImagData'; .*ImageData"):
        helpers.ImagData  # noqa: B018


def test_no_name_of_the_lessons_is_that_of_a_module():
    """Catches `from helpers.lessons import name` that gives the module once somebody has imported it."""
    from helpers import lessons

    modules = {path.stem for path in Path(lessons.__file__).parent.iterdir()}
    assert modules & set(lessons.__all__) == set()
    assert [name for name in lessons.__all__ if not hasattr(lessons, name)] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_has_few_files_and_none_is_long(room):
    """The list of files is the table of contents, and no file has two subjects.

    Tools: a module a command; lessons: a file a subject.
    """
    files = [path for path in room.glob("*.py") if path.name != "__init__.py"]
    lines = {path.name: path.read_text(encoding="utf-8").count("\n") for path in files}
    assert room.name in ("tools", "lessons") or len(files) <= MAX_ROOM_FILES, sorted(lines)
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}
