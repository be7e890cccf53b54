"""Which set the course is about, which class is looked for, and what carries the set's name."""

import pytest

import data_setup
from data_setup.own.split_file import write_split
from data_setup.splits import Split
from helpers.data.augment import side_on
from helpers.lessons import chosen, course
from helpers.lessons.board import Board
from helpers.lessons.envelope import open_envelope
from helpers.lessons.one_class import OTHERS, against_the_rest
from helpers.lessons.photo_map import doubts_of
from helpers.lessons.upright import basic
from tests.conftest import draw_pictures
from tests.made_predictions import honest_preds


@pytest.fixture
def own(course_data, monkeypatch):
    """A folder "own" in the data folder, with its 12 dark and 12 light pictures, and no set chosen."""
    monkeypatch.delenv("COURSE_DATA_SET")
    return draw_pictures(course_data / "own")


def test_the_environment_goes_before_what_lesson_00_kept(own, monkeypatch, capsys):
    assert chosen.is_solar()
    assert chosen.choose_set("own") == own
    assert chosen.set_name() == "own" and "make work RESET=all" in capsys.readouterr().out
    monkeypatch.setenv("COURSE_DATA_SET", "pets")
    assert chosen.set_name() == "pets"
    monkeypatch.setenv("COURSE_DATA_SET", "own")
    chosen.choose_set("solar")
    assert "not about solar" in capsys.readouterr().out and chosen.set_name() == "own"


def test_a_learner_who_stays_with_the_cells_leaves_no_file(own, course_data, monkeypatch):
    """Catches a choice written by a run of lesson 00 that chose nothing."""
    monkeypatch.setattr(data_setup, "prepare", lambda name: course_data / name)
    chosen.choose_set("solar")
    assert not (course_data / chosen.CHOICE).exists()
    chosen.choose_set("own")
    chosen.choose_set("solar")
    assert chosen.is_solar()


def test_a_set_that_is_not_there_is_named(own, monkeypatch):
    with pytest.raises(ValueError, match="no data set called 'pats'; did you mean 'pets'.*named by its path"):
        chosen.choose_set("pats")


def test_a_folder_anywhere_is_a_set_and_has_a_name_of_its_own(own, tmp_path, monkeypatch):
    """Catches two folders with the same name that share a board."""
    slugs = []
    for place in ("a", "b"):
        monkeypatch.setenv("COURSE_DATA_SET", str(draw_pictures(tmp_path / place / "photos", n=3)))
        assert chosen.set_folder() == tmp_path / place / "photos"
        slugs.append(chosen.slug())
    assert slugs[0] != slugs[1] and all(slug.startswith("photos-") for slug in slugs)


def test_the_whole_course_moves_to_the_set(own, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_SET", "own")
    data = course.course_data(32)
    assert data.classes == ("dark", "light") and len(data.items) == 24
    assert course._name_of("03_head", data).startswith("course-03_head-own-")
    assert Board().path.name == "board-own.json"
    monkeypatch.setenv("COURSE_DATA_SET", "solar")
    assert course._name_of("03_head", data).startswith("course-03_head-") and Board().path.name == "board.json"
    assert "own" not in course._name_of("03_head", data)


def test_pictures_in_one_folder_are_labelled_by_name_and_split_by_its_file(own, course_data, monkeypatch):
    folder = course_data / "flat"
    folder.mkdir()
    names = [f"{label}_{number}.png" for label in ("Maine_Coon", "pug") for number in range(4)]
    for name, file in zip(names, sorted(own.rglob("*.png")), strict=False):
        (folder / name).write_bytes(file.read_bytes())
    write_split(Split(tuple(names[::2]), tuple(names[1::4]), tuple(names[3::4])), folder / "split.json", how="by hand")
    monkeypatch.setenv("COURSE_DATA_SET", "flat")
    data = course.course_data(32)
    assert data.classes == ("Maine_Coon", "pug")
    assert [item.label for item in data.items_of("test")] == ["Maine_Coon", "pug"]
    opened = open_envelope(data)
    assert [item.name for item in opened.items_of("valid")] == ["Maine_Coon_3.png", "pug_3.png"]
    assert opened.split.train == data.split.train


def test_without_a_test_part_there_is_no_envelope(own, course_data, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA_SET", "own")
    data = course.course_data(32)
    assert open_envelope(data) is data
    assert "no envelope" in capsys.readouterr().out and not (course_data / "envelope-own.json").exists()


def test_the_class_that_is_looked_for(own, monkeypatch):
    """Catches a class that is looked for only because it comes first, and a typing error that goes unnoticed."""
    assert chosen.positive_of(("defective", "functional")) == "defective"
    assert chosen.positive_of(("a", "b", "c")) is None
    assert chosen.positive_of(("a", "b"), "b") == "b" and chosen.positive_of(("a", "b"), None) is None
    for file in sorted((own / "light").iterdir())[:5]:
        file.unlink()
    monkeypatch.setenv("COURSE_DATA_SET", "own")
    assert chosen.positive_of(("dark", "light")) == "light"
    monkeypatch.setenv("COURSE_POSITIVE", "dark")
    assert chosen.positive_of(("dark", "light")) == "dark"
    monkeypatch.setenv("COURSE_POSITIVE", "drak")
    with pytest.raises(ValueError, match="COURSE_POSITIVE=drak is not a class here; did you mean 'dark'"):
        chosen.positive_of(("dark", "light"))


def test_another_set_is_changed_as_it_is_named(own, monkeypatch):
    """Catches digits that are mirrored, and dogs on the ceiling, because a solar cell has no up."""
    assert course.course_augment() == course.COURSE_AUGMENT
    monkeypatch.setenv("COURSE_DATA_SET", "own")
    assert course.course_data(32).augment == side_on()
    monkeypatch.setenv("COURSE_AUGMENT", "basic")
    assert course.course_data(32).augment == basic()
    monkeypatch.setenv("COURSE_AUGMENT", "topdown")
    with pytest.raises(ValueError, match="COURSE_AUGMENT=topdown is no set of changes; did you mean 'top_down'"):
        course.course_data(32)


def test_what_knows_solar_cells_only_says_so(own, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_SET", "own")
    with pytest.raises(RuntimeError, match="doubts_of knows the solar cells only, and the course is about own"):
        doubts_of([])


def test_one_class_against_the_rest_keeps_its_probability():
    """Catches the rest's probability taken from its largest class, and labels that stay numbers of the old classes."""
    preds = honest_preds(60, 4)
    two = against_the_rest(preds, "class 2")
    assert two.classes == ("class 2", OTHERS)
    assert two.probs[:, 0].tolist() == pytest.approx(preds.probs[:, 2].tolist())
    assert two.probs.sum(dim=1).tolist() == pytest.approx([1] * 60, abs=1e-5)
    assert (two.targets == 0).tolist() == (preds.targets == 2).tolist()
    assert against_the_rest(two, "class 2") is two
    with pytest.raises(ValueError, match="'class 9' is not a class"):
        against_the_rest(preds, "class 9")
