"""When to answer and when to raise an alarm, against brute force."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

from helpers.analysis.intervals import wilson
from helpers.lessons.decisions import coverage_curve, decision_cost
from helpers.lessons.scoreboard import measures
from tests.made_predictions import honest_preds, preds_of


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
        "Answering only above confidence 0.70 covers 80.0 % of 5 pictures; 75.0 % of these answers are correct "
        f"(95 % confidence interval ≈ {100 * interval.low:.1f} to {100 * interval.high:.1f})."
    )
    assert record.text.startswith("Answering only above confidence 0.80 covers 60.0 %")
    assert record.text.endswith("Answering always: 60.0 %.")


@pytest.mark.parametrize(("cost_of_miss", "cost_of_look"), [(100, 2), (1, 0.9), (3, 0.5), (1, 0)])
def test_decision_cost_by_brute_force(cost_of_miss, cost_of_look):
    preds = honest_preds(60, 2)
    preds = replace(preds, log_probs=preds.log_probs.index_copy(0, torch.arange(5), preds.log_probs[:1].expand(5, 2)))
    record = decision_cost(preds, positive="class 1", cost_of_miss=cost_of_miss, cost_of_look=cost_of_look)
    p, positive = preds.log_probs.double().softmax(1)[:, 1], preds.targets == 1
    assert record.thresholds.tolist() == [inf, *sorted(set(p.tolist()), reverse=True)]
    for m, threshold in enumerate(record.thresholds):
        look = p >= threshold
        misses, looks = int((positive & ~look).sum()), int(look.sum())
        assert (int(record.misses[m]), int(record.looks[m])) == (misses, looks)
        assert int(record.false_alarms[m]) == int((~positive & look).sum())
        assert float(record.cost[m]) == pytest.approx(100 * (cost_of_miss * misses + cost_of_look * looks) / 60)
        assert record.at(float(threshold)) == m
    assert record.cost[record.best] == record.cost.min()
    usual = 100 * (cost_of_miss * (positive & (p <= 0.5)) + cost_of_look * (p > 0.5)).double().mean()
    assert float(record.cost[record.half]) == pytest.approx(float(usual))
    assert record.expected == cost_of_look / cost_of_miss


def test_at_the_courses_prices_it_is_the_cost_on_the_board():
    preds = replace(honest_preds(300, 2), classes=("functional", "defective"))
    record = decision_cost(preds, positive="defective")
    assert float(record.cost[record.at(record.expected)]) == pytest.approx(measures(preds).cost.estimate)


def test_with_honest_probabilities_the_best_threshold_is_near_the_expected_one():
    preds = honest_preds(20000, 2)
    record = decision_cost(preds, positive="class 1", cost_of_miss=5, cost_of_look=1)
    assert record.expected == 0.2
    assert float(record.thresholds[record.best]) == pytest.approx(0.2, abs=0.05)
    assert record.cost[record.best] < 0.9 * record.cost[record.half]


def test_what_a_missed_crack_costs_in_words():
    p = torch.tensor([0.9, 0.6, 0.3, 0.2, 0.1])
    preds = preds_of(torch.stack([p, 1 - p], 1).log(), [0, 1, 0, 1, 1], ("crack", "fine"))
    record = decision_cost(preds, positive="crack", cost_of_miss=10, cost_of_look=1)
    assert record.text == (
        "If a miss costs 10 and a second look 1, looking from ≈ 0.300 on costs least: "
        "≈ 60 for 100 photographs (≈ 0 of 2 missed, ≈ 3 of 5 looked at); "
        "from one half on it is ≈ 240 for 100 photographs (≈ 1 of 2 missed, ≈ 2 of 5 looked at). "
        "Calibrated probabilities would put the threshold at 0.100: "
        "≈ 100 for 100 photographs (≈ 0 of 2 missed, ≈ 5 of 5 looked at)."
    )
    never = decision_cost(preds.subset([1, 3, 4]), positive="crack", cost_of_miss=2, cost_of_look=1)
    assert "never looking costs least: ≈ 0 for 100" in never.text


def test_errors_say_what_fits():
    with pytest.raises(ValueError, match="between two classes; these predictions have 3"):
        decision_cost(honest_preds(10, 3), positive="class 1", cost_of_miss=2, cost_of_look=1)
    two = honest_preds(10, 2)
    with pytest.raises(ValueError, match="'clas 1' is not a class; did you mean 'class 1'"):
        decision_cost(two, positive="clas 1", cost_of_miss=2, cost_of_look=1)
    with pytest.raises(ValueError, match="less than a miss, or none ever pays; got 2 a look and 1 a miss"):
        decision_cost(two, positive="class 1", cost_of_miss=1, cost_of_look=2)
    with pytest.raises(ValueError, match="none of these 10 pictures has a label"):
        coverage_curve(replace(two, targets=torch.full((10,), -1)))
