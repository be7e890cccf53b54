"""Which cells stand on which slide."""

import base64
import io
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tools import slides


def test_subslides_stand_below_their_slide(tmp_path):
    kinds = ["slide", "-", "subslide", "slide", "skip"]
    cells = [new_markdown_cell(f"a {kind}", metadata={"slideshow": {"slide_type": kind}}) for kind in kinds]
    deck = BeautifulSoup(slides.deck(new_notebook(cells=cells), tmp_path), "html.parser")
    columns = [column.find_all("section") for column in deck.find_all("section", recursive=False)]
    shown = [[slide.get_text(" ", strip=True) for slide in column] for column in columns]
    assert shown == [["a slide a -", "a subslide"], ["a slide"]]


def sections_of(*cells, kind="slide"):
    """The slides that cells of one kind make, as parsed HTML."""
    for cell in cells:
        cell.metadata["slideshow"] = {"slide_type": cell.metadata.get("kind", kind)}
    notebook = new_notebook(cells=[new_markdown_cell("# 01 Rates"), new_markdown_cell("## Part 1\nSkipped."), *cells])
    deck = BeautifulSoup(slides.deck(notebook, Path()), "html.parser")
    return [slide for slide in deck.find_all("section") if not slide.find("section")]


def drawn(width: int, height: int) -> str:
    """A PNG of that size, as a notebook stores it."""
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def with_figure(width: int, height: int, source: str = "plot()"):
    data = {"image/png": drawn(width, height), "text/plain": "The loss falls."}
    return new_code_cell(source, outputs=[new_output("display_data", data=data)])


def test_what_no_longer_fits_goes_on_below_under_the_same_title():
    prose = new_markdown_cell("## Rates\n" + "\n\n".join(["A sentence of some forty letters or more. " * 6] * 6))
    whole = sections_of(prose)
    assert len(whole) > 1
    assert [slide.find(class_="again") is not None for slide in whole] == [False] + [True] * (len(whole) - 1)
    assert whole[1].find(class_="again").get_text() == "Rates"
    assert sum(len(slide.find_all("p", class_=None)) for slide in whole) == 6, "nothing is lost and nothing said twice"


def test_a_heading_stays_with_what_follows_it():
    filled = new_markdown_cell("A sentence of some forty letters or more. " * 23 + "\n\n### Last")
    first, second = sections_of(filled, new_code_cell("print(1)"), kind="-")
    assert first.find("h3") is None
    assert second.find("h3").get_text().strip("¶") == "Last"
    assert "print" in second.get_text()


def test_a_slide_of_code_alone_says_the_section_it_belongs_to():
    (slide,) = sections_of(new_code_cell("print(1)"))
    assert slide.find(class_="again").get_text() == "Part 1"


@pytest.mark.parametrize(
    ("size", "shown"),
    [((585, 360), (812, 500)), ((200, 100), (300, 150)), ((585, 900), (325, 500)), ((900, 90), (1140, 114))],
)
def test_figures_are_enlarged_to_the_room_there_is_but_never_until_they_blur(size, shown):
    (slide,) = sections_of(with_figure(*size))
    image = slide.find("img")
    assert image["style"] == f"width: {shown[0]}px"
    assert image["height"] == str(shown[1])


def test_a_fragment_waits_for_a_key_only_where_something_is_shown_before_it():
    question, answer = new_markdown_cell("## Guess\nHow many?"), new_code_cell("print(3)")
    answer.metadata["kind"] = "fragment"
    (slide,) = sections_of(question, answer)
    assert "print" in slide.find(class_="fragment").get_text()
    high = with_figure(585, 585)
    high.metadata["kind"] = "fragment"
    long = new_markdown_cell("## Guess\n" + "A sentence of some forty letters or more. " * 20)
    assert sections_of(long, high)[-1].find(class_="fragment") is None
