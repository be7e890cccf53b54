"""The browsers and laboratories without a kernel: every control is clicked, and what it shows is read back."""

import ast
import html
import os
import re
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import pytest
import torch
from PIL import Image

from data_setup.base import html as safe_html
from data_setup.base.html import fill
from data_setup.base.pictures import read_image
from data_setup.base.text import printable
from data_setup.items import Item, label_by_folder
from helpers.analysis.predictions import Predictions
from helpers.lessons.audit import LabelError
from helpers.lessons.closer_look import heat_view, neighbours_view
from helpers.lessons.duplicates import Duplicate
from helpers.review.browsers import LabelBrowser, MistakeBrowser
from helpers.review.mark_file import Mark, read_marks, read_table, write_marks
from helpers.review.widgets import SafeText
from helpers.runtime.seeds import generator
from tests.review.made import (
    alts,
    check_page,
    click,
    controls_of,
    make_items,
    make_predictions,
    operate,
    press,
    seen,
    walk,
)  # fmt: skip

HOSTILE = ("<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "a & b", "it's", "{name}", "line\nbreak")
TEXT_TRAITS = {"description", "tooltip", "_options_labels"}  # set as text by ipywidgets, never as HTML
REPO = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, course_data):
    """Exported tables and marks go here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def items(tmp_path):
    return make_items(tmp_path / "made", [f"dark/{i:02}.png" for i in range(30)], ["dark", "light"] * 15)


@pytest.fixture
def preds(items):
    return make_predictions(items, ("dark", "light"))


@pytest.fixture
def browser(preds, tmp_path):
    return MistakeBrowser(preds, save_to=tmp_path / "marks.csv")


def shown(browser):
    return [row.name for row in browser.review.page_rows()]


# --- looking ----------------------------------------------------------------------------------------------


def test_the_worst_come_first_and_the_page_turns(browser, preds):
    worst = [preds.items[i].name for i in preds.losses.argsort(descending=True)]
    assert shown(browser) == worst[:12]
    browser.buttons["next"].click()
    assert shown(browser) == worst[12:24] and browser.page_box.value == 2
    browser.buttons["next"].click()
    browser.buttons["next"].click()  # there is no fourth page
    assert shown(browser) == worst[24:] and len(browser.grid.children) == 6
    browser.buttons["previous"].click()
    browser.page_box.value = 1
    assert shown(browser) == worst[:12] and len(browser.grid.children) == 12
    assert browser.page_count.value.startswith("of 3")


def test_every_filter_and_sort_reaches_the_review(browser, preds):
    browser.filters["sort"].value = "margin"
    top2 = preds.probs.topk(2).values
    assert shown(browser)[0] == preds.items[int((top2[:, 0] - top2[:, 1]).argmin())].name
    browser.filters["reverse"].value = True
    assert shown(browser)[0] == preds.items[int((top2[:, 0] - top2[:, 1]).argmax())].name
    browser.filters["label"].value = "dark"
    browser.filters["predicted"].value = "light"
    assert {(row.label, row.predicted) for row in browser.review.page_rows()} == {("dark", "light")}
    browser.filters["correct"].value = True
    assert shown(browser) == [] and "Selected: none" in browser.status.value
    for name in ("label", "predicted", "correct"):
        browser.filters[name].value = None
    browser.filters["sure"].value = (0.5, 0.7)
    assert 0 < len(browser.review.order) < 30
    assert all(0.5 <= browser.review.view[n].probability <= 0.7 for n in browser.review.order)
    browser.filters["sure"].value = (0, 1)
    browser.filters["text"].value = "/07"
    assert shown(browser) == ["dark/07.png"]
    browser.filters["text"].value = ""
    browser.names[3].click()
    browser.buttons["unsure"].click()
    browser.filters["mark"].value = "any"
    assert len(browser.review.order) == 1
    browser.filters["mark"].value = "none"
    assert len(browser.review.order) == 29


def test_a_filter_that_leaves_fewer_pages_shows_the_first_of_them(browser):
    browser.page_box.value = 3
    browser.filters["label"].value = "dark"
    assert (browser.review.page, browser.page_box.value, browser.page_box.max) == (0, 1, 2)
    browser.page_box.value = 2
    browser.filters["label"].value = None
    assert (browser.review.page, browser.page_box.value, browser.page_box.max) == (0, 1, 3)


def test_controls_without_a_use_are_left_out(items, preds, tmp_path):
    plain = LabelBrowser(items, save_to=None)
    assert set(plain.filters) == {"sort", "reverse", "label", "mark", "text"}
    unlabelled = Predictions(
        tuple(Item(i.name, i.path, None) for i in items), preds.log_probs, torch.full((30,), -1), preds.classes, "test"
    )
    browser = MistakeBrowser([preds, unlabelled], save_to=None)
    assert "part" in browser.filters and len(browser.review.view) == 60
    browser.filters["part"].value = "test"
    assert {row.part for row in browser.review.page_rows()} == {"test"}
    alone = MistakeBrowser(unlabelled, save_to=None)
    assert "label" not in alone.filters and alone.filters["sort"].value == "margin"
    assert "loss" not in [value for _, value in alone.filters["sort"].options]


def test_a_click_on_a_name_selects_and_the_closer_look_follows(browser, preds):
    browser.view_buttons["Zoom"].click()
    for place in (4, 0):
        browser.names[place].click()
        row = browser.review.page_rows()[place]
        assert browser.current == row and browser.names[place].description.startswith("▶")
        assert f"Selected: {row.name}" in browser.status.value
        assert f"<td>&emsp;{row.loss:.3f}</td>" in browser.panel.value
        assert alts(browser.panel.value) == [alts(browser.pictures[place].value)[0]]
    assert browser.panel.layout.display is None
    browser.close_view.click()
    assert browser.panel.layout.display == "none"
    assert browser.panel.value == ""


def test_selected_pictures_stand_side_by_side(browser):
    browser.view_buttons["Compare"].click()
    names = shown(browser)
    assert [alt.split(":")[0] for alt in alts(browser.panel.value)] == names[:2]  # alone: with the next
    click(browser, 3, "toggle")
    click(browser, 2, "toggle")
    assert [alt.split(":")[0] for alt in alts(browser.panel.value)] == [names[0], names[2], names[3]]


def test_alternative_texts_say_everything_that_is_seen(browser):
    browser.buttons["remove"].click()
    row = browser.review.page_rows()[0]
    text = f"{row.name}: labelled {row.label}, predicted {row.predicted} {row.probability:.2f}, wrong"
    assert alts(browser.pictures[0].value) == [f"{text}; marked: to be removed"]
    assert "✗\N{NO-BREAK SPACE}wrong" in browser.pictures[0].value and "✕ to be removed" in browser.pictures[0].value


def test_a_picture_that_is_gone_or_broken_says_so(items, tmp_path):
    items[0].path.unlink()
    items[1].path.write_bytes(b"no picture")
    browser = LabelBrowser(items, save_to=None)
    assert "is missing" in browser.pictures[0].value
    assert "is not a readable picture" in browser.pictures[1].value
    assert 'aria-label="dark/01.png: labelled light"' in browser.pictures[1].value
    assert "<img" in browser.pictures[2].value


def test_neighbours_and_heat_maps_come_from_the_learner(data, learn, tmp_path):
    preds = learn.get_preds("valid")
    features = torch.randn(len(data.items), 8, generator=generator("features"))
    views = {"Heat map": heat_view(learn), "Neighbours": neighbours_view(data, features)}
    browser = MistakeBrowser(preds, learn, views=views, save_to=None)
    assert list(browser.view_buttons) == ["Zoom", "Compare", "Heat map", "Neighbours"]
    browser.view_buttons["Heat map"].click()
    assert len(alts(browser.panel.value)) == 1
    assert alts(browser.panel.value)[0].startswith("A picture and which places counted for the answer")
    browser.view_buttons["Neighbours"].click()
    own, *near = (alt.split(":")[0] for alt in alts(browser.panel.value))
    assert own == browser.current.name and len(near) == 4
    assert set(near) <= {item.name for item in data.items_of("train")}
    query = torch.nn.functional.normalize(features, dim=1) @ torch.nn.functional.normalize(
        features[data.index_of(own)], dim=0
    )
    best = max(data.indices_of("train").tolist(), key=lambda index: query[index])
    assert near[0] == data.items[best].name
    with pytest.raises(ValueError, match="got 3 rows of features for 24 items"):
        neighbours_view(data, features[:3])


def test_a_closer_look_that_fails_says_why(learn):
    browser = MistakeBrowser(learn.get_preds("valid"), learn, views={"Heat map": heat_view(learn)}, save_to=None)
    del learn.model.normalize
    browser.view_buttons["Heat map"].click()
    assert "a heat map needs a Classifier" in browser.panel.value


def test_only_the_pictures_of_the_current_page_are_made(items, monkeypatch):
    """Catches a browser that opens every file at its start, and one that makes a page's pictures again."""
    opened = []
    monkeypatch.setattr(safe_html, "read_image", lambda path, **how: opened.append(path) or read_image(path, **how))
    safe_html._thumbnail.cache_clear()
    browser = LabelBrowser(items, save_to=None, page_size=5)
    assert opened == [item.path for item in items[:5]]
    browser.buttons["next"].click()
    assert opened == [item.path for item in items[:10]]
    browser.buttons["previous"].click()
    browser.buttons["unsure"].click()
    assert len(opened) == 10


