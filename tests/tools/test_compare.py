"""Measured numbers within their tolerance, everything else to the letter."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_output

from tools.compare import (
    DEFAULTS,
    TOLERANCES,
    Tolerance,
    Tolerances,
    compare_texts,
    differences,
    measured_in,
    tolerances_of,
)

TABLE = "epoch  train_loss  valid_loss  accuracy    time\n    0      0.8136      0.5635    0.7927    0.6s"
SIZES = Path(__file__).with_name("tolerances.toml")
PIXEL = '<img alt="cell 3" src="data:image/jpeg;base64,/9j+A=">'


@pytest.fixture(scope="module")
def usual():
    """The tolerances of a lesson without entries of its own."""
    return tolerances_of("99_none", SIZES)


def fits(stored: str, new: str, tolerances) -> bool:
    return compare_texts(stored, new, tolerances) == []


@pytest.mark.parametrize(
    ("stored", "near", "far"),
    [
        ("≈ 83.7 % of 656", "≈ 79.8 % of 656", "≈ 79.6 % of 656"),
        ("interval ≈ 80.7-86.3 %", "interval ≈ 84.7-82.3 %", "interval ≈ 80.7-90.4 %"),
        ("≈ 80.7 to 86.3 %", "≈ 76.8 to 90.2 %", "≈ 80.7 to 90.4 %"),
        ("between ≈ 80.7 % and 86.3 %", "between ≈ 80.7 % and 90.2 %", "between ≈ 80.7 % and 90.4 %"),
        ("≈ 84.9 ± 0.7 %", "≈ 84.9 ± 4.6 %", "≈ 84.9 ± 4.8 %"),
        ("≈ 72 of 100 found", "≈ 76 of 100 found", "≈ 77 of 100 found"),
        ("≈ 400 of 1,000", "≈ 440 of 1,000", "≈ 441 of 1,000"),
        (
            "≈ 72 of 100 (interval ≈ 65-78), +≈ 4",
            "≈ 72 of 100 (interval ≈ 69-78), -≈ 0",
            "≈ 72 of 100 (interval ≈ 65-78), -≈ 1",
        ),
        ("≈ 12 of 100 (≈ 9-15), step ≈ +1 (≈ -1 to ≈ +3)",) * 2 + ("≈ 12 of 100 (≈ 4-15), step ≈ +1 (≈ -1 to ≈ +3)",),
        ("≈ 12 of 100 (≈ 9-15), step ≈ +1", "≈ 12 of 100 (≈ 13-15), step ≈ -3", "≈ 12 of 100 (≈ 9-15), step ≈ -4"),
        (
            "cost ≈ 900 (≈ 800-1,000), step ≈ -10",
            "cost ≈ 900 (≈ 900-1,000), step ≈ +120",
            "cost ≈ 900 (≈ 800-1,000), step ≈ +130",
        ),
        ("AUC ≈ 0.837", "AUC ≈ 0.866", "AUC ≈ 0.868"),
        ("≈ 72 of 100, AUC ≈ 0.837", "≈ 72 of 100, AUC ≈ 0.866", "≈ 72 of 100, AUC ≈ 0.868"),
        ("≈ 0.8064 of 656", "≈ 0.8363 of 656", "≈ 0.8365 of 656"),
        ("the loss is ≈ 0.400", "the loss is ≈ 0.460", "the loss is ≈ 0.461"),
        ("p ≈ 0.15", "p ≈ 0.40", "p ≈ 0.41"),
        ("cost ≈ 1,000", "cost ≈ 1,150", "cost ≈ 1,151"),
        ("≈ 3 s", "≈ 30 s", "≈ 31 s"),
        ("≈ 1e-3", "≈ 2e-3", "≈ 3e-3"),
        ("moved by ≈ -20", "moved by ≈ -17", "moved by ≈ 20"),
        ("≈ [12.0, 100.0]", "≈ [13.7, 85.1]", "≈ [12.0, 116]"),
        ("mean 0.4000", "mean 0.4299", "mean 0.4301"),
        ("mean -0.4000", "mean -0.4299", "mean 0.4000"),
        ("loss 119.6990", "loss 136.0000", "loss 138.0000"),
        ("grew to ≈ inf", "grew to ≈ inf", "grew to ≈ 5"),
        ("grew to ≈ nan", "grew to ≈ nan", "grew to ≈ 5"),
        ("<td>≈&nbsp;9.8&nbsp;%</td>", "<td>≈&nbsp;10.2&nbsp;%</td>", "<td>≈&nbsp;15.2&nbsp;%</td>"),
        (TABLE, TABLE.replace("0.7927    0.6s", "0.7428   12.6s"), TABLE.replace("0.7927", "0.7426")),
        (TABLE, TABLE.replace("0.8136", "0.9350"), TABLE.replace("0.8136", "0.9360")),
    ],
)
def test_a_measured_number_may_lie_within_its_tolerance_and_no_farther(stored, near, far, usual):
    assert fits(stored, near, usual)
    assert not fits(stored, far, usual)


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("83.7 % of 656", "83.8 % of 656"),
        ("≈ 83.7 % of 656", "≈ 83.7 % of 655"),
        ("≈ 83.7 % of 656", "83.7 % of 656"),
        ("≈ 83.7 % found", "≈ 83.7 % missed"),
        ("≈ 3 of 12 and ≈ 4 of 12", "≈ 3 of 12 and 4 of 12"),
        ("rate 0.001", "rate 0.002"),
        ("cell_0012.png", "cell_0013.png"),
        ("lr 0.01234", "lr 0.01235"),
        ("12.34567", "12.34568"),
        ("version 1.1234.5", "version 1.1235.5"),
        ("doi:10.1007/s1", "doi:10.1008/s1"),
        ("a  b", "a b"),
        ("3.25 s", "3.26 s"),
        (TABLE, TABLE.replace("    0 ", "    1 ")),
        (TABLE, TABLE.replace("0.7927", "   nan")),
        (PIXEL, PIXEL.replace("cell 3", "cell 4")),
        ("one\ntwo", "one\ntwo\nthree"),
        ("one", "ONE"),
    ],
)
def test_everything_else_is_compared_to_the_letter(stored, new, usual):
    assert fits(stored, stored, usual)
    assert not fits(stored, new, usual) and not fits(new, stored, usual)


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("done in 1.2s", "done in 131.0s"),
        (PIXEL, PIXEL.replace("/9j+A=", "AAAA")),
        ("right:   ≈ 9.8 %  of 656", "right:  ≈ 10.2 %  of 656"),
        ("≈ 9.8 %    sure", "≈ 10.2 %   sure"),
    ],
)
def test_durations_bytes_of_pictures_and_the_blanks_beside_a_measured_number_are_not_compared(stored, new, usual):
    assert fits(stored, new, usual) and fits(new, stored, usual)


@given(value=st.floats(-1e6, 1e6), new=st.floats(-1e6, 1e6), decimals=st.integers(0, 4))
def test_any_printed_number_is_read_back_and_compared_by_its_value(value, new, decimals):
    stored, fresh = f"x ≈ {value:,.{decimals}f} here", f"x ≈ {new:,.{decimals}f} here"
    old, now = (float(f"{number:.{decimals}f}") for number in (value, new))
    unit = 10.0**-decimals
    small = decimals > 0 and abs(old) <= 1
    size = max(0.03 if small else 0.15 * abs(old), unit)
    expected = abs(now - old) <= size
    if abs(abs(now - old) - size) > 1e-6 * max(size, 1):
        assert fits(stored, fresh, tolerances_of("99_none", SIZES)) == expected


def test_a_difference_names_line_values_and_tolerance_in_words(usual):
    [difference] = compare_texts("first\nright: ≈ 83.7 % of 656\n", "first\nright: ≈ 77.1 % of 656\n", usual)
    assert str(difference).splitlines() == [
        "line 2: stored 83.7, now 77.1; the tolerance is ± 4 (percent)",
        "    stored: right: ≈ 83.7 % of 656",
        "    new:    right: ≈ 77.1 % of 656",
    ]
    [difference] = compare_texts("one\ntwo\n", "one\ntwo\nthree\n", usual)
    assert str(difference).startswith("line 3: 3 lines are stored, there are 4 now")


# --- whole outputs ----------------------------------------------------------------------------------------------------


def printed(text):
    return new_output("stream", name="stdout", text=text)


def shown(**data):
    return new_output("display_data", data={kind.replace("_", "/"): value for kind, value in data.items()})


def test_texts_and_tables_are_compared_and_the_bytes_of_figures_are_not(usual):
    stored = [printed("n = 3\n"), shown(text_plain="A curve.", image_png="AAAA"), shown(text_html="<p>≈ 5 %</p>")]
    other_bytes = [printed("n = 3\n"), shown(text_plain="A curve.", image_png="BBBB"), shown(text_html="<p>≈ 8 %</p>")]
    assert differences(stored, other_bytes, usual) == []
    for change, kind in [
        (printed("n = 4\n"), "stdout, line 1"),
        (shown(text_plain="A line.", image_png="AAAA"), "text/plain, line 1"),
        (shown(text_html="<p>≈ 10 %</p>"), "text/html, line 1: stored 5, now 10"),
    ]:
        changed = [
            change if set(output) == set(change) and _kinds(output) == _kinds(change) else output for output in stored
        ]
        [found] = differences(stored, changed, usual)
        assert found.startswith(kind)


def _kinds(output):
    return set(output.get("data", {}))


def test_a_missing_figure_and_one_too_many_are_found(usual):
    figure = shown(text_plain="A curve.", image_png="AAAA")
    assert differences([figure], [shown(text_plain="A curve.")], usual) == [
        "image/png: 1 outputs are stored, the new run made 0"
    ]
    assert len(differences([figure], [figure, figure], usual)) == 2


def test_printed_text_and_a_figure_may_change_places_but_two_figures_may_not(usual):
    text, first, second = printed("n = 3\n"), shown(text_plain="First."), shown(text_plain="Second.")
    assert differences([text, first, second], [first, text, second], usual) == []
    assert differences([first, second], [second, first], usual) != []


# --- where the sizes are written --------------------------------------------------------------------------------------


@pytest.fixture
def lesson(tmp_path):
    """Writes a file with one lesson's entries and reads it for that lesson."""
    defaults = SIZES.read_text(encoding="utf-8")

    def read(entries: str, name: str = "02_lr_find"):
        path = tmp_path / "tolerances.toml"
        path.write_text(f"{defaults}\n[lesson_02]\n{entries}\n", encoding="utf-8")
        return tolerances_of(name, path)

    return read


