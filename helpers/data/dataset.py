"""`ImageData`: labelled pictures, their split, the decoded pixels and the augmentation, ready to give batches."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

import data_setup
from data_setup.base.arguments import OLDER, OlderNames, closest, did_you_mean, old_attribute
from data_setup.base.pictures import METHODS, fingerprint, read_presized
from data_setup.items import Item, check_items, class_names, label_by_folder, label_by_regex
from data_setup.own.labels import label_by_table
from data_setup.own.split_file import saved_split, split_in
from data_setup.splits import PARTS, Split, split_stratified, tell_copies
from helpers.data import augment as augmentation
from helpers.data.augment import Augment, Draws
from helpers.data.pixels import PixelStore, load_or_decode
from helpers.runtime.device import upload
from helpers.runtime.seeds import generator


@dataclass(frozen=True)
class Batch:
    """What one step sees, on the device."""

    inputs: Tensor  # (N, 3, size, size) float in 0..1, or (N, D) features
    targets: Tensor  # (N,) int64, -1 where there is no label
    weights: Tensor  # (N,) float32: how much each picture counts in the loss

    def __len__(self) -> int:
        return len(self.targets)

    def micro_batches(self, n: int) -> list["Batch"]:
        """The batch as `n` batches of nearly the same size."""
        columns = (column.tensor_split(n) for column in (self.inputs, self.targets, self.weights))
        return [Batch(*columns) for columns in zip(*columns, strict=True) if len(columns[1])]


def presize_for_crops(size: int, augment: Augment) -> int:
    """Pixels a side of which the smallest crop still has `size`; at most twice the size, as such crops are rare."""
    return round(size * min(augment.max_zoom / math.sqrt(augment.min_scale), 2))


WHOLE = slice(None)  # of a batch; one of several processes takes a `share`, see `helpers.runtime.distributed`


def even_batches(order: Tensor, batch_size: int, share: slice = WHOLE) -> list[Tensor]:
    """Rows in batches of at most `batch_size` that differ by at most one: no last batch is too small for BatchNorm."""
    return [batch[share] for batch in order.tensor_split(max(1, -(-len(order) // batch_size)))]


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings(metaclass=OlderNames):
    """How pictures become batches."""

    size: int = 128  # pixels a side that the model sees
    augment: Augment = Augment()
    batch_size: int = 32
    presize_px: int = None  # pixels a side the files are decoded to, once; default: 1.25 x size, more for small crops
    method: str = "crop"  # how they are presized: "crop", "pad" or "squish"

    def __post_init__(self):
        if self.presize_px is None:
            default = max(round(1.25 * self.size), presize_for_crops(self.size, self.augment))
            object.__setattr__(self, "presize_px", default)
        if self.method not in METHODS:
            raise ValueError(f"method is one of {', '.join(METHODS)}; got {self.method!r}")
        if self.size < 1 or self.presize_px < self.size:
            found = f"pictures of {self.size} px cannot be cut from {self.presize_px} px"
            raise ValueError(f"{found}: presize_px is at least the size")


@dataclass(frozen=True, eq=False, repr=False)
class ImageData(Settings):
    """Items + split + settings. Immutable: `resized`, `with_augment` and `with_items` give new ones.

    classes: names, sorted   targets: (N,) int64 per item, -1 without a label   weights: (N,) float32 per item
    """

    items: tuple[Item, ...]  # those of the split, sorted by name
    split: Split  # which names train, validate, test
    split_point: ClassVar[int] = 0  # pictures enter a model at its beginning
    decoded: tuple[str, PixelStore] | None = field(default=None, kw_only=True)  # pixels at hand, and their `key`

    def __post_init__(self):
        super().__post_init__()
        named = {name for part in PARTS for name in getattr(self.split, part)}
        items = tuple(item for item in check_items(self.items) if item.name in named)
        object.__setattr__(self, "items", items)
        if missing := sorted(named.difference(item.name for item in items)):
            found = f"the split names {len(missing)} pictures that are not among the items, e.g. {missing[0]}"
            raise ValueError(f"{found}; without them: data.with_items(items) keeps the rest of its split")
        for part in ("train", "valid"):
            items = self.items_of(part)
            unlabelled = [item.name for item in items if item.label is None]
            if unlabelled or not items:
                found = f"{len(unlabelled)} without a label, e.g. {unlabelled[0]}" if items else "none"
                raise ValueError(f"the {part} part takes labelled pictures; found {found}")
        if len(self.classes) < 2:
            raise ValueError(f"there is nothing to tell apart: all training pictures are labelled {self.classes[0]!r}")
        n = len(self.split.train)
        if self.batch_size < 1 or n // -(-n // self.batch_size) < 2:
            alone = f"batch_size={self.batch_size} leaves one of the {n} training pictures alone in a batch"
            raise ValueError(f"{alone}, where BatchNorm cannot train; take at least 3")
        len(self.targets)  # raises for a label that no training picture has

    @classmethod
    @partial(did_you_mean, forwards_to=Settings)
    def from_items(
        cls, items: Sequence[Item], split: Split | None = None, *, valid_frac: float = 0.25, seed: int = 0, **settings
    ) -> "ImageData":
        """From items labelled by any rule, split by any rule or stratified; `settings`: see `Settings`."""
        items = check_items(items)
        return cls(items, split or split_stratified(items, valid_frac=valid_frac, seed=seed), **settings)

    @classmethod
    @partial(did_you_mean, forwards_to=Settings)
    def from_folders(cls, folder: Path | str, *, valid_frac: float = 0.25, seed: int = 0, **settings) -> "ImageData":
        """Labels from folders; the split from split.json (`python -m data_setup split`), else train/ and valid/."""
        items = label_by_folder(folder)
        return cls(items, split_in(folder, items, valid_frac=valid_frac, seed=seed), **settings)

    @classmethod
    @partial(did_you_mean, forwards_to=from_items.__func__)
    def from_name_re(cls, folder: Path | str, pattern: str, **settings) -> "ImageData":
        """Labels from group 1 of a regular expression on the file's name; the split from split.json, if there is one.

        `settings` go to `from_items`.
        """
        items = label_by_regex(folder, pattern)
        return cls.from_items(items, **{"split": saved_split(folder, items), **settings})

    @classmethod
    @partial(did_you_mean, forwards_to=from_items.__func__)
    def from_table(
        cls, table: Path | str, *, folder: Path | str, name_column=None, label_column=None, **settings
    ) -> "ImageData":
        """Labels from a CSV file, see `data_setup.own.labels.label_by_table`; else as `from_name_re`."""
        items = label_by_table(table, folder=folder, name_column=name_column, label_column=label_column)
        return cls.from_items(items, **{"split": saved_split(folder, items), **settings})

    @did_you_mean
    def resized(self, size: int, *, batch_size: int | None = None) -> "ImageData":
        """The same pictures and split at another size. They are decoded again only when `presize_px` is too small."""
        presize_px = self.presize_px if size <= self.presize_px else None
        batch_size = self.batch_size if batch_size is None else batch_size
        return replace(self, size=size, batch_size=batch_size, presize_px=presize_px)

    def with_augment(self, augment: Augment) -> "ImageData":
        """The same pixels with other augmentation. A note is printed when its crops have fewer pixels than `size`."""
        needed = presize_for_crops(self.size, augment)
        if self.presize_px < needed:
            print(f"note: small crops are enlarged from {self.presize_px} px; make the data with presize_px={needed}")
        return replace(self, augment=augment)

    def with_items(self, items: Iterable[Item]) -> "ImageData":
        """Other labels or fewer pictures, as `review.apply(data.items)` gives them; nobody changes sides.

        Nothing is decoded again. Raises ValueError for a picture that is not in this data.
        """
        items = check_items(items)
        if unknown := [item.name for item in items if item.name not in self._position]:
            found = f"{len(unknown)} of these pictures are not in this data, e.g. {unknown[0]}, nor in its split"
            raise ValueError(f"{found}; ImageData.from_items(items) makes a new split")
        data = replace(self, items=items, split=self.split.of({item.name for item in items}))
        if replace(self).key != self.key:  # a file has changed since
            return data
        return replace(data, decoded=(data.key, self.store.subset([self._position[item.name] for item in items])))

    @cached_property
    def _position(self) -> dict[str, int]:
        return {item.name: position for position, item in enumerate(self.items)}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return class_names(self.items_of("train"))

    @cached_property
    def targets(self) -> Tensor:
        numbers = {label: number for number, label in enumerate(self.classes)} | {None: -1}
        for item in self.items:
            if item.label not in numbers:
                fix = f"{closest(item.label, self.classes)} (a test set without labels lies directly in test/)"
                raise ValueError(f"{item.name} is labelled {item.label!r}, a class no training picture has; {fix}")
        return torch.tensor([numbers[item.label] for item in self.items])

    @cached_property
    def weights(self) -> Tensor:
        return torch.tensor([item.weight for item in self.items], dtype=torch.float32)

    def index_of(self, name: str) -> int:
        """The row of an item by its name. Raises KeyError."""
        if name not in self._position:
            raise KeyError(f"no picture is called {name!r}; {closest(name, self._position)}")
        return self._position[name]

    def items_of(self, part: str) -> tuple[Item, ...]:
        """The items of "train", "valid" or "test"."""
        return tuple(self.items[index] for index in self.indices_of(part).tolist())

    @cached_property
    def rows(self) -> dict[str, Tensor]:
        """Part -> the rows of its items, int64 (n,)."""
        places = {part: [self._position[name] for name in getattr(self.split, part)] for part in PARTS}
        return {part: torch.tensor(places[part], dtype=torch.int64) for part in PARTS}

    def indices_of(self, part: str) -> Tensor:
        """Their rows in `items`: int64 (n,)."""
        if part not in PARTS:
            raise ValueError(f"part is one of {', '.join(PARTS)}; got {part!r}")
        return self.rows[part]

    @cached_property
    def key(self) -> str:
        """Changes with any file's content, the order, the presizing and the arithmetic of a model's pixels."""
        return fingerprint([item.path for item in self.items], self.presize_px, self.method)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What must be the same when a training on this data is resumed, in short."""
        columns = {"labels": self.targets, "weights of pictures": self.weights}
        facts = {name: sha256(column.numpy().tobytes()).hexdigest()[:8] for name, column in columns.items()}
        facts |= {"data": str(self), "pictures": self.key[:8]}
        return facts | {"augmentation": str(self.augment), "split": self.split.digest()}

    @cached_property
    def store(self) -> PixelStore:
        """Every picture at `presize_px`, decoded once and kept on disk under its content's key."""
        if self.decoded and self.decoded[0] == self.key:
            return self.decoded[1]
        file = data_setup.home() / "cache" / "pixels" / f"{self.key}.u8"
        paths = [item.path for item in self.items]
        pixels = load_or_decode(paths, file, presize_px=self.presize_px, method=self.method)
        tell_copies(self.items, self.split)
        return pixels

    @cached_property
    def store_on(self) -> Callable[[torch.device], PixelStore]:
        """The store on a device when it fits there; it moves once."""
        return cache(self.store.on)

    def read_squares(self, paths: Sequence[Path]) -> Tensor:
        """Other picture files, presized as those of this data are: uint8 (n, C, P, P) for `augment.resize`."""
        pictures = [torch.from_numpy(read_presized(path, self.presize_px, self.method)) for path in paths]
        return PixelStore.of_pictures(pictures, self.presize_px).squares(torch.arange(len(paths)))

    def train_batches(self, device: torch.device, batch_size: int, *key: object, share=WHOLE) -> Iterator[Batch]:
        """One epoch of augmented batches, the `share` of each, in random order; `key` fixes it and every draw."""
        rng, indices = generator("epoch", *key), self.rows["train"]
        order = indices[torch.randperm(len(indices), generator=rng)]
        draws = augmentation.draw(len(order), self.augment, rng)  # the whole epoch's draws at once
        return self.drawn_batches(order, draws, device, batch_size, share)

    def drawn_batches(self, rows: Tensor, draws: Draws, device, batch_size: int, share=WHOLE) -> Iterator[Batch]:
        """The pictures in the order of `rows`, number i augmented as row i of `draws` says."""
        store, places = self.store_on(device), torch.arange(len(rows))
        columns = (places, upload(self.targets[rows], device), upload(self.weights[rows], device))
        for some, *answers in zip(*(even_batches(column, batch_size, share) for column in columns), strict=True):
            squares = upload(store.squares(rows[some], draws.crop_position[some]), device)
            yield Batch(augmentation.apply_draws(squares, draws[some], self.size), *answers)

    def eval_batches(self, rows: Tensor, device: torch.device, batch_size: int) -> Iterator[Batch]:
        """The pictures in the order of `rows`, without augmentation."""
        if not len(rows):
            raise ValueError("there are no pictures here: this part of the data is empty")
        store = self.store_on(device)
        columns = (rows, upload(self.targets[rows], device), upload(self.weights[rows], device))
        for some, *answers in zip(*(column.split(batch_size) for column in columns), strict=True):
            yield Batch(augmentation.resize(upload(store.squares(some), device), self.size), *answers)

    def one_batch(self, part: str = "train") -> tuple[Tensor, Tensor]:
        """(images (N, 3, size, size) float in 0..1, targets (N,) int64), augmented for "train", on the CPU."""
        how, rows = (torch.device("cpu"), self.batch_size), self.indices_of(part)
        batch = next(self.train_batches(*how, "one_batch") if part == "train" else self.eval_batches(rows, *how))
        return batch.inputs, batch.targets

    def eval_images(self, rows: Sequence[int]) -> Tensor:
        """The pictures at these rows of `items`, without augmentation: float (n, 3, size, size) in 0..1."""
        return augmentation.resize(self.store.squares(torch.as_tensor(rows, dtype=torch.int64)), self.size)

    def __getattr__(self, name: str):
        raise old_attribute(self, name, OLDER["ImageData"])

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.indices_of(part))} {part}" for part in PARTS if len(self.indices_of(part)))
        shown = ", ".join(self.classes[:6]) + (", ..." if len(self.classes) > 6 else "")
        size = f"{self.size} px from {self.presize_px} px ({self.method})"
        return f"ImageData: {counts}; {len(self.classes)} classes ({shown}); {size}"


ImageData.__init__ = did_you_mean(ImageData.__init__)
