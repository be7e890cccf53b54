"""Schedules against torch's own schedulers, fastai 0.7's formula and closed forms at the knots."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from helpers.training.schedules import (
    anneal,
    constant,
    cosine,
    cycle_epochs,
    flat_cosine,
    one_cycle,
    one_cycle_momentum,
    sgdr,
)

QUICK = settings(max_examples=40)
close = pytest.approx


def optimizer(lr=1.0, momentum=0.9):
    """As much of an optimizer as a scheduler looks at (a whole one takes seconds to import torch's compiler)."""
    bare = object.__new__(torch.optim.SGD)
    bare.param_groups, bare.defaults = [{"lr": lr, "momentum": momentum}], {"momentum": momentum}
    return bare


def rates_of(scheduler, steps, key="lr"):
    """What torch's scheduler sets for each of `steps` steps."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer.step() here: only the rates are of interest
        for _ in range(steps):
            found.append(scheduler.optimizer.param_groups[0][key])
            scheduler.step()
    return found


# The naive versions --------------------------------------------------------------------------------------------


def naive_cosine(step, steps):
    """Written as in a lecture: half a cosine wave, from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


@QUICK
@given(st.integers(1, 500), st.data())
def test_the_cosine_of_the_lecture_is_the_helpers(steps, data):
    """Catches a whole wave instead of half of one, and degrees for radians."""
    step = data.draw(st.integers(0, steps))
    assert cosine(step / steps) == close(naive_cosine(step, steps), abs=1e-12)


@pytest.mark.parametrize(("progress", "expected"), [(0, 1), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1, 0)])
def test_the_cosine_at_its_knots(progress, expected):
    """Catches a curve that is no cosine but has its ends."""
    assert cosine(progress) == close(expected, abs=1e-12)
    assert anneal(3.0, 7.0, progress) == close(7 - 4 * expected)
    assert constant(progress) == 1.0


def test_the_cosine_is_torchs():
    """Catches a schedule that ends one step early or late."""
    rates = rates_of(lr_scheduler.CosineAnnealingLR(optimizer(), T_max=50), 51)
    assert rates == close([cosine(step / 50) for step in range(51)], abs=1e-9)


# SGDR ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cycles", "length", "mult"), [(3, 1, 2), (3, 1, 1), (2, 3, 2), (4, 2, 1), (1, 5, 3), (3, 2, 3)]
)
def test_sgdr_is_torchs_cosine_with_warm_restarts(cycles, length, mult):
    """Catches a restart one step off, cycles of the wrong length, and a last step that restarts instead of ending."""
    per_epoch = 7
    steps = sum(cycle_epochs(cycles, length, mult)) * per_epoch
    theirs = lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), T_0=length * per_epoch, T_mult=mult)
    ours = sgdr(cycles, length, mult)
    assert [ours(step / steps) for step in range(steps)] == close(rates_of(theirs, steps), abs=1e-9)
    assert ours(1.0) == close(0, abs=1e-12)


@QUICK
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 50))
def test_every_cycle_starts_at_the_full_rate_exactly(cycles, length, mult, per_epoch):
    """Catches a rounding error that makes the first step of a cycle the last of the one before: rate 0 for 1."""
    lengths = cycle_epochs(cycles, length, mult)
    steps, ours, start = sum(lengths) * per_epoch, sgdr(cycles, length, mult), 0
    for epochs in lengths:
        assert ours(start * per_epoch / steps) == close(1, abs=1e-9)
        middle = (start + epochs / 2) * per_epoch / steps
        assert ours(middle) == close(0.5, abs=1e-9)
        start += epochs


def test_three_cycles_that_double_are_seven_epochs():
    """Catches 3 x len x mult = 6, which stands in the lecture notes."""
    assert cycle_epochs(3, cycle_len=1, cycle_mult=2) == [1, 2, 4]
    assert cycle_epochs(3, 1) == [1, 1, 1] and cycle_epochs(2, 3, 1) == [3, 3] and cycle_epochs(1) == [1]


