"""Lesson 00: each typical mistake meets its own sentence."""

import pytest

from helpers.lessons.checks.lesson_00 import FIRST_PATTERN, check_00_1, check_00_2, check_00_3
from helpers.lessons.checks.verdict import NOT_YET, RIGHT, UNFINISHED

COUNTS = {  # all different, and so are their sums
    ("valid", "defective", "poly"): 2,
    ("valid", "defective", "mono"): 3,
    ("valid", "functional", "poly"): 4,
    ("valid", "functional", "mono"): 1,
    ("train", "defective", "poly"): 7,
    ("train", "defective", "mono"): 1,
    ("train", "functional", "poly"): 1,
    ("train", "functional", "mono"): 1,
}


@pytest.fixture
def path(tmp_path):
    for (part, label, kind), count in COUNTS.items():
        folder = tmp_path / part / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / f"{kind}_{label}_{number:04}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path


def test_the_count_is_right(path):
    answer = len(list((path / "valid" / "defective").glob("poly_*.png")))
    assert check_00_1(answer, path).state == RIGHT


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (5, "mono and poly together"),
        (3, "the monocrystalline ones"),
        (7, "those lie in train"),
        (9, "train and valid together"),
        (4, "the functional ones"),
        (6, "both classes"),
        (0, "nothing matched"),
        (99, "99 came: the part must be valid, the class defective"),
        (["a", "b"], "a collection of 2 came: it may hold the right ones; len(...)"),
        (iter(["a"]), "a generator came"),
        ("2", "got the text '2'"),
    ],
)
def test_other_counts_are_told_apart(path, answer, said):
    verdict = check_00_1(answer, path)
    assert verdict.state == NOT_YET and said in verdict.message


def test_the_pattern_is_right(path):
    assert check_00_2(r"^([a-z]+)_", path).state == RIGHT
    four = check_00_2(r"^(....)", path).message  # right by its length: nothing is said about an underscore
    assert "mono or poly in every one" in four and "underscore" not in four
    assert check_00_2(r"/([a-z]+)_", path).state == RIGHT, "the lectures' slash before the name"
    assert check_00_2(r"(mono|poly)_[a-z]+_\d+\.png$", path).state == RIGHT
    assert "one of the two words" in check_00_2(r"(mono|poly)_", path).message


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"^([a-z]+_)", "holds the underscore"),
        (r"(.+)_", "'mono_defective' and the like: it runs over the first underscore"),
        (r"_([a-z]+)_", "'defective' and the like; wanted is what stands before the first underscore"),
        (r"^(mono)_", "does not match"),
        (r"([a-z]+", "not a valid regular expression"),
        (r"[a-z]+_", "Read the pattern aloud"),
        (7, "the number 7 came, and a pattern is a text"),
    ],
)
def test_other_patterns_are_told_apart(path, pattern, said):
    verdict = check_00_2(pattern, path)
    assert verdict.state == NOT_YET and said in verdict.message


def test_the_pattern_of_section_7_is_no_answer_yet(path):
    assert check_00_2(FIRST_PATTERN, path).state == UNFINISHED


def cost(missed, looked, miss=100, look=2):
    return missed * miss + looked * look


def test_cost_and_probability_are_right():
    assert check_00_3(cost, 2 / 100).state == RIGHT


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda missed, looked, miss=100, look=2: missed * look + looked * miss, "the prices are swapped"),
        (lambda missed, looked, miss=100, look=2: (missed + looked) * (miss + look), "multiply before you add"),
        (lambda missed, looked, miss=100, look=2: miss + look, "added, but not counted"),
        (lambda missed, looked, miss=100, look=2: missed * miss, "looks cost something, too"),
        (lambda missed, looked, miss=100, look=2: looked * look, "misses cost something, too"),
        (lambda missed, looked, miss=100, look=2: 5, "cost(3, 10, 100, 2)"),
        (lambda missed, looked, miss=100, look=2: 100 * missed + 2 * looked, "use the names miss and look"),
        (lambda missed, looked: 320, "stopped with TypeError"),
        (lambda missed, looked, miss=100, look=2: None, "not answered yet"),
        (320, "expected a function"),
    ],
)
def test_other_costs_are_told_apart(function, said):
    assert said in " ".join(repr(check_00_3(function, 0.02)).split())


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (50, "upside down"),
        (0.5, "the likelier answer"),
        (2, "2 of how many"),
        (0.98, "of being sound"),
        (0.1, "break_even is 0.1: left alone"),
        ("0.02", "text '0.02'"),
    ],
)
def test_other_probabilities_are_told_apart(p, said):
    verdict = check_00_3(cost, p)
    assert verdict.state == NOT_YET and said in verdict.message


def test_half_an_answer_is_no_answer_yet():
    verdict = check_00_3(cost, None)
    assert verdict.state == UNFINISHED and verdict.message.startswith("cost is right; now break_even")


def test_a_wrong_cost_is_said_before_there_is_a_probability():
    verdict = check_00_3(lambda missed, looked, miss=100, look=2: missed * miss, None)
    assert verdict.state == NOT_YET and "looks cost something, too" in verdict.message
