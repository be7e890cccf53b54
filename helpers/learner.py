"""`Learner`: the verbs of the lectures, each a few lines over the rooms above it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import data_setup
from data_setup.base.arguments import OLDER, did_you_mean, need_whole, old_attribute
from data_setup.items import Item
from helpers.analysis.intervals import accuracy_interval
from helpers.analysis.lr_curve import LRFinderResult, read_curve
from helpers.analysis.predictions import Arithmetic, Predictions, predict, predict_files, predict_views
from helpers.data.augment import no_augment
from helpers.data.dataset import ImageData
from helpers.models import groups as models
from helpers.models.classifier import Classifier, build_classifier, from_module
from helpers.models.features import FeatureData, body_fingerprint, precompute
from helpers.runtime.device import make_ready, pick_device
from helpers.runtime.distributed import join, n_ranks, rank, share, wait
from helpers.runtime.precision import fast_precision, network_kind
from helpers.runtime.tensor_files import save_tensors
from helpers.runtime.torch_gaps import AdamW
from helpers.training import schedules
from helpers.training.checkpoints import forget_finished, load_model
from helpers.training.loop import fit
from helpers.training.losses import per_picture
from helpers.training.lr_finder import lr_find
from helpers.training.metrics import Metric, count_confusions, metrics_named
from helpers.training.run import MOMENTUM, BatchTransform, History, Hook, Plan, Run

Rates = float | Sequence[float] | slice
Hooks = Hook | Sequence[Hook]


@dataclass(frozen=True)
class Prediction:
    """What the model says about one picture."""

    label: str
    probability: float
    probs: dict[str, float]  # per class


@dataclass(eq=False, repr=False)
class Learner:
    """A model, its data and how it is trained.

    `model` is any network from pictures (N, 3, size, size) to logits (N, K); one of your own trains as a whole.
    """

    data: ImageData
    model: nn.Module
    _: KW_ONLY
    arch: str = ""
    bn: str = "frozen"  # what BatchNorm does in frozen groups: "frozen", "affine", "train"; or "frozen everywhere"
    layer_groups: int | str = 3  # 2, 3 or "stages"
    metrics: str | Metric | Sequence[str | Metric] = ("accuracy",)
    loss: nn.Module | None = None  # any loss of logits; default CrossEntropyLoss()
    weight_decay: float = 0.01
    max_norm: float | None = None  # clip the gradient norm here
    accumulate: int = 1  # batches added up into one update; `data.batch_size` pictures pass at a time
    batch_transform: BatchTransform | None = None  # after augmentation: torchvision's v2.MixUp, v2.CutMix ...
    cuda_graphs: bool = False  # on a GPU: record a step once and replay it; hooks of modules then see nothing
    hooks: Hooks = ()
    seed: int = 0
    name: str = "model"
    path: Path | str | None = None  # where `save` and checkpoints write; default: `models` below the data folder
    interrupted: bool = field(default=False, init=False)  # whether the last training ended before its end
    copies: int = field(default=0, init=False)  # augmented versions of each picture behind the cached features
    _precompute: bool = field(default=False, init=False)
    _precision: torch.dtype | None = field(default=None, init=False)
    _cached: tuple[object, FeatureData] | None = field(default=None, init=False)

    def __post_init__(self):
        self.device, n_classes = pick_device(), len(self.data.classes)
        make_ready(self.device)
        join(self.device)
        if self.cuda_graphs and (self.device.type != "cuda" or n_ranks() > 1):
            found = f"this learner computes on {self.device}, number of processes {n_ranks()}"
            raise ValueError(f"cuda_graphs=True needs an NVIDIA GPU and one process; {found}: leave it out")
        own = not isinstance(self.model, Classifier)
        model = from_module(self.model, n_classes, size=self.data.size) if own else self.model
        self.arch = self.arch or model.arch
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()
        self.loss, self.metrics = self.loss, self.metrics  # the device is known now
        self.path = Path(self.path or data_setup.home() / "models")
        # a network of one's own keeps its history itself, also when it comes back as `learn.model`
        self._given = self.model.body[0] if isinstance(self.model.head, nn.Identity) else self.model
        self._go_on_from(getattr(self._given, "learner_history", History()))
        self.groups = models.layer_groups(self.model, self.layer_groups)  # first layers first
        self.freeze_to(0 if own else -1)

    @classmethod
    def pretrained(
        cls, data, arch="efficientnet_lite0", *, precompute=True, pretrained=True, dropout=0.5, seed=0, **settings
    ) -> "Learner":
        """ImageNet weights in the body and a new head; all but the head frozen. `settings` as for `Learner`.

        precompute: train the head on cached features while the body is frozen (needs bn="frozen").
        """
        how = {"size": data.size, "pretrained": pretrained, "dropout": dropout, "seed": seed}
        learn = cls(data, build_classifier(arch, len(data.classes), **how), seed=seed, **settings)
        learn.precompute = precompute
        return learn

    def __getattr__(self, name: str):
        raise old_attribute(self, name, OLDER["Learner"])

    def __setattr__(self, name: str, value: object) -> None:
        """A loss and metrics may be set at any time, in the forms that the constructor takes."""
        if name == "loss" and "device" in vars(self):
            value = per_picture(value or nn.CrossEntropyLoss(), len(self.data.classes)).to(self.device)
        elif name == "metrics" and "device" in vars(self):
            value = metrics_named(value)
        elif name == "layer_groups" and "groups" in vars(self):
            raise AttributeError(f"groups are made once: type Learner(learn.data, learn.model, layer_groups={value!r})")
        super().__setattr__(name, value)

    @property
    def history(self) -> History:
        """All epochs of the network, and the pictures that trained and validated it, whichever learner it was."""
        return self._given.learner_history

    @history.setter
    def history(self, history: History) -> None:
        self._given.learner_history = history

    def _go_on_from(self, history: History) -> None:
        if trained := history.trained_on & set(self.data.split.valid):
            print(f"note: {len(trained)} of the validation pictures trained this model; its accuracy there is too high")
        self.history = history + History(validated_on=frozenset(self.data.split.valid))

    def freeze(self) -> None:
        """Only the head trains."""
        self.freeze_to(len(self.groups) - 1)

    def unfreeze(self) -> None:
        """Every layer group trains."""
        self.freeze_to(0)

    def freeze_to(self, n: int) -> None:
        """Layer groups from `n` on train; 0 is all of them, -1 the head alone. Nothing before `split_point` changes."""
        first = n + len(self.groups) if n < 0 else n
        self.split_point = models.freeze_to(self.model, self.groups, first, bn=self.bn)
        self.trained_from = first

    def bn_freeze(self, freeze: bool = True) -> None:
        """Keep BatchNorm statistics of the body as they are, also in groups that train (fastai 0.7's verb)."""
        if freeze or self.bn == "frozen everywhere":
            self.bn = "frozen everywhere" if freeze else "frozen"
            self.freeze_to(self.trained_from)

    @property
    def precompute(self) -> bool:
        """True while training uses cached features. Set it to False to see augmented pictures again."""
        return self._precompute and self.split_point > 0

    @precompute.setter
    def precompute(self, wanted: bool) -> None:
        if wanted and not self.bn.startswith("frozen"):
            fix = 'bn="frozen", or precompute=False'
            raise ValueError(f"features can be cached only while BatchNorm does not change: {fix}; got bn={self.bn!r}")
        self._precompute = wanted

    def precompute_copies(self, copies: int) -> None:
        """Train on features of `copies` augmented versions of each picture: augmentation and precompute at once."""
        self.copies, self.precompute = copies, True

    def source(self, *, training: bool = True) -> ImageData | FeatureData:
        """What the model is fed: the pictures, or features cached at `split_point`; no copies are made to predict."""
        if not self.precompute:
            return self.data
        how = {"split_point": self.split_point, "precision": self.prediction_precision, "copies": self.copies}
        asked = self.data, how, body_fingerprint(self.model, self.split_point)
        if self._cached is None or self._cached[0] != asked:
            if self.copies and not training:
                return self.data
            self._cached = asked, precompute(self.model, self.data, device=self.device, **how)
        return self._cached[1]

    def to_fp16(self) -> "Learner":
        """Half precision with a loss scaler, for CUDA cards without bfloat16."""
        if self.device.type == "cpu":
            raise ValueError("float16 is slower than float32 on a CPU and loses digits; use to_bf16() or to_fp32()")
        self._precision = torch.float16
        return self

    def to_bf16(self) -> "Learner":
        """bfloat16: half the memory, the range of float32."""
        self._precision = torch.bfloat16
        return self

    def to_fp32(self) -> "Learner":
        """Full precision everywhere."""
        self._precision = torch.float32
        return self

    @property
    def precision(self) -> torch.dtype:
        """What training computes in: as set by `to_...`, else what is fastest here."""
        return self._precision or fast_precision(self.device, network_kind(self.model), "training")

    @property
    def prediction_precision(self) -> torch.dtype:
        """The same for predictions and cached features."""
        return self._precision or fast_precision(self.device, network_kind(self.model), "predicting")

    @did_you_mean
    def lr_find(self, lr: Rates = 1e-3, *, start: float = 1e-7, end: float = 10.0, steps: int = 100) -> LRFinderResult:
        """The learning-rate finder: loss against the last group's rate. Leaves no trace.

        `lr` only says how the groups' rates relate, e.g. slice(1e-5, 1e-3); their size comes from `start` and `end`.
        """
        rates, losses = lr_find(self._run(lr, 1, schedules.constant), start=start, end=end, steps=steps)
        return read_curve(rates, losses, steps=steps)

    @did_you_mean
    def fit(
        self, lr: Rates, cycles: int, cycle_len: int | None = None, cycle_mult=1, *, hooks: Hooks = (), resume=False
    ) -> History:
        """Train `cycles` epochs at a constant rate, or with `cycle_len` that many SGDR cycles.

        fit(lr, 3, cycle_len=1, cycle_mult=2) is 1 + 2 + 4 = 7 epochs (fastai 0.7's verb).
        """
        if cycle_len is not None:
            epochs = sum(schedules.cycle_epochs(cycles, cycle_len, cycle_mult))
            return self._train(lr, epochs, schedules.sgdr(cycles, cycle_len, cycle_mult), None, hooks, resume)
        need_whole(cycles=cycles)
        if cycle_mult != 1:
            line = f"fit({lr}, {cycles}, cycle_len=1, cycle_mult={cycle_mult})"
            raise ValueError(f"cycle_mult needs cycle_len: without it the rate is constant; type {line}")
        return self._train(lr, cycles, schedules.constant, None, hooks, resume)

    @did_you_mean
    def fit_one_cycle(
        self, epochs: int, lr: Rates = slice(3e-3), *, pct_start=0.25, div=25.0, div_final=1e5, hooks=(), resume=False
    ) -> History:
        """One-cycle: the rate rises to `lr` and falls to nearly nothing, momentum the other way (fastai v1 and v2)."""
        schedule = schedules.one_cycle(pct_start=pct_start, div=div, div_final=div_final)
        return self._train(lr, epochs, schedule, schedules.one_cycle_momentum(pct_start=pct_start), hooks, resume)

    @did_you_mean
    def fit_flat_cos(self, epochs: int, lr: Rates, *, pct_start=0.75, hooks: Hooks = (), resume=False) -> History:
        """A constant rate for `pct_start` of the training, then a cosine to zero (fastai v2, but for its last 1e-5)."""
        return self._train(lr, epochs, schedules.flat_cosine(pct_start=pct_start), None, hooks, resume)

    @did_you_mean
    def fine_tune(
        self, epochs: int, lr=2e-3, *, freeze_epochs=1, lr_mult=100.0, pct_start=0.3, div=5.0, hooks=(), resume=False
    ) -> History:
        """The head alone for `freeze_epochs`, then everything for `epochs`, one-cycle each (fastai v2, same defaults).

        Frozen: slice(lr), pct_start 0.99, on augmented pictures. Unfrozen: slice(lr / 2 / lr_mult, lr / 2). Other than
        in v2, BatchNorm does not change in frozen groups, unless bn="train". Each part has a checkpoint of its own.
        """
        need_whole(epochs=epochs, freeze_epochs=freeze_epochs)
        self.freeze()
        name, wanted = self.name, self._precompute
        if not resume:
            forget_finished(self.path / f"{name}.checkpoint.safetensors")  # of an earlier second part
        self.name, self._precompute = f"{name}.frozen", wanted and not self._misses_augmentation()
        try:
            first = self.fit_one_cycle(freeze_epochs, slice(lr), pct_start=0.99, hooks=hooks, resume=resume)
        finally:
            self.name, self._precompute = name, wanted
        if self.interrupted:
            return first
        self.unfreeze()
        rates = slice(lr / 2 / lr_mult, lr / 2)
        return first + self.fit_one_cycle(epochs, rates, pct_start=pct_start, div=div, hooks=hooks, resume=resume)

    def _misses_augmentation(self) -> bool:
        """Whether cached features stand between the training and an augmentation that was asked for."""
        augments = not self.copies and self.data.augment != no_augment()
        return self.precompute and (augments or self.batch_transform is not None)

    def _train(self, lr: Rates, epochs: int, schedule, momentum, hooks: Hooks, resume: bool) -> History:
        run = self._run(lr, epochs, schedule, momentum, hooks)
        if self._misses_augmentation():
            print("no augmentation: cached features (learn.precompute = False trains on augmented pictures)")
        try:
            return fit(run, resume=resume)
        finally:
            self.interrupted = not run.finished
            if run.step:  # else nothing was trained: a resume that is refused leaves no trace
                self.history = run.before + run.history

    def _run(self, lr: Rates, epochs: int, schedule, momentum=None, hooks: Hooks = ()) -> Run:
        """All that a training needs, each room asked once."""
        if self.precompute and self.batch_transform:
            fix = "learn.precompute = False, or Learner.pretrained(data, precompute=False, batch_transform=...)"
            raise ValueError(f"batch_transform needs pictures, and this learner trains on cached features: type {fix}")
        self.freeze_to(self.trained_from)  # another learner of this network may have frozen other parts
        data, source = self.data, self.source()
        self._refuse_leaks(data)
        names = "precision", "prediction_precision", "max_norm", "metrics", "batch_transform", "cuda_graphs", "seed"
        own = {name: getattr(self, name) for name in names}
        plan = Plan(epochs, schedule, momentum, data.batch_size * self.accumulate, self.accumulate, **own)
        parameters = models.optimizer_groups(self.model, self.groups, lr, self.weight_decay)
        # betas, eps and weight decay of fastai v2; fused: one pass over all parameters
        optimizer = AdamW(parameters, betas=(MOMENTUM, 0.99), eps=1e-5, fused=self.device.type != "mps")
        facts = {"arch": self.arch, "bn": self.bn, "trained from": self.trained_from, **source.facts}
        hooks = [hook for given in (self.hooks, hooks) for hook in ([given] if isinstance(given, Hook) else given)]
        before = replace(self.history, trained_on=self.history.trained_on.union(data.split.train))
        file = self.path / f"{self.name}.checkpoint.safetensors"
        return Run(plan, self.model, optimizer, source, self.loss, self.device, hooks, file, facts, before)

    def _refuse_leaks(self, data: ImageData) -> None:
        validated = self.history.validated_on & set(data.split.train), "training", "validated"
        trained = self.history.trained_on & set(data.split.valid), "validation", "trained"
        for seen, part, did in (validated, trained):
            if seen:
                found = f"{len(seen)} pictures of the {part} part, e.g. {min(seen)}, have {did} this model before"
                fix = "Keep the split: data.resized(...)"
                raise ValueError(f"{found}: its accuracy would be too high from now on. {fix}")

    def set_data(self, data: ImageData) -> None:
        """Go on with other pictures, or the same at another size. Refuses to mix what trained with what validated."""
        if data.classes != self.data.classes:
            ours, theirs = ", ".join(self.data.classes), ", ".join(data.classes)
            raise ValueError(f"the model has the classes {ours}; the new data {theirs}")
        self._refuse_leaks(data)
        self.data = data
        self.history += History(validated_on=frozenset(data.split.valid))

    def predict(self, *files: object) -> Tensor:
        """Log probabilities (not probabilities) of the validation pictures: (N, K) float32, rows in item order."""
        if files:
            raise TypeError("predict() is about the validation set; for one picture type learn.predict_one(path)")
        return self.get_preds("valid").log_probs

    @did_you_mean
    def get_preds(self, part: str | Iterable[Item] = "valid") -> Predictions:
        """Predictions without augmentation, in item order: "train", "valid", "test", or items of your own."""
        if isinstance(part, str):
            spared = self.copies and part == "train"  # their plain features are not kept
            source = self.data if spared else self.source(training=False)
            return self._predictions(part, partial(predict, self.model, source))
        items, classes = tuple(part), self.data.classes
        if wrong := [item for item in items or [items] if not isinstance(item, Item)]:  # none at all is wrong, too
            raise TypeError(f"get_preds takes a part or items; got {wrong[0]!r}. A file: learn.predict_one(path)")
        targets = torch.tensor([classes.index(item.label) if item.label in classes else -1 for item in items])
        log_probs = predict_files(self.model, self.data, [item.path for item in items], self._arithmetic(items))
        return Predictions(items, log_probs, targets, classes)

    @did_you_mean
    def tta(self, n: int = 4, beta: float = 0.25, use_max: bool = False, *, part: str = "valid") -> Predictions:
        """Test-time augmentation: the mean over `n` augmented views, and `beta` of the plain one (fastai v2)."""
        return self._predictions(part, partial(predict_views, self.model, self.data, n=n, beta=beta, use_max=use_max))

    def _predictions(self, part: str, log_probs_of: Callable[..., Tensor]) -> Predictions:
        rows = self.data.indices_of(part)
        if not len(rows):
            raise ValueError(f"there are no {part} pictures to predict: {self.data}")
        items, targets = self.data.items_of(part), self.data.targets[rows]
        return Predictions(items, log_probs_of(rows, how=self._arithmetic(rows)), targets, self.data.classes, part)

    def _arithmetic(self, pictures: Sequence) -> Arithmetic:
        return Arithmetic(self.device, self.prediction_precision, 2 * self.data.batch_size, share(len(pictures)))

    def predict_one(self, path: Path | str) -> Prediction:
        """What the model says about one picture file."""
        probs = self.get_preds([Item(str(path), Path(path), None)]).probs[0].tolist()
        best = probs.index(max(probs))
        return Prediction(self.data.classes[best], probs[best], dict(zip(self.data.classes, probs, strict=True)))

    def features(self, part: str = "train") -> Tensor:
        """Pooled features of a part's pictures: (N, D) float32, rows in item order."""
        how = {"split_point": len(self.model.body), "device": self.device, "precision": self.prediction_precision}
        return precompute(self.model, self.data, **how).plain[self.data.indices_of(part)].float().cpu()

    def about(self, preds: Predictions | None = None) -> dict:
        """What a saved file says of the model, measured on the weights as they are now (or `preds`, made by them)."""
        data, preds, normalize = self.data, preds or self.get_preds("valid"), self.model.normalize
        counts = count_confusions(preds.predicted, preds.targets, len(data.classes))
        about = {"arch": self.arch, "classes": list(data.classes), "size": data.size, "presize_px": data.presize_px}
        about |= {"method": data.method, "split": data.split.digest(), "data": data.key, "torch": torch.__version__}
        about |= {"mean": normalize.mean.flatten().tolist(), "std": normalize.std.flatten().tolist()}
        about |= {"n": len(preds.items), "accuracy": asdict(accuracy_interval(preds))}
        metrics = {name: float(metric(counts)) for name, metric in self.metrics.items()}
        return about | {"epochs": len(self.history.epochs), "metrics": metrics}

    def save(self, name: str, preds: Predictions | None = None) -> Path:
        """Write the weights, `about(preds)` and the history to `path`/name.safetensors, atomically."""
        file = self.path / f"{name}.safetensors"
        about = self.about(preds)  # on every rank: to predict they may have to meet
        if rank() == 0:
            save_tensors(file, self.model.state_dict(), about | {"history": self.history.to_json()})
        return file

    def load(self, name: str) -> "Learner":
        """Take weights and history saved by `save`. Raises ValueError naming what does not fit."""
        file = self.path / f"{name}.safetensors"
        wait()  # until the first rank has written it
        self._go_on_from(load_model(file, self.model, arch=self.arch, classes=self.data.classes))
        return self


Learner.__init__ = did_you_mean(Learner.__init__)
Learner.pretrained = classmethod(did_you_mean(Learner.pretrained.__func__, forwards_to=Learner.__init__))
