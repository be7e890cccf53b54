"""The eight symmetries of the square, exactly: every picture passes the frozen part of a network once in each.

Training then takes one of the eight by chance, and test-time augmentation is the mean over all eight, without another
pass through the frozen part. `python -m helpers.lessons.published` is built on it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial

import torch
from torch import Tensor

import data_setup
from data_setup.base.progress import progress
from helpers.analysis.predictions import Arithmetic, predict
from helpers.data.augment import Draws
from helpers.data.dataset import WHOLE, Batch, ImageData, even_batches
from helpers.learner import Learner
from helpers.lessons.figures import identity
from helpers.models.classifier import Classifier
from helpers.models.features import body_fingerprint
from helpers.models.folding import predicting
from helpers.runtime.device import upload
from helpers.runtime.seeds import generator
from helpers.runtime.tensor_files import load_tensors, save_tensors

SYMMETRIES = 8


def symmetry(n: int, k: int) -> Draws:
    """For `n` pictures the symmetry number `k`, 0 to 7: k % 4 quarter turns, and mirrored from 4 on; nothing else."""
    still = identity(n)
    mirror = -still.mirror if k >= SYMMETRIES // 2 else still.mirror
    return replace(still, mirror=mirror, quarter_turns=torch.full((n,), float(k % 4)))


class Symmetries:
    """Activations at `split_point` of all pictures in all symmetries; a `Source` to train from.

    views: a table for each symmetry, (n_items, ...) in any float type, rows as in `data.items`. Validation sees the
    first one.
    """

    def __init__(self, data: ImageData, split_point: int, views: list[Tensor]):
        self.data, self.split_point, self.views, self.rows = data, split_point, views, data.rows
        self.facts = data.facts | {"data": f"{len(views)} symmetries at split point {split_point} of {data}"}

    def train_batches(self, device: torch.device, batch_size: int, *key: object, share=WHOLE) -> Iterator[Batch]:
        """One epoch in random order, each picture in a symmetry drawn for it; `key` fixes both."""
        rng, indices = generator("epoch", *key), self.rows["train"]
        order = torch.randperm(len(indices), generator=rng)
        chosen = torch.randint(len(self.views), (len(indices),), generator=rng)
        for some in even_batches(order, batch_size, share):
            yield self._batch(chosen[some], indices[some], device)

    def eval_batches(self, rows: Tensor, device: torch.device, batch_size: int) -> Iterator[Batch]:
        """In the order of `rows`, as the first table has them."""
        for some in rows.split(batch_size):
            yield self._batch(torch.zeros_like(some), some, device)

    def seen_as(self, k: int) -> "Symmetries":
        """Symmetry `k` alone."""
        return Symmetries(self.data, self.split_point, self.views[k : k + 1])

    def _batch(self, chosen: Tensor, rows: Tensor, device: torch.device) -> Batch:
        pairs = zip(chosen.tolist(), rows.tolist(), strict=True)
        inputs = torch.stack([self.views[view][row] for view, row in pairs])
        columns = inputs, self.data.targets[rows], self.data.weights[rows]
        inputs, targets, weights = (upload(column, device) for column in columns)
        return Batch(inputs.float(), targets, weights)


@dataclass(eq=False, repr=False)
class SymmetryLearner(Learner):
    """A `Learner` that trains, validates and predicts from `Symmetries`."""

    _: KW_ONLY
    symmetries: Symmetries | None = None

    def source(self, *, training: bool = True) -> ImageData | Symmetries:
        """The activations of this split point, once `look` has made them; else the pictures."""
        return self.symmetries or self.data

    def look(self, n: int = SYMMETRIES) -> None:
        """Make the activations of `n` symmetries at the present split point, or read those that are on the disk."""
        how = self.model, self.data, self.split_point, Arithmetic(self.device, self.prediction_precision)
        views = [activations(*how, k) for k in range(n)]
        self.symmetries = Symmetries(self.data, self.split_point, views)


@dataclass(frozen=True)
class Turned:
    """The pictures of `data` in symmetry `k`: a source to predict from, for a network that is asked as a whole."""

    data: ImageData
    k: int

    def eval_batches(self, rows: Tensor, device: torch.device, batch_size: int) -> Iterator[Batch]:
        """In the order of `rows`."""
        return self.data.drawn_batches(rows, symmetry(len(rows), self.k), device, batch_size)


def probs_by_symmetry(learn: Learner) -> Tensor:
    """(8, n_valid, K) probabilities of the validation pictures, rows in item order; from activations where they are."""
    rows, found = learn.data.indices_of("valid"), learn.source(training=False)
    seen_as = found.seen_as if isinstance(found, Symmetries) else partial(Turned, found)
    how = Arithmetic(learn.device, learn.prediction_precision, 2 * learn.data.batch_size)
    return torch.stack([predict(learn.model, seen_as(k), rows, how).exp() for k in range(SYMMETRIES)])


def activations(model: Classifier, data: ImageData, split_point: int, how: Arithmetic, k: int) -> Tensor:
    """What the first `split_point` stages make of every picture in symmetry `k`: (n_items, ...), in `how.precision`.

    Kept on the disk under a name made of all that it depends on: pictures, size, weights and arithmetic.
    """
    facts = data.key, data.size, body_fingerprint(model, split_point), split_point, str(how.precision), k
    name = hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
    file = data_setup.home() / "cache" / "symmetries" / f"{name}.safetensors"
    rows, title = torch.arange(len(data.items)), f"symmetry {k + 1} of {SYMMETRIES}"
    try:
        return load_tensors(file)[0]["activations"]
    except (FileNotFoundError, ValueError):  # not made yet, or damaged
        batches = data.drawn_batches(rows, symmetry(len(rows), k), how.device, how.batch_size)
    bar = progress(batches, title, total=-(-len(rows) // how.batch_size))
    with predicting(model, how.device, how.precision):
        parts = [model.before(batch.inputs, split_point).to(how.precision).cpu() for batch in bar]
    save_tensors(file, {"activations": torch.cat(parts)}, {"what": title, "images": str(data)})
    return load_tensors(file)[0]["activations"]