def test_a_phrase_at_the_number_goes_before_those_of_its_line_and_may_have_gaps():
    """Catches a count whose tolerance is that of the whole line, and parts that are found in any order."""
    defaults = {name: Tolerance(1, "absolute", name) for name in DEFAULTS}
    phrases = {
        "cost ≈…better with": Tolerance(3500, "absolute", ""),
        "better with ≈": Tolerance(1, "absolute", ""),
    }
    sizes = Tolerances(defaults, phrases)
    measured = measured_in("cost ≈ +205 (≈ +45 to ≈ +380), better with ≈ 2 of 3", sizes)
    assert [number.tolerance.size for number in measured] == [3500, 3500, 3500, 1]
    (number,) = measured_in("better with that, cost ≈ 205", sizes)
    assert number.tolerance.size == 1


def test_a_phrase_sets_the_size_of_its_line_and_the_longest_one_counts(lesson):
    own = lesson('"steepest" = "x 3"\n"steepest at" = "x 2"')
    assert fits("falls steepest at ≈ 0.01", "falls steepest at ≈ 0.02", own)
    assert not fits("falls steepest at ≈ 0.01", "falls steepest at ≈ 0.03", own)
    assert fits("is steepest: ≈ 100", "is steepest: ≈ 34", own)
    assert not fits("is lowest: ≈ 100", "is lowest: ≈ 84", own)


