"""Rows 40, 56 and 61: a short dose of what `--long caches` and `--long marks` give a hundred times."""

import os

import pytest
import torch

from tests.faults.kills import caches, marks

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def threads():
    """The doses compute on one thread, as forked processes have to."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.fault(40, 56)
def test_killed_while_a_cache_is_built_leaves_nothing_half_and_the_next_run_is_right(case, course_data):
    """Catches half a file of pixels or features that the next run takes for whole."""
    with case.right():
        tally = caches(3)
        assert tally.is_clean() and tally.facts["killed decoding"] == tally.facts["killed computing features"] == 3


@pytest.mark.fault(40, 61)
def test_killed_while_a_review_writes_loses_no_mark(case):
    """Catches a mark that was made and is gone, and a file that nobody can read."""
    with case.right():
        tally = marks(6)
        assert tally.is_clean() and tally.facts["reviews marked to their end"] >= 1
