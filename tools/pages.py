"""Cells as HTML that needs nothing from elsewhere: formulas as MathML, pictures inside, no scripts."""

import html
import re
from pathlib import Path

import nh3
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

# What may stand in a page besides the plain elements that nh3 knows; all else goes, so nothing runs and nothing loads
FORMULAS = {"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mstyle", "mpadded", "mphantom", "menclose"}
FORMULAS |= {"mfrac", "msqrt", "mroot", "msub", "msup", "msubsup", "munder", "mover", "munderover"}
FORMULAS |= {"mtable", "mtr", "mtd"}
LOOKS = {"columnalign", "display", "displaystyle", "fence", "form", "linethickness", "lspace", "mathvariant", "maxsize"}
LOOKS |= {"minsize", "movablelimits", "notation", "rspace", "scriptlevel", "stretchy", "voffset", "width", "height"}
ATTRIBUTES = nh3.ALLOWED_ATTRIBUTES | dict.fromkeys(FORMULAS, LOOKS)
ATTRIBUTES |= {"*": {"class", "id", "lang", "role", "style", "tabindex", "title"}, "details": {"open"}}
STYLES = {"width", "max-width", "height", "line-height", "overflow-wrap", "white-space", "text-align", "display", "gap"}
STYLES |= {"flex-wrap", "object-fit", "color", "background-color", "font-weight", "margin", "padding", "border"}
PICTURE_INSIDE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|[/\\]{2}")  # an address with a scheme, or of another machine


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
    """The fragment without anything that would load or run; a remote picture becomes a link to it.

    Links to notebooks and texts become links to their pages, which lie in the folder `lessons` from here.
    """
    soup = BeautifulSoup(fragment, "html.parser")
    for image in soup.find_all("img", src=re.compile(r"^\s*(https?:)?//", flags=re.IGNORECASE)):
        link = soup.new_tag("a", href=image["src"])
        link.string = f"picture: {image.get('alt') or image['src']}"
        image.replace_with(link)
    for link in soup.find_all("a", href=re.compile(r"^[^:/]+\.(ipynb|md)(#.*)?$")):
        link["href"] = lessons + re.sub(r"\.(ipynb|md)(?=#|$)", ".html", link["href"])
    return nh3.clean(
        str(soup),
        tags=nh3.ALLOWED_TAGS | FORMULAS,
        attributes=ATTRIBUTES,
        attribute_filter=_allowed,
        generic_attribute_prefixes={"aria-"},
        filter_style_properties=STYLES,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )


def _allowed(element: str, attribute: str, value: str) -> str | None:
    """The attribute's value, or None where it must go: pictures lie in the page or beside it, links lead somewhere."""
    address = re.sub(r"[\x00-\x20]", "", value).lower()
    if attribute == "src" and ELSEWHERE.match(address) and not PICTURE_INSIDE.match(address):
        return None
    return None if attribute == "href" and address.startswith("data:") else value


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
