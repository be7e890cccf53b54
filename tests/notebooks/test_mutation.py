"""The comparison of stored outputs bites: in a copy of every notebook one stored digit is changed, and nbval must turn
exactly that cell red."""

import configparser
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks.test_stored import is_compared
from tools.execute import kernel_environment
from tools.notebook_files import NOTEBOOKS, ROOT, normalise, read_notebook, write_notebook

TEXTS = ("text/plain", "text/html")
SANITIZE = ROOT / "tests/notebooks/sanitize.cfg"
TIMEOUT_S = 3600  # for all notebooks together, on a busy machine


def sanitized(text: str) -> str:
    """What nbval compares of an output, with the rules of sanitize.cfg."""
    rules = configparser.ConfigParser(interpolation=None)
    rules.read(SANITIZE, encoding="utf-8")
    for name in rules.sections():
        text = re.sub(rules[name]["regex"], rules[name]["replace"], text)
    return text


@pytest.mark.parametrize(
    ("printed", "compared"),
    [
        ("83.7 % of 656 photographs", "83.7 % of 656 photographs"),
        ("lr 0.01, 1e-3, 0.001, 12.5", "lr 0.01, 1e-3, 0.001, 12.5"),
        ("7 epochs, 434 steps, 3.25 s", "7 epochs, 434 steps, 3.25 s"),
        ("loss 0.4312 in 1.2s", "lossMEASURED inSECONDS"),
        ('<img alt="cell 3" src="data:image/jpeg;base64,/9j+A=">', '<img alt="cell 3" src="PICTURE">'),
    ],
)
def test_only_measured_values_durations_and_bytes_are_hidden_from_the_comparison(printed, compared):
    assert sanitized(printed) == compared


def corrupted(text: str) -> str | None:
    """The text with its first compared digit changed by one; None when the comparison sees no digit of it."""
    for digit in re.finditer(r"\d", text):
        changed = text[: digit.start()] + str((int(digit[0]) + 1) % 10) + text[digit.end() :]
        if sanitized(changed) != sanitized(text):
            return changed
    return None


def mutant(notebook: NotebookNode) -> tuple[NotebookNode, int]:
    """The notebook up to its first compared text output with a digit, that digit changed; and which code cell it is,
    as nbval counts them, from 0. Cutting there keeps the test short."""
    notebook = normalise(notebook)
    number = -1
    for index, cell in enumerate(notebook.cells):
        number += cell.cell_type == "code"
        if cell.cell_type == "code" and is_compared(cell) and _corrupt_one(cell):
            notebook.cells = notebook.cells[: index + 1]
            return notebook, number
    raise AssertionError("this notebook has no compared text output with a number in it")


def _corrupt_one(cell: NotebookNode) -> bool:
    for output in cell.outputs:
        holders = (
            [(output, "text")] if output.output_type == "stream" else [(output.get("data", {}), kind) for kind in TEXTS]
        )
        for holder, kind in holders:
            text = holder.get(kind, "")
            if not text.startswith("<Figure size") and (changed := corrupted(text)):
                holder[kind] = changed
                return True
    return False


def compare(paths: list[Path], profile: Path) -> dict[tuple[str, int], str]:
    """(notebook's name, code cell) -> "passed" or "failed", from one strict run of nbval over all `paths`."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-sanitize-with"]
    command += [
        str(SANITIZE),
        "--nbval-cell-timeout",
        "600",
        "--nbval-kernel-startup-timeout",
        "300",
        "--color=no",
        "-rA",
    ]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(paths[0].parent), "-p", "no:cacheprovider"]
    command += map(str, paths)
    env = os.environ | kernel_environment(str(profile))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, env=env)
    lines = re.findall(r"^(PASSED|FAILED|ERROR) (?:\S*/)?([^\s/]+)\.ipynb::Cell (\d+)", done.stdout, flags=re.MULTILINE)
    assert lines, done.stdout + done.stderr
    return {(name, int(cell)): "passed" if word == "PASSED" else "failed" for word, name, cell in lines}


@pytest.mark.notebooks
def test_a_changed_output_turns_its_cell_red_in_every_notebook(tmp_path):
    lessons = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert lessons, "notebooks/ holds no notebook"
    changed = {}
    with tempfile.TemporaryDirectory(prefix=".mutants-", dir=ROOT) as folder:  # a sibling: same relative paths
        copies = [Path(folder) / path.name for path in lessons]
        for lesson, copy in zip(lessons, copies, strict=True):
            notebook, changed[lesson.stem] = mutant(read_notebook(lesson))
            write_notebook(copy, notebook)
        results = compare(copies, tmp_path)
    for name, cell in changed.items():
        expected = {number: "failed" if number == cell else "passed" for number in range(cell + 1)}
        assert {number: word for (of, number), word in results.items() if of == name} == expected, name


# --- the test tests what it says --------------------------------------------------------------------------------------


def made(*cells) -> NotebookNode:
    return new_notebook(cells=[new_markdown_cell("# Title"), *cells])


def printing(source: str, text: str, count: int = 1, **metadata) -> NotebookNode:
    stream = new_output("stream", name="stdout", text=text)
    return new_code_cell(source, outputs=[stream], execution_count=count, metadata=metadata)


def test_the_first_compared_number_is_changed_and_the_rest_cut_off():
    ignored = printing("1", "cuda 12\n", tags=["nbval-ignore-output"])
    notebook, cell = mutant(
        made(ignored, printing("2", "no number\n"), printing("3", "n = 656\n"), printing("4", "4\n"))
    )
    assert cell == 2
    assert [c.outputs[0].text for c in notebook.cells[1:]] == ["cuda 12\n", "no number\n", "n = 756\n"]


def test_a_notebook_without_a_number_to_change_is_reported():
    with pytest.raises(AssertionError, match="no compared text output"):
        mutant(made(printing("x", "no number\n")))


@pytest.mark.notebooks
def test_an_unchanged_copy_stays_green_and_a_changed_one_does_not(tmp_path):
    good = normalise(made(printing("print('n =', 656)", "n = 656\n")))
    write_notebook(tmp_path / "good.ipynb", good)
    write_notebook(tmp_path / "bad.ipynb", mutant(good)[0])
    results = compare([tmp_path / "good.ipynb", tmp_path / "bad.ipynb"], tmp_path / "profile")
    assert results == {("good", 0): "passed", ("bad", 0): "failed"}
