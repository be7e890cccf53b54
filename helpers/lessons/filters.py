"""Filters by hand: a small kernel slides over a photograph, and what looks like the kernel lights up."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data_setup.base.text import listed
from helpers.figures.pictures import as_pixels, show_pictures
from helpers.figures.style import Drawing
from helpers.lessons.schematic import brightened
from helpers.runtime.seeds import generator

# Positive where a thin dark line is expected to have bright neighbours, negative on the line itself.
CRACK = ((1, 1, -2), (1, -2, 1), (-2, 1, 1))  # from the upper right to the lower left
KERNELS = {
    "slanted line /": CRACK,
    "slanted line \\": ((-2, 1, 1), (1, -2, 1), (1, 1, -2)),
    "upright line": ((1, -2, 1), (1, -2, 1), (1, -2, 1)),
    "level line": ((1, 1, 1), (-2, -2, -2), (1, 1, 1)),
    "edge": ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)),
}


def convolve(image, kernel) -> Tensor:
    """Slide `kernel` (h, w) over `image` (H, W): float64 (H - h + 1, W - w + 1), at each place the sum of the products.

    The kernel is not flipped (what deep learning calls a convolution). Written as two loops over the kernel.
    """
    image, kernel = (torch.as_tensor(np.asarray(table), dtype=torch.float64) for table in (image, kernel))
    if image.ndim != 2 or kernel.ndim != 2 or any(k > i for k, i in zip(kernel.shape, image.shape, strict=True)):
        raise ValueError(
            f"a kernel (h, w) slides over a grey picture (H, W) at least as large; got a kernel {tuple(kernel.shape)} "
            f"and a picture {tuple(image.shape)}"
        )
    (height, width), (rows, columns) = kernel.shape, image.shape
    total = torch.zeros(rows - height + 1, columns - width + 1, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            total += kernel[i, j] * image[i : rows - height + 1 + i, j : columns - width + 1 + j]
    return total


def random_kernel(seed: int = 0, side: int = 3) -> Tensor:
    """Numbers nobody chose, as in a network before training: float64 (side, side) that sum to zero."""
    kernel = torch.randn(side, side, generator=generator("random kernel", seed), dtype=torch.float64)
    return kernel - kernel.mean()


def pool(image: Tensor, side: int = 2) -> Tensor:
    """The largest value of every `side` x `side` block: (H, W) -> (H // side, W // side)."""
    return functional.max_pool2d(torch.as_tensor(image)[None, None], side)[0, 0]


def grey(image) -> Tensor:
    """Any picture as float64 (H, W), 0 black to 255 white."""
    pixels = np.asarray(as_pixels(image), dtype=float)
    pixels = pixels.mean(axis=2) if pixels.ndim == 3 else pixels
    return torch.from_numpy(pixels * (1 if pixels.max() > 1 else 255))


def show_filtered(image, kernels: Mapping[str, Sequence[Sequence[float]]] | None = None) -> Drawing:
    """The picture, then what each kernel makes of it, rectified: bright where the picture looks like the kernel.

    `image` is any picture; `kernels` name -> (h, w), by default `KERNELS` and a random one.
    """
    kernels = {**KERNELS, "random": random_kernel()} if kernels is None else kernels
    pixels = grey(image)
    shown, titles = [brightened(pixels.numpy())], ["photograph"]
    for name, kernel in kernels.items():
        answer = convolve(pixels, kernel).relu()
        shown.append((answer / answer.quantile(0.995).clamp(min=1e-9)).clamp(max=1).float())
        titles.append(str(name))
    text = f"A photograph, then where it looks like each kernel, bright where it does: {listed(titles[1:])}."
    return show_pictures(shown, titles, columns=min(4, len(shown)), text=text)
