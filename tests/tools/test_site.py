"""Web pages and slides that load nothing from elsewhere."""

import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.tools.small_lessons import PIXEL
from tools import pages, site, slides
from tools.notebook_files import WIDGET, write_notebook


@pytest.fixture
def rich(lessons):
    """Lessons with everything that could reach for the network."""
    html = "<script src='https://cdn.x/a.js'></script><style>@import url(https://x/a.css);</style><b>kept</b>"
    picture = {"image/png": PIXEL, "text/plain": "The loss falls."}
    outputs = [
        new_output("display_data", data={"text/html": html, "text/plain": "html", WIDGET: {"model_id": "1"}}),
        new_output("display_data", data=picture, metadata={"image/png": {"alt": "The loss falls to 0.3."}}),
        new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m & <b>\n"),
    ]
    prose = (
        "# 03 Rich\n![far](https://x.org/a.png) and ![near](a.png)\n\n<img src='//x.org/b.png'>\n\n"
        "<div style='background: url(https://x.org/c.png)'>d</div>\n\n$$ L = -\\log p $$\n\n[web](https://x.org) `$5`"
    )
    slide = {"slideshow": {"slide_type": "slide"}}
    cells = [
        new_markdown_cell(prose, metadata=slide),
        new_code_cell("plot(1)", outputs=outputs, execution_count=1, metadata=slide),
    ]
    write_notebook(lessons / "03_rich.ipynb", new_notebook(cells=cells))
    text = "# For instructors\n[First](01_lesson.ipynb#Exercise), [rates](#2_rates-fit-twice)"
    text += "\n\n## 2_Rates: `fit`, twice\n"
    (lessons / "INSTRUCTORS.md").write_text(text)
    return lessons


def loads(path: Path) -> list[str]:
    """Every address that a browser fetches by itself when it opens the page."""
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    found = [tag.get(name, "") for tag in soup.find_all() for name in ("src", "srcset", "data", "poster", "background")]
    found += [tag["href"] for tag in soup.find_all("link")]
    styles = [tag.get_text() for tag in soup.find_all("style")] + [tag["style"] for tag in soup.find_all(style=True)]
    found += re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s;]+)", " ".join(styles))
    return [address for address in found if address and not address.startswith("data:")]


def test_pages_load_nothing(rich, tmp_path):
    (rich / "a.png").write_bytes(b"picture")
    written = site.build(rich, tmp_path / "site")
    assert {path: loads(path) for path in written if loads(path)} == {}
    assert sorted(path.name for path in written) == sorted(
        ["01_lesson.html", "02_more.html", "03_rich.html", "INSTRUCTORS.html", "index.html"]
    )


def test_slides_load_only_what_lies_beside_them(rich, tmp_path):
    written = slides.build(rich, tmp_path / "slides")
    local = {address for path in written for address in loads(path)} - {"a.png"}  # not there in this test
    assert all(address.startswith("reveal/") for address in local), local
    assert [address for address in local if not (tmp_path / "slides" / address).exists()] == []
    sheets = [path.read_text() for path in (tmp_path / "slides/reveal").rglob("*.css")]
    assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", " ".join(sheets)) == []


def test_a_page_shows_text_code_outputs_formulas_and_descriptions(rich, tmp_path):
    (rich / "a.png").write_bytes(b"picture")
    site.build(rich, tmp_path / "site")
    page = BeautifulSoup((tmp_path / "site/03_rich.html").read_text(), "html.parser")
    assert page.html["lang"] == "en"
    assert page.title.get_text() == "03 Rich"
    assert page.find("math")["display"] == "block"
    assert page.find("code").get_text() == "$5"
    assert page.find("b").get_text() == "kept"
    assert page.find("figcaption").get_text() == "The loss falls."
    assert page.find("figure").img["alt"] == "The loss falls to 0.3."
    assert page.find("img", alt="near")["src"].startswith("data:image/png;base64,")
    assert page.find("a", string="picture: far")["href"] == "https://x.org/a.png"
    assert "red & <b>" in page.get_text()
    assert "plot(1)" in page.get_text()


def test_links_between_lessons_lead_to_pages_and_solutions_are_folded(rich, tmp_path):
    site.build(rich, tmp_path / "site")
    page = BeautifulSoup((tmp_path / "site/01_lesson.html").read_text(), "html.parser")
    assert page.find("a", string="the second")["href"] == "02_more.html"
    folded = " ".join(tag.get_text() for tag in page.find_all("details"))
    assert "answer = 3" in folded and "because" in folded and "prime" in folded
    instructors = (tmp_path / "site/INSTRUCTORS.html").read_text()
    assert 'href="01_lesson.html#Exercise"' in instructors


def test_a_texts_headings_are_linked_to_as_on_github(rich, tmp_path):
    """Catches a page that names them as JupyterLab does, so that the text's links to its own parts lead nowhere."""
    site.build(rich, tmp_path / "site")
    page = BeautifulSoup((tmp_path / "site/INSTRUCTORS.html").read_text(), "html.parser")
    assert page.find("a", string="rates")["href"] == "#2_rates-fit-twice"
    heading = page.find("h2")
    assert heading["id"] == "2_rates-fit-twice" and heading.code.get_text() == "fit"
    assert heading.find("a")["href"] == "#2_rates-fit-twice"
    index = (tmp_path / "site/index.html").read_text()
    assert "INSTRUCTORS.html#2_rates-fit-twice" in index


