"""How far layers move and how flat the loss is: closed forms, and that the model is left as it was."""

import pytest
import torch

from helpers.lessons.flatness import Flatness, layer_moves, measure_flatness, plot_flatness, pushed, put_back, snapshot
from helpers.runtime.seeds import generator


def test_moves_are_lengths_per_stage():
    before = {"body.0.conv": torch.tensor([3.0, 4.0]), "body.1.a": torch.tensor([1.0]), "body.1.b": torch.zeros(1),
              "head.0": torch.tensor([2.0])}  # fmt: skip
    after = {"body.0.conv": torch.tensor([3.0, 4.5]), "body.1.a": torch.tensor([1.0]), "body.1.b": torch.ones(1),
             "head.0": torch.tensor([2.0])}  # fmt: skip
    assert layer_moves(before, after) == pytest.approx({"body.0": 0.1, "body.1": 1.0, "head": 0.0})


def test_a_frozen_body_does_not_move_and_the_head_does(learn):
    start = snapshot(learn)
    learn.fit(1e-2, 1)
    moves = layer_moves(start, snapshot(learn))
    assert moves.pop("head") > 0
    assert moves and not any(moves.values())
    put_back(learn, start)
    assert all(torch.equal(start[name], tensor) for name, tensor in learn.model.state_dict().items())


def test_statistics_are_no_move():
    """Catches a frozen layer that seems to move because BatchNorm has counted another batch."""
    before = {"body.0.weight": torch.ones(2), "body.0.running_mean": torch.zeros(2), "normalize.mean": torch.ones(1)}
    after = before | {"body.0.running_mean": torch.ones(2)}
    assert layer_moves(before, after) == {"body.0": 0.0}


def test_snapshots_of_two_models_are_refused():
    with pytest.raises(ValueError, match=r"different models: body\.1\.w is in one of them only"):
        layer_moves({"body.0.w": torch.ones(1)}, {"body.0.w": torch.ones(1), "body.1.w": torch.ones(1)})


def test_a_push_has_the_length_it_says_and_is_taken_back_also_after_an_error(learn):
    weights = [weight for weight in learn.model.head.parameters() if weight.ndim > 1]
    before = [weight.detach().clone() for weight in weights]
    with pytest.raises(KeyError), pushed(weights, 0.1, generator("test")):
        for weight, old in zip(weights, before, strict=True):
            assert float((weight.detach() - old).norm() / old.norm()) == pytest.approx(0.1, rel=1e-4)
        raise KeyError
    assert all(torch.equal(weight, old) for weight, old in zip(weights, before, strict=True))


def test_the_loss_rises_with_the_push_and_the_model_is_as_before(learn):
    learn.fit(1e-2, 5)
    weights, preds = snapshot(learn), learn.predict()
    record = measure_flatness(learn, (0.05, 2.0), draws=3)
    assert record.scales == (0.0, 0.05, 2.0) and record.rise(2.0) > record.rise(0.05)
    assert record == measure_flatness(learn, (0.05, 2.0), draws=3), "the same draws each time"
    assert all(torch.equal(weights[name], weight) for name, weight in snapshot(learn).items())
    assert torch.equal(preds, learn.predict())


def test_the_figure_has_a_line_for_each_training():
    drawing = plot_flatness(
        {"constant": Flatness((0.0, 0.1), (0.4, 0.9)), "restarts": Flatness((0.0, 0.1), (0.4, 0.6))}
    )
    lines = {line.get_label(): list(line.get_ydata()) for line in drawing.figure.axes[0].lines[:2]}
    assert lines == {"constant": [0.4, 0.9], "restarts": [0.4, 0.6]}
    assert "restarts from 0.4 to 0.6" in drawing.detail
