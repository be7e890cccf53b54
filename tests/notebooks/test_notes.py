"""NOTES.md: every line of the documents is dealt with, every reference leads somewhere, every line of ours runs."""

import re
from functools import partialmethod

import pytest
from PIL import Image
from torch import nn

import data_setup
from helpers.data.augment import side_on
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.models.classifier import Body, Classifier, Normalize, make_head
from tests.conftest import draw_pictures
from tools import notes

DOCUMENTS, LESSONS = notes.read_documents(), notes.read_lessons()
LINES = list(notes.all_lines(DOCUMENTS))
SECTIONS = {f"{section.lines[0].document}: {section.heading}": section for d in DOCUMENTS for section in d.sections}
OURS = {"data", "interp", "learn", "ImageData"}  # who answers when a line of the notes is typed


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Names of downloads -> small folders that stand for them."""
    folder = tmp_path_factory.mktemp("notes")
    pets = folder / "pets"
    pets.mkdir()
    for name in ("german_shorthaired", "Bengal"):
        for number in range(6):
            Image.new("RGB", (24, 20), (40 * number, 90, 90)).save(pets / f"{name}_{number}.jpg")
    return {"solar": draw_pictures(folder / "solar", n=8), "pets": pets}


@pytest.fixture(scope="module")
def small_data(photographs):
    return ImageData.from_folders(photographs["solar"], size=32, batch_size=16, augment=side_on())


def small_network(arch, n_classes, *, dropout=0.5, **_):
    """Three convolutions with BatchNorm in place of an architecture that comes with the installation."""
    assert arch in ("efficientnet_lite0", "efficientnet_lite2")
    widths = (3, 4, 4, 8)
    stages = [
        nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU())
        for before, after in zip(widths, widths[1:], strict=False)
    ]
    normalize, head = Normalize([0.5] * 3, [0.5] * 3), make_head(16, n_classes, dropout=dropout)
    return Classifier(normalize, Body(*stages), head, maps=True)


@pytest.fixture
def names(photographs, small_data, course_data, monkeypatch):
    """What the page promises each section: its imports, and its start with smaller pictures and a small network."""
    monkeypatch.setattr(data_setup, "prepare", photographs.__getitem__)
    monkeypatch.setattr("helpers.learner.build_classifier", small_network)
    monkeypatch.setattr(Learner, "lr_find", partialmethod(Learner.lr_find, steps=12))
    names = {"data": small_data, "path": photographs["solar"]}
    exec(notes.IMPORTS + notes.START.partition("augment=side_on())\n")[2], names)
    assert {"learn", "preds", "interp", "lrs"} <= set(names)
    return names


def with_code(attribute):
    return [name for name, section in SECTIONS.items() if any(getattr(line, attribute) for line in section.lines)]


@pytest.mark.parametrize("section", with_code("ours"))
def test_every_line_of_ours_runs(section, names, capsys):
    """Catches a verb that was renamed, a keyword that is gone, and lines that do not run one after the other."""
    ran = []
    for line in SECTIONS[section].lines:
        try:
            ours = line.ours.replace("size=128", "size=32").replace("resized(160)", "resized(48)")
            exec(compile(ours, line.name, "exec"), names)
        except Exception as error:
            error.add_note(f"{line.name}: {line.ours}")
            raise
        ran += [line.name] if ours else []
    assert ran == [line.name for line in SECTIONS[section].lines if line.ours] != []


@pytest.mark.parametrize("section", with_code("answer"))
def test_a_line_of_the_notes_is_answered_with_the_line_that_does_it_here(section, names):
    for line in SECTIONS[section].lines:
        if line.answer:
            with pytest.raises((AttributeError, TypeError, ValueError), match=re.escape(line.answer)):
                exec(line.theirs, dict.fromkeys(("x", "y", "minimum", "steep", "valley", "slide")) | names)
    assert names["learn"].history.epochs == ()


def test_a_line_of_the_notes_about_our_objects_runs_as_it_is_or_has_an_answer():
    """Catches a line of the notes that nobody has typed."""
    about_ours = [line for line in LINES if set(re.findall(r"^(?:\w+ = )?(\w+)\.", line.theirs)) & OURS]
    assert len(about_ours) > 20
    untried = [line.name for line in about_ours if not line.answer and line.theirs not in line.ours]
    assert untried == []


def test_all_lines_are_there_and_each_is_taught_corrected_or_dated():
    """The documents have 291 lines that say something; reading the file refuses one without how, where or says."""
    assert len(LINES) == 291
    counts = {how: sum(line.how == how for line in LINES) for how in notes.SAID}
    assert counts["here"] < 8, "lines that no lesson shows"
    assert [line.name for line in LINES if line.how != "taught" and len(line.says) < 20] == []


def test_every_reference_leads_to_a_cell():
    assert notes.missing_references(DOCUMENTS, LESSONS) == []


def test_a_reference_that_is_gone_is_named():
    """Catches a search that finds everything."""
    line = notes.Line(
        "doc", "v1", "7", "x", "taught", where=("02: curve = learn.lr_find()", "02: no such words", "99: x")
    )
    document = notes.Document("Doc", "v1", "", (notes.Section("S", (line,)),))
    assert notes.missing_references((document,), LESSONS) == [
        "doc, line 7: no cell of lesson 02 has 'no such words' any more; "
        "change it in notebooks/notes.toml, then make notes",
        "doc, line 7: there is no lesson '99'",
    ]


def test_a_line_that_does_not_say_how_it_is_dealt_with_is_refused(tmp_path):
    head = '[[document]]\nkey = "d"\ntitle = "D"\ngeneration = "v1"\nabout = ""\n[[document.section]]\nheading = "S"\n'
    line = '[[document.section.line]]\nat = "1"\nnotes = "n"\n'
    for how, sentence in (("skipped", "how is one of"), ("taught", "needs 'where'"), ("corrected", "needs 'says'")):
        (tmp_path / "notes.toml").write_text(f'{head}{line}how = "{how}"\n')
        with pytest.raises(ValueError, match=sentence):
            notes.read_documents(tmp_path / "notes.toml")


def test_the_page_is_made_of_the_data():
    assert notes.main(["--check"]) == 0, "make notes"
