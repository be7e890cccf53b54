"""The lessons for another set: every entry finds its cell, nothing there speaks of solar cells, every name is known."""

import ast
import io
import re
import subprocess
import sys
import tokenize

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.elsewhere import SOLAR_WORDS, changes, elsewhere, neutral, places
from tools.learner_copies import learner_copy
from tools.notebook_files import NOTEBOOKS, code_cells, normalise, read_notebook

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every lesson for the set "pets", by name, and the folder with their files and the learner's copies of them."""
    folder, notebooks = tmp_path_factory.mktemp("elsewhere"), {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COURSE_DATA_SET", "pets")
        for path in PATHS:
            notebooks[path.stem] = elsewhere(read_notebook(path), path.stem)
            for name, notebook in (("", notebooks[path.stem]), ("copy-", learner_copy(notebooks[path.stem]))):
                (folder / f"{name}{path.name}").write_text(nbformat.writes(notebook), encoding="utf-8")
    return notebooks, folder


def strings_and_comments(source: str) -> list[str]:
    plain = re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE)
    tokens = tokenize.generate_tokens(io.StringIO(plain).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    constants = [node.value for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.Constant)]
    return comments + [value for value in constants if isinstance(value, str)]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_nothing_speaks_of_solar_cells(made, path):
    """Catches a new sentence, hint or label in a lesson that fits solar cells only: make an entry for its cell."""
    own = {change.value.strip("\n") for change in changes(path.stem) if change.way == "text"}
    said = []
    for cell in made[0][path.stem].cells:
        if cell.cell_type == "code":
            said += strings_and_comments(cell.source)
        elif cell.source not in own:
            said += cell.source.split("\n")
    assert [text for text in said if SOLAR_WORDS.search(text)] == []


def test_every_name_is_defined_and_every_line_fits(made):
    """Catches a cell left out whose variable a later one needs, in the lesson and in the copy without solutions."""
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821,E9,E501"]
    checked = subprocess.run([*ruff, "--line-length", "88", str(made[1])], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_first_lesson_goes_on_choosing_the_same_set(made):
    """Catches a copy for pets that switches the course back to solar cells in its first cell."""
    source = "\n".join(cell.source for cell in code_cells(made[0]["00_setup"]))
    assert 'DATA = "pets"' in source and 'DATA = "solar"' not in source


# --- how it is done ---------------------------------------------------------------------------------------------------


def lesson(folder, entries: str):
    """A lesson of four cells, and its file of entries."""
    (folder / "05.toml").write_text(entries, encoding="utf-8")
    texts = [new_markdown_cell("# 05 A lesson\n\nThe cells are dark. They shine. Look at the pictures.")]
    return normalise(new_notebook(cells=[*texts, *map(new_code_cell, ("x = 'solar'", "y = 2", "print(x, y)"))]))


@pytest.mark.parametrize(
    ("entry", "sources"),
    [
        ("leave_out = true", ["y = 2", "print(x, y)"]),
        ('code = "x = 1"', ["x = 1", "y = 2", "print(x, y)"]),
        ('swap = [["solar", "pets"]]', ["x = 'pets'", "y = 2", "print(x, y)"]),
        ('text = "Nothing here."', ["Nothing here.", "y = 2", "print(x, y)"]),
    ],
)
def test_a_cell_becomes_what_its_entry_says(tmp_path, entry, sources):
    notebook = lesson(tmp_path, f'[[cell]]\nhas = "x ="\n{entry}\n')
    made = elsewhere(notebook, "05_lesson", tmp_path)
    assert [cell.source for cell in made.cells] == ["# 05 A lesson\n\nLook at the pictures.", *sources]
    assert notebook.cells[1].source == "x = 'solar'", "the stored lesson has changed"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ('[[cell]]\nhas = "z ="\nleave_out = true', "0 cells have 'z ='"),
        ('[[cell]]\nhas = " = "\nleave_out = true', "2 cells have ' = '"),
        ('[[cell]]\nhas = "x ="\nswap = [["wind", "sun"]]', "no longer has 'wind'"),
        ('[[cell]]\nhas = "x ="\nleave_out = true\n[[cell]]\nhas = "\'solar"\ntext = "a"', "an earlier entry"),
        ('[[cell]]\nhas = "x ="\nreplace = "a"', "an entry has `has` and one of"),
    ],
)
def test_an_entry_that_does_not_fit_any_more_is_named(tmp_path, entries, said):
    """Catches a lesson that was rewritten and silently keeps its solar text elsewhere."""
    with pytest.raises(ValueError, match=re.escape(said)):
        elsewhere(lesson(tmp_path, entries), "05_lesson", tmp_path)


def test_a_phrase_may_go_over_a_line(tmp_path):
    notebook = new_notebook(cells=[new_markdown_cell("one\ntwo")])
    (tmp_path / "05.toml").write_text('[[cell]]\nhas = "one two"\nleave_out = true', encoding="utf-8")
    assert list(places(notebook, changes("05", tmp_path))) == [0]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A rate is a step. The inspector waits. It is long.", "A rate is a step."),
        ("Run the next cell. Every cell of a module is dark.", "Run the next cell."),
        ("## A crack\n\nA crack is dark.", "## A crack"),
        ("- one rate\n- one broken\n  cell\n- two rates", "- one rate\n- two rates"),
        ("| a | b |\n|---|---|\n| rate | 1 |\n| crack | 2 |", "| a | b |\n|---|---|\n| rate | 1 |"),
        ("| a | b |\n|---|---|\n| crack | 2 |", ""),
        ("```\nsolar/\n```", "```\nsolar/\n```"),
        ("Of 536 photographs half.\n\nTake 0.01.", "Take 0.01."),
    ],
)
def test_a_sentence_about_solar_cells_goes_with_what_refers_back_to_it(text, left):
    assert neutral(text) == left
