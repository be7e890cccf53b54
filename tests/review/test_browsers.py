"""The browsers and laboratories without a kernel: every control is clicked, and what it shows is read back."""

import ast
import html.parser
import math
import os
import re
import shutil
import statistics
import time
from pathlib import Path

import ipywidgets as widgets
import pytest
import torch
from PIL import Image

from helpers.analysis.audit import Duplicate, LabelError
from helpers.analysis.predictions import Predictions
from helpers.data.augment import Augment, apply_draws, draw, top_down
from helpers.data.decode import read_image
from helpers.data.items import Item, label_by_folder
from helpers.lessons.labs import AugmentBrowser, RatePicker, ScheduleLab, _in_two_steps
from helpers.review import html as safe_html
from helpers.review import keyboard, thumbnails
from helpers.review.browsers import LabelBrowser, MistakeBrowser
from helpers.review.marks import Mark, read_marks
from helpers.review.widgets import SafeText
from helpers.runtime.seeds import generator
from helpers.training.lr_finder import read_curve

HOSTILE = ("<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "a & b", "it's", "{name}", "line\nbreak")
OUR_TAGS = {"div", "img", "b", "em", "p", "br", "small", "wbr", "table", "tr", "th", "td"}
OUR_ATTRIBUTES = {"alt", "src", "style", "role", "aria-label"}
TEXT_TRAITS = {"description", "tooltip", "_options_labels"}  # set as text by ipywidgets, never as HTML
REPO = Path(__file__).parents[2]


def make_items(folder, names, labels):
    """One small picture per name; the file itself has a tame name."""
    folder.mkdir(exist_ok=True)
    items = []
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        path = folder / f"{i}.png"
        Image.new("L" if i % 2 else "RGB", (30 + i % 5, 20), 9 * i % 256).save(path)
        items.append(Item(name, path, label))
    return tuple(items)


def make_predictions(items, classes, part="valid", seed=0):
    logits = torch.randn(len(items), len(classes), generator=generator("test", seed))
    targets = torch.tensor([-1 if item.label is None else classes.index(item.label) for item in items])
    return Predictions(items, logits.log_softmax(1), targets, classes, part)


@pytest.fixture
def items(tmp_path):
    return make_items(tmp_path / "made", [f"dark/{i:02}.png" for i in range(30)], ["dark", "light"] * 15)


@pytest.fixture
def preds(items):
    return make_predictions(items, ("dark", "light"))


@pytest.fixture
def browser(preds, tmp_path):
    return MistakeBrowser(preds, save_to=tmp_path / "marks.csv")


def walk(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def shown(browser):
    return [row.name for row in browser.review.page_rows()]


def alts(page):
    return re.findall(r'<img alt="([^"]*)"', page)


# --- looking ----------------------------------------------------------------------------------------------


def test_the_worst_come_first_and_the_page_turns(browser, preds):
    worst = [preds.items[i].name for i in preds.losses.argsort(descending=True)]
    assert shown(browser) == worst[:12]
    browser.next.click()
    assert shown(browser) == worst[12:24] and browser.page_box.value == 2
    browser.next.click()
    browser.next.click()  # there is no fourth page
    assert shown(browser) == worst[24:] and len(browser.grid.children) == 6
    browser.previous.click()
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
    assert all(0.5 <= browser.review.rows[n].probability <= 0.7 for n in browser.review.order)
    browser.filters["sure"].value = (0, 1)
    browser.filters["name_has"].value = "/07"
    assert shown(browser) == ["dark/07.png"]
    browser.filters["name_has"].value = ""
    browser.names[3].click()
    browser.mark_buttons["unsure"].click()
    browser.filters["marked"].value = True
    assert len(browser.review.order) == 1
    browser.filters["marked"].value = False
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
    assert set(plain.filters) == {"sort", "reverse", "label", "marked", "name_has"}
    unlabelled = Predictions(
        tuple(Item(i.name, i.path, None) for i in items), preds.log_probs, torch.full((30,), -1), preds.classes, "test"
    )
    browser = MistakeBrowser([preds, unlabelled], save_to=None)
    assert "part" in browser.filters and len(browser.review.rows) == 60
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


def test_two_pictures_side_by_side(browser):
    browser.view_buttons["Compare"].click()
    first, second, third = (f"{name}: " for name in shown(browser)[:3])
    assert [alt[: len(first)] for alt in alts(browser.panel.value)] == [first, second]
    browser.names[2].click()
    browser.pin.click()
    browser.names[0].click()
    assert [alt[: len(first)] for alt in alts(browser.panel.value)] == [third, first]
    browser.next.click()  # the pinned one stays
    assert alts(browser.panel.value)[0].startswith(third)


def test_alternative_texts_say_everything_that_is_seen(browser):
    browser.mark_buttons["remove"].click()
    row = browser.review.page_rows()[0]
    text = f"{row.name}: labelled {row.label}, predicted {row.predicted} {row.probability:.2f}, wrong"
    assert alts(browser.pictures[0].value) == [f"{text}; marked: to be removed"]
    assert "✗ wrong" in browser.pictures[0].value and "✕ to be removed" in browser.pictures[0].value


def test_a_picture_that_is_gone_or_broken_says_so(items, tmp_path):
    items[0].path.unlink()
    items[1].path.write_bytes(b"no picture")
    browser = LabelBrowser(items, save_to=None)
    assert "is not there any more" in browser.pictures[0].value
    assert "is not a readable picture" in browser.pictures[1].value
    assert 'aria-label="dark/01.png: labelled light"' in browser.pictures[1].value
    assert "<img" in browser.pictures[2].value


def test_a_changed_file_gets_a_new_thumbnail_and_an_unchanged_one_is_made_once(items):
    thumbnails._made.cache_clear()
    first = thumbnails.thumbnail(items[0].path, 16)
    assert thumbnails.thumbnail(items[0].path, 16) is first
    assert thumbnails._made.cache_info().misses == 1
    Image.new("RGB", (300, 100), "red").save(items[0].path)
    assert thumbnails.thumbnail(items[0].path, 16) != first


def test_neighbours_and_heat_maps_come_from_the_learner(data, learn, tmp_path):
    preds = learn.get_preds("valid")
    features = torch.randn(len(data.items), 8, generator=generator("features"))
    browser = MistakeBrowser(preds, data, learn, features=features, save_to=None)
    assert list(browser.view_buttons) == ["Zoom", "Compare", "Heat map", "Neighbours"]
    browser.view_buttons["Heat map"].click()
    assert len(alts(browser.panel.value)) == 1
    assert alts(browser.panel.value)[0].startswith("A picture and where the model looked in it")
    browser.view_buttons["Neighbours"].click()
    own, *near = (alt.split(":")[0] for alt in alts(browser.panel.value))
    assert own == browser.current.name and len(near) == 4
    assert set(near) <= {item.name for item in data.items_of("train")}
    query = torch.nn.functional.normalize(features, dim=1) @ torch.nn.functional.normalize(
        features[data.index_of(own)], dim=0
    )
    best = max(data.indices["train"].tolist(), key=lambda index: query[index])
    assert near[0] == data.items[best].name
    with pytest.raises(ValueError, match="one row per picture; got 3 rows and 24 pictures"):
        MistakeBrowser(preds, data, features=features[:3], save_to=None)


def test_a_closer_look_that_fails_says_why(preds, learn, tmp_path):
    browser = MistakeBrowser(preds, learn=learn, save_to=None)  # the learner's data has other pictures
    browser.view_buttons["Heat map"].click()
    assert "no picture is called" in browser.panel.value


def test_only_the_pictures_of_the_current_page_are_made(items, monkeypatch):
    """Catches a browser that opens every file at its start, and one that makes a page's pictures again."""
    opened = []
    monkeypatch.setattr(thumbnails, "read_image", lambda path, **how: opened.append(path) or read_image(path, **how))
    thumbnails._made.cache_clear()
    browser = LabelBrowser(items, save_to=None, page_size=5)
    assert opened == [item.path for item in items[:5]]
    browser.next.click()
    assert opened == [item.path for item in items[:10]]
    browser.previous.click()
    browser.mark_buttons["unsure"].click()
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


def test_every_mark_button_marks_the_selected_picture_and_undo_takes_it_back(browser, tmp_path):
    names, labels = shown(browser), [row.label for row in browser.review.page_rows()]
    clicks = [*browser.label_buttons, *(browser.mark_buttons[kind] for kind in ("right", "unsure", "remove"))]
    for place, control in enumerate(clicks):
        browser.names[place].click()
        control.click()
    other = Mark("relabel", "dark", "light")
    expected = [
        Mark("right", "dark") if labels[0] == "dark" else Mark("relabel", "light", "dark"),
        other if labels[1] == "dark" else Mark("right", "light"),
        Mark("right", labels[2]),
        Mark("unsure", labels[3]),
        Mark("remove", labels[4]),
    ]
    assert browser.marks == dict(zip(names, expected, strict=False)) == read_marks(tmp_path / "marks.csv")
    browser.mark_buttons["clear"].click()
    assert names[4] not in browser.marks
    browser.undo.click()
    assert browser.marks[names[4]] == expected[4] and f"Undone: {names[4]}" in browser.status.value
    for _ in range(9):
        browser.undo.click()
    assert browser.marks == {} == read_marks(tmp_path / "marks.csv")
    browser.redo.click()
    assert list(browser.marks) == [names[0]]


def test_marks_are_found_again_after_a_restart_and_in_another_browser(browser, preds, items, tmp_path):
    browser.mark_buttons["remove"].click()
    name = shown(browser)[0]
    for again in (
        MistakeBrowser(preds, save_to=tmp_path / "marks.csv"),
        LabelBrowser(items, save_to=tmp_path / "marks.csv"),
    ):
        again.filters["marked"].value = True
        assert shown(again) == [name] and "to be removed" in again.pictures[0].value
        assert [item.name for item in again.apply(items)] == [item.name for item in items if item.name != name]


def test_marks_that_cannot_be_saved_say_so_on_the_page(preds, tmp_path):
    (tmp_path / "file").write_text("")
    browser = MistakeBrowser(preds, save_to=tmp_path / "file" / "marks.csv")
    browser.mark_buttons["unsure"].click()
    assert "NOT saved" in browser.status.value and len(browser.marks) == 1


def test_export_writes_beside_the_marks_and_reports(browser, tmp_path):
    browser.export_button.click()
    table = tmp_path / "labels_after_review.csv"
    assert f"Written: {table}" in browser.status.value
    assert table.read_text().startswith('"name","label","old_label","mark"\n')
    table.write_text("mine")
    browser.export_button.click()
    assert "Not written" in browser.status.value and table.read_text() == "mine"


def test_many_classes_get_a_list_instead_of_buttons(tmp_path):
    labels = [f"class {n:02}" for n in range(12)]
    browser = LabelBrowser(make_items(tmp_path / "made", [f"{n}.png" for n in range(12)], labels), save_to=None)
    assert browser.label_buttons == () and len(browser.label_list.options) == 13
    name = browser.current.name
    browser.label_list.value = "class 11"
    assert browser.marks[name].new_label == "class 11"
    assert browser.label_list.value is None  # ready for the next picture


def test_duplicates_and_label_errors_open_in_the_same_browsers(items, preds, tmp_path):
    near = Duplicate(items[4], items[2], "near", 0.98, ("train", "valid"))
    exact = Duplicate(items[7], items[8], "exact", 1.0)
    errors = [LabelError(items[6], "dark", "light", 0.04, 6), LabelError(items[3], "light", "dark", 0.11, 3)]
    for found, places, caption in (
        ((near, exact), (4, 2, 7, 8), "pair 1: near duplicate, one trains and the other judges"),
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
    browser.mark_buttons["remove"].click()
    assert browser.apply(items) == (*items[:2], *items[3:])


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


def press(browser, key, columns=4):
    browser.keyboard._handle_custom_msg({"key": key, "columns": columns}, [])


def test_keys_select_turn_mark_and_undo(browser):
    press(browser, "ArrowRight")
    press(browser, "ArrowDown")
    assert browser.selected == 5 == browser.keyboard.selected
    press(browser, "2")
    press(browser, "ArrowUp")
    press(browser, "ArrowLeft")
    press(browser, "ArrowLeft")  # nothing is before the first
    assert browser.selected == 0
    for key in "xsr0u":
        press(browser, key)
    assert {mark.kind for mark in browser.marks.values()} == {"right", browser.marks[shown(browser)[5]].kind}
    press(browser, "PageDown")
    assert browser.review.page == 1 and browser.selected == 0
    press(browser, "ArrowLeft")
    assert browser.review.page == 0 and browser.selected == 11
    press(browser, "ArrowRight")
    assert browser.review.page == 1 and browser.selected == 0
    press(browser, "PageUp")
    before = browser.marks
    for key in ("9", "q", "Enter"):
        press(browser, key)
    assert browser.marks == before and browser.review.page == 0
    browser.keyboard._handle_custom_msg({"tile": 7}, [])
    assert browser.selected == 7


def test_without_anywidget_everything_but_the_keys_works(monkeypatch, preds):
    monkeypatch.setattr(keyboard, "anywidget", None)
    browser = MistakeBrowser(preds, save_to=None)
    assert browser.keyboard is None
    browser.names[2].click()
    browser.mark_buttons["unsure"].click()
    assert len(browser.marks) == 1


@pytest.fixture
def roots(browser, data, learn, curve, tmp_path):
    """One of each widget, with every control that it can have."""
    marks = tmp_path / "all.csv"
    many = make_items(tmp_path / "many", [f"{n:02}.png" for n in range(24)], [f"class {n % 12:02}" for n in range(24)])
    features = torch.randn(len(data.items), 8, generator=generator("features"))
    records = [learn.get_preds("train"), learn.get_preds("valid")]
    full = MistakeBrowser(records, data, learn, features=features, save_to=marks, page_size=4)
    labels = LabelBrowser(many, save_to=tmp_path / "labels.csv", page_size=4)
    return (browser, full, labels, AugmentBrowser(data, n=4), RatePicker(curve), ScheduleLab())


def controls_of(root):
    found = [w for w in walk(root) if isinstance(w, widgets.DOMWidget) and hasattr(w, "description")]
    return [control for control in found if not isinstance(control, widgets.HTML)]


def test_every_control_has_a_visible_name(roots):
    for root in roots:
        assert len(controls_of(root)) >= 4
        for control in controls_of(root):
            assert control.description.strip(), control
            assert control.tabbable is not False and not getattr(control, "disabled", False)


def operate(control):
    """What a person can do with it: click, choose another entry, move the slider, type."""
    if isinstance(control, widgets.Button):
        control.click()
    elif isinstance(control, widgets.Checkbox):
        control.value = not control.value
    elif isinstance(control, widgets.Dropdown):
        control.index = 1 if control.index != 1 else 0
    elif isinstance(control, widgets.Text):
        control.value = "1"
    elif isinstance(control, widgets.FloatRangeSlider):
        control.value = (0.2, 0.52)
    else:
        control.value = control.min if control.value != control.min else control.max


def prepare(root, kind, view, place):
    """Page 2 with a picture selected, marked and looked at, so that there is something to undo, clear and close."""
    if isinstance(root, RatePicker):
        root.slider.value = 1e-3  # no suggestion
    if hasattr(root, "review"):
        root.page_box.value = 2
        root.names[place].click()
        for mark in ("right", kind, "right"):
            root.mark_buttons[mark].click()
        root.undo.click()
        root.view_buttons[view].click()


def seen(root):
    """What a person sees besides the controls' own positions."""
    return [w.value for w in walk(root) if isinstance(w, widgets.HTML)]


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
        controls = controls_of(root)
        assert [control.description for control in controls if not has_effect(root, control)] == []


# --- safety -----------------------------------------------------------------------------------------------


class OnlyOurTags(html.parser.HTMLParser):
    """Raises on any tag or attribute that no template of ours has."""

    def handle_starttag(self, tag, attributes):
        assert tag in OUR_TAGS, tag
        for name, value in attributes:
            assert name in OUR_ATTRIBUTES, (tag, name)
            if name == "src":
                assert value.startswith("data:image/"), value
            if name == "style":
                assert re.fullmatch(r"[a-z0-9:;%\- .]*", value), value


def check_page(page):
    parser = OnlyOurTags()
    parser.feed(page)
    parser.close()


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
        for control in (*root.label_buttons, root.view_buttons["Zoom"], root.export_button, root.undo, root.pin):
            control.click()
            check_widgets(root)
        text, page = root.face()
        check_page(page)
        shown_text = html.unescape(re.sub(r"<[^>]*>", "", page))
        assert safe_html.printable(nasty) in shown_text


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
        root.mark_buttons["unsure"].click()
        root.export_button.click()
        assert html.escape(str(marks.parent)) in root.status.value  # where it was written
        if content == "gone":
            assert "is not there any more" in root.face()[1]
        check_widgets(root)
        check_page(root.face()[1])
    shutil.rmtree(marks.parent)
    marks.parent.write_text("a file where the folder should be")
    root.mark_buttons["remove"].click()
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
        with pytest.raises(TypeError, match="comes from helpers.safe_html.fill"):
            text.value = value
    text.value = safe_html.fill("<b>{word}</b>", word="<i>")
    assert text.value == "<b>&lt;i&gt;</b>"


def test_filled_in_html_stays_and_everything_else_is_escaped():
    inner = safe_html.fill("<b>{word}</b>", word="<&>\"'")
    assert safe_html.fill("<p>{inner}{number}</p>", inner=inner, number=3) == f"<p>{inner}3</p>"
    assert inner == "<b>&lt;&amp;&gt;&quot;&#x27;</b>"
    assert safe_html.join([inner, "<i>"]) == f"{inner}&lt;i&gt;"
    assert safe_html.printable("a\x00b\udcff\u202ec") == "a\ufffdb\ufffd\ufffdc"
    assert safe_html.shortened("abcdefghij", 7) == "abc…hij" and safe_html.shortened("short", 7) == "short"


def test_html_comes_from_literal_templates_only():
    """In the source: templates are literals, `Html` is made in one module, and `HTML(...)` stands nowhere."""
    seen = 0
    for path in sorted((REPO / "helpers").rglob("*.py")):
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
                assert path.name == "safe_html.py", f"{path.name}:{node.lineno}"
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
        browser.mark_buttons["unsure"].click()
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


@pytest.fixture
def curve():
    rates = [1e-7 * 1e8 ** (i / 99) for i in range(100)]
    losses = [0.7 - 0.4 / (1 + math.exp(-2 * (math.log10(r) + 3))) + max(0, math.log10(r) + 0.5) ** 2 for r in rates]
    return read_curve(rates, losses)


def test_laboratories_have_a_static_face_too(data, curve):
    for lab in (AugmentBrowser(data), RatePicker(curve), ScheduleLab()):
        bundle, _ = lab._repr_mimebundle_()
        assert bundle["text/plain"] == repr(lab)
        assert len(alts(bundle["text/html"])) == 1 and len(bundle["text/html"]) < 150_000
        check_page(bundle["text/html"])


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


# --- laboratories -----------------------------------------------------------------------------------------


def test_the_sliders_of_the_augmentation_are_its_value(data):
    browser = AugmentBrowser(data, augment=top_down(max_zoom=1.5), n=3)
    assert browser.value == top_down(max_zoom=1.5)
    for field, slider in browser.sliders.items():
        slider.value = slider.max if field != "min_scale" else slider.min
    browser.checks["flip"].value = True
    browser.checks["dihedral"].value = False
    assert browser.value == Augment(True, False, 180, 2.0, 0.1, 0.5, 0.9, 1.0, 1.0)
    before = browser.shown.value
    browser.again.click()
    assert browser.shown.value != before
    browser.place.value = 2
    assert data.items_of("train")[1].name in repr(browser)
    for how, words in (
        ("two", "2 interpolations"),
        ("both", "above with 1 interpolation, below with 2"),
        ("one", "1 interpolation"),
    ):
        browser.interpolations.value = how
        assert words in repr(browser) and words in browser.shown.value


def test_two_interpolations_show_the_same_place_less_sharply():
    rng = generator("two steps")
    smooth = torch.linspace(40, 200, 80).view(1, 1, 1, 80).expand(4, 3, 80, 80)
    draws = draw(4, top_down(max_rotate_deg=5, max_zoom=1.2, min_scale=0.8, max_lighting=0.0, p_affine=1.0), rng)
    once, twice = (f(smooth.to(torch.uint8), draws, 64) for f in (apply_draws, _in_two_steps))
    inner = slice(16, 48)
    torch.testing.assert_close(once[..., inner, inner], twice[..., inner, inner], atol=0.02, rtol=0)
    noise = torch.randint(0, 256, (4, 3, 80, 80), generator=rng, dtype=torch.uint8)
    sharp, blurred = (f(noise, draws, 64).diff(dim=-1).abs().mean() for f in (apply_draws, _in_two_steps))
    assert blurred < 0.9 * sharp


def test_a_rate_is_chosen_by_slider_suggestion_click_or_code(curve):
    picker = RatePicker(curve)
    assert picker.value == float(f"{curve.valley:.3g}")
    for name, control in picker.buttons.items():
        control.click()
        assert picker.value == float(f"{getattr(curve, name):.3g}")
    picker.slider.value = 0.0123456
    assert picker.value == 0.0123
    picker.value = 3e-4
    assert picker.value == 3e-4
    left, right, low, high = picker._axis
    share = (math.log10(0.02) - low) / (high - low)
    picker.keyboard._handle_custom_msg({"at": left + share * (right - left)}, [])
    assert picker.value == pytest.approx(0.02, rel=0.03)
    picker.keyboard._handle_custom_msg({"at": 0.0}, [])  # left of the axis: the lowest rate there is
    assert picker.value == pytest.approx(curve.lrs[0])
    with pytest.raises(ValueError, match="tried rates from 1e-7 to 10; got 50"):
        picker.value = 50
    assert "Chosen: " in picker.said.value


def test_a_curve_without_advice_can_still_be_chosen_from():
    rates = [1e-5 * 10 ** (i / 20) for i in range(100)]
    picker = RatePicker(read_curve(rates, [0.7] * 100))
    assert picker.buttons == {} and rates[0] < picker.value < rates[-1]


def test_the_schedule_lab_counts_epochs_and_gives_the_learners_keywords():
    lab = ScheduleLab()
    assert (lab.method, lab.value) == ("fit", {"cycles": 3, "cycle_len": 1, "cycle_mult": 2})
    assert "trains 1 + 2 + 4 = 7 epochs." in lab.said.value
    before = lab.shown.value
    lab.sliders["cycles"].value = 1
    assert "trains 1 epoch." in lab.said.value and lab.shown.value != before
    for method in ("fit_one_cycle", "fit_flat_cos"):
        lab.kind.value = method
        lab.sliders["epochs"].value = 8
        assert (lab.method, lab.value) == (method, {"epochs": 8})
        assert f"learn.{method}(lr, epochs=8) trains 8 epochs." in repr(lab)
        assert lab.controls.children == (lab.sliders["epochs"],)
