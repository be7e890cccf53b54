"""The file of marks: any name comes back, foreign files are refused, two writers lose nothing."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_setup.items import Item
from helpers.review.mark_file import KINDS, Mark, default_file, read_marks, write_marks
from helpers.review.session import Review
from tests.review.made import CLASSES, make_rows


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("name;label\na;b\n", "is not a file of marks: it should start with name,old_label,mark,new_label"),
        ("", "is not a file of marks"),
        ("name,old_label,mark,new_label\na,cat,removed,\n", "entry 1: ['a', 'cat', 'removed', ''] is not a mark"),
        ("name,old_label,mark,new_label\na,cat,relabel,\n", "entry 1"),
        ("name,old_label,mark,new_label\na,cat,right,\na,cat\n", "entry 2"),
        ('name,old_label,mark,new_label\n"a,cat,right,\n', "cannot be read as a table"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_never_written_over(tmp_path, content, sentence):
    file = tmp_path / "marks.csv"
    file.write_text(content)
    with pytest.raises(ValueError) as caught:
        Review(make_rows(), CLASSES, save_to=file)
    assert sentence in str(caught.value) and str(file) in str(caught.value)
    file.unlink()
    review = Review(make_rows(), CLASSES, save_to=file)
    file.write_text(content)
    review.mark("train/000.png", "unsure")
    assert "NOT saved" in review.file.problem
    assert file.read_text() == content


def items_in(folder, names):
    return [Item(name, folder / name, None) for name in names]


def test_each_data_set_has_a_file_of_its_own(tmp_path, monkeypatch):
    """The same for the whole set and a part of it, another one for another folder of the same name."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "home"))
    solar = items_in(tmp_path / "home/solar", ["train/a/1.png", "train/b/2.png", "test/a/3.png"])
    assert default_file(solar) == default_file(solar[:1]) == tmp_path / "home/reviews/solar.csv"
    files = {default_file(items_in(tmp_path / where / "photos", ["1.png"])) for where in ("one", "two")}
    assert len(files) == 2 and all(file.parent == tmp_path / "home/reviews" for file in files)
    assert all(file.name.startswith("photos-") for file in files)


def test_a_file_without_notes_is_read(tmp_path):
    file = tmp_path / "marks.csv"
    file.write_text("name,old_label,mark,new_label\na.png,cat,relabel,dog\n")
    assert read_marks(file) == {"a.png": Mark("relabel", "cat", "dog")}


def test_a_spreadsheet_may_have_saved_the_file(tmp_path):
    file = tmp_path / "marks.csv"
    file.write_bytes(b"\xef\xbb\xbfname,old_label,mark,new_label\r\na.png,cat,unsure,\r\n")
    assert read_marks(file) == {"a.png": Mark("unsure", "cat")}


names = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    ["a\rb", "a\nb", 'a"b', "a,b", "'", "=1+1", "\ufeff", "a\udcffb", " ", "<img src=x onerror=alert(1)>"]
)
labels = st.none() | names


@settings(deadline=None)
@given(st.dictionaries(names, st.tuples(st.sampled_from(KINDS), labels, names, st.just("") | names)))
def test_any_name_and_label_comes_back_from_the_file(entries):
    marks = {name: Mark(k, old, new if k == "relabel" else None, note) for name, (k, old, new, note) in entries.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_marks(Path(folder, "marks.csv"), marks)
        assert read_marks(Path(folder, "marks.csv")) == marks
