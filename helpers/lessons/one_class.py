"""One class against the rest: what a model says of several classes, read as the answer to "is it a ...?"."""

from dataclasses import replace

import torch

from helpers.analysis.predictions import Predictions, class_index

OTHERS = "others"


def against_the_rest(preds: Predictions, label: str) -> Predictions:
    """The same predictions with two classes, `label` and "others"; of two classes the predictions as they are.

    The probability of "others" is the sum of theirs. Raises ValueError for a label that is not a class.
    """
    column = class_index(preds, label)
    if len(preds.classes) == 2:
        return preds
    one = preds.log_probs[:, column]
    rest = torch.cat([preds.log_probs[:, :column], preds.log_probs[:, column + 1 :]], dim=1).logsumexp(dim=1)
    targets = torch.where(preds.targets < 0, preds.targets, (preds.targets != column).long())
    items = tuple(
        item if item.label is None or item.label == label else replace(item, label=OTHERS) for item in preds.items
    )
    return replace(
        preds, items=items, log_probs=torch.stack([one, rest], dim=1), targets=targets, classes=(label, OTHERS)
    )
