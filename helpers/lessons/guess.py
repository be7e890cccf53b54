"""The number beside the guess: a guess is worth most when the measured number then stands next to it."""

import re

import ipywidgets as widgets

from data_setup.base.html import Html, fill
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget

THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")


def read_number(text: str) -> float | None:
    """The number a person typed: "12", "12 %", "0,5", "1,700", "about 1e-3"; None where there is none."""
    text = THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    found = NUMBER.search(text.replace(",", "."))
    return float(found[0]) if found else None


class Guess(StaticWidget):
    """A question that is answered with a number, before the cell that measures it.

        guess = Guess("In how many of 100 photographs will the answer change?", unit="of 100")
        guess                       # its own cell: a field to type into
        guess.beside(measured)      # after the measurement: both numbers on one line

    `.value` is the number, None while the field is empty; in a plain script write `guess.value = 12`.
    """

    def __init__(self, question: str, *, unit: str = ""):
        self.question, self.unit = question, unit
        self.field = widgets.Text(description="Your guess", style=FULL_NAME, layout={"width": "220px"})
        self.field.observe(lambda _: self._say(), "value")
        self.said = SafeText()
        self.said.add_class("course-status")
        unit_shown = SafeText(fill("<span>{unit}</span>", unit=unit))
        asked = SafeText(fill("<p><b>Guess first.</b> {question}</p>", question=question))
        super().__init__([asked, widgets.HBox([self.field, unit_shown]), self.said])

    @property
    def value(self) -> float | None:
        """The guessed number, None while there is none."""
        return read_number(self.field.value)

    @value.setter
    def value(self, number: float) -> None:
        self.field.value = f"{number:g}"

    def _say(self) -> None:
        """What was understood, so that "0,5" is not a surprise later."""
        typed = self.field.value.strip()
        unread = fill("{typed} is not a number; type one such as 12 or 0.5.", typed=typed) if typed else fill("")
        self.said.value = unread if self.value is None else fill("Taken down: {value}.", value=f"{self.value:g}")

    def beside(self, measured: float, *, digits: int = 3) -> None:
        """Print the measured number, to `digits` significant ones, beside the guess and how far apart they are."""
        found = f"measured ≈ {_significant(measured, digits)}{self._unit}"
        if self.value is None:
            print(f"{found} (no guess)")
        else:
            print(f"you said {self.value:g}{self._unit}; {found}: {_apart(self.value, measured)}")

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""

    def face(self) -> tuple[str, Html]:
        text = f"Guess first: {self.question}"
        return text, fill("<p><b>Guess first.</b> {question}</p>", question=self.question)


def _significant(value: float, digits: int) -> str:
    """Three significant digits without an exponent where one can read it: 83.7, 0.0762, 656."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def _apart(guess: float, measured: float) -> str:
    """In words: the distance as a factor where both are above zero and far apart, else as a difference."""
    if guess > 0 and measured > 0 and not 1 / 3 < guess / measured < 3:
        factor = max(guess, measured) / min(guess, measured)
        return f"{factor:.0f} times too {'high' if guess > measured else 'low'}"
    difference = guess - measured
    if abs(difference) <= 0.05 * abs(measured):
        return "spot on"
    return f"{_significant(abs(difference), 2)} too {'high' if difference > 0 else 'low'}"
