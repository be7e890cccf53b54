"""A quiz in a real JupyterLab, answered with the keyboard alone."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers.lessons.quiz import QUIZZES, read_quiz
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

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), needs_chromium]


@pytest.fixture
def quiz(tmp_path):
    """(page, quiz on it) of lesson 04, whose questions are the longest."""
    (tmp_path / "lab").mkdir()
    sources = ["from helpers.lessons.quiz import Quiz", 'Quiz("04")', "1", "2"]  # `open_notebook` waits for four
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    write_notebook(tmp_path / "lab/quiz.ipynb", notebook)
    problems = []
    with open_lab(tmp_path / "lab", tmp_path / "private") as address, open_chromium() as chromium:
        page = watched_page(chromium, problems)
        open_notebook(page, address.format("quiz.ipynb"))
        run_all_cells(page)
        shown = page.locator(".course-quiz")
        expect(shown.get_by_role("button")).to_have_count(len(read_quiz(QUIZZES / "04.toml")), timeout=SLOW_MS)
        yield page, shown
    assert problems == []


def test_a_quiz_is_answered_with_tab_space_and_enter(quiz):
    page, shown = quiz
    question = read_quiz(QUIZZES / "04.toml")[0]
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
    expect(shown.get_by_text("1 of 5 correct.")).to_be_visible()


def press_tab(page, times):
    """ipywidgets' radio buttons are a stop each, not one for the group."""
    for _ in range(times):
        page.keyboard.press("Tab")


def test_names_are_heard_and_options_do_not_overlap(quiz):
    page, shown = quiz
    questions = read_quiz(QUIZZES / "04.toml")
    for question in questions:
        for letter, option in zip("abcdef", question.options, strict=False):
            expect(shown.get_by_role("radio", name=f"{letter}) {option.text}")).to_have_count(1)
    page.set_viewport_size({"width": 700, "height": 900})  # now options need two lines
    boxes = [label.bounding_box() for label in shown.locator(".widget-radio-box label").all()]
    assert any(box["height"] > 30 for box in boxes), "no option is long enough to show anything"
    for upper, lower in zip(boxes, boxes[1:], strict=False):
        assert upper["y"] + upper["height"] <= lower["y"] + 1
    assert shown.locator(".course-status[aria-live=polite]").count() == len(questions) + 1
