"""Quizzes: every question of every file is answered by clicking, and every file is as the form wants it."""

import re
import tomllib
from pathlib import Path

import ipywidgets as widgets
import pytest
from bs4 import BeautifulSoup

from helpers.lessons.quiz import Quiz, is_enough, read_answers
from helpers.lessons.quiz_questions import FIELDS, QUIZZES, Choice, Number, Open, Option, question_of, read_quiz
from tools.notebook_files import code_cells, find_notebooks, read_notebook

FILES = sorted(QUIZZES.glob("*.toml"))
QUIZ_OF = {path.stem: read_quiz(path) for path in FILES}
SAMPLES = Path(__file__).parent / "quizzes"  # all.toml has a question of every kind
CHOICES = [(stem, n) for stem, quiz in QUIZ_OF.items() for n, asked in enumerate(quiz) if isinstance(asked, Choice)]


@pytest.fixture
def every_kind(tmp_path):
    return Quiz("all", folder=SAMPLES, answers=tmp_path / "work/answers")


def tables(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))["question"]


# --- the files ----------------------------------------------------------------------------------------------


def test_every_lesson_has_a_quiz_file():
    lessons = {path.stem.split("_")[0] for path in find_notebooks()}
    numbers = [path.stem for path in FILES if path.stem.isdigit()]
    assert numbers == [f"{number:02}" for number in range(len(numbers))]
    assert all(path.stem.rstrip("b") in numbers for path in FILES)
    assert lessons <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_every_notebook_shows_its_own_quiz_once(path):
    """Catches a quiz left out, or copied from another lesson with its number."""
    shown = [
        found
        for cell in code_cells(read_notebook(path))
        for found in re.findall(r'Quiz\("(\d\d[a-z]?)"\)', cell.source)
    ]
    assert shown == [path.stem.split("_")[0]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_as_the_form_wants_it(path):
    questions = tables(path)
    assert 3 <= len(questions) <= 6
    assert len({question["ask"] for question in questions}) == len(questions)
    for question in questions:
        kind = question.pop("kind", "choice")
        assert question.pop("ask").rstrip("\"'").endswith(("?", ":", "."))
        assert question.pop("solar", True) is True
        assert set(question) <= FIELDS[kind]
        if kind in ("choice", "predict"):
            check_options(question["option"])
        else:
            said = question.get("feedback", question.get("answer"))
            assert str(said).endswith((".", "?", ".)")) and len(str(said).split()) >= 5


def check_options(options):
    """One is right, and every one of them is answered with a sentence of its own."""
    assert sum(option.get("right", False) for option in options) == 1
    for option in options:
        assert set(option) - {"right"} == {"text", "feedback"} and option.get("right", True) is True
        assert option["feedback"].endswith((".", "?", ".)")) and len(option["feedback"].split()) >= 5
    texts, feedbacks = ({option[name] for option in options} for name in ("text", "feedback"))
    assert len(texts) == len(feedbacks) == len(options)


def texts_of(value):
    """Every text in a table of the file, but no code."""
    if isinstance(value, dict):
        return [text for name, part in value.items() if name not in ("code", "output") for text in texts_of(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts_of(part)]
    return [str(value)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_texts_are_plain(path):
    """Catches backticks, tags and formulas, which a radio button shows as they are."""
    for question in tables(path):
        for text in texts_of(question):
            assert not re.search(r"`|<\w|\$[^$]+\$|\s\s|\n", text), text


def test_the_right_answer_stands_out_neither_by_place_nor_by_length():
    """Catches quizzes that are solved without reading the question."""
    questions = [question for quiz in QUIZ_OF.values() for question in quiz if isinstance(question, Choice)]
    longest = sum(max(question.options, key=lambda option: len(option.text)).right for question in questions)
    assert longest <= len(questions) / 2
    for path in FILES:
        places = [question.answer for question in QUIZ_OF[path.stem] if isinstance(question, Choice)]
        assert len(places) < 3 or max(places.count(place) for place in set(places)) <= len(places) - 2, path.name


# --- answering ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lesson", "number"), CHOICES)
def test_every_option_of_every_question_gets_its_own_answer(lesson, number):
    quiz = Quiz(lesson)
    asked, others = quiz.asked[number], sum(not isinstance(question, Open) for question in quiz.questions)
    for place, option in enumerate(asked.question.options):
        asked.choice.value = place
        assert asked.said.value == "", "what was said of another option is gone"
        asked.check.click()
        said = BeautifulSoup(asked.said.value, "html.parser").get_text()
        assert said == f"{'Right' if option.right else 'Not yet'}. {option.feedback}"
        assert quiz.score == int(option.right)
        assert quiz.total.value == f"{quiz.score} of {others} correct."


def test_a_check_without_a_choice_asks_for_one(every_kind):
    asked = every_kind.asked[0]
    asked.check.click()
    assert asked.said.value == "Choose an answer first."
    assert every_kind.score == 0


def test_a_changed_answer_counts_when_it_is_checked(every_kind):
    """Catches a score that keeps a right answer after it has been changed. Every kind but the open one counts."""
    answer_all(every_kind)
    assert every_kind.score == 6 and every_kind.total.value == "6 of 6 correct."
    choice, _, typed, order, *_ = every_kind.asked
    choice.choice.value = 0
    typed.field.value = "0.7"
    order.pairing.choices[0].value = None
    assert every_kind.score == 3 and every_kind.total.value == "3 of 6 correct."
    assert choice.said.value == typed.said.value == order.said.value == ""


def answer_all(quiz):
    """Right answers to the six kinds that have one."""
    for asked in quiz.asked:
        if hasattr(asked, "choice"):
            asked.choice.value = asked.question.answer
        elif hasattr(asked, "pairing"):
            for choice, (_, right) in zip(asked.pairing.choices, asked.question.pairs, strict=True):
                choice.value = right
        elif isinstance(asked.question, Number):
            asked.field.value = f"{asked.question.answer}"
        if not isinstance(asked.question, Open):
            asked.check.click()


def said_by(asked):
    return BeautifulSoup(asked.said.value, "html.parser").get_text()


def test_a_prediction_shows_the_code_before_and_the_output_after(every_kind):
    asked = every_kind.asked[1]
    assert "scores.index" in asked.children[0].value
    asked.choice.value = 1
    assert asked.said.value == ""
    asked.check.click()
    assert "Not yet" in said_by(asked) and "<pre" in asked.said.value


@pytest.mark.parametrize(
    ("typed", "right", "said"),
    [
        ("0.693", True, "Right. It is ln 2"),
        ("0,69", True, "Right. It is ln 2"),
        ("0.5", False, "Not yet. That is the probability"),
        ("0.9", False, "Not yet. 0.9 is too high."),
        ("-0.693", False, "Not yet. -0.693 is too low."),
        ("ln 2?", False, "Not yet. 2 is too high."),
        ("much", None, "Type a number first"),
        ("", None, "Type a number first"),
    ],
)
def test_numbers_are_right_within_the_tolerance_and_usual_slips_get_their_own_answer(every_kind, typed, right, said):
    asked = every_kind.asked[2]
    asked.field.value = typed
    asked.check.click()
    assert asked.right is right and said_by(asked).startswith(said)


def test_an_order_is_shown_mixed_and_solved_by_places(every_kind):
    asked = every_kind.asked[3]
    items = [left for left, _ in asked.pairing.pairs]
    in_order = ["the loss of a batch", "gradients", "a step of the optimizer"]
    assert sorted(items) == sorted(in_order) and items != in_order
    assert [words for words, _ in asked.pairing.choices[0].options][1:] == ["1", "2", "3"]
    for choice, item in zip(asked.pairing.choices, items, strict=True):
        choice.value = str(in_order.index(item) + 1)
    asked.pairing.choices[0].value, asked.pairing.choices[1].value = (
        asked.pairing.choices[1].value,
        asked.pairing.choices[0].value,
    )
    asked.check.click()
    assert asked.right is False and f"1 of 3 fit. Look again at: {items[0]}" in said_by(asked)
    solution = BeautifulSoup(asked.question.solution(), "html.parser").get_text("|")
    assert solution.startswith("1. the loss of a batch|2. gradients|3. a step of the optimizer")


def test_lines_of_code_are_labelled_in_code_letters(every_kind):
    label, match = every_kind.asked[5], every_kind.asked[4]
    assert "<tt>loss.backward()</tt>" in label.question.page() and "<tt>" not in match.question.page()
    assert "decides about the rate of each step" in [words for words, _ in match.pairing.choices[0].options]


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        ("It has seen the answers before. New photographs are different.", True),
        ("Why? Because it has seen these very photographs while training.", True),
        ("It has seen the answers before and new photographs are different", False),
        ("Yes. No.", False),
        ("It is 0.5 or 3.5 at a time in the end.", False),
        ("", False),
    ],
)
def test_two_sentences_are_two_sentences(text, enough):
    assert is_enough(text) is enough


def test_an_open_answer_unfolds_the_other_one_and_is_kept(every_kind, tmp_path):
    """Catches a model answer that shows before one has written, and writing that a restart loses."""
    asked, file = every_kind.asked[-1], tmp_path / "work/answers/all.json"
    asked.field.value = "It leaks."
    asked.check.click()
    assert "Write two sentences" in asked.said.value and not file.exists()
    mine = "It has seen the ä answers before. New photographs are different."
    asked.field.value = mine
    asked.check.click()
    assert "It has seen the answers it is asked for." in said_by(asked)
    assert "work/answers/all.json" in said_by(asked) and "☐ new ones are different" in said_by(asked)
    assert read_answers(file) == {asked.question.ask: mine}
    again = Quiz("all", folder=SAMPLES, answers=file.parent)
    assert again.asked[-1].field.value == mine and again.asked[-1].said.value == ""
    assert again.score == 0 and "mine" not in again.face()[1]


def test_an_open_answer_that_cannot_be_kept_says_so_and_unfolds_all_the_same(every_kind, tmp_path):
    """Catches a callback whose error nobody sees."""
    asked = every_kind.asked[-1]
    asked.file = tmp_path / "blocked" / "all.json"
    asked.file.parent.write_text("a file where a folder should be")
    asked.field.value = "It has seen the answers before. New photographs are different."
    asked.check.click()
    assert f"NOT kept in {asked.file}" in said_by(asked) and "make room there" in said_by(asked)
    assert "It has seen the answers it is asked for." in said_by(asked)


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_damaged_file_of_answers_is_as_good_as_none(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    assert read_answers(tmp_path / "x.json") == {}


def test_every_control_has_a_name_of_its_own_and_nothing_is_chosen(every_kind):
    def walk(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    kinds = widgets.RadioButtons | widgets.Dropdown | widgets.Text | widgets.Textarea | widgets.Button
    controls = [w for w in walk(every_kind) if isinstance(w, kinds) and not isinstance(w, widgets.HTML)]
    names = [control.description for control in controls]
    assert len(controls) == 7 + 2 + 1 + 8 + 1, "buttons, radio buttons, a field, lists, an area"
    assert len(set(names)) == len(names) and all(names)
    assert not any(control.value for control in controls if not isinstance(control, widgets.Button))


# --- without a kernel ---------------------------------------------------------------------------------------


def test_the_page_is_always_the_same_and_hides_the_answers(tmp_path):
    first, second = (Quiz("all", folder=SAMPLES, answers=tmp_path)._repr_mimebundle_()[0] for _ in range(2))
    assert first["text/html"] == second["text/html"] and first["text/plain"] == second["text/plain"]
    page = BeautifulSoup(first["text/html"], "html.parser")
    questions = read_quiz(SAMPLES / "all.toml")
    folded = page.find_all("details")
    assert [tag.summary.get_text() for tag in folded] == [f"Answer to question {n + 1}" for n in range(len(questions))]
    for tag, question in zip(folded, questions, strict=True):
        assert not tag.has_attr("open")
        if isinstance(question, Choice):
            assert question.options[question.answer].text in tag.b.get_text()
            assert all(option.feedback in tag.get_text() for option in question.options)
        elif isinstance(question, Open):
            assert question.answer in tag.get_text()
        else:
            assert question.feedback in tag.get_text()
        tag.decompose()
    open_text = page.get_text()
    for question in questions:
        assert question.ask in open_text and question.ask in first["text/plain"]
        for option in getattr(question, "options", ()):
            assert option.text in open_text and option.text in first["text/plain"]
            assert option.feedback not in open_text and option.feedback not in first["text/plain"]
        for pair in getattr(question, "pairs", ()):
            assert all(side in open_text and side in first["text/plain"] for side in pair)
        if not isinstance(question, Choice):
            hidden = getattr(question, "feedback", question.answer if isinstance(question, Open) else "")
            assert hidden not in open_text and hidden not in first["text/plain"]


def test_answering_does_not_change_the_page(every_kind):
    """Catches a stored notebook that depends on what its author clicked."""
    before = every_kind.face()
    answer_all(every_kind)
    assert every_kind.face() == before


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
    with pytest.raises(FileNotFoundError, match="no quiz is called '1'; choose from 01"):
        Quiz("1", folder=tmp_path)


@pytest.mark.parametrize("rights", [(False, False), (True, True), (True,)])
def test_a_question_has_one_right_option(rights):
    options = tuple(Option(f"{place}", "because", right) for place, right in enumerate(rights))
    with pytest.raises(ValueError, match=rf"'why\?' has {len(rights)}, {sum(rights)} of them right"):
        Choice("why?", options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "mach", "pairs": []}, "'why?' is of kind 'mach'; did you mean 'match'?"),
        ({"kind": "order", "item": []}, "'why?', of kind order, has no field 'item'; did you mean 'items'?"),
        ({"kind": "number", "answer": 1}, "'why?', of kind number: .*missing .*'feedback'"),
        ({"kind": "match", "pairs": [["a", "b"]], "feedback": "c"}, "2 to 8 different left sides are matched"),
        ({"option": [{"text": "a", "said": "b"}]}, "'why?': .*'said'"),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_the_question(given, said):
    with pytest.raises(ValueError, match=re.escape(said).replace(r"\.\*", ".*")):
        question_of({"ask": "why?", **given})


def test_questions_about_solar_cells_are_left_out_elsewhere(monkeypatch, tmp_path, capsys):
    """Catches a quiz about busbars for somebody whose pictures are pets."""
    question = '[[question]]\nask = "{ask}"\nkind = "number"\nanswer = 3\nfeedback = "so"\n{more}\n'
    file = tmp_path / "00.toml"
    file.write_text(question.format(ask="cells?", more="solar = true") + question.format(ask="rates?", more=""))
    assert [each.ask for each in read_quiz(file)] == ["cells?", "rates?"]
    monkeypatch.setenv("COURSE_DATA_SET", "pets")
    assert [each.ask for each in read_quiz(file)] == ["rates?"]
    assert "1 question about solar cells left out" in capsys.readouterr().out
