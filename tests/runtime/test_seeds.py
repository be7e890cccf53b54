"""Random numbers follow from their names and leave every global generator alone."""

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.runtime.seeds import generator, seed_for, seeded


def test_a_seed_is_the_same_in_every_process():
    """Catches Python's own hash(), which differs from run to run: both numbers were computed elsewhere."""
    assert seed_for(0, "cat/1.jpg", ("a", 1.5)) == 8178790435312518434
    assert seed_for("é") == int(hashlib.sha256("('é',)".encode()).hexdigest()[:16], 16) // 2


@settings(max_examples=30)
@given(st.lists(st.one_of(st.integers(), st.text(), st.booleans()), min_size=1, max_size=3))
def test_a_seed_fits_every_generator(parts):
    """Catches a seed of 64 bits, which `manual_seed` refuses for every other name."""
    assert 0 <= seed_for(*parts) < 2**63
    torch.Generator().manual_seed(seed_for(*parts))


def test_parts_are_not_run_together():
    """Catches ("a", "bc") and ("ab", "c") getting one seed."""
    assert len({seed_for("a", "bc"), seed_for("ab", "c"), seed_for("abc"), seed_for(1), seed_for("1")}) == 5


def test_generators_leave_the_global_one_alone():
    """Catches a draw that moves torch's global generator, and so the training of the notebook."""
    before = torch.get_rng_state()
    first = torch.rand(4, generator=generator("a", 1))
    assert torch.equal(first, torch.rand(4, generator=generator("a", 1)))
    assert not torch.equal(first, torch.rand(4, generator=generator("a", 2)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_block_puts_the_global_generator_back_even_after_an_error():
    """Catches a restore that only happens when the block ends well."""
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), seeded("dropout", 3):
            draws.append(torch.rand(3))
            raise ZeroDivisionError
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_block_leaves_no_trace_on_any_device(monkeypatch):
    """Catches COURSE_DEVICE=cuda:1 with the state of device 0 saved alone, and Apple's generator forgotten."""
    put_back, saved = [], []
    fork_rng = torch.random.fork_rng
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: saved.extend(devices) or fork_rng(devices=[]))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: "as before")
    monkeypatch.setattr(torch.mps, "set_rng_state", put_back.append)
    with pytest.raises(ZeroDivisionError), seeded("dropout"):
        raise ZeroDivisionError
    assert saved == [0, 1] and put_back == ["as before"]


@pytest.mark.gpu
def test_a_seeded_block_puts_every_gpu_back():
    """Catches a generator of the second card that goes on from the seed."""
    cards = range(torch.cuda.device_count())
    before = [torch.rand(1, device=f"cuda:{n}") is None or torch.cuda.get_rng_state(n) for n in cards]
    with seeded("dropout"):
        draws = [torch.rand(2, device=f"cuda:{n}") for n in cards]
    assert all(torch.equal(torch.cuda.get_rng_state(n), state) for n, state in zip(cards, before, strict=True))
    assert all(len(draw) == 2 for draw in draws)
