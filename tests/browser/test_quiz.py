"""A quiz in a real JupyterLab, answered with the keyboard alone."""

from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers.lessons.quiz_questions import read_quiz
from tests.browser.driving import (
    SLOW_MS,
    expect,
    needs_chromium,
    open_chromium,
    open_lab,
    open_notebook,
    run_all_cells,
    watched_page,
)
from tools.notebook_files import write_notebook

SAMPLES = Path(__file__).parents[1] / "lessons/quizzes"
pytestmark = [pytest.mark.timeout(600), needs_chromium]


@pytest.fixture
def quiz(tmp_path):
    """(page, quiz on it) with a question of every kind."""
    (tmp_path / "lab").mkdir()
    shown = f'Quiz("all", folder=Path({str(SAMPLES)!r}), answers=Path({str(tmp_path / "answers")!r}))'
    imports = "from pathlib import Path\nfrom helpers.lessons.quiz import Quiz"
    sources = [imports, shown, "1", "2"]  # `open_notebook` waits for four
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    write_notebook(tmp_path / "lab/quiz.ipynb", notebook)
    problems = []
    with open_lab(tmp_path / "lab", tmp_path / "private") as address, open_chromium() as chromium:
        page = watched_page(chromium, problems)
        open_notebook(page, address.format("quiz.ipynb"))
        run_all_cells(page)
        shown = page.locator(".course-quiz")
        expect(shown.get_by_role("button")).to_have_count(len(read_quiz(SAMPLES / "all.toml")), timeout=SLOW_MS)
        yield page, shown
    assert problems == []


def test_a_quiz_is_answered_with_tab_space_and_enter(quiz):
    page, shown = quiz
    question = read_quiz(SAMPLES / "all.toml")[0]
    shown.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    press_tab(page, len(question.options))
    page.keyboard.press("Enter")
    expect(shown.get_by_text(f"Not yet. {question.options[0].feedback}")).to_be_visible()
    shown.get_by_role("radio").first.focus()
    press_tab(page, question.answer)
    page.keyboard.press("Space")
    press_tab(page, len(question.options) - question.answer)
    page.keyboard.press("Enter")
    expect(shown.get_by_text(f"Right. {question.options[question.answer].feedback}")).to_be_visible()
    expect(shown.get_by_text("1 of 6 correct.")).to_be_visible()


def press_tab(page, times):
    """ipywidgets' radio buttons are a stop each, not one for the group."""
    for _ in range(times):
        page.keyboard.press("Tab")


def test_names_are_heard_and_options_do_not_overlap(quiz):
    page, shown = quiz
    questions = read_quiz(SAMPLES / "all.toml")
    for question in questions:
        for letter, option in zip("abcdef", getattr(question, "options", ()), strict=False):
            expect(shown.get_by_role("radio", name=f"{letter}) {option.text}")).to_have_count(1)
    for name in ("answer 4, 1", "answer 4, 3", "answer 6, 2"):
        expect(shown.get_by_role("combobox", name=name)).to_have_count(1)
    for name in ("Answer 3", "Answer 7"):
        expect(shown.get_by_role("textbox", name=name)).to_have_count(1)
    page.set_viewport_size({"width": 700, "height": 900})  # now options need two lines
    options = "[...document.querySelector('.widget-radio-box').querySelectorAll('label')]"
    page.wait_for_function(f"{options}.some(one => one.offsetHeight > 30)")  # JupyterLab lays out a moment later
    groups = shown.locator(".widget-radio-box")
    boxes = [label.bounding_box() for label in groups.first.locator("label").all()]
    assert any(box["height"] > 30 for box in boxes), "no option is long enough to show anything"
    for upper, lower in zip(boxes, boxes[1:], strict=False):
        assert upper["y"] + upper["height"] <= lower["y"] + 1
    matching = sum(hasattr(question, "pairs") for question in questions)  # they also say which rows are open
    assert shown.locator(".course-status[aria-live=polite]").count() == len(questions) + matching + 1
