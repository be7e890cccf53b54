"""A loss as the loop needs it: one number per picture, so that a batch may pass in parts and pictures may weigh."""

import warnings
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.data.dataset import Batch


class PictureLoss(nn.Module):
    """A copy of any loss of logits; one that compares class by class gets one-hot targets and is averaged over them.

    Raises ValueError when it expects probabilities, or does not give one number per picture.
    """

    def __init__(self, loss: nn.Module, n_classes: int):
        super().__init__()
        if not isinstance(loss, nn.Module):
            raise TypeError(f"loss is a module that was made, e.g. loss=nn.CrossEntropyLoss(); got {loss!r}")
        if isinstance(loss, nn.NLLLoss | nn.BCELoss | nn.KLDivLoss):
            raise ValueError(
                f"{type(loss).__name__} expects probabilities, and the network gives logits: use nn.CrossEntropyLoss() "
                "or nn.BCEWithLogitsLoss()"
            )
        self.loss, self.n_classes = deepcopy(loss).cpu(), n_classes
        self.loss.reduction = "none"
        for part in self.loss.modules():
            if 0 <= (ignored := getattr(part, "ignore_index", -1)) < n_classes:
                raise ValueError(
                    f"ignore_index={ignored} would leave a class out of the loss but not out of the metrics: leave its "
                    "pictures out of the data, with data.with_items(...)"
                )
        n = n_classes + 1  # pictures to try it on: nothing can be broadcast by chance
        numbers, answers = torch.arange(n) % n_classes, []
        for targets in (numbers, F.one_hot(numbers, n_classes).float()):
            try:
                with warnings.catch_warnings(action="error"):  # torch only warns of shapes that do not match
                    answers.append(tuple(self.loss(torch.zeros(n, n_classes), targets).shape))
            except (RuntimeError, ValueError, TypeError, IndexError, Warning) as error:
                answers.append(str(error).splitlines()[0])
        fits = [answer in ((n,), (n, n_classes)) for answer in answers]
        if not any(fits):
            raise ValueError(
                f"a loss gives one number for each of {n} pictures; {type(loss).__name__} gives {answers[0]} with "
                f"class numbers and {answers[1]} with one-hot targets"
            )
        self.one_hot = not fits[0]

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(N, K) logits and (N,) class numbers or (N, K) shares -> (N,)."""
        if self.one_hot and not targets.is_floating_point():
            targets = F.one_hot(targets, self.n_classes).to(logits.dtype)
        losses = self.loss(logits, targets)
        return losses if losses.ndim == 1 else losses.mean(dim=1)

    def weights_of(self, batch: Batch) -> Tensor:
        """What each picture counts: its own weight times its class's, as torch's weighted mean has it. (N,)"""
        per_class = self.loss.weight if isinstance(self.loss, nn.CrossEntropyLoss) else None
        if per_class is None or batch.targets.is_floating_point():  # mixed: torch divides by the number of pictures
            return batch.weights
        return batch.weights * per_class[batch.targets]
