"""The same picture twice: pixel for pixel, or nearly. Across a split, a duplicate is an answer given away."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from helpers.analysis.neighbours import BLOCK, unit_rows
from helpers.data.decode import read_image
from helpers.data.items import Item
from helpers.data.splits import Split
from helpers.runtime.arguments import did_you_mean

MOST_CANDIDATES = 1_000_000


@dataclass(frozen=True)
class Duplicate:
    """Two pictures that are the same or nearly so."""

    first: Item
    second: Item
    kind: str  # "exact": every pixel is equal; "near": the same to a quick look
    bits: int  # of the 64 bits of their difference hashes, how many differ
    similarity: float  # cosine, 1 for exact duplicates
    across_split: bool  # one trains, the other judges

    @property
    def same_label(self) -> bool:
        return self.first.label == self.second.label

    @property
    def text(self) -> str:
        parts = [f"{self.first.name} and {self.second.name}: {self.kind}, similarity {self.similarity:.3f}"]
        if self.across_split:
            parts.append("one trains and the other judges")
        if not self.same_label:
            parts.append(f"labelled {self.first.label} and {self.second.label}")
        return ", ".join(parts)


def difference_hash(image: Image.Image) -> np.ndarray:
    """bool (64,): is a cell of a 9 x 8 grey thumbnail brighter than its left neighbour? Blind to exposure."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def thumbnail_features(image: Image.Image) -> np.ndarray:
    """float32 (1024,): a 32 x 32 grey thumbnail less its mean; the cosine of two is their correlation."""
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32).ravel()
    return grey - grey.mean()


@did_you_mean
def find_duplicates(
    items: Sequence[Item],
    split: Split | None = None,
    *,
    features: Tensor | None = None,
    max_bits: int = 10,
    min_similarity: float | None = None,
    read: Callable[[Path], Image.Image] = read_image,
) -> list[Duplicate]:
    """Pairs of the same picture: those across the split first, then exact before near, then by similarity.

    Difference hashes at most `max_bits` apart propose a pair, a similarity of `min_similarity` confirms it:
    the cosine of the model's `features` (N, D) if given (default 0.98), else of thumbnails (0.995).
    On the solar cells thumbnails found 600 of 600 planted copies (re-compressed, brightened, shrunk) and 203 pairs
    of cells that merely look alike; features 87 % and 815. Turned, mirrored or cropped copies are not found.
    A group of n exact duplicates is n - 1 pairs with its first picture, a training one if it has any.
    """
    items = tuple(items)
    if features is not None and len(features) != len(items):
        raise ValueError(f"got {len(features)} rows of features for {len(items)} items; row i must be about items[i]")
    if not items:
        return []
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(lambda item: _look(read(item.path)), items))
    part_of = {name: part for part in ("train", "valid", "test") for name in getattr(split, part, ())}
    by_content: dict[str, list[int]] = {}
    for row, (content, _, _) in enumerate(looks):
        by_content.setdefault(content, []).append(row)

    def duplicate(i: int, j: int, kind: str, bits: int, similarity: float) -> Duplicate:
        parts = part_of.get(items[i].name), part_of.get(items[j].name)
        return Duplicate(items[i], items[j], kind, bits, similarity, None not in parts and parts[0] != parts[1])

    groups = [sorted(rows, key=lambda row: part_of.get(items[row].name) != "train") for rows in by_content.values()]
    found = [duplicate(first, other, "exact", 0, 1.0) for first, *others in groups for other in others]
    rows = [group[0] for group in groups]  # one of each: only different pictures can be near
    confirm = unit_rows(
        np.stack([looks[row][2] for row in rows]) if features is None else torch.as_tensor(features)[rows]
    )
    least = min_similarity if min_similarity is not None else (0.995 if features is None else 0.98)
    for a, b, bits in _close_hashes(np.stack([looks[row][1] for row in rows]), max_bits):
        similarity = float(confirm[a] @ confirm[b])
        if similarity >= least:
            found.append(duplicate(rows[a], rows[b], "near", bits, similarity))
    return sorted(found, key=lambda d: (not d.across_split, d.kind, -d.similarity, d.first.name, d.second.name))


def _look(image: Image.Image) -> tuple[str, np.ndarray, np.ndarray]:
    pixels = np.asarray(image.convert("RGB"))
    content = sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return content, difference_hash(image), thumbnail_features(image)


def _close_hashes(hashes: np.ndarray, max_bits: int) -> Iterator[tuple[int, int, int]]:
    """(i, j, bits) for every pair i < j of (N, 64) bool hashes that differ in at most `max_bits` bits."""
    signs = torch.from_numpy(hashes).float() * 2 - 1  # equal bits give +1, others -1: bits = (64 - dot) / 2
    proposed = 0
    for start in range(0, len(signs), BLOCK):
        bits = (hashes.shape[1] - signs[start : start + BLOCK] @ signs[start:].T) / 2
        pairs = (bits <= max_bits).triu(diagonal=1).nonzero()
        proposed += len(pairs)
        if proposed > MOST_CANDIDATES:
            raise ValueError(
                f"max_bits={max_bits} proposes more than {MOST_CANDIDATES:,} pairs of {len(signs)} pictures; lower it"
            )
        for i, j in pairs.tolist():
            yield start + i, start + j, int(bits[i, j])
