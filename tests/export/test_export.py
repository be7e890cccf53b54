"""The exported folder: it answers as the model does, needs nothing of ours, and is written atomically."""

import contextlib
import importlib.util
import io
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from data_setup.base.pictures import UnreadableImage
from data_setup.items import label_by_folder, relabel
from helpers.data.dataset import ImageData
from helpers.export import bundle as exporting
from helpers.export.bundle import FILES, export, load_exported, versions
from helpers.export.card import model_card
from helpers.learner import Learner
from helpers.training.run import History

# What is promised of predict.py against learn.predict_one in float32 is 1e-2 of probability: Pillow and torch may round
# a pixel differently when the kept pixels are shrunk once more. On these pictures it is far closer.
TO_PREDICTOR = 1e-3
ODDS = 4e-3  # the same in log odds: it sees differences near 0 and 1, too
EVIL = "<img src=x onerror=alert(1)>|`*_"


def scene(width, height, seed):
    """A picture in which up, left and scale can be told apart: float (height, width, 3) in 0..255."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = np.sin(rng.uniform(5, 60, (3, 1, 1)) * x + rng.uniform(5, 60, (3, 1, 1)) * y**2)
    return (127 + 90 * waves + 60 * (x - y)).clip(0, 255).transpose(1, 2, 0)


def log_odds(probs):
    probs = np.asarray(probs, dtype=float).clip(1e-9, 1 - 1e-9)
    return np.log(probs / (1 - probs))


def strange_pictures(folder):
    """One file of every kind that the course reads in its own way."""
    folder.mkdir()
    colour = Image.fromarray(scene(91, 60, 1).astype(np.uint8))
    deep = Image.fromarray((scene(64, 83, 2)[..., 0] * 257).astype(np.uint16))
    seen_through = colour.convert("RGBA")
    seen_through.putalpha(Image.fromarray(scene(91, 60, 3)[..., 0].astype(np.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    colour.save(folder / "wide.png")
    colour.rotate(90, expand=True).save(folder / "high.webp", lossless=True)
    colour.save(folder / "turned.jpg", exif=turned)
    colour.convert("L").convert("RGB").save(folder / "grey.jpg")
    colour.convert("P").save(folder / "palette.gif")
    deep.save(folder / "deep.png")
    seen_through.save(folder / "seen_through.png")
    colour.convert("L").save(folder / "turned.tif", tiffinfo={274: 6})  # in one piece: Pillow would map it
    Image.fromarray(scene(300, 31, 4).astype(np.uint8)).save(folder / "strip.bmp")
    Image.fromarray(scene(401, 300, 5).astype(np.uint8)).save(folder / "large.jpg")
    Image.fromarray(scene(7, 9, 5).astype(np.uint8)).save(folder / "tiny.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(learner, its exported folder, what the export printed); one class has a name that would like to be a tag."""
    home = tmp_path_factory.mktemp("export")
    for number in range(24):
        label = "light" if number % 2 else "dark"
        (home / "set" / label).mkdir(parents=True, exist_ok=True)
        pixels = scene(50, 40, number) * (1 if number % 2 else 0.4)
        Image.fromarray(pixels.astype(np.uint8)).save(home / "set" / label / f"{number:02}.png")
    manifest = {"title": "Two <lights>", "licence": "CC0", "citation": "Nobody, 1901", "warning": "All are *drawn*."}
    (home / "set" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(home / "data"))
        items = label_by_folder(home / "set")
        items = relabel(items, {item.name: EVIL for item in items if item.label == "dark"})
        learn = Learner.pretrained(ImageData.from_items(items, size=32, batch_size=8), "test_resnet", pretrained=False)
        learn.to_fp32()
        learn.fit(1e-2, 4)  # an untrained model answers nearly the same to everything, a trained one is too sure:
        with torch.no_grad():  # ... in both, agreement would mean little
            logits = learn.model.eval()(learn.data.eval_images(range(24)))
            learn.model.head[-1].weight *= 3 / logits.diff(dim=1).abs().max()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            folder = export(learn, home / "model", note="The labels are ours.")
        yield learn, folder, printed.getvalue()


