"""What torch leaves to us: AdamW without the compiler's imports, and where several processes train a store for each
round and BatchNorm over the whole batch."""

import os
from collections.abc import Callable
from contextlib import ContextDecorator, suppress
from datetime import timedelta
from functools import partial
from inspect import unwrap

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

PATIENCE = timedelta(days=1)  # with one that has more to do; the dead are known by their closed connections


class AdamW(torch.optim.AdamW):
    """torch's, the same steps to the last bit, without the seconds in which its wrappers import the compiler that is to
    leave it alone; for `torch.compile` take torch's own."""

    add_param_group, zero_grad = unwrap(Optimizer.add_param_group), unwrap(Optimizer.zero_grad)
    state_dict, load_state_dict = unwrap(Optimizer.state_dict), unwrap(Optimizer.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))


def meeting() -> dict:
    """Where `init_process_group` meets: a store of this round's ranks. torchrun's own still holds what the ranks of
    earlier rounds have left there, and each machine counts the rounds by itself (pytorch issue 135712)."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {"timeout": PATIENCE}
    rank, n, host, port = (os.environ[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))
    launcher, store = dist.TCPStore(host, int(port)), None
    if rank == "0":
        store = dist.TCPStore(host, 0, is_master=True)
        launcher.set("course/port", str(store.port))
    while store is None:
        with suppress(dist.DistNetworkError):  # the port of a round whose ranks are dead: the next one will be set
            store = dist.TCPStore(host, int(launcher.get("course/port")), timeout=timedelta(seconds=2))
    store.set_timeout(PATIENCE)
    return {"timeout": PATIENCE, "store": store, "rank": int(rank), "world_size": int(n)}


class WholeBatchNorm(TorchFunctionMode, ContextDecorator):
    """BatchNorm that trains takes the whole batch's statistics, by `total` (torch's SyncBatchNorm needs a GPU)."""

    def __init__(self, total: Callable[[Tensor], Tensor]):
        super().__init__()
        self.batch_norm = partial(batch_norm, total)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        trains = function is nn.functional.batch_norm and kwargs["training"]
        return (self.batch_norm if trains else function)(*args, **kwargs or {})


def batch_norm(total, maps, running_mean, running_var, *, weight, bias, training, momentum, eps) -> Tensor:
    """`nn.functional.batch_norm` of the maps (n, C, ...) of all ranks; returns this one's."""
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
