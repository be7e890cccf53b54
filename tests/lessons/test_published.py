"""Beside the published result: exact symmetries, decisions from four answers, a second opinion, and the command."""

import json
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import data_setup
from data_setup import solar
from helpers.analysis.predictions import Arithmetic
from helpers.data import augment
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons import envelope, every_stage, kernel_ridge, published, ratings
from helpers.lessons.every_stage import EveryStage, build_every_stage, pooled
from helpers.lessons.kernel_ridge import across_modules, by_number, likeness, scaled, second_opinion
from helpers.lessons.ratings import predictions, read_ratings, weighted_by_block
from helpers.lessons.symmetries import (
    SYMMETRIES,
    Symmetries,
    SymmetryLearner,
    activations,
    probs_by_symmetry,
    symmetry,
)
from helpers.models.classifier import Classifier, Normalize
from helpers.runtime.tensor_files import load_tensors
from helpers.training import loop

CPU = Arithmetic(torch.device("cpu"), torch.float32, 8)
CLASSES = tuple(sorted(solar.RATED))


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """48 drawn cells in blocks of four neighbours; the darker a cell, the surer the expert that it is defective."""
    monkeypatch.setattr(solar, "BLOCK", 4)
    source, rng = tmp_path / "source", np.random.default_rng(0)
    (source / "images").mkdir(parents=True)
    rows = []
    for number in range(1, 49):
        rating = number % 4
        pixels = rng.normal(200 - 50 * rating, 20, (32, 32)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(source / "images" / f"cell{number:04}.png")
        probability = ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")[rating]
        rows.append(f"images/cell{number:04}.png  {probability}  {'mono' if number % 8 < 4 else 'poly'}")
    (source / "labels.csv").write_text("\n".join(rows))
    folder = tmp_path / "cells"
    folder.mkdir()
    solar.build(folder, source=source)
    return folder


@pytest.fixture
def data(cells, course_data):
    split = solar.cell_split(cells, 1)
    return ImageData(solar.cell_items(cells, "ratings"), split, size=32, presize_px=32, batch_size=8)


def test_eight_symmetries_are_the_eight_of_the_square():
    """Against numpy's turns and mirrors: catches one that is there twice, or pixels that are mixed."""
    pixels = torch.randint(256, (1, 1, 9, 9), dtype=torch.uint8)
    seen = [augment.apply_draws(pixels, symmetry(1, k), 9)[0, 0] for k in range(SYMMETRIES)]
    plain = pixels[0, 0].numpy() / 255
    expected = [np.rot90(view, k) for view in (plain, plain[:, ::-1]) for k in range(4)]
    for view in expected:
        assert sum(np.allclose(view, one.numpy(), atol=1e-4) for one in seen) == 1
    assert torch.equal(seen[0], torch.from_numpy(plain).float())


def test_training_meets_every_picture_once_in_one_of_its_symmetries(data):
    """Catches rows and views that are mixed up, one view for a whole batch, and the same draw in every epoch."""
    rows = torch.arange(len(data.items))
    source = Symmetries(data, 0, [torch.stack([rows, torch.full_like(rows, k)], dim=1) for k in range(SYMMETRIES)])
    epochs = []
    for epoch in range(2):
        batches = list(source.train_batches(CPU.device, 8, 0, epoch))
        seen = torch.cat([batch.inputs for batch in batches]).long()
        assert sorted(seen[:, 0].tolist()) == sorted(data.rows["train"].tolist())
        assert torch.equal(torch.cat([batch.targets for batch in batches]), data.targets[seen[:, 0]])
        assert len(set(seen[:, 1].tolist())) > 4
        epochs.append(seen[seen[:, 0].argsort(), 1])
    assert not torch.equal(*epochs)
    valid = data.rows["valid"]
    (batch,) = source.seen_as(5).eval_batches(valid, CPU.device, 100)
    assert batch.inputs.tolist() == [[row, 5] for row in valid.tolist()]


def test_activations_are_those_of_turned_pictures_and_come_from_the_disk(data, monkeypatch):
    """Against the stages on turned pixels: catches the wrong symmetry or split point under a name."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 5, 3))
    model = Classifier(Normalize([0.5] * 3, [0.5] * 3), body, nn.Linear(10, 4), maps=True)
    found = {k: activations(model, data, 1, CPU, k) for k in (0, 3, 6)}
    squares = data.store.squares(torch.arange(len(data.items)))
    model.eval()
    with torch.no_grad():
        for k, answers in found.items():
            turned = augment.apply_draws(squares, symmetry(len(squares), k), data.size)
            assert torch.allclose(answers, model.before(turned, 1), atol=1e-5)
    monkeypatch.setattr(ImageData, "drawn_batches", lambda *_: pytest.fail("computed again"))
    assert torch.equal(activations(model, data, 1, CPU, 3), found[3])


def test_decisions_lose_least_under_each_protocol():
    """Against the loss of either answer, counted out: catches thirds that are swapped, or one rule for both."""
    probs = torch.rand(200, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probs /= probs.sum(dim=1, keepdim=True)
    r = [solar.RATED[label] for label in CLASSES]
    for protocol, weight, is_defective in (
        ("deitsch", [value or 1.0 for value in r], [value > 0 for value in r]),
        ("solar", [1.0] * 4, [value >= 0.5 for value in r]),
    ):
        answers = read_ratings(probs, CLASSES, protocol)
        assert torch.allclose(answers.sum(dim=1), torch.ones(200, dtype=torch.float64))
        for row, answer in zip(probs.tolist(), answers.tolist(), strict=True):
            columns = list(zip(row, weight, is_defective, strict=True))
            lost = [sum(p * w for p, w, truth in columns if truth != said) for said in (True, False)]
            assert (answer[0] > answer[1]) == (lost[0] < lost[1])


def test_predictions_carry_the_protocols_labels_and_weights(cells):
    """A sure answer for each cell's own rating is right everywhere: catches rows in another order."""
    items = solar.cell_items(cells, "ratings")
    names = [item.name for item in items][::-1]
    label = {item.name: item.label for item in items}
    probs = torch.tensor([[float(label[name] == one) for one in CLASSES] for name in names])
    for protocol in ("deitsch", "solar"):
        preds = predictions(probs, CLASSES, names, cells, protocol)
        assert [item.name for item in preds.items] == names
        assert preds.correct.all()
        assert Counter(item.weight for item in preds.items) == Counter(
            item.weight for item in solar.cell_items(cells, protocol)
        )


def test_blocks_are_drawn_whole(cells, monkeypatch):
    """Right in half of the blocks and wrong in the others: single cells would give a far narrower interval."""
    for module in (envelope, ratings):
        monkeypatch.setattr(module, "block_of", lambda item: (int(item.path.stem[-4:]) - 1) // 12)
    items = solar.cell_items(cells, "deitsch")
    names = [item.name for item in items]
    right = torch.tensor([ratings.block_of(item) % 2 == 0 for item in items])
    truth = torch.tensor([[item.label == "defective", item.label != "defective"] for item in items])
    probs = torch.zeros(48, 4)
    probs[:, CLASSES.index("surely defective")] = (truth[:, 0] == right).float()
    probs[:, CLASSES.index("surely functional")] = (truth[:, 0] != right).float()
    preds = predictions(probs, CLASSES, names, cells, "deitsch")
    interval = weighted_by_block(preds)
    assert interval.estimate == pytest.approx(0.5, abs=0.01)
    assert (interval.low, interval.high) == pytest.approx((0, 1), abs=0.01)  # four blocks: 1 of 16 draws has one kind
    scores = published.scores_of(preds, predictions(probs, CLASSES, names, cells, "solar"), blocks=True)
    assert scores["weighted_accuracy"]["low"] == pytest.approx(0, abs=0.01)
    # a cell rated 1/3 is functional there, a quarter of each block
    assert (scores["accuracy"]["low"], scores["accuracy"]["high"]) == pytest.approx((0.25, 0.75), abs=0.01)


def test_a_quarter_in_whole_blocks_with_fair_shares(cells):
    """Catches half blocks, a block on both sides, and one draw for every seed."""
    splits = [solar.block_split(cells, seed) for seed in range(3)]
    of = {item.name: (int(item.path.stem[-4:]) - 1) // 4 for item in solar.cell_items(cells, "ratings")}
    for split in splits:
        held_back = Counter(of[name] for name in split.valid)
        assert len(split.valid) == 12 and set(held_back.values()) == {4}
        assert not set(held_back) & {of[name] for name in split.train}
        assert set(split.train) | set(split.valid) == set(of)
    assert len({split.digest() for split in splits}) > 1


def test_too_few_cells_for_a_block_are_said(cells, monkeypatch):
    monkeypatch.setattr(solar, "BLOCK", 60)
    with pytest.raises(ValueError, match="a quarter of 48 cells is no whole block of 60: use cell_split"):
        solar.block_split(cells, 0)


@pytest.fixture
def two_bodies():
    """Features of 30 photographs: two stages and one, two views each; the answers, and who is asked about."""
    generator = torch.Generator().manual_seed(0)
    bodies = [[torch.randn(2, 30, width, generator=generator) * width for width in widths] for widths in ((5, 9), (4,))]
    targets = torch.randint(4, (30,), generator=generator)
    return bodies, targets, torch.arange(0, 20), torch.arange(20, 30)


def test_likeness_is_the_mean_over_bodies_and_pairs_of_views(two_bodies):
    """Against the kernel written out, pair by pair: catches views compared with their like alone, unscaled features,
    and photographs that are asked about among those that scale."""
    bodies, _, train, _ = two_bodies
    found = likeness(bodies, train, 1.2)
    assert found.shape == (30, 20)
    np.testing.assert_allclose(found[:20], found[:20].T, atol=1e-7)
    for i, j in ((0, 0), (3, 7), (25, 4)):
        pairs = []
        for stages in bodies:
            views = np.concatenate([scaled(stage, train).numpy() for stage in stages], axis=2) / len(stages) ** 0.5
            np.testing.assert_allclose((views[:, :20] ** 2).sum(axis=2).mean(), 1, rtol=1e-5)
            pairs += [np.exp(-1.2 * np.linalg.norm(a - b) ** 1.5) for a in views[:, i] for b in views[:, j]]
        assert len(pairs) == 8
        np.testing.assert_allclose(found[i, j], np.mean(pairs), atol=1e-4)  # float32's distance of a view to itself
    bodies[0][0][:, 25] += 1000
    np.testing.assert_allclose(np.delete(likeness(bodies, train, 1.2), 25, 0), np.delete(found, 25, 0), atol=1e-6)


def test_likeness_does_not_depend_on_how_a_photograph_is_turned(two_bodies):
    """What the kernel is for: the views of one photograph in another order change nothing."""
    bodies, _, train, _ = two_bodies
    turned = [[stage.clone() for stage in stages] for stages in bodies]
    for stage in turned[0]:
        stage[:, 7] = stage[:, 7].flip(0)
    np.testing.assert_allclose(likeness(turned, train, 1.2), likeness(bodies, train, 1.2), atol=1e-6)


def test_roots_keep_the_sign():
    """Catches a root of a negative number, and columns that are scaled before it."""
    stage = torch.tensor([[[4.0], [-9.0], [1.0]]])
    roots = np.array([2.0, -3.0, 1.0])
    expected = (roots - roots.mean()) / roots.std()
    np.testing.assert_allclose(scaled(stage, torch.arange(3))[0, :, 0], expected, rtol=1e-4)


def test_second_opinion_is_the_closed_form_of_kernel_ridge_regression(two_bodies):
    """Against (K + alpha)^-1 written out: catches validation rows that train, and answers without their mean."""
    bodies, targets, train, rows = two_bodies
    kernel = likeness(bodies, train, 1.2)
    answers = np.eye(4)[targets[:20]]
    dual = np.linalg.solve(kernel[:20] + kernel_ridge.ALPHA * np.eye(20), answers - answers.mean(axis=0))
    expected = (kernel[20:] @ dual + answers.mean(axis=0)).clip(kernel_ridge.LEAST)
    found = second_opinion(kernel, targets, train, rows, 4)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)


def test_modules_explain_their_cells_to_each_other_and_to_no_one_else(two_bodies):
    """Against the closed form: a kernel of two terms, of which cells that are asked about have the first alone."""
    bodies, targets, train, rows = two_bodies
    numbers = torch.randperm(30, generator=torch.Generator().manual_seed(1)) * 5
    kernel, answers = likeness(bodies, train, 0.5), np.eye(4)[targets[:20]]
    apart = np.abs(np.subtract.outer(*2 * [numbers[:20].numpy()]))
    anywhere, beside = 0.5 * kernel[:20], 0.5 * kernel[:20] * np.exp(-apart / kernel_ridge.REACH)
    dual = np.linalg.solve(anywhere + beside + kernel_ridge.ALPHA * np.eye(20), answers - answers.mean(axis=0))
    expected = (0.5 * kernel[20:] @ dual + answers.mean(axis=0)).clip(kernel_ridge.LEAST)
    found = across_modules(kernel, numbers, targets, train, rows, 4)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)
    numbers[20:] += 1  # who is asked about does not stand beside anybody
    assert torch.equal(across_modules(kernel, numbers, targets, train, rows, 4), found)


def test_number_alone_answers_as_the_neighbours_do_and_by_the_shares_far_away():
    """Catches the kernel of other rows, and an answer that is sure where nobody is near."""
    numbers = torch.tensor([1, 2, 3, 101, 102, 103, 2, 102, 5000])
    targets, train, rows = torch.tensor([0, 0, 0, 3, 3, 3, 1, 1, 1]), torch.arange(6), torch.arange(6, 9)
    found = by_number(numbers, targets, train, rows, 4)
    assert found.argmax(dim=1)[:2].tolist() == [0, 3] and (found.amax(dim=1)[:2] > 0.9).all()
    np.testing.assert_allclose(found[2, [0, 3]], [0.5, 0.5], atol=0.01)


def test_pooled_is_the_largest_the_mean_and_the_deviation():
    """And a filter that is 0 everywhere has a gradient: catches nan in the first step."""
    maps = torch.randn(3, 2, 4, 5)
    values = maps.numpy().reshape(3, 2, 20)
    expected = [values.max(2), values.mean(2), values.std(2)]
    np.testing.assert_allclose(pooled(maps), np.concatenate(expected, axis=1), rtol=1e-4)
    still = torch.zeros(1, 1, 3, 3, requires_grad=True)
    pooled(still).sum().backward()
    assert still.grad.isfinite().all()


def test_head_sees_each_stage_from_wherever_the_network_begins(monkeypatch):
    """Against maps taken stage by stage: catches a stage that is left out, seen twice, or taken before it ran."""
    monkeypatch.setattr(every_stage, "PARTS", (1, 2))
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 6, 3))
    model = EveryStage(Normalize([0.5] * 3, [0.5] * 3), body, nn.Linear(33, 4), maps=True)
    images = torch.rand(2, 3, 12, 12)
    second = body[1](body[0](model.normalize(images)))
    logits = model.head(torch.cat([pooled(second), pooled(body[2](second))], dim=1))
    for split_point in range(3):
        assert torch.allclose(model.after(model.before(images, split_point), split_point), logits, atol=1e-5)


