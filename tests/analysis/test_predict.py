"""Predictions: in item order, repeatable, from one decoding; test-time augmentation by its formula."""

import math
from dataclasses import replace

import pytest
import sklearn.metrics
import torch
from PIL import Image
from torch import nn

from data_setup.base import pictures as picture_files
from data_setup.items import Item
from data_setup.splits import Split
from helpers.analysis import predictions as prediction
from helpers.analysis.intervals import accuracy_interval, mcnemar
from helpers.analysis.predictions import Arithmetic, Predictions, predict_views
from helpers.data import augment, dataset
from helpers.data.augment import no_augment, side_on
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons.together import mean_of

CPU = torch.device("cpu")
HOW = Arithmetic(CPU, torch.float32, batch_size=4)
VIEWS = {"n": 4, "beta": 0.25, "use_max": False}


@pytest.fixture
def decoded(monkeypatch):
    """The files that have been decoded, one entry each time."""
    files, read = [], picture_files.read_presized

    def reading(path, *how):
        files.append(path)
        return read(path, *how)

    monkeypatch.setattr(picture_files, "read_presized", reading)
    monkeypatch.setattr(dataset, "read_presized", reading)
    return files


@pytest.fixture
def trained(data):
    """A learner that has learnt something, with body statistics of its own."""
    learn = Learner.pretrained(data.with_augment(side_on()), "test_resnet", pretrained=False).to_fp32()
    learn.unfreeze()
    learn.fit(3e-3, 1)
    return learn


# The record ----------------------------------------------------------------------------------------------------


@pytest.fixture
def preds():
    """Five pictures, three classes, the last one without a label."""
    log_probs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).log_softmax(dim=1)
    items = tuple(Item(f"{n}.png", None, None) for n in range(5))
    return Predictions(items, log_probs, torch.tensor([0, 1, 2, 0, -1]), ("a", "b", "c"), "valid")


def test_several_models_together_are_the_mean_of_their_probabilities(preds):
    """Catches a mean of log probabilities, a sum, and a record of which only the first counts."""
    certain = replace(preds, log_probs=torch.tensor([[1.0, 0, 0]] * 5).log())
    together = mean_of([preds, certain, certain])
    assert together.probs.sum(dim=1).tolist() == pytest.approx([1.0] * 5)
    assert together.probs[:, 1].tolist() == pytest.approx((preds.probs[:, 1] / 3).tolist())
    assert together.log_probs.isfinite().all()
    assert (together.items, together.part) == (preds.items, preds.part)
    assert mean_of([preds]).probs.tolist() == [pytest.approx(row) for row in preds.probs.tolist()]


def test_models_of_other_pictures_are_not_averaged(preds):
    """Catches rows of different pictures that are averaged because there are as many of them."""
    other = replace(preds, items=preds.items[::-1])
    with pytest.raises(ValueError, match="in another order"):
        mean_of([preds, preds, other])
    with pytest.raises(ValueError, match=r"at least one record: mean_of\(\["):
        mean_of([])


def test_the_record_computes_what_torch_and_sklearn_do(preds):
    """Catches unlabelled pictures that count as wrong, or as the last class (index -1)."""
    labelled = preds.targets >= 0
    assert torch.equal(preds.predicted, preds.probs.argmax(dim=1))
    torch.testing.assert_close(preds.probs.sum(dim=1), torch.ones(5))
    expected = nn.functional.nll_loss(preds.log_probs[labelled], preds.targets[labelled], reduction="none")
    torch.testing.assert_close(preds.losses[labelled], expected)
    assert preds.losses[4].isnan() and not preds.correct[4]
    expected = sklearn.metrics.accuracy_score(preds.targets[labelled], preds.predicted[labelled])
    assert preds.accuracy() == pytest.approx(expected)


def test_accuracy_of_no_labels_is_no_number(preds):
    """Catches an accuracy of 0 for pictures nobody has labelled."""
    assert math.isnan(preds.subset([4]).accuracy())


def test_the_accuracy_of_a_diverged_model_is_refused(preds):
    """Catches nan answers counted as the first class: an accuracy above 0 for a model that says nothing."""
    diverged = replace(preds, log_probs=preds.log_probs * math.nan)
    for ask in (diverged.accuracy, lambda: accuracy_interval(diverged), lambda: mcnemar(preds, diverged)):
        with pytest.raises(ValueError, match="5 of 5 predictions are not numbers: the training has diverged"):
            ask()


