"""What a model says about pictures, as one record in the order of the items; also from several views of each (TTA)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from data_setup.base.arguments import closest
from data_setup.base.progress import progress
from data_setup.items import Item
from helpers.data import augment as augmentation
from helpers.data.dataset import WHOLE, ImageData
from helpers.models.classifier import Classifier
from helpers.models.folding import predicting
from helpers.runtime.device import upload
from helpers.runtime.distributed import total
from helpers.runtime.seeds import generator


@dataclass(frozen=True)
class Predictions:
    """Row i of every field is about items[i]."""

    items: tuple[Item, ...]
    log_probs: Tensor  # (N, K) float32 on the CPU
    targets: Tensor  # (N,) int64, -1 where there is no label
    classes: tuple[str, ...]
    part: str = "custom"  # "train", "valid", "test" or "custom"

    @property
    def probs(self) -> Tensor:
        """(N, K), rows sum to 1."""
        return self.log_probs.exp()

    @property
    def predicted(self) -> Tensor:
        """(N,) the class with the largest probability."""
        return self.log_probs.argmax(dim=1)

    @property
    def losses(self) -> Tensor:
        """(N,) negative log likelihood of the true class; nan where there is no label."""
        own = -self.log_probs.gather(1, self.targets.clamp(min=0)[:, None])[:, 0]
        return torch.where(self.targets >= 0, own, torch.full_like(own, torch.nan))

    @property
    def correct(self) -> Tensor:
        """(N,) bool; False where there is no label."""
        return self.predicted == self.targets

    def labelled(self) -> "Predictions":
        """The rows that have a label. Raises ValueError without any, or when a prediction is not a number."""
        self.check_numbers()
        rows = (self.targets >= 0).nonzero().flatten()
        if not len(rows):
            raise ValueError(f"none of these {len(self.items)} pictures has a label to compare the answers with")
        return self.subset(rows)

    def check_numbers(self) -> None:
        """Raise ValueError when a prediction is not a number."""
        if broken := int(self.log_probs.isnan().any(1).sum()):
            raise ValueError(f"{broken} of {len(self.items)} predictions are not numbers: the training has diverged")

    def accuracy(self) -> float:
        """Share of the labelled pictures given their own class; nan without labels."""
        self.check_numbers()
        return float(self.correct.sum() / (self.targets >= 0).sum())

    def subset(self, rows: Sequence[int]) -> "Predictions":
        """The same record for these rows, in their order."""
        rows = torch.as_tensor(rows, dtype=torch.int64)
        items = tuple(self.items[row] for row in rows.tolist())
        return replace(self, items=items, log_probs=self.log_probs[rows], targets=self.targets[rows])


def class_index(preds: Predictions, name: str) -> int:
    """The column of this class. Raises ValueError with the closest name."""
    if name not in preds.classes:
        raise ValueError(f"{name!r} is not a class; {closest(name, preds.classes)}")
    return preds.classes.index(name)


def check_same_pictures(first: Predictions, second: Predictions) -> None:
    """Raise ValueError, naming the difference, unless both are about the same pictures, classes and labels."""
    ours, theirs = ([item.name for item in record.items] for record in (first, second))
    if first.classes != second.classes:
        raise ValueError(f"the two records have different classes: {first.classes} and {second.classes}")
    if unpaired := set(ours) ^ set(theirs):
        where = "first" if min(unpaired) in ours else "second"
        here = f"{len(unpaired)} are in one record only, e.g. {min(unpaired)} in the {where}"
        raise ValueError(f"both records have to be about the same pictures: {here}")
    if ours != theirs:
        raise ValueError("the same pictures are in another order or number; predict both with the same data and part")
    if changed := (first.targets != second.targets).nonzero().flatten().tolist():
        here = f"{len(changed)} labels differ between the two records, e.g. of {ours[changed[0]]}"
        raise ValueError(f"{here}; predict both after the relabelling")


class Arithmetic(NamedTuple):
    """Where a model predicts, in which precision, how many pictures at a time, and which of them this process takes."""

    device: torch.device
    precision: torch.dtype
    batch_size: int = 64
    share: slice = WHOLE  # of several processes, see `helpers.runtime.distributed`: every one is given all answers


def predict(model: Classifier, source, rows: Tensor, how: Arithmetic) -> Tensor:
    """Log probabilities (n, K) of the pictures (or cached features) at `rows` of `source`, without augmentation."""
    split_point = getattr(source, "split_point", 0)  # pictures pass the whole model
    batches = source.eval_batches(rows[how.share], how.device, how.batch_size)
    return _one_pass(model, batches, lambda batch: model.after(batch.inputs, split_point), len(rows), how)


def predict_files(model: Classifier, data: ImageData, paths: Sequence[Path], how: Arithmetic) -> Tensor:
    """Log probabilities (n, K) of picture files, which pass as the validation pictures of `data` do."""
    mine, n = paths[how.share], how.batch_size
    some = (mine[start : start + n] for start in range(0, len(mine), n))
    pictures = (augmentation.resize(upload(data.read_squares(files), how.device), data.size) for files in some)
    return _one_pass(model, pictures, model, len(paths), how)


def predict_views(
    model: Classifier, data: ImageData, rows: Tensor, how: Arithmetic, *, n: int, beta: float, use_max: bool
) -> Tensor:
    """Test-time augmentation: log probabilities (len(rows), K) from `n` augmented views and the plain one.

    (1 - beta) x mean of the views + beta x plain, or the largest of all with `use_max` (fastai v2's rules). All views
    are cut from the same decoded pixels, batch by batch.
    """
    if n < 1 or not 0 <= beta <= 1:
        raise ValueError(f"tta needs n of at least 1 and beta in 0..1; got n={n}, beta={beta}")

    def combined(views: list[Tensor]) -> Tensor:
        plain, *others = (model(view).float().softmax(dim=1) for view in views)
        seen = torch.stack(others)  # (n, N, K)
        probs = torch.maximum(seen.amax(dim=0), plain) if use_max else (1 - beta) * seen.mean(dim=0) + beta * plain
        return probs.clamp(min=1e-12).log()

    return _one_pass(model, _views(data, rows, n, how), combined, len(rows), how)


def _views(data: ImageData, rows: Tensor, n: int, how: Arithmetic) -> Iterator[list[Tensor]]:
    """The plain pictures of each batch, then `n` augmented views of them."""
    store = data.store_on(how.device)
    draws = [augmentation.draw(len(rows), data.augment, generator("tta", number)) for number in range(n)]
    for some in torch.arange(len(rows))[how.share].split(how.batch_size):
        moved = [upload(store.squares(rows[some], draw.crop_position[some]), how.device) for draw in draws]
        views = [augmentation.apply_draws(view, draw[some], data.size) for view, draw in zip(moved, draws, strict=True)]
        yield [augmentation.resize(upload(store.squares(rows[some]), how.device), data.size), *views]


def _one_pass(model: Classifier, batches: Iterable, logits_of: Callable, n: int, how: Arithmetic) -> Tensor:
    """`logits_of` every batch (some, K) as log probabilities, one below the other on the CPU: (n, K) float32."""
    with predicting(model, how.device, how.precision):
        bar = progress(batches, "predicting", total=-(-len(range(n)[how.share]) // how.batch_size))
        mine = torch.cat([logits_of(batch).float().log_softmax(dim=1) for batch in bar]).cpu()
    if len(mine) == n:
        return mine
    table = mine.new_zeros(n, mine.shape[1])
    table[how.share] = mine
    return total(table)
