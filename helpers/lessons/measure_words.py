"""The five measures of the board in words and units, alike in tables and figures."""

from dataclasses import dataclass, replace

from data_setup.base.text import shorten
from helpers.analysis.intervals import Interval
from helpers.lessons.chosen import SOLAR_POSITIVE
from helpers.lessons.scoreboard import PRICES, Measures

COST_MEANING = f"of 100 photographs: {PRICES.miss:g} a miss, {PRICES.look:g} a second look"


@dataclass(frozen=True)
class MeasureWords:
    """One measure: its names, and the unit it is shown in."""

    short: str  # in a table
    title: str  # above a panel, on two lines
    unit: str  # behind the number
    meaning: str
    scale: float  # from the record's number to the shown one
    digits: int
    lower_is_better: bool = False

    def number(self, value: float) -> str:
        """The value as it is shown, without its unit."""
        return f"{self.scale * value:z.{self.digits}f}"

    def text(self, value: Interval) -> str:
        """ "≈ 72 of 100 (≈ 65-78)": measured numbers stand behind ≈."""
        return f"≈ {self.number(value.estimate)}{self.unit} (≈ {self.number(value.low)}-{self.number(value.high)})"

    def step_text(self, change: Interval) -> str:
        """ "≈ +4 (≈ -1 to ≈ +9)": how much more."""
        now, low, high = map(self.signed, (change.estimate, change.low, change.high))
        return f"≈ {now} (≈ {low} to ≈ {high})"

    def signed(self, value: float) -> str:
        """ "+4"; what would round to nothing keeps more digits: a reader asks on which side of zero it lies."""
        shown = [f"{self.scale * value:+z.{digits}f}" for digits in range(self.digits, self.digits + 4)]
        return next((text for text in shown if float(text)), shown[0])


MEASURES = {
    "found": MeasureWords(
        "found", "found,\nof 100", " of 100", "of the broken ones, among the 30 % most suspicious", 100, 0
    ),
    "skip": MeasureWords(
        "may skip", "may\nskip, %", " %", "of all, with at most 5 % of the broken ones missed", 100, 0
    ),
    "auc": MeasureWords("AUC", "AUC\n", "", "how often a broken one ranks above a sound one", 1, 3),
    "accuracy": MeasureWords("accuracy", "accuracy,\n%", " %", "of the answers are correct", 100, 1),
    "cost": MeasureWords("cost", "cost, less\nis better", "", COST_MEANING, 1, 0, lower_is_better=True),
}


def words_for(positive: str | None) -> dict[str, MeasureWords]:
    """The measures in words that fit the class looked for; None: each class against the rest, and their mean."""
    if positive == SOLAR_POSITIVE:
        return MEASURES
    if positive is None:
        meanings = {
            "found": "of a class, among the 30 % likeliest; mean of all",
            "skip": "of all, with 5 % of a class missed; mean of all",
            "auc": "a class against the rest; mean of all classes",
            "cost": f"for 100: {PRICES.miss:g} a miss, {PRICES.look:g} a look; mean of all",
        }
    else:
        name = shorten(positive, 16)
        meanings = {
            "found": f"of {name}, among the 30 % most likely",
            "skip": f"of all, with at most 5 % of {name} missed",
            "auc": f"how often {name} ranks above another",
        }
    return {name: replace(words, meaning=meanings.get(name, words.meaning)) for name, words in MEASURES.items()}


def table(record: Measures, step: Measures | None = None, positive: str | None = SOLAR_POSITIVE) -> str:
    """One line for each measure there is: its name, what it means, the value with its interval, and the step."""
    lines = []
    for name, words in words_for(positive).items():
        value = getattr(record, name)
        if value is not None:
            change = f", step {words.step_text(getattr(step, name))}" if step else ""
            lines.append(f"  {words.short:8}  {words.meaning:50}  {words.text(value)}{change}")
    return "\n".join(lines)
