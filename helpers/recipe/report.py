"""The recipe's results, from its result.json: one HTML page of a run, and a table of several runs."""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from helpers.analysis.interpret import Interpretation
from helpers.analysis.predictions import Predictions
from helpers.data.dataset import ImageData
from helpers.review.html import Html, data_uri, fill, join
from helpers.training.lr_finder import LRFinderResult
from helpers.training.run import History

SCORES = ("accuracy", "tta_accuracy", "weighted_accuracy", "weighted_tta_accuracy")


# Several runs ---------------------------------------------------------------------------------------------------


def tabulate(folders: Sequence[Path]) -> str:
    """The results below these folders as a Markdown table, and a line for runs that differ by their seed alone."""
    files = sorted(file for folder in folders for file in Path(folder).rglob("result.json"))
    if not files:
        raise FileNotFoundError(f"no result.json below {', '.join(map(str, folders))}")
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    runs.sort(key=lambda run: [run["settings"][name] for name in ("data", "protocol", "arch", "size", "seed")])
    scores = [name for name in SCORES if any(name in run for run in runs)]
    names = [f"{_words(name)} (95 %)" for name in scores]
    rows = [["data", "protocol", "arch", "px", "training", "seed", "n", *names, "minutes", "device"]]
    rows.append(["---"] * len(rows[0]))
    for run in runs:
        own, minutes = run["settings"], f"{run['seconds'] / 60:.1f}"
        what = [Path(own["data"]).name, run["protocol"], own["arch"], own["size"], run["training"], own["seed"]]
        rows.append([*what, run["n"]["valid"], *(_percent(run.get(name)) for name in scores), minutes, run["device"]])
    groups: dict[str, list[dict]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run["settings"] | {"seed": None}), []).append(run)
    summaries = [_summary(group, scores) for group in groups.values() if len(group) > 1]
    return "\n".join([*map(_row, rows), *([""] if summaries else []), *summaries])


def _words(score: str) -> str:
    return score.replace("tta", "TTA").replace("_", " ")


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def _percent(share: dict | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share['estimate']:.1f} ({100 * share['low']:.1f}-{100 * share['high']:.1f})"


def _summary(runs: Sequence[dict], scores: Sequence[str]) -> str:
    """Mean, deviation and range over the seeds. Their validation pictures overlap, so this is no interval."""
    said = []
    for name in scores:
        values = [100 * run[name]["estimate"] for run in runs if name in run]
        if len(values) > 1:
            mean, deviation = statistics.mean(values), statistics.stdev(values)
            spread = f"standard deviation {deviation:.2f}, {min(values):.2f} to {max(values):.2f}"
            said.append(f"{_words(name)} {mean:.2f} % on average ({spread})")
    splits, own = len({run["split"] for run in runs}), runs[0]["settings"]
    what = f"{runs[0]['protocol']}, {own['arch']}, {own['size']} px, {runs[0]['training']}"
    return f"{what}: {len(runs)} runs on {splits} splits: {'; '.join(said)}."


# One run --------------------------------------------------------------------------------------------------------


def draw_figures(
    data: ImageData, history: History, curves: Sequence[LRFinderResult], preds: Predictions, interp: Interpretation
) -> list[tuple[str, list]]:
    """(heading, drawings) each; `interp` is about the predictions with test-time augmentation."""
    from helpers.figures import curves, pictures, results

    picks = [interp.pick(which, 6) for which in ("random_correct", "random_incorrect", "most_uncertain")]
    if len(data.classes) <= 4:
        picks += [
            interp.pick(which, 3, of_class=c) for which in ("most_correct", "most_incorrect") for c in data.classes
        ]
    both = {"plain": preds, "TTA": interp.preds}
    return [
        ("What the model sees", [pictures.show_batch(data)]),
        ("Learning rates: the last layer, then the full network", [curves.plot_lr_find(curve) for curve in curves]),
        ("Training", [curves.plot_loss(history), curves.plot_metrics(history), curves.plot_lr(history)]),
        ("How good it is", [results.plot_accuracies(both), results.plot_confusion(interp)]),
        ("How sure it is", [results.plot_reliability(interp.preds)]),
        ("Largest losses", [pictures.plot_top_losses(interp, data)]),
        ("Pictures", [pictures.show_picks(pick, data) for pick in picks if pick.indices]),
    ]


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
body {{ color: #111; background: #fff }}
table {{ border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem }}
th, td {{ border-bottom: 1px solid #bbb; padding: 0.3rem 0.7rem; text-align: left; vertical-align: top }}
figure {{ margin: 1.5rem 0 }} img {{ max-width: 100% }} figcaption {{ font-size: 0.9rem; color: #333 }}
pre {{ background: #f3f3f3; padding: 0.7rem; overflow-x: auto; white-space: pre-wrap }}
</style></head><body><main>
<h1>{title}</h1>
<p><strong>{headline}</strong></p>
<p>{notes}</p>
<h2>Steps</h2>{steps}
{figures}
<h2>Epochs</h2>{epochs}
<h2>Settings</h2>{settings}
<h2>Made with</h2>{versions}
<p>Command:</p><pre>{command}</pre>
</main></body></html>
"""


def report_page(facts: dict, figures: Sequence[tuple[str, Sequence]]) -> Html:
    """One page with everything in it: it loads nothing, and runs nothing."""
    own, minutes = facts["settings"], f"{facts['seconds'] / 60:.1f} minutes on {facts['device']}"
    scores = [f"{_words(name)} {_percent(facts[name])} %" for name in SCORES if name in facts]
    notes = [
        facts["meaning"],
        f"Always answering the most frequent class gives {100 * facts['majority']:.1f} %.",
        *(f"{key.capitalize()}: {value}" for key, value in facts["source"].items()),
    ]
    sections = [
        fill("<h2>{heading}</h2>{figures}", heading=heading, figures=join(map(_figure, drawings)))
        for heading, drawings in figures
    ]
    steps = [[s["number"], s["title"], s["done"], s["result"], f"{s['seconds']:.1f}"] for s in facts["steps"]]
    epochs = [
        [e["number"], f"{e['train_loss']:.4f}", f"{e['valid_loss']:.4f}", f"{e['metrics']['accuracy']:.4f}"]
        + [f"{e['seconds']:.1f}"]
        for e in facts["epochs"]
    ]
    return fill(
        PAGE,
        title=f"{Path(own['data']).name}, {own['arch']}, {own['size']} px",
        headline=f"Of {facts['n']['valid']} validation pictures (95 % interval): {', '.join(scores)}; {minutes}.",
        notes=join(fill("{note}<br>", note=note) for note in notes if note),
        steps=_table(["", "step", "what was done", "accuracy on the validation pictures", "seconds"], steps),
        figures=join(sections),
        epochs=_table(["epoch", "training loss", "validation loss", "accuracy", "seconds"], epochs),
        settings=_table(["setting", "value"], own.items()),
        versions=_table(["package", "version"], facts["versions"].items()),
        command=facts["command"],
    )


def _figure(drawing) -> Html:
    return fill(
        '<figure><img alt="{alt}" src="{src}"><figcaption>{text}</figcaption></figure>',
        alt=drawing.alt,
        src=data_uri(drawing.png(), "png"),
        text=drawing.text,
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    heads = join(fill('<th scope="col">{name}</th>', name=name) for name in head)
    lines = [join(fill("<td>{cell}</td>", cell=cell) for cell in row) for row in rows]
    body = join(fill("<tr>{line}</tr>", line=line) for line in lines)
    return fill("<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>", heads=heads, body=body)
