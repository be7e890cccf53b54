"""GLOSSARY.md, READING.md and CAPSTONE.md: words stand where they are taught, the rubric adds up."""

import re

import pytest

from tools.notebook_files import NOTEBOOKS, read_notebook

TEXTS = {name: (NOTEBOOKS / f"{name}.md").read_text(encoding="utf-8") for name in ("GLOSSARY", "CAPSTONE")}
ENTRIES = re.findall(r"^- \*\*(.+?)\*\* \(\[(\w+)\]\((\S+)\)\): (.+)$", TEXTS["GLOSSARY"], flags=re.MULTILINE)


def test_every_entry_is_whole_and_in_order():
    assert len(ENTRIES) == len(re.findall("^- ", TEXTS["GLOSSARY"], flags=re.MULTILINE)) > 40
    assert [word.lower() for word, *_ in ENTRIES] == sorted(word.lower() for word, *_ in ENTRIES)
    assert all(text[-1] in ".?" and file.startswith(f"{lesson}_") for _, lesson, file, text in ENTRIES)


@pytest.mark.parametrize("file", sorted({file for _, _, file, _ in ENTRIES}))
def test_every_word_stands_in_the_lesson_that_teaches_it(file):
    """Catches a word that a rewritten lesson no longer uses."""
    cells = (cell.source for cell in read_notebook(NOTEBOOKS / file).cells if cell.cell_type == "markdown")
    prose = " ".join(" ".join(cells).replace("*", "").lower().split())
    assert [word for word, _, lesson, _ in ENTRIES if lesson == file and word.lower() not in prose] == []


def test_the_rubric_has_eight_rows_and_the_worked_letters_their_sums():
    """Catches a sum that is not that of its rows."""
    rows = re.findall(r"^\| (\d)\. [^|]+\|[^|]+\|[^|]+\|[^|]+\|$", TEXTS["CAPSTONE"], flags=re.MULTILINE)
    assert rows == [str(row) for row in range(1, 9)]
    for letter, total in zip(
        TEXTS["CAPSTONE"].split("### The ")[1:], re.findall(r"\*\*(\d+) of 16", TEXTS["CAPSTONE"]), strict=True
    ):
        points = dict(re.findall(r"\*\*(\d)\*\* (\d)", letter))
        assert sorted(points) == rows and sum(map(int, points.values())) == int(total)
