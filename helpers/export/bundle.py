"""A trained classifier as a folder that others can run, with this kit or without it.

model.safetensors  weights          model.json     what they are: classes, sizes, split, versions, accuracy
model.onnx         the same model   predict.py     runs it with onnxruntime, numpy and pillow alone
MODEL_CARD.md      for people: what it is, how good, where from, how to run it
"""

import copy
import hashlib
import html
import importlib.util
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers.analysis.intervals import accuracy_interval, accuracy_text
from helpers.analysis.predictions import Predictions, predict
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.models.classifier import Classifier, build_classifier
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.files import load_tensors, save_tensors

KIND = "image-classification-course export"
WEIGHTS, ABOUT, ONNX, CARD, PREDICTOR = "model.safetensors", "model.json", "model.onnx", "MODEL_CARD.md", "predict.py"
FILES = (WEIGHTS, ABOUT, ONNX, CARD, PREDICTOR)
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # largest difference between a probability of the ONNX file and the model's own
N_CHECKED = 16  # validation pictures the two are compared on

PREDICT_PY = '''\
"""Say what is in pictures:  python predict.py PICTURE ...    (pip install onnxruntime numpy pillow)"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent
ABOUT = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
SESSION = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"])


def read(path, px):
    """Upright, RGB, 8 bit; transparent becomes white. A large JPEG is decoded at a fraction of its size, above px."""
    with Image.open(path, formats=["JPEG", "PNG", "WEBP", "GIF", "BMP"]) as file:
        file.draft(None, (px, px))
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bit: 65535 is white
        image = Image.fromarray((np.asarray(image, np.float32) / 257).round().clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def square(image, px, method, kept_px):
    """(kept_px, kept_px, 3): "crop" takes the middle, "pad" all and mirrors edges, "squish" all without its aspect."""
    width, height = image.size
    if method == "crop":  # of a strip longer than 4 : 1 only the middle
        x, y = max(0, width - 4 * height) // 2, max(0, height - 4 * width) // 2
        image = image.crop((x, y, width - x, height - y))
    side = max(image.size) if method == "pad" else min(image.size)
    target = (px, px) if method == "squish" else tuple(max(1, round(length * px / side)) for length in image.size)
    pixels = np.asarray(image.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0))
    missing = [max(px - length, 0) for length in pixels.shape[:2]]
    pixels = np.pad(pixels, [*((m // 2, m - m // 2) for m in missing), (0, 0)], mode="symmetric")
    if kept_px < px:
        target = [max(kept_px, round(length * kept_px / px)) for length in pixels.shape[1::-1]]
        pixels = np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.BILINEAR))
    top, left = (round((length - kept_px) / 2) for length in pixels.shape[:2])
    return pixels[top : top + kept_px, left : left + kept_px]


def predict(path):
    """One probability for each of ABOUT["classes"]: float32 (K,)."""
    px = ABOUT["presize_px"]
    pixels = square(read(path, px), px, ABOUT["method"], ABOUT["kept_px"]).astype(np.float32)
    size = (ABOUT["size"], ABOUT["size"])
    channels = [Image.fromarray(pixels[..., c]).resize(size, Image.Resampling.BILINEAR) for c in range(3)]
    return SESSION.run(None, {"images": np.stack(channels)[None] / np.float32(255)})[0][0]


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")
    for path in sys.argv[1:] or sys.exit(__doc__):
        probs = predict(path)
        print(f"{path}: {ABOUT['classes'][probs.argmax()]} {probs.max():.3f}")
'''


@did_you_mean
def export(learn: Learner, folder: Path | str, *, preds: Predictions | None = None, note: str = "") -> Path:
    """Write the classifier to `folder`, whole or not at all; returns the folder.

    preds  predictions of the validation pictures, when they are there already (they say how good the model is)
    note   a sentence or two for the model card, such as what the labels mean

    The ONNX file is run on validation pictures and must give the model's probabilities to within 1e-4. Raises
    ModuleNotFoundError (packages to install), FileExistsError (the folder holds something else; nothing is touched) and
    RuntimeError (no ONNX file could be made of this architecture, or it answers differently).
    """
    folder = Path(folder).resolve()
    need_packages()
    _refuse_foreign(folder)
    preds = validation_predictions(learn) if preds is None else preds
    model = copy.deepcopy(learn.model).cpu().float().eval()
    with _staged(folder) as staging:
        difference = write_onnx(model, staging / ONNX, _some_pictures(learn.data))
        about = _description(learn, preds, difference)
        save_tensors(staging / WEIGHTS, model.state_dict(), about)
        about["sha256"] = {name: _sha256(staging / name) for name in (WEIGHTS, ONNX)}
        texts = {
            ABOUT: json.dumps(about, indent=1, ensure_ascii=False),
            CARD: model_card(about, accuracy_text(preds), source_of(learn.data), note=note),
            PREDICTOR: PREDICT_PY,
        }
        for name, text in texts.items():
            (staging / name).write_text(text, encoding="utf-8", newline="\n")
    return folder


