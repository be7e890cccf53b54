"""A trained classifier as a folder that others can run, with this kit or without it.

The weights and their description, the same as ONNX with a predict.py that needs little, and a card for people.
"""

import copy
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from data_setup.base.arguments import did_you_mean
from data_setup.base.files import read_json, sha256
from data_setup.base.folders import explained, staged
from helpers.analysis.intervals import accuracy_text
from helpers.analysis.predictions import Arithmetic, Predictions, predict
from helpers.export.card import model_card, source_of
from helpers.export.onnx import PACKAGES, need_packages, write_onnx
from helpers.learner import Learner
from helpers.models.classifier import Classifier, build_classifier, from_module
from helpers.runtime.tensor_files import load_tensors, save_tensors

KIND = "image-classification-course export"
FILES = ("model.safetensors", "model.json", "model.onnx", "MODEL_CARD.md", "predict.py")
WEIGHTS, ABOUT, ONNX, CARD, PREDICTOR = FILES
HASHED = (WEIGHTS, ONNX, PREDICTOR)  # the card is for people, who may add to it
N_CHECKED = 16  # validation pictures on which the ONNX file and the model are compared


@did_you_mean
def export(learn: Learner, folder: Path | str, *, note: str = "") -> Path:
    """Write the classifier to `folder`, complete or not at all; returns the folder.

    The accuracy it states is measured here: in float32, on the validation pictures, with the weights it writes.
    `note` is for the model card, such as what the labels mean. Raises ModuleNotFoundError (packages to install),
    FileExistsError (the folder holds something else) and RuntimeError (no ONNX file agrees with the model to 1e-4).
    """
    folder = Path(folder).resolve()
    need_packages()
    _refuse_foreign(folder)
    data, rows = learn.data, learn.data.indices_of("valid")
    model = copy.deepcopy(learn.model).float()
    log_probs = predict(model, data, rows, Arithmetic(learn.device, torch.float32))
    preds = Predictions(data.items_of("valid"), log_probs, data.targets[rows], data.classes, "valid")
    with explained(folder.parent, elsewhere="choose another folder"), staged(folder) as staging:
        images = data.eval_images(rows[:: -(-len(rows) // N_CHECKED)]).contiguous()
        difference = write_onnx(model.cpu().eval(), staging / ONNX, images)
        about = {"kind": KIND, **learn.about(preds), "largest_difference_of_onnx": difference, "versions": versions()}
        about["valid_in_training"] = len(learn.history.trained_on & set(data.split.valid))
        save_tensors(staging / WEIGHTS, model.state_dict(), about)
        shutil.copyfile(Path(__file__).with_name("predict_template.py"), staging / PREDICTOR)
        about["sha256"] = {name: sha256(staging / name) for name in HASHED}
        card = model_card(about, accuracy_text(preds), source_of(data), note=note)
        (staging / CARD).write_text(card, encoding="utf-8")
        about["card"] = sha256(staging / CARD)
        (staging / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
    return folder


def load_exported(folder: Path | str, module: nn.Module | None = None) -> tuple[Classifier, dict]:
    """(the model on the CPU in evaluation mode, what model.json says). Nothing is unpickled, no code is run.

    `module` is a network of your own, built as for `Learner(data, module)`; the others are built by their name.
    model(images) takes float (N, 3, size, size) in 0..1 and gives logits (N, K), columns as in about["classes"].
    Raises ValueError when the folder is not an export or was changed after it.
    """
    folder = Path(folder)
    about = read_json(folder / ABOUT)
    if about.get("kind") != KIND:
        raise ValueError(f"{folder.absolute()} is not an exported classifier: {ABOUT} is missing or of another kind")
    fix = "export the model again"
    if {name: sha256(folder / name) for name in HASHED if (folder / name).is_file()} != about.get("sha256"):
        raise ValueError(f"{folder}: {WEIGHTS}, {ONNX} or {PREDICTOR} is not the file that {ABOUT} describes; {fix}")
    tensors, written = load_tensors(folder / WEIGHTS)
    if changed := [key for key in written if about.get(key) != written[key]]:
        raise ValueError(f"{folder / ABOUT} was changed after the export ({', '.join(changed)}); {fix}")
    n, how = len(about["classes"]), {"size": about["size"]}
    model = from_module(module, n, **how) if module else build_classifier(about["arch"], n, pretrained=False, **how)
    model.load_state_dict(tensors)
    return model.eval(), about


def versions() -> dict[str, str]:
    """Of Python and of every installed package that can change a prediction."""
    installed = {package.name.lower(): package.version for package in metadata.distributions()}
    names = ("torch", "torchvision", "timm", "numpy", "pillow", "safetensors", *PACKAGES)
    return {"python": platform.python_version()} | {name: installed[name] for name in names if name in installed}


def _refuse_foreign(folder: Path) -> None:
    """Only nothing, an empty folder or an earlier export without anything added to it may be replaced."""
    held = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    foreign, about = set(held) - {*FILES, "__pycache__"}, read_json(folder / ABOUT)
    if CARD in held and about.get("card", "") not in ("", sha256(folder / CARD)):
        raise FileExistsError(f"{folder / CARD} was edited: move it away to keep it, or choose another folder")
    if folder.is_file() or foreign or (held and about.get("kind") != KIND):
        what = f"a folder with {', '.join(held[:5])}" if held else "a file"
        raise FileExistsError(f"{folder} is not an export that may be replaced, but {what}: choose another folder")
