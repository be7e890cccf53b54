"""A notebook run in JupyterLab as a learner does; then the browser of mistakes in it, with mouse and keyboard."""

import csv
import re

import pytest
from nbformat.v4 import new_code_cell, new_notebook

import data_setup
from tests.browser.driving import (
    SLOW_MS,
    alternative_texts,
    check_names,
    expect,
    hashes,
    names_by_tab,
    needs_chromium,
    open_chromium,
    open_lab,
    open_notebook,
    run_all_cells,
    save_and_reload,
    selected_name,
    watched_page,
)
from tools.notebook_files import normalise, write_notebook

CELLS = (
    "from helpers import MistakeBrowser",
    "from helpers.lessons import course_data, heat_view, quick_learner",
    "learn = quick_learner(course_data(64))",
    'MistakeBrowser(learn.get_preds(), learn, views={"Heat map": heat_view(learn)}, page_size=8)',
)
ALTERNATIVE = re.compile(
    r"valid/(defective|functional)/\S+\.png: labelled \1, predicted (defective|functional) [01]\.\d\d, (correct|wrong)"
)
TRAINED_MS = 600_000

pytestmark = [pytest.mark.timeout(1200), needs_chromium]


@pytest.fixture
def problems():
    return []


@pytest.fixture
def page(tmp_path, problems, monkeypatch):
    """A notebook that trains a small head, open in JupyterLab, not yet run. Marks go into a data folder of its own."""
    data_setup.prepare()
    (tmp_path / "data").mkdir()
    for folder in data_setup.home().iterdir():
        if folder.name != "reviews":
            (tmp_path / "data" / folder.name).symlink_to(folder)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "private").mkdir()
    cells = [new_code_cell(source) for source in CELLS]
    write_notebook(tmp_path / "notebooks/mistakes.ipynb", normalise(new_notebook(cells=cells)))
    with open_lab(tmp_path / "notebooks", tmp_path / "private") as address, open_chromium() as chromium:
        page = watched_page(chromium, problems)
        open_notebook(page, address.format("mistakes.ipynb"))
        yield page


def run_all(page):
    """Run every cell; returns the lesson's browser. A cell that fails is shown with its error."""
    run_all_cells(page)
    widget = page.locator(".course-widget:not(.course-quiz)").last
    failed = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']", has_text="Error")
    expect(widget.locator(".course-tile").first.or_(failed.first)).to_be_visible(timeout=TRAINED_MS)
    expect(failed).to_have_count(0)
    prompt = page.locator(".jp-CodeCell").nth(len(CELLS) - 1).locator(".jp-InputPrompt").first
    expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=SLOW_MS)
    return widget


def test_mistakes_are_filtered_marked_found_again_and_exported(page, problems, tmp_path):
    pictures = data_setup.prepare()
    before = hashes(pictures)
    widget = run_all(page)
    status, tiles = widget.locator(".course-status"), widget.locator(".course-tile")

    # names, alternative texts, and the order in which Tab reaches the controls
    expect(tiles).to_have_count(8)
    texts = alternative_texts(widget)
    assert len(texts) == 8 and all(map(ALTERNATIVE.fullmatch, texts)), texts
    short = [tile.get_by_role("button").text_content().strip().removeprefix("▶ ") for tile in tiles.all()]
    names = names_by_tab(page, widget, widget.get_by_label("Sort by"))
    assert names == [
        *("Sort by", "Reverse", "Label", "Predicted", "Answers"),
        *("Probability from", "Probability to", "Probability as a number", "Marks", "Name or note contains"),
        *("◀ Previous page", "Page", "Next page ▶", "Undo", "Redo", "Export labels"),
        *(
            "1 defective",
            "2 functional",
            "Label is correct",
            "Unsure",
            "Remove",
            "Clear mark",
            "Note",
            "Advance after a mark",
        ),
        *("Select page", "This page is correct", "Zoom", "Compare", "Heat map", "Close", *short),
    ]
    assert check_names(widget) == len(names)  # there is no control that Tab does not reach

    # filter and turn the page
    widget.get_by_label("Answers").select_option("wrong")
    widget.get_by_label("Label", exact=True).select_option("defective")
    expect(status).to_contain_text(re.compile(r"536 predictions, \d+ shown, by loss, highest first; page 1 of"))
    widget.get_by_role("button", name="Next page").click()
    expect(widget.get_by_label("Page", exact=True)).to_have_value("2")
    texts = alternative_texts(widget)
    assert texts and all("labelled defective, predicted functional" in text and "wrong" in text for text in texts)

    # mark two, undo one
    removed, doubted = selected_name(tiles.nth(0)), selected_name(tiles.nth(1))
    widget.get_by_role("button", name="Remove").click()
    expect(status).to_contain_text("1 mark (1 remove)")
    widget.get_by_role("button", name="Unsure").click()  # the next one
    expect(status).to_contain_text("2 marks (1 unsure, 1 remove)")
    tiles.nth(1).get_by_role("button").click()
    widget.get_by_role("button", name="2 functional").click()
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")
    widget.get_by_role("button", name="Undo").click()
    expect(status).to_contain_text("2 marks (1 unsure, 1 remove)")
    widget.get_by_role("button", name="Redo").click()
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")

    # a closer look: each view says in words what it shows
    for view, words, n_pictures in (("Zoom", doubted, 1), ("Compare", doubted, 2), ("Heat map", "A picture and", 1)):
        widget.get_by_role("button", name=view, exact=True).click()
        panel = widget.locator(".course-panel")
        expect(panel.locator("b").first).to_have_text(view)
        expect(panel.locator("img")).to_have_count(n_pictures, timeout=SLOW_MS)
        assert alternative_texts(panel)[0].startswith(words)
    widget.get_by_role("button", name="Close").click()

    # reload the page: the browser is there again, with its marks
    save_and_reload(page)
    open_notebook(page, page.url)
    expect(widget).to_have_count(1, timeout=SLOW_MS)
    widget.evaluate("element => element.scrollIntoView()")
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)", timeout=SLOW_MS)
    widget.get_by_label("Marks").select_option("any mark")
    expect(tiles).to_have_count(2)
    assert {selected_name(tile) for tile in tiles.all()} == {removed, doubted}
    assert any(text.endswith("; marked: to be removed") for text in alternative_texts(widget))
    assert any(text.endswith("; marked: new label functional") for text in alternative_texts(widget))

    # export: the whole data set; held-out labels stay as they are, and no file has changed
    widget.get_by_role("button", name="Export labels").click()
    expect(status).to_contain_text("held-out pictures change only with held_out=True")
    (table,) = (tmp_path / "notebooks").glob("labels_after_review_of_*.csv")
    with table.open(newline="") as file:
        table = {line["name"]: line for line in csv.DictReader(file)}
    assert len(table) == sum(name.endswith(".png") and "test/" not in name for name in before)  # that part is sealed
    assert (table[removed]["mark"], table[doubted]["mark"]) == ("remove", "relabel")
    assert all(line["label"] == line["old_label"] for line in table.values())
    assert hashes(pictures) == before
    assert problems == []
