"""Interpretation: every answer from one record, against scikit-learn and brute force."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss
from torch import nn

import helpers.learner
from data_setup.items import Item
from helpers.analysis.interpret import PICKS, Confusion, Interpretation, clustered_order
from helpers.analysis.predictions import Predictions
from helpers.data.dataset import ImageData
from helpers.models.classifier import Classifier, Normalize, make_head


def preds_of(probs, targets, *, names=None, classes=None) -> Predictions:
    probs, targets = torch.as_tensor(probs, dtype=torch.float32), torch.as_tensor(targets)
    classes = classes or tuple(f"class {c}" for c in range(probs.shape[1]))
    names = names or [f"{i:04}.png" for i in range(len(probs))]
    items = tuple(
        Item(n, Path(n), classes[t] if t >= 0 else None) for n, t in zip(names, targets.tolist(), strict=True)
    )
    return Predictions(items, probs.log(), targets, classes, "valid")


def random_preds(n: int, k: int, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    return preds_of(
        rng.dirichlet(np.ones(k), n), rng.integers(0, k, n), names=[f"{i:04}.png" for i in rng.permutation(n)]
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 99))
def test_confusion_matrix_equals_scikit_learn(n, k, seed):
    preds = random_preds(n, k, seed)
    matrix = Interpretation(preds).confusion_matrix()
    expected = confusion_matrix(preds.targets, preds.predicted, labels=range(k))
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.dtype == torch.int64


def test_confusion_matrix_of_1000_classes():
    preds = random_preds(3000, 1000)
    matrix = Interpretation(preds).confusion_matrix()
    assert matrix.shape == (1000, 1000)
    assert matrix.sum() == 3000
    assert matrix.diag().sum() == preds.correct.sum()


def test_most_confused_counts_pairs_most_first():
    one_hot = torch.eye(3) * 0.97 + 0.01
    answers = [0, 1, 1, 1, 2, 0, 0, 2]
    truths = [0, 0, 0, 1, 1, 2, 2, 2]
    interp = Interpretation(preds_of(one_hot[answers], truths))
    assert interp.most_confused() == [
        Confusion("class 0", "class 1", 2),
        Confusion("class 2", "class 0", 2),
        Confusion("class 1", "class 2", 1),
    ]
    assert [count for _, _, count in interp.most_confused(min_val=2)] == [2, 2]
    assert interp.most_confused(min_val=3) == []
    assert len(interp.most_confused(min_val=0)) == 3, "pairs never confused are not confused"


def test_top_losses_are_the_largest_negative_log_probabilities():
    preds = random_preds(50, 4)
    interp = Interpretation(preds)
    rows = interp.top_losses(50)
    probs = preds.probs.double().numpy()
    expected = -np.log(probs[np.arange(50), preds.targets])
    np.testing.assert_allclose([row.loss for row in rows], np.sort(expected)[::-1], rtol=1e-5)
    assert np.mean([row.loss for row in rows]) == pytest.approx(
        log_loss(preds.targets, probs / probs.sum(1, keepdims=True)), rel=1e-5
    )
    for row in rows[:5]:
        assert row.name == preds.items[row.row].name
        assert row.truth == preds.classes[preds.targets[row.row]]
        assert row.p_truth == pytest.approx(np.exp(-row.loss))
        assert row.p_predicted == pytest.approx(probs[row.row].max())
        assert row.predicted == preds.classes[probs[row.row].argmax()]
    assert [row.name for row in interp.top_losses(3)] == [row.name for row in rows[:3]]


def test_equal_values_stand_by_name():
    preds = preds_of([[0.5, 0.5]] * 4, [1, 1, 1, 1], names=["d", "b", "c", "a"])
    interp = Interpretation(preds)
    assert [row.name for row in interp.top_losses(4)] == ["a", "b", "c", "d"]
    for which in ("most_incorrect", "most_uncertain"):
        assert [item.name for item in interp.pick(which).preds.items] == ["a", "b", "c", "d"]
    sure = Interpretation(replace(preds, targets=torch.zeros(4, dtype=torch.int64)))
    assert [item.name for item in sure.pick("most_correct").preds.items] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("of_class", [None, "class 1"])
@pytest.mark.parametrize("which", PICKS)
def test_picks_do_not_depend_on_the_order_of_the_rows(which, of_class):
    preds = random_preds(60, 3)
    shuffled = preds.subset(torch.randperm(60, generator=torch.Generator().manual_seed(5)).tolist())
    for seed in (0, 1):
        picks = [Interpretation(p).pick(which, 5, of_class=of_class, seed=seed) for p in (preds, shuffled)]
        assert [i.name for i in picks[0].preds.items] == [i.name for i in picks[1].preds.items]
        assert [preds.items[i] for i in picks[0].indices] == list(picks[0].preds.items)


@pytest.mark.parametrize("of_class", [None, 1])
@pytest.mark.parametrize(("which", "right", "sign"), [("most_correct", True, -1), ("most_incorrect", False, 1)])
def test_most_correct_and_incorrect_rank_by_the_probability_of_the_truth(which, right, sign, of_class):
    """The rule of fastai 0.7's most_by_correct(y, is_correct)."""
    preds = random_preds(80, 3)
    probs, truth = preds.probs.numpy(), preds.targets.numpy()
    mask = (probs.argmax(1) == truth) == right
    if of_class is not None:
        mask &= truth == of_class
    rows = np.flatnonzero(mask)
    expected = rows[np.argsort(sign * probs[rows, truth[rows]])][:6]
    picks = Interpretation(preds).pick(which, 6, of_class=None if of_class is None else preds.classes[of_class])
    assert picks.indices == tuple(expected)
    assert f"of {len(rows)}" in picks.caption


