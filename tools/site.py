"""All notebooks as web pages: `python -m tools.site` (= `make site`) writes the folder site/.

The stored outputs are shown, nothing is executed. The pages load nothing from anywhere: they can be read from
the disk, from a stick or from any web server. index.html lists the lessons and searches all of them.
"""

import argparse
import html
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from nbformat import NotebookNode

from data_setup.base.files import write_atomically
from tools import pages
from tools.learner_copies import is_solution
from tools.notebook_files import NOTEBOOKS, ROOT, find_notebooks, read_notebook, run_cli, text_anchor, title

SEARCH = Path(__file__).with_name("search.js").read_text(encoding="utf-8")
LEVELS = ["h1", "h2", "h3", "h4"]
TABLE = re.compile(r"<table>.*?</table>", flags=re.DOTALL)  # a wide one scrolls by itself, with the arrow keys, too


def body_of(notebook: NotebookNode, folder: Path) -> str:
    """All cells, inputs and outputs, as HTML."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(TABLE.sub(r'<div class="wide" tabindex="0">\g<0></div>', pages.markdown(cell, folder)))
        elif cell.cell_type == "code":
            parts.append(pages.code(cell) + pages.outputs(cell))
        if is_solution(cell):
            parts[-1] = f"<details><summary>Solution</summary>\n{parts[-1]}\n</details>"
    return "\n".join(parts)


def with_text_anchors(body: str) -> str:
    """The body of a Markdown text with its headings named as on GitHub; a notebook's are named as in JupyterLab."""
    soup = BeautifulSoup(body, "html.parser")
    for heading in soup.find_all(LEVELS, id=True):
        mark = heading.find("a", class_="anchor-link")
        mark.extract()
        heading["id"] = text_anchor(heading.get_text().strip())
        mark["href"] = f"#{heading['id']}"
        heading.append(mark)
    return str(soup)


def entries(body: str, page: str, lesson: str) -> Iterator[dict[str, str]]:
    """What the search knows of one page: one entry for the text under each heading."""
    heading, anchor, words = lesson, "", []
    for element in BeautifulSoup(body, "html.parser").children:
        if isinstance(element, Tag) and element.name in LEVELS:
            yield from _entry(page, lesson, heading, anchor, words)
            heading = element.get_text().replace("¶", "").strip()
            anchor, words = element.get("id", ""), []
        elif text := element.get_text().strip():
            words.append(text)
    yield from _entry(page, lesson, heading, anchor, words)


def _entry(page: str, lesson: str, heading: str, anchor: str, words: list[str]) -> Iterator[dict[str, str]]:
    if anchor or words:
        address = f"{page}#{anchor}" if anchor else page
        yield {
            "page": address,
            "lesson": lesson,
            "heading": heading,
            "text": " ".join(" ".join(words).split()),
        }


def sources(folder: Path) -> list[tuple[Path, NotebookNode]]:
    """(file, notebook) of every lesson, then of every Markdown text beside them."""
    lessons = [(path, read_notebook(path)) for path in find_notebooks(folder=folder)]
    for path in sorted(folder.glob("*.md")):
        cell = nbformat.v4.new_markdown_cell(path.read_text(encoding="utf-8"))
        lessons.append((path, nbformat.v4.new_notebook(cells=[cell])))
    return lessons


def navigation(titles: dict[str, str], name: str) -> str:
    """The links at the top of the page `name`: contents, the lesson before, the next."""
    names = list(titles)
    at = names.index(name)
    links = ['<a href="index.html">Contents</a>']
    for word, kind, place in (("Before", "prev", at - 1), ("Next", "next", at + 1)):
        if 0 <= place < len(names):
            words = html.escape(titles[names[place]])
            links.append(f'<a href="{names[place]}.html" rel="{kind}">{word}: {words}</a>')
    return f'<nav aria-label="Lessons">{" ".join(links)}</nav>'


def contents(titles: dict[str, str], found: list[dict[str, str]]) -> str:
    """index.html."""
    items = "\n".join(f'<li><a href="{name}.html">{html.escape(title)}</a></li>' for name, title in titles.items())
    body = f"""<main>
<h1>Image classification, lesson by lesson</h1>
<p><label for="search">Search in all lessons</label> <input id="search" type="search" autocomplete="off"></p>
<p id="said" role="status"></p>
<ol id="hits"></ol>
<h2>Lessons</h2>
<ul>
{items}
</ul>
</main>"""
    known = json.dumps(found, ensure_ascii=False).replace("</", "<\\/")
    return pages.page("Image classification, lesson by lesson", body, script=f"const ENTRIES = {known};\n{SEARCH}")


def build(folder: Path, site: Path) -> list[Path]:
    """Write a page for each lesson and index.html into `site`; pages of lessons that are gone go, too."""
    lessons = sources(folder)
    titles = {path.stem: title(notebook, path.stem) for path, notebook in lessons}
    documents, found = {}, []
    for path, notebook in lessons:
        name, body = path.stem, body_of(notebook, folder)
        if path.suffix == ".md":
            body = with_text_anchors(body)
        found += entries(body, f"{name}.html", titles[name])
        links = navigation(titles, name)
        whole = f"{links}\n<main>\n{body}\n</main>\n{links}"
        documents[site / f"{name}.html"] = pages.page(titles[name], whole)
    documents[site / "index.html"] = contents(titles, found)
    for old in site.glob("[0-9][0-9]*_*.html"):
        old.unlink()
    for path, text in documents.items():
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(documents)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.site", description="Write the lessons as web pages.")
    parser.add_argument("--from", dest="lessons", type=Path, default=NOTEBOOKS, help="where the notebooks are")
    parser.add_argument("--folder", type=Path, default=ROOT / "site", help="where the pages go")
    chosen = parser.parse_args(arguments)
    written = build(chosen.lessons, chosen.folder)
    print(f"{len(written)} pages; open {chosen.folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
