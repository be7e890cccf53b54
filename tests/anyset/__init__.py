"""Made sets, and every lesson on two of them: `make anyset` (`python -m tests.anyset --set kinds`: on 200 classes)."""
