"""Slides from the notebooks: `python -m tools.slides` (= `make slides`) writes site/slides/.

A cell is on a slide when its metadata says so (in JupyterLab: property inspector, "Slide type"): `slide`
starts a slide, `subslide` one below it, `fragment` appears with the next key press, `-` continues, `notes`
are for the speaker (key S). All other cells are left out. The tag `hide-input` shows only a cell's output.
What does not fit on a slide goes on below it: slides.js measures that in the browser, with its fonts.
reveal.js is copied beside the slides, so they open without a network.
"""

import argparse
import html
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode

from data_setup.base.files import write_atomically
from tools import pages
from tools.notebook_files import NOTEBOOKS, ROOT, find_notebooks, headings, read_notebook, run_cli, tags, title

WIDTH_PX, HEIGHT_PX = 1200, 750  # of a slide; the browser enlarges it to the screen
STYLE, SCRIPT = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("slides.css", "slides.js"))
REVEAL = Path(__file__).with_name("reveal")  # reveal.js 5.2.0, as published; white.css without its fonts
HEAD = f"""<link rel="stylesheet" href="reveal/reveal.css">
<link rel="stylesheet" href="reveal/white.css">
<style>
{STYLE}
</style>"""
LOADED = """<script src="reveal/reveal.js"></script>
<script src="reveal/notes.js"></script>"""


@dataclass
class Slide:
    """What the cells of one slide show, as HTML."""

    heading: str  # of the section that its first cell stands in
    shown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        notes = f'<aside class="notes">{"".join(self.notes)}</aside>'
        shown = "\n".join(self.shown)
        return f'<section data-heading="{html.escape(self.heading)}">\n{shown}\n{notes * bool(self.notes)}</section>'


def deck(notebook: NotebookNode, folder: Path) -> str:
    """reveal.js sections: a column for each `slide`, in it the slide and its subslides. "" without slides."""
    columns: list[list[Slide]] = []
    heading = ""
    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "skip")
        if kind == "slide" or (not columns and kind != "skip"):
            columns.append([Slide(heading)])
        elif kind == "subslide":
            columns[-1].append(Slide(heading))
        if kind == "notes":
            columns[-1][-1].notes.append(cell_html(cell, folder))
        elif kind != "skip":
            waits = kind == "fragment" and columns[-1][-1].shown  # what starts a slide appears with it
            shown = cell_html(cell, folder)
            columns[-1][-1].shown.append(f'<div class="fragment">{shown}</div>' if waits else shown)
        heading = [heading, *(text for level, text in headings([cell]) if level > 1)][-1]
    return "\n".join(f"<section>\n{chr(10).join(map(str, column))}\n</section>" for column in columns)


def cell_html(cell: NotebookNode, folder: Path) -> str:
    """What one cell puts on its slide."""
    if cell.cell_type == "markdown":
        return pages.markdown(cell, folder, lessons="../")
    return ("" if "hide-input" in tags(cell) else pages.code(cell)) + pages.outputs(cell)


def build(folder: Path, site: Path) -> list[Path]:
    """Write one page of slides for every notebook that has any, a contents page, and reveal.js."""
    start = f"{SCRIPT}\nshowSlides({WIDTH_PX}, {HEIGHT_PX});"
    documents, links = {}, []
    for path in find_notebooks(folder=folder):
        notebook = read_notebook(path)
        if not (sections := deck(notebook, folder)):
            continue
        name = title(notebook, path.stem)
        body = f'<div class="reveal"><div class="slides">\n{sections}\n</div></div>'
        documents[site / f"{path.stem}.html"] = pages.page(name, f"{body}\n{LOADED}", script=start, head=HEAD)
        links.append(f'<li><a href="{path.stem}.html">{html.escape(name)}</a></li>')
    keys = "<p>Arrow keys move, S opens the speaker's notes, O an overview.</p>"
    body = f"<main>\n<h1>Slides</h1>\n{keys}\n<ul>\n{chr(10).join(links)}\n</ul>\n</main>"
    documents[site / "index.html"] = pages.page("Slides", body)
    for old in site.glob("[0-9][0-9]*_*.html"):  # of a lesson that is gone
        old.unlink()
    shutil.rmtree(site / "reveal", ignore_errors=True)
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
