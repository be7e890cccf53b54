"""One notebook on a fresh kernel: what it needs, and where and why it failed."""

import pytest

from tests.tools.small_lessons import notebook_of
from tools.execute import Failure, execute


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


def test_a_long_cell_is_shown_by_its_first_lines():
    said = str(Failure(4, "\n".join(f"line{n}" for n in range(20)), "KeyError: 'x'")).splitlines()
    assert said == ["code cell [4]:", *(f"    | line{n}" for n in range(6)), "    | ...", "    KeyError: 'x'"]


@pytest.mark.notebooks
def test_processor_time_counts_what_computes_and_not_what_waits(tmp_path):
    """In the kernel and in what it has started; the wait and the start-up are nobody's cell."""
    busy = "import time\nstart = time.process_time()\nwhile time.process_time() < start + {}: pass"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy.format(1.5)!r}], check=True)"
    outcome = execute(notebook_of(busy.format(1), child, "time.sleep(1)"), tmp_path)
    assert outcome.failure is None
    own, childs, waiting = outcome.by_cell
    assert 0.9 < own < 1.4 < childs and waiting < 0.4
    assert outcome.longest_cell[0] == 2
    assert outcome.processor_seconds >= sum(outcome.by_cell)


@pytest.mark.notebooks
def test_memory_counts_what_the_kernel_has_started(tmp_path):
    child = "import subprocess, sys\nblock = 'import time; block = b\\'1\\' * 400_000_000; time.sleep(3)'"
    outcome = execute(notebook_of(f"{child}\nsubprocess.run([sys.executable, '-c', block])"), tmp_path)
    assert outcome.failure is None
    assert outcome.peak_bytes > 450_000_000, "the child's 400 MB and the kernel itself"
