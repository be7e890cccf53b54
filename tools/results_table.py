"""Several runs of the recipe side by side, from the result.json that each leaves: the table of notebooks/RESULTS.md.

python -m tools.results_table notebooks/results
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.recipe.report import SCORES


def tabulate(folders: Sequence[Path]) -> str:
    """The results below these folders as a Markdown table, and a line for runs that differ by their seed alone."""
    files = sorted(file for folder in folders for file in Path(folder).rglob("result.json"))
    if not files:
        raise FileNotFoundError(f"no result.json below {', '.join(map(str, folders))}")
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    runs.sort(key=lambda run: [run["settings"][name] for name in ("data", "protocol", "arch", "size", "seed")])
    scores = [name for name in SCORES if any(name in run for run in runs)]
    head = ["data", "protocol", "arch", "px", "training", "seed", "n", *(f"{_words(name)} (95 %)" for name in scores)]
    rows = [[*head, "minutes", "device"], ["---"] * (len(head) + 2), *(_cells(run, scores) for run in runs)]
    lines = [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]
    same_but_seed: dict[str, list[dict]] = {}
    for run in runs:
        same_but_seed.setdefault(json.dumps(run["settings"] | {"seed": None}), []).append(run)
    summaries = [_summary(group, scores) for group in same_but_seed.values() if len(group) > 1]
    return "\n".join([*lines, *([""] if summaries else []), *summaries])


def _cells(run: dict, scores: Sequence[str]) -> list:
    own, shares = run["settings"], [_percent(run[name]) if name in run else "-" for name in scores]
    what = [Path(own["data"]).name, run["protocol"], own["arch"], own["size"], run["training"], own["seed"]]
    return [*what, run["n"]["valid"], *shares, f"{run['seconds'] / 60:.1f}", run["device"]]


def _words(score: str) -> str:
    return score.replace("tta", "TTA").replace("_", " ")


def _percent(share: dict) -> str:
    low, high = (100 * share[end] for end in ("low", "high"))
    return f"{100 * share['estimate']:.1f} ({low:.1f}-{high:.1f})"


def _summary(runs: Sequence[dict], scores: Sequence[str]) -> str:
    """Mean, deviation and range over the seeds. Their validation pictures overlap, so this is no interval."""
    said = []
    for name in (name for name in scores if name in runs[0]):
        values = [100 * run[name]["estimate"] for run in runs]
        spread = f"standard deviation {statistics.stdev(values):.2f}, {min(values):.2f} to {max(values):.2f}"
        said.append(f"{_words(name)} {statistics.mean(values):.2f} % on average ({spread})")
    own, counts = runs[0]["settings"], f"{len(runs)} runs on {len({run['split'] for run in runs})} splits"
    what = f"{runs[0]['protocol']}, {own['arch']}, {own['size']} px, {runs[0]['training']}"
    return f"{what}: {counts}: {'; '.join(said)}."


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    try:
        print(tabulate([Path(folder) for folder in (sys.argv[1:] if argv is None else argv)]))
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
