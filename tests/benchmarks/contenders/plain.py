"""A plain PyTorch loop in the manner of torchvision's reference scripts, tuned: channels_last, bf16 where it is faster,
fused optimizer, workers that stay, no gradients below a frozen body."""

import torch
from torch import nn

from helpers.models.classifier import Classifier
from tests.benchmarks.contenders.contender import Timed, TorchContender, random_batch
from tests.benchmarks.contenders.pictures import loader
from tests.benchmarks.work import HEAD_EPOCHS, STEPS, TTA_VIEWS


class Plain(TorchContender):
    name = "plain"

    def loaders(self, *, augmented: bool = True) -> tuple:
        """(training, validation), made once: their workers stay."""
        key = f"loaders {augmented}"
        if key not in self.kept:
            self.kept[key] = (
                self.loader("train", augmented=augmented, shuffled=True),
                self.loader("valid", augmented=False, shuffled=False),
            )
        return self.kept[key]

    def loader(self, part: str, *, augmented: bool, shuffled: bool):
        return loader(self.work, part, augmented=augmented, shuffled=shuffled)

    def prepared(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(images (N, 3, H, W) float in 0..1, targets) on the device."""
        images, targets = (column.to(self.device, non_blocking=True) for column in batch)
        return images.float() / 255, targets

    def model(self) -> Classifier:
        return self.new_model().to(memory_format=torch.channels_last)

    def autocast(self, bf16: bool):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)

    def trains_in_bf16(self, model) -> bool:
        """A frozen body only predicts: it computes in what is faster for that."""
        frozen = not any(parameter.requires_grad for parameter in model.body.parameters())
        return self.work.predict_bf16 if frozen else self.work.train_bf16

    # Loops ---------------------------------------------------------------------------------------------------

    def train_epoch(self, model, optimizer, batches, schedule=None) -> None:
        loss_fn = nn.CrossEntropyLoss()
        model.train()
        for batch in batches:
            images, targets = self.prepared(batch)
            self.train_step(model, optimizer, loss_fn, images, targets)
            if schedule:
                schedule.step()

    def train_step(self, model, optimizer, loss_fn, images, targets) -> float:
        with self.autocast(self.trains_in_bf16(model)):
            loss = loss_fn(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()  # for the progress line, as the reference has it

    def accuracy(self, model, batches) -> float:
        model.eval()
        right, n = 0, 0
        with torch.inference_mode(), self.autocast(self.work.predict_bf16):
            for batch in batches:
                images, targets = self.prepared(batch)
                right += (model(images).argmax(1) == targets).sum().item()
                n += len(targets)
        return right / n

    def fit(self, model, optimizer, epochs: int, loaders, schedule=None) -> None:
        train, valid = loaders
        for _ in range(epochs):
            self.train_epoch(model, optimizer, train, schedule)
            self.mark(self.accuracy(model, valid))

    # Tasks ---------------------------------------------------------------------------------------------------

    def decode(self) -> Timed:
        loaders = [self.loader(part, augmented=False, shuffled=False) for part in ("train", "valid")]

        def timed():
            for batches in loaders:
                self.counts.delivered += sum(len(images) for images, _ in batches)

        return timed

    def batches(self) -> Timed:
        train, _ = self.loaders()

        def timed():
            for batch in train:
                self.counts.delivered += len(self.prepared(batch)[0])

        return timed

    def head_epochs(self) -> Timed:
        def timed():
            model = self.model()
            self.freeze(model, -1)
            optimizer = self.optimizer(model, self.work.lr)
            schedule = self.one_cycle(optimizer, HEAD_EPOCHS)
            self.fit(model, optimizer, HEAD_EPOCHS, self.loaders(augmented=False), schedule)
            self.says_trained(model)

        return timed

    def epoch(self) -> Timed:
        if "epoch" not in self.kept:
            model = self.model()
            self.freeze(model, 0)
            self.kept["epoch"] = model, self.optimizer(model, self.work.epoch_lr)
        model, optimizer = self.kept["epoch"]
        self.says_trained(model)
        return lambda: self.fit(model, optimizer, 1, self.loaders())

    def fine_tune(self) -> Timed:
        def timed():
            model, loaders = self.model(), self.loaders()
            for first, epochs, lr, shape in self.phases():
                self.freeze(model, first)
                optimizer = self.optimizer(model, lr)
                self.fit(model, optimizer, epochs, loaders, self.one_cycle(optimizer, epochs, **shape))
            self.says_trained(model)

        return timed

    def tta(self) -> Timed:
        if "tta" not in self.kept:
            views = self.loader("valid", augmented=True, shuffled=False)
            self.kept["tta"] = self.model(), views, self.loaders()[1]
        model, views, plain = self.kept["tta"]

        def timed():
            model.eval()
            with torch.inference_mode(), self.autocast(self.work.predict_bf16):
                seen = sum(self.probabilities(model, views) for _ in range(TTA_VIEWS)) / TTA_VIEWS
                own = self.probabilities(model, plain)
            self.mark(self.share_right(0.75 * seen + 0.25 * own))

        return timed

    def probabilities(self, model, batches) -> torch.Tensor:
        return torch.cat([model(self.prepared(batch)[0]).float().softmax(1).cpu() for batch in batches])

    def share_right(self, probabilities: torch.Tensor) -> float:
        targets = torch.tensor([self.work.classes.index(label) for _, label in self.work.parts["valid"]])
        return (probabilities.argmax(1) == targets).float().mean().item()

    def step(self) -> Timed:
        if "step" not in self.kept:
            model = self.model()
            self.freeze(model, 0)
            self.kept["step"] = model.train(), self.optimizer(model, self.work.epoch_lr)
        model, optimizer = self.kept["step"]
        self.says_trained(model)
        images, targets = random_batch(self.work, self.device)
        loss_fn = nn.CrossEntropyLoss()

        def timed():
            for _ in range(STEPS):
                self.train_step(model, optimizer, loss_fn, images, targets)

        return timed
