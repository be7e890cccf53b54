"""Checks of lesson 09, your own data: the laziest answer, other labels for the same pictures, what belongs together."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_setup.items import Item
from helpers.data.dataset import ImageData
from helpers.lessons.checks.verdict import Settled, Verdict, exercise, not_yet, number, outcome, right, short, what


@exercise(1, todo="put the share of the most frequent class among the validation pictures into answer_1")
def check_09_1(answer, data: ImageData) -> Verdict:
    """What always giving the largest class of the validation pictures is right on."""
    share = number(answer, name="answer_1")
    counts = {part: Counter(item.label for item in data.items_of(part)) for part in ("train", "valid")}
    largest = {part: max(count.values()) for part, count in counts.items()}
    shares = {part: largest[part] / counts[part].total() for part in counts}
    slips = {
        shares["train"]: "that is the share among the training pictures; the held-out ones are in the part valid.",
        100 * shares["valid"]: "that is in percent; between 0 and 1 it would be right.",
        largest["valid"]: "that is how many they are; divide by the number of all held-out pictures.",
        1 / len(data.classes): "that would be so if all classes were equally large; count them.",
        largest["valid"] / len(data.items): "divided by all pictures; only the held-out ones count here.",
        min(counts["valid"].values()) / counts["valid"].total(): "that is the rarest class.",
    }
    if math.isclose(share, shares["valid"], abs_tol=5e-3):
        return right(
            "say it beside every accuracy. Balanced accuracy, the mean over the classes, has it built in: 1 / K."
        )
    said = [text for value, text in slips.items() if math.isclose(share, value, abs_tol=5e-3)]
    other = "count the labels of data.items_of('valid') and divide the largest count by their number."
    return not_yet(f"{short(share)} came: {said[0] if said else other}")


@exercise(2, todo="make two_2 with relabel(items, {name: 'sound' or 'broken', ...})")
def check_09_2(two, items: Sequence[Item]) -> Verdict:
    """The same items with the labels sound and broken."""
    if isinstance(two, dict):
        return not_yet("a dictionary came: it is the second argument of relabel(items, ...), which gives new items.")
    if not isinstance(two, Sequence) or not all(isinstance(item, Item) for item in two):
        return not_yet(f"expected new items, as relabel(items, ...) gives them; got {what(two)}.")
    if [item.name for item in two] != [item.name for item in items]:
        return not_yet(f"expected the same {len(items)} items in the same order, got {len(two)}.")
    labels = {item.label for item in two}
    if labels == {item.label for item in items}:
        return not_yet("the labels are the old ones; relabel gives new items and leaves the old as they are.")
    if labels == {"mono", "poly"}:
        return not_yet("those are the kinds; the state is what comes after the underscore.")
    if labels != {"sound", "broken"}:
        return not_yet(
            f"the labels are {', '.join(sorted(map(str, labels))[:4])}; only 'sound' and 'broken' are wanted."
        )
    wrong = [new.name for new, old in zip(two, items, strict=True) if new.label != old.label.partition("_")[2]]
    if wrong:
        return not_yet(f"{len(wrong)} items have the other state now, e.g. {wrong[0]}: take it from item.label.")
    return right("and no file was touched. Its laziest answer is right more often, too.")


PARTS = {  # names of pictures: what they show
    "good/part07_3.png": "part07",
    "bad/part07_12.png": "part07",
    "good/part08_3.png": "part08",
    "good/left_wheel_12.png": "left_wheel",
    "good/left_door_1.png": "left_door",
    "bad/left_wheel_3.png": "left_wheel",
}


@exercise(3, todo="write group_of(item): the part that a picture shows, from its file's name")
def check_09_3(group_of) -> Verdict:
    """Everything before the last underscore of the file's own name."""
    items = [Item(name, Path(name), name.split("/")[0]) for name in PARTS]
    groups = {item.name: _told(outcome(group_of, item)) for item in items}
    seven, bad_seven, eight, wheel, door, bad_wheel = groups.values()
    if groups == PARTS:
        return right(
            "all pictures of a part stay on one side. With few parts, hold out each of them once: that is called "
            "leave-one-group-out."
        )
    came = f"for good/part07_3.png {seven!r} came"
    if seven == "3":
        return not_yet(f"{came}: that is the number of the photograph; give what comes before the underscore.")
    if seven != bad_seven and seven.endswith("part07") and bad_seven.endswith("part07"):
        return not_yet(f"{came} and for bad/part07_12.png {bad_seven!r}: the folder must not count, it is one part.")
    if seven in ("good", "bad"):
        return not_yet(f"{came}: that is the folder; item.path.stem is the file's own name without its ending.")
    if seven != bad_seven:
        return not_yet(f"{came} and for bad/part07_12.png {bad_seven!r}; both show part07.")
    if seven == eight:
        return not_yet(f"{came}, and for good/part08_3.png the same; they are different parts.")
    if wheel == door:
        return not_yet(f"for left_wheel_12 and left_door_1 {wheel!r} came; cut at the last underscore, not the first.")
    if wheel != bad_wheel or wheel in (seven, eight):
        return not_yet(f"for left_wheel_12 {wheel!r} came, for left_wheel_3 {bad_wheel!r}: they are one part.")
    return right("other words than the names before the last underscore, and still one for each part.")


def _told(group) -> str:
    if not isinstance(group, str | int | tuple):
        raise Settled(not_yet(f"expected the name of the part, a text; got {what(group)}."))
    return str(group)
