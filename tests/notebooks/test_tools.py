"""The tools around the notebooks, on small made ones. Those that start a kernel are marked `notebooks`."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tools import links, run, site, slides, store, timings, work
from tools.copies import STUB, clean_copy, cut_solution, learner_copy
from tools.execution import Failure, Outcome, execute
from tools.files import ROOT, WIDGET, find_notebooks, headings, normalise, read_notebook, write_notebook

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

LESSON = """\
# %% [markdown] slideshow={"slide_type": "slide"}
# # 01 A lesson
# The rate is $\\\\frac{a}{b}$.

# %% [markdown]
# ## Exercise
# Set `answer`. See [the second](02_more.ipynb).

# %% tags=["hide-input"] slideshow={"slide_type": "fragment"}
answer = None
# solution
answer = 3

# %% tags=["solution"]
print("because", answer)

# %% [markdown] tags=["solution"] slideshow={"slide_type": "notes"}
# Why 3: it is prime.

# %%
print("headline: first")
print("headline: accuracy 0.84 of 656")
""".replace("\\\\", "\\")


@pytest.fixture
def lessons(tmp_path):
    """A folder with two lessons that have not been executed."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    write_notebook(folder / "01_lesson.ipynb", store.from_text(LESSON))
    write_notebook(folder / "02_more.ipynb", store.from_text("# %% [markdown]\n# # 02 More\n\n# %%\nprint(2)\n"))
    return folder


def notebook_of(*sources):
    return normalise(new_notebook(cells=[new_code_cell(source) for source in sources]))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["01", "01_lesson", "notebooks/01_lesson.ipynb"])
def test_a_notebook_is_found_by_number_name_or_path(lessons, name):
    assert find_notebooks([name], lessons) == [lessons / "01_lesson.ipynb"]


def test_a_misspelt_name_gets_a_hint(lessons):
    with pytest.raises(FileNotFoundError, match="did you mean '01_lesson'"):
        find_notebooks(["01_leson"], lessons)


def test_a_folder_without_notebooks_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebooks in"):
        find_notebooks(folder=tmp_path)


def test_backups_are_no_lessons(lessons):
    shutil.copy(lessons / "01_lesson.ipynb", lessons / "01_lesson.bak-1.ipynb")
    assert [path.name for path in find_notebooks(folder=lessons)] == ["01_lesson.ipynb", "02_more.ipynb"]


def test_the_normal_form_keeps_what_is_said_and_drops_who_ran_it():
    out = new_output("display_data", data={"text/plain": "Slider()", WIDGET: {"model_id": "77c2"}})
    streams = [
        new_output("stream", name=name, text=text) for name, text in [("stdout", "a"), ("stderr", "e"), ("stdout", "b")]
    ]
    cell = new_code_cell("\nx = 1\n", outputs=[*streams, out], execution_count=7)
    cell.metadata.update(tags=["solution"], scrolled=True, execution={"iopub.execute_input": "2020"})
    result = new_output("execute_result", data={"text/plain": "1"}, execution_count=9)
    cells = [cell, new_code_cell(" "), new_code_cell("x", outputs=[result], execution_count=9)]
    notebook = new_notebook(
        cells=cells, metadata={"widgets": {"state": {}}, "kernelspec": {"name": "mine", "display_name": "Mine"}}
    )
    normal = normalise(notebook)
    assert list(normal.metadata) == ["kernelspec", "language_info"]
    assert (normal.metadata.kernelspec.name, "version" in normal.metadata.language_info) == ("python3", False)
    assert [c.execution_count for c in normal.cells] == [1, 2]
    assert normal.cells[0].metadata == {"tags": ["solution"]}
    assert [o.get("text") for o in normal.cells[0].outputs] == ["ab", "e", None]
    assert normal.cells[0].outputs[2].data == {"text/plain": "Slider()"}
    assert normal.cells[1].outputs[0].execution_count == 2
    assert normalise(normal) == normal
    assert notebook.cells[0].execution_count == 7, "the argument is left alone"


def test_ids_depend_on_the_cell_alone_and_are_unique():
    before, after = notebook_of("a", "b", "b"), notebook_of("new", "a", "b", "b")
    ids = [cell["id"] for cell in before.cells]
    assert ids == [cell["id"] for cell in after.cells[1:]]
    assert len(set(ids)) == 3