def test_pictures_and_their_activations_give_the_same_answers(data, monkeypatch):
    """A network asked from cached activations and as a whole: catches views in another order, or turned twice."""
    monkeypatch.setattr(every_stage, "PARTS", (4, 5, 8))
    model = build_every_stage("test_efficientnet", 4, size=32, pretrained=False)
    cached = SymmetryLearner(data, model, layer_groups="stages")
    cached.freeze_to(-3)
    cached.look()
    found = probs_by_symmetry(Learner(data, model))
    assert found.shape == (8, 12, 4) and not torch.allclose(found[0], found[1])
    assert torch.allclose(found, probs_by_symmetry(cached), atol=1e-5)


def test_command_goes_on_where_it_stopped_and_its_table_names_every_split(cells, course_data, tmp_path, monkeypatch):
    """A run cut off after its first part, then finished: catches a part trained twice, and a lost result."""
    monkeypatch.setattr(data_setup, "prepare", lambda name: cells)
    arch = "test_efficientnet"
    small = {"SIZE": 32, "NETWORK": arch, "BODIES": (arch,) * 2, "EPOCHS": 2, "AVERAGED": 2, "WHOLE_EPOCHS": 1}
    for name, value in small.items():
        monkeypatch.setattr(published, name, value)
    monkeypatch.setattr(every_stage, "PARTS", (4, 5, 8))
    monkeypatch.setattr(published, "build_every_stage", partial(build_every_stage, pretrained=False))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    finished = published.answers_of

    def first_only(learn, name, *how):
        if name == "whole-network":
            raise KeyboardInterrupt
        return finished(learn, name, *how)

    folder = tmp_path / "runs" / "random-3"
    monkeypatch.setattr(published, "answers_of", first_only)
    assert published.main(["--split", "3", "--folder", str(folder)]) == 130
    kept = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.safetensors")}
    assert set(kept) == {"kernel-ridge.safetensors", "last-stages.safetensors", "last-stages.checkpoint.safetensors"}
    assert not (folder / "result.json").exists()
    monkeypatch.setattr(published, "answers_of", finished)
    assert published.main(["--split", "3", "--folder", str(folder)]) == 0
    assert kept.items() <= {file.name: file.stat().st_mtime_ns for file in folder.glob("*.safetensors")}.items()
    result = json.loads((folder / "result.json").read_text())
    assert result["digest"] == solar.cell_split(cells, 3).digest() and result["n"] == 12
    answers = list(result["scores"])
    assert answers[0] == "number alone, no photograph" and answers[-1] == "whole network, TTA, and kernel ridge"
    first, second = (
        load_tensors(folder / f"{part}.safetensors")[0]["probs"] for part in ("last-stages", "whole-network")
    )
    assert not torch.allclose(first, second, atol=1e-6)
    (line,) = published.table([tmp_path / "runs"]).splitlines()[2:]
    assert line.split("|")[1:3] == [" at random ", " 3 "]


def test_means_of_several_splits_are_those_of_the_statistics(tmp_path):
    """Catches means of other answers, and a deviation of the whole instead of a sample."""
    for split, share in enumerate((0.8, 0.9)):
        scores = {
            name: {"estimate": share, "low": 0.7, "high": 0.95} for name in ("weighted_accuracy", "accuracy", "auc")
        }
        facts = {"split": split, "blocks": False, "n": 656, "scores": {"all": scores}, "seconds": 90}
        (tmp_path / f"{split}").mkdir()
        (tmp_path / f"{split}" / "result.json").write_text(json.dumps(facts))
    lines = published.table([tmp_path]).splitlines()
    assert lines[2] == "| at random | 0 | 656 | 80.0 (70.0-95.0) | 80.0 (70.0-95.0) | 80.0 (70.0-95.0) | 1.5 |"
    assert lines[4] == "| at random: all | mean of 2 | | 85.00 ± 7.07 | 85.00 ± 7.07 | 85.00 ± 7.07 | |"


def test_no_result_is_an_error(tmp_path, capsys):
    assert published.main(["--table", str(tmp_path)]) == 1
    assert "no result.json below" in capsys.readouterr().err
