"""README's table of lessons."""

import pytest

from tools import course, store, timings
from tools.execute import Failure, Outcome
from tools.notebook_files import ROOT, find_notebooks, write_notebook

BAD = Failure(2, "1 / 0", "ZeroDivisionError: division by zero")


TIMED = """\
# %% [markdown]
# # {title}

# %% [markdown]
# Teaching {teaching} minutes, exercises 15; the computer needs no time.
"""


MINE = timings.Measured(12, 20, 1.0, "accuracy 0.84")


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
    measured = [timings.Measured(s, 2 * s, gib, f"result {s}") for s, gib in [(12, 0.94), (120, 2.26), (33, 1.1)]]
    timings.update(page, lessons, dict(zip(["00_first", "01_more", "02_end"], measured, strict=True)))
    assert page.read_text().splitlines() == [
        "before",
        timings.MARKS[0],
        "| lesson | teaching | exercises | time | processor time | memory | result |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| [00 First](lessons/00_first.ipynb) | 10 min | 15 min | 12 s | 24 s | 0.9 GiB | result 12 |",
        "| [01 More](lessons/01_more.ipynb) | 20 min | 15 min | 120 s | 240 s | 2.3 GiB | result 120 |",
        "| [02 End](lessons/02_end.ipynb) | 30 min | 15 min | 33 s | 66 s | 1.1 GiB | result 33 |",
        "| together | 60 min | 45 min | 165 s | 330 s | 2.3 GiB |  |",
        timings.MARKS[1],
        "after",
    ]


def test_a_lesson_that_is_not_run_keeps_its_figures_and_one_never_run_says_so(timed):
    page, lessons = timed
    timings.update(page, lessons, {"00_first": MINE, "01_more": timings.Measured(7, 9, 0.5, "a | b")})
    timings.update(page, lessons, {"00_first": timings.Measured(99, 150, 3.0, "new")})
    _, block, _ = timings.split_page(page)
    assert timings.measured_in(block) == {
        "00_first": timings.Measured(99, 150, 3.0, "new"),
        "01_more": timings.Measured(7, 9, 0.5, "a / b"),
    }
    assert "| [02 End](lessons/02_end.ipynb) | 30 min | 15 min | not measured |  |  |  |" in block
    assert block.endswith("| together | 60 min | 45 min |  |  |  |  |"), "no sum without all of them"
    before = page.read_text()
    assert timings.main(["--from", str(lessons[0].parent), "--table", str(page)]) == 0
    assert page.read_text() == before


def test_a_table_that_lacks_processor_times_says_so_until_they_are_measured(timed):
    page, lessons = timed
    names = [path.stem for path in lessons]
    timings.update(page, lessons, dict.fromkeys(names, timings.Measured(12, None, 1.0, "fine")))
    timings.update(page, lessons, dict.fromkeys(names[:2], timings.Measured(12, 20, 1.0, "fine")))
    _, block, _ = timings.split_page(page)
    assert [one.processor_seconds for one in timings.measured_in(block).values()] == [20, 20, None]
    assert block.endswith("| 36 s | not measured | 1.0 GiB |  |")


def test_a_new_title_reaches_the_table_without_a_run(timed):
    page, lessons = timed
    timings.update(page, lessons, {"00_first": MINE})
    write_notebook(lessons[0], store.from_text(TIMED.format(title="00 Start", teaching=40)))
    timings.update(page, lessons, {})
    assert (
        "| [00 Start](lessons/00_first.ipynb) | 40 min | 15 min | 12 s | 20 s | 1.0 GiB | accuracy 0.84 |"
        in page.read_text()
    )


def test_a_lesson_without_its_minutes_is_named(timed):
    page, lessons = timed
    write_notebook(lessons[1], store.from_text("# %% [markdown]\n# # 01 Hasty\n"))
    with pytest.raises(ValueError, match="'01 Hasty' has no line \"Teaching 25 minutes"):
        timings.update(page, lessons, {})


def test_a_run_writes_its_figures_into_the_table(timed, course_data, monkeypatch):
    page, lessons = timed
    rows = [
        course.Row("01_more", Outcome(12.4, 20.2, 2**30, 3, (1, 18, 1)), "accuracy 0.84"),
        course.Row("02_end", Outcome(3, 4, 1, 3, (4,), BAD), ""),
    ]
    monkeypatch.setattr(course, "run_all", lambda paths, folder, **options: rows)
    assert course.main(["--folder", str(lessons[0].parent), "--table", str(page), "01", "02"]) == 1
    assert (
        "| [01 More](lessons/01_more.ipynb) | 20 min | 15 min | 12 s | 20 s | 1.0 GiB | accuracy 0.84 |"
        in page.read_text()
    )
    assert "15 min | 3 s | 4 s | 0.0 GiB | FAILED in code cell [2] |" in page.read_text()


def test_a_page_without_the_marks_is_told_before_anything_runs(timed, course_data, monkeypatch):
    page, lessons = timed
    page.write_text("no marks")
    monkeypatch.setattr(course, "run_all", lambda *given, **options: pytest.fail("it ran"))
    with pytest.raises(FileNotFoundError, match="has no lines <!-- timings -->"):
        course.main(["--folder", str(lessons[0].parent), "--table", str(page)])


def test_the_table_of_the_readme_has_the_lessons_titles_and_minutes():
    _, block, _ = timings.split_page(ROOT / "README.md")
    expected = timings.table(find_notebooks(), timings.measured_in(block))
    assert block == expected, "type: python -m tools.timings"