def test_the_contents_page_knows_every_section(rich, tmp_path):
    site.build(rich, tmp_path / "site")
    text = (tmp_path / "site/index.html").read_text()
    known = json.loads(re.search(r"const ENTRIES = (.*);$", text, flags=re.MULTILINE)[1].replace("<\\/", "</"))
    exercise = next(entry for entry in known if entry["heading"] == "Exercise")
    assert exercise["page"] == "01_lesson.html#Exercise"
    assert "answer = 3" in exercise["text"]
    assert 'href="03_rich.html">03 Rich' in text


def test_pages_of_lessons_that_are_gone_go_too(rich, tmp_path):
    site.build(rich, tmp_path / "site")
    (rich / "03_rich.ipynb").unlink()
    site.build(rich, tmp_path / "site")
    assert not (tmp_path / "site/03_rich.html").exists()


@pytest.mark.parametrize("tool", [site, slides])
def test_other_files_of_the_folder_stay(rich, tmp_path, tool):
    """Catches a public folder that is emptied because slides or pages go there."""
    (tmp_path / "public").mkdir()
    for name in ("about.html", "photo.jpg"):
        (tmp_path / "public" / name).write_text("mine")
    tool.build(rich, tmp_path / "public")
    tool.build(rich, tmp_path / "public")
    assert [(tmp_path / "public" / name).read_text() for name in ("about.html", "photo.jpg")] == ["mine", "mine"]


def test_only_tagged_cells_are_slides(rich, tmp_path):
    slides.build(rich, tmp_path / "slides")
    deck = BeautifulSoup((tmp_path / "slides/01_lesson.html").read_text(), "html.parser")
    assert len(deck.select(".slides > section")) == 1
    assert "Exercise" not in deck.select_one(".slides").get_text()
    assert "prime" in deck.select_one("aside.notes").get_text()
    assert "answer" not in deck.select_one(".slides").get_text(), "hide-input"
    assert not (tmp_path / "slides/02_more.html").exists(), "a notebook without slides has no page"
    assert (
        len(BeautifulSoup((tmp_path / "slides/03_rich.html").read_text(), "html.parser").select(".slides > section"))
        == 2
    )


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<img src='data:image/svg+xml;base64,AAAA'>",
    "<img src='//x.org/a.png' srcset='https://x.org/a.png 2x'>",
    "<img src='\\\\x.org/a.png'>",
    "<picture><source srcset='https://x.org/a.webp'><img src='https://x.org/a.png'></picture>",
    "<svg onload=alert(1)><image href='https://x.org/a.png'/><script>alert(1)</script></svg>",
    "<a href='javascript:alert(1)'>a</a>",
    "<a href=' java&#10;script:alert(1)'>a</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>a</a>",
    "<a href='#' onclick='alert(1)'>a</a>",
    "<form action='https://x.org'><button formaction='javascript:alert(1)'>a</button></form>",
    "<meta http-equiv=refresh content='0;url=https://x.org'><base href='https://x.org'>",
    "<link rel=stylesheet href='https://x.org/a.css'><style>@import 'https://x.org/b.css';</style>",
    "<div style='background: url(https://x.org/a.png); list-style-image: url(//x.org/b.png)'>a</div>",
    "<table background='https://x.org/a.png'><tr><td>a</td></tr></table>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe><object data='https://x.org'></object>",
    "<video src='https://x.org/a.mp4' poster='https://x.org/a.png' autoplay></video>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
]
RUN_OR_LOAD = {
    "script",
    "style",
    "svg",
    "iframe",
    "object",
    "form",
    "button",
    "meta",
    "base",
    "link",
    "video",
    "source",
}


@pytest.mark.parametrize("fragment", HOSTILE)
def test_nothing_in_a_page_runs_or_loads(fragment, tmp_path):
    """As a browser's parser reads what is left: no script, no handler, no address that is fetched by itself."""
    page = tmp_path / "page.html"
    page.write_text(pages.self_contained(fragment), encoding="utf-8")
    assert set(loads(page)) <= {"x"}
    elements = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").find_all()
    assert {tag.name for tag in elements} & RUN_OR_LOAD == set()
    assert [name for tag in elements for name in tag.attrs if name.startswith("on") or "srcset" in name] == []
    addresses = [tag.get("href", "") for tag in elements]
    assert [address for address in addresses if re.match(r"\s*(javascript|data):", address)] == []


@pytest.mark.parametrize(
    "kept",
    [
        '<div aria-label="two cells" role="img" style="width:90px;line-height:1.3">a</div>',
        f'<img alt="a" src="data:image/png;base64,{PIXEL}" style="object-fit:contain">',
        '<a href="mailto:a@x.org">a</a>',
        '<a href="https://x.org/a?b=1#c">a</a>',
        "<details><summary>Hint 1</summary>The idea.</details>",
    ],
)
def test_what_is_harmless_stays_as_it_is(kept):
    assert BeautifulSoup(pages.self_contained(kept), "html.parser") == BeautifulSoup(kept, "html.parser")


@pytest.mark.parametrize(
    "formula",
    [r"\frac{a_i}{b^2}", r"\sqrt[3]{x} \le \sum_{k=1}^{K} e^{-z_k}", r"\begin{pmatrix}1 & 2\\3 & 4\end{pmatrix}"],
)
def test_formulas_stay_whole(formula):
    wanted = BeautifulSoup(pages._mathml(formula, "block"), "html.parser")
    del wanted.math["xmlns"]  # a page needs none
    shown = BeautifulSoup(pages.self_contained(str(wanted)), "html.parser")
    assert [tag.name for tag in shown.find_all()] == [tag.name for tag in wanted.find_all()]
    assert [tag.attrs for tag in shown.find_all()] == [tag.attrs for tag in wanted.find_all()]
    assert shown.get_text() == wanted.get_text()