def load_exported(folder: Path | str) -> tuple[Classifier, dict]:
    """(the model on the CPU in evaluation mode, what model.json says). Nothing is unpickled, no code is run.

    model(images) takes float (N, 3, size, size) in 0..1 and gives logits (N, K), columns as in about["classes"].
    Raises FileNotFoundError, or ValueError when the folder is no export or its weights are not those described.
    """
    folder = Path(folder)
    about = _read_about(folder)
    if about is None:
        raise ValueError(f"{folder.absolute()} is not an exported classifier: {ABOUT} is missing or of another kind")
    if _sha256(folder / WEIGHTS) != about["sha256"][WEIGHTS]:
        raise ValueError(f"{folder / WEIGHTS} is not the file that {ABOUT} describes; export the model again")
    tensors, _ = load_tensors(folder / WEIGHTS)
    model = build_classifier(about["arch"], len(about["classes"]), size=about["size"], pretrained=False)
    model.load_state_dict(tensors)
    return model.eval(), about


def validation_predictions(learn: Learner) -> Predictions:
    """Of the validation pictures, in float32 as the exported model computes: bfloat16 moves some answers."""
    data, rows = learn.data, learn.data.indices_of("valid")
    log_probs = predict(
        learn.model, data, rows, device=learn.device, precision=torch.float32, batch_size=2 * data.batch_size
    )
    return Predictions(data.items_of("valid"), log_probs, data.targets[rows], data.classes, "valid")


def need_packages() -> None:
    """Raise ModuleNotFoundError, with what to type, unless everything an export needs is installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"export needs {', '.join(missing)}; type: pip install {' '.join(missing)}")


def versions() -> dict[str, str]:
    """Of Python and of every package that has a say in what a model answers."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("torchvision", "timm", "numpy", "pillow", "safetensors", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


# ONNX -----------------------------------------------------------------------------------------------------------


class Probabilities(nn.Module):
    """Pictures (N, 3, size, size) in 0..1 to probabilities (N, K)."""

    def __init__(self, model: Classifier):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).softmax(dim=1)


def write_onnx(model: Classifier, file: Path, images: Tensor) -> float:
    """Write `model` (on the CPU, in evaluation mode) to `file` and compare both on `images` (n, 3, size, size).

    Any number of pictures fits into one run of the file. Returns the largest difference of a probability; raises
    RuntimeError when it is above TOLERANCE or the architecture cannot be expressed.
    """
    whole = Probabilities(model).eval()
    example = images[:1].expand(2, -1, -1, -1).contiguous()  # of a single picture the exporter would make a constant
    try:
        torch.onnx.export(
            whole, (example,), file, dynamo=True, dynamic_shapes={"images": {0: "batch"}}, external_data=False,
            input_names=["images"], output_names=["probabilities"], verbose=False,
        )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise RuntimeError(
            f"this architecture cannot be written as ONNX ({reason}); learn.save() keeps the weights"
        ) from error
    difference = largest_difference(whole, file, images)
    if not difference <= TOLERANCE:  # nan, too
        raise RuntimeError(
            f"the ONNX file does not answer as the model does: probabilities differ by up to {difference:.2g} on "
            f"{len(images)} pictures, {TOLERANCE:g} is allowed. Nothing was exported; learn.save() keeps the weights"
        )
    return difference


