"""Features of a frozen body, computed once: a data set that trains in the same loop as pictures do.

The file that keeps them is named by everything they depend on (the pictures' content, their size, the weights, the
arithmetic), so a stale feature is never served. With `copies` the body also sees each training picture that many
times augmented; every epoch then takes one of the copies by chance: augmentation and cached features at once.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, chain
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

import data_setup
from data_setup.base.files import forget_oldest
from data_setup.base.progress import progress
from helpers.data import augment as augmentation
from helpers.data.dataset import WHOLE, Batch, ImageData, even_batches
from helpers.models.classifier import Classifier
from helpers.models.folding import predicting
from helpers.runtime.device import place_for, upload
from helpers.runtime.distributed import n_ranks, rank, share, wait
from helpers.runtime.seeds import generator
from helpers.runtime.tensor_files import load_tensors, save_tensors

SEEDS = "feature copies"
SHARD_ROWS = 256  # pictures whose features are computed and kept at a time
CACHE_BYTES = 4_000_000_000  # on the disk; eight copies of 2,624 pictures at 224 px in the middle of lite0 are 0.6 GB
JOINED_BYTES = 256_000_000  # features up to this size are one tensor in memory: a batch is one gather


class Table:
    """Rows of features in shards one behind the other: mapped files, of whose pages the system keeps what fits."""

    def __init__(self, shards: Sequence[Tensor]):
        self.shards, self.starts = shards, torch.tensor([0, *accumulate(map(len, shards))])
        self.shape = (int(self.starts[-1]), *shards[0].shape[1:])

    def near(self, device: torch.device) -> "Table":
        """The table as one tensor, where it fits on the GPU or in JOINED_BYTES; else as it is."""
        n_bytes = sum(shard.nbytes for shard in self.shards)
        place = place_for(n_bytes, device)
        if place.type == "cpu" and n_bytes > JOINED_BYTES:
            return self
        whole = self.shards[0].new_empty(self.shape, device=place)
        for start, shard in zip(self.starts.tolist(), self.shards, strict=False):
            whole[start : start + len(shard)] = shard
        return Table([whole])

    def cut(self, n: int) -> tuple["Table", ...]:
        """The table as `n` of the same length, which share its memory."""
        shards = self.shards if len(self.shards) > 1 else self.shards[0].chunk(n)
        step = len(shards) // n
        return tuple(Table(shards[first : first + step]) for first in range(0, len(shards), step))

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The features at `rows`, int64 (n,) on the CPU: (n, ...), where the table lies."""
        if len(self.shards) == 1:  # indices left on the CPU would hold up a GPU's program at every step
            return self.shards[0].index_select(0, upload(rows, self.shards[0].device))
        numbers = torch.searchsorted(self.starts, rows, right=True) - 1
        places = zip(numbers.tolist(), (rows - self.starts[numbers]).tolist(), strict=True)
        return torch.stack([self.shards[number][row] for number, row in places])


class FeatureData:
    """Features at one split point of a model for every picture of `data`; offers the same batches as `ImageData`.

    plain (n_items, ...): not augmented, rows as in `data.items`.  augmented: a table (n_train, ...) for each copy, rows
    as in `data.indices_of("train")`; with no copies training sees the plain ones, with copies theirs may be nan: they
    are not computed where nobody asks for them.
    """

    def __init__(self, data: ImageData, split_point: int, plain: Table, versions: Table | None = None, *, copies: int):
        self.data, self.split_point, self.rows = data, split_point, data.rows
        self.plain, self.versions = plain, versions  # all copies, one behind the other
        self.augmented = versions.cut(copies) if versions else ()
        self.facts = data.facts | {"data": str(self)}

    def __repr__(self) -> str:
        return f"features at split point {self.split_point} ({len(self.augmented)} augmented copies) of {self.data}"

    def train_batches(self, device: torch.device, batch_size: int, *key: object, share=WHOLE) -> Iterator[Batch]:
        """One epoch (of each batch the `share`) in random order; `key` fixes it and which copy each picture gets."""
        rng = generator("epoch", *key)
        indices, n = self.rows["train"], len(self.rows["train"])
        order = torch.randperm(n, generator=rng)
        chosen = torch.randint(max(len(self.augmented), 1), (n,), generator=rng)
        table, places = (self.versions, chosen * n + torch.arange(n)) if self.versions else (self.plain, indices)
        for rows in even_batches(order, batch_size, share):
            yield self._batch(table[places[rows]], indices[rows], device)

    def eval_batches(self, indices: Tensor, device: torch.device, batch_size: int) -> Iterator[Batch]:
        """The plain features in the order of `indices`."""
        for rows in indices.split(batch_size):
            yield self._batch(self.plain[rows], rows, device)

    def _batch(self, inputs: Tensor, rows: Tensor, device: torch.device) -> Batch:
        columns = (inputs, self.data.targets[rows], self.data.weights[rows])
        inputs, targets, weights = (upload(column, device) for column in columns)
        return Batch(inputs.float(), targets, weights)


_noted: set[Path] = set()  # folders where nothing can be kept: one note for each, however many files there are
_known: WeakKeyDictionary[Classifier, dict[int, tuple[object, str]]] = WeakKeyDictionary()


