"""Lessons for people who see no colours, read a grey print, or listen to a screen reader: the palette, the figures and
tables of every notebook, and the built pages and slides."""

import itertools
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.colors import to_rgb
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pygments.styles import get_style_by_name

from helpers.figures import style as drawing
from helpers.figures.style import COLOURS, DASHES, GREY, MARKS, ink
from tests.notebooks.test_stored import SENTENCE_WORDS, label, stored
from tools import links, pages, site, slides
from tools.notebook_files import NOTEBOOKS, code_cells

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))

# WCAG 2.2: success criterion 1.4.11 for lines and marks that one needs to see, 1.4.3 for text
GRAPHICS_CONTRAST, TEXT_CONTRAST = 3.0, 4.5
# Colours of different lines: a distance of 15 in CIELAB under each kind of colour blindness, the limit by which the R
# package vangogh calls a palette safe; in grey 4.6, twice the smallest difference that people notice, 2.3
# (Mahy, Van Eycken and Oosterlinck 1994), because there dashes and marks help.
APART, APART_IN_GREY = 15.0, 4.6
# Machado, Oliveira and Fernandes 2009, severity 1.0: what somebody without one kind of cones sees, in linear RGB
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "full sight": np.eye(3),
}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear RGB
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE_XYZ = XYZ.sum(axis=1)