def sent(browser):
    """How many characters stand in the widgets' state: what the page holds, and a saved notebook would."""
    return sum(len(repr(widget.get_state())) for widget in walk(browser))


def test_the_page_holds_as_much_of_25_000_pictures_as_of_250(tmp_path):
    real = make_items(tmp_path / "made", [f"{i}.png" for i in range(12)], ["dark", "light"] * 6)
    sizes = []
    for n in (250, 25_000):
        items = [Item(f"{i:05}.png", real[i % 12].path, ("dark", "light")[i % 2]) for i in range(n)]
        browser = LabelBrowser(items, save_to=None)
        assert len([w for w in walk(browser.grid) if isinstance(w, SafeText)]) == 12
        sizes.append(sent(browser))
    assert abs(sizes[1] - sizes[0]) < 200  # the numbers have more digits


# --- marking ----------------------------------------------------------------------------------------------


def test_every_mark_button_marks_the_selected_picture_and_undo_jumps_back_to_it(browser, tmp_path):
    names, labels = shown(browser), [row.label for row in browser.review.page_rows()]
    clicks = [*browser.label_buttons, *(browser.buttons[kind] for kind in ("right", "unsure", "remove"))]
    for place, control in enumerate(clicks):
        assert browser.cursor == place  # each mark goes on to the next picture
        control.click()
    other = Mark("relabel", "dark", "light")
    expected = [
        Mark("right", "dark") if labels[0] == "dark" else Mark("relabel", "light", "dark"),
        other if labels[1] == "dark" else Mark("right", "light"),
        Mark("right", labels[2]),
        Mark("unsure", labels[3]),
        Mark("remove", labels[4]),
    ]
    assert browser.review.marks == dict(zip(names, expected, strict=False)) == read_marks(tmp_path / "marks.csv")
    browser.names[4].click()
    browser.buttons["clear"].click()
    assert names[4] not in browser.review.marks
    browser.buttons["next"].click()
    browser.buttons["undo"].click()
    assert browser.review.marks[names[4]] == expected[4] and f"Undone: {names[4]}" in browser.status.value
    assert (browser.review.page, browser.cursor) == (0, 4)
    for _ in range(9):
        browser.buttons["undo"].click()
    assert browser.review.marks == {} == read_marks(tmp_path / "marks.csv")
    browser.buttons["redo"].click()
    assert list(browser.review.marks) == [names[0]]


