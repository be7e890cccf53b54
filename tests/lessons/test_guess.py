"""The number beside the guess: what is read from a field, and what is printed beside the measurement."""

import pytest

from helpers.lessons.guess import Guess, read_number
from tests.review.made import check_page


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("12", 12),
        (" 12 %", 12),
        ("0,5", 0.5),
        ("0,500", 0.5),
        ("1,700", 1700),
        ("about 2,500,000", 2_500_000),
        (".5", 0.5),
        ("about 1e-3", 1e-3),
        ("-2.5", -2.5),
        ("", None),
        ("many", None),
        ("e", None),
    ],
)
def test_numbers_as_people_type_them(typed, number):
    """Catches 0,5 read as 0, and a word read as a number."""
    assert read_number(typed) == number


@pytest.mark.parametrize(
    ("guess", "measured", "line"),
    [
        (12, 7.62, "you said 12 of 100; measured ≈ 7.62 of 100: 4.4 too high"),
        (12, 12.3, "you said 12 of 100; measured ≈ 12.3 of 100: spot on"),
        (1, 33.04, "you said 1 of 100; measured ≈ 33.0 of 100: 33 times too low"),
        (90, 9.0, "you said 90 of 100; measured ≈ 9.00 of 100: 10 times too high"),
        (0, 0.0, "you said 0 of 100; measured ≈ 0.00 of 100: spot on"),
        (5, 0.0, "you said 5 of 100; measured ≈ 0.00 of 100: 5.0 too high"),
        (-1, 1.0, "you said -1 of 100; measured ≈ 1.00 of 100: 2.0 too low"),
    ],
)
def test_both_numbers_stand_on_one_line(guess, measured, line, capsys):
    asked = Guess("How many of 100?", unit="of 100")
    asked.value = guess
    asked.beside(measured)
    assert capsys.readouterr().out == line + "\n"


def test_large_numbers_have_no_exponent(capsys):
    asked = Guess("How many parameters?")
    asked.value = 1000
    asked.beside(3_371_012)
    assert capsys.readouterr().out == "you said 1000; measured ≈ 3371012: 3371 times too low\n"


def test_without_a_guess_the_measurement_stands_there_all_the_same(capsys):
    """Catches a lesson that stops, or hides its number, because somebody skipped the question."""
    Guess("How many?", unit="of 100").beside(7.62)
    assert capsys.readouterr().out == "measured ≈ 7.62 of 100 (no guess)\n"


def test_the_field_says_what_it_understood():
    asked = Guess("How many?")
    asked.field.value = "0,5"
    assert asked.said.value == "Taken down: 0.5." and asked.value == 0.5
    asked.field.value = "lots <b>"
    assert "not a number" in asked.said.value and "<b>" not in asked.said.value
    asked.field.value = ""
    assert asked.said.value == ""


def test_the_page_shows_the_question_only_whatever_was_typed():
    asked = Guess("How many?", unit="of 100")
    before = asked.face()
    asked.value = 12
    assert asked.face() == before and "How many?" in before[0] and "12" not in before[1]
    check_page(before[1])
