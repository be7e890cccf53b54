"""Rows 18, 39 and 54: lessons that meet a fault, on kernels of their own (every lesson, every fault: `--long`)."""

import pytest

from tests.faults import notebooks
from tests.faults.meetings import FAULTS, Ran, keep, read_kept, tally_of
from tests.faults.notebooks import Course
from tests.faults.page import write_page

MEETINGS = [  # those that show soon what they do
    ("00_setup", "read-only data"),
    ("00_setup", "no data yet"),
    ("09_your_own_data", "full disk"),
]
CLEAR = "OSError: /data/models/a.safetensors could not be written: make room there"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return Course(tmp_path_factory.mktemp("course"))


@pytest.mark.skipif(not notebooks.can_run(), reason="needs a file system of its own (Linux, unshare)")
@pytest.mark.parametrize(
    ("lesson", "fault"),
    [pytest.param(*one, marks=pytest.mark.fault(FAULTS[one[1]]), id=", ".join(one)) for one in MEETINGS],
)
def test_a_lesson_ends_or_stops_with_one_short_message(case, course, lesson, fault):
    """Catches an error that names no file and no remedy, and a photograph that is not what it was."""
    ran = course.under(lesson, fault)
    case.outcome = "lost" if ran.lost else "unhelpful"
    assert ran.end == ("finished" if fault == "no data yet" else "one message"), ran
    case.outcome = "right" if ran.end == "finished" else "clear"


@pytest.mark.parametrize(
    ("fault", "told", "end"),
    [
        ("full disk", {}, "finished"),
        ("full disk", {"cell": 3, "error": CLEAR}, "one message"),
        ("no data yet", {"cell": 3, "error": CLEAR}, "bad"),  # nothing is wrong that the learner could set right
        ("full disk", {"cell": 3, "error": "OSError: [Errno 28] No space left on device"}, "bad"),
        ("full disk", {"cell": 3, "error": f"{CLEAR}\n\n\n\n\n\nend"}, "bad"),
        ("full disk", {"lost": ("solar/labels.csv",)}, "bad"),
    ],
)
def test_how_a_lesson_ended_is_not_called_better_than_it_was(fault, told, end):
    """Catches a matrix in which everything is fine."""
    assert Ran("00_setup", fault, 1.0, **told).end == end


def test_a_result_replaces_its_older_one_and_no_other(tmp_path):
    """Catches a run of two lessons, or one that was interrupted, that wipes out what others have measured."""
    file, page = tmp_path / "meetings.json", tmp_path / "RESULTS.md"
    rans = [Ran("00_setup", "full disk", 1.0), Ran("01_exploration", "full disk", 2.0, cell=3, error=CLEAR)]
    for ran in (rans[1], rans[0]):
        keep(ran, file)
    again = Ran("00_setup", "full disk", 4.0, notes=("note: a",))
    kept = keep(again, file)
    assert set(kept.values()) == {again, rans[1]} and list(read_kept(file).values()) == [again, rans[1]]
    page.write_text(
        "# Long doses\n\n| fuzz | 2026-01-01 | here |\n| notebooks | 2026-01-01 | of long ago |\n\n## An older table\n"
    )
    write_page("notebooks", tally_of(kept.values(), ["00_setup", "01_exploration", "02_lr_find"]), page)
    text = page.read_text()
    assert "| fuzz | 2026-01-01 | here |" in text and "long ago" not in text
    assert "| 01_exploration |  |  |  |  |  | one message [3] |" in text and "| 02_lr_find |  |  |" in text
    assert "1 finished, 1 one message" in text and "6 | 2 | 0 | 0 | 0 | 0 |" in text