def test_a_hash_in_a_code_block_is_no_heading():
    cell = new_markdown_cell("# Title\n```\n# comment\n```\n### Third ###\n#no heading")
    assert list(headings([cell])) == [(1, "Title"), (3, "Third")]


def test_text_and_back_keeps_cells_tags_and_slides():
    notebook = store.from_text(LESSON)
    assert store.from_text(store.to_text(notebook)) == notebook
    assert "jupytext" not in store.to_text(notebook)


# --- execution, run, store --------------------------------------------------------------------------------------------


@pytest.mark.notebooks
def test_a_run_measures_and_leaves_the_sources_alone(lessons, course_data, capsys):
    before = snapshot(lessons)
    assert run.main(["--folder", str(lessons)]) == 0
    run_cli = capsys.readouterr().out
    assert re.search(r"^01_lesson +\d+ s +0\.\d GiB  accuracy 0\.84 of 656$", run_cli, flags=re.MULTILINE), run_cli
    assert "2 of 2 notebooks ran to their end" in run_cli
    assert snapshot(lessons) == before
    assert list((course_data / "runs").iterdir()) == [], "a run that went well leaves nothing"


@pytest.mark.notebooks
def test_a_failing_cell_is_named_and_the_next_notebook_still_runs(tmp_path, course_data, capsys):
    folder = tmp_path / "lessons"
    write_notebook(folder / "01_bad.ipynb", notebook_of("x = 1", "y = 2\nraise ValueError('no luck')", "print(3)"))
    write_notebook(folder / "02_good.ipynb", notebook_of("open('left.txt', 'w').close()", "print('headline: fine')"))
    before = snapshot(folder)
    assert run.main(["--folder", str(folder)]) == 1
    run_cli = capsys.readouterr().out
    assert "01_bad.ipynb failed in code cell [2]:\n    | y = 2\n    | raise ValueError('no luck')" in run_cli
    assert "ValueError: no luck" in run_cli
    assert re.search(r"^01_bad .* FAILED in code cell \[2\]$", run_cli, flags=re.MULTILINE)
    assert re.search(r"^02_good .* fine$", run_cli, flags=re.MULTILINE)
    assert run_cli.endswith("1 of 2 notebooks ran to their end\nfailed: 01_bad\n")
    assert snapshot(folder) == before, "what a notebook writes beside itself lands with the copies"
    [copy] = (course_data / "runs").rglob("01_bad.ipynb")
    assert read_notebook(copy).cells[1].outputs[0].ename == "ValueError"


@pytest.mark.notebooks
def test_a_dead_kernel_is_named_with_its_memory(tmp_path, course_data, capsys):
    folder = tmp_path / "lessons"
    big = "import os, time\nblock = bytearray(os.urandom(1) * 300_000_000)\ntime.sleep(1.5)"
    write_notebook(folder / "01_dead.ipynb", notebook_of(big, "os._exit(9)"))
    assert run.main(["--folder", str(folder)]) == 1
    run_cli = capsys.readouterr().out
    assert "01_dead.ipynb failed in code cell [2]:\n    | os._exit(9)\n    the kernel died" in run_cli
    assert float(re.search(r"memory then: at most ([\d.]+) GiB", run_cli)[1]) >= 0.3


@pytest.mark.notebooks
def test_a_kernel_that_does_not_start_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # no Python starts with this
    outcome = execute(notebook_of("print(1)"), tmp_path)
    assert outcome.failure.error.startswith("the kernel did not start: Kernel died")


@pytest.mark.notebooks
def test_a_cell_that_hangs_is_stopped(tmp_path):
    outcome = execute(notebook_of("import time", "time.sleep(60)"), tmp_path, cell_timeout_s=2)
    assert (outcome.failure.cell, outcome.cells) == (2, 2)
    assert "still running after 2 s" in outcome.failure.error


@pytest.mark.notebooks
def test_the_kernel_sees_no_personal_settings_and_the_course(tmp_path):
    notebook = notebook_of(
        "import os, helpers, data_setup\nprint(os.environ['COURSE_PROGRESS'], os.path.samefile('.', 'here'))",
        "from IPython.paths import get_ipython_dir\nprint(get_ipython_dir() != os.path.expanduser('~/.ipython'))",
    )
    (tmp_path / "here").symlink_to(tmp_path)
    outcome = execute(notebook, tmp_path)
    assert outcome.failure is None, outcome.failure
    assert [cell.outputs[0].text for cell in notebook.cells] == ["off True\n", "True\n"]


