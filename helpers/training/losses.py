"""A loss as the loop needs it: one number per picture, so that a batch may pass in parts and pictures may weigh."""

import warnings
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.data.dataset import Batch

OF_PROBABILITIES = (nn.NLLLoss, nn.BCELoss, nn.KLDivLoss)


class PictureLoss(nn.Module):
    """A copy of any loss of logits; one that compares class by class gets one-hot targets and is averaged over them.

    Raises ValueError when it expects probabilities, or does not give one number per picture.
    """

    def __init__(self, loss: nn.Module, n_classes: int):
        super().__init__()
        if not isinstance(loss, nn.Module):
            raise TypeError(f"loss is a module that was made, e.g. loss=nn.CrossEntropyLoss(); got {loss!r}")
        if isinstance(loss, OF_PROBABILITIES):
            raise ValueError(
                f"{type(loss).__name__} expects probabilities, and the network gives logits: use nn.CrossEntropyLoss() "
                "or nn.BCEWithLogitsLoss()"
            )
        self.loss, self.n_classes = deepcopy(loss).cpu(), n_classes
        self.loss.reduction = "none"
        self.one_hot = not self._takes_class_numbers()

    def _takes_class_numbers(self) -> bool:
        n = self.n_classes + 1  # so that nothing can be broadcast by chance
        targets, answers = torch.arange(n) % self.n_classes, []
        for inputs in (targets, F.one_hot(targets, self.n_classes).float()):
            try:
                with warnings.catch_warnings(action="error"):  # torch only warns of shapes that do not match
                    found = tuple(self.loss(torch.zeros(n, self.n_classes), inputs).shape)
            except (RuntimeError, ValueError, TypeError, IndexError, Warning) as error:
                found = str(error).splitlines()[0]
            if found in ((n,), (n, self.n_classes)):
                return inputs is targets
            answers.append(found)
        raise ValueError(
            f"a loss gives one number for each of {n} pictures; {type(self.loss).__name__} gives {answers[0]} with "
            f"class numbers and {answers[1]} with one-hot targets"
        )

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
