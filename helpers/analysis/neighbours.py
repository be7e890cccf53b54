"""Which training pictures look most like this one, to the model: neighbours by the features of its body."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from helpers.data.items import Item
from helpers.runtime.arguments import did_you_mean

BLOCK = 1024  # rows compared at once: a block of 1,024 x 25,000 similarities takes 100 MB


class Neighbour(NamedTuple):
    """One picture and its cosine similarity to the one asked about: 1 is the same, 0 nothing in common."""

    item: Item
    similarity: float


@did_you_mean
def nearest_neighbours(
    queries: Tensor,
    features: Tensor,
    items: Sequence[Item],
    *,
    k: int = 4,
    own_names: Sequence[str] | None = None,
) -> list[list[Neighbour]]:
    """For each row of `queries` (M, D) the k `items` whose `features` (N, D) are most similar, best first.

    With `own_names`, the names of the M pictures, no picture is its own neighbour. Ties by position.
    """
    queries, features = unit_rows(queries), unit_rows(features)
    if len(features) != len(items):
        raise ValueError(f"got {len(features)} rows of features for {len(items)} items; row i must be about items[i]")
    if queries.shape[1] != features.shape[1]:
        raise ValueError(
            f"features have one width; got {queries.shape[1]} for queries and {features.shape[1]} for items"
        )
    if own_names is not None and len(own_names) != len(queries):
        raise ValueError(f"got {len(own_names)} own_names for {len(queries)} queries; pass one for each")
    if k < 1:
        raise ValueError(f"k is how many neighbours to find, at least 1; got {k}")
    found = []
    for start in range(0, len(queries), BLOCK):
        similarities = queries[start : start + BLOCK] @ features.T  # (block, N)
        values, rows = similarities.sort(dim=1, descending=True, stable=True)
        for i, (sims, row) in enumerate(zip(values[:, : k + 1].tolist(), rows[:, : k + 1].tolist(), strict=True)):
            own = None if own_names is None else own_names[start + i]
            near = [Neighbour(items[r], s) for r, s in zip(row, sims, strict=True) if items[r].name != own]
            found.append(near[:k])
    return found


def unit_rows(features: Tensor) -> Tensor:
    """(N, D) float32 rows of length 1 on the CPU, from a tensor or an array; a row of zeros stays zero."""
    features = torch.as_tensor(features).detach().float().cpu()
    if features.ndim != 2:
        raise ValueError(f"features are a table (N, D); got shape {tuple(features.shape)}")
    return functional.normalize(features, dim=1)
