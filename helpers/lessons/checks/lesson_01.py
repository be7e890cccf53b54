"""Checks of lesson 01, exploration: a way to a square, two seeds, the least sure pictures."""

from collections.abc import Sequence

import torch

from helpers.data.items import Item
from helpers.data.splits import split_stratified
from helpers.lessons.checks.verdict import Settled, Verdict, choose, exercise, not_yet, number, outcome, right, what

SQUARES = {
    "pad": right("every flaw and every angle is kept; the price is a small picture with much mirrored edge."),
    "crop": not_yet("in validation the middle square is taken, so four fifths of the seam are never looked at."),
    "squish": not_yet("five to one: every angle changes, and the dangerous ones look harmless."),
}


@exercise(1, todo="put 'crop', 'pad' or 'squish' into answer_1")
def check_01_1(answer) -> Verdict:
    """Which way to a square keeps every flaw and every angle."""
    return choose(answer, SQUARES)


@exercise(2, todo="write your prediction into guess_2, then compute shared_2")
def check_01_2(guess, shared, items: Sequence[Item]) -> Verdict:
    """How many validation pictures the splits of seed 0 and seed 1 share; `items` are all of them."""
    if isinstance(shared, set | frozenset | list | tuple):
        return not_yet(f"shared_2 is {what(shared)}: those may be the right pictures; len(...) counts them.")
    count, predicted = number(shared, name="shared_2"), number(guess, name="guess_2")
    zero, one = (split_stratified(items, seed=seed) for seed in (0, 1))
    n, wanted = len(zero.valid), len(set(zero.valid) & set(one.valid))
    slips = {
        n: "those are all that validate: both splits had the same seed.",
        len(set(zero.valid) | set(one.valid)): "that counts the pictures of either; & keeps those of both, | does not.",
        len(set(zero.train) & set(one.train)): "those are the training pictures that both share; take valid.",
        n - wanted: "those are the ones that they do not share.",
    }
    if count != wanted:
        other = "make both splits with split_stratified, seed 0 and 1, and count what the two `valid` have in common."
        return not_yet(f"shared_2 is {count:g}: {slips.get(count, other)}")
    if abs(predicted - n / 4) <= n / 16:
        return right("about a quarter, and your prediction is close.")
    return right(
        f"about a quarter, and {predicted:g} was predicted: each picture of one is drawn again by chance, 1 in 4."
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
    return right("the lead is called margin; interp.pick('most_uncertain') uses it, too.")


def _rows(result) -> tuple[int, ...]:
    """The answer as row numbers."""
    if isinstance(result, torch.Tensor):
        result = result.flatten().tolist()
    if not isinstance(result, list | tuple):
        raise Settled(not_yet(f"{what(result)} came; a list of row numbers is wanted, even for a single row."))
    values = [number(value, name="each of the rows") for value in result]
    if any(value != int(value) for value in values):
        raise Settled(not_yet("numbers between 0 and 1 came: the leads themselves. argsort() gives the rows instead."))
    return tuple(map(int, values))
