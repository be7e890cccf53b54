"""Copies of all notebooks, executed in order: the sources stay, failures are named, a table is printed."""

import io
import re

import pytest

from tests.tools.small_lessons import notebook_of, snapshot
from tools import course
from tools.execute import Outcome
from tools.notebook_files import read_notebook, write_notebook


@pytest.mark.notebooks
def test_a_run_measures_and_leaves_the_sources_alone(lessons, course_data, capsys):
    before = snapshot(lessons)
    assert course.main(["--folder", str(lessons)]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"^01_lesson( +\d+ s){3} in \[\d\] +0\.\d GiB  accuracy 0\.84 of 656$", printed, flags=re.MULTILINE
    ), printed
    assert "2 of 2 notebooks ran to their end" in printed
    assert snapshot(lessons) == before
    assert list((course_data / "runs").iterdir()) == [], "a run that went well leaves nothing"


@pytest.mark.notebooks
def test_a_failing_cell_is_named_and_the_next_notebook_still_runs(tmp_path, course_data, capsys):
    folder = tmp_path / "lessons"
    write_notebook(folder / "01_bad.ipynb", notebook_of("x = 1", "y = 2\nraise ValueError('no luck')", "print(3)"))
    write_notebook(folder / "02_good.ipynb", notebook_of("open('left.txt', 'w').close()", "print('headline: fine')"))
    before = snapshot(folder)
    assert course.main(["--folder", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "01_bad.ipynb failed in code cell [2]:\n    | y = 2\n    | raise ValueError('no luck')" in printed
    assert "ValueError: no luck" in printed
    assert re.search(r"^01_bad .* FAILED in code cell \[2\]$", printed, flags=re.MULTILINE)
    assert re.search(r"^02_good .* fine$", printed, flags=re.MULTILINE)
    assert printed.endswith("1 of 2 notebooks ran to their end\nfailed: 01_bad\n")
    assert snapshot(folder) == before, "what a notebook writes beside itself lands with the copies"
    [copy] = (course_data / "runs").rglob("01_bad.ipynb")
    assert read_notebook(copy).cells[1].outputs[0].ename == "ValueError"


def test_the_copy_of_what_failed_outlives_a_ctrl_c_in_the_next_notebook(tmp_path, course_data, monkeypatch):
    """Catches a copy whose place was printed, deleted because the run did not come to its end."""
    write_notebook(tmp_path / "lessons" / "01_bad.ipynb", notebook_of("1 / 0"))

    def failed_and_stopped(paths, folder, **how):
        write_notebook(folder / "01_bad.ipynb", notebook_of("1 / 0"))
        raise KeyboardInterrupt

    monkeypatch.setattr(course, "run_all", failed_and_stopped)
    with pytest.raises(KeyboardInterrupt):
        course.main(["--folder", str(tmp_path / "lessons")])
    assert len(list((course_data / "runs").rglob("01_bad.ipynb"))) == 1


@pytest.mark.notebooks
def test_a_dead_kernel_is_named_with_its_memory(tmp_path, course_data, capsys):
    folder = tmp_path / "lessons"
    big = "import os, time\nblock = bytearray(os.urandom(1) * 300_000_000)\ntime.sleep(1.5)"
    write_notebook(folder / "01_dead.ipynb", notebook_of(big, "os._exit(9)"))
    assert course.main(["--folder", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "01_dead.ipynb failed in code cell [2]:\n    | os._exit(9)\n    the kernel died" in printed
    assert float(re.search(r"memory then: at most ([\d.]+) GiB", printed)[1]) >= 0.3


@pytest.mark.notebooks
def test_whatever_ends_a_notebook_is_named_and_the_next_one_runs(tmp_path, course_data, capsys, monkeypatch):
    """Killed, too slow, a full disk (on which its copy cannot be kept either): notebook, cell and first line."""
    folder = tmp_path / "lessons"
    endings = {
        "01_killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "02_slow": "import time\ntime.sleep(60)",
        "03_full": "open('x.txt', 'w')\nraise OSError(28, 'No space left on device')",
    }
    for name, source in endings.items():
        write_notebook(folder / f"{name}.ipynb", notebook_of("x = 1", source))
    write_notebook(folder / "04_good.ipynb", notebook_of("print('headline: fine')"))

    def on_a_full_disk(path, notebook):
        if path.name == "03_full.ipynb":
            raise OSError(28, "No space left on device", str(path))
        write_notebook(path, notebook)

    monkeypatch.setattr(course, "write_notebook", on_a_full_disk)
    assert course.main(["--folder", str(folder), "--cell-timeout", "2"]) == 1
    printed = capsys.readouterr().out
    for name, reason in (
        ("01_killed", "the kernel died"),
        ("02_slow", "the cell was still running after 2 s and was stopped"),
        ("03_full", "OSError: [Errno 28] No space left on device"),
    ):
        first = endings[name].partition("\n")[0]
        told = printed.partition(f"{name}.ipynb failed in code cell [2]:\n    | {first}\n")[2]
        assert reason in told.partition("failed in")[0], printed
        assert re.search(rf"^{name} .* FAILED in code cell \[2\]$", printed, flags=re.MULTILINE)
    assert printed.count("the copy with its outputs up to there") == 2
    assert "could not be kept: [Errno 28] No space left on device" in printed
    assert re.search(r"^04_good .* fine$", printed, flags=re.MULTILINE)
    assert printed.endswith("1 of 4 notebooks ran to their end\nfailed: 01_killed, 02_slow, 03_full\n")


def test_a_data_folder_that_cannot_be_written_is_named(lessons, tmp_path, monkeypatch, capsys):
    """Catches a traceback before the first notebook."""
    (tmp_path / "blocked").write_text("a file where a folder should be")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "blocked"))
    assert course.main(["--folder", str(lessons)]) == 2
    printed = capsys.readouterr().out
    assert str(tmp_path / "blocked" / "runs") in printed and "set COURSE_DATA" in printed


def test_the_live_line_is_rewritten_only_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        line = course.ProgressLine("03_augmentation", stream)
        line.show(12, 30, 41.4)
        line.end(Outcome(60.2, 90.4, 2**30, 30, ()))
    assert "\r\x1b[K03_augmentation          cell 12 of 30, 41 s" in terminal.getvalue()
    assert file.getvalue() == "03_augmentation          30 cells, 60 s, 90 processor-seconds, 1.0 GiB\n"


def test_the_printed_table_has_a_total():
    rows = [
        course.Row("00_first", Outcome(10.4, 12.2, 2**30, 3, (1, 10, 1)), "fine"),
        course.Row("01_more", Outcome(30.4, 55.1, 3 * 2**30, 3, (50.3, 2, 2)), "too"),
    ]
    assert course.table(rows).splitlines() == [
        "notebook  time  processor  longest cell   memory  result",
        "00_first  10 s       12 s   10 s in [2]  1.0 GiB  fine",
        "01_more   30 s       55 s   50 s in [1]  3.0 GiB  too",
        "total     41 s       67 s          50 s  3.0 GiB",
    ]
