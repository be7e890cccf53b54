"""The lessons' web pages and slides in a real browser: they open without a network, search and move."""

import base64
import io
import shutil

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from playwright.sync_api import sync_playwright

from tools import site, slides
from tools.notebook_files import NOTEBOOKS, normalise, write_notebook

MIN_LETTERS_PX = 18  # of 750: on a screen two metres high, letters of five centimetres


def cell(source, kind, **more):
    make = new_code_cell if more else new_markdown_cell
    return make(source, metadata={"slideshow": {"slide_type": kind}}, **more)


@pytest.fixture
def pages(tmp_path):
    """A folder with the pages and slides of two small lessons."""
    printed = [new_output("stream", name="stdout", text="656 pictures\n")]
    first = [
        cell("# 01 Rates\nThe loss is $-\\log p$.", "slide"),
        cell("## Restarts\nWarm restarts find *flat* valleys.", "subslide"),
        cell("print(656, 'pictures')", "slide", outputs=printed, execution_count=1),
        cell("Speak slowly.", "notes"),
    ]
    for name, cells in {"01_rates": first, "02_more": [new_markdown_cell("# 02 More\nNothing here.")]}.items():
        write_notebook(tmp_path / f"lessons/{name}.ipynb", normalise(new_notebook(cells=cells)))
    site.build(tmp_path / "lessons", tmp_path / "site")
    slides.build(tmp_path / "lessons", tmp_path / "site/slides")
    return tmp_path / "site"


