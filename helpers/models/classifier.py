"""A pretrained body, a pooling step and a new head: `Classifier`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from data_setup import backbones
from data_setup.base.arguments import did_you_mean
from helpers.models.bodies import load_body
from helpers.runtime.precision import eval_mode
from helpers.runtime.seeds import seeded


class Normalize(nn.Module):
    """Pictures in 0..1 to the statistics the body's weights were trained with. (N, 3, H, W) in and out."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


class ConcatPool(nn.Module):
    """The largest and the mean activation of each filter: (N, F, h, w) -> (N, 2F) (fastai's AdaptiveConcatPool2d)."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps.amax(dim=(2, 3)), maps.mean(dim=(2, 3))], dim=1)


def make_head(n_features: int, n_classes: int, *, dropout: float = 0.5) -> nn.Sequential:
    """(N, D) activations -> (N, K) logits. fastai's head: BN, dropout/2, 512, ReLU, BN, dropout, K; Kaiming-normal."""
    hidden, last = nn.Linear(n_features, 512, bias=False), nn.Linear(512, n_classes, bias=False)
    nn.init.kaiming_normal_(hidden.weight)
    nn.init.kaiming_normal_(last.weight)
    first = [nn.BatchNorm1d(n_features), nn.Dropout(dropout / 2), hidden, nn.ReLU(inplace=True)]
    return nn.Sequential(*first, nn.BatchNorm1d(512), nn.Dropout(dropout), last)


class Body(nn.Sequential):
    """Stages in a row. A call may run only some of them; hooks on the body and on those stages fire either way."""

    def forward(self, activations: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        for stage in list(self)[start:stop]:
            activations = stage(activations)
        return activations


class Classifier(nn.Module):
    """normalize -> body -> pool -> head. Pictures (N, 3, H, W) in 0..1 in, logits (N, K) out.

    A `split_point` is a place to stop: 0 is the pictures, k the output of the first k stages of the body, `len(body)`
    the pooled features. `after(before(x, k), k)` is the whole model for every k, so what a frozen part of the body
    makes of a picture can be computed once and used again.
    """

    def __init__(
        self, normalize: Normalize, body: nn.Sequential, head: nn.Module, *, maps: bool, arch: str = "Classifier"
    ):
        super().__init__()
        self.arch = arch
        self.normalize, self.body, self.head = normalize, Body(*body), head
        self.pool = ConcatPool() if maps else nn.Identity()
        self.frozen_modules: list[nn.Module] = []  # kept in evaluation mode; set by `freeze_to`

    def forward(self, images: Tensor, split_point: int = 0) -> Tensor:
        return self.after(images, split_point)

    def before(self, images: Tensor, split_point: int) -> Tensor:
        """What the first `split_point` stages make of the pictures."""
        if split_point == 0:
            return images
        activations = self.body(self.normalize(images), 0, split_point)
        return self.pool(activations) if split_point == len(self.body) else activations

    def after(self, activations: Tensor, split_point: int) -> Tensor:
        """Logits (N, K) from the activations at `split_point`."""
        if split_point == 0:
            activations = self.normalize(activations)
        if split_point < len(self.body):
            activations = self.pool(self.body(activations, split_point))
        return self.head(activations)

    def features(self, images: Tensor) -> Tensor:
        """Pooled features of the whole body: (N, D)."""
        return self.before(images, len(self.body))

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        for module in self.frozen_modules:
            module.training = False
        return self


@did_you_mean
def build_classifier(
    arch: str, n_classes: int, *, size: int = 128, pretrained: bool = True, dropout: float = 0.5, seed: int = 0
) -> Classifier:
    """A `Classifier` for any torchvision or timm classification architecture, or a packaged efficientnet_lite0/1/2.

    `size` is the pictures' side in pixels, `seed` fixes the random weights. Raises ValueError for an unknown name or a
    size the network cannot take, RuntimeError when weights cannot be fetched.
    """
    with seeded("body", seed):
        body, mean, std = load_body(arch, pretrained, size)
    body.eval()
    try:
        with torch.no_grad():
            probe = body(torch.zeros(1, 3, size, size))  # (1, F, h, w), or (1, F) of a body that is one stage
    except (RuntimeError, AssertionError, ValueError) as error:
        remedy = f"try data.resized({backbones.own_size(backbones.find(arch))}), the size of its weights"
        raise ValueError(f"{arch} cannot take pictures of {size} px ({error}); {remedy}") from error
    maps = probe.ndim == 4
    with seeded("head", seed):
        head = make_head(probe.shape[1] * (2 if maps else 1), n_classes, dropout=dropout)
    return Classifier(Normalize(mean, std), body, head, maps=maps, arch=arch)


def from_module(module: nn.Module, n_classes: int, *, size: int) -> Classifier:
    """A `Classifier` around a network of your own: pictures (N, 3, size, size) in 0..1 in, logits (N, n_classes) out.

    It is one stage and one layer group, without a head of ours: it trains as a whole. Raises ValueError, with the
    network's own words, when it does not fit.
    """
    device = next((parameter.device for parameter in module.parameters()), None)
    wanted = f"a network for this data takes (N, 3, {size}, {size}) and gives (N, {n_classes}) logits"
    try:
        with eval_mode(module), torch.no_grad():
            logits = module(torch.zeros(2, 3, size, size, device=device))
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{wanted}; {type(module).__name__} fails: {error}") from error
    found = tuple(logits.shape) if torch.is_tensor(logits) else type(logits).__name__
    if found != (2, n_classes):
        raise ValueError(f"{wanted}; for 2 pictures {type(module).__name__} gives {found}")
    normalize, arch = Normalize([0.0] * 3, [1.0] * 3), type(module).__name__
    return Classifier(normalize, nn.Sequential(module), nn.Identity(), maps=False, arch=arch)
