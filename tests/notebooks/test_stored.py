"""What every stored notebook must be like. Each rule is a function from a notebook to what is wrong with it;
the second half of this file shows each rule a notebook that breaks it."""

import ast
import re
import subprocess
import sys
from functools import cache

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbval.plugin import comment_markers, find_comment_markers, find_metadata_tags

from tools import links
from tools.learner_copies import clean_copy, learner_copy
from tools.notebook_files import NOTEBOOKS, ROOT, code_cells, headings, normalise, read_notebook, tags
from tools.store import picture_of_the_board

MAX_BYTES = 1_500_000
MIN_COMPARED_OUTPUTS = 10
MAX_UNCOMPARED_SHARE = 0.10
MAX_CELL_LINES = 40
MAX_FUNCTION_LINES = 15
REASON = re.compile(r"^# not compared: \S", flags=re.MULTILINE)
SENTENCE_WORDS = 4

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@cache
def stored(path):
    """The notebook, read once for all rules: none of them changes it."""
    return read_notebook(path)


def label(cell) -> str:
    return f"[{cell.get('execution_count') or cell.cell_type}] {cell.source.strip().splitlines()[0][:60]!r}"


def texts(output) -> list[str]:
    """The parts of an output that are text (and that nbval compares)."""
    if output.output_type == "stream":
        return [output.text]
    data = output.get("data", {})
    return [data[kind] for kind in ("text/plain", "text/html", "text/markdown", "text/latex") if kind in data]


def is_compared(cell) -> bool:
    """As nbval decides it."""
    options = dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))
    return options.get("check", True) and not options.get("skip", False)


def in_code(notebook, pattern: str) -> list[str]:
    return [label(cell) for cell in code_cells(notebook) if re.search(pattern, cell.source, flags=re.MULTILINE)]


def test_the_picture_in_the_readme_is_the_board_that_lesson_07_shows():
    """Catches a picture of an earlier run above the numbers of this one."""
    (lesson,) = (path for path in PATHS if path.stem.startswith("07"))
    assert (NOTEBOOKS / "images" / "board.png").read_bytes() == picture_of_the_board(stored(lesson))


# --- the rules: each returns what is wrong, [] when nothing is --------------------------------------------------------


def counts_run_from_1(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"execution counts are {counts}"]


def has_no_error_output(notebook):
    return [
        label(cell)
        for cell in code_cells(notebook)
        if any(output.output_type == "error" for output in cell.outputs) and "raises-exception" not in tags(cell)
    ]


def prints_nothing_on_stderr(notebook):
    return [
        label(cell) for cell in code_cells(notebook) if any(output.get("name") == "stderr" for output in cell.outputs)
    ]


def is_in_normal_form(notebook):
    normal = normalise(notebook)
    if notebook.metadata != normal.metadata:
        return ["the notebook's own metadata"]
    pairs = zip(notebook.cells, normal.cells, strict=False)
    return [label(mine) for mine, theirs in pairs if mine != theirs] or (
        [] if len(notebook.cells) == len(normal.cells) else ["empty code cells"]
    )


def compares_enough(notebook):
    """What the code computed, that is: a caption that the cell itself holds word for word says nothing about it."""
    compared = [
        output
        for cell in code_cells(notebook)
        if is_compared(cell)
        for output in cell.outputs
        if any(
            text.strip() and not text.startswith("<Figure size") and not in_source(cell, text) for text in texts(output)
        )
    ]
    return [] if len(compared) >= MIN_COMPARED_OUTPUTS else [f"only {len(compared)} outputs are compared"]


def in_source(cell, text: str) -> bool:
    """Whether a cell's code holds a sentence word for word, be it in several pieces."""
    plain_source, plain_text = (re.sub(r"[\"'\s]+", " ", each).strip() for each in (cell.source, text))
    return len(plain_text.split()) >= SENTENCE_WORDS and plain_text in plain_source


def leaves_out_few_and_says_why(notebook):
    cells = code_cells(notebook)
    left_out = [cell for cell in cells if not is_compared(cell)]
    wrong = [f"{label(cell)} has no line '# not compared: why'" for cell in left_out if not REASON.search(cell.source)]
    if len(left_out) >= MAX_UNCOMPARED_SHARE * max(len(cells), 1) and left_out:
        wrong.append(f"{len(left_out)} of {len(cells)} cells are not compared")
    return wrong


def has_no_marker_that_nbval_overlooks(notebook):
    """nbval only knows a comment that is nothing but the marker; with a word after it, it silently does nothing."""
    return [
        label(cell)
        for cell in code_cells(notebook)
        for line in cell.source.splitlines()
        if re.search(r"NBVAL|nbval-", line) and line.strip().lstrip("#").strip() not in comment_markers
    ]


