"""The recipe: its steps in order, its report alone in the world, its two protocols, its levers and its table."""

import json
import re
from functools import partial, partialmethod
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data_setup import __main__ as setup_cli
from data_setup import solar
from data_setup.solar import cell_items, cell_split
from data_setup.splits import split_by_folder
from helpers import learner
from helpers.export import bundle
from helpers.export.bundle import FILES, load_exported
from helpers.learner import Learner
from helpers.recipe import steps as recipe
from helpers.recipe.settings import QUICK, Settings, parse
from helpers.recipe.steps import main
from helpers.training import run as hooks

STEPS = [
    "Enable data augmentation, and precompute=True",
    "Find the highest learning rate at which the loss still clearly falls",
    "Train the last layer on cached features",
    "Train the last layer with augmentation (precompute=False), cycle_len=1",
    "Unfreeze all layers",
    "Give earlier layers lower learning rates",
    "Find the learning rate again",
    "Train the full network: 3 epochs, cycles of 1 + 2",
    "Test-time augmentation: 2 augmented views and the plain one",
    "Analyse, and export the model",
]
TINY = ["--arch", "test_resnet", "--quick", "--size", "32"]
WHEN = ("lr_find", "fit", "unfreeze", "tta")


def draw(folder, *, n=12):
    """`n` grey pictures each of "dark" and "light"."""
    rng = np.random.default_rng(0)
    for label, grey in (("dark", 60), ("light", 190)):
        (folder / label).mkdir(parents=True)
        for number in range(n):
            pixels = rng.normal(grey, 30, (32, 40)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number:02}.png")
    return folder


