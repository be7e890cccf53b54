"""One training as a record: what it was asked to do, how far it is, and what it did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers.data.dataset import ImageData
from helpers.models.classifier import Classifier
from helpers.models.features import FeatureData
from helpers.training.metrics import Metric
from helpers.training.schedules import Schedule

BatchTransform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Epoch:
    """One row of the history."""

    number: int  # counted from 0 over the learner's life
    train_loss: float  # mean per picture, as seen while training
    valid_loss: float
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True, repr=False)
class History:
    """What a training did: a row per epoch and three numbers per step."""

    epochs: tuple[Epoch, ...] = ()
    losses: tuple[float, ...] = ()
    lrs: tuple[float, ...] = ()  # of the last layer group
    momentums: tuple[float, ...] = ()
    steps_per_epoch: tuple[int, ...] = ()

    @property
    def next_epoch(self) -> int:
        """The number the next epoch gets."""
        return self.epochs[-1].number + 1 if self.epochs else 0

    def __repr__(self) -> str:
        return f"History: epochs {len(self.epochs)}, steps {len(self.losses)}"

    def __add__(self, later: "History") -> "History":
        return History(*(getattr(self, name) + getattr(later, name) for name in self.__dataclass_fields__))


class Hook:
    """What may be done around the loop. Override any of these; `run` is the `Run` in progress."""

    def on_fit_begin(self, run: "Run") -> None:
        """Before the first step."""

    def on_step_end(self, run: "Run") -> None:
        """After every update of the weights."""

    def on_epoch_end(self, run: "Run") -> None:
        """After an epoch was judged and recorded. `run.stop = True` ends the training here."""

    def on_fit_end(self, run: "Run") -> None:
        """After the last step, also when training was interrupted."""


@dataclass
class Run:
    """One training: what it was asked to do, and how far it is. The loop and the hooks share it."""

    model: Classifier
    optimizer: torch.optim.Optimizer
    source: ImageData | FeatureData
    loss: nn.Module  # gives one loss per picture
    schedule: Schedule  # progress -> multiplier of every group's rate
    epochs: int
    device: torch.device
    momentum: Schedule | None = None  # progress -> momentum
    split_point: int = 0  # where the source's inputs enter the model
    batch_size: int = 32
    micro_batches: int = 1  # a batch passes through the model in this many parts
    precision: torch.dtype = torch.float32
    max_norm: float | None = None  # gradients longer than this are shortened to it
    metrics: dict[str, Metric] = field(default_factory=dict)
    batch_transform: BatchTransform | None = None
    hooks: Sequence[Hook] = ()
    seed: int = 0
    first_epoch: int = 0  # the learner's count of epochs when this run began
    checkpoint: Path | None = None
    done: int = 0  # epochs of this run
    step: int = 0
    stop: bool = False
    history: History = field(default_factory=History)

    def __post_init__(self):
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)

    @property
    def epoch(self) -> int:
        """The epoch in progress, counted over the learner's life."""
        return self.first_epoch + self.done

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.source.indices_of("train")) // self.batch_size)

    @property
    def micro_batch_size(self) -> int:
        """Pictures that pass through the model at a time."""
        return -(-self.batch_size // self.micro_batches)
