"""Made sets, and every lesson on two of them: `python -m tests.anyset` (= `make anyset`); 200 classes: `--set kinds`."""
