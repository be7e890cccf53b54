"""What is kept of a training and of a model, and whether what was kept fits."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from helpers.data.dataset import ImageData
from helpers.models.classifier import Classifier
from helpers.runtime.arguments import closest
from helpers.runtime.files import load_tensors, save_tensors
from helpers.training.run import Epoch, History, Run

FORMAT = 1  # of saved models


def description(run: Run) -> dict:
    """What must be the same for a run to be continued."""
    groups, class_weights = run.optimizer.param_groups, getattr(run.loss, "weight", None)
    return {
        "epochs": run.epochs,
        "first epoch": run.first_epoch,
        "rates": [group["base_lr"] for group in groups],
        "weight decay": [group["weight_decay"] for group in groups],
        "trained numbers": [sum(p.numel() for p in group["params"]) for group in groups],
        "all numbers": sum(p.numel() for p in run.model.parameters()),
        "schedule": [round(run.schedule(i / 20), 9) for i in range(21)],
        "momentum": [round(run.momentum(i / 20), 9) for i in range(21)] if run.momentum else None,
        "loss": [str(run.loss), getattr(run.loss, "label_smoothing", 0.0)],
        "class weights": None if class_weights is None else class_weights.tolist(),
        "batch size": run.batch_size,
        "precision": str(run.precision),
        "longest gradient": run.max_norm,
        "seed": run.seed,
        "data": str(run.source),
        "augmentation": str(getattr(run.source, "data", run.source).augment),
        "split": run.source.split.digest(),
    }


def save_run(run: Run) -> None:
    """Write weights, optimizer and history to `run.checkpoint`, in one piece or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    about = {
        "run": description(run),
        "done": run.done,
        "step": run.step,
        "chunks": run.micro_batches,
        "history": asdict(run.history),
    }
    save_tensors(run.checkpoint, tensors, about)


def resume_run(run: Run) -> None:
    """Take up the run where its checkpoint left it; without a checkpoint it starts from the beginning and says so.

    Raises ValueError when the checkpoint is of another run, naming what differs.
    """
    if not run.checkpoint.is_file():
        print(f"nothing to resume at {run.checkpoint.name}: starting from the first epoch")
        return
    tensors, about = load_tensors(run.checkpoint)
    theirs = about["run"]
    run.first_epoch = run.first_epoch or theirs["first epoch"]  # a new learner has no epochs before this run
    ours = description(run)
    differ = [key for key in ours if ours[key] != theirs.get(key)]
    if differ:
        what = "; ".join(f"{key} {theirs.get(key)!s:.160} then, {ours[key]!s:.160} now" for key in differ)
        raise ValueError(f"{run.checkpoint} is of another run: {what}. Ask for the same run, or leave resume=True out")
    run.model.load_state_dict(
        {name.removeprefix("model."): tensors[name] for name in tensors if name.startswith("model.")}
    )
    state = run.optimizer.state_dict()
    for name in (name for name in tensors if name.startswith("optimizer.")):
        _, index, key = name.split(".")
        state["state"].setdefault(int(index), {})[key] = tensors[name]
    run.optimizer.load_state_dict(state)
    for parameter, moments in run.optimizer.state.items():
        for key, value in moments.items():
            if value.shape == parameter.shape:  # and the same memory layout: fused optimizers walk both side by side
                moments[key] = torch.empty_like(parameter).copy_(value)
    run.done, run.step, run.micro_batches = about["done"], about["step"], about["chunks"]
    kept = about["history"]
    epochs = tuple(Epoch(**epoch) for epoch in kept.pop("epochs"))
    run.history = History(epochs, **{name: tuple(values) for name, values in kept.items()})
    print(f"resuming after {run.done} of {run.epochs} epochs")


def describe(arch: str, data: ImageData, model: Classifier, history: History) -> dict:
    """What a saved file says of the model, as JSON can hold it."""
    last = history.epochs[-1].metrics if history.epochs else {}
    return {
        "format": FORMAT,
        "arch": arch,
        "classes": list(data.classes),
        "size": data.size,
        "presize_px": data.decoded_px,
        "method": data.method,
        "mean": model.normalize.mean.flatten().tolist(),
        "std": model.normalize.std.flatten().tolist(),
        "split": data.split.digest(),
        "epochs": len(history.epochs),
        "metrics": last,
        "torch": torch.__version__,
    }


def read_fitting(file: Path, arch: str, data: ImageData) -> dict[str, Tensor]:
    """The weights in `file`. Says so when they were saved with another split.

    Raises FileNotFoundError naming what is there, ValueError naming what does not fit: arch, classes or their order.
    """
    if not file.is_file():
        saved = sorted(other.stem for other in file.parent.glob("*.safetensors"))
        raise FileNotFoundError(
            f"there is no {file}; {closest(file.stem, saved) if saved else 'nothing is saved there'}"
        )
    tensors, about = load_tensors(file)
    for what, ours in (("arch", arch), ("classes", list(data.classes))):
        if about.get(what) != ours:
            raise ValueError(
                f"{file} holds {what} {about.get(what)}; this learner has {ours}. Build it as it was when saving"
            )
    if about["split"] != data.split.digest():
        print("note: the file was saved with another split; pictures that judge now may have trained it")
    return tensors
