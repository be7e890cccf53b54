"""The clinic: every run really has its illness, and the page hides the diagnoses."""

import html

import pytest
import torch

from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons import clinic
from helpers.lessons.clinic import CASES, Clinic
from helpers.lessons.heads import FeatureSet
from helpers.lessons.pairing import mixed
from helpers.runtime.seeds import generator
from tests.conftest import draw_pictures
from tests.review.made import alts


@pytest.fixture(scope="module")
def patients():
    """Eight runs on drawn features of two overlapping clouds: 1,000 to train on, 400 held out."""
    rng = generator("clinic test")
    targets = (torch.rand(1400, generator=rng) < 0.32).long()
    inputs = torch.randn(1400, 300, generator=rng)
    inputs[:, :60] += 0.4 * targets[:, None]
    targets = targets ^ (torch.rand(1400, generator=rng) < 0.12)  # some labels are wrong, as in life
    features = FeatureSet(inputs[:1000], targets[:1000], inputs[1000:], targets[1000:], ("whole", "broken"))
    return {case.illness: case.train(features, 255 * features.valid) for case in CASES}


def test_each_run_has_its_own_illness(patients):
    """Catches a cure that has crept into a case, so that two panels look the same."""
    healthy = patients["healthy"]
    assert healthy.valid_losses[-1] < 0.9 * healthy.valid_losses[0]
    assert patients["rate too low"].train_losses[-1] > 0.95 * patients["rate too low"].train_losses[0]
    assert patients["rate too high"].valid_losses[-1] > 2 * healthy.valid_losses[-1]
    assert len(patients["too few epochs"].valid_losses) < len(healthy.valid_losses)
    over = patients["over-fitting"]
    assert over.train_accuracy > 0.97 and over.valid_losses[-1] > 4 * over.train_losses[-1]
    shuffled = patients["labels shuffled"]
    assert shuffled.train_accuracy > 0.8 and shuffled.valid_accuracy < 0.65
    wrong = patients["wrong normalisation"]
    assert wrong.train_losses == healthy.train_losses and wrong.valid_losses[-1] > 3 * healthy.valid_losses[-1]
    leak = patients["training photographs in valid"]
    assert leak.valid_accuracy > healthy.valid_accuracy + 0.05
    assert leak.valid_losses[-1] < 0.8 * healthy.valid_losses[-1]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A clinic of short runs; a test that chooses answers leaves the runs and their order as they were."""
    home = tmp_path_factory.mktemp("clinic")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(home / "data"))
        patch.setattr(clinic, "EPOCHS", 2)
        data = ImageData.from_folders(draw_pictures(home / "pictures"), size=32, batch_size=8)
        return Clinic(data, learn=Learner.pretrained(data, "test_resnet", pretrained=False))


def test_the_wrong_pixels_are_255_times_the_right_ones(learn):
    found = clinic._features_of_wrong_pixels(learn)
    images = 255 * learn.data.eval_images(learn.data.indices_of("valid"))
    with torch.no_grad():
        assert torch.allclose(found, learn.model.features(images), rtol=1e-3, atol=1e-3)
    assert not learn.model.training


def test_panels_and_choices_are_in_different_mixed_orders(opened):
    illnesses = [case.illness for case in CASES]
    assert sorted(opened.letters.values()) == sorted(illnesses)
    assert list(opened.letters.values()) == mixed(illnesses, "clinic") != illnesses
    offered = [words for words, _ in opened.question.choices[0].options][1:]
    assert offered == illnesses
    for ax, (letter, illness) in zip(opened.figure.figure.axes, opened.letters.items(), strict=True):
        assert ax.get_title(loc="left").startswith(letter)
        assert list(ax.lines[0].get_ydata()) == list(opened.runs[illness].train_losses)
        assert list(ax.lines[1].get_ydata()) == list(opened.runs[illness].valid_losses)


def test_causes_unfold_when_all_are_right_and_fold_again(opened):
    for choice, illness in zip(opened.question.choices, opened.letters.values(), strict=True):
        choice.value = illness
    first = opened.question.choices[0]
    first.value = "healthy" if first.value != "healthy" else "rate too low"
    opened.question.check.click()
    assert "7 of 8 fit. Look again at: Curve A" in opened.question.said.value and opened.answers.value == ""
    first.value = opened.letters["A"]
    opened.question.check.click()
    assert all(case.cause in html.unescape(opened.answers.value) for case in CASES)
    first.value = None
    assert opened.answers.value == ""


def test_the_page_shows_the_curves_and_folds_the_diagnoses(opened):
    text, page = opened.face()
    before, folded = html.unescape(str(page)).split("<details>")
    assert len(alts(before)) == 1
    for case in CASES:
        assert case.illness in text and case.cause not in before
        assert case.cause in folded and case.cure in folded