def largest_difference(whole: nn.Module, file: Path, images: Tensor) -> float:
    """Between the probabilities of the ONNX file and of the model, all pictures at once and the first alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = whole(images)
    together, alone = (torch.from_numpy(session.run(None, {"images": x.numpy()})[0]) for x in (images, images[:1]))
    return float(torch.cat([together - expected, alone - expected[:1]]).abs().max())


def _some_pictures(data: ImageData) -> Tensor:
    rows = data.indices_of("valid")
    return data.eval_images(rows[:: -(-len(rows) // N_CHECKED)]).contiguous()


# Words ----------------------------------------------------------------------------------------------------------


def _description(learn: Learner, preds: Predictions, difference: float) -> dict:
    accuracy = asdict(accuracy_interval(preds)) | {"n": int((preds.targets >= 0).sum()), "part": preds.part}
    about = learn.about()
    about.pop("torch")
    return {
        "kind": KIND,
        **about,
        **_presizing(learn.data),
        "metrics": {"accuracy": accuracy},
        "onnx": {
            "input": "images: float32 (N, 3, size, size), RGB, 0..1",
            "output": "probabilities: float32 (N, K)",
            "largest_difference": difference,
        },
        "versions": versions(),
    }


def _presizing(data: ImageData) -> dict:
    """How the predictor must prepare a picture so that it looks as a validation picture does."""
    as_is = data.method == "as_is"
    return {
        "method": "crop" if as_is else data.method,
        "presize_px": data.decoded.size_px if as_is else data.presize_px,
        "kept_px": data.store.size_px,  # smaller when the pixels were decoded much larger than the model sees
    }


def source_of(data: ImageData) -> dict:
    """What the data set's own manifest.json says (title, licence, citation, warning), {} when there is none."""
    item = data.items[0]
    root = item.path.absolute().parents[item.name.count("/")]
    try:
        manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
        return {
            key: str(manifest[key]) for key in ("title", "source", "licence", "citation", "warning") if key in manifest
        }
    except (OSError, ValueError, TypeError):
        return {}


def model_card(about: dict, accuracy: str, source: dict, *, note: str = "") -> str:
    """The card as Markdown; names of classes and data sets are shown as they are, never obeyed."""
    data_lines = [
        f"- {key}: {_plain(source[key])}" for key in ("title", "source", "licence", "citation") if key in source
    ]
    limits = [
        f"It answers one of its {len(about['classes'])} classes to every picture, whatever the picture shows.",
        "The probabilities are the model's own and were not calibrated.",
        "The accuracy is that of pictures like those it was trained with, and of nothing else.",
    ]
    return "\n".join(
        [
            f"# Image classifier: {', '.join(map(_plain, about['classes']))}",
            "",
            f"{_plain(about['arch'])} with a new head, trained for {about['epochs']} epochs; it sees pictures of "
            f"{about['size']} x {about['size']} pixels. {_plain(note)}".strip(),
            "",
            "## How good it is",
            f"Accuracy {accuracy} (validation pictures, none of which it was trained with; "
            "choices made by looking at them flatter it a little).",
            "",
            "## Data",
            *(
                data_lines
                or ["No description came with the data set: say here what it is, whose it is and its licence."]
            ),
            f"- split: sha256 {about['split']}",
            "",
            "## Limits",
            *(f"- {limit}" for limit in [*map(_plain, filter(None, [source.get("warning")])), *limits]),
            "",
            "## How to run it",
            "Without the course (only onnxruntime, numpy and pillow are needed):",
            "",
            "    pip install onnxruntime numpy pillow",
            "    python predict.py picture.png another.jpg",
            "",
            "With it:",
            "",
            "    from helpers.export import load_exported",
            '    model, about = load_exported("this folder")',
            "",
            "Both decode and presize as in training; in float32 their probabilities agree to within 1e-2.",
            "(Where bfloat16 is faster the course computes in it, and its answers move by more: learn.to_fp32().)",
            "",
            "## Made with",
            ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
            "",
        ]
    )


def _plain(text: object) -> str:
    """Text on one line that Markdown and HTML leave as it is."""
    one_line = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(one_line, quote=False))


# Files ----------------------------------------------------------------------------------------------------------


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_about(folder: Path) -> dict | None:
    """model.json of an export of ours, else None."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder.absolute()}")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and about.get("kind") == KIND else None


def _refuse_foreign(folder: Path) -> None:
    """Only nothing, an empty folder or an earlier export without anything added to it may be replaced."""
    if not folder.exists():
        return
    held = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {"(a file)"}
    strangers = sorted(held - {*FILES, "__pycache__"})
    if strangers or (held and _read_about(folder) is None):
        what = f"it holds {', '.join(strangers[:3])}" if strangers else f"its {ABOUT} is missing or of another kind"
        raise FileExistsError(
            f"{folder} is not an export that may be replaced: {what}. Choose another folder, or move that one away"
        )


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder` that takes its place when the block ends well, and else is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():  # an export was killed between the two renames below
        old.rename(folder)
    for stale in [old, *folder.parent.glob(f".{folder.name}.staging-*")]:
        shutil.rmtree(stale, ignore_errors=True)
    staging = folder.with_name(f".{folder.name}.staging-{os.getpid()}")
    staging.mkdir()
    try:
        yield staging
        for path in staging.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        staging.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
