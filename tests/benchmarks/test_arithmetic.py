"""The bench's own arithmetic: order of the rounds, ratios, noise, verdicts, regressions. No peer is needed."""

from collections import Counter
from dataclasses import asdict
from statistics import median
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers.models.classifier import build_classifier
from tests.benchmarks import __main__ as command
from tests.benchmarks import bench, check, rounds, table
from tests.benchmarks.bench import Bench
from tests.benchmarks.floors import flops_per_picture
from tests.benchmarks.rows import FORCED, FULL, Row
from tests.benchmarks.work import Counts, Work


def rounds_of(**seconds: list[float]) -> list[dict[str, float]]:
    """{"ours": [1, 2], "plain": [3, 4]} round by round; "_" in a name is a space."""
    names = {name.replace("_", " "): values for name, values in seconds.items()}
    return [dict(zip(names, values, strict=True)) for values in zip(*names.values(), strict=True)]


def record_of(task="epoch", **seconds: list[float]) -> dict:
    """A row's record as the bench writes it, without what the table does not read."""
    answers = [
        {name: {"seconds": value, "task_s": value, "peak_mib": value, "counts": {"marks": [[value / 2, 0.8]]}}
         for name, value in values.items()}
        for values in rounds_of(**seconds)
    ]  # fmt: skip
    return {
        "key": "R", "title": "a row", "task": task, "kind": "warm", "note": "", "n_valid": 656, "targets": (2.5, 1.3),
        "least": {}, "memory_targets": (0.0, 0.0), "work": asdict(Work()), "rounds": answers, "failed": {},
    }  # fmt: skip


def test_every_contender_stands_in_every_place_once():
    """Catches an order that always lets the same one run on the cool machine."""
    names = ["a", "b", "c", "d"]
    places = [rounds.order(names, number) for number in range(4)]
    for place in zip(*places, strict=True):
        assert Counter(place) == Counter(names)
    assert rounds.order(names, 5) == rounds.order(names, 1)


def test_ratios_are_taken_in_each_round_first():
    """Catches the ratio of two medians: a machine that was busy for a whole round would distort it."""
    done = rounds_of(ours=[1, 10, 2], plain=[3, 20, 8])
    assert rounds.ratios(done, "plain") == [3, 2, 4]
    assert rounds.median_ratio(done, "plain") == 3
    assert median([3, 20, 8]) / median([1, 10, 2]) == 4


def test_a_round_without_the_peer_does_not_count():
    done = [{"ours": 1.0, "plain": 2.0}, {"ours": 1.0}]
    assert rounds.ratios(done, "plain") == [2]


def test_noise_is_the_largest_difference_of_the_same_thing():
    """Catches a noise that looks only in one direction, or averages outliers away."""
    assert rounds.noise(rounds_of(ours=[10, 10, 10], ours_again=[11, 8, 10])) == pytest.approx(0.25)
    assert rounds.noise(rounds_of(ours=[10], plain=[3])) == 0


def test_spread_is_the_interquartile_range():
    assert rounds.spread([1, 2, 3, 4, 5]) == 2
    assert rounds.spread([7]) == 0


def test_the_best_tuned_peer_is_the_one_nearest_to_ours():
    """Catches a table that compares with the weakest peer."""
    done = rounds_of(ours=[1, 1], plain=[3, 3], timm=[2, 2], fastai_default=[1.5, 1.5])
    assert rounds.best_tuned(done, ["plain", "timm", "lightning"]) == ("timm", 2)
    name, ratio = rounds.best_tuned(done, ["lightning"])
    assert (name, ratio != ratio) == ("", True)


@pytest.mark.parametrize(
    ("ours", "theirs", "fine"),
    [
        ([0.82, 0.82, 0.82], [0.83, 0.83, 0.83], True),  # one point of 656 pictures is chance
        ([0.75, 0.75, 0.75], [0.83, 0.83, 0.83], False),
        ([0.70, 0.80, 0.90], [0.86, 0.86, 0.86], True),  # the seeds differ more than that
        ([0.90], [0.80], True),
    ],
)
def test_an_accuracy_is_lower_only_beyond_two_standard_errors(ours, theirs, fine):
    assert rounds.not_lower(ours, theirs, 656) is fine


