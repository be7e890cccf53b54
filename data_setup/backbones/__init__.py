"""Networks that others have trained on ImageNet, of torchvision and timm, and the packaged ones.

| file | what it holds |
|---|---|
| names.py | names of networks and of their weights: which library, which tag, near names for a wrong one |
| files.py | weights from a package, from the caches on disk, or downloaded and checked |
| networks.py | a network with its weights, for pictures of a size |
| available.py | what there is to choose from, and what of it is here |
"""

from data_setup.backbones.available import Available, Catalogue, describe, published
from data_setup.backbones.names import Backbone, find, own_size
from data_setup.backbones.networks import load

__all__ = ["Available", "Backbone", "Catalogue", "describe", "find", "load", "own_size", "published"]
