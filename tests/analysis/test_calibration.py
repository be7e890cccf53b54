"""Calibration against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from helpers.analysis.calibration import reliability
from helpers.analysis.intervals import wilson
from tests.made_predictions import honest_preds, preds_of


def test_bins_equal_those_of_scikit_learn():
    preds = honest_preds(500, 3)
    record = reliability(preds)
    accuracy, confidence = calibration_curve(preds.correct, preds.probs.double().numpy().max(1).clip(max=1), n_bins=10)
    filled = record.counts > 0
    np.testing.assert_allclose(record.accuracy[filled], accuracy)
    np.testing.assert_allclose(record.confidence[filled], confidence, rtol=1e-5)
    assert record.accuracy[~filled].isnan().all()
    assert record.counts.sum() == 500
    weights = (record.counts[filled] / 500).numpy()
    assert record.ece == pytest.approx((weights * np.abs(accuracy - confidence)).sum(), rel=1e-4)
    b = int(record.counts.argmax())
    interval = wilson(round(float(record.accuracy[b] * record.counts[b])), int(record.counts[b]))
    assert (record.low[b], record.high[b]) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_an_honest_model_has_a_small_calibration_error_and_a_boaster_a_large_one():
    honest, boasting, shy = (reliability(honest_preds(4000, 3, sharpen=sharpen)) for sharpen in (1, 4, 0.3))
    assert honest.ece < 0.03 < 0.15 < boasting.ece
    assert "well calibrated on average" in honest.text
    assert "overconfident" in boasting.text
    assert "underconfident" in shy.text
    accuracy = honest_preds(4000, 3).correct.double().mean()
    assert f"correct in {100 * accuracy:.1f} % of 4000 pictures" in boasting.text


def test_a_probability_on_an_edge_belongs_to_the_lower_bin():
    preds = preds_of(torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log(), [0, 0])
    assert reliability(preds).counts.tolist() == [0] * 4 + [1] + [0] * 4 + [1]


def test_predictions_that_are_not_numbers_are_never_called_calibrated():
    preds = honest_preds(50, 2)
    with pytest.raises(ValueError, match="50 of 50 predictions are not numbers"):
        reliability(replace(preds, log_probs=preds.log_probs * float("nan")))


def test_errors_say_what_fits():
    preds = honest_preds(10, 3)
    unlabelled = replace(preds, targets=torch.full((10,), -1))
    with pytest.raises(ValueError, match="none of these 10 pictures has a label"):
        reliability(unlabelled)


def test_unlabelled_pictures_do_not_count():
    preds = honest_preds(40, 2)
    mixed = replace(preds, targets=torch.where(torch.arange(40) < 25, preds.targets, -1))
    only = preds.subset(range(25))
    assert reliability(mixed).ece == reliability(only).ece
