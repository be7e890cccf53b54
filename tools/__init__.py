"""For authors, not in the installed package. Each tool is a module to run; `python -m tools.NAME --help` says how.

| module | make target | what it does |
|---|---|---|
| `course` | `make course` | executes copies of all notebooks in order, with progress and a table at the end |
| `store` | `make notebooks` | executes the notebooks and stores their outputs, in one normal form |
| `learner_copies` | `make work` | writes the learner's own copies: solutions cut out, never overwritten |
| `site` | `make site` | the stored notebooks as web pages with search, nothing loaded from elsewhere |
| `slides` | `make slides` | the cells tagged as slides, as reveal.js pages that open without a network |
| `timings` | `make timings` | README's table of lessons: titles and minutes from the notebooks, time as measured |
| `links` | `make links` | says which links of the notebooks and texts lead nowhere |

They share `notebook_files` (find, read, write, normalise), `execute` (one notebook on a fresh kernel, measured) and
`pages` (cells to HTML).
"""