def body_fingerprint(model: Classifier, split_point: int) -> str:
    """sha256 over the statistics, the layers and the weights of the first `split_point` stages.

    Hashed again only when something was written to a tensor since: torch counts the writes of each (`_version`), and
    a sum, each place with a weight of its own, shows those that go past the count, through `.data`.
    """
    parts = (model.normalize, model.body[:split_point])
    tensors = [tensor for part in parts for tensor in part.state_dict().values()]
    sums = [t.flatten().float() @ torch.linspace(1, 2, t.numel(), device=t.device) for t in tensors]
    state = (repr(parts), [(t.data_ptr(), t._version) for t in tensors], torch.stack(sums).tolist())
    known = _known.setdefault(model, {})
    if split_point not in known or known[split_point][0] != state:
        digest = hashlib.sha256(repr(parts).encode())
        for tensor in tensors:
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        known[split_point] = state, digest.hexdigest()
    return known[split_point][1]


def precompute(
    model: Classifier, data: ImageData, *, split_point: int, device: torch.device, precision: torch.dtype, copies=0
) -> FeatureData:
    """`FeatureData` at `split_point`, from the disk if this very body has seen these very pictures, else computed.

    Raises ValueError for negative copies.
    """
    if copies < 0:
        raise ValueError(f"copies is how many augmented versions of each picture are kept, 0 or more; got {copies}")
    network = (body_fingerprint(model, split_point), split_point, str(precision))
    pictures, augmented = (data.key, data.size), (data.split.digest(), data.augment)
    names = [(pictures, network), *((pictures, network, augmented, copy) for copy in range(copies))]
    how, tables = (model, data, split_point, device, precision), []
    for copy, name in enumerate(names, start=-1):  # each in files of its own: more copies compute only what is new
        key = hashlib.sha256(repr(name).encode()).hexdigest()[:24]
        spare = copies and copy < 0 and len(data.rows["valid"])
        idle = set(data.rows["train"].tolist()) if spare else set()
        tables.append(_shards(*how, copy, data_setup.home() / "cache/features" / key, idle))
    plain, *versions = (Table(list(chain(*some))).near(device) for some in (tables[:1], tables[1:]) if some)
    return FeatureData(data, split_point, plain, *versions, copies=copies)


def _shards(model, data: ImageData, split_point: int, device, precision, copy: int, path: Path, idle) -> list[Tensor]:
    """Augmented copy number `copy` of the training pictures, or the plain ones (-1), a row each, in mapped files.

    Shards are kept beside `path` as soon as they are computed, for a run started again, and for the other ranks: at
    most one is held in memory. One with `idle` rows only is left out: nan.
    """
    rows = torch.arange(len(data.items)) if copy < 0 else data.rows["train"]
    draws = None if copy < 0 else augmentation.draw(len(rows), data.augment, generator(SEEDS, copy))
    shards = torch.arange(len(rows)).split(SHARD_ROWS)
    files = [path.with_name(f"{path.name}-{number}.safetensors") for number in range(len(shards))]
    tables = [_read(file) for file in files]
    missing = [table is None and not idle.issuperset(s.tolist()) for table, s in zip(tables, shards, strict=True)]
    mine = [number for number in range(len(files))[share()] if missing[number]]
    total = sum(len(shards[number]) for number in mine)
    with predicting(model, device, precision), progress(title="features", total=total) as bar:
        for number in mine:
            some = rows[shards[number]], None if draws is None else draws[shards[number]]
            computed = _compute(model, data, split_point, device, *some, bar)
            try:
                save_tensors(files[number], {"features": computed}, {"what": "features", "images": str(data)})
            except OSError as error:  # a full disk
                if n_ranks() > 1:  # the others wait for them
                    raise
                if path.parent not in _noted:
                    print(f"note: these features are not kept for the next time ({error})")
                _noted.add(path.parent)
                tables[number] = computed
            del computed  # read back below: what is mapped between large blocks keeps malloc from using them again
    wait()
    tables = [_read(file) if table is None else table for file, table in zip(files, tables, strict=True)]
    if any(tables[number] is None for number, needed in enumerate(missing) if needed):
        found = f"another process has computed features that are not in {path.parent}"
        raise OSError(f"{found}: set COURSE_DATA to a folder that all machines share")
    known = next(table for table in tables if table is not None)
    for number in (number for number, table in enumerate(tables) if table is None):
        tables[number] = known.new_full((1, *known.shape[1:]), torch.nan).expand(len(shards[number]), *known.shape[1:])
    if mine and rank() == 0:
        most_bytes = max(CACHE_BYTES, 2 * sum(table.nbytes for table in tables))
        forget_oldest(path.parent, "*.safetensors", most_bytes=most_bytes)
    return tables


def _read(file: Path) -> Tensor | None:
    try:
        features = load_tensors(file)[0]["features"]
    except (FileNotFoundError, ValueError):  # never computed, or damaged since
        return None
    with suppress(OSError):  # a data folder that is only read
        file.touch()  # used again: `forget_oldest` goes by this time
    return features


def _compute(model, data: ImageData, split_point: int, device: torch.device, rows: Tensor, draws, bar) -> Tensor:
    """Features of the pictures at `rows`, augmented as `draws` say, if there are any."""
    how, features = (device, max(2 * data.batch_size, 64)), []  # twice, as without gradients there is room
    for batch in data.eval_batches(rows, *how) if draws is None else data.drawn_batches(rows, draws, *how):
        features.append(model.before(batch.inputs, split_point))
        bar.update(len(batch))
    return torch.cat(features).cpu()