def untrained_bodies(patch):
    patch.setattr(recipe.Learner, "pretrained", partial(Learner.pretrained, pretrained=False))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run on drawn pictures of one oddly named set: (report folder, what it printed, verbs in their order)."""
    home = tmp_path_factory.mktemp("recipe")
    pictures = draw(home / "a <b>bold< set")
    called = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(home / "data"))
        untrained_bodies(patch)
        for name in WHEN:
            patch.setattr(Learner, name, watched(getattr(Learner, name), called))
        patch.setattr(recipe, "export", watched(recipe.export, called))
        patch.setattr(bundle, "write_onnx", no_onnx)
        printed = []
        patch.setattr("builtins.print", lambda *words, **options: printed.append(" ".join(map(str, words))))
        status = main(["--data", str(pictures), *TINY, "--report", str(home / "report")])
    assert status == 0, printed
    return home / "report", "\n".join(printed), called


def no_onnx(model, file, images):
    """In place of `write_onnx`, which takes seconds and has tests of its own."""
    return float(file.write_bytes(b""))


@pytest.fixture
def short_searches(monkeypatch):
    """The finder with 10 steps of its 100."""
    monkeypatch.setattr(Learner, "lr_find", partialmethod(Learner.lr_find, steps=10))


def watched(function, called):
    def wrapper(*args, **keywords):
        learn = args[0]
        called.append((function.__name__, learn.precompute, learn.trained_from))
        return function(*args, **keywords)

    return wrapper


def test_the_steps_run_in_the_notes_order_and_print_their_results(finished):
    """Catches a step left out, precompute on where pictures are needed, and results that are not printed."""
    folder, printed, called = finished
    steps = json.loads((folder / "result.json").read_text(encoding="utf-8"))["steps"]
    assert [step["title"] for step in steps] == STEPS
    assert [int(n) for n in re.findall(r"^\n?(\d+)\. ", printed, flags=re.MULTILINE)] == list(range(1, 11))
    kept, augmented, all_layers = (True, 2), (False, 2), (False, 0)
    assert called == [
        ("lr_find", *kept),
        ("fit", *kept),
        ("fit", *augmented),
        ("unfreeze", *augmented),
        ("lr_find", *all_layers),
        ("fit", *all_layers),
        ("tta", *all_layers),
        ("export", *all_layers),
    ]
    for number in (3, 4, 8, 9):
        line = next(line for line in printed.splitlines() if line.startswith(f"   step {number}, "))
        assert re.search(r"; ≈ \d+\.\d % of 6, 95 % confidence interval ≈ \d+\.\d to \d+\.\d$", line), line
        assert steps[number - 1]["result"] in line


def test_result_json_is_complete(finished):
    """Catches a result that cannot be repeated: no seed, split, versions, command or interval."""
    folder, _, _ = finished
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for score in ("accuracy", "tta_accuracy"):
        assert 0 <= result[score]["low"] <= result[score]["estimate"] <= result[score]["high"] <= 1
    assert result["n"] == {"train": 18, "valid": 6}
    assert result["classes"] == ["dark", "light"]
    assert result["settings"]["arch"] == "test_resnet"
    assert result["settings"]["seed"] == 0
    assert re.fullmatch(r"[0-9a-f]{64}", result["split"])
    assert result["device"]
    assert {"python", "torch", "timm"} <= result["versions"].keys()
    assert len(result["epochs"]) == 2 + 1 + 3
    assert result["seconds"] == pytest.approx(sum(step["seconds"] for step in result["steps"]))
    assert result["command"].startswith("python -m helpers.recipe --data ")


def test_the_exported_model_is_the_one_whose_accuracy_is_reported(finished):
    """Catches an export of other weights than those whose accuracy is reported."""
    folder, _, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == ["model", "report.html", "result.json"]
    assert sorted(path.name for path in (folder / "model").iterdir()) == sorted(FILES)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    _, about = load_exported(folder / "model")
    assert about["accuracy"]["estimate"] == result["accuracy"]["estimate"]
    assert about["split"] == result["split"]
    assert about["epochs"] == 6


class Loads(HTMLParser):
    """Every address in a page, every alternative text, every tag."""

    def __init__(self):
        super().__init__()
        self.addresses, self.alts, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.addresses += [attrs[name] for name in ("src", "href", "srcset", "data", "action") if name in attrs]
        self.alts += [attrs.get("alt")] if tag == "img" else []


def test_the_report_is_one_page_that_loads_nothing(finished):
    """Catches a report that needs the network, runs scripts, or shows pictures without a text."""
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    seen = Loads()
    seen.feed(page)
    assert len(seen.addresses) == 9
    assert all(address.startswith("data:image/png;base64,") for address in seen.addresses)
    assert {"script", "link", "iframe", "object"} & set(seen.tags) == set()
    assert not re.search(r"url\(|@import|http-equiv=.refresh", page)
    assert "default-src 'none'" in page
    assert len(seen.alts) == len(seen.addresses)
    assert all(alt and len(alt) > 20 for alt in seen.alts)


def test_the_report_says_the_same_as_the_result_and_escapes_names(finished):
    """Catches a report that drifts from its numbers, and a folder's name that becomes a tag."""
    folder, _, _ = finished
    page = (folder / "report.html").read_text(encoding="utf-8")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for step in result["steps"]:
        assert f"<td>{step['title']}</td>" in page
        assert step["result"] in page
    for word in (
        "Of 6 validation pictures (95 % confidence interval):",
        ">torch</th>",
        "python -m helpers.recipe",
        "seconds</th>",
    ):
        assert word in page
    assert "a &lt;b&gt;bold&lt; set" in page
    assert "<b>bold" not in page


# Protocols ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cells(tmp_path):
    """24 drawn cells as the solar set has them: six of each probability, half of them mono."""
    source = tmp_path / "source"
    draw(source / "drawn")
    (source / "images").mkdir()
    rows = []
    for number, picture in enumerate(sorted((source / "drawn").rglob("*.png")), start=1):
        picture.rename(source / "images" / f"cell{number:04}.png")
        probability = ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")[number % 4]
        rows.append(f"images/cell{number:04}.png  {probability}  {'mono' if number % 3 else 'poly'}")
    (source / "labels.csv").write_text("\n".join(rows))
    folder = tmp_path / "cells"
    folder.mkdir()
    solar.build(folder, source=source)
    return folder


def test_protocol_solar_takes_the_labels_on_disk(cells):
    """Catches weights, or labels of the other protocol."""
    items = cell_items(cells, "solar")
    assert len(items) == 24
    assert all(item.name.split("/")[1] == item.label and item.weight == 1 for item in items)


