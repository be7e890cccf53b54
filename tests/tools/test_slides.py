"""Which cells stand on which slide. How they are laid out is measured in tests/browser/test_lesson_pages.py."""

from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import slides


def cell(source, kind, make=new_markdown_cell):
    return make(source, metadata={"slideshow": {"slide_type": kind}})


def test_subslides_stand_below_their_slide(tmp_path):
    kinds = ["slide", "-", "subslide", "slide", "skip"]
    notebook = new_notebook(cells=[cell(f"a {kind}", kind) for kind in kinds])
    deck = BeautifulSoup(slides.deck(notebook, tmp_path), "html.parser")
    columns = [column.find_all("section") for column in deck.find_all("section", recursive=False)]
    shown = [[slide.get_text(" ", strip=True) for slide in column] for column in columns]
    assert shown == [["a slide a -", "a subslide"], ["a slide"]]


def test_a_fragment_waits_for_a_key_only_where_something_is_shown_before_it(tmp_path):
    cells = [cell("## Guess\nHow many?", "slide"), cell("print(3)", "fragment", new_code_cell)]
    cells += [cell("print(4)", "subslide", new_code_cell), cell("Speak slowly.", "notes")]
    deck = BeautifulSoup(slides.deck(new_notebook(cells=cells), tmp_path), "html.parser")
    first, second = deck.find_all("section")[1:]
    assert "print" in first.find(class_="fragment").get_text()
    assert second.find(class_="fragment") is None
    assert second["data-heading"] == "Guess", "the section that it belongs to"
    assert second.find("aside", class_="notes").get_text().strip() == "Speak slowly."
