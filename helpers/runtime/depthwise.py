"""Mixed precision on a CPU, and convolutions of one filter a channel, whose gradients torch computes slowly."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# elsewhere so many groups may be computed one by one
HAS_ONEDNN = torch.backends.mkldnn.is_available() and "AVX" in torch.backends.cpu.get_cpu_capability()


class OnCPU(TorchFunctionMode):
    """torch's autocast, but a `conv2d` of one filter a channel that will need gradients computes in float32, and on
    maps smaller than the filter by `SmallMaps`. With float32 efficientnet_lite0 trains 1.3 times as fast as without
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
                    if _is_small(maps, weight, *rest):
                        return SmallMaps.apply(maps, weight, rest[2]).to(images.dtype)
                    return function(maps, weight, *rest, **kwargs).to(images.dtype)
        return function(*args, **kwargs)


def _is_small(maps: Tensor, weight: Tensor, bias=None, stride=1, padding=0, dilation=1, groups=1) -> bool:
    plain = bias is None and stride == dilation == (1, 1) and isinstance(padding, tuple) and groups == len(weight)
    return HAS_ONEDNN and plain and min(maps.shape[2:]) < weight.shape[-1]


class SmallMaps(torch.autograd.Function):
    """One filter a channel on maps (N, C, H, W) smaller than it: oneDNN finds the filter's gradient slowly there (64
    pictures, 1,152 maps of 4 x 4, filters of 5 x 5: 60 ms, here 8).

    That gradient is a convolution, too: of each picture's map, with what arrived for that map as its filter.
    """

    @staticmethod
    def forward(context, maps, weight, padding):
        context.save_for_backward(maps, weight)
        context.padding = padding
        return F.conv2d(maps, weight, padding=padding, groups=len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, arriving):
        (maps, weight), padding, n = context.saved_tensors, context.padding, arriving.shape[:2].numel()
        of_maps = None
        if context.needs_input_grad[0]:
            of_maps = torch.nn.grad.conv2d_input(maps.shape, weight, arriving, 1, padding, 1, len(weight))
        each = maps.permute(2, 3, 0, 1).flatten(2)[None].permute(0, 3, 1, 2)  # (1, N * C, H, W), channels last
        found = F.conv2d(each, arriving.reshape(n, 1, *arriving.shape[2:]), padding=padding, groups=n)
        return of_maps, found.view(-1, *weight.shape).sum(0), None