@pytest.fixture
def kept_onnx(made, monkeypatch):
    """torch.onnx.export takes seconds: later exports get the file of the first one."""

    def write(model, args, file, **options):
        shutil.copy(made[1] / "model.onnx", file)

    monkeypatch.setattr(torch.onnx, "export", write)


def test_the_folder_is_complete_and_making_it_was_quiet(made):
    """Catches a file that is not written, the exporter's own chatter, and a staging folder left behind."""
    _, folder, printed = made
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert printed == ""
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".model")] == []


@pytest.mark.parametrize("n", [1, 3, 24])
def test_onnx_agrees_with_the_model_for_any_number_of_pictures(made, n):
    """Catches logits for probabilities, a normalisation left out, and a batch size fixed while tracing."""
    learn, folder, _ = made
    images = learn.data.eval_images(range(n))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"images": images.numpy()})[0]
    with torch.no_grad():
        expected = learn.model.eval()(images).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(found[:, 0]) > 0.1 or n < 24  # else agreement would mean nothing


ALONE = """
import json, runpy, sys
folders, pictures = json.loads(sys.argv[1])
predictors = [runpy.run_path(folder + "/predict.py")["predict"] for folder in folders]
answers = [{picture: predict(picture).tolist() for picture in pictures} for predict in predictors]
mine = {"torch", "timm", "torchvision", "helpers", "data_setup", "matplotlib", "scipy"}
print(json.dumps([answers, sorted(mine & set(sys.modules))]))
"""
PRESIZINGS = [("crop", 44), ("pad", 44), ("squish", 44), ("crop", 100), ("pad", 100)]