@pytest.mark.parametrize(("which", "right"), [("random_correct", True), ("random_incorrect", False)])
def test_random_picks_are_of_the_right_kind_and_move_with_the_seed(which, right):
    interp = Interpretation(random_preds(80, 2))
    draws = {interp.pick(which, 4, seed=seed).indices for seed in range(8)}
    assert len(draws) == 8
    for seed in range(8):
        picks = interp.pick(which, 4, of_class="class 1", seed=seed)
        assert len(set(picks.indices)) == 4
        assert (picks.preds.correct == right).all()
        assert (picks.preds.targets == 1).all()
    everything = interp.pick(which, 1000)
    assert len(everything.indices) == int((interp.preds.correct == right).sum())


def test_random_picks_are_fair():
    interp = Interpretation(preds_of([[0.9, 0.1]] * 5, [0] * 5))
    counts = np.bincount([interp.pick("random_correct", 1, seed=seed).indices[0] for seed in range(500)])
    assert counts.min() > 60, counts  # 100 each on average, standard deviation 9


def test_most_uncertain_is_the_smallest_lead():
    preds = random_preds(40, 3)
    top = np.sort(preds.probs.double().numpy(), axis=1)
    assert Interpretation(preds).pick("most_uncertain", 40).indices == tuple(np.argsort(top[:, -1] - top[:, -2]))


def test_captions_say_what_was_picked():
    interp = Interpretation(preds_of([[0.9, 0.1], [0.6, 0.4]], [0, 1]))
    assert interp.pick("random_correct").caption == "Correct, drawn at random: 1 of 1."
    assert interp.pick("most_incorrect", of_class="class 1").caption == (
        "Wrong, worst first, class class 1: 1 of 1, by the lowest probability of the true class."
    )


def test_picks_print_as_a_list():
    preds = preds_of([[0.9, 0.1], [0.6, 0.4]], [-1, 1])
    assert repr(Interpretation(preds).pick("most_uncertain")) == (
        "Most uncertain first: 2 of 2, by the lead of the likeliest class over the second.\n"
        "0001.png: labelled class 1, predicted class 0 (p = 0.600)\n"
        "0000.png: no label, predicted class 0 (p = 0.900)"
    )


def test_unknown_words_are_answered_with_the_meant_one():
    interp = Interpretation(random_preds(5, 2))
    with pytest.raises(ValueError, match=r"pick\(\) does not know 'most_corect'; did you mean 'most_correct'"):
        interp.pick("most_corect")
    with pytest.raises(ValueError, match="'clas 1' is not a class; did you mean 'class 1'"):
        interp.pick("most_correct", of_class="clas 1")
    with pytest.raises(TypeError, match="no keyword 'of_clas'; did you mean 'of_class'"):
        interp.pick("most_correct", of_clas="class 1")
    with pytest.raises(ValueError, match="at least 1; got 0"):
        interp.pick("most_correct", 0)


