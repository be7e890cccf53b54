"""The same picture more than once: copies on both sides of a split make a model look better than it is."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data_setup.base.arguments import did_you_mean
from data_setup.base.pictures import read_image
from data_setup.items import Item
from data_setup.splits import Split
from helpers.lessons.audit import most_similar

PARTS = {"train": "training", "valid": "validation", "test": "the test part"}


@dataclass(frozen=True)
class Duplicate:
    """Two pictures that are the same or nearly so."""

    first: Item
    second: Item
    kind: str  # "exact": every pixel is equal; "near": almost the same thumbnail
    similarity: float  # cosine, 1 for exact duplicates
    parts: tuple[str | None, str | None] = (None, None)  # of the split, of the first and the second

    @property
    def across_split(self) -> bool:
        return None not in self.parts and self.parts[0] != self.parts[1]

    @property
    def captions(self) -> list[tuple[str, str]]:
        """(name, caption) of both pictures, as an image browser shows them, one after the other."""
        where = ", in {} and {}".format(*self.parts) if self.across_split else ""
        pair = (self.first.name, self.second.name)
        return [(name, f"{self.kind} duplicate of {other}{where}") for name, other in (pair, pair[::-1])]

    @property
    def text(self) -> str:
        said = [f"{self.first.name} and {self.second.name}: {self.kind}, similarity {self.similarity:.3f}"]
        if self.across_split:
            said.append("one is in {}, the other in {}".format(*(PARTS[part] for part in self.parts)))
        if self.first.label != self.second.label:
            said.append(f"labelled {self.first.label} and {self.second.label}")
        return ", ".join(said)


@did_you_mean
def find_duplicates(
    items: Sequence[Item], split: Split | None = None, *, min_similarity: float = 0.995
) -> list[Duplicate]:
    """Pairs of the same picture: those across the split first, then exact before near, then by similarity.

    n equal pictures are n - 1 pairs with the first of them, a training picture if there is one. A near pair is a
    picture and the one most like it (for a held-out picture also the most similar training picture) when the cosine
    of their thumbnails is at least `min_similarity`. Turned, mirrored or cropped copies are not found. Many real
    pictures merely look alike: look before you delete.
    """
    if not -1 <= min_similarity <= 1:
        raise ValueError(f"min_similarity is a cosine, at most 1, such as 0.98; got {min_similarity}")
    if not items:
        return []
    with ThreadPoolExecutor() as pool:
        contents, thumbnails = zip(*pool.map(_hash_and_thumbnail, items), strict=True)
    part_of = {name: part for part in PARTS for name in getattr(split, part, ())}
    parts = [part_of.get(item.name) for item in items]
    groups: dict[str, list[int]] = defaultdict(list)
    for row in sorted(range(len(items)), key=lambda row: parts[row] != "train"):  # training pictures come first
        groups[contents[row]].append(row)
    pairs = [(first, other, "exact", 1.0) for first, *others in groups.values() for other in others]
    distinct = [rows[0] for rows in groups.values()]
    table = torch.from_numpy(np.stack(thumbnails))[distinct]
    near = near_pairs(table, sum(parts[row] == "train" for row in distinct), min_similarity)
    pairs += [(distinct[a], distinct[b], "near", similarity) for a, b, similarity in near]
    found = [Duplicate(items[i], items[j], kind, s, (parts[i], parts[j])) for i, j, kind, s in pairs]
    return sorted(found, key=lambda d: (not d.across_split, d.kind, -d.similarity, d.first.name, d.second.name))


def near_pairs(table: Tensor, n_train: int, least: float) -> list[tuple[int, int, float]]:
    """(i, j, cosine), i < j: each row of `table` (N, D) with the row most like it, if their cosine is `least` or more,
    and each row after the first `n_train` with the most similar of these. Memory grows with N, not with its square."""
    searches = [(0, most_similar(table, table, 2))]  # one of the two is the row itself
    if 0 < n_train < len(table):
        searches.append((n_train, most_similar(table[n_train:], table[:n_train], 1)))
    pairs = {}
    for first_row, (similarities, rows) in searches:
        for i, place in (similarities >= least).nonzero().tolist():
            own, other = first_row + i, int(rows[i, place])
            if own != other:
                pairs[min(own, other), max(own, other)] = float(similarities[i, place])
    return [(i, j, similarity) for (i, j), similarity in pairs.items()]


def _hash_and_thumbnail(item: Item) -> tuple[str, np.ndarray]:
    """sha256 of the pixels, and float32 (1024,): a 32 x 32 grey thumbnail less its mean, blind to exposure.

    (Asking a difference hash first, as imagehash.dhash, changed 1 of 204 near pairs of the solar cells: left out.)
    """
    image = read_image(item.path)
    pixels = np.asarray(image.convert("RGB"))
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32).ravel()
    return sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(), grey - grey.mean()
