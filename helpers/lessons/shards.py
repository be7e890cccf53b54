"""Features of pictures in tar shards, for sets that no memory holds: computed shard by shard, looked at where they lie.

    python -m data_setup shard PHOTOS
    torchrun --standalone --nproc-per-node=2 -m helpers.lessons.shards PHOTOS-shards

Each process takes its share of the shards: picture after picture from the archive, presized, through the body. Whoever
is killed is started again, and computes only what is missing.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from data_setup.base.arguments import did_you_mean
from data_setup.base.folders import home
from data_setup.base.pictures import CACHE_VERSION, read_presized
from data_setup.base.progress import progress
from data_setup.base.text import counted
from data_setup.items import Item
from data_setup.shards import Index, pictures, read_index, stream
from helpers.data.augment import resize
from helpers.data.pixels import PixelStore
from helpers.models.classifier import Classifier, build_classifier
from helpers.models.features import body_fingerprint
from helpers.models.folding import predicting
from helpers.runtime.device import make_ready, pick_device, upload
from helpers.runtime.distributed import join, share, wait
from helpers.runtime.precision import fast_precision, network_kind
from helpers.runtime.tensor_files import save_tensors

BATCH = 64  # pictures that pass the body at a time


@dataclass(frozen=True, eq=False)
class ShardFeatures:
    """Features of the pictures in shards: a file for each shard, of which only what is asked for is read."""

    index: Index
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return self.index.pictures

    def blocks(self) -> Iterator[Tensor]:
        """The table of each shard (n, D) float32, one after the other: only one is in memory at a time."""
        for file in self.files:
            with safe_open(file, framework="pt") as table:
                yield table.get_tensor("features").float()

    def row(self, row: int) -> Tensor:
        """The features of one picture: (D,) float32. Raises IndexError for a row that is not there."""
        number, place = self.index.place_of(row)
        with safe_open(self.files[number], framework="pt") as table:
            return table.get_slice("features")[place : place + 1][0].float()

    def labels(self) -> list[str | None]:
        """Of all pictures, in row order."""
        return [label for number in range(len(self.files)) for label in self.index.contents(number).labels]

    def items(self, rows: Sequence[int]) -> tuple[Item, ...]:
        """These pictures as files to look at, for any browser: they alone are taken out of their archives."""
        key = hashlib.sha256("".join(shard.sha256 for shard in self.index.shards).encode()).hexdigest()[:24]
        return pictures(self.index, rows, home() / "cache" / "looked-at" / key)


@did_you_mean
def extract_shards(
    folder: Path | str,
    *,
    arch: str = "efficientnet_lite0",
    size: int = 128,
    presize_px: int | None = None,
    pretrained: bool = True,
) -> ShardFeatures:
    """Features of all pictures in the shards of `folder`, as `Learner.pretrained(data, arch).features()` has them, in
    half precision; kept below `folder`, one file for each shard.

    `presize_px` is the side that pictures are decoded to, by default a quarter more than `size`. Under torchrun every
    process computes its share of the shards that are missing, and all of them return the whole.
    """
    index = read_index(folder)
    device = pick_device()
    make_ready(device)
    join(device)
    model = build_classifier(arch, max(len(index.classes), 2), size=size, pretrained=pretrained)
    model = model.to(device, memory_format=torch.channels_last).eval()
    precision = fast_precision(device, network_kind(model), "predicting")
    presize_px = presize_px or round(1.25 * size)
    network = body_fingerprint(model, len(model.body)), size, presize_px, str(precision), CACHE_VERSION
    place = index.folder / "features" / hashlib.sha256(repr(network).encode()).hexdigest()[:24]
    files = tuple(place / f"{Path(shard.file).stem}.safetensors" for shard in index.shards)
    missing = [number for number in range(len(files))[share()] if not _is_of(files[number], index, number)]
    n = sum(index.shards[number].pictures for number in missing)
    with predicting(model, device, precision), progress(title="features", total=n) as bar:
        for number in missing:
            features = compute(model, index, number, size=size, presize_px=presize_px, device=device, bar=bar)
            about = {"what": "features of a shard", "shard": index.shards[number].sha256, "arch": arch, "size": size}
            save_tensors(files[number], {"features": features.half()}, about | {"presize_px": presize_px})
    wait()
    if absent := [file for number, file in enumerate(files) if not _is_of(file, index, number)]:
        found = f"another process has computed features that are not here, e.g. {absent[0]}"
        raise OSError(f"{found}: all processes need the same folder, on a disk that they share")
    return ShardFeatures(index, files)


def compute(
    model: Classifier, index: Index, number: int, *, size: int, presize_px: int, device: torch.device, bar
) -> Tensor:
    """Pooled features (n, D) float32 of one shard's pictures: while a batch passes the body the next one is decoded."""
    samples, tables = stream(index, number), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decode = partial(_decoded, presize_px=presize_px)
        waiting = [pool.submit(decode, sample) for sample in islice(samples, BATCH)]
        while waiting:
            squares = [torch.from_numpy(picture.result()) for picture in waiting]
            waiting = [pool.submit(decode, sample) for sample in islice(samples, BATCH)]
            store = PixelStore.of_pictures(squares, presize_px)
            images = resize(upload(store.squares(torch.arange(len(store))), device), size)
            tables.append(model.features(images).float().cpu())
            bar.update(len(squares))
    return torch.cat(tables)


def _decoded(sample, presize_px: int) -> np.ndarray:
    return read_presized(sample.name, presize_px, content=sample.content)


def _is_of(file: Path, index: Index, number: int) -> bool:
    """Whether the file holds the features of this very shard: asked of its header alone."""
    try:
        with safe_open(file, framework="pt") as table:
            rows = table.get_slice("features").get_shape()[0]
            about = table.metadata()["about"]
    except (OSError, SafetensorError, KeyError):
        return False
    return rows == index.shards[number].pictures and index.shards[number].sha256 in about


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.lessons.shards", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="of the shards")
    parser.add_argument("--arch", default="efficientnet_lite0", help="any architecture of timm or torchvision")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures the model sees, in pixels (128)")
    options = parser.parse_args(argv)
    try:
        found = extract_shards(options.folder, arch=options.arch, size=options.size)
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"features of {counted(len(found), 'picture')}: {found.files[0].parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