def updates_nothing_in_place(notebook):
    return in_code(notebook, r"\bclear_output\b|\bdisplay_id\b|\bupdate_display\b|\bOutput\(")


def needs_no_shell_and_installs_nothing(notebook):
    magic = r"^\s*(!|%%(bash|sh|cmd|script|system|sx|html|javascript)\b|%(pip|conda|mamba|uv|sx|system|cd|env)\b)"
    return in_code(notebook, magic + r"|\bos\.system\b|\bsubprocess\b|\bget_ipython\(\)\.system\b|\bpip install\b")


def names_no_absolute_path(notebook):
    pattern = re.compile(r"(?<![\w.:/])/(home|root|tmp|Users|work|mnt|content|private|var|usr|opt)/\w|\b[A-Z]:\\\\?\w")
    found = []
    for cell in notebook.cells:
        shown = [cell.source, *(text for output in cell.get("outputs", []) for text in texts(output))]
        bare = [re.sub(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=\s]+", "", text) for text in shown]
        found += [f"{label(cell)}: {match[0]}" for text in bare for match in pattern.finditer(text)]
    return found


def fits_on_a_screen(notebook):
    return [label(cell) for cell in notebook.cells if len(cell.source.splitlines()) > MAX_CELL_LINES]


def leaves_long_functions_to_helpers(notebook):
    functions = [
        node
        for cell in code_cells(notebook)
        for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$|\?+$", "", cell.source, flags=re.MULTILINE)))
        if isinstance(node, ast.FunctionDef)
    ]
    return [f.name for f in functions if f.end_lineno - f.lineno + 1 > MAX_FUNCTION_LINES]


def has_one_title_and_no_heading_is_skipped(notebook):
    found = list(headings(notebook.cells))
    levels = [level for level, _ in found]
    if levels[:1] != [1] or levels.count(1) != 1:
        return [f"the first heading must be the only one of level 1; levels are {levels}"]
    steps = zip(found, found[1:], strict=False)
    return [f"{after[1]!r} is {after[0] - before[0]} deeper" for before, after in steps if after[0] > before[0] + 1]


def says_in_words_what_each_figure_shows(notebook):
    wrong = []
    for cell in code_cells(notebook):
        figures = [output for output in cell.outputs if {"image/png", "image/jpeg"} & set(output.get("data", {}))]
        said = [text for output in cell.outputs for text in texts(output) if not text.startswith("<")]
        if figures and not any(len(text.split()) >= SENTENCE_WORDS for text in said):
            wrong.append(label(cell))
    return wrong


def shows_only_what_every_viewer_can(notebook):
    """SVG never compares equal; scripts and LaTeX objects do not show without a kernel or a network."""
    fine = {"text/plain", "text/html", "text/markdown", "image/png", "image/jpeg"}
    return [
        f"{label(cell)}: {sorted(set(output.get('data', {})) - fine)}"
        for cell in code_cells(notebook)
        for output in cell.outputs
        if set(output.get("data", {})) - fine
    ]


def describes_pictures_and_tables_in_html(notebook):
    wrong = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            soup = BeautifulSoup(output.get("data", {}).get("text/html", ""), "html.parser")
            wrong += [f"{label(cell)}: picture without alt" for image in soup.find_all("img") if not image.get("alt")]
            tables = [table for table in soup.find_all("table") if not table.find("caption")]
            wrong += [f"{label(cell)}: table without caption"] * len(tables)
    return wrong


RULES = [
    counts_run_from_1,
    has_no_error_output,
    prints_nothing_on_stderr,
    is_in_normal_form,
    compares_enough,
    leaves_out_few_and_says_why,
    has_no_marker_that_nbval_overlooks,
    updates_nothing_in_place,
    needs_no_shell_and_installs_nothing,
    names_no_absolute_path,
    fits_on_a_screen,
    leaves_long_functions_to_helpers,
    has_one_title_and_no_heading_is_skipped,
    says_in_words_what_each_figure_shows,
    shows_only_what_every_viewer_can,
    describes_pictures_and_tables_in_html,
]


# --- held by every notebook -------------------------------------------------------------------------------------------


def test_there_are_notebooks():
    assert PATHS, "notebooks/ holds no notebook"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_notebook(path, rule):
    assert rule(stored(path)) == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_file_is_small_and_as_the_store_writes_it(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert text == nbformat.writes(read_notebook(path)).rstrip("\n") + "\n"


@pytest.mark.parametrize("make", [learner_copy, clean_copy], ids=lambda make: make.__name__)
def test_no_copy_uses_a_name_that_its_cut_solution_would_define(make, tmp_path):
    """Cheaper than running all copies, and what goes wrong in practice: `answer` used after its cell lost it."""
    for path in PATHS:
        (tmp_path / path.name).write_text(nbformat.writes(make(read_notebook(path))), encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821,E9"]
    checked = subprocess.run([*ruff, str(tmp_path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("path", links.texts(ROOT), ids=lambda path: path.name)
def test_every_link_leads_somewhere_and_says_so(path):
    said = (
        (words, target, links.problem(path, picture, words, target)) for picture, words, target in links.links(path)
    )
    assert [problem for problem in said if problem[2]] == []


# --- the rules bite ---------------------------------------------------------------------------------------------------


def printed(text, **more):
    return [new_output("stream", name="stdout", text=text, **more)]


def shown(**data):
    return [new_output("display_data", data={key.replace("_", "/"): value for key, value in data.items()})]


def good_notebook():
    cells = [new_code_cell(f"print({n})", outputs=printed(f"{n}\n"), execution_count=n) for n in range(1, 13)]
    return normalise(new_notebook(cells=[new_markdown_cell("# Title"), new_markdown_cell("## Part"), *cells]))


def code(source, outputs=(), count=13, **metadata):
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
BREAKS = [
    (counts_run_from_1, code("1", count=None)),
    (counts_run_from_1, code("1", count=15)),
    (has_no_error_output, code("1/0", [new_output("error", ename="E", evalue="", traceback=[])])),
    (prints_nothing_on_stderr, code("x", [new_output("stream", name="stderr", text="FutureWarning")])),
    (is_in_normal_form, code("x = 1", scrolled=True)),
    (leaves_out_few_and_says_why, code("# NBVAL_IGNORE_OUTPUT\nx")),
    (leaves_out_few_and_says_why, code("x", tags=["nbval-skip"])),
    (has_no_marker_that_nbval_overlooks, code("# NBVAL_IGNORE_OUTPUT: the device differs\nx")),
    (updates_nothing_in_place, code("from IPython.display import clear_output")),
    (updates_nothing_in_place, code("out = widgets.Output()")),
    (needs_no_shell_and_installs_nothing, code("!ls")),
    (needs_no_shell_and_installs_nothing, code("%pip install timm")),
    (names_no_absolute_path, code("path = '/home/ada/data'")),
    (names_no_absolute_path, code("x", printed("saved to C:\\Users\\ada\n"))),
    (fits_on_a_screen, new_markdown_cell("\n".join("a" * 41))),
    (leaves_long_functions_to_helpers, code("def f():\n" + "    x = 1\n" * 15)),
    (has_one_title_and_no_heading_is_skipped, new_markdown_cell("#### Deep")),
    (has_one_title_and_no_heading_is_skipped, new_markdown_cell("# Second title")),
    (says_in_words_what_each_figure_shows, code("x", shown(image_png=PIXEL, text_plain="<Figure size 1x1>"))),
    (shows_only_what_every_viewer_can, code("x", [new_output("display_data", data={"image/svg+xml": "<svg/>"})])),
    (describes_pictures_and_tables_in_html, code("x", shown(text_html="<img src='data:,'>", text_plain="gallery"))),
    (describes_pictures_and_tables_in_html, code("x", shown(text_html="<table></table>", text_plain="table"))),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_notebook_breaks_no_rule(rule):
    assert rule(good_notebook()) == []


@pytest.mark.parametrize(("rule", "cell"), BREAKS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_cell_is_reported(rule, cell):
    notebook = good_notebook()
    notebook.cells.append(cell)
    assert rule(notebook) != []


def test_too_few_comparisons_are_reported():
    notebook = good_notebook()
    first, second, third, *_ = code_cells(notebook)
    first.outputs = shown(text_plain="<Figure size 640x480 with 1 Axes>", image_png=PIXEL)
    second.source, second.outputs = "print('A caption ' 'without a number.')", printed("A caption without a number.\n")
    third.source, third.outputs = (
        "plot().with_caption('The loss falls slowly.')",
        shown(text_plain="The loss falls slowly."),
    )
    assert compares_enough(notebook) == ["only 9 outputs are compared"]


def test_one_cell_of_thirteen_may_stay_uncompared_with_its_reason():
    notebook = good_notebook()
    notebook.cells.append(code("# not compared: the device differs\nx", tags=["nbval-ignore-output"]))
    assert leaves_out_few_and_says_why(notebook) == []
    notebook.cells.append(notebook.cells[-1])
    assert leaves_out_few_and_says_why(notebook) == ["2 of 14 cells are not compared"]


def test_a_figure_with_its_sentence_is_fine():
    notebook = good_notebook()
    notebook.cells.append(code("x", shown(image_png=PIXEL, text_plain="The loss falls in every epoch.")))
    assert says_in_words_what_each_figure_shows(notebook) == []
