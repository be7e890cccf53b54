"""What is said of a saved model, and whether a saved model fits: the file itself is written by `checkpoints`."""

from pathlib import Path

import torch
from torch import Tensor

from helpers.checkpoints import load_tensors
from helpers.data import ImageData
from helpers.models import Classifier
from helpers.runtime import closest
from helpers.training import History

FORMAT = 1  # of saved models


def describe(arch: str, data: ImageData, model: Classifier, history: History) -> dict:
    """What a saved file says of the model, as JSON can hold it."""
    last = history.epochs[-1].metrics if history.epochs else {}
    return {
        "format": FORMAT,
        "arch": arch,
        "classes": list(data.vocab),
        "size": data.size,
        "presize_px": data.presize_px,
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
    for what, ours in (("arch", arch), ("classes", list(data.vocab))):
        if about.get(what) != ours:
            raise ValueError(
                f"{file} holds {what} {about.get(what)}; this learner has {ours}. Build it as it was when saving"
            )
    if about["split"] != data.split.digest():
        print("note: the file was saved with another split; pictures that judge now may have trained it")
    return tensors
