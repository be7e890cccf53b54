"""BatchNorm and the clipping after it as one, by the kernels."""

import ctypes

import torch
from torch import Tensor

from data_setup.lite.compiled import kernels, places

MEAN = 2  # its row among `found` in kernels/norm.h


class Norm(ctypes.Structure):
    """`norm` in kernels/norm.h."""

    _fields_ = [(name, ctypes.c_long) for name in ("half", "threads", "pixels", "channels")]
    _fields_ += [(name, ctypes.c_float) for name in ("low", "high", "momentum", "epsilon")]


class BatchNorm:
    """BatchNorm of one batch and the clipping after it, whose pictures come in pieces: `add` each and `know`, then each
    can be clipped; on the way back `learn`, `add` each with what arrives for it and `know_back`, then `give_back`."""

    def __init__(self, layer: torch.nn.BatchNorm2d, pictures: int, high: float):
        """pictures: of all pieces; high: 6, or infinity for no clipping."""
        self.layer, self.pictures, self.channels = layer, pictures, len(layer.weight)
        self.high, self.low = high, 0.0 if high < float("inf") else -high
        self.known = torch.zeros(6, self.channels)
        self.how: Norm | None = None

    @classmethod
    def of(cls, maps: Tensor, layer: torch.nn.BatchNorm2d, high: float) -> "BatchNorm":
        """Of all pictures at once."""
        norm = cls(layer, len(maps), high)
        norm.add(maps)
        norm.know()
        return norm

    def gradients(self, maps: Tensor, arriving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of maps, gamma and beta, of all pictures at once."""
        self.learn()
        self.add(maps, arriving)
        of_weights = self.know_back()
        return self.give_back(maps, arriving), *of_weights

    def begin(self, maps: Tensor) -> None:
        """Before any pictures are added. Of these maps the first row is read, and their sizes."""
        sizes = self.pictures * maps.shape[2:].numel(), self.channels, self.low, self.high
        half, layer = maps.dtype == torch.bfloat16, self.layer
        self.how = Norm(half, torch.get_num_threads(), *sizes, layer.momentum, layer.eps)
        # until the mean is known: differences from a number near it keep their digits
        self.known[MEAN] = maps[0, :, 0].float().mean(dim=1)
        self.learn()

    def add(self, maps: Tensor, arriving: Tensor | None = None) -> None:
        if self.how is None:
            self.begin(maps)
        self._pass(kernels().norm_add_up, maps, arriving, self.known, self.sums)

    def know(self) -> None:
        """Also moves the running mean and variance, as torch does."""
        layer = self.layer
        layer.num_batches_tracked.add_(1)
        learned = layer.weight.detach(), layer.bias.detach(), layer.running_mean, layer.running_var
        kernels().norm_know(ctypes.byref(self.how), *places(self.sums, *learned, self.known))

    def clip(self, maps: Tensor) -> Tensor:
        found = torch.empty_like(maps)
        self._pass(kernels().norm_clip, maps, self.known, found)
        return found

    def learn(self) -> None:
        """From here on `add` adds up anew: for the way back."""
        self.sums = torch.zeros(self.how.threads, 2, self.channels, dtype=torch.float64)

    def know_back(self) -> Tensor:
        """The gradients of gamma and beta, (2, C)."""
        of_weights = torch.empty(2, self.channels)
        kernels().norm_know_back(ctypes.byref(self.how), *places(self.sums, self.known, *of_weights))
        return of_weights

    def give_back(self, maps: Tensor, arriving: Tensor) -> Tensor:
        """The gradient of maps."""
        of_maps = torch.empty_like(maps)
        self._pass(kernels().norm_give_back, maps, arriving, self.known, of_maps)
        return of_maps

    def _pass(self, kernel, maps: Tensor, *others: Tensor | None) -> None:
        kernel(ctypes.byref(self.how), ctypes.c_long(maps.numel() // self.channels), *places(maps, *others))
