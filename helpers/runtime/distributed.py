"""Several processes that train one model: all that changes under `torchrun --nproc-per-node=2 -m helpers.recipe`.

Each of them, a rank, runs the same program on its share of every batch. Sums go over all ranks, so a step is that of
one process, but for dropout's draws. They share a folder; rank 0 prints and saves. One process does nothing here.
"""

import atexit
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from helpers.runtime.torch_gaps import WholeBatchNorm, meeting


def join(device: torch.device) -> None:
    """Meet the other processes, if a launcher such as torchrun started any; from here on only the first one prints."""
    if "WORLD_SIZE" in os.environ:  # ranks that time themselves may not agree, nor a later number of them
        os.environ.setdefault("COURSE_PRECISION", "float32")
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or dist.is_initialized():
        return
    how = {"backend": "gloo", **meeting()}
    if device.type == "cuda":  # a card each; what lies on processors goes through gloo
        torch.cuda.set_device(device)
        how |= {"backend": "cpu:gloo,cuda:nccl", "device_id": device}
    dist.init_process_group(**how)
    atexit.register(dist.destroy_process_group)
    if rank() > 0:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def n_ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def share(n: int | None = None) -> slice:
    """This rank's part of a sequence: every `n_ranks`-th, so that each element is taken once; of fewer (`n`) all."""
    return slice(rank(), None, n_ranks()) if n is None or n >= n_ranks() else slice(None)


def wait() -> None:
    """Until all ranks are here."""
    if n_ranks() > 1:
        dist.barrier()


def total(tensor: Tensor) -> Tensor:
    """The sum over all ranks; its gradient is the sum of theirs."""
    if n_ranks() > 1:
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(tensor.detach())  # in place
        if tensor.requires_grad:
            tensor.register_hook(total)
    return tensor


def averaging(model: nn.Module) -> Callable[[Tensor, int], Tensor]:
    """`model.after`, whose backward pass then leaves the mean over all ranks in each gradient."""
    if n_ranks() == 1:
        return model.after
    parallel = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True, static_graph=True)
    parallel.broadcast_buffers = False  # from here on BatchNorm's statistics are the same on all ranks
    return WholeBatchNorm(total)(parallel)
