"""The training loop, and what it needs to be stopped, checked and continued. Nothing here knows about pictures.

A source offers `train_batches(device, batch_size, *key)` and `eval_batches(indices, device, batch_size)`: pictures and
kept activations train in the same loop. All randomness of epoch e follows from (seed, e), so an epoch can be repeated.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from helpers.checkpoints import load_tensors, save_tensors
from helpers.data import Batch, ImageData
from helpers.features import FeatureData
from helpers.metrics import Metric, count_confusions, empty_counts
from helpers.models import Classifier, evaluating
from helpers.precision import autocast
from helpers.progress import progress
from helpers.runtime import seeded
from helpers.schedules import Schedule

CHECKPOINT_SECONDS = 10  # at most this much work between two checkpoints, plus one epoch
LOOK_SECONDS = 0.5  # how often the loss is read from a GPU while training; reading makes the GPU wait

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
    cut: int = 0  # where the source's inputs enter the model
    batch_size: int = 32
    chunks: int = 1  # a batch passes through the model in this many parts
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
    def part_size(self) -> int:
        """Pictures that pass through the model at a time."""
        return -(-self.batch_size // self.chunks)


# The loop ------------------------------------------------------------------------------------------------------


def fit(run: Run) -> History:
    """Train until `run.epochs` are done or a hook says stop; print a row per epoch; return the history."""
    print_head(run)
    saved_at = perf_counter()
    try:
        call_hooks(run, "on_fit_begin")
        while run.done < run.epochs and not run.stop:
            started = perf_counter()
            with seeded("dropout", run.seed, run.epoch):
                losses, train_loss = train_epoch(run)
            valid_loss, metrics = evaluate(run)
            record(run, losses, Epoch(run.epoch, train_loss, valid_loss, metrics, perf_counter() - started))
            call_hooks(run, "on_epoch_end")
            if run.checkpoint and (run.done == run.epochs or perf_counter() - saved_at > CHECKPOINT_SECONDS):
                save_run(run)
                saved_at = perf_counter()
    except KeyboardInterrupt:
        print(
            f"interrupted in epoch {run.epoch}; {run.done} epochs are recorded. The weights are those of the last step"
        )
    finally:
        run.model.eval()
        call_hooks(run, "on_fit_end")
    return run.history


def train_epoch(run: Run) -> tuple[Tensor, float]:
    """One pass over the training pictures: the loss of every step (steps,), and the mean loss per picture."""
    run.model.train()
    good = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    batches = run.source.train_batches(run.device, run.batch_size, run.seed, run.epoch)
    losses, sizes, looked_at = [], [], perf_counter()
    for batch in progress(batches, f"epoch {run.epoch}", total=run.steps_per_epoch):
        set_rates(run.optimizer, run.schedule, run.momentum, run.step / (run.epochs * run.steps_per_epoch))
        losses.append(train_step(run, batch))  # stays on the device: nothing waits for it
        sizes.append(len(batch))
        run.step += 1
        if run.device.type == "cpu" or perf_counter() - looked_at > LOOK_SECONDS:
            stop_unless_finite(run, losses[-1], good)
            looked_at = perf_counter()
        call_hooks(run, "on_step_end")
    losses = torch.stack(losses)
    stop_unless_finite(run, losses.sum() + sum(tensor.sum() for tensor in run.model.state_dict().values()), good)
    return losses, float(losses @ losses.new_tensor(sizes)) / sum(sizes)


def train_step(run: Run, batch: Batch) -> Tensor:
    """One update of the weights from one batch; its mean loss. Too little memory halves the parts, not the batch."""
    if run.batch_transform:
        inputs, targets = run.batch_transform(batch.inputs, batch.targets)
        batch = replace(batch, inputs=inputs, targets=targets)
    while True:
        try:
            loss = gradients(run, batch)
            break
        except torch.OutOfMemoryError:
            pass  # the error holds on to the tensors that filled the memory: leave it before trying again
        halve_parts(run, batch)
    run.scaler.unscale_(run.optimizer)
    if run.max_norm is not None:
        nn.utils.clip_grad_norm_(run.model.parameters(), run.max_norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return loss


def gradients(run: Run, batch: Batch) -> Tensor:
    """Fill every parameter's gradient with that of the batch's mean loss, part by part; returns the loss."""
    run.optimizer.zero_grad()
    weight_of_batch = loss_weights(run.loss, batch).sum().clamp(min=1e-12)  # a batch may weigh nothing
    total = torch.zeros((), device=run.device)
    for part in batch.chunks(min(run.chunks, max(len(batch) // 2, 1))):  # BatchNorm needs two pictures at a time
        with autocast(run.device, run.precision):
            logits = run.model.after(part.inputs, run.cut)  # (n, K)
        share = (run.loss(logits.float(), part.targets) * part.weights).sum() / weight_of_batch
        run.scaler.scale(share).backward()
        total += share.detach()
    return total


def loss_weights(loss: nn.Module, batch: Batch) -> Tensor:
    """What each picture counts: its own weight times its class's, as torch's weighted mean has it. (N,)"""
    per_class = getattr(loss, "weight", None)
    if per_class is None or batch.targets.is_floating_point():  # mixed targets: torch divides by the number of pictures
        return batch.weights
    return batch.weights * per_class[batch.targets]


def evaluate(run: Run) -> tuple[float, dict[str, float]]:
    """(mean loss, metrics) over the validation pictures, every one of them counted once."""
    rows = run.source.indices_of("valid")
    counts = empty_counts(run.model.n_classes, run.device)
    loss_sum, weight_sum = torch.zeros((), device=run.device), torch.zeros((), device=run.device)
    with evaluating(run.model, run.device, run.precision):
        for batch in run.source.eval_batches(rows, run.device, run.part_size):
            logits = run.model.after(batch.inputs, run.cut).float()
            loss_sum += (run.loss(logits, batch.targets) * batch.weights).sum()
            weight_sum += loss_weights(run.loss, batch).sum()
            count_confusions(counts, logits.argmax(dim=1), batch.targets)
    counts = counts.cpu()
    return float(loss_sum / weight_sum), {name: metric(counts) for name, metric in run.metrics.items()}


# What the loop calls -------------------------------------------------------------------------------------------


def print_head(run: Run) -> None:
    """The head of the epoch table; before it the rates, where layer groups have different ones."""
    first, last = run.optimizer.param_groups[0]["base_lr"], run.optimizer.param_groups[-1]["base_lr"]
    if first != last:
        print(f"highest rate: {last:.3g} in the last layer group, {first:.3g} in the first that trains")
    print("epoch  train_loss  valid_loss" + "".join(f"  {name:>6}" for name in run.metrics) + "    time")


def set_rates(optimizer: torch.optim.Optimizer, schedule: Schedule, momentum: Schedule | None, progress: float) -> None:
    """Every group's rate becomes its own base rate times the schedule; writes to the optimizer."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * schedule(progress)
        if momentum and "betas" in group:
            group["betas"] = (momentum(progress), group["betas"][1])
        elif momentum:
            group["momentum"] = momentum(progress)


