"""The valley: least squares, gradients by torch, and the rate from which a walk flies off."""

import pytest
import torch

from helpers.lessons import valley as valley_module
from helpers.lessons.valley import FEATURES, SETTINGS, START, Valley, ValleyLab, plot_walks
from helpers.runtime.seeds import generator
from tests.review.made import alts, check_page, unrendered


@pytest.fixture
def valley():
    """200 drawn photographs whose two features vary as much as those of the solar cells."""
    rng = generator("valley")
    inputs = torch.randn(200, 2, generator=rng, dtype=torch.float64) @ torch.tensor([[1.1, 0.05], [0.0, 0.28]]).double()
    answers = (inputs @ torch.tensor([-0.3, 0.8]).double() + torch.randn(200, generator=rng) > 0).double()
    return Valley(inputs - inputs.mean(0), answers - answers.mean())


def test_features_are_mean_and_spread_of_the_grey_values(data):
    """Catches labels turned round and features of the wrong photographs."""
    found = Valley.from_data(data, positive="dark")
    rows = data.indices_of("train")
    by_hand = torch.stack([data.eval_images([row]).mean() for row in rows])
    assert torch.allclose(found.inputs[:, 0], 10 * (by_hand - by_hand.mean()).double(), atol=1e-5)
    dark = torch.tensor([item.label == "dark" for item in data.items_of("train")])
    assert (found.answers > 0).tolist() == dark.tolist()
    assert found.lowest[0] < 0, "the darker, the more of class dark"


def test_loss_slope_and_lowest_point_agree_with_torch(valley):
    weights = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    loss = (valley.inputs @ weights - valley.answers).square().mean()
    (slope,) = torch.autograd.grad(loss, weights)
    assert float(valley.loss(weights.detach())) == pytest.approx(float(loss.detach()))
    assert torch.allclose(valley.slope(weights.detach()), slope)
    assert torch.allclose(valley.slope(valley.lowest), torch.zeros(2).double(), atol=1e-12)
    best = torch.linalg.lstsq(valley.inputs, valley.answers[:, None]).solution[:, 0]
    assert torch.allclose(valley.lowest, best)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_below_the_edge_a_walk_arrives_and_above_it_flies_off(valley, momentum):
    edge = valley.edge(momentum)
    assert valley.steps_needed(0.97 * edge, momentum) is not None
    assert valley.steps_needed(1.03 * edge, momentum) is None
    last = valley.loss(valley.walk(1.03 * edge, momentum, steps=400))[-1]
    assert last > valley.loss(torch.tensor(START).double())


def test_a_step_is_the_rate_times_the_slope_and_momentum_adds_the_last_one(valley):
    plain, heavy = valley.walk(0.1, steps=2), valley.walk(0.1, 0.5, steps=2)
    assert torch.allclose(plain[1], plain[0] - 0.1 * valley.slope(plain[0]))
    assert torch.allclose(heavy[2] - heavy[1], 0.5 * (heavy[1] - heavy[0]) - 0.1 * valley.slope(heavy[1]))


def test_steps_needed_counts_until_it_stays(valley):
    losses = valley.loss(valley.walk(0.3, steps=1000))
    needed = valley.steps_needed(0.3)
    ceiling = 1.01 * valley.loss_at_lowest
    assert losses[needed] <= ceiling < losses[needed - 1]
    assert valley.steps_needed(1e-6) is None


def test_the_figure_shows_the_path_of_each_setting(valley):
    drawing = plot_walks(valley, SETTINGS)
    panels = drawing.figure.axes
    assert len(panels) == 6
    for ax, (name, setting) in zip(panels, SETTINGS.items(), strict=True):
        assert ax.get_title(loc="left").startswith(name)
        path = next(line for line in ax.lines if len(line.get_xdata()) > 1)
        assert path.get_xydata() == pytest.approx(valley.walk(*setting).numpy())
    assert all(name in drawing.text for name in SETTINGS)


def test_buttons_and_sliders_move_the_walk(valley, monkeypatch):
    monkeypatch.setattr(valley_module, "drawn", unrendered)
    lab = ValleyLab(valley)
    for name, setting in SETTINGS.items():
        before = lab.shown.value
        lab.buttons[name].click()
        assert lab.value == pytest.approx(setting)
        assert lab.shown.value != before
        needed = valley.steps_needed(*setting)
        assert (f"needs {needed} steps" if needed else "does not come") in lab.said.value


def test_the_page_has_the_six_settings_wherever_the_sliders_are(valley):
    lab = ValleyLab(valley)
    before = lab.face()
    lab.set(0.5, 0.5)
    assert lab.face() == before and len(alts(before[1])) == 1
    assert all(name in before[0] for name in SETTINGS) and len(FEATURES) == 2
    check_page(before[1])
