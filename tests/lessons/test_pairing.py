"""Matching: the order does not give the answer away, nothing is checked half done, wrong ones are named."""

import pytest

from helpers.lessons.pairing import CHOOSE, Pairing, listed_pairs, mixed, not_all
from tests.review.made import check_page

PAIRS = (("loss.backward()", "gradients"), ("opt.step()", "weights"), ("opt.zero_grad()", "forget"))


@pytest.fixture
def asked():
    heard = []
    widget = Pairing("order 1", PAIRS, heard.append, distractors=["data"])
    return widget, heard


@pytest.mark.parametrize("n", range(1, 8))
def test_entries_are_mixed_the_same_way_each_time_and_never_left_in_order(n):
    """Catches a question whose answer is "as they stand"."""
    entries = [f"entry {k}" for k in range(n)]
    for key in range(20):
        order = mixed(entries, key)
        assert sorted(order) == entries and order == mixed(entries, key)
        assert n == 1 or order != entries
    assert mixed(["a", "a", "b"]) in (["a", "b"], ["b", "a"])


def test_every_row_offers_every_answer_and_the_distractors(asked):
    widget, _ = asked
    for choice in widget.choices:
        offered = [words for words, _ in choice.options]
        assert offered[0] == CHOOSE and choice.value is None
        assert sorted(offered[1:]) == ["data", "forget", "gradients", "weights"]
    names = [choice.description for choice in widget.choices]
    assert names == ["order 1, 1", "order 1, 2", "order 1, 3"]


def test_open_rows_are_counted_and_not_checked(asked):
    widget, heard = asked
    widget.choices[0].value = "gradients"
    widget.check.click()
    assert widget.said.value == "2 of 3 are still open." and heard == []
    widget.choices[1].value = "weights"
    assert widget.said.value == "", "what was said of an older choice is gone"


def test_wrong_rows_are_handed_on_by_their_left_side(asked):
    widget, heard = asked
    for choice, value in zip(widget.choices, ("gradients", "data", "weights"), strict=True):
        choice.value = value
    widget.check.click()
    widget.choices[1].value, widget.choices[2].value = "weights", "forget"
    widget.check.click()
    assert heard == [["opt.step()", "opt.zero_grad()"], []]


def test_pieces_of_the_page_are_escaped():
    assert "1 of 3 fit. Look again at: &lt;b&gt;" in not_all(["<b>", "c"], 3)
    page = listed_pairs([("<i>", "x & y")])
    assert "&lt;i&gt;: x &amp; y" in page
    check_page(page)
