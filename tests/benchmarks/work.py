"""What every contender is given, and the counts that prove that it did just that and no less."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

TASKS = ("decode", "batches", "head_epochs", "epoch", "fine_tune", "tta", "step")
HEAD_EPOCHS, FREEZE_EPOCHS, TUNE_EPOCHS, TTA_VIEWS, STEPS = 5, 1, 3, 4, 10


@dataclass(frozen=True)
class Work:
    """A task's pictures, network and settings. All contenders of a row get the same, but for how they are tuned."""

    data: str = "solar"
    pattern: str = ""  # label = group 1 of this expression on the file's name; empty: the folder's name
    limit: int = 0  # pictures, three quarters of them to train; 0: all
    arch: str = "efficientnet_lite0"
    pretrained: bool = True
    size_px: int = 128
    batch_size: int = 64
    lr: float = 2e-3
    epoch_lr: float = 3e-4  # of the epochs that are timed one by one
    presized: str = ""  # folder of pictures already presized, for the row that lends the peers our cache
    max_rotate_deg: float = 10.0  # augmentation, the same ranges for all: eight symmetries of the square besides
    max_zoom: float = 1.1
    max_lighting: float = 0.2
    p_affine: float = 0.75
    p_lighting: float = 0.75
    workers: int = 2  # found by `tuning`, for tuned contenders
    train_bf16: bool = False
    predict_bf16: bool = False

    @property
    def presize_px(self) -> int:
        return round(self.size_px * 1.25)

    @cached_property
    def split(self):
        """(items, Split) of the kit: files, labels, and who trains."""
        import data_setup
        from data_setup.items import label_by_folder, label_by_regex
        from data_setup.splits import split_by_folder, split_stratified

        folder = data_setup.prepare(self.data)
        items = label_by_regex(folder, self.pattern) if self.pattern else label_by_folder(folder)
        has_parts = any(item.name.startswith("train/") for item in items)
        split = (split_by_folder if has_parts else split_stratified)(items, valid_frac=0.25, seed=0)
        return limited(items, split, self.limit)

    @cached_property
    def parts(self) -> dict[str, list[tuple[Path, str]]]:
        """(file, label) of the training and the validation pictures."""
        items, split = self.split
        by_name = {item.name: item for item in items}

        def file_of(item) -> Path:
            return Path(self.presized) / f"{item.name.replace('/', '-')}.bmp" if self.presized else item.path

        return {
            part: [(file_of(by_name[name]), by_name[name].label) for name in getattr(split, part)]
            for part in ("train", "valid")
        }

    @cached_property
    def classes(self) -> list[str]:
        return sorted({label for _, label in self.parts["train"]})

    def count(self, part: str) -> int:
        return len(self.parts[part])

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.count("train") // self.batch_size)

    def digest(self) -> str:
        """Changes with any file, label, split or setting that makes the work another one (tuning does not)."""
        settings = {k: v for k, v in asdict(self).items() if k not in ("workers", "train_bf16", "predict_bf16")}
        names = {part: [(path.name, label) for path, label in files] for part, files in self.parts.items()}
        return hashlib.sha256(repr((settings, names)).encode()).hexdigest()[:16]


def limited(items, split, limit: int):
    """`limit` pictures spread over all, a quarter of them to validate on, classes in their proportion; 0: all."""
    from data_setup.splits import Split

    if not limit:
        return items, split
    label = {item.name: item.label for item in items}

    def some(names, n: int) -> tuple[str, ...]:
        taken: list[str] = []
        for value in sorted({label[name] for name in names}):
            own = [name for name in names if label[name] == value]
            share = round(n * len(own) / len(names))
            taken += [own[i * len(own) // share] for i in range(share)]
        return tuple(sorted(taken))

    chosen = Split(train=some(split.train, limit * 3 // 4), valid=some(split.valid, limit // 4))
    named = {*chosen.train, *chosen.valid}
    return tuple(item for item in items if item.name in named), chosen


@dataclass
class Counts:
    """What a contender did, counted on the model itself and on its optimizer."""

    trained_on: int = 0  # pictures that passed the head in training mode
    validated: int = 0  # ... in evaluation mode
    steps: int = 0  # of the optimizer
    trained_parameters: int = 0  # numbers that the last phase trains
    delivered: int = 0  # pictures that a loader handed out, where no model is asked
    started_from: str = ""  # hash of the weights
    marks: list[tuple[float, float]] = field(default_factory=list)  # (seconds, accuracy) at the end of each epoch

    def watch(self, model) -> None:
        """Count what passes through the model from now on."""
        model.head.register_forward_pre_hook(self._passed)
        self.started_from = weights_hash(model)

    def _passed(self, head, inputs) -> None:
        if head.training:
            self.trained_on += len(inputs[0])
        else:
            self.validated += len(inputs[0])

    def stepped(self, *_) -> None:
        self.steps += 1


def weights_hash(model) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def expected_counts(task: str, work: Work, *, head: int, everything: int) -> dict[str, int]:
    """The counts a task must end with; `head` and `everything` are numbers of parameters."""
    train, valid, steps = work.count("train"), work.count("valid"), work.steps_per_epoch
    epochs = {"head_epochs": HEAD_EPOCHS, "epoch": 1, "fine_tune": FREEZE_EPOCHS + TUNE_EPOCHS}
    if task in epochs:
        n = epochs[task]
        trained = head if task == "head_epochs" else everything
        return {"trained_on": n * train, "validated": n * valid, "steps": n * steps, "trained_parameters": trained}
    if task == "tta":
        return {"trained_on": 0, "validated": (TTA_VIEWS + 1) * valid, "steps": 0}
    if task == "step":
        return {"trained_on": STEPS * work.batch_size, "steps": STEPS, "trained_parameters": everything}
    return {"delivered": train + valid if task == "decode" else train}


class UnequalWork(AssertionError):
    """A contender did something else than the others: its time says nothing."""


def assert_equal_work(name: str, expected: dict[str, int], done: Counts, allowed: dict[str, Callable] | None = None):
    """Raises UnequalWork naming what differs. `allowed` has a test for a count that may differ, and is told."""
    for what, wanted in expected.items():
        found = getattr(done, what)
        fits = allowed[what](found, wanted) if allowed and what in allowed else found == wanted
        if not fits:
            raise UnequalWork(f"{name}: {what.replace('_', ' ')} {found:,}, and the work is {wanted:,}")


def assert_same_start(hashes: dict[str, str]) -> None:
    """Raises UnequalWork when contenders began with other weights, or with other files."""
    if len(set(hashes.values())) > 1:
        raise UnequalWork(f"contenders began differently: {hashes}")