# The table -----------------------------------------------------------------------------------------------------


def test_a_row_is_met_only_when_both_targets_are():
    seconds = {"ours": [10, 10], "ours_again": [10, 11], "fastai_default": [30, 30], "plain": [14, 14]}
    (line,) = table.lines([record_of(**seconds)])
    assert (line.verdict, line.default_ratio, line.best_name, line.best_ratio) == ("met", 3, "plain", 1.4)
    assert line.noise == pytest.approx(0.1)
    (line,) = table.lines([record_of(**seconds | {"plain": [12, 12]})])
    assert line.verdict == "missed: 1.20 of 1.3 times best tuned peer"
    (line,) = table.lines([record_of(ours=[10], plain=[20])])
    assert line.verdict.startswith("missed: nan of 2.5 times fastai default"), "a peer that failed is no target met"


def test_a_compiled_peer_has_a_target_of_its_own():
    """Catches a compiled peer that is taken for the best eager one, and a target that is never looked at."""
    record = record_of(ours=[10], fastai_default=[30], plain=[14], timm_compiled=[11]) | {"least": {"timm compiled": 1}}
    (line,) = table.lines([record])
    assert (line.best_name, line.verdict) == ("plain", "met")
    assert "1.40 (≥ 1.3) plain; 1.10 (≥ 1) timm compiled" in table.markdown([line], {})
    (line,) = table.lines(
        [record_of(ours=[12.5], bare_torch=[10]) | {"targets": (0, 0), "least": {"bare torch": 1 / 1.2}}]
    )
    assert line.verdict == "missed: 0.80 of 0.8333 times bare torch"


def test_a_forced_precision_stands_beside_peers_of_its_own_kind():
    """Catches float32 beside a peer in bfloat16, and ratios that are still those of the precision chosen."""
    seconds = {"ours": [1], "ours, float32": [2], "ours, bfloat16": [1], "fastai default": [8], "fastai tuned": [9]}
    record = record_of(**seconds | {"plain": [3], "plain, float32": [6]})
    other = record_of(ours=[1], plain=[2])
    assert table.forced_markdown([record, other]).splitlines()[2:] == [
        "| a row | 4.00 | 3.00 plain, float32 | 8.00 | 3.00 plain |"
    ]
    assert table.forced_markdown([other]) == ""


@pytest.mark.parametrize("has", [True, False])
def test_precision_is_forced_only_where_there_is_a_choice(has, monkeypatch):
    """Catches an epoch in emulated bfloat16, a hundred times as long, and a processor with both that shows only one."""
    monkeypatch.setattr(command.precision, "has_bfloat16", lambda device: has)
    picked = command.chosen(FULL, SimpleNamespace(rows=None, rounds=None))
    named = {name for row in picked for name in row.contenders}
    assert [row.key for row in picked] == [row.key for row in FULL] and {"ours", "plain"} < named
    assert ({*FORCED, "plain, float32"} & named == {*FORCED, "plain, float32"}) is has
    assert has or not any("float" in name for name in named)


def test_speed_bought_with_accuracy_is_a_miss():
    record = record_of("fine_tune", ours=[10, 10], fastai_default=[30, 30], plain=[20, 20])
    for done in record["rounds"]:
        done["plain"]["counts"]["marks"] = [[1, 0.99]]
    (line,) = table.lines([record])
    assert line.verdict == "missed: accuracy below plain"


