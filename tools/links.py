"""Links that lead nowhere: `python -m tools.links` (= `make links`).

Looks at every link of the notebooks' text cells and of the Markdown files: a file must exist, a part of a
page must be one of its headings, and a link's words must say where it leads. Addresses on the web are tried
only with `--online`. The same rules hold for built pages (.html).
"""

import argparse
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote
from urllib.request import Request, urlopen

import nbformat
from bs4 import BeautifulSoup
from nbformat import NotebookNode

from tools.notebook_files import ROOT, headings, read_notebook, run_cli, text_anchor

LINK = re.compile(r"(?<!\\)(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(\s*<?([^()\s>]+(?:\([^()\s]*\))?)>?[^)]*\)")
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", flags=re.MULTILINE | re.DOTALL)
EMPTY_WORDS = {"here", "this", "link", "click here", "this link", "see here", "more"}


def texts(root: Path) -> list[Path]:
    """Every notebook and Markdown file a reader sees."""
    return sorted([*root.glob("*.md"), *root.glob("notebooks/*.md"), *root.glob("notebooks/*.ipynb")])


def read(path: Path) -> NotebookNode:
    """The file as a notebook; a Markdown file is one text cell."""
    if path.suffix == ".ipynb":
        return read_notebook(path)
    cell = nbformat.v4.new_markdown_cell(path.read_text(encoding="utf-8"))
    return nbformat.v4.new_notebook(cells=[cell])


@functools.cache
def parse(path: Path) -> BeautifulSoup:
    """A built page."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def links(path: Path) -> Iterator[tuple[bool, str, str]]:
    """(whether it is a picture, words, target) of every link in the file's text, outside code."""
    if path.suffix == ".html":
        yield from [(False, link.get_text().strip(), link["href"]) for link in parse(path).select("a[href]")]
        yield from [(True, image.get("alt", "").strip(), image["src"]) for image in parse(path).select("img[src]")]
        return
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for mark, words, target in LINK.findall(CODE.sub("", cell.source)):
                yield mark == "!", words.strip(), target


@functools.cache
def anchors(path: Path) -> set[str]:
    """The names of the page's parts in links: of a notebook as JupyterLab makes them, of a text as GitHub does."""
    if path.suffix == ".html":
        return {element["id"] for element in parse(path).find_all(id=True)}
    found = [text for _, text in headings(read(path).cells)]
    if path.suffix == ".md":
        return {text_anchor(text) for text in found}
    return {re.sub(r"[`*]", "", text).replace(" ", "-") for text in found}


def problem(path: Path, picture: bool, words: str, target: str, *, online: bool = False) -> str | None:
    """What is wrong with one link of the file at `path`, or None."""
    if not words:
        return "the picture has no alternative text" if picture else "the link has no words"
    if not picture and words.lower().strip(" .") in EMPTY_WORDS:
        return f"the words {words!r} do not say where the link leads"
    if re.match(r"https?://", target):
        return _unreachable(target) if online else None
    if target.startswith(("mailto:", "attachment:", "data:")):
        return None
    name, _, part = unquote(target).partition("#")
    page = (path.parent / name).resolve() if name else path
    if not page.exists():
        return "no such file"
    if part and page.suffix in (".md", ".ipynb", ".html") and part not in anchors(page):
        return f"{page.name} has no heading {part!r}"
    return None


def _unreachable(address: str) -> str | None:
    try:
        with urlopen(Request(address, headers={"User-Agent": "course link check"}), timeout=20):
            return None
    except HTTPError as error:
        return f"answers {error.code}" if error.code in (404, 410) else None
    except (URLError, TimeoutError, ValueError) as error:
        return f"cannot be reached ({error})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.links", description="Find links that lead nowhere.")
    parser.add_argument("--online", action="store_true", help="also try addresses on the web")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    chosen = parser.parse_args(arguments)
    found = [(path, *link) for path in texts(chosen.root) for link in links(path)]
    wrong = 0
    for path, picture, words, target in found:
        if said := problem(path, picture, words, target, online=chosen.online):
            wrong += 1
            print(f"{path.relative_to(chosen.root)}: [{words}]({target}): {said}")
    print(f"{len(found)} links, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
