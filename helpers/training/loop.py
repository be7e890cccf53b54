"""The training loop, and what it needs to be stopped, checked and continued. Nothing here knows about pictures.

A source offers `train_batches(device, batch_size, *key)` and `eval_batches(indices, device, batch_size)`: pictures and
kept activations train in the same loop. All randomness of epoch e follows from (seed, e), so an epoch can be repeated.
"""

from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor, nn

from helpers.data.dataset import Batch
from helpers.models.classifier import evaluating
from helpers.runtime.precision import autocast
from helpers.runtime.progress import progress
from helpers.runtime.seeds import seeded
from helpers.training.checkpoints import save_run
from helpers.training.metrics import count_confusions, empty_counts
from helpers.training.run import Epoch, History, Run
from helpers.training.schedules import Schedule

CHECKPOINT_SECONDS = 10  # at most this much work between two checkpoints, plus one epoch


NAN_CHECK_SECONDS = 0.5  # how often the loss is read from a GPU while training; reading makes the GPU wait


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
        if run.device.type == "cpu" or perf_counter() - looked_at > NAN_CHECK_SECONDS:
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
    for part in batch.micro_batches(
        min(run.micro_batches, max(len(batch) // 2, 1))
    ):  # BatchNorm needs two pictures at a time
        with autocast(run.device, run.precision):
            logits = run.model.after(part.inputs, run.split_point)  # (n, K)
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
        for batch in run.source.eval_batches(rows, run.device, run.micro_batch_size):
            logits = run.model.after(batch.inputs, run.split_point).float()
            loss_sum += (run.loss(logits, batch.targets) * batch.weights).sum()
            weight_sum += loss_weights(run.loss, batch).sum()
            count_confusions(counts, logits.argmax(dim=1), batch.targets)
    counts = counts.cpu()
    return float(loss_sum / weight_sum), {name: metric(counts) for name, metric in run.metrics.items()}


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
    if run.micro_batches >= len(batch) // 2:
        raise RuntimeError(
            "out of memory with two or three pictures at a time, and BatchNorm needs two: "
            "use smaller pictures (data.resized) or a smaller arch"
        )
    run.micro_batches *= 2
    if run.device.type == "cuda":
        torch.cuda.empty_cache()
    size = max(2, -(-len(batch) // run.micro_batches))
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