@pytest.mark.notebooks
def test_storing_twice_changes_no_byte(lessons, tmp_path):
    draft = tmp_path / "03_draft.py"
    draft.write_text(
        '# %% [markdown]\n# # 03\n\n# %%\nimport ipywidgets\nipywidgets.IntSlider(3)\n\n# %%\nprint("n")\n'
    )
    assert store.main(["--folder", str(lessons), "--from", str(draft)]) == 0
    first = (lessons / "03_draft.ipynb").read_bytes()
    assert store.main(["--folder", str(lessons), "03"]) == 0
    assert (lessons / "03_draft.ipynb").read_bytes() == first
    stored = read_notebook(lessons / "03_draft.ipynb")
    assert stored.cells[1].outputs[0].data == {"text/plain": "IntSlider(value=3)"}
    assert [cell.get("execution_count") for cell in stored.cells] == [None, 1, 2]
    assert first.endswith(b"}\n")


@pytest.mark.notebooks
def test_a_notebook_that_fails_is_not_stored(lessons, capsys):
    write_notebook(lessons / "03_bad.ipynb", notebook_of("1 / 0"))
    before = snapshot(lessons)
    assert store.main(["--folder", str(lessons), "03"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert snapshot(lessons) == before


def test_the_live_line_is_rewritten_only_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        line = run.ProgressLine("03_augmentation", stream)
        line.show(12, 30, 41.4)
        line.end(Outcome(60.2, 2**30, 30))
    assert "\r\x1b[K03_augmentation          cell 12 of 30, 41 s" in terminal.getvalue()
    assert file.getvalue() == "03_augmentation          30 cells, 60 s, 1.0 GiB\n"


def test_a_long_cell_is_shown_by_its_first_lines():
    said = str(Failure(4, "\n".join(f"line{n}" for n in range(20)), "KeyError: 'x'")).splitlines()
    assert said == ["code cell [4]:", *(f"    | line{n}" for n in range(6)), "    | ...", "    KeyError: 'x'"]


BAD = Failure(2, "1 / 0", "ZeroDivisionError: division by zero")
TIMED = """\
# %% [markdown]
# # {title}

# %% [markdown]
# Teaching {teaching} minutes, exercises 15; the computer needs no time.
"""
MINE = timings.Measured(12, 1.0, "accuracy 0.84")


@pytest.fixture
def timed(tmp_path):
    """A folder with three lessons that say their minutes, and a page with an empty table."""
    folder = tmp_path / "lessons"
    for number, (name, title) in enumerate([("00_first", "00 First"), ("01_more", "01 More"), ("02_end", "02 End")], 1):
        text = TIMED.format(title=title, teaching=10 * number)
        write_notebook(folder / f"{name}.ipynb", store.from_text(text))
    page = tmp_path / "README.md"
    page.write_text(f"before\n{timings.MARKS[0]}\n{timings.MARKS[1]}\nafter\n")
    return page, find_notebooks(folder=folder)


def test_the_table_adds_minutes_and_seconds_and_takes_the_largest_memory(timed):
    page, lessons = timed
    measured = [timings.Measured(s, gib, f"result {s}") for s, gib in [(12, 0.94), (120, 2.26), (33, 1.1)]]
    timings.update(page, lessons, dict(zip(["00_first", "01_more", "02_end"], measured, strict=True)))
    assert page.read_text().splitlines() == [
        "before",
        timings.MARKS[0],
        "| lesson | teaching | exercises | time | memory | result |",
        "| --- | --- | --- | --- | --- | --- |",
        "| [00 First](lessons/00_first.ipynb) | 10 min | 15 min | 12 s | 0.9 GiB | result 12 |",
        "| [01 More](lessons/01_more.ipynb) | 20 min | 15 min | 120 s | 2.3 GiB | result 120 |",
        "| [02 End](lessons/02_end.ipynb) | 30 min | 15 min | 33 s | 1.1 GiB | result 33 |",
        "| together | 60 min | 45 min | 165 s | 2.3 GiB |  |",
        timings.MARKS[1],
        "after",
    ]


def test_a_lesson_that_is_not_run_keeps_its_figures_and_one_never_run_says_so(timed):
    page, lessons = timed
    timings.update(page, lessons, {"00_first": MINE, "01_more": timings.Measured(7, 0.5, "a | b")})
    timings.update(page, lessons, {"00_first": timings.Measured(99, 3.0, "new")})
    _, block, _ = timings.split_page(page)
    assert timings.measured_in(block) == {
        "00_first": timings.Measured(99, 3.0, "new"),
        "01_more": timings.Measured(7, 0.5, "a / b"),
    }
    assert "| [02 End](lessons/02_end.ipynb) | 30 min | 15 min | not measured |  |  |" in block
    assert block.endswith("| together | 60 min | 45 min |  |  |  |"), "no sum without all of them"
    before = page.read_text()
    assert timings.main(["--from", str(lessons[0].parent), "--table", str(page)]) == 0
    assert page.read_text() == before


def test_a_new_title_reaches_the_table_without_a_run(timed):
    page, lessons = timed
    timings.update(page, lessons, {"00_first": MINE})
    write_notebook(lessons[0], store.from_text(TIMED.format(title="00 Start", teaching=40)))
    timings.update(page, lessons, {})
    assert (
        "| [00 Start](lessons/00_first.ipynb) | 40 min | 15 min | 12 s | 1.0 GiB | accuracy 0.84 |" in page.read_text()
    )


def test_a_lesson_without_its_minutes_is_named(timed):
    page, lessons = timed
    write_notebook(lessons[1], store.from_text("# %% [markdown]\n# # 01 Hasty\n"))
    with pytest.raises(ValueError, match="'01 Hasty' has no line \"Teaching 25 minutes"):
        timings.update(page, lessons, {})


def test_a_run_writes_its_figures_into_the_table(timed, course_data, monkeypatch):
    page, lessons = timed
    rows = [run.Row("01_more", Outcome(12.4, 2**30, 3), "accuracy 0.84"), run.Row("02_end", Outcome(3, 1, 3, BAD), "")]
    monkeypatch.setattr(run, "run_all", lambda paths, folder, **options: rows)
    assert run.main(["--folder", str(lessons[0].parent), "--table", str(page), "01", "02"]) == 1
    assert "| [01 More](lessons/01_more.ipynb) | 20 min | 15 min | 12 s | 1.0 GiB | accuracy 0.84 |" in page.read_text()
    assert "15 min | 3 s | 0.0 GiB | FAILED in code cell [2] |" in page.read_text()


def test_a_page_without_the_marks_is_told_before_anything_runs(timed, course_data, monkeypatch):
    page, lessons = timed
    page.write_text("no marks")
    monkeypatch.setattr(run, "run_all", lambda *given, **options: pytest.fail("it ran"))
    with pytest.raises(FileNotFoundError, match="has no lines <!-- timings -->"):
        run.main(["--folder", str(lessons[0].parent), "--table", str(page)])


def test_the_table_of_the_readme_has_the_lessons_titles_and_minutes():
    _, block, _ = timings.split_page(ROOT / "README.md")
    expected = timings.table(find_notebooks(), timings.measured_in(block))
    assert block == expected, "type: python -m tools.timings"


def test_the_printed_table_has_a_total():
    rows = [
        run.Row("00_first", Outcome(10.4, 2**30, 3), "fine"),
        run.Row("01_more", Outcome(30.4, 3 * 2**30, 3), "too"),
    ]
    assert run.table(rows).splitlines() == [
        "notebook  time   memory  result",
        "00_first  10 s  1.0 GiB  fine",
        "01_more   30 s  3.0 GiB  too",
        "total     41 s  3.0 GiB",
    ]


@pytest.mark.notebooks
def test_memory_counts_what_the_kernel_has_started(tmp_path):
    child = "import subprocess, sys\nblock = 'import time; block = b\\'1\\' * 400_000_000; time.sleep(3)'"
    outcome = execute(notebook_of(f"{child}\nsubprocess.run([sys.executable, '-c', block])"), tmp_path)
    assert outcome.failure is None
    assert outcome.peak_bytes > 450_000_000, "the child's 400 MB and the kernel itself"


# --- the learner's copies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "stub"),
    [
        ("x = 1\nprint(x)", "x = 1\nprint(x)"),
        ("answer = None\n# solution\nanswer = 3\nmore", f"answer = None\n{STUB}"),
        ("def f(x):\n    # solution\n    return x", f"def f(x):\n    {STUB}\n    ..."),
        ('def f(x):\n    """Doc."""\n    # solution\n    return x', f'def f(x):\n    """Doc."""\n    {STUB}'),
        ("%matplotlib inline\n# solution\nx", f"%matplotlib inline\n{STUB}"),
        ("# the solution is near\nx = 1", "# the solution is near\nx = 1"),
    ],
)
def test_a_solution_is_cut_to_a_stub_that_runs(source, stub):
    assert cut_solution(source) == stub


def test_a_stub_that_cannot_run_is_refused():
    with pytest.raises(ValueError, match="not valid Python once its solution is cut"):
        cut_solution("x = [\n# solution\n1]")


def test_the_copy_has_no_solution_and_no_output():
    notebook = store.from_text(LESSON)
    notebook.cells[-1].outputs = [new_output("stream", name="stdout", text="0.84\n")]
    copy = learner_copy(notebook)
    assert "because" not in nbformat.writes(copy) and "prime" not in nbformat.writes(copy)
    assert [cell.outputs for cell in copy.cells if cell.cell_type == "code"] == [[], []]
    assert copy.cells[2].source == f"answer = None\n{STUB}"


def test_the_clean_twin_has_headings_and_code_only():
    twin = clean_copy(store.from_text(LESSON))
    assert [cell.source for cell in twin.cells if cell.cell_type == "markdown"] == ["# 01 A lesson", "## Exercise"]
    code = [cell.source for cell in learner_copy(store.from_text(LESSON)).cells if cell.cell_type == "code"]
    assert [cell.source for cell in twin.cells if cell.cell_type == "code"] == code


@pytest.fixture
def make_work(lessons, tmp_path, capsys):
    def make(*options):
        assert work.main(["--from", str(lessons), "--folder", str(tmp_path / "work"), *options]) == 0
        return capsys.readouterr().out

    return make


def test_work_is_never_overwritten(make_work, lessons, tmp_path):
    make_work()
    mine = tmp_path / "work/01_lesson.ipynb"
    mine.write_text("whatever I did, even if it is no notebook")
    (tmp_path / "work/README.md").write_text("- [x] (01_lesson.ipynb), (02_more.ipynb) done")
    (tmp_path / "work/02_more.ipynb").unlink()
    assert make_work() == "01_lesson: kept as it is\n02_more: written\n"
    assert mine.read_text() == "whatever I did, even if it is no notebook"
    assert (tmp_path / "work/README.md").read_text() == "- [x] (01_lesson.ipynb), (02_more.ipynb) done"


def test_reset_keeps_every_old_version(make_work, tmp_path):
    make_work()
    folder = tmp_path / "work"
    for number in (1, 2):
        (folder / "01_lesson.ipynb").write_text(f"mine {number}")
        assert make_work("--reset", "01") == f"01_lesson: written anew; your old one is 01_lesson.bak-{number}.ipynb\n"
    assert [(folder / f"01_lesson.bak-{number}.ipynb").read_text() for number in (1, 2)] == ["mine 1", "mine 2"]
    assert read_notebook(folder / "01_lesson.ipynb").cells[2].source.endswith(STUB)


def test_a_reset_that_cannot_be_done_moves_nothing(make_work, lessons, tmp_path):
    make_work()
    write_notebook(lessons / "01_lesson.ipynb", notebook_of("x = [\n# solution\n1]"))
    before = snapshot(tmp_path / "work")
    with pytest.raises(ValueError, match="not valid Python") as caught:
        make_work("--reset", "01")
    assert caught.value.__notes__ == ["in 01_lesson.ipynb"]
    assert snapshot(tmp_path / "work") == before


def test_a_changed_lesson_is_told_and_a_changed_output_is_not(make_work, lessons):
    make_work()
    notebook = read_notebook(lessons / "01_lesson.ipynb")
    notebook.cells[-1].outputs = [new_output("stream", name="stdout", text="0.85\n")]
    write_notebook(lessons / "01_lesson.ipynb", notebook)
    assert "01_lesson: kept as it is\n" in make_work()
    notebook.cells[0].source += " And more."
    write_notebook(lessons / "01_lesson.ipynb", notebook)
    assert "01_lesson: kept as it is; the lesson has changed since: --reset 01_lesson\n" in make_work()


def test_clean_copies_lie_apart(make_work, tmp_path):
    make_work("--style", "clean")
    assert sorted(snapshot(tmp_path / "work")) == ["clean/01_lesson.ipynb", "clean/02_more.ipynb"]


def test_the_progress_page_lists_all_lessons(make_work, tmp_path):
    make_work()
    page = (tmp_path / "work/README.md").read_text()
    assert page.endswith("finished.\n\n- [ ] [01 A lesson](01_lesson.ipynb)\n- [ ] [02 More](02_more.ipynb)\n")


def test_the_progress_page_gains_a_lesson_that_is_new_and_loses_no_word(make_work, tmp_path):
    """Catches a list that stays as it was made, and ticks that an update takes away."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/README.md").write_text("mine\n- [x] [01](01_lesson.ipynb)")
    make_work()
    page = (tmp_path / "work/README.md").read_text()
    assert page == "mine\n- [x] [01](01_lesson.ipynb)\n- [ ] [02 More](02_more.ipynb)\n"


def test_git_never_sees_what_a_learner_writes():
    """An update of the course must not meet a changed file."""
    files = ["work/01_lesson.ipynb", "work/clean/01_lesson.ipynb", "work/README.md", "site/index.html"]
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == files


@pytest.mark.notebooks
def test_a_copy_with_unfinished_exercises_runs_to_its_end(make_work, tmp_path, course_data):
    make_work()
    assert run.main(["--folder", str(tmp_path / "work")]) == 0


# --- web pages and slides ---------------------------------------------------------------------------------------------


@pytest.fixture
def rich(lessons):
    """Lessons with everything that could reach for the network."""
    html = "<script src='https://cdn.x/a.js'></script><style>@import url(https://x/a.css);</style><b>kept</b>"
    picture = {"image/png": PIXEL, "text/plain": "The loss falls."}
    outputs = [
        new_output("display_data", data={"text/html": html, "text/plain": "html", WIDGET: {"model_id": "1"}}),
        new_output("display_data", data=picture, metadata={"image/png": {"alt": "The loss falls to 0.3."}}),
        new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m & <b>\n"),
    ]
    prose = (
        "# 03 Rich\n![far](https://x.org/a.png) and ![near](a.png)\n\n<img src='//x.org/b.png'>\n\n"
        "<div style='background: url(https://x.org/c.png)'>d</div>\n\n$$ L = -\\log p $$\n\n[web](https://x.org) `$5`"
    )
    slide = {"slideshow": {"slide_type": "slide"}}
    cells = [
        new_markdown_cell(prose, metadata=slide),
        new_code_cell("plot(1)", outputs=outputs, execution_count=1, metadata=slide),
    ]
    write_notebook(lessons / "03_rich.ipynb", new_notebook(cells=cells))
    (lessons / "INSTRUCTORS.md").write_text("# For instructors\n[First](01_lesson.ipynb#Exercise)")
    return lessons


def loads(path: Path) -> list[str]:
    """Every address that a browser fetches by itself when it opens the page."""
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    found = [tag.get(name, "") for tag in soup.find_all() for name in ("src", "srcset", "data", "poster", "background")]
    found += [tag["href"] for tag in soup.find_all("link")]
    styles = [tag.get_text() for tag in soup.find_all("style")] + [tag["style"] for tag in soup.find_all(style=True)]
    found += re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s;]+)", " ".join(styles))
    return [address for address in found if address and not address.startswith("data:")]


def test_pages_load_nothing(rich, tmp_path):
    (rich / "a.png").write_bytes(b"picture")
    written = site.build(rich, tmp_path / "site")
    assert {path: loads(path) for path in written if loads(path)} == {}
    assert sorted(path.name for path in written) == sorted(
        ["01_lesson.html", "02_more.html", "03_rich.html", "INSTRUCTORS.html", "index.html"]
    )


def test_slides_load_only_what_lies_beside_them(rich, tmp_path):
    written = slides.build(rich, tmp_path / "slides")
    local = {address for path in written for address in loads(path)} - {"a.png"}  # not there in this test
    assert all(address.startswith("reveal/") for address in local), local
    assert [address for address in local if not (tmp_path / "slides" / address).exists()] == []
    sheets = [path.read_text() for path in (tmp_path / "slides/reveal").rglob("*.css")]
    assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", " ".join(sheets)) == []


def test_a_page_shows_text_code_outputs_formulas_and_descriptions(rich, tmp_path):
    (rich / "a.png").write_bytes(b"picture")
    site.build(rich, tmp_path / "site")
    page = BeautifulSoup((tmp_path / "site/03_rich.html").read_text(), "html.parser")
    assert page.html["lang"] == "en"
    assert page.title.get_text() == "03 Rich"
    assert page.find("math")["display"] == "block"
    assert page.find("code").get_text() == "$5"
    assert page.find("b").get_text() == "kept"
    assert page.find("figcaption").get_text() == "The loss falls."
    assert page.find("figure").img["alt"] == "The loss falls to 0.3."
    assert page.find("img", alt="near")["src"].startswith("data:image/png;base64,")
    assert page.find("a", string="picture: far")["href"] == "https://x.org/a.png"
    assert "red & <b>" in page.get_text()
    assert "plot(1)" in page.get_text()


def test_links_between_lessons_lead_to_pages_and_solutions_are_folded(rich, tmp_path):
    site.build(rich, tmp_path / "site")
    page = BeautifulSoup((tmp_path / "site/01_lesson.html").read_text(), "html.parser")
    assert page.find("a", string="the second")["href"] == "02_more.html"
    folded = " ".join(tag.get_text() for tag in page.find_all("details"))
    assert "answer = 3" in folded and "because" in folded and "prime" in folded
    instructors = (tmp_path / "site/INSTRUCTORS.html").read_text()
    assert 'href="01_lesson.html#Exercise"' in instructors


def test_the_contents_page_knows_every_section(rich, tmp_path):
    site.build(rich, tmp_path / "site")
    text = (tmp_path / "site/index.html").read_text()
    known = json.loads(re.search(r"const ENTRIES = (.*);$", text, flags=re.MULTILINE)[1].replace("<\\/", "</"))
    exercise = next(entry for entry in known if entry["heading"] == "Exercise")
    assert exercise["page"] == "01_lesson.html#Exercise"
    assert "answer = 3" in exercise["text"]
    assert 'href="03_rich.html">03 Rich' in text


def test_pages_of_lessons_that_are_gone_go_too(rich, tmp_path):
    site.build(rich, tmp_path / "site")
    (rich / "03_rich.ipynb").unlink()
    site.build(rich, tmp_path / "site")
    assert not (tmp_path / "site/03_rich.html").exists()


def test_only_tagged_cells_are_slides(rich, tmp_path):
    slides.build(rich, tmp_path / "slides")
    deck = BeautifulSoup((tmp_path / "slides/01_lesson.html").read_text(), "html.parser")
    assert len(deck.select(".slides > section")) == 1
    assert "Exercise" not in deck.select_one(".slides").get_text()
    assert "prime" in deck.select_one("aside.notes").get_text()
    assert "answer" not in deck.select_one(".slides").get_text(), "hide-input"
    assert not (tmp_path / "slides/02_more.html").exists(), "a notebook without slides has no page"
    assert (
        len(BeautifulSoup((tmp_path / "slides/03_rich.html").read_text(), "html.parser").select(".slides > section"))
        == 2
    )


def test_subslides_stand_below_their_slide(tmp_path):
    kinds = ["slide", "-", "subslide", "slide", "skip"]
    cells = [new_markdown_cell(f"a {kind}", metadata={"slideshow": {"slide_type": kind}}) for kind in kinds]
    deck = BeautifulSoup(slides.deck(new_notebook(cells=cells), tmp_path), "html.parser")
    columns = [column.find_all("section") for column in deck.find_all("section", recursive=False)]
    shown = [[slide.get_text(" ", strip=True) for slide in column] for column in columns]
    assert shown == [["a slide a -", "a subslide"], ["a slide"]]


def sections_of(*cells, kind="slide"):
    """The slides that cells of one kind make, as parsed HTML."""
    for cell in cells:
        cell.metadata["slideshow"] = {"slide_type": cell.metadata.get("kind", kind)}
    notebook = new_notebook(cells=[new_markdown_cell("# 01 Rates"), new_markdown_cell("## Part 1\nSkipped."), *cells])
    deck = BeautifulSoup(slides.deck(notebook, Path()), "html.parser")
    return [slide for slide in deck.find_all("section") if not slide.find("section")]


def drawn(width: int, height: int) -> str:
    """A PNG of that size, as a notebook stores it."""
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def with_figure(width: int, height: int, source: str = "plot()"):
    data = {"image/png": drawn(width, height), "text/plain": "The loss falls."}
    return new_code_cell(source, outputs=[new_output("display_data", data=data)])


def test_what_no_longer_fits_goes_on_below_under_the_same_title():
    prose = new_markdown_cell("## Rates\n" + "\n\n".join(["A sentence of some forty letters or more. " * 6] * 6))
    whole = sections_of(prose)
    assert len(whole) > 1
    assert [slide.find(class_="again") is not None for slide in whole] == [False] + [True] * (len(whole) - 1)
    assert whole[1].find(class_="again").get_text() == "Rates"
    assert sum(len(slide.find_all("p", class_=None)) for slide in whole) == 6, "nothing is lost and nothing said twice"


def test_a_heading_stays_with_what_follows_it():
    filled = new_markdown_cell("A sentence of some forty letters or more. " * 23 + "\n\n### Last")
    first, second = sections_of(filled, new_code_cell("print(1)"), kind="-")
    assert first.find("h3") is None
    assert second.find("h3").get_text().strip("¶") == "Last"
    assert "print" in second.get_text()


def test_a_slide_of_code_alone_says_the_section_it_belongs_to():
    (slide,) = sections_of(new_code_cell("print(1)"))
    assert slide.find(class_="again").get_text() == "Part 1"


@pytest.mark.parametrize(
    ("size", "shown"),
    [((585, 360), (812, 500)), ((200, 100), (300, 150)), ((585, 900), (325, 500)), ((900, 90), (1140, 114))],
)
def test_figures_are_enlarged_to_the_room_there_is_but_never_until_they_blur(size, shown):
    (slide,) = sections_of(with_figure(*size))
    image = slide.find("img")
    assert image["style"] == f"width: {shown[0]}px"
    assert image["height"] == str(shown[1])


def test_a_fragment_waits_for_a_key_only_where_something_is_shown_before_it():
    question, answer = new_markdown_cell("## Guess\nHow many?"), new_code_cell("print(3)")
    answer.metadata["kind"] = "fragment"
    (slide,) = sections_of(question, answer)
    assert "print" in slide.find(class_="fragment").get_text()
    high = with_figure(585, 585)
    high.metadata["kind"] = "fragment"
    long = new_markdown_cell("## Guess\n" + "A sentence of some forty letters or more. " * 20)
    assert sections_of(long, high)[-1].find(class_="fragment") is None


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "target", "said"),
    [
        ("the first lesson", "notebooks/01_lesson.ipynb", None),
        ("its exercise", "notebooks/01_lesson.ipynb#Exercise", None),
        ("the licence", "LICENSE", None),
        ("on the web", "https://nowhere.invalid", None),
        ("a part of this page", "#top-of-it", None),
        ("gone", "notebooks/99.ipynb", "there is no such file"),
        ("no such part", "notebooks/01_lesson.ipynb#Nowhere", "01_lesson.ipynb has no heading 'Nowhere'"),
        ("here", "LICENSE", "the words 'here' do not say where the link leads"),
    ],
)
def test_what_is_wrong_with_a_link(lessons, tmp_path, words, target, said):
    shutil.move(lessons, tmp_path / "notebooks")
    (tmp_path / "LICENSE").touch()
    page = tmp_path / "README.md"
    page.write_text(f"# Top of it\n[{words}]({target}) and `[not a](link)`\n")
    [(picture, found, where)] = links.links(page)
    assert (picture, found, where) == (False, words, target)
    assert links.problem(page, picture, found, where) == said
    assert links.main(["--root", str(tmp_path)]) == (1 if said else 0)


def test_a_picture_needs_words(tmp_path):
    (tmp_path / "a.png").touch()
    assert links.problem(tmp_path / "README.md", True, "", "a.png") == "the picture has no alternative text"


# --- the Makefile -----------------------------------------------------------------------------------------------------


def test_an_old_python_is_told_in_one_sentence(tmp_path):
    """`make` in a copy with a pretended Python 3.9: one sentence, and nothing is made."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\nexec "$REAL" -c "import sys; sys.version_info = (3, 9, 2)\n$2"\n')
    old.chmod(0o755)
    env = os.environ | {"REAL": shutil.which("python3") or "python3"}
    done = subprocess.run(
        ["make", "course", "PYTHON=./python3.9"], cwd=tmp_path, capture_output=True, text=True, env=env
    )
    assert done.returncode != 0
    assert (
        "needs Python 3.11, 3.12 or 3.13, and ./python3.9 is 3.9; name another one: make course PYTHON=" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".venv").exists()