def test_protocol_deitsch_calls_every_doubt_a_defect_and_weighs_it(cells):
    """Catches a doubtful cell called functional, and weights in the wrong order."""
    probability = dict(line.rsplit(",", 3)[::3] for line in (cells / "labels.csv").read_text().splitlines()[1:])
    items = {item.name: item for item in cell_items(cells, "deitsch")}
    expected = {
        "0.0": ("functional", 1.0),
        "0.3333333333333333": ("defective", 1 / 3),
        "0.6666666666666666": ("defective", 2 / 3),
        "1.0": ("defective", 1.0),
    }
    assert {n: (items[n].label, pytest.approx(items[n].weight)) for n in items} == {
        name: expected[p] for name, p in probability.items()
    }
    data = recipe.load_data(Settings(data=str(cells), protocol="deitsch"))
    assert sorted(set(data.weights.tolist())) == pytest.approx([1 / 3, 2 / 3, 1])
    assert data.presize_px == 300


def test_seed_0_is_the_split_on_disk_and_other_seeds_are_others(cells):
    """Catches seeds that all validate on the same pictures, and cells that leave the split."""
    items = cell_items(cells, "solar")
    on_disk = split_by_folder(items)
    assert cell_split(cells, 0) == on_disk
    others = [cell_split(cells, seed) for seed in range(1, 4)]
    assert len({split.digest() for split in [on_disk, *others]}) == 4
    for split in others:
        assert len(split.valid) == len(on_disk.valid)
        assert set(split.train) | set(split.valid) == {item.name for item in items}


@pytest.mark.parametrize(
    ("seed", "digest"), [(0, "12058f996167e795"), (1, "6d3540eae849e478"), (4, "5f77a2680e320f43")]
)
def test_published_protocol_is_over_all_cells_and_keeps_its_splits(tmp_path, seed, digest):
    """The digests are those of the runs in RESULTS: catches a split without the sealed cells, or another draw."""
    cells = solar.read_cells(solar.source_folder())
    rows = [f"test/{cell.name},{cell.label},{cell.type},{cell.probability}" for cell in cells]
    (tmp_path / "labels.csv").write_text("\n".join(["name,label,type,probability", *rows]))
    split = cell_split(tmp_path, seed)
    assert (len(split.train), len(split.valid)) == (1968, 656)
    numbers = " ".join(sorted(name[-8:-4] for name in split.valid))
    assert sha256(numbers.encode()).hexdigest()[:16] == digest


def test_a_deitsch_run_reports_weighted_accuracy_too(cells, course_data, tmp_path, monkeypatch, short_searches):
    """Catches a plain accuracy beside published weighted ones, and a run lost for want of a package."""
    untrained_bodies(monkeypatch)
    monkeypatch.setattr(bundle, "write_onnx", no_onnx)
    monkeypatch.setattr(recipe, "draw_figures", lambda *_: {})
    report_folder = tmp_path / "report"
    assert (
        main(["--data", str(cells), "--protocol", "deitsch", *TINY, "--epochs", "1", "--report", str(report_folder)])
        == 0
    )
    result = json.loads((report_folder / "result.json").read_text(encoding="utf-8"))
    for name in ("weighted_accuracy", "weighted_tta_accuracy"):
        assert result[name]["low"] <= result[name]["estimate"] <= result[name]["high"]
    assert "the protocol of Deitsch et al. 2019" in result["meaning"]
    assert "weighted accuracy" in (report_folder / "report.html").read_text(encoding="utf-8")
    assert "unsure ratings weigh 1/3" in (report_folder / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_missing_packages_stop_the_recipe_before_the_training(pictures, course_data, tmp_path, monkeypatch, capsys):
    """Catches an hour of training that cannot be exported."""

    def missing():
        raise ModuleNotFoundError("export needs onnx; type: pip install onnx")

    monkeypatch.setattr(recipe, "need_packages", missing)
    monkeypatch.setattr(recipe, "train", lambda *_: pytest.fail("trained"))
    assert main(["--data", str(pictures), *TINY, "--report", str(tmp_path / "report")]) == 1
    assert capsys.readouterr().err == "error: export needs onnx; type: pip install onnx\n"


def test_a_model_that_cannot_be_exported_is_kept(pictures, course_data, tmp_path, monkeypatch, capsys, short_searches):
    """Catches a trained model lost, or a report missing, because the last step failed."""
    untrained_bodies(monkeypatch)
    monkeypatch.setattr(recipe, "draw_figures", lambda *_: {})
    (tmp_path / "report" / "model").mkdir(parents=True)
    (tmp_path / "report" / "model" / "photo.jpg").write_text("mine")
    assert main(["--data", str(pictures), *TINY, "--epochs", "1", "--report", str(tmp_path / "report")]) == 0
    assert "Not exported: " in capsys.readouterr().out
    assert "Not exported: " in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "report" / "model.safetensors").is_file()
    assert (tmp_path / "report" / "model" / "photo.jpg").read_text() == "mine"


