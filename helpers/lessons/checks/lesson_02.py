"""Checks of lesson 02, the learning-rate finder: a suggestion, a scatter, rates evenly spaced in log."""

import functools
import math

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

same = functools.partial(math.isclose, rel_tol=1e-5)  # rates in 32 bits are no closer

SUGGESTIONS = {
    "valley": right("half way through the longest series of ever lower points, seldom too high."),
    "minimum": right("a tenth of the bottom's rate usually lies on the slope; it moves when the bottom is flat."),
    "slide": right("possible, and bold: a long step, still clear of the wall. Go down at the first sign of trouble."),
    "steep": not_yet(
        "the largest drop between two neighbours is often noise on the flat part. What do the others say?"
    ),
}

REASONS = {
    "b": "no mark is where the loss is lowest: there it has stopped falling, and minimum is a tenth of that rate.",
    "c": "that is the rule of steep, and the largest drop between two neighbours is often noise. Why yours?",
    "d": "the smallest is safe from the wall, but a rate that is far too small gets nowhere.",
}


@exercise(1, todo="put 'minimum', 'steep', 'valley' or 'slide' into answer_1, and the letter of the reason into why_1")
def check_02_1(answer, why) -> Verdict:
    """Which suggestion to take, and for which reason."""
    verdict = choose(answer, SUGGESTIONS)
    if verdict.state != RIGHT:
        return verdict
    reasons = {letter: not_yet(f"the choice is fine, the reason is not: {said}") for letter, said in REASONS.items()}
    return choose(why, {"a": verdict} | reasons)


@exercise(2, todo="write your prediction into guess_2, then run the finder with batches of 128 and compute factor_2")
def check_02_2(guess, factor) -> Verdict:
    """By which factor the scatter changes from batches of 32 to 128."""
    measured, predicted = number(factor, name="factor_2"), number(guess, name="guess_2")
    if 0.9 < measured < 1.1:
        return not_yet(
            f"factor_2 is {measured:.2f}: do both curves have the same batch size? Or is it the same curve twice?"
        )
    if 1.25 < measured < 4:
        return not_yet(f"factor_2 is {measured:.2f}: upside down. The calm curve's scatter is divided by the other's.")
    if not 0.25 < measured < 0.8:
        return not_yet(f"factor_2 is {measured:.2f}: take the first 30 of `.losses` of both curves, and their .std().")
    return right(f"measured: the scatter shrinks to about a half. {_prediction(predicted)}")


def _prediction(factor: float) -> str:
    if abs(factor - 0.5) < 0.1:
        return "Your prediction is the rule's: 1 / √4, one half."
    if factor > 1:
        return f"Your {factor:g} says that it grows, and it shrinks: the rule says 1 / √4, one half."
    if abs(factor - 0.25) < 0.05:
        return "Your 0.25 would be 1 / 4: the mean of four times as many scatters by 1 / √4, one half."
    return f"Your prediction was {factor:g}; the rule says 1 / √4, one half."


@exercise(3, todo="predict guess_3, then write spread(start, end, n): n rates, each the same factor above the last")
def check_02_3(guess, spread) -> Verdict:
    """How many doublings from 1e-7 to 10, and n rates from start to end, evenly spaced in log."""
    predicted = number(guess, name="guess_3")
    if not 26 <= predicted <= 29:
        slips = {8: "those are factors of ten", 9: "those are powers of ten", 100: "those are steps of 20 %"}
        said = slips.get(predicted, "ten doublings are about a factor of a thousand")
        return not_yet(f"guess_3 is {predicted:g}: {said}; how many doublings make a factor of 100,000,000?")
    rates = _rates(outcome(spread, 1e-4, 1.0, 5))
    if len(rates) != 5:
        return not_yet(f"spread(0.0001, 1.0, 5) must give five rates, and {len(rates)} came; count from 0 to n - 1.")
    if not same(rates[0], 1e-4):
        return not_yet(f"the first rate must be start, 0.0001, and it is {rates[0]:.6g}: at i = 0 the factor is 1.")
    if not same(rates[-1], 1.0):
        return not_yet(
            f"the last rate must be end, 1, and it is {rates[-1]:.6g}: n rates have n - 1 steps between them."
        )
    if same(rates[2], (1 + 1e-4) / 2):
        return not_yet("those are evenly spaced, but not in log: the middle of 0.0001 and 1 is 0.01 here.")
    if not all(same(later / rate, 10) for rate, later in zip(rates, rates[1:], strict=False)):
        return not_yet(f"start and end fit, but the steps between differ: {', '.join(f'{r:.6g}' for r in rates)}.")
    return _on_others(spread)


def _on_others(spread) -> Verdict:
    """Right for the first numbers; for others, too?"""
    rates = _rates(outcome(spread, 1e-7, 10.0, 100))
    if len(rates) != 100 or not same(rates[0], 1e-7) or not same(rates[-1], 10.0):
        return not_yet("right for spread(0.0001, 1.0, 5), but not for (1e-7, 10.0, 100): use start, end and n.")
    return right(
        "28 rates are 27 steps of nearly a factor of 2. The same formula spreads rates over layers in lesson 04."
    )


def _rates(result) -> list[float]:
    """The answer as a list of numbers above zero."""
    if hasattr(result, "tolist"):
        result = result.tolist()
    if not isinstance(result, list | tuple) or not result:
        raise Settled(not_yet(f"expected a list of rates, got {what(result)}."))
    rates = [number(rate, name="each rate") for rate in result]
    if min(rates) <= 0:
        raise Settled(not_yet(f"a rate of {min(rates):.4g} came: multiply start by a factor, do not subtract from it."))
    return rates
