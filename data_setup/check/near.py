"""Near copies: the same picture resized, saved again, a little brighter or darker, or mirrored left to right.

Pictures are compared by small grey thumbnails, less their mean: the cosine of two does not change with contrast. How
large it must be depends on how much alike the pictures of a folder are anyway (`same_here`). Of 355 photographs of
animals, buildings, plants and tools, 98.9 % of copies were found that were resized to 20-90 %, saved as JPEG of quality
20-85, mirrored, or up to 25 % brighter or darker (with one bound for all folders: 93 %); of 2,624 photographs of solar
cells, which look very much alike, 97 %. No other pair was flagged in either. Turned or cropped copies are mostly
missed: of those photographs 71 % were found when 2 % was cut off, 10 % when 5 % was.
"""

import math
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from PIL import Image

from data_setup.base.progress import progress

SIDE = 16  # pixels of a thumbnail: 256 bytes
SAME = 0.9985  # cosine from which on two thumbnails show the same picture, in any folder
LEAST = 0.95  # and where no two pictures look alike
ENOUGH, SAMPLE = 200, 1000  # pictures that tell how alike they are; those that are compared with all for it
CROWD, MOST_ALIKE = 3, 0.99  # the similarity to the 3rd nearest, of all but the most crowded hundredth of pictures
MARGIN = 0.1  # with it no two of 200 to 1,200 solar cells, drawn 60 times, were flagged; with 0.2 some were
LEAST_SPREAD = 1.0  # grey levels: the thumbnail of an almost empty picture is mostly rounding
LOW = 8  # frequencies of the coarse comparison, horizontal plus vertical: 44 of 255
TILE, CHUNK = 2048, 8192  # pictures against pictures, and pairs, that are compared at once


def thumbnail(image: Image.Image) -> bytes:
    """`SIDE` x `SIDE` grey levels, antialiased, so that they do not depend on the picture's size; b"" for an empty one.

    (With Pillow's BOX in place of BILINEAR, 7 % of the solar cells were flagged at the same share of copies found.)
    """
    small = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return small.tobytes() if small.std() >= LEAST_SPREAD else b""


def near_pairs(
    looks: Sequence[bytes], parts: Sequence[Hashable], least: float | None = None
) -> list[tuple[int, int, float]]:
    """(i, j, cosine), i < j: each thumbnail with the one most like it, and with the most similar one of another part,
    if their cosine, or that with one of them mirrored, is at least `least` (default: `same_here`).

    Exact, by comparing all with all, at first in a few frequencies: the cosine is at most the product of those plus
    the product of what is left of both (Cauchy-Schwarz). 100,000 thumbnails take 25 MB and their frequencies 18.
    """
    if not looks:
        return []
    table = np.frombuffer(b"".join(looks), dtype=np.uint8).reshape(-1, SIDE, SIDE)
    least = same_here(table) if least is None else least
    kinds = {part: number for number, part in enumerate(dict.fromkeys(parts))}
    part_of = np.array([kinds[part] for part in parts])
    best = [_Best(len(table)), _Best(len(table))]  # of all, and of another part
    for i, j in _candidates(table, least):
        cosines = _cosines(table[i], table[j])
        near = cosines >= least
        i, j, cosines = i[near], j[near], cosines[near]
        apart = part_of[i] != part_of[j]
        best[0].update(i, j, cosines)
        best[1].update(i[apart], j[apart], cosines[apart])
    return sorted({pair for one in best for pair in one.pairs()})


