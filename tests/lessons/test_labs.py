"""The laboratories without a kernel: every control is moved, and what it shows is read back."""

import math

import pytest
import torch
from matplotlib.figure import Figure

from helpers.analysis.lr_curve import read_curve
from helpers.data.augment import Augment, apply_draws, draw, top_down
from helpers.lessons import labs
from helpers.lessons.labs import AugmentBrowser, RatePicker, ScheduleLab, _in_two_steps
from helpers.runtime.seeds import generator
from tests.review.made import alts, check_page, controls_of, held_by, operate, seen, unrendered


@pytest.fixture
def curve():
    rates = [1e-7 * 1e8 ** (i / 99) for i in range(100)]
    losses = [0.7 - 0.4 / (1 + math.exp(-2 * (math.log10(r) + 3))) + max(0, math.log10(r) + 0.5) ** 2 for r in rates]
    return read_curve(rates, losses)


@pytest.fixture
def no_pixels(monkeypatch):
    """What figures hold, in place of their pixels, which take long to draw."""
    monkeypatch.setattr(labs, "drawn", unrendered)
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **how: file.write(held_by(figure).encode()))


def test_laboratories_have_a_static_face_too(data, curve):
    for lab in (AugmentBrowser(data), RatePicker(curve), ScheduleLab()):
        bundle, _ = lab._repr_mimebundle_()
        assert bundle["text/plain"] == repr(lab)
        assert len(alts(bundle["text/html"])) == 1 and len(bundle["text/html"]) < 150_000
        check_page(bundle["text/html"])


def test_every_control_has_a_name_and_an_effect(data, curve, no_pixels):
    """Operates every control. Catches one that nobody listens to."""
    for lab in (AugmentBrowser(data, n=4), RatePicker(curve), ScheduleLab()):
        for control in controls_of(lab):
            if isinstance(lab, RatePicker):
                lab.slider.value = 1e-3  # no suggestion
            before, value = seen(lab), getattr(control, "value", None)
            operate(control)
            assert control.description.strip() and seen(lab) != before, control
            if value is not None:
                control.value = value


def test_the_sliders_of_the_augmentation_are_its_value(data, no_pixels):
    browser = AugmentBrowser(data, augment=top_down(max_zoom=1.5), n=3)
    assert browser.value == top_down(max_zoom=1.5)
    for field, slider in browser.sliders.items():
        slider.value = slider.max if field != "min_scale" else slider.min
    browser.checks["flip"].value = True
    browser.checks["dihedral"].value = False
    assert browser.value == Augment(True, False, 180, 2.0, 0.1, 0.5, 0.9, 1.0, 1.0)
    before = browser.shown.value
    browser.again.click()
    assert browser.shown.value != before
    browser.place.value = 2
    assert data.items_of("train")[1].name in repr(browser)
    for how, words in (
        ("two", "2 interpolations"),
        ("both", "above with 1 interpolation, below with 2"),
        ("one", "1 interpolation"),
    ):
        browser.interpolations.value = how
        assert words in repr(browser) and words in browser.shown.value


def test_two_interpolations_show_the_same_place_less_sharply():
    rng = generator("two steps")
    smooth = torch.linspace(40, 200, 80).view(1, 1, 1, 80).expand(4, 3, 80, 80)
    draws = draw(4, top_down(max_rotate_deg=5, max_zoom=1.2, min_scale=0.8, max_lighting=0.0, p_affine=1.0), rng)
    once, twice = (f(smooth.to(torch.uint8), draws, 64) for f in (apply_draws, _in_two_steps))
    inner = slice(16, 48)
    torch.testing.assert_close(once[..., inner, inner], twice[..., inner, inner], atol=0.02, rtol=0)
    noise = torch.randint(0, 256, (4, 3, 80, 80), generator=rng, dtype=torch.uint8)
    sharp, blurred = (f(noise, draws, 64).diff(dim=-1).abs().mean() for f in (apply_draws, _in_two_steps))
    assert blurred < 0.9 * sharp


def test_a_rate_is_chosen_by_slider_suggestion_click_or_code(curve, no_pixels):
    picker = RatePicker(curve)
    assert picker.value == float(f"{curve.valley:.3g}")
    for name, control in picker.buttons.items():
        control.click()
        assert picker.value == float(f"{getattr(curve, name):.3g}")
    picker.slider.value = 0.0123456
    assert picker.value == 0.0123
    picker.value = 3e-4
    assert picker.value == 3e-4
    left, right, low, high = picker._axis
    share = (math.log10(0.02) - low) / (high - low)
    picker.keyboard._handle_custom_msg({"at": left + share * (right - left)}, [])
    assert picker.value == pytest.approx(0.02, rel=0.03)
    picker.keyboard._handle_custom_msg({"at": 0.0}, [])  # left of the axis: the lowest rate there is
    assert picker.value == pytest.approx(curve.lrs[0])
    with pytest.raises(ValueError, match="tried rates from 1e-7 to 10; got 50"):
        picker.value = 50
    assert "Chosen: " in picker.said.value


def test_a_curve_without_advice_can_still_be_chosen_from():
    rates = [1e-5 * 10 ** (i / 20) for i in range(100)]
    picker = RatePicker(read_curve(rates, [0.7] * 100))
    assert picker.buttons == {} and rates[0] < picker.value < rates[-1]


def test_the_schedule_lab_counts_epochs_and_gives_the_learners_keywords(no_pixels):
    lab = ScheduleLab()
    assert (lab.method, lab.value) == ("fit", {"cycles": 3, "cycle_len": 1, "cycle_mult": 2})
    assert "trains 1 + 2 + 4 = 7 epochs." in lab.said.value
    before = lab.shown.value
    lab.sliders["cycles"].value = 1
    assert "trains 1 epoch." in lab.said.value and lab.shown.value != before
    for method in ("fit_one_cycle", "fit_flat_cos"):
        lab.kind.value = method
        lab.sliders["epochs"].value = 8
        assert (lab.method, lab.value) == (method, {"epochs": 8})
        assert f"learn.{method}(lr, epochs=8) trains 8 epochs." in repr(lab)
        assert lab.controls.children == (lab.sliders["epochs"],)