# Levers ---------------------------------------------------------------------------------------------------------


def test_an_interrupted_step_ends_the_recipe(pictures, course_data, tmp_path, monkeypatch, capsys):
    """Catches Ctrl-C that ends one step, after which the next one trains an unfinished model."""
    untrained_bodies(monkeypatch)

    def interrupt(self, run):
        raise KeyboardInterrupt

    monkeypatch.setattr(Learner, "lr_find", lambda *_: SimpleNamespace(advice=""))
    monkeypatch.setattr(hooks.Hook, "on_epoch_end", interrupt)
    settings = Settings(data=str(pictures), arch="test_resnet", **QUICK | {"size": 32})
    learner_hook = partial(Learner.pretrained, pretrained=False, hooks=[hooks.Hook()])
    monkeypatch.setattr(recipe.Learner, "pretrained", learner_hook)
    steps = []
    with pytest.raises(KeyboardInterrupt):
        recipe.train(settings, tmp_path, steps)
    assert steps[-1].title == "Train the last layer on cached features"


def test_rates_of_both_kinds_of_pictures():
    """Catches the head's rate on a body's stage, and rates that do not rise towards the head."""
    assert Settings().rates(3) == [1e-3, 1e-3, 2e-3]
    assert Settings().rates(8) == [1e-3] * 7 + [2e-3]
    assert Settings(similar=True).rates(3) == pytest.approx([2e-5, 2e-4, 2e-3])


def test_with_copies_only_the_last_stages_train_on_cached_features(
    pictures, course_data, tmp_path, monkeypatch, short_searches
):
    """Catches a body that trains in its first stages, and training that goes back to the pictures."""
    untrained_bodies(monkeypatch)
    how = {"size": 32, "augmented_epochs": 1, "epochs": 1, "copies": 2, "stages": 2, "tta": 2}
    tmp_path.joinpath("report").mkdir()
    made, compute = [], learner.precompute
    monkeypatch.setattr(learner, "precompute", lambda *args, **how: made.append((args, how)) or compute(*args, **how))
    steps = []
    learn, _ = recipe.train(Settings(data=str(pictures), arch="test_resnet", **how), tmp_path / "report", steps)
    assert steps[4].title == "Unfreeze the last 2 stages; cache what the first make of 2 copies"
    assert 0 < learn.split_point < len(learn.model.body)
    learn.precompute = True  # it was validated from the pictures, and had trained on cached features
    assert [kept[1]["copies"] for kept in made] == [0, 2]
    assert len(learn.source().augmented) == 2
    frozen = [any(p.requires_grad for p in module.parameters()) for module in learn.model.body[: learn.split_point]]
    assert not any(frozen)


def test_more_stages_than_the_body_has_are_refused(pictures, course_data, tmp_path, monkeypatch, short_searches):
    """Catches a negative group number, which counts from the end."""
    untrained_bodies(monkeypatch)
    settings = Settings(data=str(pictures), arch="test_resnet", size=32, copies=2, stages=20, epochs=1)
    with pytest.raises(ValueError, match=r"--stages is at most \d for test_resnet; got 20"):
        recipe.train(settings, tmp_path, [])


