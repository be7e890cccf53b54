"""The browsers in a real JupyterLab, driven through Debian's Chromium; and their static face with scripts off."""

import csv
import os
import re
import shutil
from importlib.resources import files
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.driving import (
    REPO,
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

pytestmark = [pytest.mark.timeout(600), needs_chromium]

SET_UP = """
import math
import os
os.environ["COURSE_DATA"] = "data"  # decoded pictures are kept here

import torch

from helpers.review.browsers import LabelBrowser, MistakeBrowser
from helpers.data.dataset import ImageData
from data_setup.items import label_by_regex
from helpers.lessons.labs import AugmentBrowser, RatePicker, ScheduleLab
from helpers.analysis.lr_curve import read_curve
from helpers.analysis.predictions import Predictions

items = label_by_regex("pictures", r"^(mono|poly)_")
targets = torch.tensor([0 if item.label == "mono" else 1 for item in items])
logits = torch.randn(len(items), 2, generator=torch.Generator().manual_seed(3))
preds = Predictions(items, logits.log_softmax(1), targets, ("mono", "poly"))
"""
CELLS = (
    SET_UP,
    "browser = MistakeBrowser(preds)\nbrowser",
    """
rates = [1e-7 * 1e8 ** (i / 99) for i in range(100)]
picker = RatePicker(read_curve(rates, [0.7 - 0.4 / (1 + math.exp(-2 * math.log10(1000 * r))) for r in rates]))
picker""",
    "ScheduleLab()",
    """
from data_setup.items import label_by_folder
LabelBrowser(label_by_folder("hostile"), save_to=None)""",
    "AugmentBrowser(ImageData.from_items(items, size=64, batch_size=8), n=3)",
    """
from helpers.lessons.embedding_map import EmbeddingMap
corners = targets  # the two kinds lie in opposite corners
mapped = EmbeddingMap(LabelBrowser(items, save_to=None), torch.stack([corners, corners], dim=1) * 9.0
                      + torch.rand(len(items), 2, generator=torch.Generator().manual_seed(0)), method="pca")
mapped""",
)


NASTY = "<img src=x onerror='window.hacked = 1'>"  # a folder, a class and a file of this name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A notebook beside 30 real pictures with tame names and two with names that are HTML."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "pictures").mkdir()
    source = Path(str(files("elpv_dataset"))) / "data" / "images"
    for i, path in enumerate(sorted(source.glob("*.png"))[:30]):
        shutil.copy(path, folder / "pictures" / f"{('mono', 'poly')[i % 2]}_{i:02}.png")
    for name in ("tame", NASTY):
        (folder / "hostile" / name).mkdir(parents=True)
        shutil.copy(folder / "pictures/mono_00.png", folder / "hostile" / name / f"{NASTY}.png")
    notebook = new_notebook(cells=[new_code_cell(cell.strip()) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "look.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(folder, tmp_path_factory):
    with open_lab(folder, tmp_path_factory.mktemp("jupyter")) as address:
        yield address.format("look.ipynb")


@pytest.fixture(scope="module")
def chromium():
    with open_chromium() as browser:
        yield browser


def open_and_run(page, address):
    open_notebook(page, address)
    run_all_cells(page)
    root = page.locator(".jp-CodeCell").nth(1).locator(".course-widget")
    expect(root.locator(".course-tile").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".course-widget")).to_have_count(7, timeout=SLOW_MS)
    return root


def test_review_from_the_first_look_to_the_exported_table(lab, chromium, folder):
    before = hashes(folder / "pictures")
    problems = []
    page = watched_page(chromium, problems)
    root = open_and_run(page, lab)
    status, tiles = root.locator(".course-status"), root.locator(".course-tile")

    # every picture has an alternative text, every control a name
    expect(tiles).to_have_count(12)
    texts = alternative_texts(root)
    assert len(texts) == 12
    assert all(re.match(r"(mono|poly)_\d\d\.png: labelled (mono|poly), predicted (mono|poly) 0\.", t) for t in texts)
    for widget in page.locator(".course-widget").all():
        reached = names_by_tab(page, widget, widget.locator("button, input, select, [role=slider]").first)
        assert check_names(widget) == len(reached) > 3  # there is no control that Tab does not reach
        assert all(alternative_texts(widget))

    # Tab walks through all of them, in the order they are read
    names = names_by_tab(page, root, root.get_by_label("Sort by"))
    in_order = [
        "Sort by",
        "Reverse",
        "Label",
        "Predicted",
        "Answers",
        "Probability from",
        "Probability to",
        "Probability as a number",
    ]
    in_order += ["Marks", "Name or note contains", "◀ Previous page", "Page", "Next page ▶"]
    in_order += ["Undo", "Redo", "Export labels"]
    in_order += [
        "1 mono",
        "2 poly",
        "Label is correct",
        "Unsure",
        "Remove",
        "Clear mark",
        "Note",
        "Advance after a mark",
    ]
    in_order += [
        "Select page",
        "This page is correct",
        "Zoom",
        "Compare",
        "Close",
        *(text.split(":")[0] for text in texts),
    ]
    assert names == in_order

    # filter, turn, mark, undo
    root.get_by_label("Answers").select_option("wrong")
    expect(status).to_contain_text(re.compile(r"30 predictions, \d+ shown"))
    root.get_by_role("button", name="Next page").click()
    expect(root.get_by_label("Page", exact=True)).to_have_value("2")
    removed = selected_name(tiles.first)
    root.get_by_role("button", name="Remove").click()
    expect(status).to_contain_text("1 mark (1 remove)")
    root.get_by_role("button", name="Undo").click()
    expect(status).to_contain_text("No marks.")
    root.get_by_role("button", name="Redo").click()
    expect(status).to_contain_text("1 mark (1 remove)")

    # keys: only this browser obeys them, the notebook does not
    root.get_by_role("button", name="Previous page").click()
    expect(root.get_by_label("Page", exact=True)).to_have_value("1")
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1).get_by_role("button")).to_be_focused()
    second = selected_name(tiles.nth(1))
    predicted = tiles.nth(1).locator("img").get_attribute("alt").split("predicted ")[1][:4]
    page.keyboard.press("1" if predicted == "mono" else "2")
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")
    expect(tiles.nth(2).get_by_role("button")).to_have_text(re.compile("^▶"))  # gone on to the next

    # Caps Lock, and a keyboard with Cyrillic letters; U takes back
    page.keyboard.press("S")  # "S" without Shift
    expect(status).to_contain_text("3 marks (1 relabel, 1 unsure, 1 remove)")
    page.evaluate(
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', "
        "{key: 'г', code: 'KeyU', bubbles: true, cancelable: true}))"
    )
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")

    # several at once: Ctrl and Shift with a click, on the picture or on its name
    tiles.nth(4).locator("img").click()
    tiles.nth(6).locator("img").click(modifiers=["Shift"])
    tiles.nth(5).get_by_role("button").click(modifiers=["ControlOrMeta"])
    expect(status).to_contain_text("Selected: 2 pictures")
    root.get_by_role("button", name="Unsure").click()
    expect(status).to_contain_text("4 marks (1 relabel, 2 unsure, 1 remove)")
    page.screenshot(path=folder / "browser.png")
    root.get_by_role("button", name="Undo").click()
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")
    tiles.nth(0).get_by_role("button").focus()
    for key in "dd":
        page.keyboard.press(key)
    page.keyboard.press("PageDown")
    expect(root.get_by_label("Page", exact=True)).to_have_value("2")
    assert page.locator(".jp-CodeCell").count() == len(CELLS)  # not deleted, not turned into a heading
    root.get_by_label("Name or note contains").fill("1")  # a digit in a text field is text
    page.keyboard.press("Tab")
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")

    # the closer look
    root.get_by_role("button", name="Zoom").click()
    expect(root.get_by_text("margin", exact=True)).to_be_visible()

    # the laboratories: a click on the curve chooses a rate
    picker = page.locator(".course-widget").nth(1)
    curve = picker.locator("img")
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    curve.click(position={"x": box["width"] * 0.8, "y": box["height"] / 2})
    expect(picker.locator(".course-status")).to_contain_text(re.compile(r"Chosen: 0\.\d+"))

    # a lasso on the map opens its pictures in the browser below
    mapped = page.locator(".course-widget").nth(5)
    drawn = mapped.locator(".course-map img")
    drawn.scroll_into_view_if_needed()
    box = drawn.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    page.mouse.down()
    for x, y in ((0.5, 0.01), (0.5, 0.99), (0.01, 0.99)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.screenshot(path=folder / "map.png")
    page.mouse.up()
    expect(mapped).to_contain_text("15 pictures selected.")
    expect(mapped.locator(".course-tile")).to_have_count(12)
    assert len({text.split("_")[0] for text in alternative_texts(mapped)[1:]}) == 1

    # names that are HTML were shown, not obeyed
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0
    hostile = page.locator(".course-widget").nth(3)
    expect(hostile).to_contain_text(f"labelled {NASTY}")
    assert f"{NASTY}/{NASTY}.png: labelled {NASTY}" in alternative_texts(hostile)

    # reload, run again: the marks are there
    save_and_reload(page)
    root = open_and_run(page, lab)
    status, tiles = root.locator(".course-status"), root.locator(".course-tile")
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")
    root.get_by_label("Marks").select_option("any mark")
    expect(tiles).to_have_count(2)
    assert {selected_name(tile) for tile in tiles.all()} == {removed, second}
    expect(root).to_contain_text("✕ to be removed")

    # export
    root.get_by_role("button", name="Export labels").click()
    expect(status).to_contain_text("labels_after_review_of_")
    (table,) = folder.glob("labels_after_review_of_*.csv")
    with table.open(newline="") as file:
        table = {line["name"]: line for line in csv.DictReader(file)}
    assert set(table) == set(before) - {removed}
    assert table[second]["label"] == predicted != table[second]["old_label"]
    assert hashes(folder / "pictures") == before
    assert problems == []
    page.close()


def test_the_static_page_can_be_read_with_scripts_off(chromium, folder, tmp_path):
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    notebook = nbformat.read(folder / "look.ipynb", as_version=4)
    notebook.cells = [new_code_cell(cell.strip()) for cell in (SET_UP, "MistakeBrowser(preds, save_to=None)", CELLS[3])]
    NotebookClient(
        notebook, timeout=300, store_widget_state=False, resources={"metadata": {"path": str(folder)}}
    ).execute(env={**os.environ, "PYTHONPATH": str(REPO)})
    html, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
    (tmp_path / "look.html").write_text(html, encoding="utf-8")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "look.html").as_uri())
    expect(page.get_by_text("MistakeBrowser: 30 predictions, by loss, highest first").first).to_be_visible()
    pictures = page.get_by_role("img", name=re.compile(r"^(mono|poly)_\d\d\.png: labelled .*, wrong"))
    expect(pictures).to_have_count(12)
    for picture in pictures.all():
        box = picture.bounding_box()
        assert box["width"] > 50 and box["height"] > 50
    expect(page.get_by_role("img", name=re.compile("^Multiplier of the rate over the whole training"))).to_be_visible()
    context.close()