@pytest.fixture(scope="module")
def alone(made, tmp_path_factory):
    """(pictures, what predict.py without us answers to them by presizing): one process, which takes long to start."""
    home = tmp_path_factory.mktemp("alone")
    pictures, copies = strange_pictures(home / "pictures"), []
    for method, presize_px in PRESIZINGS:
        copy = shutil.copytree(made[1], home / f"sent to a friend {len(copies)}")
        about = json.loads((copy / "model.json").read_text(encoding="utf-8"))
        about |= {"method": method, "presize_px": presize_px}
        (copy / "model.json").write_text(json.dumps(about), encoding="utf-8")
        copies.append(copy)
    asked = json.dumps([list(map(str, copies)), list(map(str, pictures))])
    done = subprocess.run([sys.executable, "-I", "-c", ALONE, asked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers, ours_loaded = json.loads(done.stdout)
    assert ours_loaded == []
    return pictures, dict(zip(PRESIZINGS, answers, strict=True))


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize(("method", "presize_px"), PRESIZINGS)
def test_the_predictor_alone_agrees_with_the_learner(made, alone, method, presize_px):
    """Catches another resize, EXIF ignored, transparency on black, 16 bits cut off, and a hidden need for torch."""
    learn, (pictures, answers) = made[0], alone
    answers = answers[method, presize_px]
    other = ImageData(learn.data.items, learn.data.split, size=32, presize_px=presize_px, method=method)
    asked = Learner(other, learn.model, arch="test_resnet").to_fp32()
    for picture in pictures:
        expected = [asked.predict_one(picture).probs[name] for name in learn.data.classes]
        np.testing.assert_allclose(answers[str(picture)], expected, atol=TO_PREDICTOR, err_msg=picture.name)
        np.testing.assert_allclose(log_odds(answers[str(picture)]), log_odds(expected), atol=ODDS, err_msg=picture.name)


def test_the_predictor_refuses_what_the_kit_refuses(made, tmp_path):
    """Catches 32-bit pixels of unknown white that the predictor scales and answers as if it knew."""
    learn, folder, _ = made
    for mode, value in (("F", 0.5), ("I", 70000)):
        Image.new(mode, (40, 40), value).save(tmp_path / "deep.tiff")
        done = subprocess.run(
            [sys.executable, str(folder / "predict.py"), str(tmp_path / "deep.tiff")], capture_output=True, text=True
        )
        assert done.returncode == 1 and "do not say what is white: save it with 8 or 16 bits" in done.stderr
        with pytest.raises(UnreadableImage, match="do not say what is white"):
            learn.predict_one(tmp_path / "deep.tiff")


def test_the_predictor_prints_label_and_probability(made):
    """Catches classes in another order, and a traceback for whoever names no picture."""
    learn, folder, _ = made
    picture = learn.data.items[0].path
    done = subprocess.run([sys.executable, folder / "predict.py", picture], capture_output=True, text=True)
    answer = learn.predict_one(picture)
    assert done.stdout == f"{picture}: {answer.label} {answer.probability:.3f}\n"
    asked_nothing = subprocess.run([sys.executable, folder / "predict.py"], capture_output=True, text=True)
    assert "python predict.py PICTURE" in asked_nothing.stderr
    assert asked_nothing.returncode == 1


def test_loading_gives_the_same_model_without_a_learner(made):
    """Catches a description that does not suffice to build the model, and metrics of other pictures."""
    learn, folder, _ = made
    model, about = load_exported(folder)
    images = learn.data.eval_images(range(5))
    with torch.no_grad():
        torch.testing.assert_close(model(images), learn.model.eval()(images))
    assert about["classes"] == list(learn.data.classes)
    assert about["split"] == learn.data.split.digest()
    assert about["n"] == 6
    assert about["accuracy"]["estimate"] == about["metrics"]["accuracy"] == pytest.approx(learn.get_preds().accuracy())
    assert about["versions"] == versions()


def test_the_accuracy_is_that_of_the_weights_in_the_folder(made, tmp_path, monkeypatch):
    """Catches a card that quotes what the model was before other weights came into it."""
    learn = made[0]
    stale, last = learn.get_preds(), learn.model.head[-1]
    monkeypatch.setattr(exporting, "write_onnx", lambda model, file, images: float(file.write_bytes(b"")))
    with torch.no_grad():  # the two classes swap places
        last.weight.copy_(last.weight.flip(0))
    try:
        folder = export(learn, tmp_path / "model")
        share, n = learn.get_preds().accuracy(), len(learn.data.split.valid)
    finally:
        with torch.no_grad():
            last.weight.copy_(last.weight.flip(0))
    model, about = load_exported(folder)
    rows = learn.data.indices_of("valid")
    with torch.no_grad():
        right = (model(learn.data.eval_images(rows)).argmax(dim=1) == learn.data.targets[rows]).float().mean().item()
    assert about["accuracy"]["estimate"] == pytest.approx(right) == pytest.approx(share)
    assert f"Accuracy ≈ {100 * right:.1f} % of {n}" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    with pytest.raises(TypeError, match="preds"):  # nothing that was predicted elsewhere is believed
        export(learn, folder, preds=stale)


def test_a_loaded_model_is_exported_with_its_own_history(made, tmp_path, monkeypatch):
    """Catches a card that says "trained for 0 epochs" of a model that was saved and loaded."""
    learn = made[0]
    monkeypatch.setattr(exporting, "write_onnx", lambda model, file, images: float(file.write_bytes(b"")))
    learn.path = tmp_path
    learn.save("kept")
    again = Learner.pretrained(learn.data, "test_resnet", pretrained=False, path=tmp_path).load("kept").to_fp32()
    folder = export(again, tmp_path / "model")
    assert "test\\_resnet, trained for 4 epochs;" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    _, about = load_exported(folder)
    assert about["accuracy"]["estimate"] == pytest.approx(learn.get_preds().accuracy())
    for n in (0, 2):  # validation pictures that the weights have seen in an earlier training
        again.history += History(trained_on=frozenset(learn.data.split.valid[:n]))
        card = (export(again, tmp_path / "model") / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert f"trained on {n} of these pictures" in " ".join(card.split())


def test_a_network_of_ones_own_comes_back_into_one_built_alike(made, tmp_path, monkeypatch):
    """Catches an export that only the kit's own architectures can be loaded from."""

    def build():
        return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))

    monkeypatch.setattr(exporting, "write_onnx", lambda model, file, images: float(file.write_bytes(b"")))
    learn = Learner(made[0].data, build(), path=tmp_path).to_fp32()
    learn.fit(1e-2, 1)
    model, _ = load_exported(export(learn, tmp_path / "model"), build())
    images = learn.data.eval_images(range(5))
    with torch.no_grad():
        torch.testing.assert_close(model(images), learn.model.eval()(images))


class Trap:
    def __reduce__(self):
        return os.mkdir, ("the-trap-has-snapped",)


def test_loading_runs_no_code_and_notices_other_weights(made, tmp_path, monkeypatch):
    """Catches unpickling a stranger's file, and weights that do not belong to their description."""
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(made[1], tmp_path / "copy")
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="is not the file that model.json describes"):
        load_exported(folder)
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    about["sha256"]["model.safetensors"] = exporting.sha256(folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ValueError, match="damaged"):
        load_exported(folder)
    assert not (tmp_path / "the-trap-has-snapped").exists()
    (folder / "model.json").write_text("[]")
    with pytest.raises(ValueError, match="is not an exported classifier"):
        load_exported(folder)
    with pytest.raises(ValueError, match=r"nowhere is not an exported classifier: model.json is missing"):
        load_exported(tmp_path / "nowhere")


