"""`ImageData`: labelled pictures, their split, the decoded pixels and the augmentation, ready to give batches."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import data_setup
from helpers.data import augment as augmentation
from helpers.data.augment import Augment, Draws, no_augment
from helpers.data.items import Item, check_items, label_by_folder, label_by_regex, label_by_table, class_names
from helpers.data.decode import METHODS, read_image
from helpers.data.pixels import PixelStore, fingerprint, load_or_decode
from helpers.runtime.arguments import closest, did_you_mean
from helpers.runtime.seeds import generator
from helpers.data.splits import Split, split_by_folder, split_stratified

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Batch:
    """What one step sees, on the device."""

    inputs: Tensor  # (N, 3, size, size) float in 0..1, or (N, D) activations
    targets: Tensor  # (N,) int64, -1 where there is no label
    weights: Tensor  # (N,) float32: how much each picture counts in the loss

    def __len__(self) -> int:
        return len(self.targets)

    def micro_batches(self, n: int) -> list["Batch"]:
        """The batch in `n` parts of nearly the same size."""
        columns = (column.tensor_split(n) for column in (self.inputs, self.targets, self.weights))
        return [Batch(*columns) for columns in zip(*columns, strict=True) if len(columns[1])]


def default_presize(size: int) -> int:
    """A quarter more than the model sees: room for crops and rotations at a scale of nearly one to one."""
    return round(size * 1.25)


def even_batches(order: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Rows in batches that differ by at most one, none larger than `batch_size`: no picture is left out, and no
    last batch is so small that its BatchNorm statistics mean nothing."""
    return order.tensor_split(max(1, -(-len(order) // batch_size)))


class ImageData:
    """Items + split + presized pixels + augmentation. Immutable: `resized` and `with_augment` give new ones.

    items   of the split, sorted by name      split   which names train, judge, test
    vocab   class names, sorted   targets (N,) int64 per item, -1 without a label
    """

    @did_you_mean
    def __init__(
        self,
        items: Sequence[Item],
        split: Split,
        *,
        size: int = 128,
        augment: Augment | None = None,
        batch_size: int = 32,
        presize_px: int | None = None,
        method: str = "crop",
        decoded: PixelStore | None = None,
    ):
        if method not in METHODS:
            raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
        named = {*split.train, *split.valid, *split.test}
        self.items, self.split = check_items(item for item in items if item.name in named), split
        self.size, self.batch_size, self.method = size, batch_size, method
        self.augment = no_augment() if augment is None else augment
        self.presize_px = presize_px or default_presize(size)
        if size < 1 or (self.presize_px < size and method != "as_is"):
            raise ValueError(f"pictures of {size} px cannot be cut from {self.presize_px} px: presize_px is too small")
        self._position = {item.name: position for position, item in enumerate(self.items)}
        self.indices = {part: self._indices(getattr(split, part)) for part in PARTS}  # rows of `items`, per part
        self.classes = class_names(self.items_of("train"))
        self._check_parts()
        self.targets = torch.tensor([self._target(item) for item in self.items])
        self.weights = torch.tensor([item.weight for item in self.items], dtype=torch.float32)
        if decoded is not None:
            self.decoded = decoded

    # Ways to make one ------------------------------------------------------------------------------------------

    @classmethod
    @partial(did_you_mean, forwards_to=__init__)
    def from_folders(cls, folder: Path | str, *, valid_frac: float = 0.25, seed: int = 0, **settings) -> "ImageData":
        """Labels from folders. Splits by train/ and valid/ when they are there, else `valid_frac`, stratified.

        Pictures below test/ are the test part; folders beside train/ and valid/ are left out.
        `settings` go to `ImageData` (size, augment, batch_size, presize_px, method), here and below.
        """
        items = label_by_folder(folder)
        has_parts = any(item.name.startswith("train/") and item.name.count("/") > 1 for item in items)
        split = (split_by_folder if has_parts else split_stratified)(items, valid_frac=valid_frac, seed=seed)
        return cls(items, split, **settings)

    @classmethod
    @partial(did_you_mean, forwards_to=__init__)
    def from_name_re(
        cls, folder: Path | str, pattern: str, *, on: str = "name", valid_frac: float = 0.25, seed: int = 0, **settings
    ) -> "ImageData":
        """Labels from group 1 of a regular expression on the file's name; split `valid_frac`, stratified."""
        return cls.from_items(label_by_regex(folder, pattern, on=on), valid_frac=valid_frac, seed=seed, **settings)

    @classmethod
    @partial(did_you_mean, forwards_to=__init__)
    def from_table(
        cls,
        table: Path | str,
        *,
        folder: Path | str,
        name_column: str = "name",
        label_column: str = "label",
        weight_column: str | None = None,
        valid_frac: float = 0.25,
        seed: int = 0,
        **settings,
    ) -> "ImageData":
        """Labels (and weights) from a CSV file; split `valid_frac`, stratified."""
        items = label_by_table(
            table, folder=folder, name_column=name_column, label_column=label_column, weight_column=weight_column
        )
        return cls.from_items(items, valid_frac=valid_frac, seed=seed, **settings)

    @classmethod
    @partial(did_you_mean, forwards_to=__init__)
    def from_items(
        cls, items: Sequence[Item], split: Split | None = None, *, valid_frac: float = 0.25, seed: int = 0, **settings
    ) -> "ImageData":
        """From items labelled by any rule of your own, with a split of your own or a stratified one."""
        return cls(items, split or split_stratified(items, valid_frac=valid_frac, seed=seed), **settings)

    @did_you_mean
    def resized(self, size: int, *, batch_size: int | None = None) -> "ImageData":
        """The same pictures and split at another size. Decodes again only when the kept pixels are too small."""
        enough = self.presize_px >= default_presize(size) or self.method == "as_is"
        return ImageData(
            self.items, self.split, size=size, augment=self.augment, batch_size=batch_size or self.batch_size,
            presize_px=self.presize_px if enough else None, method=self.method,
            decoded=self.decoded if enough else None,
        )  # fmt: skip

    def with_augment(self, augment: Augment) -> "ImageData":
        """The same pictures with other augmentation."""
        return ImageData(
            self.items, self.split, size=self.size, augment=augment, batch_size=self.batch_size,
            presize_px=self.presize_px, method=self.method, decoded=self.decoded,
        )  # fmt: skip

    def with_items(self, items: Iterable[Item]) -> "ImageData":
        """The same split and settings with other labels or fewer pictures: `data.with_items(review.apply(data.items))`.

        A picture that is left out leaves the split, too; nobody changes sides. No file is touched, none decoded again.
        Raises ValueError for a picture that is not in this data.
        """
        items = check_items(items)
        if strangers := [item.name for item in items if item.name not in self._position]:
            raise ValueError(
                f"{len(strangers)} of these pictures are not in this data, e.g. {strangers[0]}, so nobody knows "
                "whether they train or judge; ImageData.from_items(items) splits all of them anew"
            )
        names = {item.name for item in items}
        split = Split(*(tuple(name for name in getattr(self.split, part) if name in names) for part in PARTS))
        return ImageData(
            items, split, size=self.size, augment=self.augment, batch_size=self.batch_size,
            presize_px=self.presize_px, method=self.method, decoded=self._pixels_of(items),
        )  # fmt: skip

    def _pixels_of(self, items: Sequence[Item]) -> PixelStore:
        rows = [self._position[item.name] for item in items]
        if len(rows) == len(self.items):
            return self.decoded
        pixels = torch.cat([self.decoded.picture(row).flatten() for row in rows])
        return PixelStore(pixels, [self.decoded.shapes[row] for row in rows], self.decoded.size_px)

    # Items and pixels ------------------------------------------------------------------------------------------

    def _indices(self, names: Sequence[str]) -> Tensor:
        missing = [name for name in names if name not in self._position]
        if missing:
            raise ValueError(
                f"the split names {len(missing)} pictures that are not among the items, e.g. {missing[0]}; "
                "if you removed them from a data set, data.with_items(items) keeps the rest of its split"
            )
        return torch.tensor([self._position[name] for name in names], dtype=torch.int64)

    def _check_parts(self) -> None:
        for part in ("train", "valid"):
            items = self.items_of(part)
            unlabelled = [item.name for item in items if item.label is None]
            if unlabelled or not items:
                found = f"{len(unlabelled)} without a label, e.g. {unlabelled[0]}" if items else "none"
                raise ValueError(f"the {part} part takes labelled pictures; found {found}")
        if len(self.classes) < 2:
            raise ValueError(f"there is nothing to tell apart: all training pictures are labelled {self.classes[0]!r}")
        n = len(self.indices["train"])
        if self.batch_size < 1 or n // -(-n // self.batch_size) < 2:
            raise ValueError(
                f"batch_size={self.batch_size} leaves one of the {n} training pictures alone in a batch, "
                "where BatchNorm cannot train; take at least 3"
            )

    def _target(self, item: Item) -> int:
        if item.label is None:
            return -1
        if item.label not in self.classes:
            raise ValueError(
                f"{item.name} is labelled {item.label!r}, a class no training picture has; "
                f"{closest(item.label, self.classes)} (a test set without labels lies directly in test/)"
            )
        return self.classes.index(item.label)

    def index_of(self, name: str) -> int:
        """The row of an item by its name. Raises KeyError."""
        if name not in self._position:
            raise KeyError(f"no picture is called {name!r}; {closest(name, self._position)}")
        return self._position[name]

    def items_of(self, part: str) -> tuple[Item, ...]:
        """The items that "train", "valid" or "test"."""
        return tuple(self.items[index] for index in self.indices_of(part).tolist())

    def indices_of(self, part: str) -> Tensor:
        """Their rows in `items`: int64 (n,)."""
        if part not in self.indices:
            raise ValueError(f"part is one of {', '.join(PARTS)}; got {part!r}")
        return self.indices[part]

    @cached_property
    def key(self) -> str:
        """Changes with any file's content, the order and the presizing."""
        settings = (self.presize_px if self.method != "as_is" else 0, self.method)
        return fingerprint(self.items, *settings)

    @cached_property
    def decoded(self) -> PixelStore:
        """Every picture at `presize_px`, decoded once and kept on disk under its content's key."""
        folder = data_setup.home() / "cache" / "pixels"
        store = load_or_decode(self.items, key=self.key, size_px=self.presize_px, method=self.method, folder=folder)
        return self._one_size(store) if self.method == "as_is" else store

    def _one_size(self, store: PixelStore) -> PixelStore:
        for item, (_, h, w) in zip(self.items, store.shapes, strict=True):
            if (h, w) != store.shapes[0][1:]:
                first_h, first_w = store.shapes[0][1:]
                raise ValueError(
                    f"pictures of different sizes cannot form a batch: {self.items[0].name} is {first_w} x {first_h}, "
                    f'{item.name} is {w} x {h}; presize them: method="crop"'
                )
        return PixelStore(store.flat, store.shapes, min(store.shapes[0][1:]))

    @cached_property
    def store(self) -> PixelStore:
        """The pixels batches are cut from: shrunk once when they were kept much larger than the model sees."""
        too_large = self.decoded.size_px > 1.5 * self.size
        return self.decoded.shrunk(default_presize(self.size)) if too_large else self.decoded

    # Batches ---------------------------------------------------------------------------------------------------

    def train_batches(self, device: torch.device, batch_size: int, *key: object) -> Iterator[Batch]:
        """One epoch of augmented batches in random order. `key` fixes the order and every draw."""
        rng = generator("epoch", *key)
        indices = self.indices_of("train")
        order = indices[torch.randperm(len(indices), generator=rng)]
        draws = augmentation.draw(len(order), self.augment, rng)  # the whole epoch's draws at once
        return self.drawn_batches(order, draws, device, batch_size)

    def drawn_batches(self, order: Tensor, draws: Draws, device: torch.device, batch_size: int) -> Iterator[Batch]:
        """The pictures in the order of `order`, row i augmented as row i of `draws` says."""
        store = self.store_on(device)
        for rows in even_batches(torch.arange(len(order)), batch_size):
            squares = store.squares(order[rows], draws.crop_position[rows]).to(device, non_blocking=True)
            yield self._batch(augmentation.apply_draws(squares, draws[rows], self.size), order[rows], device)

    def eval_batches(self, indices: Tensor, device: torch.device, batch_size: int) -> Iterator[Batch]:
        """The pictures in the order of `indices`, without augmentation."""
        if not len(indices):
            raise ValueError("there are no pictures here: this part of the data is empty")
        store = self.store_on(device)
        for rows in indices.split(batch_size):
            squares = store.squares(rows).to(device, non_blocking=True)
            yield self._batch(augmentation.resize(squares, self.size), rows, device)

    def store_on(self, device: torch.device) -> PixelStore:
        self.store = self.store.to(device)  # moves once; later calls find it there
        return self.store

    def _batch(self, inputs: Tensor, rows: Tensor, device: torch.device) -> Batch:
        targets, weights = (column[rows].to(device, non_blocking=True) for column in (self.targets, self.weights))
        return Batch(inputs, targets, weights)

    def one_batch(self, part: str = "train") -> tuple[Tensor, Tensor]:
        """(images (N, 3, size, size) float in 0..1, targets (N,) int64), augmented for "train", on the CPU."""
        cpu = torch.device("cpu")
        if part == "train":
            batch = next(self.train_batches(cpu, self.batch_size, "one_batch"))
        else:
            batch = next(self.eval_batches(self.indices_of(part), cpu, self.batch_size))
        return batch.inputs, batch.targets

    def eval_images(self, indices: Sequence[int]) -> Tensor:
        """The pictures at these rows of `items`, without augmentation: float (n, 3, size, size) in 0..1."""
        return augmentation.resize(self.store.squares(torch.as_tensor(indices, dtype=torch.int64)), self.size).cpu()

    # Looking ---------------------------------------------------------------------------------------------------

    def summary(self) -> None:
        """Walk one picture and one batch through every stage and print what each gives.

        A stage that fails is named, with the file and what to do, before its error is raised.
        """
        print(self)
        for part in PARTS:
            print(f"{part}: {_counted(self.items_of(part))}")
        indices = self.indices_of("train")[: self.batch_size]
        item = self.items[indices[0]]
        print(f"first training picture: {item.name!r}, labelled {item.label!r}")
        stages: list[tuple[str, Callable[[], Tensor]]] = [
            ("decode", lambda: torch.from_numpy(np.array(read_image(item.path)))),
            ("presize", lambda: self.decoded.picture(int(indices[0]))),
            ("cut the squares", lambda: self.store.squares(indices)),
            ("augment a batch", lambda: self.one_batch("train")[0]),
            ("targets of the batch", lambda: self.one_batch("train")[1]),
        ]
        for stage, run in stages:
            try:
                result = run()
            except Exception as error:
                print(f"  {stage}: FAILED\n    {error}")
                raise
            shape, kind = tuple(result.shape), str(result.dtype).removeprefix("torch.")
            low, high = (f"{x:.2g}" if result.is_floating_point() else x for x in (result.min(), result.max()))
            print(f"  {stage}: {kind} {shape}, from {low} to {high}")

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.indices[part])} {part}" for part in PARTS if len(self.indices[part]))
        shown = ", ".join(self.classes[:6]) + (", ..." if len(self.classes) > 6 else "")
        size = f"{self.size} px from {self.presize_px} px ({self.method})"
        return f"ImageData: {counts}; {len(self.classes)} classes ({shown}); {size}"


def _counted(items: Sequence[Item]) -> str:
    counts = Counter("unlabelled" if item.label is None else item.label for item in items)
    shown = ", ".join(f"{label} {count}" for label, count in sorted(counts.items())[:12])
    return (shown or "no pictures") + (f" and {len(counts) - 12} more classes" if len(counts) > 12 else "")
