"""Activations of a frozen body, computed once: a data set that trains in the same loop as pictures do.

What is kept is named by everything it depends on (the pictures' content, their size, the weights, the arithmetic), so
a stale activation is never served. With `copies` the body also sees each training picture that many times augmented;
every epoch then takes one of the copies by chance: augmentation and precomputed activations at once.
"""

import hashlib
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

import data_setup
from helpers.data import augment as augmentation
from helpers.data.dataset import Batch, ImageData, even_batches
from helpers.data.splits import Split
from helpers.models.classifier import Classifier, evaluating
from helpers.runtime.files import load_tensors, save_tensors
from helpers.runtime.progress import progress
from helpers.runtime.seeds import generator

SEEDS = "feature copies"
KEPT_BYTES = 4_000_000_000  # on the disk; eight copies of 2,624 pictures at 224 px in the middle of lite0 are 0.6 GB


class FeatureData:
    """Activations at one cut of a model for every picture of `data`; offers the same batches as `ImageData`.

    plain (n_items, ...): not augmented, rows as in `data.items`.  augmented (copies, n_train, ...), rows as in
    `data.indices_of("train")`; with no copies training sees the plain ones.
    """

    def __init__(self, data: ImageData, split_point: int, plain: Tensor, augmented: Tensor):
        self.data, self.split_point, self.plain, self.augmented = data, split_point, plain, augmented

    def __repr__(self) -> str:
        return f"activations at cut {self.split_point} ({len(self.augmented)} augmented copies) of {self.data}"

    @property
    def split(self) -> Split:
        return self.data.split

    def indices_of(self, part: str) -> Tensor:
        """Rows of "train", "valid" or "test"."""
        return self.data.indices_of(part)

    def train_batches(self, device: torch.device, batch_size: int, *key: object) -> Iterator[Batch]:
        """One epoch in random order; `key` fixes the order and which copy each picture gets."""
        rng = generator("epoch", *key)
        indices = self.data.indices_of("train")
        order = torch.randperm(len(indices), generator=rng)
        copies = len(self.augmented)
        chosen = torch.randint(max(copies, 1), (len(indices),), generator=rng)
        for rows in even_batches(order, batch_size):
            inputs = self.augmented[chosen[rows], rows] if copies else self.plain[indices[rows]]
            yield self._batch(inputs, indices[rows], device)

    def eval_batches(self, indices: Tensor, device: torch.device, batch_size: int) -> Iterator[Batch]:
        """The plain activations in the order of `indices`."""
        for rows in indices.split(batch_size):
            yield self._batch(self.plain[rows], rows, device)

    def _batch(self, inputs: Tensor, rows: Tensor, device: torch.device) -> Batch:
        columns = (inputs.float(), self.data.targets[rows], self.data.weights[rows])
        return Batch(*(column.to(device, non_blocking=True) for column in columns))


def weights_digest(model: Classifier, split_point: int) -> str:
    """sha256 over the statistics, the layers and the weights of the first `cut` stages."""
    digest = hashlib.sha256(repr(model.body[:split_point]).encode())
    for part in (model.normalize, model.body[:split_point]):
        for name, tensor in part.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def precompute(
    model: Classifier,
    data: ImageData,
    *,
    split_point: int,
    device: torch.device,
    precision: torch.dtype,
    copies: int = 0,
) -> FeatureData:
    """`FeatureData` at `cut`, from the disk if this very body has seen these very pictures, else computed and kept.

    Raises ValueError for negative copies.
    """
    if copies < 0:
        raise ValueError(f"copies is how many augmented versions of each picture are kept, 0 or more; got {copies}")
    augment = (augmentation.CACHE_VERSION, data.augment) if copies else None  # without copies it does not matter
    described = (
        data.key,
        data.size,
        data.split.digest(),
        weights_digest(model, split_point),
        split_point,
        str(precision),
        augment,
        copies,
    )
    key = hashlib.sha256(repr(described).encode()).hexdigest()[:24]
    file = data_setup.home() / "cache" / "features" / f"{key}.safetensors"
    try:
        tensors, _ = load_tensors(file)
        file.touch()  # used again: `forget_oldest` goes by this time
    except (FileNotFoundError, ValueError):  # never computed, or damaged since
        tensors = _compute(model, data, split_point, device, precision, copies)
        save_tensors(file, tensors, {"what": "activations", "images": str(data)})
        forget_oldest(file.parent)
    return FeatureData(data, split_point, tensors["plain"], tensors["augmented"])


def forget_oldest(folder: Path, *, most_bytes: int = KEPT_BYTES) -> None:
    """Delete the activations in `folder` that were not used for longest, until the rest fits; the newest file stays."""
    files = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
    sizes = accumulate(file.stat().st_size for file in files)
    for number, (file, total) in enumerate(zip(files, sizes, strict=True)):
        if number > 0 and total > most_bytes:
            file.unlink(missing_ok=True)


def _compute(
    model: Classifier, data: ImageData, split_point: int, device: torch.device, precision: torch.dtype, copies: int
) -> dict[str, Tensor]:
    batch_size = max(data.batch_size, 64)
    everything, training = torch.arange(len(data.items)), data.indices_of("train")
    passes = [(everything, None)] + [(training, number) for number in range(copies)]
    bar = progress(title="activations", total=sum(len(rows) for rows, _ in passes))
    results = []
    with evaluating(model, device, precision), bar:
        for rows, number in passes:
            outputs = []
            for batch in _views(data, rows, number, device, batch_size):
                outputs.append(model.before(batch.inputs, split_point).cpu())
                bar.update(len(batch))
            results.append(torch.cat(outputs))
    return {"plain": results[0], "augmented": torch.stack(results[1:]) if copies else torch.empty(0)}


def _views(data: ImageData, rows: Tensor, number: int | None, device: torch.device, batch_size: int) -> Iterator[Batch]:
    if number is None:
        return data.eval_batches(rows, device, batch_size)
    draws = augmentation.draw(len(rows), data.augment, generator(SEEDS, number))
    return data.drawn_batches(rows, draws, device, batch_size)