def linear(colour: str) -> np.ndarray:
    """The light of a colour: linear RGB, (3,) in 0..1."""
    parts = np.array(to_rgb(colour))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(colour: str, background: str = "#FFFFFF") -> float:
    """WCAG's ratio of two colours, 1 to 21."""
    low, high = sorted(float(linear(each) @ LUMINANCE) for each in (colour, background))
    return (high + 0.05) / (low + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB: L* 0..100, a*, b*."""
    share = XYZ @ np.clip(light, 0, 1) / WHITE_XYZ
    f = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(first: str, second: str, sight: str) -> float:
    """How far apart two colours look in CIELAB to eyes of this kind."""
    seen = [lab(np.array(BLINDNESS[sight]) @ linear(colour)) for colour in (first, second)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def in_grey(first: str, second: str) -> float:
    """How far apart two colours are on a grey print: the difference of L*."""
    return abs(lab(linear(first))[0] - lab(linear(second))[0])


# --- the palette ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [*COLOURS, GREY])
def test_lines_and_marks_stand_out_on_white_and_so_do_words_in_their_colour(colour):
    assert contrast(colour) >= GRAPHICS_CONTRAST
    assert contrast(ink(colour)) >= TEXT_CONTRAST


def test_every_colour_of_the_drawing_module_is_in_the_palette():
    named = {value for name, value in vars(drawing).items() if name.isupper() and str(value).startswith("#")}
    assert named == {*COLOURS, GREY}


@pytest.mark.parametrize("sight", BLINDNESS)
def test_the_colours_of_different_lines_are_told_apart(sight):
    close = {(a, b): distance(a, b, sight) for a, b in itertools.combinations(COLOURS, 2)}
    assert {pair: far for pair, far in close.items() if far < APART} == {}


def test_a_grey_print_keeps_the_lines_apart():
    close = {(a, b): in_grey(a, b) for a, b in itertools.combinations(COLOURS, 2)}
    assert {pair: far for pair, far in close.items() if far < APART_IN_GREY} == {}
    assert len({str(dash) for dash in DASHES}) == len(set(MARKS)) == len(DASHES) == len(COLOURS)


@pytest.mark.parametrize(
    ("colour", "background", "ratio"), [("#000000", "#FFFFFF", 21), ("#767676", "#FFFFFF", 4.54), ("#777", "#777", 1)]
)
def test_contrast_agrees_with_published_values(colour, background, ratio):
    assert contrast(colour, background) == pytest.approx(ratio, abs=0.005)


def test_distances_agree_with_published_values():
    assert lab(linear("#FFFFFF")) == pytest.approx([100, 0, 0], abs=0.01)
    assert lab(linear("#FF0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    for matrix in BLINDNESS.values():
        assert np.sum(matrix, axis=1) == pytest.approx(1, abs=1e-5), "a grey stays a grey"


def test_the_measure_finds_known_bad_pairs():
    assert distance("#CC0000", "#5D7A00", "full sight") > 60
    assert distance("#CC0000", "#5D7A00", "deuteranopia") < APART, "red and olive"
    assert in_grey("#56B4E9", "#E69F00") < APART_IN_GREY, "Okabe and Ito's sky blue and orange"
    assert contrast("#E69F00") < GRAPHICS_CONTRAST


# --- style sheets of pages and slides ---------------------------------------------------------------------------------


def text_colours(sheet: str) -> list[tuple[str, str]]:
    """(selector, colour) of every rule that colours words."""
    rules = re.findall(r"([^{}]+)\{([^}]*)\}", sheet)
    found = [(who.strip(), re.search(r"(?<![-\w])color:\s*(#\w+)", what)) for who, what in rules]
    return [(who, colour[1]) for who, colour in found if colour]


@pytest.mark.parametrize("sheet", [pages.STYLE, slides.STYLE], ids=["pages", "slides"])
def test_words_on_pages_and_slides_are_readable(sheet):
    colours = text_colours(sheet)
    assert len(colours) >= 2
    assert {who: colour for who, colour in colours if contrast(colour) < TEXT_CONTRAST} == {}


def test_coloured_code_is_readable():
    background = re.search(r"\.highlight \{ background: (#\w+)", pages.STYLE)[1]
    style = get_style_by_name(pages.CODE_COLOURS)
    faint = {
        str(token): look["color"]
        for token, look in style
        if look["color"]
        and contrast(f"#{look['color']}", background) < TEXT_CONTRAST
        and str(token) not in ("Token.Text.Whitespace", "Token.Error")
    }
    assert faint == {}


# --- rules for notebooks: each returns what is wrong, [] when nothing is ----------------------------------------------


def is_sentence(text: str) -> bool:
    return len(text.split()) >= SENTENCE_WORDS


def gives_every_figure_an_alternative_text(notebook):
    """The text a screen reader says instead of the picture, stored with it; and the sentence below it says no less."""
    wrong = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for kind in {"image/png", "image/jpeg"} & set(output.get("data", {})):
                alt = output.metadata.get(kind, {}).get("alt", "")
                said = output.data.get("text/plain", "")
                if not (is_sentence(alt) and is_sentence(said) and alt.startswith(said)):
                    wrong.append(f"{label(cell)}: {alt!r}, {said!r}")
    return wrong


def introduces_every_table(notebook):
    """A table in a text has a full header row, and above it, in the same cell, a heading or a sentence."""
    wrong = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        lines = re.sub(r"^```.*?^```", "", cell.source, flags=re.MULTILINE | re.DOTALL).splitlines()
        for at, line in enumerate(lines):
            if not re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", line.strip()):
                continue
            header = [name.strip() for name in re.split(r"(?<!\\)\|", lines[at - 1].strip().strip("|"))]
            above = [text for text in lines[: at - 1] if text.strip()]
            if not all(header):
                wrong.append(f"{label(cell)}: a column without a name in {header}")
            if not above or above[-1].lstrip().startswith("|"):
                wrong.append(f"{label(cell)}: nothing says what the table shows")
    return wrong


def names_the_columns_of_tables_in_outputs(notebook):
    wrong = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            soup = BeautifulSoup(output.get("data", {}).get("text/html", ""), "html.parser")
            wrong += [label(cell) for table in soup.find_all("table") if not table.find("th")]
    return wrong


RULES = [
    gives_every_figure_an_alternative_text,
    introduces_every_table,
    names_the_columns_of_tables_in_outputs,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_notebook(path, rule):
    assert rule(stored(path)) == []


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TABLE = "| sign | meaning |\n|---|---|\n| a | b |"


def figure(said: str, alt: str | None):
    data = {"image/png": PIXEL, "text/plain": said}
    return new_code_cell(
        "plot()", outputs=[new_output("display_data", data=data, metadata={"image/png": {"alt": alt}})]
    )


def html(source: str):
    return new_code_cell("x", outputs=[new_output("display_data", data={"text/html": source, "text/plain": "table"})])


@pytest.mark.parametrize(
    ("rule", "cell", "fine"),
    [
        (RULES[0], figure("The loss falls slowly.", "The loss falls slowly. From 0.7 to 0.3."), True),
        (RULES[0], figure("The loss falls slowly.", ""), False),
        (RULES[0], figure("<Figure size 1x1 with 1 Axes>", "The loss falls slowly."), False),
        (RULES[0], figure("The loss falls slowly.", "Another figure, of the accuracy."), False),
        (RULES[1], new_markdown_cell(f"The signs are these:\n\n{TABLE}"), True),
        (RULES[1], new_markdown_cell(f"## Signs\n\n{TABLE}"), True),
        (RULES[1], new_markdown_cell(TABLE), False),
        (RULES[1], new_markdown_cell(f"The signs are these:\n\n{TABLE}\n\n{TABLE}"), False),
        (RULES[1], new_markdown_cell(f"The signs:\n\n{TABLE.replace('sign', '', 1)}"), False),
        (RULES[1], new_markdown_cell(f"```\n{TABLE}\n```"), True),
        (RULES[2], html("<table><tr><th>class</th></tr></table>"), True),
        (RULES[2], html("<table><tr><td>class</td></tr></table>"), False),
    ],
)
def test_the_rules_bite(rule, cell, fine):
    assert (rule(new_notebook(cells=[cell])) == []) is fine


# --- the built pages and slides ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(folder, parsed pages by their path in it) of the real lessons' pages and slides."""
    folder = tmp_path_factory.mktemp("site")
    written = [*site.build(NOTEBOOKS, folder), *slides.build(NOTEBOOKS, folder / "slides")]
    return folder, {path.relative_to(folder).as_posix(): links.parse(path) for path in written}


def on_all(built, wrong) -> dict[str, list]:
    return {name: found for name, page in built[1].items() if (found := wrong(page))}


def test_each_page_says_its_language_and_has_a_title_of_its_own(built):
    titles = [page.title.get_text() for page in built[1].values()]
    assert len(titles) > len(PATHS) and all(titles)
    lessons = [page.title.get_text() for name, page in built[1].items() if "/" not in name]
    assert len(set(lessons)) == len(lessons)
    assert on_all(built, lambda page: page.html.get("lang") != "en") == {}


def test_no_heading_level_is_skipped_on_a_page(built):
    def skipped(page):
        levels = [int(tag.name[1]) for tag in page.find_all(re.compile("^h[1-6]$"))]
        ups = [(a, b) for a, b in itertools.pairwise(levels) if b > a + 1]
        return ups or ([levels] if levels[:1] != [1] else [])

    assert on_all(built, skipped) == {}


def test_every_table_on_a_page_names_its_columns(built):
    assert on_all(built, lambda page: [str(t)[:60] for t in page.find_all("table") if not t.find("th")]) == {}


def test_every_link_and_picture_on_a_page_has_words_and_leads_to_a_part_that_is_there(built):
    folder, parsed = built
    found = [(name, *link) for name in parsed for link in links.links(folder / name)]
    assert len(found) > 100
    said = {(name, target): links.problem(folder / name, *link, target) for name, *link, target in found}
    assert {where: wrong for where, wrong in said.items() if wrong} == {}


def test_every_field_on_a_page_has_a_label(built):
    def unnamed(page):
        fields = page.find_all(["input", "select", "textarea", "button"])
        return [str(f) for f in fields if not (f.get("aria-label") or page.find("label", attrs={"for": f.get("id")}))]

    assert on_all(built, unnamed) == {}


def test_no_part_of_a_page_is_named_twice(built):
    def doubled(page):
        names = [tag["id"] for tag in page.find_all(id=True)]
        return sorted({name for name in names if names.count(name) > 1})

    assert on_all(built, doubled) == {}