class CountingLearner:
    """Counts its predictions; a learner as far as Interpretation is concerned."""

    def __init__(self, preds):
        self.preds, self.calls = preds, []

    def get_preds(self, part="valid"):
        self.calls.append(("get_preds", part))
        return self.preds

    def tta(self, n=4, beta=0.25, use_max=False, part="valid"):
        self.calls.append(("tta", n, part))
        return self.preds


def ask_everything(interp):
    interp.confusion_matrix(), interp.most_confused(), interp.top_losses(4), str(interp.report())
    for which in PICKS:
        interp.pick(which)
        interp.pick(which, of_class=interp.preds.classes[0])


def test_one_prediction_answers_everything():
    learn = CountingLearner(random_preds(30, 3))
    ask_everything(Interpretation.from_learner(learn))
    assert learn.calls == [("get_preds", "valid")]
    learn.calls.clear()
    ask_everything(Interpretation.from_learner(learn, "train", tta=4))
    assert learn.calls == [("tta", 4, "train")]


def test_a_real_model_sees_every_picture_once(tmp_path, monkeypatch):
    for i, name in enumerate(
        ("train/a/0", "train/b/1", "valid/a/2", "valid/a/3", "valid/b/4", "valid/b/5", "valid/b/6")
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32), 30 * i).save(tmp_path / f"{name}.png")
    model = Classifier(
        Normalize([0.5] * 3, [0.5] * 3), nn.Sequential(nn.Conv2d(3, 4, 8, 8)), make_head(8, 2), maps=True
    )
    monkeypatch.setattr(helpers.learner, "build_classifier", lambda *args, **options: model)
    learn = helpers.learner.Learner.pretrained(ImageData.from_folders(tmp_path, size=32, batch_size=2))
    seen = []
    model.head.register_forward_hook(lambda head, inputs, output: seen.append(len(output)))
    interp = Interpretation.from_learner(learn)
    ask_everything(interp)
    assert sum(seen) == len(interp.preds.items) == 5
    assert interp.preds.part == "valid"
    views = Interpretation.from_learner(learn, "train", tta=2)
    assert [item.name for item in views.preds.items] == ["train/a/0.png", "train/b/1.png"]


def test_questions_do_not_change_the_record():
    preds = random_preds(30, 3)
    before = preds.log_probs.clone(), preds.targets.clone()
    ask_everything(Interpretation(preds))
    assert torch.equal(preds.log_probs, before[0])
    assert torch.equal(preds.targets, before[1])


def test_unlabelled_pictures_do_not_count():
    labelled = random_preds(30, 3)
    mixed = replace(labelled, targets=torch.where(torch.arange(30) < 20, labelled.targets, -1))
    only = labelled.subset(range(20))
    for ask in (
        lambda i: i.confusion_matrix().tolist(),
        lambda i: str(i.report()),
        lambda i: i.top_losses(30),
        lambda i: i.pick("random_incorrect", 30).indices,
    ):
        assert ask(Interpretation(mixed)) == ask(Interpretation(only))


def test_without_any_label_only_uncertainty_can_be_asked():
    preds = random_preds(10, 3)
    interp = Interpretation(replace(preds, targets=torch.full((10,), -1)))
    assert interp.pick("most_uncertain", 3).indices == Interpretation(preds).pick("most_uncertain", 3).indices
    for ask in (
        interp.confusion_matrix,
        interp.top_losses,
        interp.report,
        lambda: interp.pick("random_incorrect"),
    ):
        with pytest.raises(ValueError, match="none of these 10 pictures has a label"):
            ask()


def test_a_diverged_model_is_called_that():
    preds = random_preds(4, 2)
    with pytest.raises(ValueError, match="1 of 4 predictions are not numbers"):
        Interpretation(replace(preds, log_probs=preds.log_probs.index_fill(0, torch.tensor([2]), float("nan"))))


def test_clustered_order_puts_confused_classes_side_by_side():
    matrix = torch.eye(6, dtype=torch.int64) * 50
    for i, j in ((0, 3), (1, 5), (2, 4)):
        matrix[i, j] = matrix[j, i] = 20
    order = clustered_order(matrix)
    assert sorted(order) == list(range(6))
    for i, j in ((0, 3), (1, 5), (2, 4)):
        assert abs(order.index(i) - order.index(j)) == 1
    assert clustered_order(matrix[:2, :2]) == [0, 1]
