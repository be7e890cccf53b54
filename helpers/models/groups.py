"""Layer groups: what is frozen, what trains, and at which rate."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from helpers.models.bodies import WholeBody, parts_of
from helpers.models.classifier import Classifier

BN_POLICIES = ("frozen", "affine", "train", "frozen everywhere")
NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


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
    split_points = [0, *ends, len(parts)]
    groups = [parts[start:stop] for start, stop in zip(split_points, split_points[1:], strict=False) if stop > start]
    return [*groups, [model.head]] if list(model.head.parameters()) else groups


def split_point_before(model: Classifier, groups: list[list[nn.Module]], first_trained: int) -> int:
    """The split point (see `Classifier`) up to which nothing trains when groups from `first_trained` on do."""
    if groups[first_trained] == [model.head]:
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


def freeze_to(model: Classifier, groups: list[list[nn.Module]], n: int, *, bn: str = "frozen") -> None:
    """Groups from `n` on train, the others do not. Changes `requires_grad` and which modules stay in evaluation mode.

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
    still = {"train": frozen - norms, "frozen everywhere": frozen | norms}.get(bn, frozen)
    model.frozen_modules = list(still)
    model.train(model.training)


def group_rows(model: Classifier, groups: list[list[nn.Module]], first_trained: int, bn: str) -> list[str]:
    """A line per layer group: its stages, how many parameters it has and trains, what its normalisation layers do."""
    rows = []
    for index, (modules, parameters) in enumerate(zip(groups, group_parameters(model, groups), strict=True)):
        name = "head" if modules == [model.head] else str(index)
        policy = "trains" if index >= first_trained else bn.removesuffix(" everywhere")
        if bn == "frozen everywhere" and name != "head" and index >= first_trained:
            policy = "statistics frozen"
        total = sum(parameter.numel() for parameter in parameters)
        trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
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
    if (rates < 0).any():
        raise ValueError(f"a learning rate is 0 or more; got {lr}")
    return _one_each(rates.expand(n_groups) if rates.ndim == 0 else rates, n_groups).tolist()


def _one_each(rates: Sequence[float] | Tensor, n_groups: int) -> Sequence[float] | Tensor:
    if len(rates) != n_groups:
        raise ValueError(f"got {len(rates)} learning rates for {n_groups} layer groups; pass one, or one per group")
    return rates
