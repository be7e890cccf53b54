"""The records as one table, in markdown and JSON: medians, ratios, what was asked and whether it was reached."""

from dataclasses import asdict, dataclass
from statistics import mean, median, stdev

from tests.benchmarks.rounds import AGAIN, OURS, best_tuned, median_ratio, noise, not_lower, ratios, spread

DEFAULT = "fastai default"
TUNED = ("fastai tuned", "plain", "timm", "timm compiled", "lightning")
COLUMNS = (OURS, "ours, graphs", DEFAULT, *TUNED)


@dataclass(frozen=True)
class Line:
    """One line of the table. Values are medians in `unit`."""

    key: str
    title: str
    unit: str
    values: dict[str, float]
    spreads: dict[str, float]
    accuracies: dict[str, list[float]]
    default_ratio: float
    best_name: str
    best_ratio: float
    targets: tuple[float, float]
    noise: float
    rounds: int
    verdict: str
    note: str


def lines(records: list[dict]) -> list[Line]:
    result = []
    for record in records:
        result.append(line_of(record, "s", lambda answer: answer["seconds"], tuple(record["targets"])))
        if any(record["memory_targets"]):
            result.append(memory_line(record))
    return result


def values_of(record: dict, measure) -> list[dict[str, float]]:
    """{contender: value} of every round."""
    return [{name: measure(answer) for name, answer in done.items()} for done in record["rounds"]]


def line_of(record: dict, unit: str, measure, targets: tuple[float, float]) -> Line:
    rounds = values_of(record, measure)
    names = [name for name in COLUMNS if any(name in values for values in rounds)]
    by_name = {name: [values[name] for values in rounds if name in values] for name in names}
    best_name, best_ratio = best_tuned(rounds, TUNED)
    default_ratio = median_ratio(rounds, DEFAULT) if ratios(rounds, DEFAULT) else float("nan")
    accuracies = accuracies_of(record)
    return Line(
        record["key"], record["title"] + weights_note(record), unit,
        {name: median(values) for name, values in by_name.items()},
        {name: spread(values) for name, values in by_name.items()},
        accuracies, default_ratio, best_name, best_ratio, targets, noise(rounds), len(rounds),
        verdict((default_ratio, best_ratio), targets, accuracies, record["n_valid"]), record["note"],
    )  # fmt: skip


def memory_line(record: dict) -> Line:
    """Peak memory: less is better, so a target of 0.6 times is a ratio of 1 / 0.6."""
    targets = tuple(1 / share for share in record["memory_targets"])
    line = line_of(record, "MiB", lambda answer: answer["peak_mib"], targets)
    title = f"peak memory of {record['key']}, whole process tree"
    return Line(**{**asdict(line), "key": f"{record['key']} memory", "title": title, "accuracies": {}, "note": ""})


def weights_note(record: dict) -> str:
    return "" if record["work"]["pretrained"] or record["kind"] == "script" else " (random weights)"


def accuracies_of(record: dict) -> dict[str, list[float]]:
    """At the end of every round, for tasks that begin anew with each seed."""
    if record["task"] not in ("head_epochs", "fine_tune"):
        return {}
    return {
        name: [done[name]["counts"]["marks"][-1][1] for done in record["rounds"] if name in done]
        for name in COLUMNS
        if any(name in done for done in record["rounds"])
    }


def verdict(found: tuple[float, float], targets: tuple[float, float], accuracies: dict, n_valid: int) -> str:
    """ "met", "missed: ..." or "" where nothing is asked."""
    asked = [(f, t, who) for f, t, who in zip(found, targets, (DEFAULT, "best tuned peer"), strict=True) if t]
    missed = [f"{f:.2f} of {t:.4g} times {who}" for f, t, who in asked if not f >= t]
    lower = [
        name for name, theirs in accuracies.items() if name != OURS and not not_lower(accuracies[OURS], theirs, n_valid)
    ]
    missed += [f"accuracy below {', '.join(lower)}"] * bool(lower)
    return ("missed: " + "; ".join(missed) if missed else "met") if asked or lower else ""


def time_to_accuracy(record: dict, wanted: float) -> dict[str, list[float]]:
    """R8: seconds from the start of the process until an epoch first ended with `wanted`; inf where none did."""
    result: dict[str, list[float]] = {}
    for done in record["rounds"]:
        for name in (name for name in COLUMNS if name in done):
            answer = done[name]
            before = answer["seconds"] - answer["task_s"]
            hit = (before + seconds for seconds, accuracy in answer["counts"]["marks"] if accuracy >= wanted)
            result.setdefault(name, []).append(next(hit, float("inf")))
    return result


# Text ----------------------------------------------------------------------------------------------------------


def markdown(all_lines: list[Line], machine: dict) -> str:
    columns = [name for name in COLUMNS if any(name in line.values for line in all_lines)]
    head = ["row", *columns, "x default", "x best tuned", "noise", "target"]
    rows = [[line.title, *(cell(line, name) for name in columns), *ratio_cells(line)] for line in all_lines]
    notes = [f"- {line.title}: {line.note}." for line in all_lines if line.note]
    table = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    where = ", ".join(f"{name} {value}" for name, value in machine.items() if value)
    return "\n".join([*table, "", f"Medians; {where}. Accuracy: mean over seeds.", *notes])


def cell(line: Line, name: str) -> str:
    if name not in line.values:
        return ""
    value = line.values[name]
    text = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    accuracy = line.accuracies.get(name)
    if not accuracy:
        return f"{text} {line.unit}"
    error = f" ± {100 * stdev(accuracy):.1f}" if len(accuracy) > 1 else ""
    return f"{text} {line.unit}, {100 * mean(accuracy):.1f}{error} %"


def ratio_cells(line: Line) -> list[str]:
    def ratio(value: float, target: float) -> str:
        if value != value:
            return ""
        return f"{value:.2f}" + (f" (≥ {target:.3g})" if target else "")

    best = ratio(line.best_ratio, line.targets[1])
    return [
        ratio(line.default_ratio, line.targets[0]),
        f"{best} {line.best_name}".strip(),
        f"{100 * line.noise:.0f} %" if line.rounds else "",
        line.verdict,
    ]


def r8_markdown(record: dict, wanted: float) -> str:
    """R8 as one sentence per contender."""
    times = time_to_accuracy(record, wanted)

    def words(values: list[float]) -> str:
        value = median(values)
        return "never" if value == float("inf") else f"{value:.0f} s"

    run_cli = ", ".join(f"{name} {words(values)}" for name, values in times.items() if name != AGAIN)
    return f"R8 time until {100 * wanted:.0f} % of the validation pictures are right (median of seeds): {run_cli}."
