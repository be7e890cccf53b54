"""Published networks, whole: built for pictures of a size, with their weights and the statistics of their training.

timm's and torchvision's own functions do the work; here is only what they need to know.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from data_setup import lite
from data_setup.backbones.files import fetch
from data_setup.backbones.names import Backbone, own_size, timm_config, torchvision_weights
from data_setup.weights import PACKAGED, load_packaged

if TYPE_CHECKING:
    from torch import nn

LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3  # what the Lite models were trained with


class Network(NamedTuple):
    module: "nn.Module"  # pictures (N, 3, H, W) in, ImageNet's logits out
    mean: Sequence[float]
    std: Sequence[float]


def load(backbone: Backbone, pretrained: bool, size: int) -> Network:
    """The network with its published weights, or random ones, for pictures of `size` x `size` pixels.

    A vision transformer of timm then takes every size that its patches divide, one of torchvision only this one: their
    position codes are stretched. Raises ValueError when nobody publishes weights and for a size the network cannot
    take, FileNotFoundError for a package that is not installed, RuntimeError when weights are neither here nor can be
    downloaded.
    """
    if backbone.home == "packaged":
        return _packaged(backbone.name, pretrained)
    try:
        return {"torchvision": _torchvision, "timm": _timm}[backbone.home](backbone, pretrained, size)
    except AssertionError as error:  # how both libraries refuse a size
        found = f"{backbone} cannot take pictures of {size} px ({error})"
        raise ValueError(f"{found}; try data.resized({own_size(backbone)}), the size of its weights") from error
    except (OSError, RuntimeError) as error:
        found = f"the weights of {backbone} are neither on this machine nor could they be downloaded ({error})"
        remedy = f"Without a network use {', '.join(PACKAGED)}, or pretrained=False"
        raise RuntimeError(f"{found}. {remedy}") from error


def _packaged(arch: str, pretrained: bool) -> Network:
    module = lite.EfficientNetLite(arch)
    if pretrained:
        module.load_state_dict(load_packaged(arch))
    return Network(module, LITE_MEAN, LITE_STD)


def _timm(backbone: Backbone, pretrained: bool, size: int) -> Network:
    import timm  # takes seconds to import

    file = fetch(backbone) if pretrained else None
    weights = {"pretrained": pretrained, "pretrained_cfg_overlay": {"file": str(file)} if file else None}
    fixed = getattr(timm_config(backbone), "fixed_input_size", False)
    for sized in ({"dynamic_img_size": True}, {"img_size": size}, {}) if fixed else ({},):
        try:
            module = timm.create_model(backbone.full_name, **sized, **weights)
            break
        except (TypeError, RuntimeError):  # a family without this argument, or its weights fit their own size alone
            if not sized:
                raise
    return Network(module, module.pretrained_cfg["mean"], module.pretrained_cfg["std"])


def _torchvision(backbone: Backbone, pretrained: bool, size: int) -> Network:
    from torchvision import models

    weights, options = torchvision_weights(backbone), {}
    mean, std = weights.transforms().mean, weights.transforms().std
    if backbone.name in ("googlenet", "inception_v3"):  # their own forward() makes these of ImageNet's statistics first
        mean = std = (0.5, 0.5, 0.5)
        options = {"init_weights": False}  # theirs is slow, and warns
    if not backbone.name.startswith("vit_"):
        return Network(models.get_model(backbone.name, weights=weights if pretrained else None, **options), mean, std)
    module = models.get_model(backbone.name, image_size=size)
    if pretrained:
        state = weights.get_state_dict(check_hash=True)
        module.load_state_dict(models.vision_transformer.interpolate_embeddings(size, module.patch_size, state))
    return Network(module, mean, std)
