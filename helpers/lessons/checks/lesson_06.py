"""Checks of lesson 06: the best of many epochs, a paired test, the eight positions of a square."""

from collections.abc import Sequence

import torch

from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.verdict import Settled, Verdict, choose, exercise, not_yet, number, outcome, right, what

BEST_OF_TWELVE = {
    "a": not_yet("two things are wrong: who chose the epoch, and what the rate was in it."),
    "b": right("and the more you try, the luckier the best: that is why a test part is opened once."),
    "c": not_yet(
        "the loss of the chosen epoch comes from the same photographs that chose it; it looks too good as well."
    ),
}


@exercise(1, todo="put 'a', 'b' or 'c' into answer_1")
def check_06_1(answer) -> Verdict:
    """What to think of the best of twelve epochs."""
    return choose(answer, BEST_OF_TWELVE)


@exercise(2, todo="write your prediction into guess_2, then count only_plain and only_pair")
def check_06_2(guess, only_first, only_second, first: Predictions, second: Predictions) -> Verdict:
    """How many photographs only one of two records gets right."""
    first_right, second_right = first.predicted == first.targets, second.predicted == second.targets
    truth = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    counts = _count(only_first, "only_plain"), _count(only_second, "only_pair")
    disagree = sum(truth)
    if counts == truth:
        predicted = number(guess, name="guess_2")
        return right(
            f"≈ {truth[1]} against ≈ {truth[0]}, and {predicted:g} was predicted. Coins would give ≈ {disagree / 2:g} "
            f"each, give or take ≈ {disagree**0.5 / 2:.0f}; mcnemar(plain, pair) turns that into a p."
        )
    if counts == truth[::-1]:
        return not_yet("the two changed places: only_plain is right in plain and wrong in pair.")
    if counts == (int(first_right.sum()), int(second_right.sum())):
        return not_yet("those are all that each gets right; leave out the ones that both do.")
    if counts == (int((first_right & second_right).sum()),) * 2:
        return not_yet("those are the ones that both get right; one of the two has to be wrong.")
    if counts == (int((first.predicted != second.predicted).sum()),) * 2:
        return not_yet("those are all on which they differ; who is right there? Compare with .targets.")
    return not_yet(f"{counts[0]} and {counts[1]} came: right in one record, by its .targets, and wrong in the other.")


def _count(value, name: str) -> int:
    if isinstance(value, Predictions):
        raise Settled(not_yet(f"{name} is a whole record; count where its .predicted equals its .targets."))
    if isinstance(value, torch.Tensor) and value.numel() > 1:
        raise Settled(not_yet(f"{name} is {what(value)}: add up where it is True, int((...).sum())."))
    count = number(value, name=name)
    if count != int(count) or (0 < count < 1):
        raise Settled(not_yet(f"{name} is {count:g}: a number of photographs is wanted, .sum() and not .mean()."))
    return int(count)


@exercise(3, todo="write eight_views(images): a list of eight batches, the positions of a square")
def check_06_3(eight_views) -> Verdict:
    """Four quarter turns, each plain and mirrored."""
    images = torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2)
    views = outcome(eight_views, images.clone())
    if isinstance(views, torch.Tensor):
        return not_yet(f"expected a list of eight batches, got {what(views)}.")
    if not isinstance(views, Sequence) or not all(isinstance(view, torch.Tensor) for view in views):
        return not_yet(f"expected a list of eight tensors, got {what(views)}.")
    turns = [images.rot90(quarter, dims=(2, 3)) for quarter in range(4)]
    wanted = {_bytes(view) for turn in turns for view in (turn, turn.flip(-1))}
    got = {_bytes(view) for view in views}
    if len(views) == 8 and got == wanted:
        return right(
            "nothing is missing and nothing twice. Their mean is the same however the cell is turned; a network whose "
            "single look already is so is called invariant."
        )
    if other := [tuple(view.shape) for view in views if view.shape != images.shape]:
        return not_yet(f"a view has shape {other[0]}, and that of the batch, {tuple(images.shape)}, stays.")
    if any(_bytes(view) not in wanted for view in views):
        mixed = _bytes(images.flip(1)) in got or _bytes(images.flip(0)) in got
        words = "pictures or colours changed places" if mixed else "one of them is no position of the square"
        return not_yet(f"{words}: turn in dims=(2, 3), mirror along the last dimension.")
    if len(views) == 4:
        return not_yet("four views: the turns alone, or turns without their mirror images; each turn has two.")
    return not_yet(f"{len(views)} views, {len(got)} of them different; four turns, each plain and mirrored, are eight.")


def _bytes(view: torch.Tensor) -> bytes:
    return view.contiguous().float().numpy().tobytes()
