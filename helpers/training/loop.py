"""The training loop, and what it needs to be stopped, checked and continued. Nothing here knows about pictures.

All randomness of epoch e follows from (seed, e), so an epoch can be repeated.
"""

from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor, nn

from data_setup.base.progress import progress
from helpers.data.dataset import Batch
from helpers.models.folding import predicting
from helpers.runtime.device import is_out_of_memory
from helpers.runtime.distributed import n_ranks, rank, total, wait
from helpers.runtime.graphs import Recording
from helpers.runtime.seeds import seeded
from helpers.training.checkpoints import finish_saving, forget_finished, resume_run, save_run
from helpers.training.metrics import count_confusions
from helpers.training.run import Epoch, History, Run

CHECKPOINT_SECONDS = 10  # at most this much work, plus one epoch, is lost; a shorter training leaves no checkpoint
NAN_CHECK_SECONDS = 0.5  # how often the loss is read from a GPU while training; reading makes the GPU wait


def fit(run: Run, *, resume: bool = False) -> History:
    """Train until the plan's epochs are done or a hook says stop; print a row per epoch; return the history."""
    call_hooks(run, "on_fit_begin")  # hooks forget their last training,
    if resume:
        wait()  # the first rank may still write
        resume_run(run)  # and are given back what they knew of this one
    elif run.checkpoint and run.checkpoint.is_file():
        forget_finished(run.checkpoint)
    first, last = run.optimizer.param_groups[0]["base_lr"], run.optimizer.param_groups[-1]["base_lr"]
    if first != last:
        print(f"highest rate: {last:.3g} in the last layer group, {first:.3g} in the first that trains")
    print("epoch  train_loss  valid_loss" + "".join(f"  {name:>6}" for name in run.plan.metrics) + "    time")
    if run.finished:
        return run.history
    try:
        try:
            train_epochs(run)
        finally:
            trained = versions(run.model)
            call_hooks(run, "on_fit_end")
        run.finished = True
    except KeyboardInterrupt:
        print(f"interrupted in epoch {run.epoch}; {run.done} epochs are recorded. The weights are kept as they are")
    finally:
        run.model.eval()
        finish_saving(run)
    if versions(run.model) != trained and run.history.epochs:
        loss, metrics = evaluate(run)
        values = "".join(f", {name} ≈ {value:.4f}" for name, value in metrics.items())
        print(f"the weights were changed at the end; they have valid_loss ≈ {loss:.4f}{values}")
    if run.finished and run.checkpoint and sum(epoch.seconds for epoch in run.history.epochs) > CHECKPOINT_SECONDS:
        save_run(run)
        finish_saving(run)
    return run.history


def train_epochs(run: Run) -> None:
    """The epochs that are left, a row in the history and the table for each, and now and then a checkpoint."""
    unsaved = 0.0  # seconds, without those of hooks: the same clock says in the end whether a checkpoint stays
    while run.done < run.plan.epochs and not run.stop:
        started = perf_counter()
        with seeded("dropout", run.plan.seed, run.epoch, *([rank()] if rank() else [])):
            steps, train_loss = train_epoch(run)
        valid_loss, metrics = evaluate(run)
        epoch = Epoch(run.epoch, train_loss, valid_loss, metrics, perf_counter() - started)
        run.history += replace(steps, epochs=(epoch,))
        run.done, run.epoch, unsaved = run.done + 1, run.epoch + 1, unsaved + epoch.seconds
        values = "".join(f"  {value:>{max(len(name), 6)}.4f}" for name, value in metrics.items())
        print(f"{epoch.number:>5}  {train_loss:>10.4f}  {valid_loss:>10.4f}{values}  {epoch.seconds:>5.1f}s")
        call_hooks(run, "on_epoch_end")
        if run.checkpoint and run.done < run.plan.epochs and unsaved > CHECKPOINT_SECONDS:
            save_run(run)
            unsaved = 0.0