def test_a_phrase_that_ends_in_the_sign_speaks_of_the_number_after_it_only(lesson):
    own = lesson('"cost ≈" = 50')
    assert fits("cost ≈ 100, loss ≈ 1.00", "cost ≈ 150, loss ≈ 1.00", own)
    assert not fits("cost ≈ 100, loss ≈ 1.00", "cost ≈ 100, loss ≈ 1.20", own)


def test_a_section_holds_for_its_own_lesson_only(lesson):
    assert not fits("≈ 50 %", "≈ 60 %", lesson('"≈" = 20', name="03_augmentation"))
    assert not fits("≈ 50 %", "≈ 60 %", lesson('"≈" = 20', name="02b_between"))
    assert fits("≈ 50 %", "≈ 60 %", lesson('"≈" = 20'))


@pytest.mark.parametrize("size", ['"15%"', '"3 x"', "[1]"])
def test_a_size_that_cannot_be_read_is_named(lesson, size):
    with pytest.raises(ValueError, match='a tolerance is written 4, "15 %" or "x 3"; "steepest" has'):
        lesson(f'"steepest" = {size}')


def test_a_misnamed_section_or_default_is_named(tmp_path):
    path = tmp_path / "tolerances.toml"
    path.write_text("[defaults]\npercent = 4\n", encoding="utf-8")
    with pytest.raises(ValueError, match="needs exactly percent, of, share"):
        tolerances_of("02_lr_find", path)
    path.write_text(TOLERANCES.read_text(encoding="utf-8") + "\n[lesson_2]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a section is called \[lesson_03\]; got lesson_2"):
        tolerances_of("02_lr_find", path)


def test_a_factor_never_bridges_a_sign_or_zero():
    factor = Tolerance(10, "factor", "seconds")
    assert factor.allows(1, 10) and factor.allows(10, 1) and not factor.allows(1, 10.1)
    assert not factor.allows(1, -1) and not factor.allows(1, 0)


def test_a_number_after_the_sign_is_found_once_where_it_has_four_decimals(usual):
    assert [number.text for number in measured_in("≈ 0.8064 and 0.1234", usual)] == ["0.8064", "0.1234"]