@pytest.fixture
def page():
    """A browser page; at the end, nothing but local files was asked for and no script has failed."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed")
    asked, failed = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("requestfailed", lambda request: failed.append(request.url))
        yield page
        browser.close()
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
    assert failed == []


def test_the_contents_page_finds_a_word_in_a_lesson(pages, page):
    page.goto((pages / "index.html").as_uri())
    page.get_by_label("Search in all lessons").fill("valleys restarts")
    assert page.inner_text("#said") == "1 section found"
    page.get_by_role("link", name="01 Rates: Restarts").click()
    assert page.url.endswith("01_rates.html#Restarts")
    assert page.get_by_role("heading", name="Restarts").is_visible()
    assert page.locator("math").count() == 1
    page.get_by_role("link", name="Next: 02 More").first.click()
    assert page.title() == "02 More"


def test_a_word_that_is_nowhere_is_told(pages, page):
    page.goto((pages / "index.html").as_uri())
    page.get_by_label("Search in all lessons").fill("valleys unicorn")
    assert page.inner_text("#said") == "0 sections found"


def test_slides_move_with_the_arrow_keys(pages, page):
    page.goto((pages / "slides/index.html").as_uri())
    page.get_by_role("link", name="01 Rates").click()
    page.wait_for_selector(".reveal.ready")
    assert page.locator("section.present h1").is_visible()
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**#/0/1")
    assert page.get_by_role("heading", name="Restarts").is_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**#/1")
    assert page.locator("section.present pre", has_text="656 pictures").last.is_visible()
    assert not page.locator("aside", has_text="Speak slowly.").is_visible()
    inside = "e => e.scrollHeight <= 750 && e.getBoundingClientRect().right <= innerWidth + 1"
    assert page.locator("section.present").last.evaluate(inside)


SENTENCE = "A sentence of some forty letters or more. "
SHOWN = """() => Reveal.getSlides().map(slide => [...slide.children].map(block => ({
  kind: block.tagName, words: block.textContent.replace("¶", "").trim(), again: block.matches(".again"),
  fragment: block.matches(".fragment"), figures: [...block.querySelectorAll("img")].map(i => [i.width, i.height])})))"""


def laid_out(page, folder, *cells):
    """The blocks of every slide, as the browser has divided them."""
    heading = [new_markdown_cell("# 01 Rates"), new_markdown_cell("## Part 1\nSkipped.")]
    write_notebook(folder / "lessons/01_rates.ipynb", normalise(new_notebook(cells=[*heading, *cells])))
    slides.build(folder / "lessons", folder / "slides")
    page.goto((folder / "slides/01_rates.html").as_uri())
    page.wait_for_selector(".reveal.ready")
    return page.evaluate(SHOWN)


def figure(width, height, kind="slide"):
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    data = {"image/png": base64.b64encode(stream.getvalue()).decode(), "text/plain": "The loss falls."}
    return cell("plot()", kind, outputs=[new_output("display_data", data=data)], execution_count=1)


def test_what_does_not_fit_goes_on_below_under_the_same_heading(tmp_path, page):
    first, *others = laid_out(page, tmp_path, cell("## Rates\n" + "\n\n".join([SENTENCE * 6] * 9), "slide"))
    assert [block["kind"] for block in first][:2] == ["H2", "P"] and others
    assert {(slide[0]["again"], slide[0]["words"]) for slide in others} == {(True, "Rates")}
    said = [
        block["words"] for slide in (first, *others) for block in slide if block["kind"] == "P" and not block["again"]
    ]
    assert said == [(SENTENCE * 6).strip()] * 9, "nothing is lost and nothing said twice"


def test_a_heading_goes_with_what_follows_it_and_a_slide_without_one_says_its_section(tmp_path, page):
    filled = cell("\n\n".join([SENTENCE * 6] * 3) + "\n\n### Last", "slide")
    first, second = laid_out(page, tmp_path, filled, cell(SENTENCE * 20, "-"))
    assert first[0]["words"] == "Part 1" and "H3" not in [block["kind"] for block in first]
    assert [(block["kind"], block["words"]) for block in second][0] == ("H3", "Last")


def test_a_fragment_that_is_divided_waits_only_behind_something_that_is_shown(tmp_path, page):
    question = cell("## Guess\n" + SENTENCE * 20, "slide")
    first, second = laid_out(page, tmp_path, question, figure(585, 585, "fragment"))
    assert [block["fragment"] for block in first] == [False, False, True], "the code waits"
    assert [(block["again"], block["fragment"]) for block in second] == [(True, False), (False, False)]


@pytest.mark.parametrize(
    ("size", "shown"),
    [((585, 360), (813, 500)), ((200, 100), (300, 150)), ((585, 900), (325, 500)), ((900, 90), (1140, 114))],
)
def test_figures_are_enlarged_to_the_room_there_is_but_never_until_they_blur(tmp_path, page, size, shown):
    ((*_, block),) = laid_out(page, tmp_path, figure(*size))
    assert block["figures"] == [list(shown)]


# What the slide that is shown now holds: its height in its own pixels, how far it sticks out, its smallest letters.
MEASURE = """() => {
  const slide = Reveal.getCurrentSlide(), scale = Reveal.getScale(), all = [...slide.querySelectorAll("*")];
  const shown = all.filter(e => e.getClientRects().length && !e.closest(".notes, math"));
  const worded = shown.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
  const right = Math.max(...shown.map(e => e.getBoundingClientRect().right));
  return {height: slide.scrollHeight, out: (right - slide.getBoundingClientRect().right) / scale,
          letters: Math.min(...worded.map(e => parseFloat(getComputedStyle(e).fontSize)))};
}"""


def test_every_slide_of_every_lesson_fits_and_can_be_read_from_the_last_row(tmp_path, page):
    decks = [path for path in slides.build(NOTEBOOKS, tmp_path) if path.name != "index.html"]
    assert len(decks) >= 8
    wrong, count = {}, 0
    for deck in decks:
        page.goto(deck.as_uri())
        page.wait_for_selector(".reveal.ready")
        for h, v in page.evaluate("Reveal.getSlides().map(s => [Reveal.getIndices(s).h, Reveal.getIndices(s).v || 0])"):
            page.evaluate(f"Reveal.slide({h}, {v}, 99)")  # with all its fragments
            now, count = page.evaluate(MEASURE), count + 1
            if now["height"] > slides.HEIGHT_PX or now["out"] > 1 or now["letters"] < MIN_LETTERS_PX:
                wrong[deck.stem, h, v] = now
    assert wrong == {}
    assert count > len(decks)


@pytest.mark.parametrize("width", [1000, 390], ids=["desk", "telephone"])
def test_no_page_of_a_lesson_is_wider_than_the_window(tmp_path, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    wide = {}
    for path in site.build(NOTEBOOKS, tmp_path):
        page.goto(path.as_uri())
        wide[path.stem] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: pixels for name, pixels in wide.items() if pixels > width} == {}