def train_epoch(run: Run) -> tuple[History, float]:
    """One pass over the training pictures: what happened at every step, and the mean loss per picture."""
    plan, first = run.plan, run.step
    run.model.train()
    good = run.weights()
    batches = run.source.train_batches(run.device, plan.batch_size, plan.seed, run.epoch, share=run.share)
    losses, sizes, lrs, looked_at = [], [], [], perf_counter()
    for batch in progress(batches, f"epoch {run.epoch}", total=run.steps_per_epoch):
        set_rates(run.optimizer, *run.rates[run.step])
        losses.append(train_step(run, batch))  # stays on the device: nothing waits for it
        sizes.append(len(batch.targets))
        lrs.append(run.optimizer.param_groups[-1]["lr"])
        run.step += 1
        if run.device.type == "cpu" or perf_counter() - looked_at > NAN_CHECK_SECONDS:
            stop_unless_finite(run, losses[-1], good)
            looked_at = perf_counter()
        call_hooks(run, "on_step_end")
    losses = torch.stack(losses)
    moved = (torch.where(good[name].isfinite(), now, 0).sum() for name, now in run.model.state_dict().items())
    stop_unless_finite(run, losses.sum() + sum(moved), good)
    momentums = tuple(momentum for _, momentum in run.rates[first : run.step]) if plan.momentum else ()
    steps = History((), tuple(losses.tolist()), tuple(lrs), momentums, (len(lrs),))
    sizes = total(losses.new_tensor(sizes))
    return steps, float(losses @ sizes) / sum(sizes.tolist())


def train_step(run: Run, batch: Batch) -> Tensor:
    """One update of the weights; the batch's mean loss. Too little memory halves the micro-batches, not the batch."""
    if run.plan.batch_transform:
        inputs, targets = run.plan.batch_transform(batch.inputs, batch.targets)
        batch = replace(batch, inputs=inputs, targets=targets)
    while True:
        try:
            loss = recorded_gradients(run, batch) if run.plan.cuda_graphs else gradients(run, batch)
            break
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        halve_micro_batches(run, batch)  # outside: the error holds on to the tensors that filled the memory
    run.scaler.unscale_(run.optimizer)
    if run.plan.max_norm is not None:
        nn.utils.clip_grad_norm_([p for some in run.optimizer.param_groups for p in some["params"]], run.plan.max_norm)
    try:
        run.scaler.step(run.optimizer)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        words = "out of memory for the optimizer's two numbers per trained parameter, whatever the batch size"
        raise RuntimeError(f"{words}: train fewer layer groups (learn.freeze_to) or a smaller arch") from None
    run.scaler.update()
    return loss


def gradients(run: Run, batch: Batch) -> Tensor:
    """Fill every parameter's gradient with that of the batch's mean loss, micro-batch by micro-batch; the loss."""
    run.optimizer.zero_grad()
    weight = total(weights_of(batch, run.loss).sum()) / n_ranks()  # of several ranks the mean, as of the gradients
    batch_weight = weight.clamp(min=1e-12)  # a batch may weigh nothing
    loss = torch.zeros((), device=run.device)
    most = run.fewest if n_ranks() > 1 else len(batch.targets) // 2  # BatchNorm needs two pictures at a time
    n = min(run.micro_batches, max(most, 1))
    for part in batch.micro_batches(n) if n > 1 else [batch]:
        with run.autocast:
            logits = run.forward(part.inputs, run.split_point)  # (n, K)
        share = (run.loss(logits.float(), part.targets) * part.weights).sum() / batch_weight
        run.scaler.scale(share).backward()
        loss += share.detach()
    return total(loss) / n_ranks()


