"""What only the lessons need.

Their cells import `course` (data, models handed on), `checks` (of the exercises), `quiz`, `labs` and `messy_folder`;
`doctor` looks over the machine. The authors' tools stand in the folder tools/ beside helpers/.
"""