def test_advancing_after_a_mark_turns_the_page_and_can_be_switched_off(browser):
    browser.names[11].click()
    browser.buttons["unsure"].click()
    assert (browser.review.page, browser.cursor) == (1, 0)
    browser.advance.value = False
    browser.buttons["unsure"].click()
    assert (browser.review.page, browser.cursor) == (1, 0) and len(browser.review.marks) == 2


def test_several_pictures_are_selected_by_click_keys_or_button_and_marked_at_once(browser):
    names = shown(browser)
    click(browser, 4)
    click(browser, 6, "range")
    click(browser, 5, "toggle")
    click(browser, 0, "toggle")
    assert browser.selected == {0, 4, 6}
    assert "Selected: 3 pictures" in browser.status.value
    browser.buttons["remove"].click()
    assert set(browser.review.marks) == {names[0], names[4], names[6]} and browser.selected == {7}
    browser.buttons["undo"].click()
    assert browser.review.marks == {}
    press(browser, "ArrowRight", shift=True)
    press(browser, "ArrowDown", shift=True)
    assert browser.selected == {0, 1, 2, 3, 4, 5}
    browser.buttons["all"].click()
    press(browser, "2")
    assert set(browser.review.marks) == set(names)


def test_this_page_is_correct_leaves_marks_alone_and_turns_the_page(browser):
    names = shown(browser)
    browser.names[3].click()
    browser.buttons["remove"].click()
    browser.buttons["page"].click()
    kinds = {name: mark.kind for name, mark in browser.review.marks.items()}
    assert kinds == {name: "remove" if name == names[3] else "right" for name in names}
    assert browser.review.page == 1 and "11 pictures marked as correct" in browser.status.value
    browser.buttons["undo"].click()
    assert list(browser.review.marks) == [names[3]] and browser.review.page == 0


