"""Checks of lesson 05, resizing: how many pixels, crop against squish, half a picture by averaging."""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from helpers.data.decode import presize, read_image
from helpers.lessons.checks.verdict import Settled, Verdict, exercise, not_yet, number, outcome, right, short, what

TIMES = {
    3.5: "that is how much longer one side is; a square has two.",
    7.0: "that is twice the factor of a side; the two sides are multiplied.",
    160.0: "that is how many pixels longer a side is; how many times as many pixels has the picture?",
    1 / 12.25: "upside down: the larger picture has more.",
    46080.0: "that is how many more; how many times as many?",
    224 * 224: "that is the number itself; divide it by that of the small picture.",
    36.75: "that counts the three colours once more; the small picture has them, too.",
}


@exercise(1, todo="put how many times as many pixels 224 x 224 has as 64 x 64 into answer_1")
def check_05_1(answer) -> Verdict:
    """Pixels of 224 by those of 64."""
    times = number(answer, name="answer_1")
    if abs(times - 12.25) < 0.06:
        return right("and about as many times the waiting, in every epoch.")
    said = [text for value, text in TIMES.items() if abs(times - value) < 1e-3]
    return not_yet(
        f"{short(times)} came: {said[0] if said else '(224 / 64) for the width, and once more for the height.'}"
    )


@exercise(2, todo="write your prediction (True or False) into guess_2, then compare both ways and put it into same_2")
def check_05_2(guess, same, path: Path) -> Verdict:
    """Does squishing the picture at `path` differ from cropping it?"""
    cropped, squished = (presize(read_image(path), 280, method) for method in ("crop", "squish"))
    truth = bool(np.array_equal(cropped, squished))
    for name, value in (("guess_2", guess), ("same_2", same)):
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            value = value.item()
        if not isinstance(value, bool):
            wanted = "one True or False for the whole picture: (a == b).all()" if name == "same_2" else "True or False"
            raise Settled(not_yet(f"{name} is {what(value)}; wanted is {wanted}."))
    if same != truth:
        return not_yet(f"same_2 is {bool(same)}: both must start from the same file and end at the same size, 280.")
    fared = "as predicted" if guess == truth else "other than predicted"
    return right(f"{fared}: crop and squish differ only where width and height do, and a cell is square.")


@exercise(3, todo="write halve(picture): each new pixel the mean of a square of four")
def check_05_3(halve) -> Verdict:
    """(H, W) to (H/2, W/2) by averaging."""
    picture = (torch.arange(24) * 7 % 24).float().reshape(4, 6)  # not square, and no two pixels alike
    wanted = F.avg_pool2d(picture[None], 2)[0]  # (2, 3)
    got = outcome(halve, picture.clone())
    if not isinstance(got, torch.Tensor):
        return not_yet(f"{what(got)} came, and a picture, a tensor, is wanted.")
    if got.shape != wanted.shape:
        turned = " (width and height changed places)" if tuple(got.shape) == (3, 2) else ""
        return not_yet(f"a picture of shape (4, 6) became {tuple(got.shape)}{turned}; (2, 3) is wanted.")
    slips = {
        "that is the sum of the four; divide by 4.": 4 * wanted,
        "only every second pixel is kept; three of four are never looked at.": picture[0::2, 0::2],
        "the mean of two pixels one below the other; the other two of the square are missing.": (
            (picture[0::2, 0::2] + picture[1::2, 0::2]) / 2
        ),
        "the mean of two pixels side by side; the other two of the square are missing.": (
            (picture[0::2, 0::2] + picture[0::2, 1::2]) / 2
        ),
        "the mean of the two on the diagonal; the other two of the square are missing.": (
            (picture[0::2, 0::2] + picture[1::2, 1::2]) / 2
        ),
        "the largest of the four; their mean is wanted.": F.max_pool2d(picture[None], 2)[0],
        "the halves of the picture were laid on each other; neighbours belong together: [0::2, 0::2] and so on.": (
            (picture[:2, :3] + picture[:2, 3:] + picture[2:, :3] + picture[2:, 3:]) / 4
        ),
    }
    if torch.allclose(got.float(), wanted):
        return right("averaging keeps what is fine as a shade, and invents nothing.")
    said = [text for text, slip in slips.items() if torch.allclose(got.float(), slip)]
    return not_yet(said[0] if said else "the size is right, but the top left pixel must be the mean of the four there.")
