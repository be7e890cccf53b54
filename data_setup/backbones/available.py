"""Networks to choose from: which are here, for which pictures, how large, how accurate on ImageNet."""

from dataclasses import dataclass
from fnmatch import fnmatch

from data_setup.backbones.files import weights_file
from data_setup.backbones.names import Backbone, every, own_size, torchvision_weights

# Top-1 accuracy in percent, from the models' own README
PACKAGED_ACCURACY = {"efficientnet_lite0": 75.1, "efficientnet_lite1": 76.7, "efficientnet_lite2": 77.6}


@dataclass(frozen=True)
class Available:
    """A network with published weights."""

    name: str  # as `Learner.pretrained` takes it
    here: bool  # whether the weights are on this machine
    size_px: int  # the side of the pictures it was trained on
    parameters: int  # with ImageNet's thousand classes
    accuracy: float | None  # top-1 on ImageNet in percent, as published; None where the library does not say
    images_per_s: float | None = None  # predicted on this machine at `size_px`; None when not measured

    def __str__(self) -> str:
        accuracy = "-" if self.accuracy is None else f"{self.accuracy:.1f}"
        speed = "-" if self.images_per_s is None else f"≈ {self.images_per_s:.0f}"
        size, here = f"{self.size_px} px", "yes" if self.here else "no"
        return f"{self.name:<44}{here:<6}{size:>7}{self.parameters / 1e6:>11.1f} M{accuracy:>10}{speed:>13}"


class Catalogue(list[Available]):
    """Prints as a table."""

    def __repr__(self) -> str:
        heads = f"{'name':<44}{'here':<6}{'size':>7}{'parameters':>13}{'top-1, %':>10}{'pictures/s':>13}"
        return "\n".join([heads, *map(str, self)])


def published(names: str = "") -> Catalogue:
    """The networks whose weights are here or, with `names` ("vit_tiny*"), all with published weights that fit it.

    Raises ValueError when no name fits.
    """
    found = every()
    if not names:
        return Catalogue(describe(one) for one in found if weights_file(one))
    found = [one for one in found if fnmatch(str(one), names) or fnmatch(one.name, names)]
    if not found:
        raise ValueError(f"no network with published weights fits {names!r}; a * stands for any letters: '*{names}*'")
    return Catalogue(map(describe, found))


def describe(one: Backbone) -> Available:
    """The record of one network; nothing is downloaded."""
    here, size_px = weights_file(one) is not None, own_size(one)
    if one.home == "torchvision":
        meta = torchvision_weights(one).meta
        accuracy = meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
        return Available(str(one), here, size_px, meta["num_params"], accuracy)
    import timm
    import torch

    from data_setup.lite import EfficientNetLite

    with torch.device("meta"):  # shapes only
        network = EfficientNetLite(one.name) if one.home == "packaged" else timm.create_model(one.full_name)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Available(str(one), here, size_px, parameters, PACKAGED_ACCURACY.get(one.name))
