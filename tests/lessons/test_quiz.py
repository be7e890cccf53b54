"""Quizzes: every question of every file is answered by clicking, and every file is as the form wants it."""

import re
import tomllib

import ipywidgets as widgets
import pytest
from bs4 import BeautifulSoup

from helpers.lessons.quiz import QUIZZES, Option, Question, Quiz, read_quiz
from tools.notebook_files import code_cells, find_notebooks, read_notebook

FILES = sorted(QUIZZES.glob("*.toml"))
QUESTIONS = [(path.stem, number) for path in FILES for number in range(len(read_quiz(path)))]


def tables(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))["question"]


# --- the files ----------------------------------------------------------------------------------------------


def test_every_lesson_has_a_quiz_file():
    lessons = {path.stem.split("_")[0] for path in find_notebooks()}
    assert [path.stem for path in FILES] == [f"{number:02}" for number in range(len(FILES))]
    assert lessons <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_every_notebook_shows_its_own_quiz_once(path):
    """Catches a quiz left out, or copied from another lesson with its number."""
    shown = [
        found for cell in code_cells(read_notebook(path)) for found in re.findall(r'Quiz\("(\d\d)"\)', cell.source)
    ]
    assert shown == [path.stem.split("_")[0]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_as_the_form_wants_it(path):
    questions = tables(path)
    assert 3 <= len(questions) <= 5
    assert len({question["ask"] for question in questions}) == len(questions)
    for question in questions:
        assert set(question) == {"ask", "option"} and question["ask"].rstrip("\"'").endswith(("?", ":"))
        options = question["option"]
        assert sum(option.get("right", False) for option in options) == 1
        for option in options:
            assert set(option) - {"right"} == {"text", "feedback"} and option.get("right", True) is True
            assert option["feedback"].endswith((".", "?", ".)")) and len(option["feedback"].split()) >= 5
        assert (
            len({option["text"] for option in options})
            == len({option["feedback"] for option in options})
            == len(options)
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_texts_are_plain(path):
    """Catches backticks, tags and formulas, which a radio button shows as they are."""
    for question in tables(path):
        for text in [question["ask"], *(text for option in question["option"] for text in map(str, option.values()))]:
            assert not re.search(r"`|<\w|\$[^$]+\$|\s\s|\n", text), text


def test_the_right_answer_stands_out_neither_by_place_nor_by_length():
    """Catches quizzes that are solved without reading the question."""
    questions = [question for path in FILES for question in read_quiz(path)]
    longest = sum(max(question.options, key=lambda option: len(option.text)).right for question in questions)
    assert longest <= len(questions) / 2
    for path in FILES:
        places = [question.answer for question in read_quiz(path)]
        assert max(places.count(place) for place in set(places)) <= len(places) - 2, path.name


# --- answering ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lesson", "number"), QUESTIONS)
def test_every_option_of_every_question_gets_its_own_answer(lesson, number):
    quiz = Quiz(lesson)
    asked, others = quiz.asked[number], len(quiz.questions)
    for place, option in enumerate(asked.question.options):
        asked.choice.value = place
        assert asked.said.value == "", "what was said of another option is gone"
        asked.check.click()
        said = BeautifulSoup(asked.said.value, "html.parser").get_text()
        assert said == f"{'Right' if option.right else 'Not yet'}. {option.feedback}"
        assert quiz.score == int(option.right)
        assert quiz.total.value == f"{quiz.score} of {others} correct."


def test_a_check_without_a_choice_asks_for_one():
    quiz = Quiz("00")
    quiz.asked[0].check.click()
    assert quiz.asked[0].said.value == "Choose an answer first."
    assert quiz.score == 0


def test_a_changed_choice_counts_when_it_is_checked():
    """Catches a score that keeps a right answer after the choice has moved on."""
    quiz = Quiz("00")
    for asked in quiz.asked:
        asked.choice.value = asked.question.answer
        asked.check.click()
    assert quiz.score == len(quiz.questions)
    quiz.asked[0].choice.value = (quiz.questions[0].answer + 1) % len(quiz.questions[0].options)
    assert quiz.score == len(quiz.questions) - 1
    assert quiz.total.value.startswith(f"{quiz.score} of")


def test_every_control_has_a_name_of_its_own_and_nothing_is_chosen():
    def walk(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    controls = [w for w in walk(Quiz("02")) if isinstance(w, widgets.RadioButtons | widgets.Button)]
    names = [control.description for control in controls]
    assert len(controls) == 2 * len(read_quiz(QUIZZES / "02.toml"))
    assert len(set(names)) == len(names) and all(names)
    assert all(control.value is None for control in controls if isinstance(control, widgets.RadioButtons))


# --- without a kernel ---------------------------------------------------------------------------------------


def test_the_page_is_always_the_same_and_hides_the_answers():
    first, second = (Quiz("02")._repr_mimebundle_()[0] for _ in range(2))
    assert first["text/html"] == second["text/html"] and first["text/plain"] == second["text/plain"]
    page = BeautifulSoup(first["text/html"], "html.parser")
    questions = read_quiz(QUIZZES / "02.toml")
    folded = page.find_all("details")
    assert [tag.summary.get_text() for tag in folded] == [f"Answer to question {n + 1}" for n in range(len(questions))]
    for tag, question in zip(folded, questions, strict=True):
        assert not tag.has_attr("open")
        assert question.options[question.answer].text in tag.b.get_text()
        assert all(option.feedback in tag.get_text() for option in question.options)
        tag.decompose()
    open_text = page.get_text()
    for question in questions:
        assert question.ask in open_text and question.ask in first["text/plain"]
        for option in question.options:
            assert option.text in open_text and option.text in first["text/plain"]
            assert option.feedback not in open_text and option.feedback not in first["text/plain"]


def test_answering_does_not_change_the_page():
    """Catches a stored notebook that depends on what its author clicked."""
    quiz = Quiz("02")
    before = quiz.face()
    quiz.asked[0].choice.value = 0
    quiz.asked[0].check.click()
    assert quiz.face() == before


def test_texts_from_a_file_are_never_read_as_html(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    options = f'[{{text = "{evil}", feedback = "{evil}", right = true}}, {{text = "b", feedback = "c"}}]'
    (tmp_path / "77.toml").write_text(f'[[question]]\nask = "{evil}"\noption = {options}\n')
    quiz = Quiz("77", folder=tmp_path)
    quiz.asked[0].choice.value = 0
    quiz.asked[0].check.click()
    shown = quiz.face()[1] + quiz.asked[0].said.value + quiz.asked[0].children[0].value
    assert "<img" not in shown and shown.count("&lt;img") == 6


# --- mistakes of authors ------------------------------------------------------------------------------------


def test_a_quiz_that_is_not_there_says_which_are(tmp_path):
    (tmp_path / "01.toml").touch()
    with pytest.raises(FileNotFoundError, match="there is no quiz '1'; there are 01"):
        Quiz("1", folder=tmp_path)


@pytest.mark.parametrize("rights", [(False, False), (True, True), (True,)])
def test_a_question_has_one_right_option(rights):
    options = tuple(Option(f"{place}", "because", right) for place, right in enumerate(rights))
    with pytest.raises(ValueError, match=rf"'why\?' has {len(rights)}, {sum(rights)} of them right"):
        Question("why?", options)
