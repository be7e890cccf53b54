"""Beside the published result: a network that learns the expert's four answers, a second opinion, and their mean.

python -m helpers.lessons.published --split 0               a quarter of the cells at random, as Deitsch et al. divide
python -m helpers.lessons.published --split 0 --blocks      a quarter in whole blocks, as cells of a new module come
python -m helpers.lessons.published --table FOLDER ...      the results below these folders as a Markdown table

What was finished is kept, a part at a time: the same command goes on where it was cut off.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

import data_setup
from data_setup import solar
from data_setup.base.files import write_atomically
from helpers.analysis.intervals import accuracy_interval, weighted_accuracy
from helpers.analysis.predictions import Arithmetic, Predictions
from helpers.data.augment import top_down
from helpers.data.dataset import ImageData
from helpers.learner import Hooks, Learner, Rates
from helpers.lessons import kernel_ridge
from helpers.lessons.envelope import measures_by_block, published_number
from helpers.lessons.every_stage import build_every_stage
from helpers.lessons.kernel_ridge import across_modules, by_number, likeness, second_opinion, stage_features
from helpers.lessons.ratings import predictions, weighted_by_block
from helpers.lessons.scoreboard import measures
from helpers.lessons.symmetries import SYMMETRIES, SymmetryLearner, probs_by_symmetry
from helpers.recipe.averaging import AverageWeights
from helpers.runtime.tensor_files import load_tensors, save_tensors

SIZE = 300  # px: the cells as they are
NETWORK = "efficientnet_lite0"  # which trains
BODIES = ("efficientnet_lite0", "efficientnet_lite2")  # which the second opinion looks with
STAGES = 2  # of the body train first; the others are frozen, and see every cell once in each symmetry
EPOCHS, AVERAGED = 8, 3  # one-cycle; the mean of the weights after the last three epochs
BODY_RATE, HEAD_RATE = 1e-3, 2e-3  # at their highest
WHOLE_EPOCHS, WHOLE_RATES = 4, slice(2e-4 / 3, 2e-4)  # then the whole network, on cells that are augmented anew
AUGMENT = top_down(max_rotate_deg=2.0, max_zoom=1.1, max_lighting=0.1)
OPINION = 0.5  # share of the second opinion in the last answer


def run(split_seed: int, *, blocks: bool, folder: Path) -> dict:
    """Train the network on the split, print what each answer is worth, and leave result.json in `folder`."""
    cells = data_setup.prepare("solar")
    split = (solar.block_split if blocks else solar.cell_split)(cells, split_seed)
    data = ImageData(solar.cell_items(cells, "ratings"), split, size=SIZE, presize_px=SIZE)
    names = [item.name for item in data.items_of("valid")]
    opinions = opinions_of(data, folder)
    answers = {"number alone, no photograph": answer_by_number(data)}
    answers |= {"kernel ridge": opinions["plain"], "kernel ridge across modules": opinions["modules"]}
    for part, by_symmetry in trained(data, folder).items():
        answers[f"{part}, one view"], answers[f"{part}, TTA"] = by_symmetry[0], by_symmetry.mean(dim=0)
        for name, opinion in (("kernel ridge across modules", "modules"), ("kernel ridge", "plain")):
            both = (1 - OPINION) * answers[f"{part}, TTA"] + OPINION * opinions[opinion]
            answers[f"{part}, TTA, and {name}"] = both
    scores = {}
    for name, probs in answers.items():
        both = [predictions(probs, data.classes, names, cells, protocol) for protocol in ("deitsch", "solar")]
        scores[name] = scores_of(*both, blocks=blocks)
        print(f"{name:50} {in_words(scores[name])}", flush=True)
    facts = {"split": split_seed, "blocks": blocks, "digest": split.digest(), "n": len(names), "scores": scores}
    parts = [load_tensors(file)[1]["seconds"] for file in folder.glob("*.safetensors") if "checkpoint" not in file.name]
    facts |= {"network": NETWORK, "epochs": [EPOCHS, WHOLE_EPOCHS], "seconds": sum(parts)}
    with write_atomically(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


def frozen_learner(data: ImageData, arch: str, folder: Path, n_symmetries: int) -> SymmetryLearner:
    """A new head on a pretrained body whose last `STAGES` may train, with what the others make of the symmetries."""
    model = build_every_stage(arch, len(data.classes), size=SIZE)
    learn = SymmetryLearner(data, model, layer_groups="stages", path=folder)
    learn.freeze_to(-1 - STAGES)
    learn.look(n_symmetries)
    return learn


def answer_by_number(data: ImageData) -> Tensor:
    """(n_valid, 4) probabilities by the cells' published numbers."""
    numbers = torch.tensor([published_number(item) for item in data.items])
    return by_number(numbers, data.targets, data.indices_of("train"), data.indices_of("valid"), len(data.classes))


def opinions_of(data: ImageData, folder: Path) -> dict[str, Tensor]:
    """(n_valid, 4) probabilities of two kernel ridge regressions on the frozen networks' features: "plain", and with
    "modules" as random effects."""
    file, started = folder / "kernel-ridge.safetensors", perf_counter()
    if not file.is_file():
        bodies = []
        for arch in BODIES:
            learn = frozen_learner(data, arch, folder, kernel_ridge.VIEWS)
            how = Arithmetic(learn.device, learn.prediction_precision)
            bodies.append(stage_features(learn.model, learn.symmetries, how))
        train, numbers = data.indices_of("train"), torch.tensor([published_number(item) for item in data.items])
        rows = data.targets, train, data.indices_of("valid"), len(data.classes)
        wide = likeness(bodies, train, kernel_ridge.MODULE_GAMMA)
        found = {"plain": second_opinion(likeness(bodies, train, kernel_ridge.GAMMA), *rows)}
        found["modules"] = across_modules(wide, numbers, *rows)
        save_tensors(file, found, {"seconds": perf_counter() - started})
    return {kind: probs.double() for kind, probs in load_tensors(file)[0].items()}


def trained(data: ImageData, folder: Path) -> dict[str, Tensor]:
    """Part of the training -> (8, n_valid, 4) probabilities by symmetry after it.

    The last stages on cached activations, then the whole network on cells augmented anew in every epoch."""
    learn = frozen_learner(data, NETWORK, folder, SYMMETRIES)
    rates = [BODY_RATE] * (len(learn.groups) - 1) + [HEAD_RATE]
    average = AverageWeights(range(EPOCHS - AVERAGED + 1, EPOCHS + 1))
    found = {"last stages": answers_of(learn, "last-stages", EPOCHS, rates, average)}
    whole = Learner(replace(data, augment=AUGMENT), learn.model, bn="frozen everywhere", path=folder)
    whole.unfreeze()
    return found | {"whole network": answers_of(whole, "whole-network", WHOLE_EPOCHS, WHOLE_RATES)}


def answers_of(learn: Learner, name: str, epochs: int, rates: Rates, hooks: Hooks = ()) -> Tensor:
    """(8, n_valid, 4) probabilities after `epochs` of one-cycle; a training finished or cut off before is taken up."""
    file, started, learn.name = learn.path / f"{name}.safetensors", perf_counter(), name
    before = (learn.path / f"{name}.checkpoint.safetensors").is_file()
    print(f"{NETWORK}, {name.replace('-', ' ')}", flush=True)
    learn.fit_one_cycle(epochs, rates, hooks=hooks, resume=before)
    if learn.interrupted:
        raise KeyboardInterrupt
    if not file.is_file():
        save_tensors(file, {"probs": probs_by_symmetry(learn)}, {"seconds": perf_counter() - started})
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