def test_a_note_is_written_beside_the_mark_and_follows_the_selection(browser, tmp_path):
    first, second = shown(browser)[:2]
    browser.note.value = "ask Ada"
    assert browser.review.marks == {first: Mark("note", browser.current.label, note="ask Ada")}
    browser.buttons["unsure"].click()
    assert read_marks(tmp_path / "marks.csv")[first].note == "ask Ada"
    assert browser.current.name == second and browser.note.value == ""
    browser.names[0].click()
    assert browser.note.value == "ask Ada" and len(browser.review.marks) == 1
    assert "? unsure: ask Ada" in browser.pictures[0].value


def test_undo_says_what_somebody_else_has_changed(browser, preds, tmp_path):
    name = shown(browser)[0]
    browser.buttons["unsure"].click()
    MistakeBrowser(preds, save_to=tmp_path / "marks.csv").review.mark(name, "remove")
    browser.buttons["undo"].click()
    assert "1 mark left as it is: changed by somebody else since" in browser.status.value
    assert read_marks(tmp_path / "marks.csv")[name].kind == "remove"


def test_undo_of_a_hidden_picture_says_so(browser):
    browser.buttons["unsure"].click()
    browser.filters["mark"].value = "none"
    browser.buttons["undo"].click()
    assert "The filter hides it." in browser.status.value


def test_a_stale_mark_says_so_on_the_picture(items, tmp_path):
    write_marks(tmp_path / "marks.csv", {items[0].name: Mark("relabel", "cow", "light")})
    browser = LabelBrowser(items, save_to=tmp_path / "marks.csv")
    assert "new label light (made against an older label: cow)" in browser.pictures[0].value


def test_label_error_candidates_of_the_training_part_open_beside_predictions_of_another(data, learn):
    errors = [LabelError(item, item.label, "light", 0.1, 0) for item in data.items_of("train")[:2]]
    for browser in (
        MistakeBrowser(learn.get_preds("valid"), learn, found=errors, save_to=None),
        LabelBrowser(learn, found=errors, save_to=None),
    ):
        assert shown(browser) == [error.item.name for error in errors]
        assert {row.part for row in browser.review.page_rows()} == {"train"}


def test_export_is_about_the_whole_data_set_and_leaves_held_out_labels(data, learn):
    browser = MistakeBrowser(learn.get_preds("valid"), learn, save_to=None)
    browser.buttons["remove"].click()
    browser.buttons["export"].click()
    assert "held-out pictures change only with held_out=True" in html.unescape(browser.status.value)
    (table,) = Path.cwd().glob("labels_after_review_of_*.csv")
    assert len(read_table(table)) == 1 + len(data.items)


