"""Checks of lesson 05, resizing: large enough for a crack, a step down, half a picture by averaging."""

import torch
from torch.nn import functional as F

from helpers.analysis.predictions import Predictions
from helpers.lessons.checks.verdict import Verdict, exercise, not_yet, number, outcome, right, short, what

SIDES = {
    192.0: "at 192 px a crack of 3 is 1.92 wide, just short of two.",
    224.0: "that is enough, with room to spare; the smallest side that is enough is asked for.",
    300.0: "that is the photograph itself, where the crack keeps all of its 3 pixels.",
    450.0: "upside down: at 450 the photograph would be larger, and the crack 4.5 wide.",
    100.0: "at 100 px a crack of 3 is 1 wide.",
    128.0: "at 128 px a crack of 3 is 1.28 wide.",
    2.0: "that is the crack; how wide is the whole photograph then?",
    2 / 3: "that is the share that may be left; of how many pixels?",
}


@exercise(1, todo="put the smallest side, in pixels, into answer_1")
def check_05_1(answer) -> Verdict:
    """The side at which 3 pixels of 300 become 2."""
    side = number(answer, name="answer_1")
    if abs(side - 200) < 0.5:
        return right("for a defect of w pixels it is 600 / w. Halve the defect, and the work is four times as much.")
    said = [text for value, text in SIDES.items() if abs(side - value) < 1e-2]
    return not_yet(said[0] if said else f"at {short(side)} px the crack is {side * 3 / 300:.3g} wide; 2 is wanted.")


@exercise(2, todo="write the accuracy you expect, in percent, into guess_2, then measure and put the record into at_96")
def check_05_2(guess, at_96, trained: Predictions, size: int) -> Verdict:
    """What three fifths of the side do to a network `trained` at the larger one; its data have `size` px now."""
    if not isinstance(at_96, Predictions):
        return not_yet(f"at_96 is {what(at_96)}; the whole record is wanted, as learn.get_preds() gives it.")
    if [item.name for item in at_96.items] != [item.name for item in trained.items]:
        return not_yet("at_96 is about other photographs; ask for the validation part, as section 3 does.")
    if bool(torch.equal(at_96.log_probs, trained.log_probs)):
        return not_yet("at_96 is the record of the larger size; give the network the smaller data first.")
    if size != 96:
        return not_yet(f"the network looks at {size} px now; 96 are asked for.")
    predicted = number(guess, name="guess_2")
    if 0 < predicted < 1:
        return not_yet(f"guess_2 is {predicted:g}; in percent that would be {100 * predicted:g}.")
    measured, before = 100 * at_96.accuracy(), 100 * trained.accuracy()
    return right(
        f"≈ {measured:.1f} % after ≈ {before:.1f} %, and {predicted:g} was predicted. Only a measurement says how far "
        "from its size a network still works; write that size down beside it."
    )


@exercise(3, todo="write halve(picture): each new pixel the mean of a square of four")
def check_05_3(halve) -> Verdict:
    """(H, W) to (H/2, W/2) by averaging."""
    picture = (torch.arange(24) * 7 % 24).float().reshape(4, 6)  # not square, and no two pixels alike
    wanted = F.avg_pool2d(picture[None], 2)[0]  # (2, 3)
    got = outcome(halve, picture.clone())
    if not isinstance(got, torch.Tensor):
        return not_yet(f"expected a picture, that is a tensor, got {what(got)}.")
    if got.shape != wanted.shape:
        turned = " (width and height changed places)" if tuple(got.shape) == (3, 2) else ""
        return not_yet(f"a picture of shape (4, 6) became {tuple(got.shape)}{turned}; (2, 3) is wanted.")
    slips = {
        "that is the sum of the four; divide by 4.": 4 * wanted,
        "only every second pixel is kept; three of four are never looked at.": picture[0::2, 0::2],
        "the mean of two pixels one below the other; the other two of the square are missing.": (
            (picture[0::2, 0::2] + picture[1::2, 0::2]) / 2
        ),
        "the mean of two pixels side by side; the other two of the square are missing.": (
            (picture[0::2, 0::2] + picture[0::2, 1::2]) / 2
        ),
        "the mean of the two on the diagonal; the other two of the square are missing.": (
            (picture[0::2, 0::2] + picture[1::2, 1::2]) / 2
        ),
        "the largest of the four; their mean is wanted.": F.max_pool2d(picture[None], 2)[0],
        "the halves of the picture were laid on each other; neighbours belong together: [0::2, 0::2] and so on.": (
            (picture[:2, :3] + picture[:2, 3:] + picture[2:, :3] + picture[2:, 3:]) / 4
        ),
    }
    if torch.allclose(got.float(), wanted):
        return right(
            "averaging keeps what is fine as a shade. Halving twice this way is an average of sixteen, as in section 1."
        )
    said = [text for text, slip in slips.items() if torch.allclose(got.float(), slip)]
    return not_yet(said[0] if said else "the size is right, but the top left pixel must be the mean of the four there.")
