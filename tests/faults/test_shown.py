"""Rows 16 and 61: names that would like to be HTML, and marks that must not be lost."""

import html
import os
import re

import ipywidgets as widgets
import pytest

from data_setup.base.html import fill
from data_setup.base.text import printable
from helpers.lessons.quiz import Quiz
from helpers.review.browsers import LabelBrowser, MistakeBrowser
from helpers.review.mark_file import read_marks
from helpers.review.rows import Row
from helpers.review.session import Review
from tests.faults.test_folders import NAMES
from tests.review.made import check_page, make_items, make_predictions, walk
from tests.review.test_browsers import check_widgets

HANDLERS = ("onerror", "onload", "onclick", "onmouseover", "onfocus", "onanimationstart", "ontoggle", "onbegin")
TAGS = ("img src=x", "svg", "body", "video src=x", "input autofocus", "details open", "marquee", "object data=x")
PAYLOADS = [
    *(f"<{tag} {handler}=alert(1)>" for tag, handler in zip(TAGS, HANDLERS, strict=True)),
    *(f"{close}<script>alert(1)</script>" for close in ("", '"', "'", ">", '">', "-->", "]]>", "</style>", "</title>")),
    *(
        f"<{tag}>"
        for tag in ("script", "style", "iframe", "base href=//x", "meta http-equiv=refresh", "form", "template")
    ),
    *(f'" {handler}="alert(1)' for handler in HANDLERS[:4]),
    *(f"' {handler}='alert(1)" for handler in HANDLERS[:4]),
    *("javascript:alert(1)", "data:text/html,<script>", "vbscript:x", "&lt;script&gt;", "&#60;script&#62;", "&"),
    *("<<b>", "<b", "b>", "<!--", "<![CDATA[", "{alt}", "{{7*7}}", "{% x %}", "%3Cscript%3E", "\\u003cscript\\u003e"),
    *("<ｓcript>", "<scr\x00ipt>", "<img\nsrc=x>"),
]


@pytest.mark.fault(16)
def test_there_are_fifty_hostile_strings(case):
    """Catches a list that shrank."""
    with case.right():
        assert len(set(PAYLOADS)) >= 50


@pytest.mark.fault(16)
@pytest.mark.parametrize("kind", ["labels", "mistakes"])
def test_fifty_hostile_names_get_nowhere_in_the_browsers(case, tmp_path, course_data, monkeypatch, kind):
    """Catches one trait of one widget that is sent to the page as it came."""
    monkeypatch.chdir(tmp_path)
    classes = tuple(sorted(set(PAYLOADS)))
    items = make_items(tmp_path / "made", [f"{name}/{name}.png" for name in classes], classes)
    case.watch(tmp_path / "made")
    with case.right():
        if kind == "labels":
            root = LabelBrowser(items, save_to=tmp_path / "marks.csv")
        else:
            root = MistakeBrowser(make_predictions(items, classes), save_to=tmp_path / "marks.csv")
        seen = ""
        for _ in range(-(-len(items) // root.review.page_size)):
            for button in (root.view_buttons["Zoom"], root.buttons["unsure"]):
                button.click()
            check_widgets(root)
            page = root.face()[1]
            check_page(page)
            seen += html.unescape(re.sub(r"<[^>]*>", "", page))
            root.buttons["next"].click()
        assert "alert(1)" in seen
        root.buttons["export"].click()
        check_widgets(root)


@pytest.mark.fault(16)
def test_fifty_hostile_strings_stay_text_in_every_template(case):
    """Catches a filler that trusts some of them."""
    with case.right():
        for payload in PAYLOADS:
            filled = fill('<p title="{a}">{b}</p>', a=payload, b=payload)
            check_page(filled.replace('<p title="', '<p alt="'))
            assert html.unescape(filled) == f'<p title="{printable(payload)}">{printable(payload)}</p>'


@pytest.mark.fault(15, 16)
def test_names_in_other_scripts_are_shown_as_they_are(case, tmp_path, course_data, monkeypatch):
    """Catches a name that reorders its neighbours, and one that vanishes."""
    monkeypatch.chdir(tmp_path)
    items = make_items(tmp_path / "made", [f"{name}.png" for name in NAMES], NAMES)
    with case.right():
        root = LabelBrowser(items, save_to=tmp_path / "marks.csv", page_size=len(NAMES))
        page = root.face()[1]
        check_page(page)
        shown = html.unescape(page)
        for name in ("Bildschirmfoto 8\u202fPM", "مرحبا עולם", "👩\u200d🔬"):
            assert name in shown
        assert not set("\u202e\u2066\ud800\x00") & set(shown)
        root.buttons["remove"].click()
        assert set(read_marks(tmp_path / "marks.csv")) <= {f"{name}.png" for name in NAMES}


@pytest.mark.fault(16)
def test_a_quiz_shows_what_its_file_says_as_text(case):
    """Catches raw HTML from a file of questions."""
    with case.right():
        root = Quiz("00")
        raw = [w for w in walk(root) if isinstance(w, widgets.HTML) and not hasattr(type(w), "value")]
        assert raw == []


@pytest.mark.fault(61)
@pytest.mark.parametrize("fails_at", range(5))
def test_a_mark_that_cannot_be_written_is_written_with_the_next(case, tmp_path, monkeypatch, fails_at):
    """Catches the one mark that was made while the disk was full."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rows = []
    for number in range(6):
        (pictures / f"{number}.png").write_bytes(bytes([number]))
        rows.append(Row(f"{number}.png", pictures / f"{number}.png", "ab"[number % 2], "train"))
    case.watch(pictures)
    fsync, calls = os.fsync, [0]

    def failing(descriptor):
        calls[0] += 1
        if calls[0] - 1 == fails_at:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with case.right():
        review = Review(rows, ("a", "b"), save_to=tmp_path / "marks.csv")
        for number, row in enumerate(rows):
            review.mark(row.name, "unsure")
            assert ("NOT saved" in review.file.problem) == (number == fails_at)
        assert set(read_marks(tmp_path / "marks.csv")) == {row.name for row in rows}
