"""What a CUDA device is asked before its rows are measured: whether anything waits, and what lies on it."""

import time

import torch

from helpers.training.loop import set_rates, train_step
from helpers.training.schedules import constant
from tests.benchmarks.contenders.ours import Ours
from tests.benchmarks.work import Work


def proof(work: Work) -> str:
    """Three lines: the device, what is resident, ms a step. Raises when a step waits for the GPU, or a copy does."""
    contender = Ours(work)
    learn = contender.learner(contender.data(), precompute=True)
    pixels, (features,) = learn.data.store_on(learn.device).flat, learn.source().plain.shards
    assert pixels.is_cuda and features.is_cuda, "pixels or features do not lie on the GPU"
    learn.unfreeze()
    lines = [f"{torch.cuda.get_device_name()}, {learn.precision} as timed"]
    lines += [f"on the GPU: {pixels.nbytes / 1e6:.0f} MB of pixels, {features.nbytes / 1e6:.0f} MB of features"]
    for graphs in (False, True):
        learn.cuda_graphs = graphs
        run = learn._run(work.epoch_lr, 1, constant)
        run.model.train()
        for key in (0, 1):  # everything is loaded, chosen and recorded
            for batch in run.source.train_batches(run.device, work.batch_size, key):
                train_step(run, batch)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        started, n = time.perf_counter(), 0
        try:
            for batch in run.source.train_batches(run.device, work.batch_size, 2):
                set_rates(run.optimizer, 0.5, None)
                train_step(run, batch)
                n += 1
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        ms = 1000 * (time.perf_counter() - started) / n
        lines.append(
            f"{ms:.1f} ms a step, its data included, {'from CUDA graphs' if graphs else 'eager'}: nothing waits"
        )
    return "\n".join(lines)
