"""Checks of lesson 06: the best of many epochs, the surest view against the mean, the eight positions of a square."""

from collections.abc import Sequence

import torch

from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.verdict import Settled, Verdict, choose, exercise, not_yet, number, outcome, right, what

BEST_OF_TWELVE = {
    "a": not_yet("two things are wrong: who chose the epoch, and what the rate was in it."),
    "b": right("chosen and validated on the same pictures, and in the middle of a schedule that was not over."),
    "c": not_yet("the loss of the chosen epoch comes from the same pictures that chose it; it is flattered, too."),
}


@exercise(1, todo="put 'a', 'b' or 'c' into answer_1")
def check_06_1(answer) -> Verdict:
    """What to think of the best of twelve epochs."""
    return choose(answer, BEST_OF_TWELVE)


@exercise(2, todo="write your prediction into guess_2, then count changed_by_mean and changed_by_max")
def check_06_2(guess, by_mean, by_max, after: Predictions, looked: Predictions) -> Verdict:
    """How many answers TTA changes with the mean and with the largest probability."""
    n, mean, largest = len(after.items), _count(by_mean, "changed_by_mean"), _count(by_max, "changed_by_max")
    changed = int((looked.predicted != after.predicted).sum())
    if mean == n - changed:
        return not_yet(f"changed_by_mean is {mean}: those are the answers that stay the same; count with !=.")
    if mean == int((looked.predicted != after.targets).sum()):
        return not_yet(f"changed_by_mean is {mean}: those are the wrong answers; compare with after.predicted.")
    if mean != changed:
        return not_yet(f"changed_by_mean is {mean}: count where looked.predicted and after.predicted differ.")
    if not 0 <= largest < n / 2:
        return not_yet(f"changed_by_max is {largest} of {n}: count with != where the two records differ.")
    predicted = number(guess, name="guess_2")
    close = mean / 2 <= predicted <= 2 * mean
    fared = "your prediction is close" if close else f"{predicted:g} was predicted for the mean"
    return right(f"counted, and {fared}. With max a single very sure view overrules all others.")


def _count(value, name: str) -> int:
    if isinstance(value, Predictions):
        raise Settled(not_yet(f"{name} is a whole record; count where its .predicted differs from after.predicted."))
    if isinstance(value, torch.Tensor) and value.numel() > 1:
        raise Settled(not_yet(f"{name} is {what(value)}: add up where it is True, int((...).sum())."))
    count = number(value, name=name)
    if count != int(count) or (0 < count < 1):
        raise Settled(not_yet(f"{name} is {count:g}: a number of answers is wanted, .sum() and not .mean()."))
    return int(count)


@exercise(3, todo="write eight_views(images): a list of eight batches, the positions of a square")
def check_06_3(eight_views) -> Verdict:
    """Four quarter turns, each plain and mirrored."""
    images = torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2)
    views = outcome(eight_views, images.clone())
    if isinstance(views, torch.Tensor):
        return not_yet(f"{what(views)} came, and a list of eight batches is wanted.")
    if not isinstance(views, Sequence) or not all(isinstance(view, torch.Tensor) for view in views):
        return not_yet(f"{what(views)} came, and a list of eight tensors is wanted.")
    turns = [images.rot90(quarter, dims=(2, 3)) for quarter in range(4)]
    wanted = {_bytes(view) for turn in turns for view in (turn, turn.flip(-1))}
    got = {_bytes(view) for view in views}
    if len(views) == 8 and got == wanted:
        return right("nothing is missing and nothing twice; their mean no longer depends on how the cell lay.")
    if any(view.shape != images.shape for view in views):
        return not_yet(
            f"a view has shape {tuple(views[0].shape)}, and that of the batch, {tuple(images.shape)}, stays."
        )
    if any(_bytes(view) not in wanted for view in views):
        mixed = _bytes(images.flip(1)) in got or _bytes(images.flip(0)) in got
        words = "pictures or colours changed places" if mixed else "one of them is no position of the square"
        return not_yet(f"{words}: turn in dims=(2, 3), mirror along the last dimension.")
    if len(views) == 4:
        return not_yet("four views: the turns alone, or turns without their mirror images; each turn has two.")
    return not_yet(f"{len(views)} views, {len(got)} of them different; four turns, each plain and mirrored, are eight.")


def _bytes(view: torch.Tensor) -> bytes:
    return view.contiguous().float().numpy().tobytes()