CHANGES = ["classes", "size", "accuracy", "weights", "onnx", "predictor", "no weights", "no predictor", "no digests"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_changed_after_the_export_is_refused(made, tmp_path, change):
    """Catches classes that changed places in a text file, another model's ONNX file, a stranger's predict.py."""
    folder = shutil.copytree(made[1], tmp_path / "copy")
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    file = folder / {"weights": "model.safetensors", "onnx": "model.onnx"}.get(change, "model.json")
    if change in ("weights", "onnx"):
        content = bytearray(file.read_bytes())
        content[-9] ^= 1
        file.write_bytes(content)
    elif change == "predictor":
        predictor = folder / "predict.py"
        predictor.write_text("import os\n" + predictor.read_text(encoding="utf-8"), encoding="utf-8")
    elif change in ("no weights", "no predictor"):
        (folder / {"no weights": "model.safetensors"}.get(change, "predict.py")).unlink()
    else:
        how = {"classes": about["classes"][::-1], "size": 64, "accuracy": {"estimate": 1.0}, "no digests": None}
        about["sha256" if change == "no digests" else change] = how[change]
        file.write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ValueError, match="export the model again"):
        load_exported(folder)
    if change == "onnx":
        done = subprocess.run([sys.executable, folder / "predict.py", "x.png"], capture_output=True, text=True)
        assert done.returncode == 1 and "model.onnx is not the file that model.json describes" in done.stderr


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("before", ["nothing", "an export", "an export that stands aside"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError])
def test_a_cut_off_export_changes_nothing(made, kept_onnx, tmp_path, monkeypatch, before, fault):
    """Catches half an export, or none where there was a good one."""
    learn, folder, _ = made
    target = tmp_path / "model"
    if before != "nothing":  # aside: an earlier run was killed between its two renames
        shutil.copytree(folder, target if before == "an export" else tmp_path / ".model.old")

    def break_off(*args, **options):
        raise fault("in the middle")

    monkeypatch.setattr(exporting, "model_card", break_off)  # ONNX and weights are written by then
    with pytest.raises(fault):
        export(learn, target)
    assert [path.name for path in tmp_path.iterdir()] == ([] if before == "nothing" else ["model"])
    assert before == "nothing" or held(target) == held(folder)


