"""Maps as the compiled kernels take them, and how near their answers must come."""

import pytest
import torch

in_number_types = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def maps_of(*shape: int, dtype=torch.float32, seed: int = 0) -> torch.Tensor:
    """Random maps, channels side by side."""
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return maps.contiguous(memory_format=torch.channels_last)


def assert_near(found: torch.Tensor, exact: torch.Tensor) -> None:
    """Within two roundings of the largest number; in float32, where sums are rounded as they grow, within 32."""
    roundings = 2 * 2**-7 if found.dtype == torch.bfloat16 else 32 * 2**-23
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=roundings * max(1.0, float(exact.abs().max())))