def recorded_gradients(run: Run, batch: Batch) -> Tensor:
    """The same from a CUDA graph. The first batch of a shape goes through as always, and libraries choose algorithms;
    the second is recorded. `even_batches` makes two shapes: no picture is left out, none is added to BatchNorm's.
    """
    columns = (batch.inputs, batch.targets, batch.weights)
    key = (run.micro_batches, *(column.shape for column in columns))
    if key not in run.recordings:
        run.recordings[key] = None
        return gradients(run, batch)
    if run.recordings[key] is None:
        run.recordings[key] = Recording(lambda *some: gradients(run, Batch(*some)), columns, run.model.parameters())
    return run.recordings[key].replay(columns)


def weights_of(batch: Batch, loss: nn.Module) -> Tensor:
    """What each picture counts: its own weight times its class's, as torch's weighted mean has it. (N,)"""
    per_class = loss.weight if isinstance(loss, nn.CrossEntropyLoss) else None
    if per_class is None or batch.targets.is_floating_point():  # mixed: torch divides by the number of pictures
        return batch.weights
    return batch.weights * per_class[batch.targets]


def evaluate(run: Run) -> tuple[float, dict[str, float]]:
    """(mean loss, metrics) over the validation pictures, every one of them counted once."""
    rows, batch_size = run.source.rows["valid"][run.share], -(-run.plan.batch_size // run.micro_batches)
    counts = loss = weight = torch.zeros((), device=run.device)
    with predicting(run.model, run.device, run.plan.prediction_precision):
        for batch in run.source.eval_batches(rows, run.device, batch_size):
            logits = run.model.after(batch.inputs, run.split_point).float()
            loss = loss + (run.loss(logits, batch.targets) * batch.weights).sum()
            weight = weight + weights_of(batch, run.loss).sum()
            counts = counts + count_confusions(logits.argmax(dim=1), batch.targets, logits.shape[1])
    counts, loss, weight = total(counts).cpu(), total(loss), total(weight)
    return float(loss / weight), {name: float(metric(counts)) for name, metric in run.plan.metrics.items()}


def set_rates(optimizer: torch.optim.Optimizer, factor: float, momentum: float | None) -> None:
    """Every group's rate becomes `factor` times its own base rate; writes to the optimizer."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
        if momentum is not None:
            group["betas"] = (momentum, group["betas"][1])


def stop_unless_finite(run: Run, loss: Tensor, good: dict[str, Tensor]) -> None:
    """Raise FloatingPointError when `loss` is not finite, after putting back the weights the epoch began with."""
    if not torch.isfinite(loss):
        run.model.load_state_dict(good)
        found = f"{float(loss)} in epoch {run.epoch} at a learning rate of {run.optimizer.param_groups[-1]['lr']:.2g}"
        now = "The weights are those the epoch began with, or what a hook put in after that"
        fix = "run learn.lr_find() and take a lower rate"
        raise FloatingPointError(f"loss or weights became {found}: too high, or a picture is broken. {now}; {fix}")


def halve_micro_batches(run: Run, batch: Batch) -> None:
    """Twice as many micro-batches a batch; raises RuntimeError when they cannot get smaller."""
    if run.micro_batches >= len(batch) // 2:
        fix = "use smaller pictures (data.resized) or a smaller arch"
        raise RuntimeError(f"out of memory with two or three pictures at a time, and BatchNorm needs two: {fix}")
    if n_ranks() > 1:  # the others do not know, and would wait for this batch's other part
        raise RuntimeError("out of memory: halve the data's batch_size and double Learner(..., accumulate=...)")
    run.micro_batches *= 2
    if run.device.type == "cuda":
        torch.cuda.empty_cache()
    size = max(2, -(-len(batch) // run.micro_batches))
    print(f"out of memory: going on with {size} pictures at a time; gradients still add up to batches of {len(batch)}")


def versions(model: nn.Module) -> list[int]:
    """Differs when any weight or statistic was written to."""
    return [tensor._version for tensor in model.state_dict().values()]


def call_hooks(run: Run, moment: str) -> None:
    for hook in run.hooks:
        getattr(hook, moment)(run)
