"""What all contenders share: the model they are given, and the clock and the counts of a task."""

from collections.abc import Callable
from time import perf_counter

import torch

from data_setup.backbones import find
from helpers.models.classifier import Body, Classifier, build_classifier
from helpers.models.groups import freeze_to, layer_groups, optimizer_groups, spread_rates
from helpers.runtime.device import pick_device
from tests.benchmarks.work import FREEZE_EPOCHS, TUNE_EPOCHS, Counts, Work

Timed = Callable[[], None]


class Contender:
    """A task (see `work.TASKS`) is a method: it sets up what is not timed, and returns what is.

    `counts` is of the last task. What persists between two calls of one task (a training that goes on, workers that
    stay) belongs to the object.
    """

    name = ""

    def __init__(self, work: Work):
        self.work, self.device = work, pick_device()
        self.counts, self.started, self.seed = Counts(), 0.0, 0
        self.kept: dict[str, object] = {}  # by task

    def begin(self, task: str, seed: int) -> Timed:
        """Set up; the function returned is the work that is timed."""
        self.seed, self.counts = seed, Counts(started_from=self.counts.started_from)
        return getattr(self, task)()

    def new_model(self) -> Classifier:
        """The network with the head everybody begins with, of a peer's own layers; the body stands on our device, in
        evaluation mode."""
        torch.manual_seed(self.seed)
        model = build_classifier(
            self.work.arch, len(self.work.classes), size=self.work.size_px, pretrained=self.work.pretrained,
            seed=self.seed,
        )  # fmt: skip
        model.body = with_timms_layers(model.body, self.work.arch).eval()
        self.watch(model)
        return model.to(self.device)

    def watch(self, model: Classifier) -> None:
        counts = self.counts = Counts()
        counts.watch(model)

        def follow(head, inputs):  # a model that goes on training is counted anew for each task
            if self.counts is not counts:
                self.counts._passed(head, inputs)

        model.head.register_forward_pre_hook(follow)

    def mark(self, accuracy: float) -> None:
        """The end of an epoch."""
        self.counts.marks.append((perf_counter() - self.started, accuracy))

    def says_trained(self, model) -> None:
        self.counts.trained_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)


class TorchContender(Contender):
    """For peers that use torch's optimizer and schedules: the same groups, rates and schedules as fastai's verbs."""

    def freeze(self, model: Classifier, first: int) -> list:
        groups = layer_groups(model, 3)
        freeze_to(model, groups, first % len(groups))
        return groups

    def optimizer(self, model: Classifier, lr) -> torch.optim.Optimizer:
        groups = layer_groups(model, 3)
        parameters = optimizer_groups(model, groups, spread_rates(lr, len(groups)), 0.01)
        optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.99), eps=1e-5, fused=True)
        optimizer.register_step_post_hook(lambda *_: self.counts.stepped())
        return optimizer

    def one_cycle(self, optimizer, epochs: int, *, pct_start: float = 0.25, div: float = 25.0):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["base_lr"] for group in optimizer.param_groups],
            total_steps=epochs * self.work.steps_per_epoch,
            pct_start=pct_start, div_factor=div, final_div_factor=1e5 / div,
            base_momentum=0.85, max_momentum=0.95,
        )  # fmt: skip

    def phases(self):
        """fine_tune: (first group that trains, epochs, rate, schedule's settings) of its two phases."""
        lr = self.work.lr
        yield -1, FREEZE_EPOCHS, slice(lr), {"pct_start": 0.99}
        yield 0, TUNE_EPOCHS, slice(lr / 200, lr / 2), {"pct_start": 0.3, "div": 5.0}


def with_timms_layers(body: Body, arch: str) -> Body:
    """The same network and weights as timm computes it, where this kit has written the layers itself: what makes them
    fast is this kit's, and a peer's users do not have it."""
    if find(arch).home != "packaged":
        return body
    import timm

    network = timm.create_model(f"tf_{arch}")
    parts = network.conv_stem, network.bn1, *network.blocks, network.conv_head, network.bn2
    theirs = Body(*parts)
    theirs.load_state_dict(body.state_dict())
    return theirs


def random_batch(work, device) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of noise that stays where it is: the arithmetic without the data."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(work.batch_size, 3, work.size_px, work.size_px, generator=rng)
    targets = torch.randint(len(work.classes), (work.batch_size,), generator=rng)
    return images.to(device), targets.to(device)
