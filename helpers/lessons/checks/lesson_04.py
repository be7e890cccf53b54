"""Checks of lesson 04, fine-tuning: epochs of growing cycles, a paired test, a schedule with a restart."""

import math

from helpers.analysis.intervals import mcnemar
from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.verdict import Verdict, exercise, not_yet, number, outcome, right, short
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
        return right("at two minutes an epoch that is an hour and twenty; the lab would have said so before.")
    other = "write down the lengths of the four cycles, each three times the one before, and add them up."
    return not_yet(f"{short(epochs)} came: {EPOCHS.get(epochs, other)}")


@exercise(2, todo="put the p value of the paired test between the two runs into answer_2")
def check_04_2(answer, first: Predictions, second: Predictions) -> Verdict:
    """The p value of McNemar's test between two runs."""
    test = mcnemar(first, second)
    if answer == test:
        return not_yet("that is the whole record of the test; which of its fields is the p value?")
    value = number(answer, name="answer_2")
    if not 0 <= value <= 1:
        return not_yet(f"{short(value)} came, and a p value lies between 0 and 1.")
    if math.isclose(value, test.p_value, abs_tol=1e-3):
        if test.p_value < 0.05:
            return right("below 0.05, on one seed out of three: run the other two before you believe it.")
        return right("above 0.05, which does not make them equal: a test of 536 photographs misses small differences.")
    if math.isclose(value, abs(test.first_accuracy - test.second_accuracy), abs_tol=1e-4):
        return not_yet("that is the difference of the accuracies; how likely is one like it by luck alone?")
    return not_yet(f"{short(value)} came; the paired test of these two runs gives another p value. Are they the two?")


@exercise(3, todo="write restarting(progress): two cycles of the same length, each a cosine from 1 to 0")
def check_04_3(restarting) -> Verdict:
    """A multiplier that falls from 1 to 0 twice."""
    wanted, at = schedules.sgdr(2), [0.0, 0.1, 0.25, 0.5, 0.6, 0.9]
    got = [number(outcome(restarting, progress), name=f"restarting({progress})") for progress in at]
    if _same(got, map(wanted, at)):
        return right("with a third cycle it would be 3 * progress % 1: the number of cycles is a number.")
    place, came = next((p, value) for p, value in zip(at, got, strict=True) if not _close(value, wanted(p)))
    said = f"restarting({place}) is {short(came)}; expected {short(wanted(place))}: "
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
