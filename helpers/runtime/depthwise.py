"""Mixed precision on a CPU, and convolutions of one filter a channel, whose gradients torch computes slowly."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from data_setup.lite.gradients import COLUMNS, ByColumns

CAPABILITY = torch.backends.cpu.get_cpu_capability()
# elsewhere so many groups may be computed one by one
HAS_ONEDNN = torch.backends.mkldnn.is_available() and "AVX" in CAPABILITY


class OnCPU(TorchFunctionMode):
    """torch's autocast, but a `conv2d` of one filter a channel that will need gradients computes in float32, and by
    `ByColumns` where that is faster. With float32 efficientnet_lite0 trains 1.3 times as fast as without
    mixed precision and 2.2 times as fast as in bfloat16 alone (128 px, two cores; `make bench WHAT=floors`)."""

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
            if groups == images.shape[1] > 1:
                with torch.autocast("cpu", enabled=False):
                    maps = images.to(weight.dtype)
                    if _is_slow(maps, weight, *rest):
                        return ByColumns.apply(maps, weight, rest[2]).to(images.dtype)
                    return function(maps, weight, *rest, **kwargs).to(images.dtype)
        return function(*args, **kwargs)


def _is_slow(maps: Tensor, weight: Tensor, bias=None, stride=1, padding=0, dilation=1, groups=1) -> bool:
    plain = bias is None and stride == dilation == (1, 1) and isinstance(padding, tuple) and groups == len(weight)
    wide = min(maps.shape[2:]) < weight.shape[-1] or (CAPABILITY == "AVX2" and weight.shape[-1] > COLUMNS)
    return HAS_ONEDNN and plain and wide
