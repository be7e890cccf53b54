"""Checks of lesson 08, deeper models: memory of larger pictures, steps in an epoch, slopes of unequal parts."""

import math

import torch

from helpers.lessons.checks.verdict import Settled, Verdict, exercise, not_yet, number, outcome, right, what

FIT = {
    32: "as many as before, and each of them has four times the pixels to keep.",
    16: "that would be right if only one side were doubled; width and height both are.",
    64: "larger pictures need more memory each, so fewer fit.",
    128: "larger pictures need more memory each, so fewer fit.",
    4: "that is how many times as many pixels there are; 32 is to be divided by it.",
    2: "a sixteenth: but only width and height are doubled, which makes four times the numbers, not sixteen.",
}


@exercise(1, todo="put the number of pictures of 256 px that can pass at a time into answer_1")
def check_08_1(answer) -> Verdict:
    """How many pictures of twice the side fit where 32 did."""
    pictures = number(answer, name="answer_1")
    if pictures == 8:
        return right("a quarter of the batch for twice the side; in four parts it is still a batch of 32.")
    other = "how many times as many pixels has a picture of 256 x 256 as one of 128 x 128?"
    return not_yet(f"{pictures:g} came: {FIT.get(pictures, other)}")


@exercise(2, todo="write your prediction into guess_2, then train one epoch and put its number of steps into steps_2")
def check_08_2(guess, steps, n_train: int, batch_size: int = 48) -> Verdict:
    """Steps of an epoch: `n_train` pictures in batches of `batch_size`, none left out."""
    if isinstance(steps, list | tuple):
        raise Settled(not_yet(f"steps_2 is {what(steps)}: len(...) counts what is in it."))
    count, predicted, wanted = number(steps, name="steps_2"), number(guess, name="guess_2"), -(-n_train // batch_size)
    slips = {
        n_train: "that is the number of pictures; a step takes a whole batch.",
        batch_size: "that is the size of a batch, not how many there are.",
        -(-n_train // 32): "that is an epoch with batches of 32: the trial needs data.resized(128, batch_size=48).",
        5 * wanted: "those are the steps of five epochs; train only one.",
    }
    if count != wanted:
        other = "train a new head for one epoch with batches of 48 and count the losses of its history."
        return not_yet(f"steps_2 is {count:g}: {slips.get(count, other)}")
    if predicted == wanted:
        return right("you predicted it. No picture is left out, so it is the number of pictures by 48, rounded up.")
    return right(f"{wanted} steps, and {predicted:g} was predicted: the pictures by 48, rounded up, none left out.")


@exercise(3, todo="write whole_slope(slopes, counts): the mean slope over all pictures")
def check_08_3(whole_slope) -> Verdict:
    """The mean over all pictures from the means of unequal parts."""
    got = number(outcome(whole_slope, [1.0, 5.0], [3, 1]), name="whole_slope([1.0, 5.0], [3, 1])")
    slips = {
        3.0: "that is the mean of the two means; but three pictures stand behind the first and one behind the second.",
        8.0: "that is the sum over all pictures; divide by how many they are.",
        6.0: "that is the sum of the means; the counts have no say in it.",
        4.0: "divided by the number of parts; divide by the number of pictures.",
        5.0: "that is the last part alone.",
    }
    if not math.isclose(got, 2.0):
        other = "three pictures with a mean of 1 and one with 5 add up to 8; among four pictures that is 2."
        return not_yet(f"for mean slopes 1 and 5 of parts of 3 and 1 pictures {got:g} came: {slips.get(got, other)}")
    if not math.isclose(number(outcome(whole_slope, [1.0, 2.0, 6.0], [4, 4, 2])), 2.4):
        return not_yet("right for two parts, but not for three: it must work for any number of them.")
    slopes = outcome(whole_slope, [torch.tensor([1.0, 0.0]), torch.tensor([5.0, 4.0])], [3, 1])
    if not isinstance(slopes, torch.Tensor) or not torch.allclose(slopes, torch.tensor([2.0, 1.0])):
        return not_yet("right for numbers, but a real slope is a tensor: use + * / only, and no float(...).")
    return right("the same slip makes the mean loss of an epoch wrong whenever its last batch is a small one.")
