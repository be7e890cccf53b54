"""`python -m data_setup check PATH`: what is wrong with a folder of pictures, before a model learns from it.

| file | what it holds |
|---|---|
| reading.py | one file, read completely: the facts that everything else is made from |
| workers.py | reading in processes of their own, so that a crashing decoder costs one file |
| near.py | pictures that are nearly the same |
| findings.py | what one file alone shows, a rule for each kind of trouble |
| sets.py | what several files show: copies, leaks between parts and groups, classes |
| report.py | summary, page (report.html) and JSON file |
| quarantine.py | files moved into a folder beside, and back |
| command.py | the command lines |

It reads, and changes nothing in the folder.
"""
