"""The one random split: fair to every stratum, the same on every machine, blind to the order of the names."""

import hashlib
from math import ceil, floor

from hypothesis import given, settings
from hypothesis import strategies as st

from data_setup.splitting import ranked, stratified


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    frac=st.sampled_from([0.1, 0.25, 0.4, 0.5]),
    seed=st.integers(0, 9),
    shuffle=st.randoms(),
)
def test_every_stratum_gives_its_share_in_any_order(sizes, frac, seed, shuffle):
    """Catches a stratum that is left out or taken whole, shares that drift, and a split that knows the order."""
    strata = {f"{kind}-{n}.png": kind for kind, size in enumerate(sizes) for n in range(size)}
    chosen = stratified(strata, frac=frac, seed=seed)
    for kind, size in enumerate(sizes):
        taken = sum(strata[name] == kind for name in chosen)
        fair = {floor(size * frac), ceil(size * frac)} if size * frac >= 1 else {min(1, size - 1)}
        assert taken in fair and taken < size
    names = list(strata)
    shuffle.shuffle(names)
    assert stratified({name: strata[name] for name in names}, frac=frac, seed=seed) == chosen


def test_large_strata_add_up_exactly():
    """Catches shares that are all rounded down."""
    strata = {f"{n}.png": n % 7 for n in range(1003)}
    assert len(stratified(strata, frac=0.25, seed=0)) == round(1003 * 0.25)


def test_the_rank_is_sha256_of_seed_and_name():
    """Catches an order that depends on the machine or on Python's own hash."""
    names = [f"{n}.png" for n in range(50)]
    assert ranked(names, 3) == sorted(names, key=lambda name: hashlib.sha256(f"3/{name}".encode()).digest())
    assert ranked(names, 3) != ranked(names, 4)