def test_a_subset_keeps_rows_together(preds):
    """Catches items, probabilities and targets taken in different orders."""
    some = preds.subset([3, 0])
    assert [item.name for item in some.items] == ["3.png", "0.png"]
    assert torch.equal(some.log_probs, preds.log_probs[[3, 0]]) and some.targets.tolist() == [0, 0]
    assert (some.classes, some.part) == (preds.classes, "valid")
    assert len(preds.subset([]).items) == 0


# Parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize("precompute", [True, False])
def test_rows_are_in_item_order(data, part, precompute):
    """Catches shuffled rows, augmented pictures, and targets of other pictures: each row is its picture's, alone."""
    learn = Learner.pretrained(data.with_augment(side_on()), "test_resnet", pretrained=False, precompute=precompute)
    learn.to_fp32()
    preds = learn.get_preds(part)
    assert preds.items == learn.data.items_of(part) and preds.part == part
    assert [item.name for item in preds.items] == sorted(item.name for item in preds.items)
    assert preds.targets.tolist() == [learn.data.classes.index(item.label) for item in preds.items]
    assert preds.log_probs.dtype == torch.float32 and preds.log_probs.device == CPU
    for item, row in zip(preds.items, preds.log_probs, strict=True):
        with torch.no_grad():
            alone = learn.model.eval()(learn.data.eval_images([learn.data.index_of(item.name)]))
        torch.testing.assert_close(row, alone.log_softmax(dim=1)[0], atol=1e-4, rtol=1e-4)


def test_predictions_of_the_training_part_repeat_exactly(trained):
    """Catches fastai's augmented ds_idx=0: two calls differ, and cleaning ranks pictures by chance."""
    assert torch.equal(trained.get_preds("train").log_probs, trained.get_preds("train").log_probs)
    assert torch.equal(trained.predict(), trained.get_preds("valid").log_probs)


def test_a_test_part_without_labels_is_predicted(data, pictures):
    """Catches a test set that needs labels, or lends its rows to another part."""
    names = [item.name for item in data.items]
    items = [Item(item.name, item.path, None if item.name in names[:3] else item.label) for item in data.items]
    rest = [name for name in names if name not in names[:3]]
    split = Split(tuple(rest[:15]), tuple(rest[15:]), tuple(names[:3]))
    data = ImageData.from_items(items, split, size=32, batch_size=4)
    preds = Learner.pretrained(data, "test_resnet", pretrained=False).get_preds("test")
    assert [item.name for item in preds.items] == names[:3]
    assert preds.targets.tolist() == [-1, -1, -1] and preds.part == "test"
    assert preds.losses.isnan().all() and math.isnan(preds.accuracy())
    assert preds.probs.sum(dim=1).tolist() == pytest.approx([1, 1, 1])


def test_a_part_without_pictures_and_an_unknown_part_are_refused(learn):
    """Catches torch's error about an empty list."""
    for ask in (learn.get_preds, lambda part: learn.tta(part=part)):
        with pytest.raises(ValueError, match="there are no test pictures to predict: ImageData: 18 train, 6 valid"):
            ask("test")
        with pytest.raises(ValueError, match="part is one of train, valid, test; got 'validation'"):
            ask("validation")


def test_predicting_does_not_change_the_model(trained):
    """Catches dropout or moving statistics while predicting, and a model left in another mode."""
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    trained.model.train()
    trained.get_preds("train")
    trained.tta(n=2)
    trained.predict_one(trained.data.items[0].path)
    assert trained.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.model.state_dict().items())


# Files ---------------------------------------------------------------------------------------------------------


def odd_pictures(folder):
    """Wide, tall, large, grey, transparent and JPEG: everything that passes through presizing differently."""
    folder.mkdir()
    rng = torch.Generator().manual_seed(0)
    shapes = {
        "wide.png": (90, 40),
        "tall.png": (40, 90),
        "large.jpg": (640, 480),
        "grey.png": (50, 50),
        "clear.png": (60, 60),
    }
    for name, (width, height) in shapes.items():
        coarse = (torch.rand(6, 6, 3, generator=rng) * 255).byte().numpy()
        image = Image.fromarray(coarse).resize((width, height))
        if name == "grey.png":
            image = image.convert("L")
        if name == "clear.png":
            image.putalpha(Image.linear_gradient("L").resize((width, height)))
        image.save(folder / name)
    return [Item(name, folder / name, "dark" if name < "h" else "light") for name in shapes]