def test_marks_are_kept_in_one_file_for_each_data_set(data, learn, tmp_path):
    first = LabelBrowser(data)
    first.buttons["unsure"].click()
    assert list(MistakeBrowser(learn.get_preds("train"), learn).review.marks) == list(first.review.marks)
    others = make_items(tmp_path / "others", ["a.png"], ["dark"])
    other = LabelBrowser(others)
    assert other.review.marks == {}
    first.buttons["export"].click()
    other.buttons["export"].click()
    assert len(list(Path.cwd().glob("labels_after_review_of_*.csv"))) == 2
    (tmp_path / "link").symlink_to(data.items[0].path.parents[1])
    for folder in (os.path.relpath(data.items[0].path.parents[1]), tmp_path / "link"):  # the same, written otherwise
        assert LabelBrowser(label_by_folder(folder)).review.marks == first.review.marks
    assert len(list((tmp_path / "data/reviews").glob("*.csv"))) == 1


def relabelled(learn):
    """Predictions made before the first picture got another label, and some about classes of other names."""
    preds, first = learn.get_preds("valid"), learn.data.items_of("valid")[0]
    other = next(label for label in learn.data.classes if label != first.label)
    items = [replace(item, label=other) if item == first else item for item in learn.data.items]
    learn.set_data(learn.data.with_items(items))
    return preds, replace(preds, classes=("cat", "dog"))


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda preds, learn: MistakeBrowser(learn, preds), TypeError, "expected Predictions first, .* got Learner"),
        (lambda preds, learn: MistakeBrowser(preds, "x"), TypeError, "expected a Learner or its ImageData .* got str"),
        (lambda preds, learn: MistakeBrowser([]), TypeError, "expected Predictions first"),
        (lambda preds, learn: MistakeBrowser(preds, learn), ValueError, "not in this data .* predict again"),
        (lambda preds, learn: MistakeBrowser(relabelled(learn)), ValueError, "different classes"),
        (lambda preds, learn: MistakeBrowser(relabelled(learn)[0], learn), ValueError, "have another label in it"),
        (lambda preds, learn: MistakeBrowser(preds, page_sise=3), TypeError, "did you mean 'page_size'"),
        (lambda preds, learn: LabelBrowser(preds), TypeError, "got Predictions"),
        (lambda preds, learn: LabelBrowser("pictures"), TypeError, r"ImageData.from_folders\(folder\)"),
    ],
)
def test_wrong_arguments_say_what_came_and_what_fits(make, error, sentence, preds, learn):
    with pytest.raises(error, match=sentence):
        make(preds, learn)


def test_marks_are_found_again_after_a_restart_and_in_another_browser(browser, preds, items, tmp_path):
    browser.buttons["remove"].click()
    name = shown(browser)[0]
    for again in (
        MistakeBrowser(preds, save_to=tmp_path / "marks.csv"),
        LabelBrowser(items, save_to=tmp_path / "marks.csv"),
    ):
        again.filters["mark"].value = "any"
        assert shown(again) == [name] and "to be removed" in again.pictures[0].value
        assert [item.name for item in again.review.apply(items, held_out=True)] == [
            item.name for item in items if item.name != name
        ]


def test_marks_that_cannot_be_saved_say_so_on_the_page(preds, tmp_path):
    (tmp_path / "file").write_text("")
    browser = MistakeBrowser(preds, save_to=tmp_path / "file" / "marks.csv")
    browser.buttons["unsure"].click()
    assert "NOT saved" in browser.status.value and len(browser.review.marks) == 1


def test_export_writes_into_this_folder_and_reports(browser, tmp_path):
    browser.buttons["export"].click()
    (table,) = tmp_path.glob("labels_after_review_of_*.csv")
    assert f"Written: {table}" in browser.status.value
    assert table.read_text().startswith('"name","label","old_label","mark","note","weight"\n')
    table.write_text("mine")
    browser.buttons["export"].click()
    assert "Not written" in browser.status.value and table.read_text() == "mine"


def test_many_classes_get_a_list_instead_of_buttons(tmp_path):
    labels = [f"class {n:02}" for n in range(12)]
    browser = LabelBrowser(make_items(tmp_path / "made", [f"{n}.png" for n in range(12)], labels), save_to=None)
    assert browser.label_buttons == () and len(browser.label_list[0].options) == 13
    name, (label_list,) = browser.current.name, browser.label_list
    label_list.value = "class 11"
    assert browser.review.marks[name].new_label == "class 11"
    assert label_list.value is None  # ready for the next picture


