"""Any network of torchvision or timm as a body: its stages in a row, its own classes taken off.

Weights come from a package if one has them, else from torch's cache on disk, else from the network with a hash check.
"""

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import nn

import data_setup
from data_setup import lite
from data_setup.base.arguments import closest

LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3  # what the Lite models were trained with
STACKS = {"features", "blocks", "stages", "dense_stages", "layers", "levels", "trunk_output", "transformers"}
STACKS |= {"network", "encoder"}  # children that hold the stages themselves
NOT_OF_THE_BODY = ("avgpool", "aux", "classifier", "dropout", "fc", "flatten", "head")  # in torchvision's networks


def load_body(arch: str, pretrained: bool) -> tuple[nn.Sequential, Sequence[float], Sequence[float]]:
    """(body, mean, std) for an architecture's name; mean and std are what its weights were trained with.

    A network whose stages cannot be run one after the other (transformers, mostly) is one stage: (N, F) out.
    Raises ValueError for an unknown name and RuntimeError when the weights cannot be fetched.
    """
    lites = data_setup.weights.PACKAGED
    if arch in lites:
        network = lite.EfficientNetLite(arch)
        if pretrained:
            network.load_state_dict(data_setup.weights.load_packaged(arch))
        return nn.Sequential(*network.body()), LITE_MEAN, LITE_STD
    import timm  # these take seconds to import
    import torchvision

    torchvisions = torchvision.models.list_models(module=torchvision.models)
    if arch not in torchvisions and not timm.is_model(arch):
        known = [*lites, *torchvisions, *timm.list_models()]
        raise ValueError(f"there is no architecture {arch!r}; {closest(arch, known, most=8)}")
    try:
        if arch in torchvisions:
            return _load_torchvision(arch, pretrained)
        network = timm.create_model(arch, pretrained=pretrained)
    except (OSError, RuntimeError) as error:
        found = f"the weights of {arch} are neither on this machine nor could they be downloaded ({error})"
        raise RuntimeError(f"{found}. Without a network use {', '.join(lites)}, or pretrained=False") from error
    return _timm_body(network), network.pretrained_cfg["mean"], network.pretrained_cfg["std"]


def _load_torchvision(arch: str, pretrained: bool) -> tuple[nn.Sequential, Sequence[float], Sequence[float]]:
    import torchvision

    weights = torchvision.models.get_model_weights(arch).DEFAULT
    mean, std, options = weights.transforms().mean, weights.transforms().std, {}
    if arch in ("googlenet", "inception_v3"):  # their own forward() turns ImageNet's statistics into these first
        mean = std = (0.5, 0.5, 0.5)
        options = {"init_weights": False}  # theirs is slow, and warns
    network = torchvision.models.get_model(arch, weights=weights if pretrained else None, **options)
    if hasattr(network, "heads"):  # vision transformers
        network.heads = nn.Identity()
        return nn.Sequential(network), mean, std
    for name in [name for name, _ in network.named_children() if name.lower().startswith(NOT_OF_THE_BODY)]:
        delattr(network, name)
    ending = [nn.ReLU()] if isinstance(network, torchvision.models.DenseNet) else []  # a call in its forward()
    return nn.Sequential(*parts_of(network), *ending), mean, std


def _timm_body(network: nn.Module) -> nn.Sequential:
    """The network's parts in a row, where that is what it computes (one picture is tried), else all of it as one."""
    from torchvision.ops import Permute

    network.reset_classifier(0)  # its own thousand classes
    network.eval()
    size = network.pretrained_cfg["input_size"][1] if network.pretrained_cfg.get("fixed_input_size") else 96
    activations = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    ending = [Permute([0, 3, 1, 2])] if getattr(network, "output_fmt", "NCHW") == "NHWC" else []
    parts = parts_of(network)
    with torch.no_grad(), suppress(RuntimeError, TypeError, AttributeError, NotImplementedError, ValueError):
        features = network.forward_features(activations)
        for count, part in enumerate(parts, start=1):
            activations = part(activations)  # fails where a part needs more than the one before it gives
            if features.ndim == 4 and features.shape == activations.shape and torch.allclose(features, activations):
                return nn.Sequential(*parts[:count], *ending)
    return nn.Sequential(network)


def parts_of(network: nn.Module) -> list[nn.Module]:
    """The children in order, stacks of stages opened up."""
    children = network.named_children()
    return [part for name, child in children for part in (parts_of(child) if name in STACKS else [child])]
