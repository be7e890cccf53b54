"""Checks of lesson 07, analysis: what misses may cost, two kinds of cells, precision and recall."""

import math
from collections.abc import Sequence

import torch

from helpers.analysis.intervals import accuracy_text
from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.verdict import Settled, Verdict, exercise, not_yet, number, outcome, right, short, what
from helpers.lessons.decisions import DecisionCost


@exercise(1, todo="put how many broken cells she may miss at one half into answer_1")
def check_07_1(answer, price: DecisionCost) -> Verdict:
    """How many misses the threshold of one half may have and still cost no more than looking at everything."""
    missed, looks = int(price.misses[price.half]), int(price.looks[price.half])
    saved = (price.n - looks) * price.cost_of_look
    exact = saved / price.cost_of_miss
    wanted = math.floor(exact + 1e-9)
    came = number(answer, name="answer_1")
    if abs(came - wanted) < 1e-9:
        return right(
            f"the ≈ {price.n - looks} looks she saves are worth ≈ {saved:g}, and a miss costs {price.cost_of_miss:g}. "
            f"The model misses ≈ {missed}."
        )
    slips = {
        exact: "she misses whole cells, and one more than that would be too expensive; round down.",
        wanted + 1: f"a little too many: with {wanted + 1} she pays more than for looking at everything.",
        missed: "that is how many the model does miss; how many could she afford?",
        price.n - looks: "that is how many looks she saves; how many misses do they pay for?",
        saved: "that is what the saved looks are worth; how many misses is it?",
        float(price.cost[price.half]): "that is the cost of 100 photographs; how many cells may she miss?",
        math.floor(price.n * price.cost_of_look / price.cost_of_miss): "the looks that she does take at one half "
        "cost something, too; only the others are saved.",
    }
    said = next((text for value, text in slips.items() if abs(came - value) < 0.006), None)
    other = f"what are the looks worth that she saves at one half? Each miss takes {price.cost_of_miss:g} of it."
    return not_yet(f"{short(came)} came: {said or other}")


@exercise(2, todo="write 'mono', 'poly' or 'same' into guess_2, then compute the accuracies mono_2 and poly_2")
def check_07_2(guess, mono, poly, preds: Predictions) -> Verdict:
    """The accuracy on monocrystalline and on polycrystalline cells."""
    rows = {kind: [row for row, i in enumerate(preds.items) if f"{kind}_" in i.name] for kind in ("mono", "poly")}
    wanted = {kind: preds.subset(chosen).accuracy() for kind, chosen in rows.items()}
    got = {"mono": _share(mono, "mono_2"), "poly": _share(poly, "poly_2")}
    if wanted["mono"] != wanted["poly"] and all(
        _near(got[a], wanted[b]) for a, b in (("mono", "poly"), ("poly", "mono"))
    ):
        return not_yet("the two have changed places.")
    for kind, value in got.items():
        right_ones = int(preds.subset(rows[kind]).correct.sum())
        slips = {
            100 * wanted[kind]: "that is in percent; between 0 and 1 it would be right.",
            right_ones / len(preds.items): "divided by all cells; divide by those of this kind.",
            right_ones: "that is how many are right; divide by how many there are.",
            1 - wanted[kind]: "that is the share of wrong answers.",
            len(rows[kind]) / len(preds.items): "that is how many of all cells are of this kind.",
            preds.accuracy(): "that is the accuracy on all cells.",
        }
        if not _near(value, wanted[kind]):
            said = [text for number_, text in slips.items() if _near(value, number_)]
            other = "take the rows whose name has the kind in it, then preds.subset(rows).accuracy()."
            return not_yet(f"{kind}_2 is {short(value)}: {said[0] if said else other}")
    if not isinstance(guess, str) or guess.strip().lower() not in ("mono", "poly", "same"):
        return not_yet(f"guess_2 is {what(guess)}; which is harder, 'mono', 'poly' or 'same'?")
    found = "; ".join(f"{kind} {accuracy_text(preds.subset(chosen))}" for kind, chosen in rows.items())
    return right(f"{found}. You said {guess.strip().lower()!r}: only intervals that lie apart would show a difference.")


def _share(value, name: str) -> float:
    if isinstance(value, Predictions):
        raise Settled(not_yet(f"{name} is a whole record; ask it for its .accuracy()."))
    if callable(value):
        raise Settled(not_yet(f"{name} is {what(value)}: call it, with its brackets."))
    return number(value, name=name)


def _near(one: float, other: float) -> bool:
    return abs(one - other) < 1e-4


MATRIX = [[30, 10, 20], [2, 40, 3], [8, 50, 90]]  # of class 0: 30 of 40 called so, 30 of 60 found


@exercise(3, todo="write precision_and_recall(matrix, k): the share that is, and the share that is found")
def check_07_3(function) -> Verdict:
    """(precision, recall) of a class from a matrix with rows for the truth."""
    got = _pair(outcome(function, torch.tensor(MATRIX), 0))
    slips = {
        (0.5, 0.75): "the two have changed places: precision looks down a column, recall along a row.",
        (0.75, 0.75): "twice the same: recall divides by the row, all that *are* class 0.",
        (0.5, 0.5): "twice the same: precision divides by the column, all that are *called* class 0.",
        (40.0, 60.0): "those are the two sums; the diagonal is to be divided by them.",
        (0.0, 0.0): "rounded down to 0: divide with / and not with //.",
    }
    if not all(map(_near, got, (0.75, 0.5))):
        said = next((text for slip, text in slips.items() if all(map(_near, got, slip))), None)
        other = "of 40 called 0 are 30 correct, and of 60 that are 0 are 30 found."
        return not_yet(f"for class 0 ({short(got[0])}, {short(got[1])}) came: {said or other}")
    if not all(map(_near, _pair(outcome(function, torch.tensor(MATRIX), 2)), (90 / 113, 90 / 148))):
        return not_yet("right for class 0, but not for class 2: use k wherever a 0 stands.")
    return right(
        "for any class and any number of them. F1 is the harmonic mean of the two: it prices a miss like a false "
        "alarm, and she does not."
    )


def _pair(result) -> tuple[float, float]:
    if isinstance(result, torch.Tensor) and result.numel() > 1:
        result = result.flatten().tolist()
    if not isinstance(result, Sequence) or isinstance(result, str) or len(result) != 2:
        raise Settled(not_yet(f"expected two numbers, got {what(result)}: return precision, recall."))
    return number(result[0], name="precision"), number(result[1], name="recall")