def stop_unless_finite(run: Run, loss: Tensor, good: dict[str, Tensor]) -> None:
    """Raise FloatingPointError when `loss` is no number, after putting back the weights the epoch began with."""
    if torch.isfinite(loss):
        return
    run.model.load_state_dict(good)
    rate = run.optimizer.param_groups[-1]["lr"]
    raise FloatingPointError(
        f"loss or weights became {float(loss)} in epoch {run.epoch} at a learning rate of {rate:.2g}: the rate is too "
        "high, or a picture is broken. The weights are again those the epoch began with; run learn.lr_find() and take "
        "a lower rate"
    )


def halve_parts(run: Run, batch: Batch) -> None:
    """Twice as many parts a batch; raises RuntimeError when a part cannot be halved any more."""
    if run.chunks >= len(batch) // 2:
        raise RuntimeError(
            "out of memory with two or three pictures at a time, and BatchNorm needs two: "
            "use smaller pictures (data.resized) or a smaller arch"
        )
    run.chunks *= 2
    if run.device.type == "cuda":
        torch.cuda.empty_cache()
    size = max(2, -(-len(batch) // run.chunks))
    print(f"out of memory: going on with {size} pictures at a time; gradients still add up to batches of {len(batch)}")


def record(run: Run, losses: Tensor, epoch: Epoch) -> None:
    """Append the epoch to the history and print its row."""
    steps, total = len(losses), run.epochs * run.steps_per_epoch
    places = [(run.step - steps + i) / total for i in range(steps)]
    base = run.optimizer.param_groups[-1]["base_lr"]
    run.history += History(
        (epoch,),
        tuple(losses.tolist()),
        tuple(base * run.schedule(place) for place in places),
        tuple(run.momentum(place) for place in places) if run.momentum else (),
        (steps,),
    )
    run.done += 1
    values = "".join(f"  {value:>{max(len(name), 6)}.4f}" for name, value in epoch.metrics.items())
    print(f"{epoch.number:>5}  {epoch.train_loss:>10.4f}  {epoch.valid_loss:>10.4f}{values}  {epoch.seconds:>5.1f}s")


def call_hooks(run: Run, moment: str) -> None:
    for hook in run.hooks:
        getattr(hook, moment)(run)


# Keep and go on ------------------------------------------------------------------------------------------------


def description(run: Run) -> dict:
    """What must be the same for a run to be continued."""
    groups, class_weights = run.optimizer.param_groups, getattr(run.loss, "weight", None)
    return {
        "epochs": run.epochs,
        "first epoch": run.first_epoch,
        "rates": [group["base_lr"] for group in groups],
        "weight decay": [group["weight_decay"] for group in groups],
        "trained numbers": [sum(p.numel() for p in group["params"]) for group in groups],
        "all numbers": sum(p.numel() for p in run.model.parameters()),
        "schedule": [round(run.schedule(i / 20), 9) for i in range(21)],
        "momentum": [round(run.momentum(i / 20), 9) for i in range(21)] if run.momentum else None,
        "loss": [str(run.loss), getattr(run.loss, "label_smoothing", 0.0)],
        "class weights": None if class_weights is None else class_weights.tolist(),
        "batch size": run.batch_size,
        "precision": str(run.precision),
        "longest gradient": run.max_norm,
        "seed": run.seed,
        "data": str(run.source),
        "augmentation": str(getattr(run.source, "data", run.source).augment),
        "split": run.source.split.digest(),
    }


def save_run(run: Run) -> None:
    """Write weights, optimizer and history to `run.checkpoint`, in one piece or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    about = {
        "run": description(run),
        "done": run.done,
        "step": run.step,
        "chunks": run.chunks,
        "history": asdict(run.history),
    }
    save_tensors(run.checkpoint, tensors, about)


def resume_run(run: Run) -> None:
    """Take up the run where its checkpoint left it; without a checkpoint it starts from the beginning and says so.

    Raises ValueError when the checkpoint is of another run, naming what differs.
    """
    if not run.checkpoint.is_file():
        print(f"nothing to resume at {run.checkpoint.name}: starting from the first epoch")
        return
    tensors, about = load_tensors(run.checkpoint)
    theirs = about["run"]
    run.first_epoch = run.first_epoch or theirs["first epoch"]  # a new learner has no epochs before this run
    ours = description(run)
    differ = [key for key in ours if ours[key] != theirs.get(key)]
    if differ:
        what = "; ".join(f"{key} {theirs.get(key)!s:.160} then, {ours[key]!s:.160} now" for key in differ)
        raise ValueError(f"{run.checkpoint} is of another run: {what}. Ask for the same run, or leave resume=True out")
    run.model.load_state_dict(
        {name.removeprefix("model."): tensors[name] for name in tensors if name.startswith("model.")}
    )
    state = run.optimizer.state_dict()
    for name in (name for name in tensors if name.startswith("optimizer.")):
        _, index, key = name.split(".")
        state["state"].setdefault(int(index), {})[key] = tensors[name]
    run.optimizer.load_state_dict(state)
    for parameter, moments in run.optimizer.state.items():
        for key, value in moments.items():
            if value.shape == parameter.shape:  # and the same memory layout: fused optimizers walk both side by side
                moments[key] = torch.empty_like(parameter).copy_(value)
    run.done, run.step, run.chunks = about["done"], about["step"], about["chunks"]
    kept = about["history"]
    epochs = tuple(Epoch(**epoch) for epoch in kept.pop("epochs"))
    run.history = History(epochs, **{name: tuple(values) for name, values in kept.items()})
    print(f"resuming after {run.done} of {run.epochs} epochs")
