"""Slides from the notebooks: `python -m helpers.lessons.slides` (= `make slides`) writes site/slides/.

A cell is on a slide when its metadata says so (in JupyterLab: property inspector, "Slide type"): `slide`
starts a slide, `subslide` one below it, `fragment` appears with the next key press, `-` continues, `notes`
are for the speaker (key S). All other cells are left out. The tag `hide-input` shows only a cell's output.
reveal.js comes with the package sphinx-revealjs and is copied beside the slides, so they open without a
network.
"""

import argparse
import html
import importlib.metadata
import shutil
import sys
from pathlib import Path

from nbformat import NotebookNode

from helpers.lessons import pages
from helpers.lessons.files import NOTEBOOKS, ROOT, find_notebooks, read_notebook, tags, title, told
from helpers.runtime import write_atomically

STYLE = Path(__file__).with_name("slides.css").read_text(encoding="utf-8")
HEAD = f"""<link rel="stylesheet" href="reveal/dist/reveal.css">
<link rel="stylesheet" href="reveal/dist/theme/white.css">
<style>
{STYLE}
</style>"""
PARTS = [  # of reveal.js; its other themes load fonts from the web
    "LICENSE",
    "dist/reveal.js",
    "dist/reveal.css",
    "dist/theme/white.css",
    "dist/theme/fonts/source-sans-pro",
    "plugin/notes/notes.js",
]
SCRIPTS = """<script src="reveal/dist/reveal.js"></script>
<script src="reveal/plugin/notes/notes.js"></script>"""
START = """Reveal.initialize({hash: true, slideNumber: "c/t", transition: "none", width: 1200, height: 750,
  margin: 0.04, center: false, plugins: [RevealNotes]});"""


def reveal_folder() -> Path:
    """Where the installed package keeps reveal.js. The package itself (Sphinx) is not imported."""
    try:
        package = importlib.metadata.distribution("sphinx-revealjs")
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError("reveal.js is not installed; type: pip install -r requirements.lock") from None
    return Path(str(package.locate_file("sphinx_revealjs/_static/revealjs")))


def content(cell: NotebookNode, folder: Path) -> str:
    """What one cell puts on its slide."""
    if cell.cell_type == "markdown":
        return pages.markdown(cell, folder, lessons="../")
    shown = "" if "hide-input" in tags(cell) else pages.code(cell)
    return shown + pages.outputs(cell)


def deck(notebook: NotebookNode, folder: Path) -> str:
    """reveal.js sections: a column for each `slide`, in it the slide and its subslides. "" without slides."""
    columns: list[list[str]] = []
    for cell in notebook.cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "skip")
        if kind == "skip" or cell.cell_type not in ("markdown", "code"):
            continue
        if kind == "slide" or not columns:
            columns.append([""])
        elif kind == "subslide":
            columns[-1].append("")
        text = content(cell, folder)
        if kind == "notes":
            text = f'<aside class="notes">{text}</aside>'
        elif kind == "fragment":
            text = f'<div class="fragment">{text}</div>'
        columns[-1][-1] += text + "\n"
    stacked = ("\n".join(f"<section>\n{slide}</section>" for slide in column) for column in columns)
    return "\n".join(f"<section>\n{column}\n</section>" for column in stacked)


def build(folder: Path, site: Path) -> list[Path]:
    """Write one page of slides for every notebook that has any, a contents page, and reveal.js."""
    reveal = reveal_folder()
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
    for part in PARTS:
        source, target = reveal / part, site / "reveal" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, target)
    for path, text in documents.items():
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(documents)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="helpers.lessons.slides", description="Write slides from tagged cells.")
    parser.add_argument("--from", dest="lessons", type=Path, default=NOTEBOOKS, help="where the notebooks are")
    parser.add_argument("--folder", type=Path, default=ROOT / "site" / "slides", help="where the slides go")
    chosen = parser.parse_args(arguments)
    written = build(chosen.lessons, chosen.folder)
    print(f"slides of {len(written) - 1} notebooks; open {chosen.folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
