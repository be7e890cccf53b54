"""Any network of torchvision or timm as a body: its stages in a row, its own classes taken off."""

import copy
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from data_setup import backbones

STACKS = {"features", "blocks", "stages", "dense_stages", "layers", "levels", "trunk_output", "transformers"}
STACKS |= {"network", "encoder"}  # children that hold the stages themselves
MISFITS = (RuntimeError, TypeError, AttributeError, NotImplementedError, ValueError, AssertionError)
NOT_OF_THE_BODY = ("avgpool", "aux", "classifier", "dropout", "fc", "flatten", "head")  # in torchvision's networks


def load_body(arch: str, pretrained: bool, size: int = 224) -> tuple[nn.Sequential, Sequence[float], Sequence[float]]:
    """(body, mean, std) for an architecture's name (see `data_setup.backbones`); mean and std are its weights' own.

    `size`: the pictures' side in pixels, for a network that is built for one size. A network whose stages cannot be run
    one after the other is one stage: (N, F) out.
    Raises ValueError for an unknown name and RuntimeError when the weights cannot be fetched.
    """
    found = backbones.find(arch)
    network, mean, std = backbones.load(found, pretrained, size)
    if found.home == "packaged":
        return nn.Sequential(*network.body()), mean, std
    return _torchvision_body(network) if found.home == "torchvision" else _timm_body(network, size), mean, std


def _torchvision_body(network: nn.Module) -> nn.Sequential:
    from torchvision.models import DenseNet

    if hasattr(network, "heads"):  # vision transformers
        network.heads = nn.Identity()
        return nn.Sequential(network)
    for name in [name for name, _ in network.named_children() if name.lower().startswith(NOT_OF_THE_BODY)]:
        delattr(network, name)
    ending = [nn.ReLU()] if isinstance(network, DenseNet) else []  # a call in its forward()
    return nn.Sequential(*parts_of(network), *ending)


def _timm_body(network: nn.Module, size: int) -> nn.Sequential:
    """The network's parts in a row, where that is what it computes (one picture is tried), else all of it as one."""
    from torchvision.ops import Permute

    network.reset_classifier(0)  # its own thousand classes
    network.eval()
    size = size if network.pretrained_cfg.get("fixed_input_size") else 96
    images = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    ending = [Permute([0, 3, 1, 2])] if getattr(network, "output_fmt", "NCHW") == "NHWC" else []
    parts, activations, same = parts_of(network), images, 0
    with torch.no_grad(), suppress(*MISFITS):
        features = network.forward_features(images)
        for count, part in enumerate(parts, start=1):
            activations = part(activations)  # fails where a part needs more than the one before it gives
            if features.ndim == 4 and features.shape == activations.shape and torch.allclose(features, activations):
                same = count
    if same:
        return nn.Sequential(*parts[:same], *ending)
    with torch.no_grad(), suppress(*MISFITS):
        before, after = _around_blocks(network)
        stages = nn.Sequential(Tokens(before), *network.blocks, PooledTokens(after))
        if torch.allclose(stages(images), network(images), atol=1e-5):
            return stages
    return nn.Sequential(network)


def _around_blocks(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A vision transformer twice, without its blocks: once also without all after them, once without all before."""
    names = [name for name, _ in network.named_children()]
    place = names.index("blocks")
    before, after = copy.copy(network), copy.copy(network)
    before._parameters, after._parameters = dict(network._parameters), dict.fromkeys(network._parameters)
    for part, gone in ((before, names[place:]), (after, names[: place + 1])):
        part._modules = network._modules | {name: nn.Sequential() for name in gone}  # empty: hands on what it is given
    return before, after


class Tokens(nn.Module):
    """What a vision transformer does before its first block: (N, 3, H, W) -> (N, T, F), patches with positions."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.forward_features(images)


class PooledTokens(Tokens):
    """What it does after its last block: (N, T, F) -> (N, F), the class token or the mean of the patches."""

    def forward(self, tokens: Tensor) -> Tensor:
        return self.network.forward_head(self.network.norm(tokens), pre_logits=True)


def parts_of(network: nn.Module) -> list[nn.Module]:
    """The children in order, stacks of stages opened up."""
    children = network.named_children()
    return [part for name, child in children for part in (parts_of(child) if name in STACKS else [child])]