@QUICK
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_the_number_of_epochs_is_fastais_formula(cycles, length, mult):
    """Catches cycle_mult added instead of multiplied: 0.7 has len (mult^n - 1) / (mult - 1), or len n for mult 1."""
    expected = length * cycles if mult == 1 else length * (mult**cycles - 1) / (mult - 1)
    assert sum(cycle_epochs(cycles, length, mult)) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cycles": 0}, "cycles must be a whole number of at least 1; got 0"),
        ({"cycles": 2, "cycle_len": 1.5}, "cycle_len must be a whole number of at least 1; got 1.5"),
        ({"cycles": 2, "cycle_mult": 0}, "cycle_mult must be a whole number of at least 1; got 0"),
        ({"cycles": "3"}, "cycles must be a whole number of at least 1; got '3'"),
    ],
)
def test_impossible_cycles_are_refused(asked, message):
    """Catches a training of no epochs, and fastai v2's ZeroDivisionError."""
    for function in (cycle_epochs, sgdr):
        with pytest.raises(ValueError, match=message):
            function(**asked)


# One cycle -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pct_start", "div", "div_final"), [(0.25, 25.0, 1e5), (0.3, 25.0, 2.5e5), (0.5, 10.0, 100.0)])
def test_one_cycle_is_torchs(pct_start, div, div_final):
    """Catches a warm-up that is linear, a floor that is not lr / div_final, and momentum that moves the same way."""
    steps = 100
    sgd = optimizer()
    theirs = lr_scheduler.OneCycleLR(
        sgd, max_lr=1.0, total_steps=steps, pct_start=pct_start, anneal_strategy="cos", div_factor=div,
        final_div_factor=div_final / div, base_momentum=0.85, max_momentum=0.95, three_phase=False,
    )  # fmt: skip
    rate, momentum = (
        one_cycle(pct_start=pct_start, div=div, div_final=div_final),
        one_cycle_momentum(pct_start=pct_start),
    )
    peak = pct_start * steps - 1  # torch counts steps from their ends: both phases are one step shorter
    for step in range(steps):
        progress = (
            pct_start * step / peak if step <= peak else pct_start + (1 - pct_start) * (step - peak) / (99 - peak)
        )
        assert rate(progress) == close(sgd.param_groups[0]["lr"], abs=1e-9)
        assert momentum(progress) == close(sgd.param_groups[0]["momentum"], abs=1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if step < steps - 1:
                theirs.step()


def test_one_cycle_at_its_knots():
    """Catches defaults that left fastai v2's: lr/25 -> lr at a quarter -> lr/100,000; momentum 0.95 -> 0.85 -> 0.95."""
    rate, momentum = one_cycle(), one_cycle_momentum()
    assert [rate(p) for p in (0, 0.125, 0.25, 0.625, 1)] == close([1 / 25, 0.52, 1, 0.500005, 1e-5])
    assert [momentum(p) for p in (0, 0.125, 0.25, 0.625, 1)] == close([0.95, 0.9, 0.85, 0.9, 0.95])


@QUICK
@given(st.floats(0.01, 0.99), st.floats(1.5, 100), st.floats(2, 1e6))
def test_one_cycle_rises_then_falls_without_a_step(pct_start, div, div_final):
    """Catches a jump where the phases meet."""
    rate = one_cycle(pct_start=pct_start, div=div, div_final=div_final)
    rising = [rate(pct_start * i / 50) for i in range(51)]
    falling = [rate(min(1.0, pct_start + (1 - pct_start) * i / 50)) for i in range(51)]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    assert rate(pct_start * (1 - 1e-9)) == close(rate(pct_start), abs=1e-6) == 1.0


@pytest.mark.parametrize("pct_start", [0, 1, 25])
def test_a_rise_takes_a_share_of_the_training(pct_start):
    """Catches a division by zero, and 25 taken for a quarter."""
    with pytest.raises(
        ValueError, match=f"pct_start is the rising share of training, between 0 and 1; got {pct_start}"
    ):
        one_cycle(pct_start=pct_start)


# Flat, then cosine ---------------------------------------------------------------------------------------------


@QUICK
@given(st.floats(0, 0.95), st.floats(0, 1))
def test_flat_cosine_is_flat_then_a_cosine(pct_start, progress):
    """Catches a cosine that starts at the beginning and is only cut."""
    expected = 1.0 if progress < pct_start else naive_cosine(progress - pct_start, 1 - pct_start)
    assert flat_cosine(pct_start=pct_start)(progress) == close(expected, abs=1e-12)


def test_flat_cosine_at_its_knots():
    """Catches a default that left fastai v2's three quarters."""
    assert [flat_cosine()(p) for p in (0, 0.5, 0.75, 0.875, 1)] == close([1, 1, 1, 0.5, 0], abs=1e-12)
    with pytest.raises(ValueError, match="pct_start is the flat share of training, at least 0 and below 1; got 1"):
        flat_cosine(pct_start=1)
