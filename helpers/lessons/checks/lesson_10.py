"""Checks of lesson 10, beyond one machine: steps of an epoch, an exchange, a rate that warms up."""

import math

from helpers.lessons.checks.verdict import Verdict, exercise, not_yet, number, outcome, right
from helpers.lessons.scaling import Cluster

STEPS = {
    47: "that is what one machine takes, with batches of 32; now a step takes eight such batches at once.",
    5: "five steps are 1,280 photographs, and no photograph is left out.",
    188: "that is how many photographs each machine sees; it takes 32 of them in a step.",
    256: "that is how many photographs a step takes; how many steps are 1,500 photographs?",
    8: "that is how many machines there are.",
    48: "that is what eight machines take, each counted by itself; they take a step at the same time.",
}


@exercise(1, todo="put the number of steps into answer_1")
def check_10_1(answer) -> Verdict:
    """Steps of an epoch of 1,500 photographs on eight machines with batches of 32 each."""
    steps = number(answer, name="answer_1")
    if steps == 6:
        return right("and the last of them is a smaller one, of 220 photographs.")
    if 5 < steps < 6:
        return not_yet(f"{steps:.4g} came: what does not fill a step still makes one.")
    other = "how many photographs do eight machines take in a step, and how often does that go into 1,500?"
    return not_yet(f"{steps:g} came: {STEPS.get(steps, other)}")


@exercise(2, todo="write your prediction into guess_2, and the ratio of the two exchanges into ratio_2")
def check_10_2(guess, ratio, cluster: Cluster) -> Verdict:
    """How many times as long 16 machines exchange as 8 do, in a ring."""
    found, predicted = number(ratio, name="ratio_2"), number(guess, name="guess_2")
    wanted = cluster.exchange(16) / cluster.exchange(8)
    slips = {
        1 / wanted: "that is 8 machines against 16; the question is the other one.",
        cluster.step(16) / cluster.step(8): "those are whole steps; the question is about the exchange in them.",
        cluster.epoch(1500, 16) / cluster.epoch(1500, 8): "those are epochs; the question is about one exchange.",
        cluster.exchange(16): "that is the exchange of 16 machines in seconds; divide it by that of 8.",
    }
    if not math.isclose(found, wanted, rel_tol=0.005):
        near = [said for value, said in slips.items() if math.isclose(found, value, rel_tol=0.005)]
        other = "divide the seconds of an exchange among 16 machines by those among 8, on the same cluster."
        return not_yet(f"ratio_2 is {found:.4g}: {near[0] if near else other}")
    size = "as you predicted" if abs(predicted - wanted) < 0.1 else f"and {predicted:g} was predicted"
    return right(f"≈ {wanted:.2f} times as long, {size}: in a ring nobody sends the gradients twice over, ever.")


@exercise(3, todo="write warm_up(step, steps, n): what the rate of one machine is multiplied with")
def check_10_3(warm_up) -> Verdict:
    """1 at the first step, n from step `steps` on, evenly in between."""
    places = (0, 5, 10, 30)
    got = [number(outcome(warm_up, step, 10, 8), name=f"warm_up({step}, 10, 8)") for step in places]
    if all(math.isclose(value, wanted, abs_tol=1e-9) for value, wanted in zip(got, (1, 4.5, 8, 8), strict=True)):
        if not math.isclose(number(outcome(warm_up, 1, 4, 3)), 1.5):
            return not_yet("right for 8 machines and 10 steps, but not for 3 machines and 4 steps.")
        return right("the rate of eight machines is reached in even steps, and kept.")
    first, middle, last, later = got
    shown = ", ".join(f"{value:.3g}" for value in got)
    why = "at step 0 it is 1, half way (1 + n) / 2, from the last step of the warm-up on n."
    if math.isclose(first, 0, abs_tol=1e-9):
        why = "it begins at 0, so the first step would be for nothing; begin at the rate of one machine, that is 1."
    elif later > last + 1e-9:
        why = "it goes on rising after the warm-up; from there on it is n."
    elif math.isclose(middle, math.sqrt(8)):
        why = "that multiplies from step to step; even steps add."
    elif math.isclose(first, 8):
        why = "that is n from the start, so nothing warms up."
    elif math.isclose(last, 9):
        why = "it ends at n + 1: between 1 and n lie n - 1."
    return not_yet(f"for 8 machines, 10 steps, at the steps 0, 5, 10 and 30 came {shown}: {why}")