# Command line ---------------------------------------------------------------------------------------------------


def test_flags_become_settings_and_beat_presets(course_data):
    """Catches a flag that a preset overrules."""
    settings, folder = parse(["--quick", "--epochs", "7", "--tta", "8", "--similar", "--seed", "3"], "")
    assert settings == Settings(**QUICK | {"epochs": 7, "tta": 8, "similar": True, "seed": 3})
    assert settings.augment.flip
    assert folder == course_data / "runs" / "solar-solar-efficientnet_lite0-96px-seed3"
    assert parse(["pets", "--seed", "3"], "")[0] == Settings(data="pets", seed=3)
    full = parse(["--data", "solar", "--arch", "efficientnet_lite0", "--size", "224"], "")[0]
    assert parse([], "")[0] == Settings() == full, "what the README names is the default"
    assert Settings().cycles == [1, 2, 4, 8]
    with pytest.raises(ValueError, match="--average 9, and 4 cycles"):
        parse(["--average", "9"], "")


def test_two_folders_of_one_name_have_reports_of_their_own(tmp_path, monkeypatch):
    """Catches a result that another data set's replaces, and a resume of somebody else's run."""
    found = []
    for above in ("a", "b"):
        (tmp_path / above / "photos").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / above)
        found += [parse(["photos"], "")[1], parse([str(tmp_path / above / "photos")], "")[1]]
    assert found[0] == found[1] != found[2] == found[3] and found[0].name.startswith("photos-")


def test_the_published_command_still_parses():
    """Catches a flag that RESULTS.md names and the recipe no longer knows."""
    results = (Path(__file__).resolve().parents[2] / "notebooks" / "RESULTS.md").read_text(encoding="utf-8")
    command = re.search(r"^python -m helpers.recipe (--protocol .*)$", results, flags=re.MULTILINE)[1]
    settings, _ = parse(command.replace("PROTOCOL", "deitsch").replace("SEED", "4").split(), "")
    assert (settings.protocol, settings.seed, settings.copies, settings.average) == ("deitsch", 4, 6, 3)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--epochs", "5"], "cycles of 1, 2, 4 ... make 1, 3, 7, 15 or 31 epochs; got 5"),
        (["--schedule", "one-cycle", "--epochs", "0"], "at least 1"),
        (["--tta", "0"], "at least 1"),
        (["--copies", "-1"], "--copies at least 0"),
        (["--data", "solr"], "did you mean 'solar'"),
    ],
)
def test_a_wrong_command_line_gets_a_sentence(course_data, capsys, argv, says):
    """Catches tracebacks for typing mistakes, and epochs that fill no whole cycles."""
    assert main(argv) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_a_folder_with_a_table_and_a_split_file_is_read_as_they_say(tmp_path, capsys):
    """Catches a recipe that takes only folders of classes, or draws a split of its own."""
    pictures = draw(tmp_path / "set")
    rows = []
    for path in sorted(pictures.glob("*/*.png")):
        path.rename(pictures / f"{path.parent.name}{path.name}")
        rows.append(f"{path.parent.name}{path.name},{path.parent.name},day{int(path.stem) // 3}")
    (pictures / "what is what.csv").write_text("\n".join(["picture,light,day", *rows]), encoding="utf-8")
    for folder in ("dark", "light"):
        (pictures / folder).rmdir()
    labels = ["--labels", "what is what.csv"]
    with pytest.raises(ValueError, match="which column"):
        recipe.load_data(parse([str(pictures)], "")[0])
    table = pictures / "what is what.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("light,day\n", "label,day\n", 1), encoding="utf-8")
    assert setup_cli.main(["split", str(pictures), "--by", "group", "--group", "day", *labels]) == 0
    data = recipe.load_data(parse([str(pictures), *labels], "")[0])
    assert (data.classes, len(data.split.train), len(data.split.valid)) == (("dark", "light"), 18, 6)
    days = {part: {int(name[-6:-4]) // 3 for name in getattr(data.split, part)} for part in ("train", "valid")}
    assert not days["train"] & days["valid"] and "split.json: split by group 'day'" in capsys.readouterr().out
