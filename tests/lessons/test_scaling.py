"""Projected epochs: the closed forms of a ring, and a laboratory that shows what was computed."""

import itertools
import math

import numpy as np
import pytest

from data_setup.base.html import fill
from data_setup.base.text import number
from helpers.lessons import scaling_lab
from helpers.lessons.scaling import BACKWARD, Cluster, draw_scaling
from helpers.lessons.scaling_lab import ScalingLab
from tests.review.made import alts, check_page, controls_of, operate, seen

CLUSTER = Cluster(pictures_per_second=80, gradient_bytes=16_000_000, gbit_per_second=1, latency_us=100, batch=32)


def ring(n: int, *, size: float, bandwidth: float, latency: float) -> float:
    """Seconds of a ring all-reduce, played step by step: in each, every machine passes a n-th to its neighbour."""
    parts = [{piece: {machine} for piece in range(n)} for machine in range(n)]  # whose gradients each piece holds
    seconds = 0.0
    for shift, gathers in itertools.product((0, 1), range(n - 1)):  # add up, then hand round
        sent = [(machine, (machine - gathers + shift) % n) for machine in range(n)]
        arrived = [(to, piece, set(parts[machine][piece])) for machine, piece in sent for to in [(machine + 1) % n]]
        for to, piece, whose in arrived:
            parts[to][piece] |= whose
        seconds += size / n / bandwidth + latency
    assert all(whose == set(range(n)) for held in parts for whose in held.values()), "all have the whole sum"
    return seconds


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_the_exchange_is_that_of_a_ring_played_step_by_step(n):
    played = ring(n, size=16e6, bandwidth=1e9 / 8, latency=100e-6)
    assert CLUSTER.exchange(n) == pytest.approx(played)


def test_a_step_waits_for_what_the_backward_pass_does_not_hide():
    assert CLUSTER.step(1) == CLUSTER.computing() == 32 / 80
    assert CLUSTER.waiting(8) == 0 and CLUSTER.exchange(8) < BACKWARD * CLUSTER.computing()
    fast = Cluster(8000, 16_000_000, gbit_per_second=1, latency_us=100)
    assert fast.step(8) == pytest.approx(32 / 8000 / 3 + fast.exchange(8))
    assert fast.speedup(8) == pytest.approx(8 * (32 / 8000) / fast.step(8)) and fast.speedup(8) < 1


def test_an_epoch_has_a_step_for_what_does_not_fill_one():
    assert CLUSTER.epoch(1608, 8) == pytest.approx(7 * CLUSTER.step(8))
    assert CLUSTER.epoch(1608, 1) == pytest.approx(51 * 32 / 80)


@pytest.mark.parametrize("wrong", [{"pictures_per_second": 0}, {"gbit_per_second": -1}, {"batch": 0}])
def test_what_no_machine_has_is_refused(wrong):
    with pytest.raises(ValueError, match="above 0"):
        Cluster(**{"pictures_per_second": 80, "gradient_bytes": 1} | wrong)
    with pytest.raises(ValueError, match="not below 0"):
        Cluster(80, 1, latency_us=-1)


def test_the_figure_draws_what_was_computed():
    clusters = {f"{gbit} Gbit/s": Cluster(4000, 16_000_000, gbit_per_second=gbit) for gbit in (1, 10)}
    drawing = draw_scaling(clusters, 100_000, machines=(1, 2, 4), at=4)
    ax = drawing.figure.axes[0]
    lines = {line.get_label(): line for line in ax.get_lines()}
    for name, cluster in clusters.items():
        np.testing.assert_allclose(lines[name].get_ydata(), [cluster.epoch(100_000, n) / 60 for n in (1, 2, 4)])
    assert {text.get_text() for text in ax.texts} == {*clusters, "no waiting"}
    assert ax.get_xscale() == ax.get_yscale() == "log" and "1 Gbit/s and 10 Gbit/s" in drawing.text


def test_names_at_the_ends_do_not_touch():
    same = {f"network {i}": Cluster(80, 16_000_000, gbit_per_second=100 + i) for i in range(4)}
    ax = draw_scaling(same, 100_000).figure.axes[0]
    low, high = (math.log10(value) for value in ax.get_ylim())
    heights = sorted(math.log10(text.xy[1]) for text in ax.texts)
    assert min(b - a for a, b in itertools.pairwise(heights)) > 0.06 * (high - low)


# --- the laboratory ---------------------------------------------------------------------------------------------------


@pytest.fixture
def unrendered(monkeypatch):
    """The sentence of a figure in place of its pixels."""
    say = "<p>{text} {detail}</p>"
    monkeypatch.setattr(scaling_lab, "drawn", lambda drawing: fill(say, text=drawing.text, detail=drawing.detail))


def test_every_control_has_a_name_and_an_effect(unrendered):
    lab = ScalingLab(Cluster(4000, 16_000_000), 100_000)  # fast enough to feel each network
    controls = controls_of(lab)
    assert len(controls) == 5
    for control in controls:
        before, value = seen(lab), control.value
        operate_any(control)
        assert control.description.strip() and seen(lab) != before, control
        control.value = value


def operate_any(control):
    if hasattr(control, "options") and not hasattr(control, "min"):
        control.index = 1 if control.index != 1 else 0
    else:
        operate(control)


def test_the_sentence_is_the_arithmetic(unrendered):
    lab = ScalingLab(CLUSTER, 100_000)
    lab.network.index, lab.value = 0, 2
    seconds = lab.cluster.epoch(100_000, 2)
    assert lab.cluster == Cluster(80, 16_000_000, 1.0, 100.0, 32) and lab.value == 2
    assert f"2 machines: an epoch of 100,000 takes ≈ {seconds / 60:.0f} minutes" in repr(lab)
    assert "≈ 2 times as fast as one, waiting ≈ 0 % of the time" in repr(lab)
    lab.price.value = 3.0
    assert repr(lab).endswith(f"price ≈ {number(3 * 2 * seconds / 3600)}.")
    lab.faster.index = 3
    assert lab.cluster.pictures_per_second == 16_000 and "waiting ≈ 0 %" not in repr(lab)
    with pytest.raises(ValueError, match="1, 2, 4, 8, 16, 32, 64, 128 machines; got 3"):
        lab.value = 3


def test_the_face_reads_without_a_kernel():
    lab = ScalingLab(CLUSTER, 100_000)
    bundle, _ = lab._repr_mimebundle_()
    assert bundle["text/plain"] == repr(lab) and lab.words() in bundle["text/html"]
    assert len(alts(bundle["text/html"])) == 1 and len(bundle["text/html"]) < 150_000
    check_page(bundle["text/html"])
