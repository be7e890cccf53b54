"""Any network of torchvision or timm as a body: its stages in a row, its own classes taken off.

Weights come from a package if one has them, else from torch's cache on disk, else from the network with a hash check.
"""

from collections.abc import Sequence
from urllib.error import URLError

import torch
from torch import Tensor, nn

import data_setup
from helpers.runtime.arguments import closest

LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3  # what the Lite models were trained with

# Children that hold the stages themselves.
STACKS = {"features", "blocks", "stages", "dense_stages", "layers", "levels", "trunk_output", "transformers"}
STACKS |= {"network", "encoder"}
ENDINGS = ("avgpool", "classifier", "fc")  # where torchvision's networks begin to classify


class WholeBody(nn.Module):
    """A network whose stages cannot be run one after the other (transformers, mostly), as one stage: (N, F) out."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        if hasattr(self.network, "forward_head"):  # timm
            return self.network.forward_head(self.network.forward_features(images), pre_logits=True)
        return self.network(images)  # torchvision, its last layer taken off


class ChannelsFirst(nn.Module):
    """(N, h, w, F) -> (N, F, h, w)."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 3, 1, 2)


def load_body(arch: str, pretrained: bool) -> tuple[nn.Sequential, Sequence[float], Sequence[float]]:
    """(body, mean, std) for an architecture's name; mean and std are what its weights were trained with.

    Raises ValueError for an unknown name and RuntimeError when the weights cannot be fetched.
    """
    import timm  # only a learner being built needs it, and it takes seconds to import

    if arch in data_setup.weights.PACKAGED:
        network = timm.create_model(f"tf_{arch}")
        if pretrained:
            network.load_state_dict(data_setup.weights.load_packaged(arch))
        return _timm_body(network), LITE_MEAN, LITE_STD
    if arch in _torchvision_names():
        return _load_torchvision(arch, pretrained)
    if not timm.is_model(arch):
        known = [*data_setup.weights.PACKAGED, *_torchvision_names(), *timm.list_models()]
        raise ValueError(f"there is no architecture {arch!r}; {closest(arch, known, most=8)}")
    try:
        network = timm.create_model(arch, pretrained=pretrained)
    except (OSError, RuntimeError) as error:
        raise _no_weights(arch, error) from error
    return _timm_body(network), network.pretrained_cfg["mean"], network.pretrained_cfg["std"]


def _torchvision_names() -> list[str]:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    return [name for name in names if hasattr(torchvision.models.get_model_weights(name).DEFAULT.transforms(), "mean")]


def _load_torchvision(arch: str, pretrained: bool) -> tuple[nn.Sequential, Sequence[float], Sequence[float]]:
    import torchvision

    weights = torchvision.models.get_model_weights(arch).DEFAULT
    inception = arch in ("googlenet", "inception_v3")
    options = {"aux_logits": False, "init_weights": False} if inception and not pretrained else {}
    try:
        network = torchvision.models.get_model(arch, weights=weights if pretrained else None, **options)
    except (URLError, OSError, RuntimeError) as error:
        raise _no_weights(arch, error) from error
    mean, std = weights.transforms().mean, weights.transforms().std
    if inception:  # their own forward() turns ImageNet's statistics into these first
        mean = std = (0.5, 0.5, 0.5)
    if hasattr(network, "heads"):  # vision transformers
        network.heads = nn.Identity()
        return nn.Sequential(WholeBody(network)), mean, std
    names = [name for name, _ in network.named_children()]
    end = min(names.index(ending) for ending in ENDINGS if ending in names)
    stages = parts_of(network, [name for name in names[:end] if not name.lower().startswith("aux")])
    if isinstance(network, torchvision.models.DenseNet):
        stages.append(nn.ReLU(inplace=True))  # a call, not a module, in its forward()
    return nn.Sequential(*stages), mean, std


def _timm_body(network: nn.Module) -> nn.Sequential:
    """The network's parts in a row, where that is what it computes (one picture is tried), else all of it as one."""
    network.reset_classifier(0)  # its own thousand classes
    size = network.pretrained_cfg["input_size"][1] if network.pretrained_cfg.get("fixed_input_size") else 96
    network.eval()
    images = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    with torch.no_grad():
        features = network.forward_features(images)
        stages = _parts_up_to(features, images, parts_of(network))
    if not stages:
        return nn.Sequential(WholeBody(network))
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
    return nn.Sequential(*stages, *([ChannelsFirst()] if channels_last else []))


def _parts_up_to(features: object, activations: Tensor, parts: list[nn.Module]) -> list[nn.Module]:
    """The first of `parts` that in a row turn `activations` into `features` (1, F, h, w); [] if none do."""
    if not torch.is_tensor(features) or features.ndim != 4:
        return []
    for count, part in enumerate(parts, start=1):
        try:
            activations = part(activations)
            if activations.shape == features.shape and torch.allclose(activations, features):
                return parts[:count]
        except (RuntimeError, TypeError, AttributeError, NotImplementedError, ValueError):
            break  # this part needs more than the one before it gives
    return []


def parts_of(network: nn.Module, names: Sequence[str] | None = None) -> list[nn.Module]:
    """The children in order (only those of `names`, if given), stacks of stages opened up."""
    parts = []
    for name, child in network.named_children():
        if names is None or name in names:
            parts += parts_of(child) if name in STACKS else [child]
    return parts


def _no_weights(arch: str, error: Exception) -> RuntimeError:
    lites = ", ".join(data_setup.weights.PACKAGED)
    return RuntimeError(
        f"the weights of {arch} are neither on this machine nor could they be downloaded ({error}). "
        f"Without a network use {lites}, or pretrained=False"
    )