def test_an_export_replaces_an_export_and_clears_up_after_a_killed_one(made, kept_onnx, tmp_path):
    """Catches old files beside new ones, and folders of killed runs that pile up."""
    learn, folder, _ = made
    target, killed, old = tmp_path / "model", tmp_path / ".model.staging-1", tmp_path / ".model.old"
    shutil.copytree(folder, killed)  # killed while it wrote, or tidied
    shutil.copytree(folder, old)
    (shutil.copytree(folder, target) / "__pycache__").mkdir()
    assert export(learn, target, note="second") == target
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert sorted(held(target)) == sorted(FILES)
    assert "second" in (target / "MODEL_CARD.md").read_text(encoding="utf-8")
    with (target / "MODEL_CARD.md").open("a", encoding="utf-8") as card:
        card.write("Photographs of the plant in Goslar, 2014.")
    with pytest.raises(FileExistsError, match="MODEL_CARD.md was edited: move it away"):
        export(learn, target)
    assert "Goslar" in (target / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_earlier_export_comes_back_when_the_new_one_cannot_take_its_place(made, kept_onnx, tmp_path, monkeypatch):
    """Catches a good export lost between two renames."""
    learn, folder, _ = made
    target = shutil.copytree(folder, tmp_path / "model")
    rename = type(target).rename

    def refusing(self, other):
        if "staging" in self.name:
            raise OSError("the disk went away")
        return rename(self, other)

    monkeypatch.setattr(type(target), "rename", refusing)
    with pytest.raises(OSError, match="went away"):
        export(learn, target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert held(target) == held(folder)


@pytest.mark.parametrize("kind", ["photos", "export with notes", "another model.json", "file"])
def test_a_foreign_folder_is_refused_and_left_alone(made, kept_onnx, tmp_path, kind):
    """Catches somebody's photographs deleted because an export was given their folder."""
    learn, folder, _ = made
    target = tmp_path / "precious"
    if kind == "file":
        target.write_text("mine")
    elif kind == "photos":
        target.mkdir()
        (target / "photo.jpg").write_text("mine")
    else:
        shutil.copytree(folder, target)
        (target / ("my notes.txt" if kind == "export with notes" else "model.json")).write_text("{}")
    before = target.read_text() if kind == "file" else held(target)
    with pytest.raises(FileExistsError, match="is not an export that may be replaced"):
        export(learn, target)
    assert before == (target.read_text() if kind == "file" else held(target))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_an_onnx_file_that_answers_differently_is_refused(made, kept_onnx, tmp_path):
    """Catches a check that compares nothing, and nan, which is smaller than no tolerance."""
    learn, _, _ = made
    norm = learn.model.head[0]
    with torch.no_grad():
        norm.bias += 0.05
    try:
        with pytest.raises(RuntimeError, match="the ONNX file and the model disagree: .* 0.0001 is allowed"):
            export(learn, tmp_path / "model")
        norm.bias.data.fill_(float("nan"))
        with pytest.raises(RuntimeError, match="differ by up to nan"):
            export(learn, tmp_path / "model")
    finally:
        norm.bias.data.zero_()
    assert list(tmp_path.iterdir()) == []


def test_an_architecture_without_onnx_says_so(made, tmp_path, monkeypatch):
    """Catches the exporter's page of text instead of the way out."""

    def fail(*args, **options):
        raise torch.onnx.OnnxExporterError("no such operator\nand much more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(RuntimeError, match=r"cannot be written as ONNX \(no such operator\); learn.save"):
        export(made[0], tmp_path / "model")


def test_missing_packages_are_named_before_any_work(made, tmp_path, monkeypatch):
    """Catches minutes of work before the missing package is noticed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("onnx", "onnxscript") else find(name)
    )
    with pytest.raises(ModuleNotFoundError, match="needs onnx, onnxscript; type: pip install onnx onnxscript$"):
        export(made[0], tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_matters_and_escapes_names(made):
    """Catches a class name that becomes a tag, or ends the card's front matter."""
    card = (made[1] / "MODEL_CARD.md").read_text(encoding="utf-8")
    accuracy = f"Accuracy ≈ {100 * made[0].get_preds().accuracy():.1f} % of 6, 95 % confidence interval ≈ "
    for part in (
        accuracy,
        "licence: CC0",
        "Nobody, 1901",
        "All are \\*drawn\\*.",
        "The labels are ours.",
        "predict.py",
    ):
        assert part in card
    assert "&lt;img src=x onerror=alert(1)&gt;\\|\\`\\*\\_" in card
    assert "<img" not in card
    assert "title: Two &lt;lights&gt;" in card
    assert all("\n" not in line and line.isprintable() for line in card.splitlines())


def test_a_set_without_manifest_gets_a_card_that_asks_for_one(made):
    """Catches an export that fails, or invents a licence, where nothing describes the data."""
    about = json.loads((made[1] / "model.json").read_text(encoding="utf-8"))
    assert "No description came with the data set" in model_card(about, "84.9 % of 656", {})
