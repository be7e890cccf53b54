"""fastai 2.8: as its lessons use it, and tuned: channels_last, fused AdamW, frozen BatchNorm, measured workers.

Its mixed precision is for CUDA alone (`autocast("cuda")`), so on a CPU it computes in float32.
"""

import warnings
from functools import partial

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.vision.all import (
        BnFreeze,
        Callback,
        CategoryBlock,
        DataBlock,
        DataLoaders,
        ImageBlock,
        OptimWrapper,
        Resize,
        accuracy,
        aug_transforms,
        params,
    )
    from fastai.vision.all import Learner as FastaiLearner

from helpers.models.groups import layer_groups
from tests.benchmarks.contenders.contender import Contender, Timed, random_batch
from tests.benchmarks.work import FREEZE_EPOCHS, HEAD_EPOCHS, STEPS, TTA_VIEWS, TUNE_EPOCHS

warnings.filterwarnings("ignore")


class Told(Callback):
    """Steps and accuracies, for the counts."""

    def __init__(self, contender: "FastaiDefault"):
        self.contender = contender

    def after_step(self):
        self.contender.counts.stepped()

    def after_epoch(self):
        if self.recorder.metrics:
            self.contender.mark(float(self.recorder.values[-1][-1]))


Told.order = 60  # after the recorder


class FastaiDefault(Contender):
    name = "fastai default"
    tuned = False

    def dls(self, *, augmented: bool = True) -> DataLoaders:
        work = self.work
        label_of = {path: label for part in ("train", "valid") for path, label in work.parts[part]}
        files, n_train = list(label_of), work.count("train")
        ranges = {
            "max_rotate": work.max_rotate_deg, "max_zoom": work.max_zoom, "max_lighting": work.max_lighting,
            "p_affine": work.p_affine, "p_lighting": work.p_lighting, "max_warp": 0.0, "flip_vert": True,
        }  # fmt: skip
        block = DataBlock(
            blocks=(ImageBlock, CategoryBlock(vocab=work.classes)),
            get_y=label_of.get,
            splitter=lambda _: (list(range(n_train)), list(range(n_train, len(files)))),
            item_tfms=Resize(work.presize_px if augmented else work.size_px),
            batch_tfms=aug_transforms(size=work.size_px, **ranges) if augmented else None,
        )
        workers = {"num_workers": work.workers} if self.tuned else {}
        dls = block.dataloaders(files, bs=work.batch_size, device=self.device, **workers)
        dls.train.drop_last = False  # the one change to its default: it would see fewer pictures than the others
        return dls

    def learner(self, dls: DataLoaders, *, metrics=(accuracy,)) -> FastaiLearner:
        def groups_of(model):
            return [[p for module in group for p in params(module)] for group in layer_groups(model, 3)]

        tuned = {"train_bn": False, "cbs": [BnFreeze()]} if self.tuned else {}
        if self.tuned:
            tuned["opt_func"] = partial(OptimWrapper, opt=torch.optim.AdamW, fused=True, eps=1e-5)
        learn = FastaiLearner(
            dls, self.new_model(), loss_func=torch.nn.CrossEntropyLoss(), splitter=groups_of, metrics=list(metrics),
            wd=0.01, **tuned,
        )  # fmt: skip
        learn.add_cb(Told(self))
        if self.tuned:
            on_gpu = self.device.type == "cuda"
            learn.to_channelslast(**({"amp_mode": "bf16"} if on_gpu else {"use_amp": False}))
        return learn

    # Tasks ---------------------------------------------------------------------------------------------------

    def decode(self) -> Timed:
        dls = self.dls(augmented=False)

        def timed():
            self.counts.delivered = sum(len(images) for images, _ in dls.train)
            self.counts.delivered += sum(len(images) for images, _ in dls.valid)

        return timed

    def batches(self) -> Timed:
        dls = self.kept.setdefault("batches", self.dls())

        def timed():
            self.counts.delivered = sum(len(images) for images, _ in dls.train)

        return timed

    def head_epochs(self) -> Timed:
        def timed():
            learn = self.learner(self.dls(augmented=False))
            with learn.no_bar(), learn.no_logging():
                learn.freeze()
                self.says_trained(learn.model)
                learn.fit_one_cycle(HEAD_EPOCHS, self.work.lr)

        return timed

    def epoch(self) -> Timed:
        if "epoch" not in self.kept:
            learn = self.kept["epoch"] = self.learner(self.dls())
            learn.unfreeze()
        learn = self.kept["epoch"]
        self.says_trained(learn.model)

        def timed():
            with learn.no_bar(), learn.no_logging():
                learn.fit(1, self.work.epoch_lr)

        return timed

    def fine_tune(self) -> Timed:
        def timed():
            learn = self.learner(self.dls())
            with learn.no_bar(), learn.no_logging():
                learn.fine_tune(TUNE_EPOCHS, self.work.lr, freeze_epochs=FREEZE_EPOCHS)
            self.says_trained(learn.model)

        return timed

    def tta(self) -> Timed:
        learn = self.kept["tta"] if "tta" in self.kept else self.kept.setdefault("tta", self.learner(self.dls()))

        def timed():
            with learn.no_bar(), learn.no_logging():
                probabilities, targets = learn.tta(n=TTA_VIEWS)
            self.mark((probabilities.argmax(1) == targets).float().mean().item())

        return timed

    def step(self) -> Timed:
        if "step" not in self.kept:
            batch = random_batch(self.work, self.device)
            learn = self.kept["step"] = self.learner(DataLoaders(Resident(batch), Resident(batch, 0)), metrics=())
            learn.unfreeze()
        learn = self.kept["step"]
        self.says_trained(learn.model)

        def timed():
            with learn.no_bar(), learn.no_logging():
                learn.fit(1, self.work.epoch_lr)

        return timed


class FastaiTuned(FastaiDefault):
    name = "fastai tuned"
    tuned = True


class Resident(list):
    """A loader of the same batch again and again."""

    def __init__(self, batch, n: int = STEPS):
        super().__init__([batch] * n)
        self.device, self.dataset, self.bs = batch[0].device, [None] * n, len(batch[1])
