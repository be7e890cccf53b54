"""Checks of lesson 04, fine-tuning: epochs of growing cycles, a later peak, a schedule with a restart."""

import math

from helpers.lessons.checks.verdict import Verdict, exercise, not_yet, number, outcome, right, short, unfinished, what
from helpers.training import schedules

CYCLES = {"cycles": 4, "cycle_len": 1, "cycle_mult": 3}
EPOCHS = {
    12: "that is 4 x 1 x 3; the cycles are not equally long.",
    4: "that would be four cycles of one epoch; with cycle_mult=3 they grow.",
    27: "that is the last cycle alone; the three before it count, too.",
    13: "those are the first three cycles; there are four.",
    64: "4 to the power of 3; the lengths are 1, then times 3 each time, and they are added up.",
    81: "3 to the power of 4; the lengths are added up, not multiplied.",
    10: "1 + 2 + 3 + 4: each cycle is three times as long as the one before.",
    22: "1 + 4 + 7 + 10: times 3 each time, not plus 3.",
    15: "that is cycle_mult=2: 1 + 2 + 4 + 8.",
}


@exercise(1, todo="put the number of epochs of learn.fit(lr, 4, cycle_len=1, cycle_mult=3) into answer_1")
def check_04_1(answer) -> Verdict:
    """Epochs of four cycles that triple."""
    if isinstance(answer, list | tuple) and list(answer) == schedules.cycle_epochs(**CYCLES):
        return not_yet("those are the right lengths; add them up.")
    epochs = number(answer, name="answer_1")
    if epochs == sum(schedules.cycle_epochs(**CYCLES)):
        return right("and the last cycle alone is longer than all the others together.")
    other = "write down the lengths of the four cycles, each three times the one before, and add them up."
    return not_yet(f"{short(epochs)} came: {EPOCHS.get(epochs, other)}")


@exercise(2, todo="make late with schedules.one_cycle(...), highest in the middle")
def check_04_2(late) -> Verdict:
    """One cycle whose rate is highest at one half."""
    if isinstance(late, int | float | dict):
        return not_yet(f"{what(late)} came, and a schedule is wanted: call schedules.one_cycle(...).")
    if late is schedules.one_cycle:
        return not_yet("the function that makes schedules came: call it, with its brackets.")
    usual, at = schedules.one_cycle(), [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    values = [number(outcome(late, progress), name=f"late({progress})") for progress in at]
    if _same(values, map(usual, at)):
        return unfinished("")
    if _same(values, map(schedules.one_cycle(pct_start=0.5), at)):
        return right("and the end is as before: only the share of the rising part has changed.")
    if not math.isclose(values[3], 1.0, abs_tol=1e-6):
        return not_yet(f"in the middle its multiplier is {short(values[3])}, not 1: pct_start is the rising share.")
    if not math.isclose(values[-1], usual(1.0)):
        return not_yet("highest in the middle, but it ends elsewhere: leave div_final as it is.")
    return not_yet("highest in the middle, but it starts or rises otherwise than one_cycle: change only pct_start.")


@exercise(3, todo="write restarting(progress): two cycles of the same length, each a cosine from 1 to 0")
def check_04_3(restarting) -> Verdict:
    """A multiplier that falls from 1 to 0 twice."""
    wanted, at = schedules.sgdr(2), [0.0, 0.1, 0.25, 0.5, 0.6, 0.9]
    got = [number(outcome(restarting, progress), name=f"restarting({progress})") for progress in at]
    if _same(got, map(wanted, at)):
        return right("the same as the helper's schedule, at six points.")
    place, came = next((p, value) for p, value in zip(at, got, strict=True) if not _close(value, wanted(p)))
    said = f"restarting({place}) is {short(came)} and {short(wanted(place))} is wanted: "
    slips = {
        "one fall over the whole training; where does the second cycle begin?": schedules.cosine,
        "the first cycle is right, but progress goes on beyond 1 in the second: take the whole part away (% 1).": (
            lambda p: schedules.cosine(2 * p)
        ),
        "it falls in straight lines; use your cosine.": lambda p: 1 - 2 * p % 1,
        "it rises where it should fall.": lambda p: 1 - wanted(p),
        "twice as slow: within a cycle progress runs from 0 to 1 while that of the training runs half the way.": (
            lambda p: schedules.cosine(p % 0.5)
        ),
        "cosine must see the place within the cycle, from 0 to 1; the whole part is taken away before it is called.": (
            lambda p: 2 * schedules.cosine(p) % 1
        ),
        "that is the place within the cycle; what does cosine make of it?": lambda p: 2 * p % 1,
    }
    for words, slip in slips.items():
        if _same(got, map(slip, at)):
            return not_yet(said + words)
    return not_yet(said + "at 0 and again at 0.5 it is 1, half way through a cycle one half, at the end nearly 0.")


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, abs_tol=1e-6)


def _same(got, wanted) -> bool:
    return all(_close(a, b) for a, b in zip(got, wanted, strict=True))
