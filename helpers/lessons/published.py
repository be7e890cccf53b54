"""Beside the published result: networks that learn the expert's four answers, a second opinion, and their mean.

python -m helpers.lessons.published --split 0               a quarter of the cells at random, as Deitsch et al. divide
python -m helpers.lessons.published --split 0 --blocks      a quarter in whole blocks, as cells of a new module come
python -m helpers.lessons.published --table FOLDER ...      the results below these folders as a Markdown table

What was finished is kept, a network at a time: the same command goes on where it was cut off.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

import data_setup
from data_setup import solar
from data_setup.base.files import write_atomically
from helpers.analysis.intervals import accuracy_interval, weighted_accuracy
from helpers.analysis.predictions import Arithmetic, Predictions
from helpers.data.dataset import ImageData
from helpers.lessons.envelope import measures_by_block, published_number
from helpers.lessons.every_stage import build_every_stage
from helpers.lessons.kernel_ridge import across_modules, by_number, second_opinion, stage_features
from helpers.lessons.ratings import predictions, weighted_by_block
from helpers.lessons.scoreboard import measures
from helpers.lessons.symmetries import SymmetryLearner
from helpers.recipe.averaging import AverageWeights
from helpers.runtime.tensor_files import load_tensors, save_tensors

SIZE = 300  # px: the cells as they are
NETWORKS = ("efficientnet_lite0", "efficientnet_lite2")
STAGES = 2  # of each body train; the others are frozen, and see every cell once in each symmetry
EPOCHS, AVERAGED = 8, 3  # one-cycle; the mean of the weights after the last three epochs
BODY_RATE, HEAD_RATE = 1e-3, 2e-3  # at their highest
OPINION = 0.5  # share of the second opinions in the last answer


def run(split_seed: int, *, blocks: bool, folder: Path) -> dict:
    """Train every network of the split, print what each answer is worth, and leave result.json in `folder`."""
    cells = data_setup.prepare("solar")
    split = (solar.block_split if blocks else solar.cell_split)(cells, split_seed)
    data = ImageData(solar.cell_items(cells, "ratings"), split, size=SIZE, presize_px=SIZE)
    names = [item.name for item in data.items_of("valid")]
    opinions = {arch: opinions_of(data, arch, folder) for arch in dict.fromkeys(NETWORKS)}
    answers, tta = {"number alone, no photograph": answer_by_number(data)}, []
    answers |= {f"kernel ridge, {arch}": opinion["plain"] for arch, opinion in opinions.items()}
    plain, modules = (
        torch.stack([one[kind] for one in opinions.values()]).mean(dim=0) for kind in ("plain", "modules")
    )
    answers |= {"kernel ridge": plain, "kernel ridge across modules": modules}
    for number, arch in enumerate(NETWORKS):
        by_symmetry = trained(data, arch, number, folder)
        tta.append(by_symmetry.mean(dim=0))
        answers[f"network {number + 1}, {arch}, one view"] = by_symmetry[0]
        answers[f"network {number + 1}, {arch}, TTA"] = tta[-1]
        answers[f"mean of {len(tta)} networks, TTA"] = (mean := torch.stack(tta).mean(dim=0))
    answers["these and kernel ridge across modules"] = (1 - OPINION) * mean + OPINION * modules
    answers["these and kernel ridge"] = (1 - OPINION) * mean + OPINION * plain
    scores = {}
    for name, probs in answers.items():
        both = [predictions(probs, data.classes, names, cells, protocol) for protocol in ("deitsch", "solar")]
        scores[name] = scores_of(*both, blocks=blocks)
        print(f"{name:42} {in_words(scores[name])}", flush=True)
    facts = {"split": split_seed, "blocks": blocks, "digest": split.digest(), "n": len(names), "scores": scores}
    parts = [load_tensors(file)[1]["seconds"] for file in folder.glob("*.safetensors") if "checkpoint" not in file.name]
    facts |= {"networks": NETWORKS, "epochs": EPOCHS, "seconds": sum(parts)}
    with write_atomically(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


def frozen_learner(data: ImageData, arch: str, number: int, folder: Path) -> SymmetryLearner:
    """A new head on a pretrained body whose last `STAGES` may train, with what the others make of every symmetry."""
    model = build_every_stage(arch, len(data.classes), size=SIZE, seed=number)
    learn = SymmetryLearner(data, model, layer_groups="stages", seed=number, path=folder)
    learn.freeze_to(-1 - STAGES)
    learn.look()
    return learn


def answer_by_number(data: ImageData) -> Tensor:
    """(n_valid, 4) probabilities by the cells' published numbers."""
    numbers = torch.tensor([published_number(item) for item in data.items])
    return by_number(numbers, data.targets, data.indices_of("train"), data.indices_of("valid"), len(data.classes))


