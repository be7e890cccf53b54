"""The board on disk, in words and drawn."""

import json
import re
from dataclasses import replace

import pytest
import torch

from helpers.analysis.intervals import Interval
from helpers.analysis.predictions import Predictions
from helpers.lessons.board import Board, no_model
from helpers.lessons.measure_words import MEASURES, table
from helpers.lessons.scoreboard import gains, measures
from tests.lessons.test_scoreboard import drawn_preds, preds_of


@pytest.fixture(scope="module")
def weak() -> Predictions:
    return drawn_preds(160, separation=0.5)


@pytest.fixture(scope="module")
def strong(weak) -> Predictions:
    """Better answers about the same photographs."""
    pushed = torch.logit(weak.probs[:, 0]) + torch.where(weak.targets == 0, 1.0, -1.0)
    return replace(weak, log_probs=preds_of(pushed.sigmoid(), weak.targets == 0).log_probs)


@pytest.fixture
def board(tmp_path, monkeypatch) -> Board:
    monkeypatch.setenv("COURSE_PRECISION", "float32")  # nothing is timed
    return Board(tmp_path / "board.json")


def test_a_row_comes_back_from_disk_as_it_was(board, weak):
    added = board.add("02", "head", weak, seed=4, groups=[i // 20 for i in range(160)])
    (row,) = Board(board.path).rows
    assert (row.lesson, row.model, row.seed, row.processor, row.precision) == (
        "02",
        "head",
        4,
        added.processor,
        "float32",
    )
    assert row.measures == added.measures == measures(weak, groups=[i // 20 for i in range(160)])
    torch.testing.assert_close(row.preds.log_probs, weak.log_probs, atol=1e-6, rtol=0)
    assert row.photographs == added.photographs and row.groups == added.groups


def test_the_same_lesson_and_model_replace_their_row(board, weak, strong):
    board.add("03", "head", weak)
    board.add("01", "random", weak)
    board.add("03", "another head", weak)
    board.add("03", "head", strong)
    assert [row.title for row in board.rows] == ["01 random", "03 head", "03 another head"]
    assert board.rows[1].measures.auc == measures(strong).auc


def test_the_step_is_the_paired_gain_since_the_last_row_on_the_same_photographs(board, weak, strong):
    board.add("02", "head", weak)
    board.add("03", "on others", drawn_preds(90, seed=9))
    row = board.add("04", "tuned", strong)
    since, step = board.step(row)
    assert since.title == "02 head"
    assert step.auc.estimate == pytest.approx(gains(weak, strong).auc.estimate, abs=1e-5)
    assert step.auc.low == pytest.approx(gains(weak, strong).auc.low, abs=1e-4)
    assert board.step(board.rows[0]) is None and board.step(board.rows[1]) is None


def test_changed_labels_are_other_photographs(board, weak, strong):
    board.add("02", "head", weak)
    targets = strong.targets.clone()
    targets[0] = 1 - targets[0]
    assert board.step(board.add("03", "relabelled", replace(strong, targets=targets))) is None


def test_every_measured_number_stands_behind_its_sign(board, weak, strong):
    board.add("02", "head", weak)
    row = board.add("03", "tuned", strong)
    head, *lines = board.lines(row).splitlines()
    assert head == "03 tuned: 160 photographs, steps since 02 head (95 % confidence intervals)"
    assert len(lines) == 5
    found = row.measures.found
    assert f"≈ {100 * found.estimate:.0f} of 100 (≈ {100 * found.low:.0f}-{100 * found.high:.0f}), step ≈ +" in lines[0]
    measured = re.compile(r"≈ [+-]?[\d.]+(-[\d.]+)?")
    plain = [measured.sub("≈", line) for line in lines]
    for line, words in zip(plain, MEASURES.values(), strict=True):
        assert line == f"  {words.short:8}  {words.meaning:50}  ≈{words.unit} (≈), step ≈ (≈ to ≈)"


def test_a_step_says_on_which_side_of_zero_its_interval_ends():
    """Catches "-16 to +0" of an interval that ends below zero: the lesson reads off whether it contains zero."""
    skip, auc = MEASURES["skip"], MEASURES["auc"]
    assert skip.step_text(Interval(-0.12, -0.161, -0.0037)) == "≈ -12 (≈ -16 to ≈ -0.4)"
    assert skip.step_text(Interval(0.11, 0.0019, 0.16)) == "≈ +11 (≈ +0.2 to ≈ +16)"
    assert skip.step_text(Interval(0.07, 0.0, 0.15)) == "≈ +7 (≈ +0 to ≈ +15)"
    assert auc.step_text(Interval(-0.019, -0.042, 0.0003)) == "≈ -0.019 (≈ -0.042 to ≈ +0.0003)"


def test_without_a_model(board, weak):
    row = board.add("00", "no model", no_model(weak))
    record, broken = row.measures, float((weak.targets == 0).double().mean())
    assert (record.found.estimate, record.skip.estimate, record.auc.estimate) == pytest.approx((0.3, 0.05, 0.5))
    assert record.cost.estimate == pytest.approx(200) and record.accuracy.estimate == pytest.approx(1 - broken)
    assert "≈ 30 of 100 (≈ 30-30)" in table(record)


def test_show_draws_the_rows_up_to_the_lesson_that_added_last(board, weak, strong, capsys):
    """A lesson run again shows what it showed the first time, whatever later lessons have put there."""
    for lesson, preds in (("00", no_model(weak)), ("02", weak), ("04", strong)):
        board.add(lesson, "model", preds)
    again = Board(board.path)
    again.add("02", "model", weak)
    drawing = again.show()
    assert "02 model: 160 photographs, steps since 00 model" in capsys.readouterr().out
    assert drawing.text.startswith("The board: 2 models, 5 measures each")
    assert len(again.show("04").figure.axes[0].get_yticks()) == 3
    printed = capsys.readouterr().out
    assert printed.startswith("04 model") and "\n00 model" not in printed
    assert Board(board.path).show().text.startswith("The board: 3 models")


def test_the_figure_has_the_numbers_of_the_rows_and_marks_the_best(board, weak, strong):
    board.add("02", "weak", weak)
    board.add("03", "strong", strong)
    board.add("07", "sealed", drawn_preds(90, separation=4, seed=3))
    drawing = board.show("07")
    found, auc = drawing.figure.axes[0], drawing.figure.axes[2]
    rows = board.rows
    assert [text.get_text() for text in found.texts] == [f"{100 * row.measures.found.estimate:.0f}" for row in rows]
    dots = [line for line in auc.get_lines() if len(line.get_xdata()) == 1]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [row.measures.auc.estimate for row in rows]
    assert [dot.get_marker() for dot in dots] == ["o", "s", "o"], "the best on the same photographs"
    assert dots[2].get_markerfacecolor() == "white" != dots[0].get_markerfacecolor()
    for row in rows:
        assert f"{row.title}: found ≈ {100 * row.measures.found.estimate:.0f} of 100" in drawing.alt


def test_rows_of_an_older_data_set_are_the_hollow_ones(board, weak, strong):
    """Catches every model of today drawn as one on other photographs, because lesson 00 was not run again."""
    board.add("00", "older", drawn_preds(90, separation=4, seed=3))
    board.add("02", "weak", weak)
    board.add("03", "strong", strong)
    auc = board.show("03").figure.axes[2]
    dots = [line for line in auc.get_lines() if len(line.get_xdata()) == 1]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [True, False, False]
    assert [dot.get_marker() for dot in dots] == ["o", "o", "s"], "the best of today's photographs"


def test_two_notebooks_share_the_board(board, weak, strong):
    """Catches a notebook that writes back what it read when it was opened: the other one's row would be gone."""
    other = Board(board.path)
    board.add("02", "head", weak)
    other.add("03", "tuned", strong)
    board.add("02", "head again", weak)
    assert [row.title for row in other.rows] == ["02 head", "02 head again", "03 tuned"]
    assert board.show().alt.count("AUC") == 2 and other.show().alt.count("AUC") == 3, "each shows up to its own lesson"


def test_a_missing_and_a_damaged_file_give_a_clear_line(board, weak, capsys):
    assert board.rows == []
    assert "The board is empty" in board.show().text
    board.path.write_text('{"rows": [{"lesson": "02"}]}')
    board.add("03", "head", weak)
    assert (
        "board.json was damaged (KeyError) and is now damaged-board.json; the board starts empty"
        in capsys.readouterr().out
    )
    assert [row.title for row in board.rows] == ["03 head"] and (board.path.parent / "damaged-board.json").exists()


def test_a_board_that_cannot_be_written_goes_on_and_is_written_with_the_next_row(tmp_path, weak, strong, capsys):
    """Catches a lesson that ends in "Errno 28" behind its training, and a row that is lost without a word."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    board = Board(blocked / "board.json")
    board.add("02", "head", weak)
    said = capsys.readouterr().out
    assert "board.json is not kept" in said and str(blocked) in said and "set COURSE_DATA" in said
    assert [row.title for row in board.rows] == ["02 head"] and board.rows[0].measures == measures(weak)
    blocked.unlink()
    board.add("03", "head", strong)
    assert [row.title for row in Board(board.path).rows] == ["02 head", "03 head"] and not capsys.readouterr().out


def test_without_a_positive_class_every_measure_is_a_mean_over_the_classes(board):
    preds = replace(drawn_preds(60), classes=("mono", "poly"))
    row = board.add("01", "kinds", preds, positive=None)
    assert [line.split()[0] for line in board.lines(row).splitlines()[1:]] == [
        "found",
        "may",
        "AUC",
        "accuracy",
        "cost",
    ]
    assert board.lines(row).count("mean of all") == 4 and "broken" not in board.lines(row)
    assert len(board.show().figure.axes) == 5
    assert board.rows[0].measures == row.measures


def test_export_holds_the_measures_and_no_answers(board, weak, strong, tmp_path):
    board.add("02", "head", weak)
    board.add("03", "tuned", strong)
    board.export(tmp_path / "out" / "board.json")
    text = (tmp_path / "out" / "board.json").read_text()
    stored = json.loads(text)
    first, second = stored["rows"]
    assert stored["prices"] == {"miss": 100, "look": 2}
    auc = measures(weak).auc
    assert first["auc"] == [round(value, 4) for value in (auc.estimate, auc.low, auc.high)]
    assert (first["since"], first["step"], second["since"]) == (None, None, "02 head")
    assert second["step"]["auc"][0] == pytest.approx(second["auc"][0] - first["auc"][0], abs=2e-4)
    assert {
        "lesson",
        "model",
        "n",
        "seed",
        "processor",
        "precision",
        "part",
    } <= first.keys() and "log_probs" not in text


def test_the_board_is_kept_with_the_data(course_data, weak, monkeypatch):
    monkeypatch.setenv("COURSE_PRECISION", "float32")
    Board().add("02", "head", weak)
    assert (course_data / "board.json").exists()


def test_numbers_without_intervals_get_ticks_that_stand_apart(board, weak):
    """Catches 0.475 written over 0.525 below a panel that spans next to nothing."""
    board.add("00", "no model", no_model(weak))
    figure = board.show().figure
    figure.draw_without_rendering()
    for ax in figure.axes:
        left, right = sorted((label.get_window_extent() for label in ax.get_xticklabels()), key=lambda box: box.x0)
        assert left.x1 < right.x0, ax.get_title()
