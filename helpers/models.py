"""A pretrained body, a pooling step and a new head: `Classifier`, its layer groups, what is frozen and what trains."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from helpers.bodies import WholeBody, load_body, parts_of
from helpers.precision import autocast
from helpers.runtime import did_you_mean, seeded

BN_POLICIES = ("frozen", "affine", "train")
NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


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
    head = nn.Sequential(
        nn.BatchNorm1d(n_features),
        nn.Dropout(dropout / 2),
        nn.Linear(n_features, 512, bias=False),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(512),
        nn.Dropout(dropout),
        nn.Linear(512, n_classes, bias=False),
    )
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return head


class Classifier(nn.Module):
    """normalize -> body -> pool -> head. Pictures (N, 3, H, W) in 0..1 in, logits (N, K) out.

    A `cut` is a place to stop: 0 is the pictures, k the output of the first k stages of the body, `len(body)` the
    pooled activations. `after(before(x, cut), cut)` is the whole model for every cut; activations of a frozen part can
    therefore be kept and re-used.
    """

    def __init__(self, normalize: Normalize, body: nn.Sequential, head: nn.Sequential, *, maps: bool):
        super().__init__()
        self.normalize, self.body, self.head = normalize, body, head
        self.pool = ConcatPool() if maps else nn.Identity()
        self.n_classes = head[-1].out_features
        self.frozen_modules: list[nn.Module] = []  # kept in evaluation mode; set by `freeze_to`

    def forward(self, images: Tensor) -> Tensor:
        return self.after(images, 0)

    def before(self, images: Tensor, cut: int) -> Tensor:
        """What the first `cut` stages make of the pictures."""
        if cut == 0:
            return images
        activations = self.body[:cut](self.normalize(images))
        return self.pool(activations) if cut == len(self.body) else activations

    def after(self, activations: Tensor, cut: int) -> Tensor:
        """Logits (N, K) from the activations at `cut`."""
        if cut == len(self.body):
            return self.head(activations)
        rest = self.body[cut:](self.normalize(activations) if cut == 0 else activations)
        return self.head(self.pool(rest))

    def features(self, images: Tensor) -> Tensor:
        """Pooled activations of the whole body: (N, D)."""
        return self.before(images, len(self.body))

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        for module in self.frozen_modules:
            module.training = False
        return self


@contextmanager
def evaluating(model: nn.Module, device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Inside the block the model predicts: evaluation mode, no gradients, `precision`; after it, its old mode again."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), autocast(device, precision):
            yield
    finally:
        model.train(training)


# Building one --------------------------------------------------------------------------------------------------


@did_you_mean
def build_classifier(
    arch: str, n_classes: int, *, size: int = 128, pretrained: bool = True, dropout: float = 0.5, seed: int = 0
) -> Classifier:
    """A `Classifier` for any torchvision or timm classification architecture, or a packaged efficientnet_lite0/1/2.

    `size` is the pictures' side in pixels, `seed` fixes the random weights. Raises ValueError for an unknown name or a
    size the network cannot take, RuntimeError when weights cannot be fetched.
    """
    with seeded("body", seed):
        body, mean, std = load_body(arch, pretrained)
    body.eval()
    try:
        with torch.no_grad():
            probe = body(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(f"{arch} cannot take pictures of {size} px ({error}); try data.resized(224)") from error
    maps = probe.ndim == 4
    with seeded("head", seed):
        head = make_head(probe.shape[1] * (2 if maps else 1), n_classes, dropout=dropout)
    return Classifier(Normalize(mean, std), body, head, maps=maps)


# Layer groups and freezing ---------------------------------------------------------------------------------------


def _is_stage(module: nn.Module) -> bool:
    return sum(parameter.ndim > 1 for parameter in module.parameters()) > 1


def layer_groups(model: Classifier, how: int | str = 3) -> list[list[nn.Module]]:
    """The network in groups that share a learning rate, first layers first, the head last.

    3: the earlier half of the body's stages, the later half, the head (resnet34: conv1..layer2, layer3..layer4, head,
    as in fastai). 2: body and head. "stages": one group per stage.
    """
    if how not in (2, 3, "stages"):
        raise ValueError(f'layer_groups is 2, 3 or "stages"; got {how!r}')
    whole = isinstance(model.body[0], WholeBody)
    parts = parts_of(model.body[0].network) if whole else list(model.body)
    stage_ends = [index + 1 for index, part in enumerate(parts) if _is_stage(part)] or list(range(1, len(parts) + 1))
    if how == 2:
        ends = []
    elif how == 3:
        ends = [stage_ends[(len(stage_ends) + 1) // 2 - 1]]
    else:
        ends = stage_ends[:-1]
    cuts = [0, *ends, len(parts)]
    groups = [parts[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False) if stop > start]
    return [*groups, [model.head]]


def cut_before(model: Classifier, groups: list[list[nn.Module]], first_trained: int) -> int:
    """The cut (see `Classifier`) up to which nothing trains when groups from `first_trained` on do."""
    if first_trained >= len(groups) - 1:
        return len(model.body)
    if isinstance(model.body[0], WholeBody):
        return 0
    return sum(len(group) for group in groups[:first_trained])


def group_parameters(model: Classifier, groups: list[list[nn.Module]]) -> list[list[nn.Parameter]]:
    """Every parameter once, by group; what stands between the stages (class tokens, position codes) joins the first."""
    group_of: dict[nn.Parameter, int] = {}
    for index, group in enumerate(groups):
        for module in group:
            for parameter in module.parameters():
                group_of.setdefault(parameter, index)  # some networks use a module twice
    grouped = [[] for _ in groups]
    for parameter in model.parameters():
        grouped[group_of.get(parameter, 0)].append(parameter)
    return grouped


def freeze_to(
    model: Classifier, groups: list[list[nn.Module]], n: int, *, bn: str = "frozen", bn_freeze: bool = False
) -> None:
    """Groups from `n` on train, the others do not. Changes `requires_grad` and which modules stay in evaluation mode.

    bn says what normalisation layers of frozen groups do: "frozen" nothing; "affine" their weights train, their
    statistics stay (fastai never had this one); "train" both go on (fastai v1 and v2). `bn_freeze=True` keeps the
    statistics in trained groups of the body too (fastai 0.7's verb).
    """
    if bn not in BN_POLICIES:
        raise ValueError(f"bn is one of {', '.join(BN_POLICIES)}; got {bn!r}")
    if not 0 <= n < len(groups):
        raise ValueError(f"freeze_to(n) takes 0 (all groups train) to {len(groups) - 1} (the head alone); got {n}")
    model.frozen_modules = []
    for index, (modules, parameters) in enumerate(zip(groups, group_parameters(model, groups), strict=True)):
        trained = index >= n
        for parameter in parameters:
            parameter.requires_grad_(trained)
        for module in (m for root in modules for m in root.modules()):
            is_norm = isinstance(module, NORM_LAYERS)
            if is_norm and not trained and bn != "frozen":
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(True)
            in_body = index < len(groups) - 1
            if (not trained and not (is_norm and bn == "train")) or (trained and is_norm and bn_freeze and in_body):
                model.frozen_modules.append(module)
    model.train(model.training)


def group_rows(
    model: Classifier, groups: list[list[nn.Module]], first_trained: int, bn: str, bn_freeze: bool
) -> list[str]:
    """A line per layer group: its stages, how many numbers it holds and trains, what its normalisation layers do."""
    rows = []
    for index, (modules, parameters) in enumerate(zip(groups, group_parameters(model, groups), strict=True)):
        is_head = index == len(groups) - 1
        policy = bn if index < first_trained else "statistics frozen" if bn_freeze and not is_head else "trains"
        total = sum(parameter.numel() for parameter in parameters)
        trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        name = "head" if is_head else str(index)
        rows.append(f"{name:>5}  {len(modules):>6}  {total:>11,}  {trained:>11,}  {policy}")
    return rows


def optimizer_groups(
    model: Classifier, groups: list[list[nn.Module]], lrs: Sequence[float], weight_decay: float
) -> list[dict]:
    """Parameter groups for torch.optim: each layer group's rate; weight decay, but not on norms and biases."""
    result = []
    for parameters, lr in zip(group_parameters(model, groups), _one_each(lrs, len(groups)), strict=True):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for decay, chosen in (
            (weight_decay, [p for p in trained if p.squeeze().ndim > 1]),
            (0.0, [p for p in trained if p.squeeze().ndim <= 1]),  # also scales of shape (C, 1, 1) and class tokens
        ):
            if chosen:
                result.append({"params": chosen, "lr": lr, "base_lr": lr, "weight_decay": decay})
    return result


def spread_rates(lr: float | Sequence[float] | slice, n_groups: int) -> list[float]:
    """One learning rate per layer group, first layers first.

    A number: the same for all. A list or array: as it is. slice(a, b): evenly spaced in log from a to b. slice(b): b
    for the last group, b / 10 for the others (fastai's rules). Raises ValueError when the count does not fit.
    """
    if isinstance(lr, slice):
        if lr.step is not None or not lr.stop or (lr.start is not None and min(lr.start, lr.stop) <= 0):
            raise ValueError(f"a slice of rates is slice(first, last) or slice(last), both above 0; got {lr}")
        if lr.start is None:
            return [lr.stop / 10] * (n_groups - 1) + [lr.stop]
        return [lr.start * (lr.stop / lr.start) ** (index / (n_groups - 1)) for index in range(n_groups)]
    rates = torch.as_tensor(lr, dtype=torch.float64)
    return _one_each(rates.expand(n_groups) if rates.ndim == 0 else rates, n_groups).tolist()


def _one_each(rates: Sequence[float] | Tensor, n_groups: int) -> Sequence[float] | Tensor:
    if len(rates) != n_groups:
        raise ValueError(f"got {len(rates)} learning rates for {n_groups} layer groups; pass one, or one per group")
    return rates
