"""Random numbers that follow from what they are for, and leave the global generators alone."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_for(*parts: object) -> int:
    """A seed that depends on nothing but `parts`: the same on every machine, run and Python version."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU random generator seeded from `parts`. The global generator is never touched."""
    return torch.Generator().manual_seed(seed_for(*parts))


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Inside the block torch's global generators follow `parts` (for dropout); then every device's is as before."""
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed_for(*parts))
        try:
            yield
        finally:
            if mps is not None:
                torch.mps.set_rng_state(mps)
