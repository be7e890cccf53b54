"""Names of networks and of their weights.

A name is one of torchvision's or timm's, or of a packaged network: "resnet34", "vit_tiny_patch16_224". It may say which
weights ("resnet18.a1_in1k", "resnet50.IMAGENET1K_V1") and whose network it is ("timm/resnet34"); without that a
packaged network comes first, then torchvision's, then timm's.
"""

from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

from data_setup.weights import PACKAGED

PACKAGED_PX = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}


class Backbone(NamedTuple):
    """A network by the library it comes from, its name there and its weights' tag ("": the library's own choice)."""

    home: str  # "packaged", "torchvision" or "timm"
    name: str
    tag: str = ""

    @property
    def full_name(self) -> str:
        """As the library has it."""
        return f"{self.name}.{self.tag}" if self.tag else self.name

    def __str__(self) -> str:
        """A name that leads here: of networks of one name, timm's says so."""
        hidden = self.home == "timm" and not self.tag and self.name in [*PACKAGED, *names()["torchvision"]]
        return f"timm/{self.name}" if hidden else self.full_name


@cache
def names() -> dict[str, list[str]]:
    """All networks for classification, by library."""
    import timm  # takes seconds to import
    from torchvision import models

    return {"packaged": list(PACKAGED), "torchvision": models.list_models(module=models), "timm": timm.list_models()}


def tags(library: str, name: str) -> list[str]:
    """Which weights there are for a network, the library's own choice first; none for random weights only."""
    if library == "packaged":
        return []
    if library == "torchvision":
        from torchvision.models import get_model_weights

        every = get_model_weights(name)
        return list(dict.fromkeys([every.DEFAULT.name, *(weights.name for weights in every)])) if every else []
    import timm

    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    first = getattr(timm.get_pretrained_cfg(name), "tag", None)
    return sorted(filter(None, known), key=lambda tag: tag != first)


def find(arch: str) -> Backbone:
    """The network a name stands for. Raises ValueError for one that does not exist, with the nearest names."""
    if arch in PACKAGED:
        return Backbone("packaged", arch)  # without the libraries, which take seconds to import
    library, _, rest = arch.rpartition("/")
    name, _, tag = rest.partition(".")
    homes = [home for home, known in names().items() if name in known and library in ("", home)]
    for home in homes:
        if not tag or tag in tags(home, name):
            return Backbone(home, name, tag)
    if homes:
        known = ", ".join(tag for home in homes for tag in tags(home, name))
        raise ValueError(f"{name} has no weights {tag!r}; {f'choose from {known}' if known else 'leave the tag out'}")
    if library not in ("", *names()):
        raise ValueError(f"there is no library {library!r}; write timm/{rest} or torchvision/{rest}")
    inside = f"{library}/" if library else ""
    known = [inside + full for home, known in names().items() for full in known if library in ("", home)]
    near = list(dict.fromkeys(get_close_matches(inside + name, known, n=6)))[:3]
    remedy = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {', '.join(PACKAGED)}"
    raise ValueError(f"there is no architecture {arch!r}; {remedy} helpers.models.available('*NAME*') lists more")


def timm_config(backbone: Backbone):
    """timm's configuration of a network with these weights: input size, statistics, where the weights are."""
    import timm

    return timm.get_pretrained_cfg(backbone.full_name)


def torchvision_weights(backbone: Backbone):
    """torchvision's record of these weights: transforms, address, accuracy. None where it publishes none."""
    from torchvision.models import get_model_weights

    every = get_model_weights(backbone.name)
    return every[backbone.tag] if backbone.tag else getattr(every, "DEFAULT", None)


def own_size(backbone: Backbone) -> int:
    """The side in pixels of the pictures that its weights were trained on."""
    if backbone.home == "torchvision":
        return torchvision_weights(backbone).transforms().crop_size[0]
    return PACKAGED_PX[backbone.name] if backbone.home == "packaged" else timm_config(backbone).input_size[1]


def every() -> list[Backbone]:
    """Every network with every set of weights that somebody publishes."""
    import timm

    packaged = [Backbone("packaged", name) for name in PACKAGED]
    torchvisions = [
        Backbone("torchvision", name, tag if index else "")
        for name in names()["torchvision"]
        for index, tag in enumerate(tags("torchvision", name))
    ]
    return [*packaged, *torchvisions, *(Backbone("timm", *full.split(".", 1)) for full in timm.list_pretrained())]
