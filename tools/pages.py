"""Cells as HTML that needs nothing from elsewhere: formulas as MathML, pictures inside, no scripts."""

import html
import re
from pathlib import Path

from bs4 import BeautifulSoup
from latex2mathml.converter import convert
from nbconvert.filters import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

STYLE = Path(__file__).with_name("pages.css").read_text(encoding="utf-8")
CODE_COLOURS = "default"
CODE_STYLE = HtmlFormatter(style=CODE_COLOURS).get_style_defs(".highlight")
EXECUTABLE = "script, iframe, object, embed, link, base, meta"
LOADED = re.compile(r"url\(\s*['\"]?(https?:)?//[^)]*\)|@import[^;]*;?", flags=re.IGNORECASE)


class MathRenderer(IPythonRenderer):
    """Markdown to HTML with formulas that the browser itself can draw."""

    def block_math(self, body: str) -> str:
        return f"<p>{_mathml(body, 'block')}</p>"

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")


def _mathml(formula: str, display: str) -> str:
    try:
        return convert(formula, display=display)
    except Exception:  # whatever the converter does not know stays readable as its source
        return f"<code>{html.escape(formula)}</code>"


def markdown(cell: NotebookNode, folder: Path, lessons: str = "") -> str:
    """A text cell; pictures that lie in `folder` are put into the page."""
    renderer = MathRenderer(
        escape=False,
        embed_images=True,
        path=str(folder),
        attachments=cell.get("attachments", {}),
        anchor_link_text="¶",
    )
    return self_contained(MarkdownWithMath(renderer=renderer).render(cell.source), lessons)


def code(cell: NotebookNode) -> str:
    """A code cell's input."""
    return highlight(cell.source, get_lexer_by_name("ipython3"), HtmlFormatter())


def outputs(cell: NotebookNode) -> str:
    """A code cell's stored outputs, each in its richest form that works without a kernel."""
    return "\n".join(f'<div class="output">{_output(output)}</div>' for output in cell.outputs)


def _output(output: NotebookNode) -> str:
    if output.output_type == "stream":
        return f"<pre>{ansi2html(output.text)}</pre>"
    if output.output_type == "error":
        return f'<pre class="error">{ansi2html(chr(10).join(output.traceback))}</pre>'
    said = output.data.get("text/plain", "")
    if "text/html" in output.data:
        return self_contained(output.data["text/html"])
    for kind in ("image/png", "image/jpeg"):
        if kind in output.data:
            caption = "" if said.startswith("<") else html.escape(said)
            alt = html.escape(output.metadata.get(kind, {}).get("alt") or said)
            picture = f'<img alt="{alt}" src="data:{kind};base64,{output.data[kind].strip()}">'
            return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
    return f"<pre>{ansi2html(said)}</pre>"


def self_contained(fragment: str, lessons: str = "") -> str:
    """The fragment without what would load or run: scripts go, a remote picture becomes a link to it.

    Links to notebooks and texts become links to their pages, which lie in the folder `lessons` from here.
    """
    soup = BeautifulSoup(fragment, "html.parser")
    for element in soup.select(EXECUTABLE):
        element.decompose()
    for element in soup.find_all(style=True):
        element["style"] = LOADED.sub("", element["style"])
    for element in soup.find_all("style"):
        element.string = LOADED.sub("", element.get_text())
    for element in soup.find_all(src=re.compile(r"^\s*(https?:)?//", flags=re.IGNORECASE)):
        link = soup.new_tag("a", href=element["src"])
        link.string = f"picture: {element.get('alt') or element['src']}"
        element.replace_with(link)
    for element in soup.find_all("a", href=re.compile(r"^[^:/]+\.(ipynb|md)(#.*)?$")):
        element["href"] = lessons + re.sub(r"\.(ipynb|md)(?=#|$)", ".html", element["href"])
    return str(soup)


def page(title: str, body: str, *, script: str = "", head: str = "") -> str:
    """A whole document."""
    script = f"<script>\n{script}\n</script>" if script else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{STYLE}
{CODE_STYLE}
</style>
{head}
</head>
<body>
{body}
{script}
</body>
</html>
"""