def opinions_of(data: ImageData, arch: str, folder: Path) -> dict[str, Tensor]:
    """(n_valid, 4) probabilities of two kernel ridge regressions on the frozen network's features: "plain", and with
    "modules" as random effects."""
    file, started = folder / f"kernel-ridge-{arch}.safetensors", perf_counter()
    if not file.is_file():
        learn = frozen_learner(data, arch, 0, folder)
        how = Arithmetic(learn.device, learn.prediction_precision)
        stages = stage_features(learn.model, learn.symmetries, how)
        numbers = torch.tensor([published_number(item) for item in data.items])
        rows = data.targets, data.indices_of("train"), data.indices_of("valid"), len(data.classes)
        found = {"plain": second_opinion(stages, *rows), "modules": across_modules(stages, numbers, *rows)}
        save_tensors(file, found, {"seconds": perf_counter() - started})
    return {kind: probs.double() for kind, probs in load_tensors(file)[0].items()}


def trained(data: ImageData, arch: str, number: int, folder: Path) -> Tensor:
    """(8, n_valid, 4) probabilities by symmetry of network `number`; from the disk if it was trained before."""
    file, started = folder / f"network{number + 1}-{arch}-{EPOCHS}epochs.safetensors", perf_counter()
    if not file.is_file():
        print(f"network {number + 1} of {len(NETWORKS)}: {arch}", flush=True)
        learn = frozen_learner(data, arch, number, folder)
        learn.name = file.stem
        rates = [BODY_RATE] * (len(learn.groups) - 1) + [HEAD_RATE]
        average = AverageWeights(range(EPOCHS - AVERAGED + 1, EPOCHS + 1))
        was_cut_off = (folder / f"{learn.name}.checkpoint.safetensors").is_file()
        learn.fit_one_cycle(EPOCHS, rates, hooks=average, resume=was_cut_off)
        if learn.interrupted:
            raise KeyboardInterrupt
        save_tensors(file, {"probs": learn.probs_by_symmetry()}, {"seconds": perf_counter() - started})
    return load_tensors(file)[0]["probs"].double()


def scores_of(deitsch: Predictions, cells: Predictions, *, blocks: bool) -> dict[str, dict]:
    """Name -> estimate, low, high. With `blocks` the intervals come from drawing whole blocks."""
    if blocks:
        measured = measures_by_block(cells)
        found = {"weighted_accuracy": weighted_by_block(deitsch), "accuracy": measured.accuracy, "auc": measured.auc}
    else:
        found = {"weighted_accuracy": weighted_accuracy(deitsch), "accuracy": accuracy_interval(cells)}
        found["auc"] = measures(cells, "defective").auc
    return {name: asdict(interval) for name, interval in found.items()}


def in_words(scores: dict[str, dict]) -> str:
    """ "weighted accuracy 88.2 (85.9-90.4), accuracy ..." in percent."""
    return ", ".join(f"{name.replace('_', ' ')} {percent(one)}" for name, one in scores.items())


def percent(one: dict) -> str:
    """ "88.2 (85.9-90.4)"."""
    return f"{100 * one['estimate']:.1f} ({100 * one['low']:.1f}-{100 * one['high']:.1f})"


def table(folders: Sequence[Path]) -> str:
    """A row for each run's last answer and one for the mean of each kind of split; then every answer's means."""
    files = sorted(file for folder in folders for file in Path(folder).rglob("result.json"))
    if not files:
        raise FileNotFoundError(f"no result.json below {', '.join(map(str, folders))}")
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    lines = ["| cells held back | split | n | weighted accuracy | accuracy | AUC | minutes |", "|" + " --- |" * 7]
    for blocks in (False, True):
        same = sorted((run for run in runs if run["blocks"] == blocks), key=lambda run: run["split"])
        kind = "whole blocks" if blocks else "at random"
        for one in same:
            last = [percent(score) for score in list(one["scores"].values())[-1].values()]
            lines.append(f"| {kind} | {one['split']} | {one['n']} | {' | '.join(last)} | {one['seconds'] / 60:.1f} |")
        if len(same) > 1:
            lines += [
                f"| {kind}: {name} | mean of {len(same)} | | {means(same, name)} | |" for name in same[0]["scores"]
            ]
    return "\n".join(lines)


def means(runs: Sequence[dict], name: str) -> str:
    """Mean and standard deviation over the runs of every score of the answer `name`, as cells of a table."""
    columns = zip(*([100 * score["estimate"] for score in run["scores"][name].values()] for run in runs), strict=True)
    return " | ".join(f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" for values in columns)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser("python -m helpers.lessons.published", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--split", type=int, default=0, help="number of the split: the seed of its draw (default: 0)")
    parser.add_argument("--blocks", action="store_true", help="hold back whole blocks of 60 neighbours")
    parser.add_argument("--folder", type=Path, help="where networks and result.json are kept (default: in the data)")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FOLDER", help="print results instead of training")
    asked = parser.parse_args(argv)
    try:
        if asked.table:
            print(table(asked.table))
            return 0
        name = f"{'blocks' if asked.blocks else 'random'}-{asked.split}"
        folder = asked.folder or data_setup.home() / "runs" / "published" / name
        folder.mkdir(parents=True, exist_ok=True)
        run(asked.split, blocks=asked.blocks, folder=folder)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped")
        return 130
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"written to {folder / 'result.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
