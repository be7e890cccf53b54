"""`Learner`: the verbs of the lectures, each a few lines over the modules below it."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import data_setup
from helpers.analysis.predictions import Predictions, predict, predict_files, predict_views
from helpers.data.dataset import ImageData
from helpers.data.items import Item
from helpers.models import groups as models
from helpers.models.classifier import Classifier, build_classifier
from helpers.models.features import FeatureData, precompute, weights_digest
from helpers.runtime.arguments import did_you_mean
from helpers.runtime.device import keep_freed_memory, pick_device
from helpers.runtime.files import save_tensors
from helpers.runtime.precision import fast_precision
from helpers.training import schedules
from helpers.training.checkpoints import describe, read_fitting, resume_run
from helpers.training.loop import fit
from helpers.training.lr_finder import LRFinderResult, lr_find
from helpers.training.metrics import Metric, metrics_named
from helpers.training.run import BatchTransform, History, Hook, Run

Rates = float | Sequence[float] | slice


@dataclass(frozen=True)
class Prediction:
    """What the model says about one picture."""

    label: str
    probability: float
    probs: dict[str, float]  # per class


class Learner:
    """A model, its data and how it is trained.

    data      the pictures        model    a `Classifier`       history   all epochs so far
    groups    layer groups        trained_from   the first group that trains
    """

    def __init__(self, data: ImageData, model: Classifier, arch: str, options: dict):
        self.data, self.arch, self.options = data, arch, options
        self.device = pick_device()
        if self.device.type == "cpu":
            keep_freed_memory()
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()
        self.groups = models.layer_groups(model, options["layer_groups"])
        self.loss = deepcopy(options["loss"]).to(self.device)
        self.loss.reduction = "none"  # the loop takes the mean itself: a batch may pass in parts
        self.metrics = metrics_named(options["metrics"])
        self.seed, self.name = options["seed"], options["name"]
        self.path = Path(options["path"] or data_setup.home() / "models")
        self.history = History()
        self._interrupted: History | None = None  # the history as it was before an unfinished training
        self.judged = set(data.split.valid)  # pictures whose verdict has been seen
        self.copies = 0
        self._bn_freeze = False
        self._precision: torch.dtype | None = None
        self._kept: tuple[object, FeatureData] | None = None
        self.precompute = options["precompute"]
        self.freeze()

    @classmethod
    @did_you_mean
    def pretrained(
        cls,
        data: ImageData,
        arch: str = "efficientnet_lite0",
        *,
        precompute: bool = True,
        bn: str = "frozen",
        layer_groups: int | str = 3,
        metrics: Sequence[str | Metric] = ("accuracy",),
        loss: nn.Module | None = None,
        weight_decay: float = 0.01,
        dropout: float = 0.5,
        max_norm: float | None = None,
        accumulate: int = 1,
        batch_transform: BatchTransform | None = None,
        hooks: Sequence[Hook] = (),
        seed: int = 0,
        pretrained: bool = True,
        name: str = "model",
        path: Path | str | None = None,
    ) -> "Learner":
        """A learner with ImageNet weights in the body and a new head; all but the head frozen.

        precompute    train the head on kept activations while the body is frozen (needs bn="frozen")
        bn            what BatchNorm does in frozen groups: "frozen", "affine" or "train"
        layer_groups  2, 3 or "stages"             loss   any loss of torch's, default CrossEntropyLoss()
        accumulate    batches added up into one update; `data.batch_size` pictures pass at a time
        max_norm      longer gradients are shortened to this
        batch_transform   (images, targets) -> the same, after augmentation: torchvision's v2.MixUp, v2.CutMix ...;
                          like augmentation it needs pictures: precompute=False
        path          where `save` and checkpoints write; default: `models` below the data folder
        """
        options = {
            "precompute": precompute, "bn": bn, "layer_groups": layer_groups, "metrics": metrics,
            "loss": loss or nn.CrossEntropyLoss(), "weight_decay": weight_decay, "max_norm": max_norm,
            "accumulate": accumulate, "batch_transform": batch_transform, "hooks": hooks, "seed": seed, "name": name,
            "path": path,
        }  # fmt: skip
        model = build_classifier(
            arch, len(data.classes), size=data.size, pretrained=pretrained, dropout=dropout, seed=seed
        )
        return cls(data, model, arch, options)

    # What trains ---------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Only the head trains."""
        self.freeze_to(len(self.groups) - 1)

    def unfreeze(self) -> None:
        """Every layer group trains."""
        self.freeze_to(0)

    def freeze_to(self, n: int) -> None:
        """Layer groups from `n` on train; 0 is all of them, -1 the head alone."""
        first = n + len(self.groups) if n < 0 else n
        models.freeze_to(self.model, self.groups, first, bn=self.options["bn"], bn_freeze=self._bn_freeze)
        self.trained_from = first

    def bn_freeze(self, freeze: bool = True) -> None:
        """Keep BatchNorm statistics of the body as they are, also in groups that train (fastai 0.7's verb)."""
        self._bn_freeze = freeze
        self.freeze_to(self.trained_from)

    @property
    def split_point(self) -> int:
        """Up to here nothing changes while training (see `Classifier`)."""
        return (
            models.split_point_before(self.model, self.groups, self.trained_from)
            if self.options["bn"] == "frozen"
            else 0
        )

    @property
    def precompute(self) -> bool:
        """True while training uses kept activations. Set it to False to see augmented pictures again."""
        return self.wants_precompute and self.split_point > 0

    @precompute.setter
    def precompute(self, wanted: bool) -> None:
        if wanted and self.options["bn"] != "frozen":
            raise ValueError(
                "activations can be kept only while BatchNorm stands still: "
                f'bn="frozen", or precompute=False; got bn={self.options["bn"]!r}'
            )
        self.wants_precompute = wanted

    def precompute_copies(self, copies: int) -> None:
        """Train on activations of `copies` augmented versions of each picture: augmentation and precompute at once."""
        self.copies, self.precompute = copies, True

    def source(self) -> ImageData | FeatureData:
        """What training draws its batches from: the pictures, or activations kept at `cut`."""
        if not self.precompute:
            return self.data
        asked = self._asked()
        if self._kept is None or self._kept[0] != asked:
            self._kept = asked, precompute(self.model, self.data, device=self.device, **asked[1])
        return self._kept[1]

    def _asked(self) -> tuple[ImageData, dict, str]:
        """Everything the kept activations depend on."""
        how = {"split_point": self.split_point, "precision": self.precision, "copies": self.copies}
        return self.data, how, weights_digest(self.model, self.split_point)

    def _source_at_hand(self) -> ImageData | FeatureData:
        """What predictions are made from: augmented copies are for training only, none is computed to predict."""
        ready = self._kept is not None and self._kept[0] == self._asked()
        return self.source() if ready or not self.copies else self.data

    # Precision -----------------------------------------------------------------------------------------------

    def to_fp16(self) -> "Learner":
        """Half precision with a loss scaler, for CUDA cards without bfloat16."""
        return self._set_precision(torch.float16)

    def to_bf16(self) -> "Learner":
        """bfloat16: half the memory, the range of float32."""
        return self._set_precision(torch.bfloat16)

    def to_fp32(self) -> "Learner":
        """Full precision everywhere."""
        return self._set_precision(torch.float32)

    def _set_precision(self, precision: torch.dtype) -> "Learner":
        if precision is torch.float16 and self.device.type == "cpu":
            raise ValueError("float16 is slower than float32 on a CPU and loses digits; use to_bf16() or to_fp32()")
        self._precision = precision
        return self

    @property
    def precision(self) -> torch.dtype:
        """As set by `to_...`, else what is fastest here."""
        return self._precision or fast_precision(self.device)

    # Training ------------------------------------------------------------------------------------------------

    @did_you_mean
    def lr_find(self, lr: Rates = 1e-3, *, start: float = 1e-7, end: float = 10.0, steps: int = 100) -> LRFinderResult:
        """The learning-rate finder: loss against the last group's rate. Leaves no trace.

        `lr` only says how the groups' rates relate, e.g. slice(1e-5, 1e-3); for its size `start` and `end` stand.
        """
        run = self._run(lr, epochs=1, schedule=schedules.constant, hooks=())
        return lr_find(run, start=start, end=end, steps=steps)

    @did_you_mean
    def fit(
        self,
        lr: Rates,
        cycles: int,
        cycle_len: int | None = None,
        cycle_mult: int = 1,
        *,
        hooks: Sequence[Hook] = (),
        resume: bool = False,
    ) -> History:
        """Train `cycles` epochs at a constant rate, or with `cycle_len` that many SGDR cycles.

        fit(lr, 3, cycle_len=1, cycle_mult=2) is 1 + 2 + 4 = 7 epochs (fastai 0.7's verb).
        """
        if cycle_len is None:
            if cycle_mult != 1:
                raise ValueError("cycle_mult needs cycle_len: without it the rate is constant and there are no cycles")
            return self._train(lr, cycles, schedules.constant, None, hooks, resume)
        epochs = sum(schedules.cycle_epochs(cycles, cycle_len, cycle_mult))
        return self._train(lr, epochs, schedules.sgdr(cycles, cycle_len, cycle_mult), None, hooks, resume)

    @did_you_mean
    def fit_one_cycle(
        self,
        epochs: int,
        lr: Rates = slice(3e-3),
        *,
        pct_start: float = 0.25,
        div: float = 25.0,
        div_final: float = 1e5,
        hooks: Sequence[Hook] = (),
        resume: bool = False,
    ) -> History:
        """One-cycle: the rate rises to `lr` and falls to nearly nothing, momentum the other way (fastai v1 and v2)."""
        schedule = schedules.one_cycle(pct_start=pct_start, div=div, div_final=div_final)
        return self._train(lr, epochs, schedule, schedules.one_cycle_momentum(pct_start=pct_start), hooks, resume)

    @did_you_mean
    def fit_flat_cos(
        self, epochs: int, lr: Rates, *, pct_start: float = 0.75, hooks: Sequence[Hook] = (), resume: bool = False
    ) -> History:
        """A constant rate for `pct_start` of the training, then a cosine to zero (fastai v2)."""
        return self._train(lr, epochs, schedules.flat_cosine(pct_start=pct_start), None, hooks, resume)

    @did_you_mean
    def fine_tune(
        self,
        epochs: int,
        lr: float = 2e-3,
        *,
        freeze_epochs: int = 1,
        lr_mult: float = 100.0,
        pct_start: float = 0.3,
        div: float = 5.0,
        hooks: Sequence[Hook] = (),
    ) -> History:
        """The head alone for `freeze_epochs`, then everything for `epochs`, one-cycle each (fastai v2, same defaults).

        Frozen: slice(lr), pct_start 0.99. Unfrozen: slice(lr / 2 / lr_mult, lr / 2), `pct_start`, `div`.
        It has no `resume`. Killed in the second part, a learner goes on with unfreeze() and
        fit_one_cycle(epochs, slice(lr / 200, lr / 2), pct_start=0.3, div=5, resume=True).
        """
        self.freeze()
        first = self.fit_one_cycle(freeze_epochs, slice(lr), pct_start=0.99, hooks=hooks)
        if self._interrupted is not None:
            return first
        self.unfreeze()
        rates = slice(lr / 2 / lr_mult, lr / 2)
        return first + self.fit_one_cycle(epochs, rates, pct_start=pct_start, div=div, hooks=hooks)

    def _train(self, lr, epochs, schedule, momentum, hooks, resume) -> History:
        if epochs < 1:
            raise ValueError(f"a training has at least one epoch; got {epochs}")
        before = self._interrupted if resume and self._interrupted is not None else self.history
        run = self._run(lr, epochs=epochs, schedule=schedule, momentum=momentum, hooks=hooks)
        run.first_epoch = before.next_epoch
        if resume:
            resume_run(run)
        try:
            return fit(run)
        finally:
            self.history = before + run.history
            self._interrupted = before if run.done < epochs and not run.stop else None

    def _run(self, lr: Rates, *, epochs: int, schedule, hooks, momentum=None) -> Run:
        rates = models.spread_rates(lr, len(self.groups))
        parameters = models.optimizer_groups(self.model, self.groups, rates, self.options["weight_decay"])
        source = self.source()
        return Run(
            model=self.model,
            # betas, eps and weight decay of fastai v2; fused: one pass over all parameters
            optimizer=torch.optim.AdamW(parameters, betas=(0.9, 0.99), eps=1e-5, fused=self.device.type != "mps"),
            source=source,
            loss=self.loss,
            schedule=schedule,
            epochs=epochs,
            device=self.device,
            momentum=momentum,
            split_point=source.split_point if isinstance(source, FeatureData) else 0,
            batch_size=self.data.batch_size * self.options["accumulate"],
            micro_batches=self.options["accumulate"],
            precision=self.precision,
            max_norm=self.options["max_norm"],
            metrics=self.metrics,
            batch_transform=None if source is not self.data else self.options["batch_transform"],
            hooks=(*self.options["hooks"], *hooks),
            seed=self.seed,
            checkpoint=self.path / f"{self.name}.checkpoint.safetensors",
        )

    def set_data(self, data: ImageData) -> None:
        """Go on with other pictures, or the same at another size. Refuses to train on pictures it was judged by."""
        if data.classes != self.data.classes:
            raise ValueError(
                f"the model knows the classes {', '.join(self.data.classes)}; the new data has {', '.join(data.classes)}"
            )
        seen = self.judged & set(data.split.train)
        if seen:
            raise ValueError(
                f"{len(seen)} pictures of the new training part, e.g. {min(seen)}, have judged this model before: "
                "its accuracy would be flattered from now on. Keep the split: data.resized(...)"
            )
        self.data = data
        self.judged |= set(data.split.valid)

    # Predicting ----------------------------------------------------------------------------------------------

    def predict(self) -> Tensor:
        """Log probabilities of the validation pictures: (N, K) float32, rows in item order."""
        return self.get_preds("valid").log_probs

    def get_preds(self, part: str | Iterable[Item] = "valid") -> Predictions:
        """Predictions without augmentation, in item order: "train", "valid", "test", or items of your own."""
        if not isinstance(part, str):
            items = tuple(part)
            targets = torch.tensor(
                [self.data.classes.index(i.label) if i.label in self.data.classes else -1 for i in items]
            )
            log_probs = predict_files(self.model, self.data, [item.path for item in items], **self._arithmetic())
            return Predictions(items, log_probs, targets, self.data.classes)
        rows, source = self._rows(part), self._source_at_hand()
        split_point = source.split_point if isinstance(source, FeatureData) else 0
        return self._predictions(
            rows, predict(self.model, source, rows, split_point=split_point, **self._arithmetic()), part
        )

    def tta(self, n: int = 4, beta: float = 0.25, use_max: bool = False, *, part: str = "valid") -> Predictions:
        """Test-time augmentation: the mean over `n` augmented views, and `beta` of the plain one (fastai v2)."""
        rows = self._rows(part)
        log_probs = predict_views(self.model, self.data, rows, n=n, beta=beta, use_max=use_max, **self._arithmetic())
        return self._predictions(rows, log_probs, part)

    def _arithmetic(self) -> dict:
        return {"device": self.device, "precision": self.precision, "batch_size": 2 * self.data.batch_size}

    def _rows(self, part: str) -> Tensor:
        rows = self.data.indices_of(part)
        if not len(rows):
            raise ValueError(f"there are no {part} pictures to predict: {self.data}")
        return rows

    def _predictions(self, rows: Tensor, log_probs: Tensor, part: str) -> Predictions:
        items = tuple(self.data.items[row] for row in rows.tolist())
        return Predictions(items, log_probs, self.data.targets[rows], self.data.classes, part)

    def predict_one(self, path: Path | str) -> Prediction:
        """What the model says about one picture file."""
        probs = self.get_preds([Item(str(path), Path(path), None)]).probs[0].tolist()
        best = probs.index(max(probs))
        return Prediction(self.data.classes[best], probs[best], dict(zip(self.data.classes, probs, strict=True)))

    def features(self, part: str = "train") -> Tensor:
        """Pooled activations of the body for a part's pictures: (N, D) float32, rows in item order."""
        whole = precompute(
            self.model,
            self.data,
            split_point=len(self.model.body),
            device=self.device,
            precision=self.precision,
        )
        return whole.plain[self.data.indices_of(part)].float()

    # Keeping -------------------------------------------------------------------------------------------------

    def about(self) -> dict:
        """What a saved file says of the model."""
        return describe(self.arch, self.data, self.model, self.history)

    def save(self, name: str) -> Path:
        """Write the weights and their description to `path`/name.safetensors, whole or not at all."""
        file = self.path / f"{name}.safetensors"
        save_tensors(file, self.model.state_dict(), self.about())
        return file

    def load(self, name: str) -> "Learner":
        """Take weights saved by `save`. Raises ValueError naming what does not fit: arch, classes or their order."""
        self.model.load_state_dict(read_fitting(self.path / f"{name}.safetensors", self.arch, self.data))
        return self

    # Looking -------------------------------------------------------------------------------------------------

    def summary(self) -> None:
        """Print the layer groups: how many numbers each holds, how many train, and what BatchNorm does there."""
        seen = "kept activations" if self.precompute else "pictures"
        print(f"{self.arch}, {len(self.data.classes)} classes, {self.data.size} px, {seen}")
        rows = models.group_rows(self.model, self.groups, self.trained_from, self.options["bn"], self._bn_freeze)
        print("\n".join(["group  stages   parameters    trainable  normalisation", *rows]))
