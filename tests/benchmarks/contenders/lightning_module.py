"""Lightning: a module, a Trainer without logger, bar or checkpoints, and plain's loaders."""

import logging
import warnings

import lightning
import torch
from torch import nn

from tests.benchmarks.contenders.contender import Timed, random_batch
from tests.benchmarks.contenders.plain import Plain
from tests.benchmarks.work import HEAD_EPOCHS, STEPS, TTA_VIEWS

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class Module(lightning.LightningModule):
    def __init__(self, contender: "Lightning", model, lr, schedule: dict | None = None):
        super().__init__()
        self.contender, self.model, self.lr, self.schedule = contender, model, lr, schedule
        self.loss_fn = nn.CrossEntropyLoss()
        self.right = self.n = 0

    def training_step(self, batch, _):
        images, targets = self.contender.prepared(batch)
        return self.loss_fn(self.model(images), targets)

    def validation_step(self, batch, _):
        images, targets = self.contender.prepared(batch)
        self.right += (self.model(images).argmax(1) == targets).sum().item()
        self.n += len(targets)

    def on_validation_epoch_end(self):
        self.contender.mark(self.right / self.n)
        self.right = self.n = 0

    def predict_step(self, batch, _, dataloader_idx=0):
        return self.model(self.contender.prepared(batch)[0]).float().softmax(1)

    def configure_optimizers(self):
        optimizer = self.contender.optimizer(self.model, self.lr)
        if self.schedule is None:
            return optimizer
        schedule = self.contender.one_cycle(optimizer, **self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Lightning(Plain):
    name = "lightning"

    def trainer(self, epochs: int = 1, *, bf16: bool) -> lightning.Trainer:
        return lightning.Trainer(
            max_epochs=epochs, precision="bf16-mixed" if bf16 else "32-true", accelerator="auto", devices=1,
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0,
        )  # fmt: skip

    def run_fit(self, model, epochs: int, lr, loaders, shape: dict | None = None) -> None:
        module = Module(self, model, lr, None if shape is None else {"epochs": epochs, **shape})
        self.trainer(epochs, bf16=self.trains_in_bf16(model)).fit(module.train(), *loaders)

    def head_epochs(self) -> Timed:
        def timed():
            model = self.model()
            self.freeze(model, -1)
            self.run_fit(model, HEAD_EPOCHS, self.work.lr, self.loaders(augmented=False), {})
            self.says_trained(model)

        return timed

    def epoch(self) -> Timed:
        if "epoch" not in self.kept:
            self.kept["epoch"] = self.model()
            self.freeze(self.kept["epoch"], 0)
        model = self.kept["epoch"]
        self.says_trained(model)
        return lambda: self.run_fit(model, 1, self.work.epoch_lr, self.loaders())

    def fine_tune(self) -> Timed:
        def timed():
            model, loaders = self.model(), self.loaders()
            for first, epochs, lr, shape in self.phases():
                self.freeze(model, first)
                self.run_fit(model, epochs, lr, loaders, shape)
            self.says_trained(model)

        return timed

    def tta(self) -> Timed:
        if "tta" not in self.kept:
            module = Module(self, self.model(), 0.0)
            views = self.loader("valid", augmented=True, shuffled=False)
            self.kept["tta"] = module, [views] * TTA_VIEWS + [self.loaders()[1]]
        module, loaders = self.kept["tta"]

        def timed():
            *seen, own = self.trainer(bf16=self.work.predict_bf16).predict(module, loaders)
            seen = sum(torch.cat(view) for view in seen) / TTA_VIEWS
            self.mark(self.share_right(0.75 * seen + 0.25 * torch.cat(own)))

        return timed

    def step(self) -> Timed:
        if "step" not in self.kept:
            self.kept["step"] = self.model()
            self.freeze(self.kept["step"], 0)
        model = self.kept["step"]
        self.says_trained(model)
        images, targets = random_batch(self.work, self.device)
        batches = torch.utils.data.DataLoader([((images * 255).byte(), targets)] * STEPS, batch_size=None)
        return lambda: self.run_fit(model, 1, self.work.epoch_lr, [batches])
