"""Several processes that train one model: all that changes under `torchrun --nproc-per-node=2 -m helpers.recipe`.

Each of them, a rank, runs the same program on its share of every batch. Sums go over all ranks, so a step is that of
one process, but for dropout's draws. They share a folder; rank 0 prints and saves. One process does nothing here.
"""

import atexit
import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

PATIENCE = timedelta(days=1)  # with one that has more to do; the dead are known by their closed connections


def join(device: torch.device) -> None:
    """Meet the other processes, if a launcher such as torchrun started any; from here on only the first one prints."""
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or dist.is_initialized():
        return
    how = {"backend": "gloo", "timeout": PATIENCE, **_meeting()}
    if device.type == "cuda":  # a card each; what lies on processors goes through gloo
        torch.cuda.set_device(device)
        how |= {"backend": "cpu:gloo,cuda:nccl", "device_id": device}
    dist.init_process_group(**how)
    atexit.register(dist.destroy_process_group)
    os.environ.setdefault("COURSE_PRECISION", "float32")  # ranks that time themselves may not agree
    if rank() > 0:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _meeting() -> dict:
    """A store of this round's ranks: torchrun's own still holds what ranks that it started before have left there."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    rank, host, port = int(os.environ["RANK"]), os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    launcher, store = dist.TCPStore(host, port), None
    if rank == 0:
        store = dist.TCPStore(host, 0, is_master=True)
        launcher.set("course/port", str(store.port))
    while store is None:
        with suppress(dist.DistNetworkError):  # the port of a round whose ranks are dead: the next one will be set
            store = dist.TCPStore(host, int(launcher.get("course/port")), timeout=timedelta(seconds=2))
    store.set_timeout(PATIENCE)
    return {"store": store, "rank": rank, "world_size": int(os.environ["WORLD_SIZE"])}


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def n_ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def share(n: float = math.inf) -> slice:
    """This rank's part of a sequence: every `n_ranks`-th, so that each element is taken once; of fewer (`n`) all."""
    return slice(rank(), None, n_ranks()) if n >= n_ranks() else slice(None)


def gathered(table: Tensor, n: int) -> Tensor:
    """All `n` rows, of which each rank has its `share(n)`."""
    if len(table) < n:
        whole = table.new_zeros(n, *table.shape[1:])
        whole[share()] = table
        table = total(whole)
    return table


def wait() -> None:
    """Until all ranks are here."""
    if n_ranks() > 1:
        dist.barrier()


def total(tensor: Tensor) -> Tensor:
    """The sum over all ranks; gradients pass through."""
    return _Sum.apply(tensor) if n_ranks() > 1 else tensor


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context, tensor: Tensor) -> Tensor:
        dist.all_reduce(summed := tensor.clone(memory_format=torch.contiguous_format))
        return summed

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def averaging(model: nn.Module) -> Callable[[Tensor, int], Tensor]:
    """`model.after`, whose backward pass then leaves the mean over all ranks in each gradient."""
    if n_ranks() == 1:
        return model.after
    parallel = _Parallel(model, gradient_as_bucket_view=True, static_graph=True)
    parallel.broadcast_buffers = False  # BatchNorm's statistics are the same on all ranks
    return parallel


class _Parallel(DistributedDataParallel):
    def forward(self, activations: Tensor, split_point: int) -> Tensor:
        with _SyncedBatchNorm():
            return super().forward(activations, split_point)


class _SyncedBatchNorm(TorchFunctionMode):
    """BatchNorm takes the statistics of the whole batch (torch's own way needs a GPU, and replaces modules)."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        trains = function is nn.functional.batch_norm and kwargs["training"]
        return (_batch_norm if trains else function)(*args, **kwargs or {})


def _batch_norm(maps, running_mean, running_var, *, weight, bias, training, momentum, eps) -> Tensor:
    dims, shape = [dim for dim in range(maps.ndim) if dim != 1], [1, -1] + [1] * (maps.ndim - 2)
    n = total(torch.tensor(maps.numel() / maps.shape[1], device=maps.device))
    mean = total(maps.float().sum(dims)) / n
    centred = maps.float() - mean.view(shape)
    var = total(centred.square().sum(dims)) / n
    if running_mean is not None:
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_(var.detach() * n / (n - 1), momentum)  # the unbiased one, as torch has it
    normal = centred * (var + eps).rsqrt().view(shape)
    return (normal if weight is None else normal * weight.view(shape) + bias.view(shape)).to(maps.dtype)
