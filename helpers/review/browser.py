"""What the image browsers share: a `Review` bound to controls, pages of pictures, marks and larger views.

All decisions are in the review. Only the pictures of the current page are sent, so 25,000 pictures turn as
fast as 250. No control is ever disabled: one that was would drop the keyboard's focus.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import ipywidgets as widgets

from data_setup.base.html import Html, fill, shortened
from data_setup.base.text import counted, printable
from helpers.review import pages
from helpers.review.mark_file import KINDS, default_file
from helpers.review.rows import NO_LABEL, SORTS, Row
from helpers.review.session import Review
from helpers.review.widgets import SafeText, StaticWidget, button, choice, control, row

MAX_BUTTONS = 9  # classes with a button and a digit of their own; more get a list
NAME_LETTERS = 16  # of a file's name on its button
BORDERS = {True: "3px solid #0072B2", False: "3px solid transparent"}  # selected or not
TABLE_NAME = "labels_after_review_of_{}.csv"  # ... the data set, named as its file of marks
HELP = (
    "Keys: arrows select, with Shift several; digits give a new label; {keys}. "
    "A click with Ctrl or Shift selects several pictures."
)
STATUS = '<div style="line-height:1.4">{sentence}<br>Selected: {words}<br><b>{said} {problem}</b></div>'

View = Callable[[Review, Row], Html]  # a larger view of one picture


class Browser(StaticWidget):
    """The parts that all browsers share; `views` are more ways to look closer, by the name on their button."""

    def __init__(self, review: Review, *, what: str, sort: str, views: Mapping[str, View] = {}):
        self.review, self.what = review, what
        self.review.sort_by(sort)
        self.cursor, self.selected = 0, {0}  # places on the page; marks are about all that are selected
        self._view, self._said = "", ""
        self._views = {"Zoom": pages.zoomed, "Compare": self._compare, **views}
        self.filters = self._make_filters(sort)
        controls = self._make_controls()
        self._make_tiles()
        self.panel = SafeText(layout={"flex": "0 1 470px", "display": "none"}).add_class("course-panel")
        self.status = SafeText().add_class("course-status")
        page = widgets.HBox([self.grid, self.panel], layout={"flex_flow": "row wrap", "align_items": "flex-start"})
        keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", *self._on_key]
        how = {"help": HELP.format(keys=", ".join(self._key_words)), "on_message": self._on_message}
        super().__init__([row(*self.filters.values()), *controls, self.status, page], keys=keys, **how)
        self._refresh()

    @property
    def current(self) -> Row | None:
        """The row that was selected last; None when no picture passes the filter."""
        rows = self.review.page_rows()
        return rows[self.cursor] if rows else None

    def show_only(self, names: Iterable[str] | None) -> None:
        """Show only these pictures (None: all), as far as the filters let them pass."""
        self.review.show(names=None if names is None else frozenset(names))
        self._select(0)

    def _make_filters(self, sort: str) -> dict[str, widgets.Widget]:
        """The controls that this review's rows can use, by the name of the field of `Filter` they set."""
        rows, change = self.review.view, self._on_filter
        sorts = {key: words for key, (words, of, _) in SORTS.items() if not of or any(of(r) is not None for r in rows)}
        classes = [("all", None), *((name, name) for name in self.review.classes)]
        parts = sorted({r.part for r in rows if r.part})
        kinds = zip(("new label", "label is correct", "unsure", "to be removed", "only a note"), KINDS, strict=True)
        sure = {"value": (0, 1), "min": 0, "max": 1, "step": 0.01, "readout_format": ".2f", "continuous_update": False}
        made = {
            "sort": choice("Sort by", [(words, key) for key, words in sorts.items()], change, value=sort),
            "reverse": control(widgets.Checkbox, "Reverse", change, indent=False),
            "label": choice("Label", [*classes, ("no label", NO_LABEL)], change, width="220px"),
            "predicted": choice("Predicted", classes, change, width="240px"),
            "correct": choice("Answers", [("correct and wrong", None), ("wrong", False), ("correct", True)], change),
            "sure": control(widgets.FloatRangeSlider, "Probability", change, width="330px", **sure),
            "part": choice("Part", [("all", None), *((part, part) for part in parts)], change),
            "mark": choice("Marks", [("all", None), ("any mark", "any"), ("no mark", "none"), *kinds], change),
            "text": control(widgets.Text, "Name or note contains", change, width="300px", continuous_update=False),
        }
        has_predictions = any(r.top for r in rows)
        useful = {"label": any(r.label is not None for r in rows), "part": len(parts) > 1}
        useful |= dict.fromkeys(("predicted", "correct", "sure"), has_predictions)
        return {name: made[name] for name in made if useful.get(name, True)}

    def _make_controls(self) -> list[widgets.HBox]:
        """Three lines of buttons: turning pages, marking, looking closer."""
        review, mark = self.review, self._mark
        actions = {  # name: (words on the button, its key, what it does, hint)
            "previous": ("◀ Previous page", "PageUp", lambda: self._turn(review.page - 1), ""),
            "next": ("Next page ▶", "PageDown", lambda: self._turn(review.page + 1), ""),
            "undo": ("Undo", "u", partial(self._take_back, "Undone", review.undo), "undo the last marks made here"),
            "redo": ("Redo", "y", partial(self._take_back, "Redone", review.redo), "make the undone marks again"),
            "export": ("Export labels", "", self._export, "write the labels of all pictures, seen or not, as a table"),
            "right": ("Label is correct", "r", partial(mark, review.mark, "right"), ""),
            "unsure": ("Unsure", "s", partial(mark, review.mark, "unsure"), "the right label is not clear"),
            "remove": ("Remove", "x", partial(mark, review.mark, "remove"), "leave them out; no file is deleted"),
            "clear": ("Clear mark", "0", partial(mark, review.clear), "clear the marks of the selected pictures"),
            "page": ("This page is correct", "p", self._page_is_right, "mark what has no mark on this page as correct"),
            "all": ("Select page", "a", lambda: self._select(self.cursor, {*range(len(review.page_rows()))}), ""),
        }
        self.buttons = {name: button(words, call, hint=hint) for name, (words, _, call, hint) in actions.items()}
        self._on_key = {key: call for _, key, call, _ in actions.values() if key}
        keys = {key: words.strip("◀▶ ").lower() for words, key, _, _ in actions.values() if key}
        self._key_words = [f"{key.upper() if len(key) == 1 else key} {words}" for key, words in keys.items()]
        self.label_buttons, self.label_list = (), ()
        if len(review.classes) <= MAX_BUTTONS:
            for n, label in enumerate(review.classes, start=1):
                relabel = self._on_key[str(n)] = partial(mark, review.relabel, label)
                self.label_buttons += (button(f"{n} {shortened(label, 24)}", relabel, hint=f"new label: {label}"),)
        else:
            options = [("choose a class", None), *((name, name) for name in review.classes)]
            self.label_list = (choice("New label", options, self._relabel_from_list, width="300px"),)
        box = {"value": 1, "min": 1, "max": 1, "width": "110px"}
        self.page_box = control(widgets.BoundedIntText, "Page", lambda: self._turn(self.page_box.value - 1), **box)
        self.page_count = SafeText()
        self.note = control(widgets.Text, "Note", self._write_note, width="260px", continuous_update=False)
        self.advance = control(widgets.Checkbox, "Advance after a mark", lambda: None, value=True, indent=False)
        looks = {name: partial(self._look, name) for name in self._views}
        hint = "{}: the selected picture"
        self.view_buttons = {name: button(name, look, hint=hint.format(name.lower())) for name, look in looks.items()}
        self.close_view = button("Close", partial(self._look, ""), hint="close this view")
        b, marks = self.buttons, [self.buttons[name] for name in ("right", "unsure", "remove", "clear")]
        what, look = SafeText(fill("Mark the selected pictures:&nbsp;")), SafeText(fill("Look closer:&nbsp;"))
        return [
            row(b["previous"], self.page_box, self.page_count, b["next"], b["undo"], b["redo"], b["export"]),
            row(what, *self.label_buttons, *self.label_list, *marks, self.note, self.advance),
            row(b["all"], b["page"], look, *self.view_buttons.values(), self.close_view),
        ]

    def _make_tiles(self) -> None:
        places = range(self.review.page_size)
        self.pictures = tuple(SafeText() for _ in places)
        self.names = tuple(button("-", partial(self._select, place), width="100%") for place in places)
        look = {"width": f"{pages.TILE_PX + 16}px", "padding": "4px", "border": BORDERS[False]}
        pairs = zip(self.pictures, self.names, strict=True)
        self.tiles = tuple(widgets.VBox(pair, layout=look).add_class("course-tile") for pair in pairs)
        look = {"flex_flow": "row wrap", "flex": "1 1 380px", "align_items": "stretch"}
        self.grid = widgets.HBox(layout=look).add_class("course-page")

    def _on_filter(self) -> None:
        values = {name: control.value for name, control in self.filters.items()}
        self.review.sort_by(values.pop("sort"), reverse=values.pop("reverse"))
        self.review.show(**values)
        self._said = ""
        self._select(0)

    def _turn(self, page: int) -> None:
        if page != self.review.page:
            self.review.go_to(page)
            self._select(0)

    def _select(self, place: int, selected: set[int] | None = None) -> None:
        """Put the cursor on a place of the page; selects only it, or all of `selected`."""
        self.cursor, self.selected = place, selected or {place}
        self._refresh()

    def _go_to(self, position: int) -> None:
        """Select the picture at this position of the whole order, turning the page where that is needed."""
        if 0 <= position < len(self.review.order):
            self.review.go_to(position // self.review.page_size)
            self._select(position % self.review.page_size)

    def _look(self, view: str) -> None:
        self._view = view
        self._refresh_panel()

    def _on_message(self, message: dict) -> None:
        """A key, a click on a picture, or steps of the arrows, which lead on to the next page; see keys.js."""
        if "key" in message:
            return self._on_key.get(message["key"], lambda: None)()
        place = message["tile"] if "tile" in message else self.cursor + message["step"]
        if message["how"] == "only":
            return self._go_to(self.review.page * self.review.page_size + place)
        place = max(0, min(place, len(self.review.page_rows()) - 1))
        passed = set(range(min(self.cursor, place), max(self.cursor, place) + 1))
        return self._select(place, self.selected ^ {place} if message["how"] == "toggle" else self.selected | passed)

    def _selected_names(self) -> list[str]:
        rows = self.review.page_rows()
        return list(dict.fromkeys(rows[place].name for place in sorted(self.selected) if place < len(rows)))

    def _mark(self, change: Callable, *new: str) -> None:
        """Change the marks of the selected pictures; then the next picture is selected."""
        if names := self._selected_names():
            change(names, *new)
            self._say(f"{self._in_words(names)}.")
            if self.advance.value:
                self._go_to(self.review.page * self.review.page_size + max(self.selected) + 1)

    def _relabel_from_list(self) -> None:
        (classes,) = self.label_list
        if classes.value is not None:
            self._mark(self.review.relabel, classes.value)
            classes.value = None

    def _page_is_right(self) -> None:
        n = self.review.mark_rest([r.name for r in self.review.page_rows()])
        self._say(f"{counted(n, 'picture')} marked as correct.")
        if self.advance.value:
            self._turn(min(self.review.page + 1, self.review.pages - 1))

    def _write_note(self) -> None:
        """Of the selected pictures; nothing when the text shown is the note they have."""
        if self.current and self.note.value != self._note_of(self.current.name):
            self.review.note(self._selected_names(), self.note.value)
            self._say(f"{self._in_words(self._selected_names())}.")

    def _note_of(self, name: str) -> str:
        return mark.note if (mark := self.review.mark_of(name)) else ""

    def _take_back(self, word: str, undo: Callable) -> None:
        """Undo or redo, and select the picture it was about."""
        names, left = undo()
        said = f"{word}: {self._in_words(names, 'now ')}." if names else ""
        if left:
            said += f" {counted(len(left), 'mark')} left as it is: changed by somebody else since ({left[0]})."
        positions = [i for i, n in enumerate(self.review.order) if self.review.view[n].name in names]
        self._say(said if positions or not names else f"{said} The filter hides it.")
        if positions:
            self._go_to(positions[0])

    def _in_words(self, names: Iterable[str], now: str = "") -> str:
        first, *others = names
        more = f" and {counted(len(others), 'other picture')}" if others else ""
        return f"{first}{more}: {now}{pages.mark_in_words(self.review, first) or 'no mark'}"

    def _export(self) -> None:
        table = Path(TABLE_NAME.format(default_file(self.review.row_of.values()).stem)).absolute()
        try:
            with warnings.catch_warnings(record=True, action="always") as refused:
                self.review.export(table)
            self._say(" ".join([f"Written: {table}.", *(f"{warning.message}." for warning in refused)]))
        except (OSError, ValueError) as error:
            self._say(f"Not written: {error}")

    def _say(self, said: str) -> None:
        self._said = said
        self._refresh()

    def _refresh(self) -> None:
        """Bring the page in step with the review. What has not changed is not sent again."""
        rows, review = self.review.page_rows(), self.review
        self.cursor = max(0, min(self.cursor, len(rows) - 1))
        self._refresh_status()  # reads the marks that others have made since
        for place, shown in enumerate(rows):
            sign = "▶ " if place == self.cursor else "● " if place in self.selected else ""
            self.pictures[place].value = pages.tile(review, shown)
            self.names[place].description = sign + shortened(Path(shown.name).name, NAME_LETTERS - len(sign))
            self.names[place].tooltip = f"select {printable(shown.name)}"
            self.tiles[place].layout.border = BORDERS[place in self.selected]
        if len(self.grid.children) != len(rows):
            self.grid.children = self.tiles[: len(rows)]
        with self.page_box.hold_trait_notifications():  # a new maximum alone would turn the page
            self.page_box.max, self.page_box.value = review.pages, review.page + 1
        self.page_count.value = fill("of {pages}&nbsp;", pages=f"{review.pages:,}")
        self.note.value = self._note_of(self.current.name) if self.current else ""
        self.keyboard.selected = self.cursor
        self._refresh_panel()

    def _refresh_status(self) -> None:
        words = "none"
        if current := self.current:
            words = pages.in_words(current, pages.mark_in_words(self.review, current.name))
            words = f"{len(self.selected)} pictures, last {words}" if len(self.selected) > 1 else words
        said = {"sentence": self._sentence(), "words": words, "said": self._said, "problem": self.review.file.problem}
        self.status.value = fill(STATUS, **said)

    def _sentence(self) -> str:
        review = self.review
        shown = f", {len(review.order):,} shown" if len(review.order) < len(review.view) else ""
        place = f"by {review.sorted_by}; page {review.page + 1:,} of {review.pages:,}"
        return f"{counted(len(review.view), self.what)}{shown}, {place}. {review.report()}"

    def _refresh_panel(self) -> None:
        """The larger view follows the selection."""
        current, page = self.current if self._view else None, ""
        self.panel.layout.display = None if current else "none"
        if current:
            try:
                page = self._views[self._view](self.review, current)
            except (ValueError, KeyError, RuntimeError) as error:
                page = fill("<em>{problem}</em>", problem=error)
        self.panel.value = fill("<b>{view}</b>{page}", view=self._view, page=page) if current else fill("")

    def _compare(self, review: Review, shown: Row) -> Html:
        """All selected pictures, or the only one with the next of the page (the other half of a pair)."""
        rows, places = self.review.page_rows(), sorted(self.selected)
        if len(places) == 1:
            places = [self.cursor, (self.cursor + 1) % len(rows)]
        return pages.tiles(self.review, [rows[place] for place in places], pages.COMPARE_PX)

    def face(self) -> tuple[str, Html]:
        text = f"{type(self).__name__}: {self._sentence()}"
        return text, pages.gallery(self.review, text)
