"""Pictures in tar archives of a few hundred megabytes, for sets of millions: `python -m data_setup shard PATH`.

A disk or a network reads one large file many times as fast as a thousand small ones, and processes or machines share
the shards among themselves. They are WebDataset shards, which every tool for that format reads, too.

| file | what it holds |
|---|---|
| record.py | what is in the shards, as JSON beside them: counts, classes, sha256, the place of each picture |
| writing.py | a folder's pictures written to shards, one whole shard after the other |
| reading.py | a shard's pictures in a row, by the library `webdataset`; single pictures by their place |
| command.py | the command line |
"""

from data_setup.shards.reading import pictures, stream
from data_setup.shards.record import Contents, Index, read_index

__all__ = ["Contents", "Index", "pictures", "read_index", "stream"]
