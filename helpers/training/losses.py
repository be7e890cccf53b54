"""A loss as the loop needs it: one number per picture, so that a batch may pass in parts and pictures may weigh."""

import warnings
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def per_picture(loss: nn.Module, n_classes: int) -> nn.Module:
    """A copy of any loss of logits: (N, K) logits and (N,) class numbers or (N, K) shares -> (N,).

    One that compares class by class gets one-hot targets and is averaged over them. Raises ValueError when it expects
    probabilities, or does not give one number per picture.
    """
    if not isinstance(loss, nn.Module):
        raise TypeError(f"loss is a module that was made, e.g. loss=nn.CrossEntropyLoss(); got {loss!r}")
    name = type(loss).__name__
    if isinstance(loss, nn.NLLLoss | nn.BCELoss | nn.KLDivLoss):
        fix = "use nn.CrossEntropyLoss() or nn.BCEWithLogitsLoss()"
        raise ValueError(f"{name} expects probabilities, and the network gives logits: {fix}")
    loss = deepcopy(loss).cpu()
    loss.reduction = "none"
    for part in loss.modules():
        if 0 <= (ignored := getattr(part, "ignore_index", -1)) < n_classes:
            found = f"ignore_index={ignored} would leave a class out of the loss but not out of the metrics"
            raise ValueError(f"{found}: leave its pictures out of the data, with data.with_items(...)")
    n = n_classes + 1  # pictures to try it on: nothing can be broadcast by chance
    numbers, answers = torch.arange(n) % n_classes, []
    for targets in (numbers, F.one_hot(numbers, n_classes).float()):
        try:
            with warnings.catch_warnings(action="error"):  # torch only warns of shapes that do not match
                answers.append(tuple(loss(torch.zeros(n, n_classes), targets).shape))
        except (RuntimeError, ValueError, TypeError, IndexError, Warning) as error:
            answers.append(str(error).splitlines()[0])
    fits = [answer in ((n,), (n, n_classes)) for answer in answers]
    if not any(fits):
        found = f"{name} gives {answers[0]} with class numbers and {answers[1]} with one-hot targets"
        raise ValueError(f"a loss gives one number for each of {n} pictures; {found}")
    return loss if answers[0] == (n,) else ClassByClass(loss, one_hot=not fits[0])


class ClassByClass(nn.Module):
    """The mean over the classes of a loss that gives (N, K), from (N,) class numbers or (N, K) shares: (N,)."""

    def __init__(self, loss: nn.Module, *, one_hot: bool):
        super().__init__()
        self.loss, self.one_hot = loss, one_hot

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.one_hot and not targets.is_floating_point():
            targets = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        losses = self.loss(logits, targets)
        return losses if losses.ndim == 1 else losses.mean(dim=1)
