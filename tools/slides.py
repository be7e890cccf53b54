"""Slides from the notebooks: `python -m tools.slides` (= `make slides`) writes site/slides/.

A cell is on a slide when its metadata says so (in JupyterLab: property inspector, "Slide type"): `slide`
starts a slide, `subslide` one below it, `fragment` appears with the next key press, `-` continues, `notes`
are for the speaker (key S). All other cells are left out. The tag `hide-input` shows only a cell's output.
What no longer fits on a slide goes on below it: heights are estimated, generously, for fonts differ.
reveal.js is copied beside the slides, so they open without a network.
"""

import argparse
import base64
import html
import itertools
import math
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bs4 import BeautifulSoup, NavigableString, Tag
from nbformat import NotebookNode

from helpers.runtime.files import write_atomically
from tools import pages
from tools.notebook_files import NOTEBOOKS, ROOT, find_notebooks, headings, read_notebook, run_cli, tags, title

STYLE = Path(__file__).with_name("slides.css").read_text(encoding="utf-8")
REVEAL = Path(__file__).with_name("reveal")  # reveal.js 5.2.0, as published; white.css without its fonts
HEAD = f"""<link rel="stylesheet" href="reveal/reveal.css">
<link rel="stylesheet" href="reveal/white.css">
<style>
{STYLE}
</style>"""
SCRIPTS = """<script src="reveal/reveal.js"></script>
<script src="reveal/notes.js"></script>"""
WIDTH_PX, HEIGHT_PX = 1200, 750  # of a slide; the browser enlarges it to the screen
FULL_PX = 700  # estimated height from which on the next block starts another slide
AGAIN_PX = 45  # height of a section's title where it is said again
FIGURE_PX, LARGEST = 500, 1.5  # highest figure; how much it may be enlarged
HEADINGS = {"h1": (42, 62), "h2": (54, 50), "h3": (60, 46), "h4": (70, 40)}  # letters in a line, height of a line
START = f"""Reveal.initialize({{hash: true, slideNumber: "c/t", transition: "none", width: {WIDTH_PX},
  height: {HEIGHT_PX}, margin: 0.04, center: false, plugins: [RevealNotes]}});"""


@dataclass(frozen=True)
class Block:
    """A piece of a slide that is not divided: a paragraph, a list, a table, some code, an output."""

    html: str
    height_px: float
    fragment: int | None = None  # blocks of one number appear together, with a key press
    is_heading: bool = False


def blocks(cell: NotebookNode, folder: Path) -> list[Block]:
    """What one cell puts on its slide."""
    if cell.cell_type == "markdown":
        shown = pages.markdown(cell, folder, lessons="../")
    else:
        shown = ("" if "hide-input" in tags(cell) else pages.code(cell)) + pages.outputs(cell)
    pieces = [piece for piece in BeautifulSoup(shown, "html.parser").contents if str(piece).strip()]
    return [Block(str(_enlarged(piece)), _height_px(piece), None, piece.name in HEADINGS) for piece in pieces]


def _enlarged(piece: Tag) -> Tag:
    """The piece with its figures as large as there is room for, but not so large that they blur."""
    for image in piece.find_all("img") if isinstance(piece, Tag) else []:
        if size := _size_px(image):
            scale = min(LARGEST, (WIDTH_PX - 60) / size[0], FIGURE_PX / size[1])
            image["style"] = f"width: {scale * size[0]:.0f}px"
            image["height"] = f"{scale * size[1]:.0f}"
    return piece


def _size_px(image: Tag) -> tuple[int, int] | None:
    """Width and height of a PNG that stands in the page."""
    kind, _, content = image.get("src", "").partition(",")
    if kind != "data:image/png;base64":
        return None
    return struct.unpack(">II", base64.b64decode(content[:32])[16:24])


def _height_px(piece: Tag | NavigableString) -> float:
    """About how high a piece of HTML will be; rather too high than too low."""
    name, text = getattr(piece, "name", None), piece.get_text().strip()
    if images := piece.find_all("img") if isinstance(piece, Tag) else []:
        heights = [float(_enlarged(image.parent).find("img").get("height", FIGURE_PX)) for image in images]
        return max(heights) + 45 * _lines(text, 100) + 10
    if name in HEADINGS:
        letters, line_px = HEADINGS[name]
        return _lines(text, letters) * line_px + 25
    if name == "table":
        return sum(_lines(" ".join(row.get_text(" ").split()), 85) * 30 + 20 for row in piece.find_all("tr"))
    if name in ("ul", "ol"):
        return sum(_lines(item.get_text(), 72) * 40 for item in piece.find_all("li")) + 20
    if name in ("div", "pre"):
        return sum(_lines(line, 92) for line in text.splitlines()) * 28 + 22
    return _lines(text, 76) * 40 + 20