def test_duplicates_and_label_errors_open_in_the_same_browsers(items, preds, tmp_path):
    near = Duplicate(items[4], items[2], "near", 0.98, ("train", "valid"))
    exact = Duplicate(items[7], items[8], "exact", 1.0)
    errors = [LabelError(items[6], "dark", "light", 0.04, 6), LabelError(items[3], "light", "dark", 0.11, 3)]
    for found, places, caption in (
        ((near, exact), (4, 2, 7, 8), f"near duplicate of {items[2].name}, in train and valid"),
        (errors, (6, 3), "perhaps light; probability of its label 0.04"),
    ):
        for browser in (
            LabelBrowser(items, found=found, save_to=None),
            MistakeBrowser(preds, found=found, save_to=None),
        ):
            assert shown(browser) == [items[place].name for place in places]
            assert caption in html.unescape(browser.pictures[0].value) and caption in html.unescape(browser.face()[1])
    browser = LabelBrowser(items, found=[near, exact], save_to=tmp_path / "marks.csv")
    browser.view_buttons["Compare"].click()  # the two of a pair, side by side
    assert [alt.split(":")[0] for alt in alts(browser.panel.value)] == [items[4].name, items[2].name]
    browser.names[1].click()
    browser.buttons["remove"].click()
    assert browser.review.apply(items) == (*items[:2], *items[3:])


def test_ranked_lists_open_in_the_same_browser(items):
    browser = LabelBrowser(
        items, found=[(items[4].name, "like the next"), (items[2].name, "like the one before")], save_to=None
    )
    assert shown(browser) == [items[4].name, items[2].name]
    assert "<em>like the next</em>" in browser.pictures[0].value
    assert "like the next" in alts(browser.pictures[0].value)[0]
    browser.view_buttons["Compare"].click()
    assert len(alts(browser.panel.value)) == 2
    assert browser.review.classes == ("dark", "light")  # of all items, not only of those found


# --- keys -------------------------------------------------------------------------------------------------


def test_keys_select_turn_mark_and_undo(browser):
    press(browser, "ArrowRight")
    press(browser, "ArrowDown")
    assert browser.cursor == 5 == browser.keyboard.selected
    browser.advance.value = False
    press(browser, "2")
    press(browser, "ArrowUp")
    press(browser, "ArrowLeft")
    press(browser, "ArrowLeft")  # nothing is before the first
    assert browser.cursor == 0
    for key in "xsr0u":
        press(browser, key)
    assert {mark.kind for mark in browser.review.marks.values()} == {
        "right",
        browser.review.marks[shown(browser)[5]].kind,
    }
    press(browser, "PageDown")
    assert browser.review.page == 1 and browser.cursor == 0
    press(browser, "ArrowLeft")
    assert browser.review.page == 0 and browser.cursor == 11
    press(browser, "ArrowRight")
    assert browser.review.page == 1 and browser.cursor == 0
    press(browser, "PageUp")
    before = browser.review.marks
    for key in ("9", "q", "Enter"):
        press(browser, key)
    assert browser.review.marks == before and browser.review.page == 0
    click(browser, 7)
    assert browser.cursor == 7


@pytest.fixture
def roots(browser, data, learn, tmp_path):
    """One of each widget, with every control that it can have."""
    marks = tmp_path / "all.csv"
    many = make_items(tmp_path / "many", [f"{n:02}.png" for n in range(24)], [f"class {n % 12:02}" for n in range(24)])
    features = torch.randn(len(data.items), 8, generator=generator("features"))
    records = [learn.get_preds("train"), learn.get_preds("valid")]
    views = {"Neighbours": neighbours_view(data, features)}
    full = MistakeBrowser(records, learn, views=views, save_to=marks, page_size=4)
    labels = LabelBrowser(many, save_to=tmp_path / "labels.csv", page_size=4)
    return (
        browser,
        full,
        labels,
    )


def test_every_control_has_a_visible_name(roots):
    for root in roots:
        assert len(controls_of(root)) >= 4
        for control in controls_of(root):
            assert control.description.strip(), control
            assert control.tabbable is not False and not getattr(control, "disabled", False)


