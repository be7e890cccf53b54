"""Calibration, abstaining and thresholds, against scikit-learn, scipy and brute force."""

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from helpers.analysis.calibration import COLDEST, HOTTEST, coverage_curve, decision_cost, fit_temperature, reliability
from helpers.analysis.intervals import wilson
from helpers.analysis.predictions import Predictions
from helpers.data.items import Item


def preds_of(logits, targets, classes=None) -> Predictions:
    logits, targets = torch.as_tensor(logits, dtype=torch.float32), torch.as_tensor(targets)
    classes = classes or tuple(f"class {c}" for c in range(logits.shape[1]))
    items = tuple(Item(f"{i:05}.png", Path(f"{i:05}.png"), None) for i in range(len(logits)))
    return Predictions(items, logits.log_softmax(1), targets, classes, "valid")


def honest_preds(n: int, k: int, *, sharpen: float = 1.0, seed: int = 0) -> Predictions:
    """Truths drawn from the probabilities themselves, which are then sharpened by multiplying the logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 1.5
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = (probs.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=k - 1)
    return preds_of(logits * sharpen, targets)


@pytest.mark.parametrize("of_class", [None, "class 1"])
@pytest.mark.parametrize("bins", [1, 7, 10])
def test_bins_equal_those_of_scikit_learn(bins, of_class):
    preds = honest_preds(500, 3)
    probs = preds.probs.double().numpy()
    sure = probs.max(1) if of_class is None else probs[:, 1]
    right = preds.correct if of_class is None else preds.targets == 1
    record = reliability(preds, bins=bins, of_class=of_class)
    accuracy, confidence = calibration_curve(right, sure.clip(max=1), n_bins=bins)
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
    assert "neither too sure nor too shy" in honest.text
    assert "too sure of itself" in boasting.text
    assert "not sure enough of itself" in shy.text
    accuracy = honest_preds(4000, 3).correct.double().mean()
    assert f"right {100 * accuracy:.1f} % of 4000 times" in boasting.text


def test_a_probability_on_an_edge_belongs_to_the_lower_bin():
    preds = preds_of(torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log(), [0, 0])
    assert reliability(preds, bins=2).counts.tolist() == [1, 1]


@pytest.mark.parametrize("sharpen", [0.4, 1.0, 3.0])
def test_temperature_has_the_least_loss_and_undoes_the_sharpening(sharpen):
    preds = honest_preds(4000, 3, sharpen=sharpen)
    fitted = fit_temperature(preds)
    logits, targets = preds.log_probs.double(), preds.targets

    def loss(t):
        return float(torch.nn.functional.cross_entropy(logits / t, targets))

    best = minimize_scalar(loss, bounds=(COLDEST, HOTTEST), method="bounded", options={"xatol": 1e-7})
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


def test_temperature_that_the_pictures_cannot_tell():
    all_right = preds_of([[2.0, 0.0]] * 3, [0, 0, 0])
    all_wrong = preds_of([[2.0, 0.0]] * 3, [1, 1, 1])
    assert fit_temperature(all_right).value == COLDEST
    assert fit_temperature(all_wrong).value == HOTTEST
    assert "cannot tell" in fit_temperature(all_wrong).text


def test_a_picture_of_probability_one_changes_no_temperature():
    """Its loss is 0 at every temperature; its other logit is minus infinity, which must not turn into nan."""
    preds = honest_preds(50, 2)
    log_probs = preds.log_probs.index_copy(0, torch.tensor([0]), torch.tensor([[0.0, -inf]]))
    sure = replace(preds, log_probs=log_probs, targets=preds.targets.index_fill(0, torch.tensor([0]), 0))
    fitted = fit_temperature(sure)
    assert fitted.value == pytest.approx(fit_temperature(preds.subset(range(1, 50))).value)
    assert not fitted.apply(sure).probs.isnan().any()


def test_coverage_by_brute_force():
    preds = honest_preds(80, 3)
    log_probs = preds.log_probs.clone()
    log_probs[10:30] = log_probs[10]  # twenty equally sure answers stand or fall together
    preds = replace(preds, log_probs=log_probs)
    record = coverage_curve(preds)
    sure = log_probs.double().softmax(1).max(1).values
    right = preds.correct.double()
    assert record.thresholds.tolist() == sorted(set(sure.tolist()), reverse=True)
    for threshold, share, accuracy in zip(record.thresholds, record.coverage, record.accuracy, strict=True):
        answered = sure >= threshold
        assert float(share) == pytest.approx(float(answered.double().mean()))
        assert float(accuracy) == pytest.approx(float(right[answered].mean()))
    assert record.coverage[-1] == 1
    assert record.accuracy[-1] == pytest.approx(float(right.mean()))


def test_coverage_at_a_wanted_accuracy():
    confidences = torch.tensor([0.95, 0.9, 0.8, 0.7, 0.6])
    logits = torch.stack([confidences, 1 - confidences], 1).log()
    record = coverage_curve(preds_of(logits, [0, 0, 1, 0, 1]))
    np.testing.assert_allclose(record.accuracy, [1, 1, 2 / 3, 3 / 4, 3 / 5])
    assert record.at_accuracy(0.9) == 1
    assert record.at_accuracy(0.7) == 3, "the most answers, not the first dip"
    assert record.at_accuracy(1.01) is None
    interval = wilson(3, 4)
    assert record.sentence(3) == (
        "Answering only from 0.700 sure on covers 80.0 % of 5 pictures; 75.0 % of these answers are right "
        f"(95 % interval {100 * interval.low:.1f}-{100 * interval.high:.1f})."
    )
    assert record.text.startswith("Answering only from 0.800 sure on covers 60.0 %")
    assert record.text.endswith("Answering always: 60.0 %.")


@pytest.mark.parametrize(("cost_of_miss", "cost_of_false_alarm"), [(1, 1), (10, 1), (0.5, 3), (1, 0)])
def test_decision_cost_by_brute_force(cost_of_miss, cost_of_false_alarm):
    preds = honest_preds(60, 2)
    preds = replace(preds, log_probs=preds.log_probs.index_copy(0, torch.arange(5), preds.log_probs[:1].expand(5, 2)))
    record = decision_cost(
        preds, positive="class 1", cost_of_miss=cost_of_miss, cost_of_false_alarm=cost_of_false_alarm
    )
    p, positive = preds.log_probs.double().softmax(1)[:, 1], preds.targets == 1
    assert record.thresholds.tolist() == [inf, *sorted(set(p.tolist()), reverse=True)]
    for m, threshold in enumerate(record.thresholds):
        alarm = p >= threshold
        misses, false_alarms = int((positive & ~alarm).sum()), int((~positive & alarm).sum())
        assert (int(record.misses[m]), int(record.false_alarms[m])) == (misses, false_alarms)
        assert float(record.cost[m]) == pytest.approx((cost_of_miss * misses + cost_of_false_alarm * false_alarms) / 60)
    assert record.cost[record.best] == record.cost.min()
    usual = (cost_of_miss * (positive & (p <= 0.5)) + cost_of_false_alarm * (~positive & (p > 0.5))).double().mean()
    assert float(record.cost[record.half]) == pytest.approx(float(usual))
    assert record.expected == cost_of_false_alarm / (cost_of_miss + cost_of_false_alarm)


def test_equal_costs_at_one_half_are_the_error_rate():
    preds = honest_preds(300, 2)
    record = decision_cost(preds, positive="class 0", cost_of_miss=1, cost_of_false_alarm=1)
    assert float(record.cost[record.half]) == pytest.approx(1 - float(preds.correct.double().mean()))


def test_with_honest_probabilities_the_best_threshold_is_near_the_expected_one():
    preds = honest_preds(20000, 2)
    record = decision_cost(preds, positive="class 1", cost_of_miss=4, cost_of_false_alarm=1)
    assert record.expected == 0.2
    assert float(record.thresholds[record.best]) == pytest.approx(0.2, abs=0.05)
    assert record.cost[record.best] < 0.9 * record.cost[record.half]


def test_what_a_missed_crack_costs_in_words():
    p = torch.tensor([0.9, 0.6, 0.3, 0.2, 0.1])
    preds = preds_of(torch.stack([p, 1 - p], 1).log(), [0, 1, 0, 1, 1], ("crack", "fine"))
    record = decision_cost(preds, positive="crack", cost_of_miss=10, cost_of_false_alarm=1)
    assert record.text == (
        "If a miss costs 10 and a false alarm 1, answering crack from p = 0.300 on costs least: "
        "0.200 a picture (0 misses, 1 false alarms); "
        "deciding at one half costs 2.200 a picture (1 misses, 1 false alarms). "
        "Calibrated probabilities would put the threshold at 0.091."
    )
    never = decision_cost(preds.subset([1, 3, 4]), positive="crack", cost_of_miss=1, cost_of_false_alarm=1)
    assert "never answering crack costs least: 0.000" in never.text


def test_errors_say_what_fits():
    preds = honest_preds(10, 3)
    with pytest.raises(ValueError, match="between two classes; these predictions have 3"):
        decision_cost(preds, positive="class 1", cost_of_miss=1, cost_of_false_alarm=1)
    two = honest_preds(10, 2)
    with pytest.raises(ValueError, match="no class 'clas 1'; did you mean 'class 1'"):
        decision_cost(two, positive="clas 1", cost_of_miss=1, cost_of_false_alarm=1)
    with pytest.raises(ValueError, match="got -1 a miss"):
        decision_cost(two, positive="class 1", cost_of_miss=-1, cost_of_false_alarm=2)
    with pytest.raises(ValueError, match="no class 'x'; choose from class 0, class 1, class 2"):
        reliability(preds, of_class="x")
    with pytest.raises(ValueError, match="at least 1; got 0"):
        reliability(preds, bins=0)
    unlabelled = replace(preds, targets=torch.full((10,), -1))
    for ask in (reliability, fit_temperature, coverage_curve):
        with pytest.raises(ValueError, match="none of these 10 pictures has a label"):
            ask(unlabelled)


def test_unlabelled_pictures_do_not_count():
    preds = honest_preds(40, 2)
    mixed = replace(preds, targets=torch.where(torch.arange(40) < 25, preds.targets, -1))
    only = preds.subset(range(25))
    assert reliability(mixed).ece == reliability(only).ece
    assert fit_temperature(mixed) == fit_temperature(only)
    assert coverage_curve(mixed).n == 25