def _lines(text: str, letters: int) -> int:
    return max(1, math.ceil(len(text) / letters))


def laid_out(found: Iterable[Block], title: str) -> list[list[Block]]:
    """The blocks of one slide, on as many as they need; a heading stays with what follows it.

    A slide that does not begin with a heading says the `title` of the section it belongs to.
    """
    slides: list[list[Block]] = [[]]
    for together in _with_their_headings(found):
        if slides[-1] and sum(block.height_px for block in slides[-1] + together) > FULL_PX:
            slides.append([])
        if together[0].is_heading:
            title = _words([block for block in together if block.is_heading][-1])
        elif title and not slides[-1]:
            slides[-1].append(Block(f'<p class="again">{html.escape(title)}</p>', AGAIN_PX))
        slides[-1] += together
    return slides


def _with_their_headings(found: Iterable[Block]) -> Iterator[list[Block]]:
    """Each block after the headings that stand directly above it."""
    together: list[Block] = []
    for block in found:
        together.append(block)
        if not block.is_heading:
            yield together
            together = []
    if together:
        yield together


def _words(heading: Block) -> str:
    return BeautifulSoup(heading.html, "html.parser").get_text().replace("¶", "").strip()


def section(slide: list[Block], notes: str = "") -> str:
    """One slide. What would appear with a key press anyway, because it starts the slide, does not wait for another."""
    parts = []
    for fragment, together in itertools.groupby(slide, key=lambda block: block.fragment):
        text = "\n".join(block.html for block in together)
        starts = not parts or (len(parts) == 1 and 'class="again"' in parts[0])
        parts.append(text if fragment is None or starts else f'<div class="fragment">{text}</div>')
    return f"<section>\n{chr(10).join(parts)}\n{notes}</section>"


def deck(notebook: NotebookNode, folder: Path) -> str:
    """reveal.js sections: a column for each `slide`, in it the slide and its subslides. "" without slides."""
    columns: list[list[_Slide]] = []
    heading = ""
    for number, cell in enumerate(notebook.cells):
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "skip")
        if kind == "slide" or (not columns and kind != "skip"):
            columns.append([_Slide(heading)])
        elif kind == "subslide":
            columns[-1].append(_Slide(heading))
        if kind == "notes":
            columns[-1][-1].notes += "".join(block.html for block in blocks(cell, folder))
        elif kind != "skip" and cell.cell_type in ("markdown", "code"):
            fragment = number if kind == "fragment" else None
            columns[-1][-1].shown += [replace(block, fragment=fragment) for block in blocks(cell, folder)]
        heading = [heading, *(text for level, text in headings([cell]) if level > 1)][-1]
    return "\n".join(f"<section>\n{chr(10).join(map(str, column))}\n</section>" for column in columns)


@dataclass
class _Slide:
    """What the cells of one slide show, before it is known on how many it fits."""

    title: str  # of the section that its first cell stands in
    shown: list[Block] = field(default_factory=list)
    notes: str = ""

    def __str__(self) -> str:
        *before, last = laid_out(self.shown, self.title)
        notes = f'<aside class="notes">{self.notes}</aside>' if self.notes else ""
        return "\n".join([*map(section, before), section(last, notes)])


def build(folder: Path, site: Path) -> list[Path]:
    """Write one page of slides for every notebook that has any, a contents page, and reveal.js."""
    documents, links = {}, []
    for path in find_notebooks(folder=folder):
        notebook = read_notebook(path)
        if not (sections := deck(notebook, folder)):
            continue
        name = title(notebook, path.stem)
        body = f'<div class="reveal"><div class="slides">\n{sections}\n</div></div>'
        documents[site / f"{path.stem}.html"] = pages.page(name, f"{body}\n{SCRIPTS}", script=START, head=HEAD)
        links.append(f'<li><a href="{path.stem}.html">{html.escape(name)}</a></li>')
    keys = "<p>Arrow keys move, S opens the speaker's notes, O an overview.</p>"
    body = f"<main>\n<h1>Slides</h1>\n{keys}\n<ul>\n{chr(10).join(links)}\n</ul>\n</main>"
    documents[site / "index.html"] = pages.page("Slides", body)
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(REVEAL, site / "reveal")
    for path, text in documents.items():
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(documents)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools.slides", description="Write slides from tagged cells.")
    parser.add_argument("--from", dest="lessons", type=Path, default=NOTEBOOKS, help="where the notebooks are")
    parser.add_argument("--folder", type=Path, default=ROOT / "site" / "slides", help="where the slides go")
    chosen = parser.parse_args(arguments)
    written = build(chosen.lessons, chosen.folder)
    print(f"slides of {len(written) - 1} notebooks; open {chosen.folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
