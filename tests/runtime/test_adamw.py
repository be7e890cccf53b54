"""The optimizer against torch's own."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from helpers.runtime.adamw import AdamW

LIGHT = """
import sys
from data_setup.lite import EfficientNetLite
from helpers.runtime.adamw import AdamW

network = EfficientNetLite("efficientnet_lite0")
optimizer = AdamW(network.parameters(), fused=True)
network.classifier.weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print(*({"torch._dynamo", "timm", "torchvision"} & set(sys.modules)))
"""


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


def test_training_a_packaged_network_loads_no_compiler():
    """Catches the seconds that torch's compiler and timm take to import, at every start of every lesson."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", LIGHT], cwd=root, capture_output=True, text=True)
    assert done.stdout == "\n", done.stdout + done.stderr
