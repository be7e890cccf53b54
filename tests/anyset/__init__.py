"""Two made sets, and every lesson on both: `python -m tests.anyset` (= `make anyset`)."""
