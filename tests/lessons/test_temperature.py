"""The temperature against scipy and scikit-learn."""

from dataclasses import replace
from math import inf

import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from helpers.lessons import fit_temperature
from helpers.lessons.temperature import MAX_TEMPERATURE, MIN_TEMPERATURE
from tests.made_predictions import honest_preds, preds_of


@pytest.mark.parametrize("sharpen", [0.4, 1.0, 3.0])
def test_temperature_has_the_least_loss_and_undoes_the_sharpening(sharpen):
    preds = honest_preds(4000, 3, sharpen=sharpen)
    fitted = fit_temperature(preds)
    logits, targets = preds.log_probs.double(), preds.targets

    def loss(t):
        return float(torch.nn.functional.cross_entropy(logits / t, targets))

    best = minimize_scalar(loss, bounds=(MIN_TEMPERATURE, MAX_TEMPERATURE), method="bounded", options={"xatol": 1e-7})
    assert fitted.value == pytest.approx(best.x, rel=1e-4)
    assert fitted.value == pytest.approx(sharpen, rel=0.06)
    assert (fitted.loss_before, fitted.loss_after) == (
        pytest.approx(loss(1), rel=1e-6),
        pytest.approx(best.fun, rel=1e-6),
    )
    scaled = fitted.apply(preds)
    assert torch.equal(scaled.predicted, preds.predicted)
    assert scaled.items == preds.items
    torch.testing.assert_close(scaled.probs.sum(1), torch.ones(4000))
    assert log_loss(targets, scaled.log_probs.double().softmax(1)) == pytest.approx(fitted.loss_after, rel=1e-4)
    assert fitted.text.startswith(f"Temperature {fitted.value:.2f}: the loss goes from")


@pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1]])
def test_a_temperature_that_cannot_be_estimated_changes_nothing(targets):
    """All right: the sharper the better; all wrong: the softer the better. Neither says anything about others."""
    preds = preds_of([[2.0, 0.0]] * 3, targets)
    fitted = fit_temperature(preds)
    assert (fitted.value, fitted.estimated) == (1.0, False) and fitted.loss_after == fitted.loss_before
    assert "cannot be estimated" in fitted.text and "stay as they are" in fitted.text
    torch.testing.assert_close(fitted.apply(preds).log_probs, preds.log_probs)


def test_a_picture_of_probability_one_changes_no_temperature():
    """Its loss is 0 at every temperature; its other logit is minus infinity, which must not turn into nan."""
    preds = honest_preds(50, 2)
    log_probs = preds.log_probs.index_copy(0, torch.tensor([0]), torch.tensor([[0.0, -inf]]))
    sure = replace(preds, log_probs=log_probs, targets=preds.targets.index_fill(0, torch.tensor([0]), 0))
    fitted = fit_temperature(sure)
    assert fitted.value == pytest.approx(fit_temperature(preds.subset(range(1, 50))).value)
    assert not fitted.apply(sure).probs.isnan().any()


def test_pictures_without_a_label_and_answers_that_are_no_numbers_do_not_count():
    preds = honest_preds(40, 2)
    mixed = replace(preds, targets=torch.where(torch.arange(40) < 25, preds.targets, -1))
    assert fit_temperature(mixed) == fit_temperature(preds.subset(range(25)))
    with pytest.raises(ValueError, match="none of these 40 pictures has a label"):
        fit_temperature(replace(preds, targets=torch.full((40,), -1)))
    with pytest.raises(ValueError, match="40 of 40 predictions are not numbers"):
        fit_temperature(replace(preds, log_probs=preds.log_probs * float("nan")))
