"""A walk through the pipeline, one stage after the other, to see what each gives and where it breaks."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from helpers.data.dataset import ImageData
from helpers.data.decode import read_image
from helpers.data.items import Item
from helpers.data.splits import PARTS


def summary(data: ImageData) -> None:
    """Walk one picture and one batch through every stage and print what each gives.

    A stage that fails is named, with the file and what to do, before its error is raised.
    """
    print(data)
    for part in PARTS:
        print(f"{part}: {_counted(data.items_of(part))}")
    rows = data.indices_of("train")[: data.batch_size]
    item = data.items[rows[0]]
    print(f"first training picture: {item.name!r}, labelled {item.label!r}")
    stages: list[tuple[str, Callable[[], Tensor]]] = [
        ("decode", lambda: torch.from_numpy(np.array(read_image(item.path)))),
        (f"presize to {data.decoded_px} px", lambda: data.decoded.picture(int(rows[0]))),
        (f"cut squares of {data.store_px} px", lambda: data.store.squares(rows)),
        ("augment a batch", lambda: data.one_batch("train")[0]),
        ("targets of the batch", lambda: data.one_batch("train")[1]),
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


def _counted(items: Sequence[Item]) -> str:
    counts = Counter("unlabelled" if item.label is None else item.label for item in items)
    shown = ", ".join(f"{label} {count}" for label, count in sorted(counts.items())[:12])
    return (shown or "no pictures") + (f" and {len(counts) - 12} more classes" if len(counts) > 12 else "")
