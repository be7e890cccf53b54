"""The browsers in a real JupyterLab, driven through Debian's Chromium; and their static face with scripts off."""

import csv
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.resources import files
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")
expect = playwright_api.expect

REPO = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SLOW_MS = 120_000  # the first cell imports torch, on a machine that may be busy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

SET_UP = """
import math
from pathlib import Path

import torch

from helpers.browsers import LabelBrowser, MistakeBrowser
from helpers.items import label_by_regex
from helpers.labs import RatePicker, ScheduleLab
from helpers.lr_finder import read_curve
from helpers.predict import Predictions

items = label_by_regex("pictures", r"^(mono|poly)_")
targets = torch.tensor([0 if item.label == "mono" else 1 for item in items])
logits = torch.randn(len(items), 2, generator=torch.Generator().manual_seed(3))
preds = Predictions(items, logits.log_softmax(1), targets, ("mono", "poly"), "valid")
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
from dataclasses import replace
nasty = "<img src=x onerror='window.hacked = 1'>\\"><script>window.hacked = 1</script>"
LabelBrowser([replace(item, name=nasty + item.name, label=nasty) for item in items[:3]], save_to=None)""",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A notebook beside 30 real pictures with tame names."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "pictures").mkdir()
    source = Path(str(files("elpv_dataset"))) / "data" / "images"
    for i, path in enumerate(sorted(source.glob("*.png"))[:30]):
        shutil.copy(path, folder / "pictures" / f"{('mono', 'poly')[i % 2]}_{i:02}.png")
    notebook = new_notebook(cells=[new_code_cell(cell.strip()) for cell in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "look.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(folder, tmp_path_factory):
    """The address of a JupyterLab of our own: free port, token, no settings but ours."""
    private = tmp_path_factory.mktemp("jupyter")
    quiet = private / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    env = {
        **os.environ,
        "PYTHONPATH": str(REPO),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    options = [f"--port={port}", f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True"]
    with (private / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [*command, *options, f"--ServerApp.root_dir={folder}"], env=env, cwd=folder, stdout=log, stderr=log
        )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token={token}", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (private / "lab.log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/look.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def chromium():
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def open_and_run(page, address):
    page.goto(address)
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length > 3", timeout=SLOW_MS)
    idle = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
    page.wait_for_function(idle, timeout=SLOW_MS)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    root = page.locator(".jp-CodeCell").nth(1).locator(".course-widget")
    expect(root.locator(".course-tile").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".course-widget")).to_have_count(4, timeout=SLOW_MS)
    return root


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "pictures").iterdir()}


FOCUSED = """() => {
  const element = document.activeElement;
  if (!document.querySelector(".course-widget").contains(element)) return null;
  const label = element.id && document.querySelector(`label[for="${element.id}"]`);
  return element.getAttribute("aria-label") || label?.textContent || element.closest("label")?.textContent
      || element.textContent;
}"""


def test_review_from_the_first_look_to_the_exported_table(lab, chromium, folder):
    before = hashes(folder)
    page = chromium.new_page(viewport={"width": 1300, "height": 1000})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    root = open_and_run(page, lab)
    status, tiles = root.locator(".course-status"), root.locator(".course-tile")

    # every picture has an alternative text, every control a name
    expect(tiles).to_have_count(12)
    texts = root.locator("img").evaluate_all("pictures => pictures.map(picture => picture.alt)")
    assert len(texts) == 12
    assert all(re.match(r"(mono|poly)_\d\d\.png: labelled (mono|poly), predicted (mono|poly) 0\.", t) for t in texts)
    for widget in page.locator(".course-widget").all():
        roles = re.findall(r"- (button|combobox|checkbox|slider|spinbutton|textbox)\b(.*)", widget.aria_snapshot())
        assert roles
        for role, name in roles:
            assert re.match(r' "[^"]+"', name), (role, name)

    # Tab walks through all of them, in the order they are read
    root.get_by_label("Sort by").focus()
    names = []
    while (name := page.evaluate(FOCUSED)) is not None and len(names) < 60:
        names.append(name.strip().removeprefix("▶ "))
        page.keyboard.press("Tab")
    in_order = [
        "Sort by",
        "the other way round",
        "Label",
        "Predicted",
        "Answers",
        "Probability from",
        "Probability to",
        "Probability as a number",
    ]
    in_order += ["Marks", "Name contains", "◀ Previous page", "Page", "Next page ▶", "Undo", "Redo", "Export labels"]
    in_order += ["1 mono", "2 poly", "Label is right", "Unsure", "Remove", "No mark"]
    in_order += ["Zoom", "Compare", "Pin", "Close", *(text.split(":")[0] for text in texts)]
    assert names == in_order

    # filter, turn, mark, undo
    root.get_by_label("Answers").select_option("wrong")
    expect(status).to_contain_text(re.compile(r"30 predictions, \d+ shown"))
    root.get_by_role("button", name="Next page").click()
    expect(root.get_by_label("Page", exact=True)).to_have_value("2")
    removed = tiles.first.get_by_role("button").get_attribute("title").removeprefix("select ")
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
    second = tiles.nth(1).get_by_role("button").get_attribute("title").removeprefix("select ")
    predicted = tiles.nth(1).locator("img").get_attribute("alt").split("predicted ")[1][:4]
    page.keyboard.press("1" if predicted == "mono" else "2")
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")
    for key in "dd":
        page.keyboard.press(key)
    page.keyboard.press("PageDown")
    expect(root.get_by_label("Page", exact=True)).to_have_value("2")
    assert page.locator(".jp-CodeCell").count() == len(CELLS)  # not deleted, not turned into a heading
    root.get_by_label("Name contains").fill("1")  # a digit in a text field is text
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

    # names that are HTML were shown, not obeyed
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0
    expect(page.locator(".course-widget").nth(3)).to_contain_text("labelled <img src=x onerror='window.hacked = 1'>")

    # reload, run again: the marks are there
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    root = open_and_run(page, lab)
    status, tiles = root.locator(".course-status"), root.locator(".course-tile")
    expect(status).to_contain_text("2 marks (1 relabel, 1 remove)")
    root.get_by_label("Marks").select_option("marked")
    expect(tiles).to_have_count(2)
    found = {tile.get_by_role("button").get_attribute("title").removeprefix("select ") for tile in tiles.all()}
    assert found == {removed, second}
    expect(root).to_contain_text("✕ to be removed")

    # export
    root.get_by_role("button", name="Export labels").click()
    expect(status).to_contain_text("Written: labels_after_review.csv")
    with (folder / "labels_after_review.csv").open(newline="") as file:
        table = {line["name"]: line for line in csv.DictReader(file)}
    assert set(table) == set(before) - {removed}
    assert table[second]["label"] == predicted != table[second]["old_label"]
    assert hashes(folder) == before
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
