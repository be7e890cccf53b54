"""The ledger itself: nothing counts that did not run and pass, and no outcome is better than it was."""

from types import SimpleNamespace

import pytest

from tests.faults.case import Case
from tests.faults.ledger import Ledger, Row, node_of, read_rows


def report(test, status="passed", when="teardown", **facts):
    is_failed, is_skipped = status == "failed", status == "skipped"
    return SimpleNamespace(
        nodeid=test, failed=is_failed, skipped=is_skipped, when=when, user_properties=list(facts.items())
    )


def ledger_of(*reports):
    ledger = Ledger([Row(1, "one", "lost", right=("t.py::right",), clear=("t.py::clear[a]",)), Row(2, "two", "-")])
    for one in reports:
        ledger.pytest_runtest_logreport(one)
    return ledger


def test_only_what_ran_and_passed_counts():
    """Catches a table of claims."""
    ledger = ledger_of(
        report("t.py::right[x]"),
        report("t.py::right[y]", "failed", "call"),
        report("t.py::right[y]"),
        report("t.py::right[z]", "skipped", "setup"),
        report("t.py::right[z]"),
        report("t.py::clear[a]"),
        report("t.py::clear[b]"),
    )
    assert ledger.counts[1] == {"right": 1, "clear": 1, "failed": 1}
    assert ledger.problems() == ["no case of row 2 ran", "row 1: 1 failed"]


@pytest.mark.parametrize("outcome", ["silent", "lost", "unhelpful"])
def test_a_case_of_ones_own_counts_with_its_outcome_in_each_of_its_rows(outcome):
    """Catches a bad outcome shown as a mere failure, or not at all."""
    ledger = ledger_of(
        report("f.py::a", rows=[1, 2], outcome="right"),
        report("f.py::b", "failed", "call"),
        report("f.py::b", rows=[2], outcome=outcome),  # as its teardown reports it
    )
    assert ledger.counts[2] == {"right": 1, outcome: 1} and ledger.problems() == [f"row 2: 1 {outcome}"]
    last = ledger.table().splitlines()[-1].split()
    assert last[:7] == ["all", "3", "2", "0", *(str(int(outcome == name)) for name in ("unhelpful", "silent", "lost"))]


def test_a_test_that_fails_after_a_good_outcome_is_no_good_case():
    """Catches an assertion behind the block that is not counted."""
    ledger = ledger_of(report("f.py::a", "failed", "call"), report("f.py::a", rows=[2], outcome="right"))
    assert ledger.counts[2] == {"failed": 1}


def test_the_outcome_of_a_case(tmp_path):
    """Catches words that are not looked for, and a changed file that nobody notices."""
    (tmp_path / "mine.txt").write_text("mine")
    case = Case()
    case.watch(tmp_path)
    with pytest.raises(AssertionError, match="no error"), case.clear("name", remedy="type this"):
        pass
    assert case.outcome == "silent"
    with pytest.raises(AssertionError, match="is not in"), case.clear("name", remedy="type this"):
        raise ValueError("something else")
    assert case.outcome == "unhelpful"
    with pytest.raises(AssertionError, match="lines"), case.clear("name", remedy="type this"):
        raise ValueError("name: type this" + "\n" * 7 + "end")
    with pytest.raises(AssertionError, match="had the last word"), case.clear("name", remedy="type this"):
        raise ValueError("name: type this")  # from a file that is not the kit's
    with pytest.raises(AssertionError), case.right():
        assert tmp_path.name == "wrong"
    assert case.outcome == "silent"
    with case.right():
        assert tmp_path.is_dir()
    assert case.outcome == "right"
    case.finish()
    (tmp_path / "mine.txt").write_text("yours")
    with pytest.raises(AssertionError, match="mine.txt"):
        case.finish()
    assert case.outcome == "lost"


def test_there_are_61_rows_and_every_test_they_name_is_in_one_file():
    """Catches a renamed test that silently leaves its row, and two tests of one name."""
    assert [row.number for row in read_rows()] == list(range(1, 62))
    with pytest.raises(KeyError, match="which is in no file"):
        node_of("test_that_nobody_wrote")