def prepare(root, kind, view, place):
    """Page 2 with a picture selected, marked and looked at, so that there is something to undo, clear and close."""
    if hasattr(root, "review"):
        root.page_box.value, root.advance.value = 2, False
        root.names[place].click()
        for mark in ("right", kind, "right"):
            root.buttons[mark].click()
        root.buttons["undo"].click()
        root.view_buttons[view].click()


def has_effect(root, control):
    before = control.get_state()
    for kind, view, place in (("unsure", "Zoom", 0), ("remove", "Compare", 1)):
        prepare(root, kind, view, place)
        page = seen(root)
        operate(control)
        changed = seen(root) != page
        control.set_state({name: before[name] for name in ("value", "index") if name in before})
        if changed:
            return True
    return False


def test_no_control_is_without_an_effect(roots):
    """Operates every control of every widget. Catches one that nobody listens to."""
    for root in roots:
        controls = [control for control in controls_of(root) if control is not root.advance]  # acts on the next mark
        assert [control.description for control in controls if not has_effect(root, control)] == []


# --- safety -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nasty", HOSTILE)
def test_hostile_names_and_labels_are_shown_and_never_obeyed(nasty, tmp_path):
    names = [f"{nasty}/{i}{nasty}.png" for i in range(6)]
    items = make_items(tmp_path / "made", names, [nasty, "other"] * 3)
    preds = make_predictions(items, tuple(sorted((nasty, "other"))), part=nasty)
    found = [(item.name, nasty) for item in items]
    roots = [
        MistakeBrowser(preds, save_to=tmp_path / "marks.csv"),
        LabelBrowser(items, found=found, save_to=tmp_path / "marks.csv"),
    ]
    for root in roots:
        for control in (
            *root.label_buttons,
            root.view_buttons["Zoom"],
            root.buttons["export"],
            root.buttons["undo"],
            root.buttons["all"],
        ):
            control.click()
            check_widgets(root)
        text, page = root.face()
        check_page(page)
        shown_text = html.unescape(re.sub(r"<[^>]*>", "", page))
        assert printable(nasty) in shown_text


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
@pytest.mark.parametrize("content", ["a picture", "no picture", "gone"])
def test_paths_are_escaped_wherever_they_are_shown(content, tmp_path):
    """Real folders and files of that name: as a class, in error messages, beside the marks and in the export."""
    nasty = HOSTILE[0]
    for label in (nasty, "other"):
        (tmp_path / "made" / label).mkdir(parents=True)
        Image.new("L", (30, 20), 90).save(tmp_path / "made" / label / f"{nasty}.png")
    items = label_by_folder(tmp_path / "made")
    assert [item.label for item in items] == [nasty, "other"]
    if content == "no picture":
        items[0].path.write_text("no picture")
    elif content == "gone":
        items[0].path.unlink()
    marks = tmp_path / nasty / "marks.csv"
    for root in (
        LabelBrowser(items, save_to=marks),
        MistakeBrowser(make_predictions(items, (nasty, "other")), save_to=marks),
    ):
        for name in ("Zoom", "Compare"):
            root.view_buttons[name].click()
            check_widgets(root)
        root.buttons["unsure"].click()
        root.buttons["export"].click()
        assert html.escape(str(Path.cwd())) in root.status.value  # where it was written
        if content == "gone":
            assert "is missing" in root.face()[1]
        check_widgets(root)
        check_page(root.face()[1])
    shutil.rmtree(marks.parent)
    marks.parent.write_text("a file where the folder should be")
    root.buttons["remove"].click()
    assert "NOT saved" in root.status.value and html.escape(nasty) in root.status.value
    check_widgets(root)


def check_widgets(root):
    """No trait of any widget holds a raw "<" that a browser would read as HTML."""
    for widget in walk(root):
        for trait, value in widget.get_state().items():  # all that is sent to the page
            if isinstance(widget, widgets.HTML) and trait == "value":
                check_page(value)
            elif "<" in repr(value) and trait != "_esm":
                assert trait in TEXT_TRAITS, (widget, trait)
        assert not getattr(widget, "description_allow_html", False)


def test_text_that_no_template_made_is_refused():
    text = SafeText()
    for value in ("plain", "<b>bold</b>"):
        with pytest.raises(TypeError, match="comes from data_setup.base.html.fill"):
            text.value = value
    text.value = fill("<b>{word}</b>", word="<i>")
    assert text.value == "<b>&lt;i&gt;</b>"