SETTINGS = {
    "crop": {},
    "pad": {"method": "pad"},
    "squish": {"method": "squish"},
    "kept large": {"presize_px": 150},
    "kept small": {"presize_px": 32},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_predict_one_is_the_batch_prediction_of_that_file(tmp_path, course_data, setting):
    """Catches a single file that is cropped, decoded or normalised in another way than the data was."""
    items = odd_pictures(tmp_path / "odd")
    names = tuple(item.name for item in items)
    data = ImageData.from_items(items, Split(names[:4], names[4:]), size=32, batch_size=4, **SETTINGS[setting])
    learn = Learner.pretrained(data, "test_resnet", pretrained=False, precompute=False).to_fp32()
    for part in ("train", "valid"):
        preds = learn.get_preds(part)
        for item, probs in zip(preds.items, preds.probs, strict=True):
            one = learn.predict_one(item.path)
            assert list(one.probs.values()) == pytest.approx(probs.tolist(), abs=1e-5), item.name
            assert one.label == data.classes[int(probs.argmax())]
            assert one.probability == pytest.approx(float(probs.max()), abs=1e-5)
            assert tuple(one.probs) == data.classes


def test_items_of_ones_own_in_their_own_order(trained, tmp_path):
    """Catches sorting, a lost remainder of the last batch, and labels the model does not know."""
    items = [
        Item("x", item.path, label)
        for item, label in zip(odd_pictures(tmp_path / "odd"), ["light", None, "dark", "cat", "dark"], strict=True)
    ]
    items = [*items, *reversed(trained.data.items)]
    preds = trained.get_preds(iter(items))
    assert preds.items == tuple(items) and preds.part == "custom"
    assert preds.targets[:5].tolist() == [1, -1, 0, -1, 0]
    train = trained.get_preds("train")
    found = dict(zip(preds.items, preds.log_probs, strict=True))
    for item, row in zip(train.items, train.log_probs, strict=True):
        torch.testing.assert_close(found[item], row, atol=1e-4, rtol=1e-4)


def test_a_file_that_is_no_picture_is_named(learn, tmp_path):
    """Catches a foreign error without the path."""
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(ValueError, match=r"page\.png is not a readable picture .*web page"):
        learn.predict_one(tmp_path / "page.png")


# Test-time augmentation ----------------------------------------------------------------------------------------


class Bright(nn.Module):
    """Logits that depend on the picture in a way simple enough to follow by hand."""

    def forward(self, images):
        level = images.mean(dim=(1, 2, 3))
        return torch.stack([4 * level, 3 * images[:, 0, :8].mean(dim=(1, 2)), 2 * level**2], dim=1)


def views_by_hand(data, rows, n):
    """(plain, n views) of probabilities, each view augmented by its own draws."""
    plain = Bright()(data.eval_images(rows)).softmax(dim=1)
    views = []
    for number in range(n):
        draws = augment.draw(len(rows), data.augment, prediction.generator("tta", number))
        squares = data.store.squares(rows, draws.crop_position)
        views.append(Bright()(augment.apply_draws(squares, draws, data.size)).softmax(dim=1))
    return plain, views


@pytest.mark.parametrize(("n", "beta"), [(1, 0.25), (4, 0.25), (4, 0.4), (3, 0.0), (2, 1.0)])
def test_tta_is_fastais_mean(data, n, beta):
    """Catches beta on the wrong side, a plain view counted among the others, and means of log probabilities."""
    data = data.with_augment(side_on())
    rows = data.indices_of("valid")
    plain, views = views_by_hand(data, rows, n)
    expected = (1 - beta) * sum(views) / n + beta * plain
    found = predict_views(Bright(), data, rows, HOW, n=n, beta=beta, use_max=False)
    torch.testing.assert_close(found.exp(), expected, atol=1e-6, rtol=1e-5)


def test_tta_can_take_the_largest(data):
    """Catches a maximum that is not a distribution, or leaves out the plain view."""
    data = data.with_augment(side_on())
    rows = data.indices_of("valid")
    plain, views = views_by_hand(data, rows, 3)
    largest = torch.stack([plain, *views]).amax(dim=0)
    found = predict_views(Bright(), data, rows, HOW, **VIEWS | {"n": 3, "use_max": True})
    torch.testing.assert_close(found.exp(), largest / largest.sum(dim=1, keepdim=True), atol=1e-6, rtol=1e-5)


def test_tta_does_not_depend_on_the_batches(data):
    """Catches draws per batch: the verdict would change with the batch size."""
    data = data.with_augment(side_on())
    rows = data.indices_of("train")
    one, other = (predict_views(Bright(), data, rows, HOW._replace(batch_size=size), **VIEWS) for size in (18, 5))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert torch.equal(one, predict_views(Bright(), data, rows, HOW._replace(batch_size=18), **VIEWS))


def test_tta_without_augmentation_is_the_plain_prediction(data):
    """Catches views that are not views of the same picture."""
    square = ImageData.from_items(data.items, data.split, size=32, presize_px=32, method="squish", augment=no_augment())
    rows = square.indices_of("valid")
    with torch.no_grad():
        expected = Bright()(square.eval_images(rows)).log_softmax(dim=1)
    torch.testing.assert_close(predict_views(Bright(), square, rows, HOW, **VIEWS), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("asked", [{"n": 0}, {"beta": 1.5}, {"beta": -0.1}])
def test_tta_that_makes_no_sense_is_refused(learn, asked):
    """Catches weights that do not add up to one, and torch's error about an empty stack."""
    with pytest.raises(ValueError, match=r"tta needs n of at least 1 and beta in 0\.\.1"):
        learn.tta(**asked)


@pytest.mark.parametrize("part", ["valid", "train"])
def test_the_learners_tta_is_a_record_in_item_order(trained, part):
    """Catches rows in another order than get_preds has them, and probabilities that do not add up."""
    preds, tta = trained.get_preds(part), trained.tta(n=3, part=part)
    assert (tta.items, tta.part) == (preds.items, part) and torch.equal(tta.targets, preds.targets)
    torch.testing.assert_close(tta.log_probs.logsumexp(dim=1), torch.zeros(len(tta.items)), atol=1e-5, rtol=0)
    assert not torch.allclose(tta.probs, preds.probs, atol=1e-4)
    plain = trained.tta(n=1, beta=1.0, part=part)
    torch.testing.assert_close(plain.probs, preds.probs, atol=1e-5, rtol=1e-4)


def test_pictures_are_decoded_once_for_everything(pictures, course_data, decoded):
    """Catches views that decode again: TTA, prediction, training and a later session share one decoding."""
    data = ImageData.from_folders(pictures, size=32, batch_size=8, augment=side_on())
    learn = Learner.pretrained(data, "test_resnet", pretrained=False, precompute=False)
    learn.tta(n=4)
    learn.get_preds("train")
    learn.fit(1e-3, 1)
    learn.set_data(data.resized(24))
    learn.tta(n=2)
    assert len(decoded) == len(data.items)


def test_all_views_of_a_batch_come_from_the_same_pixels(data, monkeypatch):
    """Catches views that go through the whole store once per view instead of batch by batch."""
    data = data.with_augment(side_on())
    asked, kind = [], type(data.store)
    squares = kind.squares
    monkeypatch.setattr(
        kind, "squares", lambda self, rows, *where: asked.append(rows.tolist()) or squares(self, rows, *where)
    )
    predict_views(Bright(), data, data.indices_of("train"), HOW._replace(batch_size=6), **VIEWS | {"n": 3})
    batches = data.indices_of("train").split(6)
    assert asked == [batch.tolist() for batch in batches for _ in range(4)]


def test_probabilities_that_vanish_have_finite_logarithms(data):
    """Catches -inf in the log probabilities, and nan in everything computed from them."""

    class Sure(nn.Module):
        def forward(self, images):
            return torch.tensor([[1e4, 0.0, -1e4]]).expand(len(images), 3)

    found = predict_views(Sure(), data, data.indices_of("valid"), HOW, **VIEWS)
    assert found.isfinite().all() and found.exp()[0].tolist() == pytest.approx([1, 0, 0], abs=1e-9)