def test_less_memory_is_better():
    """Catches a share (at most 0.6 times) that is read as a ratio (at least 0.6 times)."""
    record = record_of(ours=[500], fastai_default=[1000], plain=[800]) | {"memory_targets": (0.6, 0.8)}
    line = table.lines([record])[1]
    assert (line.unit, line.verdict) == ("MiB", "met")
    record = record_of(ours=[700], fastai_default=[1000], plain=[800]) | {"memory_targets": (0.6, 0.8)}
    assert "1.43 of 1.667 times fastai default; 1.14 of 1.25 times best tuned peer" in table.lines([record])[1].verdict


def test_time_to_accuracy_counts_from_the_start_of_the_process():
    record = record_of("fine_tune", ours=[10.0], plain=[20.0])
    done = record["rounds"][0]
    done["ours"] |= {"task_s": 6.0, "counts": {"marks": [[2, 0.7], [4, 0.81], [6, 0.79]]}}
    done["plain"]["counts"]["marks"] = [[9, 0.5]]
    assert table.time_to_accuracy(record, 0.8) == {"ours": [8.0], "plain": [float("inf")]}
    assert "ours 8 s, plain never" in table.r8_markdown(record, 0.8)


def test_the_table_is_markdown_with_as_many_cells_in_every_row():
    """Catches a contender's column that moves when another one is missing in that row."""
    text = table.markdown(table.lines([record_of(ours=[1], plain=[2]), record_of(ours=[1], timm=[3])]), {"cores": 2})
    head, dashes, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in (head, dashes, *rows)} == {head.count("|")}
    names = [name.strip() for name in head.split("|")]
    assert rows[1].split("|")[names.index("timm")].strip() == "3 s"
    assert rows[1].split("|")[names.index("plain")].strip() == ""


def test_random_weights_are_told():
    record = record_of(ours=[1])
    assert "random" not in table.lines([record])[0].title
    record["work"]["pretrained"] = False
    assert table.lines([record])[0].title == "a row (random weights)"


# The check -----------------------------------------------------------------------------------------------------


def measured(plain: list[float]) -> dict:
    return check.stored([record_of(ours=[1.0] * len(plain), ours_again=[1.0] * len(plain), plain=plain)])


def test_a_regression_is_found_on_any_machine():
    """Catches a check that compares times: here everything is twice as slow, but one ratio fell."""
    before = measured([2.0, 2.0, 2.0])
    assert check.regressions(before, measured([2.1, 2.0, 1.9])) == []
    twice_as_slow = check.stored([record_of(ours=[2.0] * 3, ours_again=[2.0] * 3, plain=[4.0] * 3)])
    assert check.regressions(before, twice_as_slow) == []
    (found,) = check.regressions(before, measured([1.5, 1.5, 1.5]))
    assert found == "R: 1.50 times plain, 2.00 when stored (at least 1.65)"


def test_a_noisy_run_is_no_regression():
    """Catches a band that ignores what this very run shows of its own noise."""
    noisy = check.stored([record_of(ours=[1.0, 1.0], ours_again=[1.4, 1.0], plain=[1.5, 1.5])])
    assert check.regressions(measured([2.0, 2.0]), noisy) == []


def test_a_peer_that_is_not_there_any_more_is_told():
    assert check.regressions(measured([2.0]), {"R": {}}) == ["R: nothing was measured against plain"]


# Floors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["efficientnet_lite0", "resnet34"])
def test_operations_of_a_step_are_three_passes_of_its_products(arch, monkeypatch):
    """Catches a count that takes a depthwise convolution for a full one: lite0's floor was ten times too high."""
    monkeypatch.setattr(Work, "classes", ["a", "b"])
    work = Work(arch=arch, pretrained=False, size_px=64)
    model = build_classifier(arch, 2, size=64, pretrained=False).eval()
    products = 0

    def count(layer, inputs, output) -> None:
        nonlocal products
        products += output[0].numel() * layer.weight[0].numel()  # every number of the output sums so many products

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    model(torch.rand(1, 3, 64, 64))
    assert flops_per_picture(work) == 3 * 2 * products


