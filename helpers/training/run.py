"""One training as a record: what it is asked to do (`Plan`), what it works with and how far it is (`Run`)."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from data_setup.base.arguments import need_whole
from helpers.data.dataset import Batch
from helpers.models.classifier import Classifier
from helpers.runtime.distributed import averaging, n_ranks, share
from helpers.runtime.precision import autocast
from helpers.training.metrics import Metric
from helpers.training.schedules import Schedule, constant

BatchTransform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
MOMENTUM = 0.9  # AdamW's, where no schedule says otherwise


class Source(Protocol):
    """Where batches come from: photographs, cached features, or anything else that offers these four."""

    split_point: int  # where its inputs enter the model, see `Classifier`

    rows: dict[str, Tensor]  # of the parts "train" and "valid"

    def train_batches(self, device, batch_size: int, *key: object, share: slice) -> Iterator[Batch]: ...  # key: seeds

    def eval_batches(self, rows: Tensor, device: torch.device, batch_size: int) -> Iterator[Batch]: ...


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
    """What trainings did: a row per epoch, three numbers per step, and which pictures they used for what."""

    epochs: tuple[Epoch, ...] = ()
    losses: tuple[float, ...] = ()
    lrs: tuple[float, ...] = ()  # of the last layer group
    momentums: tuple[float, ...] = ()
    steps_per_epoch: tuple[int, ...] = ()
    trained_on: frozenset[str] = frozenset()  # names of pictures
    validated_on: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"History: epochs {len(self.epochs)}, steps {len(self.losses)}"

    def __add__(self, later: "History") -> "History":
        if self.momentums or later.momentums:  # a training without a schedule for it has AdamW's at every step
            self, later = (replace(h, momentums=h.momentums or (MOMENTUM,) * len(h.lrs)) for h in (self, later))
        columns = zip(vars(self).values(), vars(later).values(), strict=True)
        return History(*(a | b if isinstance(a, frozenset) else a + b for a, b in columns))

    def to_json(self) -> dict:
        """As JSON can hold it."""
        return asdict(self) | {"trained_on": sorted(self.trained_on), "validated_on": sorted(self.validated_on)}

    @classmethod
    def from_json(cls, record: dict) -> "History":
        """What `to_json` gave, also after JSON made lists of its tuples."""
        columns = {name: (frozenset if name.endswith("_on") else tuple)(values) for name, values in record.items()}
        return cls(**columns | {"epochs": tuple(Epoch(**epoch) for epoch in record["epochs"])})


class Hook:
    """What may be done around the loop. Override any of these; `run` is the `Run` in progress.

    Begin anew in `on_fit_begin`: the same hook may see several trainings. `remembers` names the attributes that a
    resumed training needs: numbers, texts, None, or dicts of tensors; the others are its settings.
    """

    remembers: tuple[str, ...] = ()

    def on_fit_begin(self, run: "Run") -> None:
        """Before the first step, or before a training is resumed."""

    def on_step_end(self, run: "Run") -> None:
        """After every update of the weights."""

    def on_epoch_end(self, run: "Run") -> None:
        """After an epoch was validated and recorded. `run.stop = True` ends the training here."""

    def on_fit_end(self, run: "Run") -> None:
        """After the last step, also when training was interrupted. Changed weights are validated again."""


@dataclass(frozen=True)
class Plan:
    """What a training is asked to do. The learning rates are in the optimizer, one per layer group."""

    epochs: int
    schedule: Schedule = constant  # progress -> multiplier of every group's rate
    momentum: Schedule | None = None  # progress -> momentum
    batch_size: int = 32
    micro_batches: int = 1  # a batch passes through the model in this many parts
    precision: torch.dtype = torch.float32
    prediction_precision: torch.dtype = torch.float32  # of the validation
    max_norm: float | None = None  # clip the gradient norm here
    metrics: dict[str, Metric] = field(default_factory=dict)
    batch_transform: BatchTransform | None = None
    cuda_graphs: bool = False  # on a GPU: forward and backward are recorded once for each shape of batch, and replayed
    seed: int = 0


@dataclass
class Run:
    """One training: its plan, what it works with, and how far it is. The loop and the hooks share it."""

    plan: Plan
    model: Classifier
    optimizer: torch.optim.Optimizer
    source: Source
    loss: nn.Module  # one number per picture, see `per_picture`
    device: torch.device
    hooks: Sequence[Hook] = ()
    checkpoint: Path | None = None
    facts: dict = field(default_factory=dict)  # what else must be the same when it is resumed: data, architecture ...
    before: History = field(default_factory=History)  # what the learner did before
    done: int = field(default=0, init=False)  # epochs
    step: int = field(default=0, init=False)
    stop: bool = field(default=False, init=False)
    finished: bool = field(default=False, init=False)
    history: History = field(default_factory=History, init=False)
    saving: Future | None = field(default=None, init=False)  # a checkpoint on its way to the disk

    def __post_init__(self):
        need_whole(epochs=self.plan.epochs, accumulate=self.plan.micro_batches)
        if wrong := [hook for hook in self.hooks if not isinstance(hook, Hook)]:
            raise TypeError(f"hooks are Hook objects, e.g. hooks=[KeepBest()]; got {wrong[0]!r}")
        self.split_point = self.source.split_point
        self.forward, self.share = averaging(self.model), share()
        self.autocast = autocast(self.device, self.plan.precision)
        self.micro_batches = self.plan.micro_batches  # more when the memory is too small
        self.recordings = {}  # CUDA graphs
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.plan.precision == torch.float16)
        self.steps_per_epoch = -(-len(self.source.rows["train"]) // self.plan.batch_size)
        self.fewest = len(self.source.rows["train"]) // self.steps_per_epoch // n_ranks()  # in this rank's batches
        if n_ranks() > min(self.fewest * n_ranks(), len(self.source.rows["valid"])):
            found = f"{n_ranks()} processes each need a picture of every batch and one to validate on"
            raise ValueError(f"{found}; start fewer")
        n_steps = self.plan.epochs * self.steps_per_epoch
        rate_at, momentum_at = self.plan.schedule, self.plan.momentum or (lambda progress: None)
        self.rates = [(rate_at(step / n_steps), momentum_at(step / n_steps)) for step in range(n_steps)]
        self.epoch = self.before.epochs[-1].number + 1 if self.before.epochs else 0  # over the learner's life

    def weights(self) -> dict[str, Tensor]:
        """A copy of the model's weights and statistics, which later steps leave alone."""
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
