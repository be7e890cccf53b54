"""A network whose head sees several stages of the body, not the last one alone.

The last stage says what ImageNet's thousand classes needed; earlier ones still say what a surface looks like, and a
crack is more a matter of surfaces. So the features are the largest activation of every filter, the mean and the
deviation, after each of `PARTS`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from helpers.models.classifier import Classifier, build_classifier, make_head
from helpers.runtime.seeds import seeded

PARTS = (6, 7, 8, 10)  # of an efficientnet_lite's body: its last three stages of blocks, and the last normalisation


class EveryStage(Classifier):
    """normalize -> body -> the pooled maps after each of `PARTS` side by side -> head. It begins at any split point
    up to the first of them."""

    def after(self, activations: Tensor, split_point: int) -> Tensor:
        """Logits (N, K) from the activations at `split_point`."""
        return self.head(torch.cat(list(self.stage_features(activations, split_point)), dim=1))

    def stage_features(self, activations: Tensor, split_point: int) -> Iterator[Tensor]:
        """(N, 3 F) float32 for each of `PARTS`, F its number of filters, from the activations at `split_point`."""
        if split_point == 0:
            activations = self.normalize(activations)
        for part in range(max(split_point - 1, 0), len(self.body)):
            if part >= split_point:
                activations = self.body[part](activations)
            if part in PARTS:
                yield pooled(activations)


def pooled(maps: Tensor) -> Tensor:
    """(N, F, h, w) -> (N, 3 F) float32: the largest activation of every filter, the mean and the deviation."""
    values = maps.float().flatten(2)
    variance, mean = torch.var_mean(values, dim=2, correction=0)
    return torch.cat([values.amax(2), mean, (variance + 1e-5).sqrt()], dim=1)  # a root of 0 has no gradient


def build_every_stage(arch: str, n_classes: int, *, size: int, pretrained: bool = True, seed: int = 0) -> EveryStage:
    """The body of `build_classifier` with such a head, as wide as the stages ask for."""
    model = build_classifier(arch, n_classes, size=size, pretrained=pretrained, seed=seed)
    wide = EveryStage(model.normalize, model.body, model.head, maps=True, arch=arch)
    with torch.no_grad():
        width = sum(table.shape[1] for table in wide.eval().stage_features(torch.zeros(1, 3, size, size), 0))
    with seeded("head", seed):
        wide.head = make_head(width, n_classes)
    return wide