def test_a_regression_is_told_also_where_the_new_ratios_are_stored(tmp_path, monkeypatch, capsys):
    """Catches a command that stores before it compares: what it has just written has never fallen."""
    file, machine = tmp_path / "ratios.json", {"cpu": "AMD", "instructions": "AVX2", "cores": 2, "gpu": ""}
    check.add(file, machine, measured([2.0, 2.0, 2.0]))
    now = record_of(ours=[1.0] * 3, ours_again=[1.0] * 3, plain=[1.5] * 3)
    monkeypatch.setattr(command, "ENVIRONMENT", {})  # of this process nothing changes
    monkeypatch.setattr(command, "machine", lambda: machine)
    monkeypatch.setattr(command, "Bench", lambda *_, **__: SimpleNamespace(run=lambda rows: [now]))
    monkeypatch.setattr(command, "report", lambda *_: None)
    monkeypatch.setattr(command.precision, "fast_precision", lambda *_: torch.float32)
    how = ["bench", "--check", str(file), "--store", str(file), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(command.sys, "argv", how)
    assert command.main() == 1
    assert "R: 1.50 times plain, 2.00 when stored" in capsys.readouterr().out
    assert check.load(file, machine)["R"]["plain"]["ratio"] == 1.5


def test_each_kind_of_machine_has_ratios_of_its_own(tmp_path):
    """Catches a GPU whose ratios are compared with a processor's, processors of one name of which only one computes in
    bfloat16, and a new kind that wipes out the others."""
    file, cpu = tmp_path / "ratios.json", {"cpu": "AMD", "instructions": "AVX2", "cores": 2, "gpu": ""}
    card = cpu | {"gpu": "NVIDIA H100"}
    check.add(file, cpu, {"R": {"plain": {"ratio": 2.0, "band": 0.1}}})
    for other in (card, cpu | {"cores": 4}, cpu | {"instructions": "AVX512, bfloat16"}):
        assert check.load(file, other) == {}
    check.add(file, card, {"G": {"plain": {"ratio": 3.0, "band": 0.1}}})
    check.add(file, card, {"G9": {}})
    assert set(check.load(file, card)) == {"G", "G9"} and set(check.load(file, cpu)) == {"R"}


def test_a_processor_held_to_fewer_instructions_is_another_kind(monkeypatch):
    """Catches ratios of a processor that was held to AVX2 among those of processors that know no more."""
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    itself = bench.machine()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert check.kind(bench.machine()) != check.kind(itself) and bench.machine() == bench.machine()


def test_processes_go_on_while_rows_give_them_the_same_work(tmp_path, monkeypatch):
    """Catches processes that start anew for every row, and those of another work that are left running."""
    alive, started = [], []

    class Fake:
        def __init__(self, name, given):
            self.name = name, given.arch

        def __enter__(self):
            started.append(self.name)
            alive.append(self.name)
            return self

        def __exit__(self, *_):
            alive.remove(self.name)

        def ready(self):
            """At once."""

        def run(self, task, seed):
            assert {arch for _, arch in alive} == {self.name[1]}
            return {"seconds": 1.0, "counts": asdict(Counts())}

    monkeypatch.setattr(bench, "Worker", Fake)
    monkeypatch.setattr(Work, "digest", lambda work: work.arch)
    monkeypatch.setattr(Bench, "read_all", lambda *_: None)
    monkeypatch.setattr(Bench, "expected", lambda *_: {})
    monkeypatch.setattr(Bench, "work_of", lambda self, row: Work(**row.work))
    new = {"tuning": {}, "failed": {}}
    monkeypatch.setattr(Bench, "begun", lambda *_: {**new, "rounds": [], "starts": [], "begun": {}})
    rows = [Row(key, key, "epoch", ("ours", "plain"), 2, work={"arch": arch}) for key, arch in ("aA", "bA", "cB")]
    records = Bench(tmp_path, Work()).run(rows)
    assert [len(record["rounds"]) for record in records] == [2, 2, 2] and alive == []
    assert started == [(name, arch) for arch in "AB" for name in ("ours", "ours", "plain")]
