"""Faults, and what comes of them: a case or more for each of 61 known ways to lose work, time or trust.

    python -m tests.faults                     run every case and print the ledger (`make faults`)
    python -m tests.faults --long fuzz         a long dose; its figures go into RESULTS.md

| file | what it holds |
|---|---|
| ledger.toml | the rows: the fault in words, what fastai did, and tests elsewhere that are cases of this row |
| ledger.py | the pytest plugin that counts what the cases did, and the table |
| case.py | `Case`: right, or a clear error, and the user's files as they were |
| test_*.py | the cases that no other test has, marked `fault(row)` |
| doses.py | kills, races, odd servers and mutated files by the thousand |
| kills.py | kills while a cache is built or a review is written |
| notebooks.py | every lesson under every fault |
| meetings.py, meetings.json | what came of each, kept as it comes |
| small_course.py | what makes a lesson short enough for that, in its kernel |
| long.py | gives a long dose |
| page.py | keeps its figures |
"""
