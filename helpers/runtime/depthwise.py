"""Mixed precision on a CPU, and convolutions of one filter a channel, whose gradients torch computes slowly."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from data_setup.lite.filters import filters_fit
from data_setup.lite.gradients import COLUMNS, ByColumns, in_one_step_here

CAPABILITY = torch.backends.cpu.get_cpu_capability()
HAS_ONEDNN = torch.backends.mkldnn.is_available() and "AVX" in CAPABILITY  # else groups come one by one


class OnCPU(TorchFunctionMode):
    """torch's autocast, but one filter a channel learns by `ByColumns` if that is faster, else in float32."""

    def __init__(self, precision: torch.dtype):
        super().__init__()
        self.mixed = torch.autocast("cpu", precision, enabled=precision != torch.float32)

    def __enter__(self):
        self.mixed.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.mixed.__exit__(*error)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.conv2d and len(args) > 1 and torch.is_grad_enabled():
            images, weight, *rest = args
            groups = rest[4] if len(rest) > 4 else kwargs.get("groups", 1)  # after bias, stride, padding, dilation
            if groups == images.shape[1] > 1 and (images.requires_grad or weight.requires_grad):
                with torch.autocast("cpu", enabled=False):
                    if _is_slow(images, weight, *rest):
                        return ByColumns.apply(images, weight, rest[1], rest[2])
                    return function(images.to(weight.dtype), weight, *rest, **kwargs).to(images.dtype)
        return function(*args, **kwargs)


def _is_slow(maps: Tensor, weight: Tensor, bias=None, stride=1, padding=0, dilation=1, groups=1) -> bool:
    plain = bias is None and dilation == (1, 1) and isinstance(padding, tuple) and groups == len(weight)
    if plain and filters_fit(maps, weight, stride):
        return True
    if maps.dtype == weight.dtype:  # with AVX512 little is gained, at a stride nothing
        wide = (CAPABILITY == "AVX2" and weight.shape[-1] > COLUMNS) or min(maps.shape[2:]) < weight.shape[-1]
        return HAS_ONEDNN and plain and wide and stride == (1, 1)
    return plain and (maps.dtype, weight.dtype) == (torch.bfloat16, torch.float32) and in_one_step_here(maps.dtype)
