"""Commands that a lesson or a page tells people to type on several machines: torch and the recipe take every word."""

import importlib.util
import re
import shlex

import pytest
from torch.distributed.run import get_args_parser

from helpers.recipe.settings import parse
from tools.notebook_files import NOTEBOOKS, ROOT, find_notebooks, read_notebook

FENCE = re.compile(r"^```(?:bash|sh)?\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The words of every torchrun command in fenced blocks and in `code`, without what stands before torchrun."""
    pieces = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    pieces += re.findall(r"(?<!`)`(torchrun [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    split = [shlex.split(piece, comments=True) for piece in pieces if "torchrun" in piece and piece[:1] != "#"]
    return [words[words.index("torchrun") + 1 :] for words in split if "torchrun" in words]


def texts() -> dict[str, str]:
    pages = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", NOTEBOOKS / "INSTRUCTORS.md")}
    for path in find_notebooks():
        cells = (cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown")
        pages[path.name] = "\n\n".join(cells)
    return pages


FOUND = [(name, words) for name, text in texts().items() for words in commands(text)]


def test_the_lesson_on_several_machines_has_its_commands():
    kinds = [" ".join(words) for name, words in FOUND if name.startswith("10_")]
    assert any("--standalone" in line for line in kinds)
    assert any("--nnodes=2" in line and "--rdzv-endpoint=" in line for line in kinds)
    assert any("--nnodes=$SLURM_JOB_NUM_NODES" in line and "--rdzv-id=$SLURM_JOB_ID" in line for line in kinds)


@pytest.mark.parametrize(("name", "words"), FOUND, ids=lambda value: value if isinstance(value, str) else "")
def test_torchrun_and_the_recipe_take_every_word(name, words, tmp_path):
    words = [re.sub(r"\$\{?\w+\}?", "2", word) for word in words]
    given = get_args_parser().parse_args(words)
    if not given.standalone:
        assert given.rdzv_backend == "c10d" and given.rdzv_id != "none", "two trainings must not meet each other"
        assert re.fullmatch(r"\w[\w.]*:\d+", given.rdzv_endpoint)
    if given.module:
        assert importlib.util.find_spec(given.training_script)
    if given.training_script == "helpers.recipe":
        parse([*given.training_script_args, "--report", str(tmp_path)], "")


def test_a_command_that_torch_does_not_know_is_found():
    block = "```bash\nsrun torchrun --nodes=2 \\\n  -m helpers.recipe\n```\n"
    text = f"Type `torchrun --nproc=2 -m helpers.recipe`:\n\n{block}"
    wrong = commands(text)
    assert wrong == [["--nodes=2", "-m", "helpers.recipe"], ["--nproc=2", "-m", "helpers.recipe"]]
    with pytest.raises(SystemExit):
        get_args_parser().parse_args(wrong[0])
