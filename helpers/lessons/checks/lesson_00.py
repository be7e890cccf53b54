"""Checks of lesson 00, set-up: a count in a folder, a pattern, a price."""

from pathlib import Path

from data_setup.items import label_by_regex
from helpers.lessons.checks.verdict import Settled, Verdict, exercise, not_yet, number, outcome, right, unfinished, what
from helpers.lessons.scoreboard import PRICES

FIRST_PATTERN = r"([^/]+)_\d+\.png$"


@exercise(1, todo="put an expression into answer_1 that counts the defective polycrystalline cells in valid")
def check_00_1(answer, path: Path) -> Verdict:
    """How many defective polycrystalline cells lie in `valid`; `path` is the data set's folder."""
    if isinstance(answer, list | set | tuple):
        return not_yet(f"a collection of {len(answer)} came: it may hold the right ones; len(...) counts them.")
    if hasattr(answer, "__next__"):
        return not_yet("a generator came: glob() hands out one path after the other. Make a list of it and count.")
    count = number(answer)

    def files(part: str, label: str, kind: str = "") -> int:
        return len(list((path / part / label).glob(f"{kind}*.png")))

    wanted = files("valid", "defective", "poly_")
    if count == wanted:
        return right(
            "folder and name each hold a part of the answer; labels.csv holds a third, how sure the expert was."
        )
    slips = {
        files("valid", "defective"): "those are mono and poly together; the kind stands in the file's name.",
        files("valid", "defective", "mono_"): "those are the monocrystalline ones; the other names begin with poly_.",
        files("train", "defective", "poly_"): "those lie in train; the held-out part is valid.",
        files("train", "defective", "poly_") + wanted: "those are train and valid together; only valid is held out.",
        files("valid", "functional", "poly_"): "those are the functional ones; look into the folder defective.",
        files("valid", "functional", "poly_") + wanted: "those are both classes; look into the folder defective only.",
        0: "nothing matched. Print one name of the folder and compare it with your pattern, letter by letter.",
    }
    other = "the part must be valid, the class defective, and the name must begin with poly_."
    return not_yet(f"{count:g} came: {slips.get(count, other)}")


@exercise(2, todo="change kind_pattern so that group 1 is mono or poly; it still is the pattern of section 7")
def check_00_2(pattern, path: Path) -> Verdict:
    """A pattern whose group 1 is the kind of crystal, for every name below `path`."""
    if pattern == FIRST_PATTERN:
        return unfinished("")
    if not isinstance(pattern, str):
        return not_yet(f'{what(pattern)} came, and a pattern is a text with an r before it: r"...".')
    try:
        kinds = sorted({item.label for item in label_by_regex(path, pattern)})
    except ValueError as error:
        return not_yet(f"{str(error)[:120]} ... Read the pattern aloud beside one of the names.")
    if kinds == ["mono", "poly"] and "|" in pattern:
        return right("one of the two words, and every one of the names has it; a third kind would be an error.")
    if kinds == ["mono", "poly"]:
        return right("group 1 is mono or poly in every one of the names.")
    if {kind.rstrip("_") for kind in kinds} == {"mono", "poly"}:
        return not_yet("group 1 holds the underscore, too; let the bracket end before it.")
    if {kind.split("_")[0] for kind in kinds} == {"mono", "poly"}:
        return not_yet(f"group 1 is {kinds[0]!r} and the like: it runs over the first underscore. Allow letters only.")
    return not_yet(f"group 1 is {kinds[0]!r} and the like; wanted is what stands before the first underscore.")


@exercise(
    3,
    todo="write cost(missed, looked, miss, look), and the probability at which looking and leaving cost the same",
    in_steps=True,
)
def check_00_3(cost, break_even) -> Verdict:
    """The price of misses and looks, and from which probability on a look is worth its price (100 and 2)."""
    settle_cost(cost)
    if break_even is None or break_even is ...:
        return unfinished("cost is right; now break_even, the probability at which looking and leaving cost the same.")
    p, wanted = number(break_even, name="break_even"), PRICES.look / PRICES.miss
    if abs(p - wanted) < 1e-9:
        return right(
            "a cell that is whole with a probability of 97 % is still worth a look. So the order alone is not "
            "enough in the end: somebody has to trust the probabilities, and lesson 07 measures whether one can."
        )
    slips = {
        0.5: "that is where broken becomes the likelier answer; the prices have not been used.",
        50: "the fraction is upside down: a probability lies between 0 and 1.",
        2: "a probability lies between 0 and 1; 2 of how many?",
        0.98: "that is the probability of being sound at which both cost the same.",
    }
    other = "left alone, a photograph costs 100 p on average; a look costs 2."
    return not_yet(f"cost is right, but break_even is {p:.4g}: {slips.get(p, other)}")


def settle_cost(cost) -> None:
    """Settles the verdict when the learner's `cost` does not add up."""
    total = number(outcome(cost, 3, 10, 100, 2), name="cost(3, 10, 100, 2)")
    slips = {
        3 * 2 + 10 * 100: "the prices are swapped: a miss costs 100, a look 2.",
        (3 + 10) * (100 + 2): "misses and looks have a price each; multiply before you add.",
        100 + 2: "the prices are added, but not counted.",
        3 * 100: "those are the misses; looks cost something, too.",
        10 * 2: "those are the looks; misses cost something, too.",
    }
    if total != 3 * 100 + 10 * 2:
        other = "three misses at 100 each and ten looks at 2 each are 320."
        raise Settled(not_yet(f"cost(3, 10, 100, 2) is {total:g}: {slips.get(total, other)}"))
    if outcome(cost, 1, 1, 7, 5) != 7 + 5:
        text = "cost(1, 1, 7, 5) must be 12: use the names miss and look in place of 100 and 2; prices differ."
        raise Settled(not_yet(text))
