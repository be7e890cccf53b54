"""Layer groups: what is frozen, what trains, and at which rate."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from helpers.models.bodies import parts_of
from helpers.models.classifier import Classifier

BN_POLICIES = ("frozen", "affine", "train", "frozen everywhere")
NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


def layer_groups(model: Classifier, how: int | str = 3) -> list[list[nn.Module]]:
    """The network in groups that share a learning rate, first layers first, the head last.

    3: the earlier half of the body's stages, the later half, the head (resnet34: conv1..layer2, layer3..layer4, head,
    as in fastai). 2: body and head. "stages": one group per stage.
    """
    if how not in (2, 3, "stages"):
        raise ValueError(f'layer_groups is 2, 3 or "stages"; got {how!r}')
    if not list(model.head.parameters()):  # a network of a reader's own
        return [list(model.body)]
    parts = list(model.body) if len(model.body) > 1 else parts_of(model.body[0]) or list(model.body)
    # A stage ends with a part of several weight matrices; a stem's single convolution, norms and activations join it.
    ends = [end for end, part in enumerate(parts, 1) if sum(p.ndim > 1 for p in part.parameters()) > 1]
    ends = ends or list(range(1, len(parts) + 1))
    inner_ends = {2: [], 3: [ends[(len(ends) - 1) // 2]], "stages": ends[:-1]}[how]
    groups = [parts[start:end] for start, end in pairwise([0, *inner_ends, len(parts)]) if end > start]
    return [*groups, [model.head]]


def split_point_before(model: Classifier, groups: list[list[nn.Module]], first_trained: int) -> int:
    """The split point (see `Classifier`) up to which nothing trains when groups from `first_trained` on do."""
    if groups[first_trained] == [model.head]:
        return len(model.body)
    return sum(map(len, groups[:first_trained])) if groups[0][0] is model.body[0] else 0


def group_parameters(model: Classifier, groups: list[list[nn.Module]]) -> list[list[nn.Parameter]]:
    """Every parameter once, by group; what lies between the stages (class tokens, position codes) joins the first."""
    group_of: dict[nn.Parameter, int] = {}
    for index, group in enumerate(groups):
        for parameter in nn.ModuleList(group).parameters():
            group_of.setdefault(parameter, index)  # some networks use a module twice
    grouped = [[] for _ in groups]
    for parameter in model.parameters():
        grouped[group_of.get(parameter, 0)].append(parameter)
    return grouped


def freeze_to(model: Classifier, groups: list[list[nn.Module]], n: int, *, bn: str = "frozen") -> int:
    """Groups from `n` on train, the others do not: sets `requires_grad` and which modules stay in evaluation mode.

    Returns the split point (see `Classifier`) up to which nothing changes while training.
    bn says what normalisation layers do. In frozen groups: "frozen" nothing; "affine" their weights train, their
    statistics stay (fastai never had this one); "train" both go on (fastai v1 and v2).
    "frozen everywhere": as "frozen", and the body's statistics stay in groups that train, too (0.7's `bn_freeze`).
    """
    if bn not in BN_POLICIES:
        raise ValueError(f"bn is one of {', '.join(BN_POLICIES)}; got {bn!r}")
    if not 0 <= n < len(groups):
        raise ValueError(f"freeze_to(n) takes 0 (all groups train) to {len(groups) - 1} (the last alone); got {n}")
    for index, parameters in enumerate(group_parameters(model, groups)):
        for parameter in parameters:
            parameter.requires_grad_(index >= n)
    frozen = {module for group in groups[:n] for root in group for module in root.modules()}
    norms = {module for module in model.body.modules() if isinstance(module, NORM_LAYERS)}
    if bn in ("affine", "train"):
        for norm in frozen & norms:
            norm.requires_grad_(True)
    model.frozen_modules = list({"train": frozen - norms, "frozen everywhere": frozen | norms}.get(bn, frozen))
    model.train(model.training)
    return split_point_before(model, groups, n) if bn.startswith("frozen") else 0


def optimizer_groups(
    model: Classifier, groups: list[list[nn.Module]], lr: float | Sequence[float] | slice, weight_decay: float
) -> list[dict]:
    """Parameter groups for torch.optim: each layer group's rate (see `spread_rates`); no decay of norms and biases."""
    result = []
    for parameters, rate in zip(group_parameters(model, groups), spread_rates(lr, len(groups)), strict=True):
        for decays in (True, False):  # not: also scales of shape (C, 1, 1) and class tokens
            chosen = [p for p in parameters if p.requires_grad and (p.squeeze().ndim > 1) == decays]
            if chosen:
                result.append({"params": chosen, "lr": rate, "base_lr": rate, "weight_decay": weight_decay * decays})
    return result


def spread_rates(lr: float | Sequence[float] | slice, n_groups: int) -> list[float]:
    """One learning rate per layer group, first layers first.

    A number: the same for all. A list or array: as it is. slice(a, b): evenly spaced in log from a to b. slice(b): b
    for the last group, b / 10 for the others (fastai's rules). Raises ValueError when the count does not fit, and for
    a negative rate, which would climb the loss.
    """
    if isinstance(lr, slice):
        if lr.step is not None or not lr.stop or min(lr.stop if lr.start is None else lr.start, lr.stop) <= 0:
            raise ValueError(f"a slice of rates is slice(first, last) or slice(last), both above 0; got {lr}")
        if lr.start is None or n_groups == 1:
            return [lr.stop / 10] * (n_groups - 1) + [lr.stop]
        return [lr.start * (lr.stop / lr.start) ** (index / (n_groups - 1)) for index in range(n_groups)]
    rates = torch.as_tensor(lr, dtype=torch.float64)
    rates = rates.expand(n_groups) if rates.ndim == 0 else rates
    if len(rates) != n_groups:
        raise ValueError(f"got {len(rates)} learning rates for {n_groups} layer groups; pass one, or one per group")
    if (rates < 0).any():
        raise ValueError(f"a learning rate is 0 or more; got {lr}")
    return rates.tolist()
