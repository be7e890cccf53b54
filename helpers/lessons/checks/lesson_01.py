"""Checks of lesson 01, exploration: a way to a square, a paired comparison, the least sure pictures."""

import torch

from helpers.analysis.intervals import mcnemar
from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.verdict import Settled, Verdict, choose, exercise, not_yet, number, outcome, right, what

SQUARES = {
    "pad": right("every flaw and every angle is kept; the price is a small picture with much mirrored edge."),
    "crop": not_yet("in validation the middle square is taken, so four fifths of the seam are never looked at."),
    "squish": not_yet("five to one: every slanted line changes its angle, and a dangerous flaw may look harmless."),
}


@exercise(1, todo="put 'crop', 'pad' or 'squish' into answer_1")
def check_01_1(answer) -> Verdict:
    """Which way to a square keeps every flaw and every angle."""
    return choose(answer, SQUARES)


@exercise(2, todo="count the photographs that only one of the two gets right: only_dice and only_imagenet")
def check_01_2(only_first, only_second, first: Predictions, second: Predictions) -> Verdict:
    """How many photographs only the first, and only the second of two models gets right."""
    for count in (only_first, only_second):
        if isinstance(count, torch.Tensor) and count.numel() > 1:
            return not_yet(f"{what(count)} came: a column of True and False; .sum() counts the True ones.")
    counts = (number(only_first, name="only_dice"), number(only_second, name="only_imagenet"))
    paired = mcnemar(first, second)
    wanted = (paired.only_first, paired.only_second)
    both = int((first.correct & second.correct).sum())
    slips = {
        wanted[::-1]: "the two are swapped: ~ belongs before the model that is wrong.",
        (wanted[0] + both, wanted[1] + both): "those are all that each gets right, also where the other does, too.",
        (both, both): "those are the photographs that both get right; of these nothing can be learned.",
        (sum(wanted),) * 2: "those are all on which they differ; say for each model how many it has for itself.",
    }
    if counts != wanted:
        other = "count where one is correct and the other is not, and then the reverse."
        return not_yet(f"{counts[0]:g} and {counts[1]:g} came: {slips.get(counts, other)}")
    return right(
        "only these photographs can say which of the two is better. Whether so uneven a split could be a coin's is "
        "McNemar's test, and every step on the board is such a comparison in pairs."
    )


# The lead of the likeliest class is 0.96, 0.02, 0.1, 0.6 and 0.31.
FIVE = [
    [0.97, 0.01, 0.01, 0.01],
    [0.50, 0.48, 0.01, 0.01],
    [0.30, 0.10, 0.40, 0.20],
    [0.10, 0.70, 0.10, 0.10],
    [0.51, 0.20, 0.19, 0.10],
]
SLIPS = {
    (0, 3): "those are the surest ones. Sort the lead from small to large.",
    (2, 1): "that is the order of the largest probability alone. Row 1 has 0.5 against 0.48: a smaller lead.",
    (1, 4): "that is the distance from one half. With four classes 0.4 against 0.3 is unsure, too.",
    (1, 3): "that is how near column 1 is to one half; any class may be the likeliest.",
    (2, 4): "that is the order of how spread the whole row is. Only the two largest of each row count here.",
}


@exercise(3, todo="write least_sure(probs, k): the rows with the smallest lead of the likeliest class")
def check_01_3(least_sure) -> Verdict:
    """The k rows whose two largest probabilities lie closest together, most uncertain first."""
    rows = _rows(outcome(least_sure, torch.tensor(FIVE), 2))
    if len(rows) == len(FIVE):
        return not_yet("all five rows came back, and k was 2: cut the list after k.")
    if rows != (1, 2):
        other = "the two smallest leads are 0.02 in row 1 and 0.1 in row 2."
        return not_yet(f"for the five rows below, {list(rows)} came: {SLIPS.get(rows, other)} The rows: {FIVE}.")
    if _rows(outcome(least_sure, torch.tensor(FIVE), 3)) != (1, 2, 4):
        return not_yet("right for k = 2, but with k = 3 the rows must be 1, 2, 4: use k, not a number.")
    if _rows(outcome(least_sure, torch.tensor([[0.45, 0.55], [0.9, 0.1]]), 1)) != (0,):
        return not_yet("right for four classes, but not for two: it must work for any number.")
    return right(
        "the lead is called margin. Whoever labels by hand often starts with these: there a label teaches most."
    )


def _rows(result) -> tuple[int, ...]:
    """The answer as row numbers."""
    if isinstance(result, torch.Tensor):
        result = result.flatten().tolist()
    if not isinstance(result, list | tuple):
        raise Settled(not_yet(f"expected a list of row numbers, even for a single row; got {what(result)}."))
    values = [number(value, name="each of the rows") for value in result]
    if any(value != int(value) for value in values):
        raise Settled(not_yet("numbers between 0 and 1 came: the leads themselves. argsort() gives the rows instead."))
    return tuple(map(int, values))
