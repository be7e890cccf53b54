"""What the browser tests share: a JupyterLab of our own, Debian's Chromium, and what a screen reader would find."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tools.execute import kernel_environment

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
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@contextmanager
def open_chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def watched_page(chromium: Browser, problems: list[str]) -> Page:
    """A new page; every script error and every dialog it opens is added to `problems`."""

    def on_dialog(dialog):
        problems.append(dialog.message or dialog.type)
        dialog.dismiss()

    page = chromium.new_page(viewport={"width": 1300, "height": 1000})
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", on_dialog)
    return page


@contextmanager
def open_lab(folder: Path, private: Path) -> Iterator[str]:
    """A JupyterLab that shows `folder`: free port, token, no settings but ours. Gives an address with {} for a file."""
    quiet = private / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    env = {
        **os.environ,
        **kernel_environment(str(private / "ipython")),
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
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}"
    finally:
        server.terminate()
        server.wait(60)


def open_notebook(page: Page, address: str) -> None:
    """Open it and wait until its kernel is ready."""
    page.goto(address)
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length > 3", timeout=SLOW_MS)
    idle = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
    page.wait_for_function(idle, timeout=SLOW_MS)


def run_all_cells(page: Page) -> None:
    """Start them; does not wait until they are done."""
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")


def save_and_reload(page: Page) -> None:
    """Save the notebook, then load the whole page again."""
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=SLOW_MS)
    page.reload()


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# What a screen reader finds ---------------------------------------------------------------------------------

FOCUSED = """root => {
  const element = document.activeElement;
  if (!root.contains(element)) return null;
  const label = element.id && document.querySelector(`label[for="${element.id}"]`);
  return element.getAttribute("aria-label") || label?.textContent || element.closest("label")?.textContent
      || element.textContent;
}"""
CONTROL = re.compile(r"- (button|combobox|checkbox|slider|spinbutton|textbox)\b(.*)")


def check_names(widget: Locator) -> int:
    """Every control of the widget has a name for a screen reader; returns how many there are."""
    controls = CONTROL.findall(widget.aria_snapshot())
    for role, name in controls:
        assert re.match(r' "[^"]+"', name), (role, name)
    return len(controls)


def alternative_texts(widget: Locator) -> list[str]:
    """Of every picture in the widget, "" where there is none."""
    return widget.locator("img").evaluate_all("pictures => pictures.map(picture => picture.alt)")


def names_by_tab(page: Page, widget: Locator, first: Locator, *, at_most: int = 60) -> list[str]:
    """The names of what has the focus, from `first` on, as Tab walks through the widget."""
    first.focus()
    names, root = [], widget.element_handle()
    while (name := root.evaluate(FOCUSED)) is not None and len(names) < at_most:
        names.append(name.strip().removeprefix("▶ "))
        page.keyboard.press("Tab")
    return names


def selected_name(tile: Locator) -> str:
    """The whole name of the picture in a tile; on its button it may be shortened."""
    return tile.get_by_role("button").get_attribute("title").removeprefix("select ")


__all__ = [
    "CHROMIUM",
    "REPO",
    "SLOW_MS",
    "alternative_texts",
    "check_names",
    "expect",
    "hashes",
    "names_by_tab",
    "needs_chromium",
    "open_chromium",
    "open_lab",
    "open_notebook",
    "run_all_cells",
    "save_and_reload",
    "selected_name",
    "watched_page",
]
