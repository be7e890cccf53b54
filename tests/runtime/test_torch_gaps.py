"""The optimizer against torch's own."""

from copy import deepcopy

import pytest
import torch

from helpers.runtime.torch_gaps import AdamW


@pytest.mark.parametrize("fused", [False, True])
def test_steps_are_torchs_to_the_last_bit(fused):
    """Catches a step with gradients on, state that is not restored, and gradients that stay."""
    model = torch.nn.Linear(5, 3)
    models = model, deepcopy(model)
    rates = {"lr": 0.1, "weight_decay": 0.3, "fused": fused}
    ours, theirs = (kind(m.parameters(), **rates) for kind, m in zip((AdamW, torch.optim.AdamW), models, strict=True))
    for step in range(4):
        inputs = torch.rand(7, 5, generator=torch.Generator().manual_seed(step))
        for optimizer, network in zip((ours, theirs), models, strict=True):
            network(inputs).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            assert network.weight.grad is None
            optimizer.load_state_dict(deepcopy(optimizer.state_dict()))
    assert all(
        torch.equal(a, b) and a.requires_grad for a, b in zip(*map(torch.nn.Module.parameters, models), strict=True)
    )
