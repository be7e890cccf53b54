"""Progress bars: plain text, gone when the work is done."""

import sys

import pytest

from data_setup.base.progress import progress


def test_progress_is_plain_text_with_the_remaining_time_and_vanishes(monkeypatch, capsys):
    """Catches a widget bar (nothing to see in VS Code or a terminal), and lines left behind in stored outputs."""
    monkeypatch.setenv("COURSE_PROGRESS", "on")
    bar = progress(total=4, title="decoding")
    bar.update(1)
    bar.refresh()
    during = capsys.readouterr()
    bar.close()
    after = capsys.readouterr().out
    assert "decoding" in during.out and "1/4" in during.out and "<" in during.out and during.err == ""
    assert after.rsplit("\r", 1)[-1].strip() == "" and "\n" not in after


def test_progress_can_be_switched_off_and_still_passes_the_work_on(monkeypatch, capsys):
    """Catches bars in tests and stored notebooks, and work lost with the bar."""
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert list(progress(iter("abc"), "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("in_notebook", [True, False])
def test_a_bar_is_shown_where_somebody_watches(monkeypatch, capsys, in_notebook):
    """Catches bars in a file of a program's output, and none in a notebook, whose output is no terminal either."""
    monkeypatch.delenv("COURSE_PROGRESS")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if in_notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert list(progress("abc", "letters")) == ["a", "b", "c"]
    assert ("letters" in capsys.readouterr().out) == in_notebook
