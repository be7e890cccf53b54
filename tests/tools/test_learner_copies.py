"""The learner's own copies: solutions cut out, never written over."""

import subprocess

import nbformat
import pytest
from nbformat.v4 import new_output

from tests.tools.small_lessons import LESSON, notebook_of, snapshot
from tools import course, learner_copies, notes, store
from tools.elsewhere import read_lesson
from tools.learner_copies import STUB, clean_copy, cut_solution, learner_copy
from tools.notebook_files import ROOT, find_notebooks, read_notebook, write_notebook


@pytest.fixture
def make_work(lessons, tmp_path, capsys):
    def make(*options):
        assert learner_copies.main(["--from", str(lessons), "--folder", str(tmp_path / "work"), *options]) == 0
        return capsys.readouterr().out

    return make


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


def test_copies_are_made_for_the_chosen_set_and_run_as_they_are(lessons, make_work, tmp_path, monkeypatch):
    """Catches copies about solar cells for somebody who chose pets, and a copy whose entries are sought once more."""
    write_notebook(lessons / "02_more.ipynb", store.from_text("# %% [markdown]\n# # 02\n#\n# A crack. A step.\n"))
    monkeypatch.setenv("COURSE_DATA_SET", "pets")
    make_work()
    copy = tmp_path / "work" / "02_more.ipynb"
    assert read_notebook(copy).cells[0].source == "# 02\n\nA step."
    assert read_lesson(copy) == read_notebook(copy)
    assert "kept as it is" in make_work()
    monkeypatch.setenv("COURSE_DATA_SET", "solar")
    said = make_work("--reset", "all")
    assert "02_more.bak-1.ipynb" in said and "01_lesson.bak-1.ipynb" in said
    assert "A crack." in read_notebook(copy).cells[0].source


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


def test_the_line_of_the_notes_stands_above_its_step():
    """Catches a comment in the wrong cell, one for a cut solution, and lines too long for a page."""
    notebook = store.from_text(LESSON)
    code = [cell.source for cell in learner_copy(notebook).cells if cell.cell_type == "code"]
    line = notes.Line("doc", "v1", "7", "words " * 20, "taught")
    typed = notes.Line("doc", "0.7", "8", "words", "taught", theirs="learn.sched.plot()")
    twin = clean_copy(notebook, [(code[0], line), (code[0], typed), (code[0], typed), ("prime", line)])
    first, *others = [cell.source for cell in twin.cells if cell.cell_type == "code"]
    comments = first.removesuffix(code[0]).splitlines()
    assert comments[0].startswith("# in the notes (v1): words words") and comments[1].startswith("#   words")
    assert comments[2:] == ["# in the notes (0.7): learn.sched.plot()"] and others == code[1:]
    assert max(map(len, comments)) <= 88


def test_clean_copies_of_the_course_carry_the_notes():
    """Catches references that only text cells hold, and phrases that stand in solutions."""
    commented = 0
    for path in find_notebooks():
        twin = clean_copy(read_notebook(path), notes.lines_of(path.stem))
        commented += sum(cell.source.startswith("# in the notes") for cell in twin.cells)
    assert commented > 60


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
    assert course.main(["--folder", str(tmp_path / "work")]) == 0
