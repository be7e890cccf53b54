"""Things on the left, an entry to choose for each on the right: what the quizzes and the clinic ask by matching."""

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from data_setup.base.html import Html, fill, join
from helpers.review.widgets import SafeText, button
from helpers.runtime.seeds import seed_for

CHOOSE = "choose ..."


def mixed(entries: Sequence[str], *key: object) -> list[str]:
    """The entries without repeats in an order that follows from `key` alone, and is not the given one where it can be
    another."""
    different = list(dict.fromkeys(entries))
    order = sorted(different, key=lambda entry: seed_for("mixed", *key, entry))
    return order[1:] + order[:1] if order == different and len(order) > 1 else order


class Pairing(widgets.VBox):
    """Rows of a text and a list to choose from. `on_check(wrong)` gets the left sides that are not right yet.

    `pairs` are (left, right); several rows may have the same right side, and `distractors` belong to no row.
    """

    def __init__(
        self,
        name: str,
        pairs: Sequence[tuple[str, str]],
        on_check: Callable[[list[str]], None],
        *,
        on_change: Callable[[], None] = lambda: None,
        distractors: Sequence[str] = (),
        options: Sequence[str] = (),
        as_code: bool = False,
    ):
        self.pairs, self._on_check = tuple(pairs), on_check
        entries = list(options) or mixed([*(right for _, right in pairs), *distractors], name)
        self.choices = []
        rows = []
        for number, (left, _) in enumerate(pairs, start=1):
            choice = widgets.Dropdown(
                options=[(CHOOSE, None), *((entry, entry) for entry in entries)],
                value=None,
                description=f"{name}, {number}",
                style={"description_width": "0px"},
                layout={"width": "320px"},
            )
            choice.observe(lambda _: self._changed(on_change), "value")
            self.choices.append(choice)
            shown = fill(CODE, text=left) if as_code else fill(TEXT, text=left)
            rows.append(widgets.HBox([SafeText(fill("{shown}", shown=shown), layout={"width": "440px"}), choice]))
        self.check = button(f"Check {name}", self._check)
        self.said = SafeText()
        self.said.add_class("course-status")
        super().__init__([*rows, self.check, self.said], layout={"align_items": "flex-start"})

    def _changed(self, on_change: Callable[[], None]) -> None:
        self.said.value = fill("")
        on_change()

    def _check(self) -> None:
        missing = sum(choice.value is None for choice in self.choices)
        if missing:
            self.said.value = fill("{missing} of {n} are still open.", missing=missing, n=len(self.choices))
            return
        self._on_check(
            [left for (left, right), choice in zip(self.pairs, self.choices, strict=True) if choice.value != right]
        )


TEXT = '<div style="line-height:1.5">{text}</div>'
CODE = '<div style="line-height:1.5"><tt>{text}</tt></div>'


def not_all(wrong: Sequence[str], n: int) -> Html:
    """What is said while some are wrong: how many fit, and which one to look at again first."""
    return fill("<b>Not yet.</b> {right} of {n} fit. Look again at: {first}", right=n - len(wrong), n=n, first=wrong[0])


def listed_pairs(pairs: Sequence[tuple[str, str]], *, as_code: bool = False) -> Html:
    """The solution as lines "left: right"."""
    if as_code:
        return join(fill("<div><tt>{left}</tt>: {right}</div>", left=left, right=right) for left, right in pairs)
    return join(fill("<div>{left}: {right}</div>", left=left, right=right) for left, right in pairs)