def same_here(table: np.ndarray) -> float:
    """The cosine from which on two of these thumbnails, uint8 (N, SIDE, SIDE), are near copies: `LEAST` to `SAME`.

    Where many pictures look alike, only a much larger likeness means a copy. A picture has few copies, so its 3rd
    nearest is another picture; the bound is a tenth of the way back from equality to the largest such cosines (their
    99 % quantile; of 1,000 pictures, if there are more). Fewer than 200 pictures tell too little: `SAME`.
    """
    if len(table) < ENOUGH:
        return SAME
    sample = _unit(table[:: math.ceil(len(table) / SAMPLE)]).astype(np.float32)
    nearest = np.full((len(sample), CROWD + 1), -1, dtype=np.float32)  # itself is one of them
    for start in range(0, len(table), TILE):
        tile = table[start : start + TILE]
        cosines = [sample @ _unit(each).astype(np.float32).T for each in (tile, tile[:, :, ::-1])]
        found = np.hstack([nearest, np.maximum(*cosines)])
        nearest = np.partition(found, -CROWD - 1, axis=1)[:, -CROWD - 1 :]
    crowd = float(np.quantile(nearest.min(axis=1), MOST_ALIKE))
    return min(max(1 - MARGIN * (1 - crowd), LEAST), SAME)


class _Best:
    """The most similar partner of every row so far."""

    def __init__(self, n: int):
        self.cosine, self.partner = np.full(n, -np.inf, dtype=np.float32), np.full(n, -1)

    def update(self, i: np.ndarray, j: np.ndarray, cosines: np.ndarray) -> None:
        order = np.argsort(cosines, kind="stable")  # of several for one row, the last is kept
        for rows, partners in ((i[order], j[order]), (j[order], i[order])):
            better = cosines[order] > self.cosine[rows]
            self.cosine[rows[better]] = cosines[order][better]
            self.partner[rows[better]] = partners[better]

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        for row in np.flatnonzero(self.partner >= 0).tolist():
            partner = int(self.partner[row])
            yield min(row, partner), max(row, partner), float(self.cosine[row])


def _candidates(table: np.ndarray, least: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(i, j), i < j, a few thousand at a time: every pair that can reach `least`, mirrored or not, and some more."""
    even, odd = _coarse(table)
    for top in progress(range(0, len(table), TILE), "comparing"):
        for left in range(top, len(table), TILE):
            rows, columns = slice(top, top + TILE), slice(left, left + TILE)
            can = np.abs(odd[rows] @ odd[columns].T)  # as it is or mirrored, whichever is more alike
            can += even[rows] @ even[columns].T
            found = np.flatnonzero(can >= least - 1e-4)  # float32 rounds
            i, j = found // can.shape[1] + top, found % can.shape[1] + left
            i, j = i[i < j], j[i < j]
            for start in range(0, len(i), CHUNK):
                yield i[start : start + CHUNK], j[start : start + CHUNK]


def _coarse(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 (N, 25) and (N, 20): the low frequencies of each thumbnail of unit length that mirroring leaves, with the
    length of the rest, and those of which it changes the sign: the odd horizontal ones of a cosine transform."""
    place = np.arange(SIDE)
    waves = np.cos(np.pi * (place + 0.5) * place[:, None] / SIDE) * np.sqrt(2 / SIDE)  # orthonormal but for row 0
    waves[0] /= np.sqrt(2)
    low = (place[:, None] + place <= LOW) & (place[:, None] + place > 0)  # without the mean
    found = np.empty((len(table), low.sum() + 1), dtype=np.float32)
    for start in range(0, len(table), CHUNK):
        unit = _unit(table[start : start + CHUNK]).reshape(-1, SIDE, SIDE)
        block = (waves @ unit @ waves.T)[:, low]
        rest = np.sqrt(np.maximum(0, 1 - (block**2).sum(1)))
        found[start : start + CHUNK] = np.column_stack([block, rest])
    is_odd = np.append(np.broadcast_to(place % 2 == 1, (SIDE, SIDE))[low], False)
    return np.ascontiguousarray(found[:, ~is_odd]), np.ascontiguousarray(found[:, is_odd])


def _unit(table: np.ndarray) -> np.ndarray:
    """float64 (n, 256): less the mean, of length 1."""
    flat = table.reshape(len(table), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float32 (n,): of each pair, mirrored or not, whichever is larger."""
    first, mirrored, second = _unit(first), _unit(first[:, :, ::-1]), _unit(second)
    return np.maximum((first * second).sum(1), (mirrored * second).sum(1)).astype(np.float32)
