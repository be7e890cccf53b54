"""The table of several runs: what is published follows from the stored results."""

import json
from dataclasses import asdict
from pathlib import Path

from helpers.recipe.settings import Settings
from tools.results_table import main, tabulate


def test_the_published_table_is_what_the_stored_results_say():
    """Catches a table that no longer follows from the results beside it, and keys that are no longer read."""
    notebooks = Path(__file__).resolve().parents[2] / "notebooks"
    published = (notebooks / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    lines = [line for line in tabulate([notebooks / "results"]).splitlines() if line]
    assert len(lines) == 2 + 10 + 2
    assert [line for line in lines if line not in published] == []


def test_the_table_puts_seeds_together(tmp_path):
    """Catches runs of other settings in one mean, and a name with | that breaks the table."""
    for seed, accuracy in enumerate((0.86, 0.88, 0.90)):
        write_result(tmp_path / f"run{seed}", seed=seed, accuracy=accuracy)
    write_result(tmp_path / "other", seed=0, accuracy=0.5, arch="res|net")
    lines = tabulate([tmp_path]).splitlines()
    assert lines[0].startswith(
        "| data | protocol | arch | px | training | seed | n | accuracy (95 %) | TTA accuracy (95 %) |"
    )
    assert len({line.count("|") for line in lines[:6]}) == 1
    assert "| 0 | 656 | 86.0 (85.0-87.0) | 87.0 (86.0-88.0) | 2.0 | cpu |" in lines[2]
    assert lines[-1] == (
        "deitsch, lite0, 224 px, 15 epochs: 3 runs on 3 splits: accuracy 88.00 % on average (standard deviation 2.00, "
        "86.00 to 90.00); TTA accuracy 89.00 % on average (standard deviation 2.00, 87.00 to 91.00)."
    )
    assert sum("runs on" in line for line in lines) == 1


def write_result(folder, *, seed, accuracy, arch="lite0"):
    folder.mkdir()
    share = {"estimate": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01}
    better = {name: value + 0.01 for name, value in share.items()}
    facts = {
        "settings": asdict(Settings(protocol="deitsch", seed=seed, arch=arch)),
        "protocol": "deitsch", "training": "15 epochs", "split": str(seed), "n": {"train": 1968, "valid": 656},
        "accuracy": share, "tta_accuracy": better, "seconds": 120.0, "device": "cpu",
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(facts))


def test_a_folder_without_results_gets_a_sentence(capsys):
    """Catches an empty table printed as if it were a result."""
    assert main(["/nowhere/at/all"]) == 1
    assert capsys.readouterr().err == "error: no result.json below /nowhere/at/all\n"
