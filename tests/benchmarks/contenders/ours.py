"""This kit, as the lessons use it."""

import os

import torch

from helpers.data.augment import no_augment, top_down
from helpers.data.dataset import Batch, ImageData
from helpers.learner import Learner
from helpers.training import loop
from helpers.training.loop import train_step
from helpers.training.run import Hook
from tests.benchmarks.contenders.contender import Contender, Timed, random_batch
from tests.benchmarks.work import FREEZE_EPOCHS, HEAD_EPOCHS, STEPS, TTA_VIEWS, TUNE_EPOCHS


class Told(Hook):
    """Steps and accuracies, for the counts."""

    def __init__(self, contender: "Ours"):
        self.contender = contender

    def on_step_end(self, run) -> None:
        self.contender.counts.stepped()

    def on_epoch_end(self, run) -> None:
        self.contender.mark(run.history.epochs[-1].metrics["accuracy"])


class Ours(Contender):
    name = "ours"
    graphs = False

    def data(self, *, augmented: bool = True) -> ImageData:
        work, (items, split) = self.work, self.work.split
        ranges = {
            name: getattr(work, name)
            for name in ("max_rotate_deg", "max_zoom", "max_lighting", "p_affine", "p_lighting")
        }
        augment = top_down(**ranges) if augmented else no_augment()
        return ImageData.from_items(items, split, size=work.size_px, augment=augment, batch_size=work.batch_size)

    def learner(self, data: ImageData, **options) -> Learner:
        work = self.work
        learn = Learner.pretrained(
            data, work.arch, pretrained=work.pretrained, seed=self.seed, hooks=[Told(self)], name="bench",
            cuda_graphs=self.graphs, **options,
        )  # fmt: skip
        self.watch(learn.model)
        return learn

    def decode(self) -> Timed:
        data = self.data()

        def timed():
            self.counts.delivered = len(data.store)

        return timed

    def batches(self) -> Timed:
        data = self.kept.setdefault("batches", self.data())
        data.store_on(self.device)

        def timed():
            for batch in data.train_batches(self.device, self.work.batch_size, self.seed):
                self.counts.delivered += len(batch)

        return timed

    def head_epochs(self) -> Timed:
        def timed():
            learn = self.learner(self.data(augmented=False))
            learn.fit_one_cycle(HEAD_EPOCHS, self.work.lr)
            self.says_trained(learn.model)

        return timed

    def epoch(self) -> Timed:
        if "epoch" not in self.kept:
            learn = self.kept["epoch"] = self.learner(self.data(), precompute=False)
            learn.unfreeze()
        learn = self.kept["epoch"]
        self.says_trained(learn.model)
        return lambda: learn.fit(self.work.epoch_lr, 1)

    def fine_tune(self) -> Timed:
        def timed():
            learn = self.learner(self.data())
            learn.fine_tune(TUNE_EPOCHS, self.work.lr, freeze_epochs=FREEZE_EPOCHS)
            self.says_trained(learn.model)

        return timed

    def tta(self) -> Timed:
        if "tta" not in self.kept:
            self.kept["tta"] = self.learner(self.data(), precompute=False)
            self.kept["tta"].data.store_on(self.device)
        learn = self.kept["tta"]
        return lambda: self.mark(learn.tta(n=TTA_VIEWS).accuracy())

    def step(self) -> Timed:
        if "step" not in self.kept:
            learn = self.learner(self.data(), precompute=False)
            learn.unfreeze()
            run = learn._run(self.work.epoch_lr, epochs=1, schedule=lambda _: 1.0, hooks=())
            learn.model.train()
            self.kept["step"] = run, self.resident_batch()
        run, batch = self.kept["step"]
        self.says_trained(run.model)

        def timed():
            for _ in range(STEPS):
                train_step(run, batch)
                self.counts.stepped()

        return timed

    def resident_batch(self) -> Batch:
        images, targets = random_batch(self.work, self.device)
        return Batch(images, targets, torch.ones(len(targets), device=self.device))


class OursGraphs(Ours):
    """With CUDA graphs. What passes through the head of a recording is counted where the recording is asked for."""

    name = "ours, graphs"
    graphs = True

    def __init__(self, work):
        super().__init__(work)
        real = loop.recorded_gradients

        def counted(run, batch):
            before = self.counts.trained_on
            loss = real(run, batch)
            self.counts.trained_on = before + len(batch)
            return loss

        loop.recorded_gradients = counted


class OursFloat32(Ours):
    """As if the timing had chosen float32 for training and predicting."""

    name = "ours, float32"
    precision = "float32"

    def __init__(self, work):
        super().__init__(work)
        os.environ["COURSE_PRECISION"] = self.precision  # of this process alone


class OursBfloat16(OursFloat32):
    name = "ours, bfloat16"
    precision = "bfloat16"
