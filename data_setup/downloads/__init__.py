"""Data sets that are downloaded: get the archives, check them, unpack them safely, lay the pictures out.

| file | what it holds |
|---|---|
| records.py | what is known of a data set: archives, checks, parts and their published counts |
| picture_sets.py, torchvision_sets.py | the records |
| fetch.py | one file over HTTP: resumed after a cut, within a time limit |
| unpack.py | an archive into a folder: regular files only, no bombs |
| arrange.py | what came out, into train/valid/test by class; counts compared with the published ones |
| build.py | these steps for one data set, from the first address that works |
| kept.py | where archives lie until their set is ready |

Nothing is used without its check, and nothing unfinished has the name of a set: downloads lie in `.downloads/NAME`
until the set is ready.
"""
