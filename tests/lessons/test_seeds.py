"""Several seeds: what is printed, and an interval that knows the luck of photographs and of seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.lessons.scoreboard import gains, measures
from helpers.lessons.seeds import compare_seeds, many_seeds
from tests.lessons.test_scoreboard import drawn_preds, preds_of

N = 120
BROKEN = np.random.default_rng(7).random(N) < 0.31


def training(strength: float, *, luck: float = 0.3):
    """A training whose answers are better with `strength`; the seed changes each answer a little."""

    def train(seed: int):
        print("epoch 1")
        own = np.random.default_rng(11).normal(size=N)
        rng = np.random.default_rng(100 + seed)
        return preds_of(1 / (1 + np.exp(-(strength * BROKEN - 0.8 + own + luck * rng.normal(size=N)))), BROKEN)

    return train


def test_every_seed_is_trained_once_and_its_lines_are_not_shown(capsys):
    asked = []
    runs = many_seeds("plain", lambda seed: (asked.append(seed), training(1)(seed))[1], seeds=[3, 5])
    assert asked == [3, 5] == list(runs.seeds) and capsys.readouterr().out == ""
    for name in ("auc", "found", "cost"):
        assert runs.values(name) == pytest.approx([getattr(measures(preds), name).estimate for preds in runs.preds])
    first, second = runs.values("auc")
    assert f"  AUC       ≈ {first:.3f}  ≈ {second:.3f}  mean ≈ {(first + second) / 2:.3f}" in runs.text.splitlines()
    assert runs.text.startswith(f"plain: 2 seeds (3, 5), {N} photographs")


def test_a_gain_is_the_mean_of_the_pairs():
    plain, better = many_seeds("plain", training(1)), many_seeds("better", training(2))
    comparison = compare_seeds(plain, better)
    pairs = [gains(a, b).auc.estimate for a, b in zip(plain.preds, better.preds, strict=True)]
    assert comparison.gains.auc.estimate == pytest.approx(np.mean(pairs))
    assert comparison.by_seed["auc"] == pytest.approx(pairs)
    assert comparison.significant("auc") and all(pair > 0 for pair in pairs)
    assert "better minus plain: mean of 3 seeds, 120 photographs" in comparison.text
    assert "better with ≈ 3 of 3 seeds" in comparison.text.splitlines()[3]


def test_cost_is_better_when_it_is_lower():
    comparison = compare_seeds(many_seeds("a", training(1)), many_seeds("b", training(3)))
    lower = sum(difference < 0 for difference in comparison.by_seed["cost"])
    assert comparison.text.splitlines()[-1].endswith(f"better with ≈ {lower} of 3 seeds")


def test_the_interval_grows_with_the_luck_of_the_seeds():
    def width(luck):
        comparison = compare_seeds(many_seeds("a", training(1)), many_seeds("b", lucky(luck)))
        return comparison.gains.auc.high - comparison.gains.auc.low

    def lucky(luck):
        """How strong the training turns out is a matter of the seed."""
        return lambda seed: training(1.5 + luck * (seed - 1))(seed)

    assert width(1.0) > 1.5 * width(0.0)


def test_without_any_luck_of_seeds_it_is_the_interval_of_the_photographs():
    same = compare_seeds(many_seeds("a", lambda _: training(1)(0)), many_seeds("b", lambda _: training(2)(0)))
    alone = gains(training(1)(0), training(2)(0))
    for name in ("auc", "found", "skip", "cost"):
        ours, theirs = getattr(same.gains, name), getattr(alone, name)
        assert (ours.estimate, ours.low, ours.high) == pytest.approx((theirs.estimate, theirs.low, theirs.high))


def test_nothing_is_gained_on_itself():
    runs = many_seeds("plain", training(1))
    comparison = compare_seeds(runs, runs)
    assert comparison.gains.accuracy.low == comparison.gains.accuracy.high == 0
    assert not comparison.significant("accuracy") and "≈ 0 of 3 seeds" in comparison.text


def test_without_a_positive_class_every_measure_has_a_line():
    kinds = [replace(drawn_preds(60, seed=seed), classes=("mono", "poly")) for seed in (0, 0)]
    runs = many_seeds("kinds", lambda seed: kinds[seed], seeds=2, positive=None)
    assert [line.split()[0] for line in runs.text.splitlines()[1:]] == ["found", "may", "AUC", "accuracy", "cost"]


def test_errors_say_what_fits():
    with pytest.raises(ValueError, match="at least 2 seeds; got 1"):
        many_seeds("plain", training(1), seeds=1)
    with pytest.raises(TypeError, match="as learn.get_preds.. does; got Tensor"):
        many_seeds("plain", lambda seed: torch.zeros(3))
    with pytest.raises(ValueError, match="about the same pictures"):
        many_seeds("plain", lambda seed: drawn_preds(20 + seed))
    with pytest.raises(ValueError, match=r"same seeds and class: a has \(0, 1\) and defective, b \(2, 3\)"):
        compare_seeds(many_seeds("a", training(1), seeds=2), many_seeds("b", training(1), seeds=[2, 3]))