def test_html_comes_from_literal_templates_only():
    """In the source: templates are literals, `Html` is made in one module, and `HTML(...)` stands nowhere."""
    assert not re.search("safe|autoescape", (REPO / "helpers/review/pages.html").read_text(encoding="utf-8"))
    seen = 0
    paths = [path for package in ("data_setup", "helpers") for path in (REPO / package).rglob("*.py")]
    for path in sorted(paths):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id
            for line in tree.body
            if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
            for target in line.targets
        }
        assigned = [
            line for line in tree.body if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        ]
        filled = {line.targets[0].id: line.value for line in assigned}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name == "fill" and isinstance(node.func, ast.Name):
                template = node.args[0]
                literal = isinstance(template, ast.Constant) or getattr(template, "id", "") in constants
                assert literal, f"{path.name}:{node.lineno}"
                seen += 1
            if name == "Html":
                assert path.name == "html.py", f"{path.name}:{node.lineno}"
            if name in ("HTML", "HTMLMath") and path.parent.name == "helpers":
                argument = node.args[0] if node.args else None
                assert argument is None or getattr(argument.func, "id", "") == "fill", f"{path.name}:{node.lineno}"
            if name == "SafeText" and node.args:
                argument = node.args[0]
                made = filled.get(getattr(argument, "id", ""), argument)  # also a constant that `fill` made
                assert getattr(getattr(made, "func", None), "id", "") == "fill", f"{path.name}:{node.lineno}"
    assert seen > 15


# --- static face ------------------------------------------------------------------------------------------


def test_the_static_face_is_the_same_every_time_and_small(preds, items, tmp_path):
    faces = []
    for n in range(2):
        browser = MistakeBrowser(preds, save_to=tmp_path / f"{n}.csv")
        browser.buttons["unsure"].click()
        data, _ = browser._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in data
        faces.append((data["text/plain"], data["text/html"]))
        assert browser.model_id not in data["text/html"]
    assert faces[0] == faces[1]
    text, page = faces[0]
    assert text == repr(browser) and text.startswith(
        "MistakeBrowser: 30 predictions, by loss, highest first; page 1 of 3."
    )
    assert len(alts(page)) == 12 and "marked: unsure" in alts(page)[0]
    for row in browser.review.page_rows():
        assert f"{row.name}: labelled {row.label}" in page
    assert len(page) < 150_000


def test_the_static_face_stays_small_whatever_the_pictures(tmp_path):
    rng = torch.Generator().manual_seed(0)
    items = []
    for i in range(40):
        path = tmp_path / f"{i}.png"
        pixels = torch.randint(0, 256, (128, 128, 3), generator=rng, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(path)
        items.append(Item(f"{i}.png", path, "noise"))
    page = LabelBrowser(items, save_to=None, page_size=40)._repr_mimebundle_()[0]["text/html"]
    assert len(page) < 150_000
    assert f"And {40 - len(alts(page))} more pictures on this page." in page


# --- speed ------------------------------------------------------------------------------------------------


def test_a_page_turns_as_fast_with_25_000_pictures_as_with_250(tmp_path):
    real = make_items(tmp_path / "made", [f"{i}.png" for i in range(24)], ["dark", "light"] * 12)
    browsers = []
    for n in (250, 25_000):
        items = tuple(Item(f"{i:05}.png", real[i % 24].path, ("dark", "light")[i % 2]) for i in range(n))
        browsers.append(MistakeBrowser(make_predictions(items, ("dark", "light")), save_to=None))
    times = {browser: [] for browser in browsers}
    for turn in range(60):
        for browser in browsers if turn % 2 else browsers[::-1]:
            start = time.thread_time()  # of this thread: what others do on this machine does not count
            browser.page_box.value = 1 + turn % 20
            times[browser].append(time.thread_time() - start)
    small, large = (statistics.median(taken[10:]) for taken in times.values())
    print(f"page change: {1000 * small:.1f} ms with 250, {1000 * large:.1f} ms with 25,000: ratio {large / small:.2f}")
    assert large / small < 1.5
