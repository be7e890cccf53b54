"""Checks of lesson 03, augmentation: sets of changes, a set for another camera, a zoom as a matrix."""

from dataclasses import replace

import torch

from helpers.data.augment import Augment, matrices, side_on, top_down
from helpers.lessons.checks.verdict import Settled, Verdict, exercise, not_yet, outcome, right, unfinished, what
from helpers.lessons.figures import identity
from helpers.lessons.upright import basic

SETS = {"side_on": side_on, "top_down": top_down, "basic": basic}
WRONG_SETS = {
    ("numbers", "side_on"): "a 2 in the mirror is not a 2 any more; nothing may be mirrored",
    ("numbers", "top_down"): "a 6 turned by half is a 9, and the label says 6",
    ("hands", "side_on"): "a left hand in the mirror is a right hand, and the label says left",
    ("hands", "top_down"): "its eight positions include the mirror, and a mirrored left hand is a right one",
    ("leaves", "side_on"): "nothing false, but a leaf on a table has no up: six of its eight positions are wasted",
    ("leaves", "basic"): "nothing false, but a leaf turned or mirrored is the same leaf: use it",
    ("dogs", "top_down"): "dogs that stand on the ceiling will never be asked about",
    ("dogs", "basic"): "nothing false, but a dog in the mirror is a dog, and that doubles your pictures",
}


@exercise(1, todo="fill in side_on, top_down or basic for each of numbers, hands, leaves and dogs")
def check_03_1(answer) -> Verdict:
    """Which set of changes leaves the labels of which collection true."""
    if not isinstance(answer, dict):
        return not_yet(f"{what(answer)} came; expected a dictionary: {{'numbers': ..., 'hands': ..., ...}}.")
    collections = dict.fromkeys(name for name, _ in WRONG_SETS)
    missing = [name for name in collections if answer.get(name) is None]
    if missing:
        return unfinished(f"{', '.join(missing)} still to be filled in with side_on, top_down or basic.")
    chosen = {name: _name_of(answer[name]) for name in collections}
    wrong = [WRONG_SETS[pair] for pair in chosen.items() if pair in WRONG_SETS]
    if wrong:
        return not_yet(f"{len(chosen) - len(wrong)} of {len(chosen)} fit; {'; '.join(wrong)}.")
    return right("and faces? Mirrored portraits keep their label, unless the label is the side of a parting.")


def _name_of(value) -> str:
    """'basic' for `basic`, `basic()` or 'basic'."""
    for name, ready_made in SETS.items():
        if value is ready_made or value == name or value == ready_made():
            return name
    raise Settled(not_yet(f"{what(value)} came; choose from side_on, top_down, basic."))


BELT = {
    "max_rotate_deg": (5, "the belt shakes by up to 5 degrees"),
    "max_lighting": (0.4, "the lamp ages: lighting 0.4"),
    "max_warp": (0, "the camera does not move, so nothing is tilted"),
    "max_zoom": (1, "a zoom of more than 1 cuts off the rim, where defects count as well"),
    "min_scale": (1, "a crop cuts off the rim, where defects count as well"),
}


@exercise(2, todo="make belt, a set for the factory's camera, with one of the ready-made sets and its keywords")
def check_03_2(belt) -> Verdict:
    """A set whose every number comes from a sentence about the camera."""
    if belt in (side_on, top_down, basic):
        return not_yet(f"{what(belt)} came; call it, with its brackets and the numbers of this camera.")
    if not isinstance(belt, Augment):
        return not_yet(f"{what(belt)} came; expected a set of changes, made by side_on(...), for example.")
    if belt.dihedral:
        return not_yet("all eight positions are allowed here, and no cell ever comes upside down on this belt.")
    if not belt.flip:
        return not_yet("left and right may be swapped on this belt, and this set never mirrors.")
    wrong = [
        f"{name} is {getattr(belt, name):g}, but {why}"
        for name, (wanted, why) in BELT.items()
        if abs(getattr(belt, name) - wanted) > 1e-6
    ]
    if wrong:
        return not_yet(f"{'; '.join(wrong)}.")
    return right("write the sentence beside each number: when the camera changes, you will know which one to change.")


@exercise(3, todo="write zoom(factor, x, y): the 3 x 3 matrix that looks factor times closer around (x, y)")
def check_03_3(zoom) -> Verdict:
    """The matrix of a zoom, the same as the helper's."""
    got, wanted = _matrix(outcome(zoom, 2.0, 0.5, 0.0)), _zoomed(2.0, 0.5, 0.0)
    if not torch.allclose(got, wanted):
        return not_yet(f"zoom(2, 0.5, 0) is {got.tolist()}: {_slip(got)}")
    if not torch.allclose(_matrix(outcome(zoom, 4.0, 0.0, 0.25)), _zoomed(4.0, 0.0, 0.25)):
        return not_yet("right for zoom(2, 0.5, 0), but not for zoom(4, 0, 0.25): y belongs in the second row.")
    if not torch.allclose(_matrix(outcome(zoom, 1.0, 0.0, 0.0)), torch.eye(3)):
        return not_yet("zoom(1, 0, 0) must change nothing: 1 on the diagonal and 0 elsewhere.")
    return right("the helper makes the same matrix. Multiply it by a rotation, and one look-up does both.")


def _slip(got: torch.Tensor) -> str:
    """What is typically behind a wrong zoom(2, 0.5, 0)."""
    if torch.allclose(got.diagonal()[:2], torch.tensor([2.0, 2.0])):
        return "it sees things half as large. It looks *from* the new picture *into* the old: a piece half as wide."
    if got[2, 0] == 0.5 and got[0, 2] == 0:
        return "the shift is in the last row; it belongs in the last column."
    if got[0, 2] in (0.25, 1.0):
        return "the shift is scaled, too; x is in units of half the old picture, so it is written there as it is."
    if got[0, 2] == -0.5:
        return "it looks to the left: the matrix says where to look, so a shift to the right is added."
    if not torch.equal(got[2], torch.tensor([0.0, 0.0, 1.0])):
        return "the last row of such a matrix is always 0, 0, 1."
    return "1 / factor belongs on the diagonal twice, x and y in the last column of the first two rows."


def _matrix(result) -> torch.Tensor:
    if isinstance(result, list | tuple):
        raise Settled(not_yet("a list came: wrap it in torch.tensor(...)."))
    if not isinstance(result, torch.Tensor) or tuple(result.shape) != (3, 3):
        raise Settled(not_yet(f"{what(result)} came; expected a tensor of shape (3, 3)."))
    return result.float()


def _zoomed(factor: float, x: float, y: float) -> torch.Tensor:
    """The helper's matrix; it takes a shift as a share of the room that the smaller piece has."""
    room = 1 - 1 / factor
    draws = replace(
        identity(1),
        scale=torch.tensor([1 / factor]),
        shift_x=torch.tensor([x / room]),
        shift_y=torch.tensor([y / room]),
    )
    return matrices(draws)[0]
