"""Work on a GPU that is recorded once and replayed: one launch where there were hundreds (CUDA graphs).

A small network's step takes a GPU less time than Python needs to launch it, so most of the time the GPU waits.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor


class Recording:
    """`work(*inputs)` as it ran once: replayed, it reads new inputs of the same shapes and computes the same on them.

    The result, and the gradients the work leaves in `parameters`, stay in the memory they had in the recording. The
    same work must have run before: while it is recorded, nothing may wait for the device or choose an algorithm.
    """

    def __init__(self, work: Callable[..., Tensor], inputs: Sequence[Tensor], parameters: Iterable[Tensor]):
        self.inputs, self.graph = [tensor.clone() for tensor in inputs], torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = work(*self.inputs)
        self.gradients = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]

    def replay(self, inputs: Sequence[Tensor]) -> Tensor:
        """The work's result for these inputs, a new tensor; the parameters have their gradients."""
        for own, new in zip(self.inputs, inputs, strict=True):
            own.copy_(new)
        self.graph.replay()
        for parameter, gradient in self.gradients:  # another recording, of other shapes, has gradients of its own
            parameter.grad = gradient
        return self.result.clone()
