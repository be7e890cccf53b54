"""A folder of one's own as it comes: its labels, wherever they are, and `python -m data_setup split PATH`, which writes
down which of its pictures train, validate and test.

| file | what it holds |
|---|---|
| labels.py | labels as people have them: a table with any columns, a text file beside each picture |
| group_names.py | what belongs together: by a pattern in the path, or by a column of a table |
| by_time.py | the latest days to validate and test: when each picture was taken |
| split_file.py | a split written and read; the split that a folder says |
| command.py | the command line |
"""
