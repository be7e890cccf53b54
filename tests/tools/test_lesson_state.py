"""A run of the lessons from the start meets nothing of an older one, and takes nothing away."""

import os

import pytest

from tests.tools.small_lessons import snapshot
from tools import lesson_state
from tools.lesson_state import fresh_home, put_aside


@pytest.fixture
def used(course_data):
    """A data folder after a run: data set, caches, models, marks, board."""
    for name in ("solar/train/a/1.png", "cache/pixels/k.u8", "cache/features/f.safetensors", "cache/timings.json"):
        (course_data / name).parent.mkdir(parents=True, exist_ok=True)
        (course_data / name).write_text(name)
    for name in (
        "models/course-03_head.safetensors",
        "reviews/solar.csv",
        "exports/e/card.md",
        "board.json",
        "duel.json",
    ):
        (course_data / name).parent.mkdir(parents=True, exist_ok=True)
        (course_data / name).write_text(name)
    return course_data


def test_what_lessons_left_is_moved_and_nothing_is_lost(used):
    before = snapshot(used)
    aside = put_aside()
    assert sorted(snapshot(used / "solar")) == ["train/a/1.png"]
    assert sorted(path.name for path in used.iterdir()) == ["cache", "runs", "solar"]
    assert sorted(path.name for path in (used / "cache").iterdir()) == ["pixels", "timings.json"]
    moved = snapshot(aside)
    assert {name: content for name, content in before.items() if name in moved} == moved and len(moved) == 6
    assert put_aside() is None, "the second time there is nothing"


def test_a_fresh_home_has_the_data_sets_only_and_the_usual_one_stays(used):
    before = snapshot(used)
    with fresh_home() as home:
        assert os.environ["COURSE_DATA"] == str(home) and home.is_relative_to(used)
        assert set(snapshot(home)) == {"solar/train/a/1.png", "cache/pixels/k.u8", "cache/timings.json"}
        assert (home / "solar/train/a/1.png").samefile(used / "solar/train/a/1.png"), "no second copy on the disk"
        (home / "board.json").write_text("new")
    assert os.environ["COURSE_DATA"] == str(used) and not home.exists()
    assert snapshot(used) == before


def test_a_home_without_hard_links_gets_copies(used, monkeypatch):
    def refuse(source, target):
        raise OSError("no hard links here")

    monkeypatch.setattr(lesson_state.os, "link", refuse)
    with fresh_home() as home:
        assert (home / "solar/train/a/1.png").read_text() == "solar/train/a/1.png"


def test_the_folder_is_left_when_the_run_fails_and_without_one_chosen(used, monkeypatch):
    with pytest.raises(ZeroDivisionError), fresh_home() as home:
        raise ZeroDivisionError
    assert os.environ["COURSE_DATA"] == str(used) and not home.exists()
    monkeypatch.chdir(used)
    monkeypatch.delenv("COURSE_DATA")
    monkeypatch.setattr(lesson_state.data_setup, "home", lambda: used)
    with fresh_home():
        assert "COURSE_DATA" in os.environ
    assert "COURSE_DATA" not in os.environ
