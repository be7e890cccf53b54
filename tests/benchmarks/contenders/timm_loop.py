"""timm's loop: uint8 collate, prefetching loader, channels_last input, meters; with --torchcompile, too."""

import torch
from timm.data.loader import PrefetchLoader, fast_collate
from timm.data.transforms import ToNumpy
from timm.utils import AverageMeter
from torch import nn
from torchvision.transforms import v2

from tests.benchmarks.contenders.pictures import loader
from tests.benchmarks.contenders.plain import Plain


class Timm(Plain):
    """Transforms as plain's, so that the ranges are equal; what carries and consumes the pictures is timm's."""

    name = "timm"

    def loader(self, part: str, *, augmented: bool, shuffled: bool):
        batches = loader(self.work, part, augmented=augmented, shuffled=shuffled, collate_fn=fast_collate)
        steps = batches.dataset.transform.transforms[:-1]  # all but "to tensor": fast_collate takes arrays
        batches.dataset.transform = v2.Compose([*steps, ToNumpy()])
        return PrefetchLoader(batches, mean=(0, 0, 0), std=(1, 1, 1), device=self.device)  # the model normalises

    def prepared(self, batch):
        return batch  # on the device, float in 0..1: the prefetcher did it

    def train_epoch(self, model, optimizer, batches, schedule=None) -> None:
        loss_fn, losses = nn.CrossEntropyLoss(), AverageMeter()
        model.train()
        for images, targets in batches:
            loss = self.train_step(model, optimizer, loss_fn, self.formatted(images), targets)
            losses.update(loss, len(images))
            if schedule:
                schedule.step()

    def formatted(self, images: torch.Tensor) -> torch.Tensor:
        return images.contiguous(memory_format=torch.channels_last)


class TimmCompiled(Timm):
    """The same with --torchcompile. Compiling takes minutes on two cores and is not timed: steady state only."""

    name = "timm compiled"

    def model(self):
        return Compiled(super().model(), self)


class Compiled(nn.Module):
    """The compiled network, with the counting outside of it (a hook inside would break the graph)."""

    def __init__(self, model, contender: TimmCompiled):
        super().__init__()
        model.head._forward_pre_hooks.clear()
        self.inner, self.contender = model, contender
        self.compiled = torch.compile(model, dynamic=False)

    def forward(self, images):
        self.contender.counts._passed(self, (images,))
        return self.compiled(images) if self.training else self.inner(images)

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def parameters(self, recurse: bool = True):
        return self.inner.parameters(recurse)
