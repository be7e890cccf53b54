"""What a model says about pictures, as one record in the order of the items; also from several views of each (TTA)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from helpers.data import augment as augmentation
from helpers.data.dataset import ImageData
from helpers.data.items import Item
from helpers.data.pixels import upload
from helpers.models.classifier import Classifier, evaluating
from helpers.runtime.progress import progress
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

    def check_numbers(self) -> None:
        """Raise ValueError when a prediction is not a number."""
        if broken := int(self.log_probs.isnan().any(1).sum()):
            raise ValueError(f"{broken} of {len(self.items)} predictions are not numbers: the training has diverged")

    def accuracy(self) -> float:
        """Share of the labelled pictures given their own class."""
        return float(self.correct.sum() / (self.targets >= 0).sum())

    def subset(self, rows: Sequence[int]) -> "Predictions":
        """The same record for these rows, in their order."""
        rows = torch.as_tensor(rows, dtype=torch.int64)
        items = tuple(self.items[row] for row in rows.tolist())
        return replace(self, items=items, log_probs=self.log_probs[rows], targets=self.targets[rows])


def predict(
    model: Classifier,
    source,
    rows: Tensor,
    *,
    split_point: int = 0,
    device: torch.device,
    precision: torch.dtype,
    batch_size: int = 64,
) -> Tensor:
    """Log probabilities (n, K) of the pictures (or cached features) at `rows` of `source`, without augmentation."""
    outputs = []
    with evaluating(model, device, precision):
        for batch in progress(
            source.eval_batches(rows, device, batch_size), "predicting", total=-(-len(rows) // batch_size)
        ):
            outputs.append(model.after(batch.inputs, split_point).float().log_softmax(dim=1))
    return torch.cat(outputs).cpu()


def predict_files(
    model: Classifier,
    data: ImageData,
    paths: Sequence[Path],
    *,
    device: torch.device,
    precision: torch.dtype,
    batch_size: int = 64,
) -> Tensor:
    """Log probabilities (n, K) of picture files, which pass as the validation pictures of `data` do."""
    outputs = []
    with evaluating(model, device, precision):
        for start in progress(range(0, len(paths), batch_size), "predicting"):
            squares = upload(data.read_squares(paths[start : start + batch_size]), device)
            outputs.append(model(augmentation.resize(squares, data.size)).float().log_softmax(dim=1))
    return torch.cat(outputs).cpu()


def predict_views(
    model: Classifier,
    data: ImageData,
    rows: Tensor,
    *,
    n: int = 4,
    beta: float = 0.25,
    use_max: bool = False,
    device: torch.device,
    precision: torch.dtype,
    batch_size: int = 64,
) -> Tensor:
    """Test-time augmentation: log probabilities (len(rows), K) from `n` augmented views and the plain one.

    (1 - beta) x mean of the views + beta x plain, or the largest of all with `use_max` (fastai v2's rules; `n` and
    `beta` its defaults). All views are cut from the same decoded pixels, batch by batch.
    """
    if n < 1 or not 0 <= beta <= 1:
        raise ValueError(f"tta needs n of at least 1 and beta in 0..1; got n={n}, beta={beta}")
    outputs = []
    with evaluating(model, device, precision):
        for plain, views in progress(
            _views(data, rows, n, device, batch_size), "tta", total=-(-len(rows) // batch_size)
        ):
            own = model(plain).float().softmax(dim=1)
            seen = torch.stack([model(view).float().softmax(dim=1) for view in views])  # (n, N, K)
            if use_max:
                combined = torch.maximum(seen.amax(dim=0), own)
                combined = combined / combined.sum(dim=1, keepdim=True)
            else:
                combined = (1 - beta) * seen.mean(dim=0) + beta * own
            outputs.append(combined.clamp(min=1e-12).log())
    return torch.cat(outputs).cpu()


def _views(
    data: ImageData, rows: Tensor, n: int, device: torch.device, batch_size: int
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    store = data.store_on(device)
    draws = [augmentation.draw(len(rows), data.augment, generator("tta", number)) for number in range(n)]
    for some in torch.arange(len(rows)).split(batch_size):
        squares = upload(store.squares(rows[some]), device)
        moved = [upload(store.squares(rows[some], draw.crop_position[some]), device) for draw in draws]
        views = [augmentation.apply_draws(view, draw[some], data.size) for view, draw in zip(moved, draws, strict=True)]
        yield augmentation.resize(squares, data.size), views
