"""The records as one table, in markdown and JSON: medians, ratios, what was asked and whether it was reached."""

from dataclasses import asdict, dataclass
from statistics import mean, median, stdev

from tests.benchmarks.rounds import AGAIN, OURS, best_tuned, median_ratio, noise, not_lower, ratios, spread
from tests.benchmarks.rows import FORCED, IN_FLOAT32

DEFAULT = "fastai default"
TUNED = ("fastai tuned", "plain", "timm", "lightning")  # eager; what is compiled has a target of its own
TUNED_IN_FLOAT32 = ("fastai tuned", IN_FLOAT32)
COLUMNS = (
    OURS, "ours, graphs", *FORCED, "bare torch", DEFAULT, "fastai tuned", "plain", IN_FLOAT32, "timm",
    "timm compiled", "lightning",
)  # fmt: skip


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
    others: dict[str, tuple[float, float]]  # contender -> (ratio, at least this is asked)
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
    default_ratio, best_name, best_ratio = beside(rounds, TUNED)
    others = {name: (ratio_to(rounds, name), least) for name, least in record["least"].items()} if unit == "s" else {}
    accuracies = accuracies_of(record)
    asked = {DEFAULT: (default_ratio, targets[0]), "best tuned peer": (best_ratio, targets[1]), **others}
    return Line(
        record["key"], record["title"] + weights_note(record), unit,
        {name: median(values) for name, values in by_name.items()},
        {name: spread(values) for name, values in by_name.items()},
        accuracies, default_ratio, best_name, best_ratio, others, targets, noise(rounds), len(rounds),
        verdict(asked, accuracies, record["n_valid"]), record["note"],
    )  # fmt: skip


def ratio_to(rounds: list[dict[str, float]], peer: str) -> float:
    return median_ratio(rounds, peer) if ratios(rounds, peer) else float("nan")


def beside(rounds: list[dict[str, float]], tuned: tuple[str, ...]) -> tuple[float, str, float]:
    """(times fastai's default, the best tuned peer, times that one)."""
    return ratio_to(rounds, DEFAULT), *best_tuned(rounds, tuned)


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


def verdict(asked: dict[str, tuple[float, float]], accuracies: dict, n_valid: int) -> str:
    """ "met", "missed: ..." or "" where nothing is asked. `asked`: peer -> (ratio found, at least)."""
    asked = {name: (found, least) for name, (found, least) in asked.items() if least}
    missed = [
        f"{found:.2f} of {least:.4g} times {name}" for name, (found, least) in asked.items() if not found >= least
    ]
    peers = {name: theirs for name, theirs in accuracies.items() if not name.startswith(OURS)}
    lower = [name for name, theirs in peers.items() if not not_lower(accuracies[OURS], theirs, n_valid)]
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


def forced_markdown(records: list[dict]) -> str:
    """The ratios when either precision is forced on us; float32 beside peers in float32 where one was measured."""
    head = ["row", *(f"{name}: x {peer}" for name in FORCED for peer in ("default", "best tuned"))]
    rows = []
    for record in records:
        found = [record["title"]]
        for name in FORCED:
            rounds = [
                {**values, OURS: values[name]}
                for values in values_of(record, lambda answer: answer["seconds"])
                if name in values
            ]
            only_float32 = name == FORCED[0] and any(IN_FLOAT32 in values for values in rounds)
            default, best_name, best = beside(rounds, TUNED_IN_FLOAT32 if only_float32 else TUNED)
            found += [f"{default:.2f}", f"{best:.2f} {best_name}"] if rounds else []
        rows += [found] if len(found) == len(head) else []
    table = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(table) if rows else ""


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

    named = {line.best_name: (line.best_ratio, line.targets[1]), **line.others}
    return [
        ratio(line.default_ratio, line.targets[0]),
        "; ".join(f"{ratio(*found)} {name}" for name, found in named.items() if name),
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
