"""Checks of lesson 01b, what the network sees: a filter's answer, how much data a start is worth, a kernel."""

from collections.abc import Mapping

import torch

from helpers.lessons.checks.verdict import (
    RIGHT,
    Settled,
    Verdict,
    choose,
    exercise,
    not_yet,
    number,
    outcome,
    right,
    what,
)
from helpers.lessons.filters import KERNELS, convolve

BUSBARS = {
    "level line": right(
        "it waits for a dark level line, and the busbars are three of them. A filter has no idea of damage: it answers "
        "to a pattern, whoever made it."
    ),
    "upright line": not_yet("that one waits for upright lines, and the busbars run from left to right; look again."),
    "edge": not_yet("this one answers where dark turns into bright from left to right. Along a busbar nothing turns."),
    "slanted line /": not_yet("on a busbar its nine products add up to zero: what it waits for is a slanted line."),
    "slanted line \\": not_yet("on a busbar its nine products add up to zero: what it waits for is a slanted line."),
}

BAR = torch.tensor([[200.0] * 3, [50.0] * 3, [200.0] * 3])  # a piece of a busbar


@exercise(1, todo="put a kernel's name into name_1, and the two sums into sum_1 and slanted_1")
def check_01b_1(name, its_sum, slanted_sum) -> Verdict:
    """Which kernel answers to the busbars, and the two sums that say why."""
    verdict = choose(name, BUSBARS)
    if verdict.state != RIGHT:
        return verdict
    kernel, came = torch.tensor(KERNELS["level line"]), number(its_sum, name="sum_1")
    wanted = float((kernel * BAR).sum())
    slips = {
        -wanted: "the sign is reversed: the -2 lie on the dark row.",
        float((kernel * BAR)[1].sum()): "that is the row on the bar alone; the rows above and below count, too.",
        float((kernel.abs() * BAR).sum()): "the numbers on the bar are negative, so their products are subtracted.",
        wanted / 3: "that is one column; the kernel has three.",
    }
    if came != wanted:
        other = "multiply each row's sum by its grey value, 200, 50 and 200, and add up."
        return not_yet(f"the name is right, but sum_1 is {came:g}: {slips.get(came, other)}")
    if number(slanted_sum, name="slanted_1") != 0:
        return not_yet(f"slanted_1 is {slanted_sum:g}: what do the numbers in each row of a slanted kernel add up to?")
    return verdict


@exercise(2, todo="fill auc_2 (photographs -> mean AUC of three seeds), then put a number of photographs into answer_2")
def check_01b_2(auc_of: Mapping[int, float], answer, random_auc) -> Verdict:
    """The fewest photographs with which the pretrained body does as well as a random one with all of them."""
    if not isinstance(auc_of, Mapping) or len(auc_of) < 3:
        return not_yet(f"{what(auc_of)} came; auc_2 is a dict with at least three numbers of photographs as keys.")
    values = {int(number(n, name="a key of auc_2")): number(auc, name="a value of auc_2") for n, auc in auc_of.items()}
    if not all(0 <= auc <= 1 for auc in values.values()):
        return not_yet("an AUC lies between 0 and 1; give auc_of the probabilities of defective and the truth.")
    enough = [n for n, auc in sorted(values.items()) if auc >= number(random_auc, name="the AUC to reach")]
    if not enough:
        return not_yet("none of your numbers reaches the random body with all photographs; try larger ones, too.")
    chosen = number(answer, name="answer_2")
    if chosen != enough[0]:
        return not_yet(f"your own auc_2 does not say {chosen:g}: take the smallest number whose AUC is high enough.")
    return right(
        "labels are the expensive part of most projects, and this is what a borrowed body saves of them. How much it "
        "saves depends on how far your pictures are from the ones it was trained on."
    )


@exercise(3, todo="write kernel_3: three rows of three numbers")
def check_01b_3(kernel) -> Verdict:
    """A kernel that answers to a dark line from the upper left to the lower right, and to neither busbars nor light."""
    kernel = _kernel(kernel)
    flat = torch.full((9, 9), 200.0)
    line = flat - 150 * torch.eye(9)
    if abs(_strongest(kernel, flat)) > 1e-6:
        return not_yet("it answers to an evenly bright patch: the nine numbers must add up to zero.")
    answer = _strongest(kernel, line)
    if _strongest(kernel, line.flip(1)) > max(2 * answer, 0):
        return not_yet("it answers to the other slant: mirror it.")
    if _strongest(kernel, 400 - line) > max(answer, 0):  # the same line, bright on dark
        return not_yet(
            "it waits for a bright line: the numbers along the line must be negative, those beside it positive."
        )
    if answer <= 1e-6:
        return not_yet("it does not answer to the slanted line at all.")
    others = {
        "a level line, such as a busbar,": flat - 150 * (torch.arange(9) == 4).float()[:, None],
        "an upright line": flat - 150 * (torch.arange(9) == 4).float()[None, :],
        "the other slant": line.flip(1),
        "the border of a dark area": torch.where(torch.arange(9) < 4, 50.0, 200.0).expand(9, 9),
    }
    for name, picture in others.items():
        if _strongest(kernel, picture) > answer / 2:
            return not_yet(
                f"{name} gets more than half of what the slanted line gets: let every row and every column add up "
                "to zero."
            )
    return right(
        "rows and columns that add up to zero make it blind to busbars and brightness. A network finds such numbers by "
        "itself: each of its filters is nine weights that a gradient has moved."
    )


def _kernel(given) -> torch.Tensor:
    """The answer as float64 (3, 3)."""
    if callable(given):
        given = outcome(given)
    try:
        kernel = torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError):
        raise Settled(not_yet(f"expected three rows of three numbers, got {what(given)}.")) from None
    if tuple(kernel.shape) != (3, 3):
        raise Settled(not_yet(f"expected three rows of three numbers, got {what(given)}."))
    return kernel


def _strongest(kernel: torch.Tensor, picture: torch.Tensor) -> float:
    return float(convolve(picture, kernel).max())
