"""What the image browsers share: a `Review` bound to controls, pages of pictures, marks and a closer look.

All decisions are in the review. Only the pictures of the current page are sent, so 25,000 pictures turn as
fast as 250. No control is ever disabled: one that was would drop the keyboard's focus.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import ipywidgets as widgets

from helpers.data.items import Item
from helpers.review import pages as review_pages
from helpers.review.html import Html, fill, printable, shortened
from helpers.review.marks import Mark
from helpers.review.session import SORTS, Review, Row
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget, button, choice, row
from helpers.runtime.text import counted

MOST_BUTTONS = 9  # classes with a button and a digit of their own; more get a list
NAME_LETTERS = 16  # of a file's name on its button
SELECTED, NOT_SELECTED = "3px solid #0072B2", "3px solid transparent"
KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "0", "r", "s", "x", "u")


class Browser(StaticWidget):
    """The parts that all browsers share; `views` are the ways to look closer: name -> function of a row."""

    def __init__(
        self,
        rows: Iterable[Row],
        classes: Iterable[str],
        *,
        what: str,
        save_to: Path | str | None,
        page_size: int,
        sort: str,
        views: Mapping[str, Callable[[Row], Html]],
    ):
        self.review = Review(rows, classes, save_to=save_to, page_size=page_size)
        self.review.sort_by(sort)
        self.what, self.selected, self.pinned, self._said = what, 0, None, ""
        self._views = {"Zoom": self._zoom, "Compare": self._compare, **views}
        self._view = ""
        self.filters = self._make_filters(sort)
        self._make_controls()
        self._make_tiles(page_size)
        self.panel = SafeText(layout={"flex": "0 1 470px", "display": "none"})
        self.panel.add_class("course-panel")
        self.status = SafeText()
        self.status.add_class("course-status")
        page = widgets.HBox([self.grid, self.panel], layout={"flex_flow": "row wrap", "align_items": "flex-start"})
        n_digits = len(self.label_buttons)
        last = f" {'and' if n_digits == 2 else 'to'} {n_digits} relabel" if n_digits > 1 else " relabels"
        digit_help = f"1{last}, " if n_digits else ""
        digits = [str(n + 1) for n in range(n_digits)]
        super().__init__(
            [row(*self.filters.values()), self.turning, self.marking, self.looking, self.status, page],
            keys=(*KEYS, *digits),
            help=f"Keys: arrows select, Page Up and Page Down turn, {digit_help}"
            "R right, S unsure, X remove, 0 no mark, U undo.",
            on_message=self._on_message,
        )
        self._refresh()

    # --- what code can ask ------------------------------------------------------------------------------

    @property
    def marks(self) -> dict[str, Mark]:
        """All marks by picture name."""
        return self.review.marks

    def apply(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """New items with the marks carried out; no file is touched."""
        return self.review.apply(items)

    def export(self, path: Path | str) -> Path:
        """Write the labels as the marks leave them as a CSV table."""
        return self.review.export(path)

    # --- making the controls ----------------------------------------------------------------------------

    def _make_filters(self, sort: str) -> dict[str, widgets.Widget]:
        """The filters that this review's rows can use, by the name of the field of `Filter` they set."""
        rows, change = self.review.rows, self._on_filter
        has_predictions = any(r.top for r in rows)
        needs = {
            "loss": any(r.loss is not None for r in rows),
            "margin": has_predictions,
            "probability": has_predictions,
        }
        sorts = [(words, key) for key, (words, *_) in SORTS.items() if needs.get(key, True)]
        made = {"sort": choice("Sort by", sorts, change, value=sort)}
        made["reverse"] = widgets.Checkbox(description="the other way round", indent=False, layout={"width": "auto"})
        made["reverse"].observe(lambda _: change(), "value")
        any_class = [("all", None), *((name, name) for name in self.review.classes)]
        if any(r.label is not None for r in rows):
            made["label"] = choice("Label", any_class, change, width="220px")
        if has_predictions:
            made["predicted"] = choice("Predicted", any_class, change, width="240px")
            answers = [("right and wrong", None), ("wrong", False), ("right", True)]
            made["correct"] = choice("Answers", answers, change)
            made["sure"] = widgets.FloatRangeSlider(
                value=(0, 1), min=0, max=1, step=0.01, description="Probability", readout_format=".2f",
                continuous_update=False, style=FULL_NAME, layout={"width": "330px"},
            )  # fmt: skip
            made["sure"].observe(lambda _: change(), "value")
        parts = sorted({r.part for r in rows if r.part})
        if len(parts) > 1:
            made["part"] = choice("Part", [("all", None), *((part, part) for part in parts)], change)
        marked = [("marked and unmarked", None), ("marked", True), ("not marked", False)]
        made["marked"] = choice("Marks", marked, change)
        made["name_has"] = widgets.Text(
            description="Name contains", continuous_update=False, style=FULL_NAME, layout={"width": "230px"}
        )
        made["name_has"].observe(lambda _: change(), "value")
        return made

    def _make_controls(self) -> None:
        self.previous = button("◀ Previous page", lambda: self._turn(self.review.page - 1))
        self.next = button("Next page ▶", lambda: self._turn(self.review.page + 1))
        self.page_box = widgets.BoundedIntText(
            value=1, min=1, max=1, description="Page", style=FULL_NAME, layout={"width": "110px"}
        )
        self.page_box.observe(lambda _: self._turn(self.page_box.value - 1), "value")
        self.page_count = SafeText()
        self.undo = button("Undo", self._undo, hint="take back the last mark")
        self.redo = button("Redo", self._redo, hint="make the mark that was taken back once more")
        self.export_button = button(
            "Export labels", self._export, hint="write the labels as the marks leave them as a CSV table"
        )
        self.turning = row(
            self.previous, self.page_box, self.page_count, self.next, self.undo, self.redo, self.export_button
        )
        classes = self.review.classes
        self.label_buttons, self.label_list = (), None
        if len(classes) <= MOST_BUTTONS:
            self.label_buttons = tuple(
                button(
                    f"{n} {shortened(name, 24)}",
                    lambda name=name: self._relabel(name),
                    hint=f"the label should be {name}",
                )
                for n, name in enumerate(classes, start=1)
            )
        else:
            options = [("choose a class", None), *((name, name) for name in classes)]
            self.label_list = choice("New label", options, self._relabel_from_list, width="300px")
        self.mark_buttons = {
            "right": button("Label is right", lambda: self._mark("right")),
            "unsure": button("Unsure", lambda: self._mark("unsure"), hint="nobody can tell the label"),
            "remove": button("Remove", lambda: self._mark("remove"), hint="leave the picture out; no file is deleted"),
            "clear": button("No mark", self._clear, hint="take the mark of the selected picture away"),
        }
        self.marking = row(
            SafeText(fill("Mark the selected picture:&nbsp;")),
            *self.label_buttons,
            self.label_list,
            *self.mark_buttons.values(),
        )
        self.view_buttons = {
            name: button(name, lambda name=name: self._look(name), hint=f"{name.lower()}: the selected picture")
            for name in self._views
        }
        self.pin = button("Pin", self._pin, hint="keep the selected picture to compare others with it")
        self.close_view = button("Close", lambda: self._look(""), hint="close the closer look")
        self.looking = row(SafeText(fill("Look closer:&nbsp;")), *self.view_buttons.values(), self.pin, self.close_view)

    def _make_tiles(self, page_size: int) -> None:
        self.pictures = tuple(SafeText() for _ in range(page_size))
        self.names = tuple(
            button("-", lambda place=place: self._select(place), width="100%") for place in range(page_size)
        )
        self.tiles = tuple(widgets.VBox(pair) for pair in zip(self.pictures, self.names, strict=True))
        for tile in self.tiles:
            tile.layout = {
                "width": f"{review_pages.TILE_PX + 16}px",
                "padding": "4px",
                "border": NOT_SELECTED,
            }
            tile.add_class("course-tile")
        self.grid = widgets.HBox(layout={"flex_flow": "row wrap", "flex": "1 1 380px", "align_items": "stretch"})
        self.grid.add_class("course-page")

    # --- what the controls do ---------------------------------------------------------------------------

    def _on_filter(self) -> None:
        values = {name: control.value for name, control in self.filters.items()}
        self.review.sort_by(values.pop("sort"), reverse=values.pop("reverse"))
        at_least, at_most = values.pop("sure", (0.0, 1.0))
        self.review.show(at_least=at_least, at_most=at_most, **values)
        self._said = ""
        self._select(0)

    def _turn(self, page: int) -> None:
        if page != self.review.page:
            self.review.go_to(page)
            self._select(0)

    def _select(self, place: int) -> None:
        self.selected = place
        self._refresh()

    def _move(self, steps: int) -> None:
        """Select the picture so many places further on, also across pages."""
        place = self.review.page * self.review.page_size + self.selected + steps
        if 0 <= place < len(self.review.order):
            self.review.go_to(place // self.review.page_size)
            self._select(place % self.review.page_size)

    @property
    def current(self) -> Row | None:
        """The selected row; None when no picture passes the filter."""
        rows = self.review.page_rows()
        return rows[self.selected] if self.selected < len(rows) else None

    def _relabel(self, label: str) -> None:
        if self.current:
            self.review.relabel(self.current.name, label)
            self._refresh_marks(f"{self.current.name}: {self.review.mark_of(self.current.name)}.")

    def _relabel_from_list(self) -> None:
        if self.label_list.value is not None:
            self._relabel(self.label_list.value)
            self.label_list.value = None

    def _mark(self, kind: str) -> None:
        if self.current:
            self.review.mark(self.current.name, kind)
            self._refresh_marks(f"{self.current.name}: {self.review.mark_of(self.current.name)}.")

    def _clear(self) -> None:
        if self.current:
            self.review.clear(self.current.name)
            self._refresh_marks(f"{self.current.name}: no mark.")

    def _undo(self) -> None:
        name = self.review.undo()
        self._refresh_marks(f"Undone: {name}, now {self.review.mark_of(name) or 'no mark'}." if name else "")

    def _redo(self) -> None:
        name = self.review.redo()
        self._refresh_marks(f"Redone: {name}, now {self.review.mark_of(name) or 'no mark'}." if name else "")

    def _export(self) -> None:
        folder = self.review.save_to.parent if self.review.save_to else Path()
        try:
            self._refresh_marks(f"Written: {self.export(folder / 'labels_after_review.csv')}")
        except (OSError, ValueError) as error:
            self._refresh_marks(f"Not written: {error}")

    def _pin(self) -> None:
        self.pinned = self.current
        self._look("Compare")

    def _look(self, view: str) -> None:
        self._view = view
        self._refresh_panel()

    def _on_message(self, message: dict) -> None:
        """A key or a click on a picture, from the keyboard layer."""
        if "tile" in message:
            return self._select(int(message["tile"]))
        key, columns = str(message.get("key")), max(1, int(message.get("columns") or 1))
        page = self.review.page
        actions = {
            "ArrowLeft": lambda: self._move(-1),
            "ArrowRight": lambda: self._move(1),
            "ArrowUp": lambda: self._move(-columns),
            "ArrowDown": lambda: self._move(columns),
            "PageUp": lambda: self._turn(page - 1),
            "PageDown": lambda: self._turn(page + 1),
            "0": self._clear,
            "r": lambda: self._mark("right"),
            "s": lambda: self._mark("unsure"),
            "x": lambda: self._mark("remove"),
            "u": self._undo,
        }
        if key.isdecimal() and key != "0" and int(key) <= len(self.label_buttons):
            return self._relabel(self.review.classes[int(key) - 1])
        return actions.get(key, lambda: None)()

    # --- showing the state ------------------------------------------------------------------------------

    def _refresh_marks(self, said: str) -> None:
        self._said = said
        self._refresh()

    def _refresh(self) -> None:
        """Bring the page in step with the review. What has not changed is not sent again."""
        rows, review = self.review.page_rows(), self.review
        self.selected = max(0, min(self.selected, len(rows) - 1))
        for place, shown in enumerate(rows):
            self.pictures[place].value = review_pages.tile(shown, review.mark_of(shown.name))
            chosen = place == self.selected
            name = Path(shown.name).name
            self.names[place].description = (
                "▶ " + shortened(name, NAME_LETTERS - 2) if chosen else shortened(name, NAME_LETTERS)
            )
            self.names[place].tooltip = f"select {printable(shown.name)}"
            self.tiles[place].layout.border = SELECTED if chosen else NOT_SELECTED
        if len(self.grid.children) != len(rows):
            self.grid.children = self.tiles[: len(rows)]
        with self.page_box.hold_trait_notifications():  # a new maximum alone would turn the page
            self.page_box.max, self.page_box.value = review.pages, review.page + 1
        self.page_count.value = fill("of {pages}&nbsp;", pages=f"{review.pages:,}")
        if self.keyboard:
            self.keyboard.selected = self.selected
        self._refresh_status()
        self._refresh_panel()

    def _refresh_status(self) -> None:
        current = self.current
        words = review_pages.in_words(current, self.review.mark_of(current.name)) if current else "none"
        self.status.value = fill(
            '<div style="line-height:1.4">{sentence}<br>Selected: {words}<br><b>{said} {problem}</b></div>',
            sentence=self._sentence(),
            words=words,
            said=self._said,
            problem=self.review.problem,
        )

    def _sentence(self) -> str:
        review = self.review
        text = f"{counted(len(review.rows), self.what)}"
        if len(review.order) < len(review.rows):
            text += f", {len(review.order):,} shown"
        text += f", by {review.sorted_by}; page {review.page + 1:,} of {review.pages:,}. {review.report()}"
        return text

    def _refresh_panel(self) -> None:
        """The closer look follows the selection."""
        current = self.current if self._view else None
        self.panel.layout.display = "none" if current is None else None
        if current is None:
            self.panel.value = fill("")
            return
        try:
            page = self._views[self._view](current)
        except (ValueError, KeyError, RuntimeError) as error:
            page = fill("<em>{problem}</em>", problem=error)
        self.panel.value = fill("<b>{view}</b>{page}", view=self._view, page=page)

    def _zoom(self, shown: Row) -> Html:
        return review_pages.zoomed(shown, self.review.mark_of(shown.name))

    def _compare(self, shown: Row) -> Html:
        """With the pinned picture, or else with the next one of the page (the other half of a pair)."""
        if self.pinned:
            return review_pages.side_by_side(
                "the pinned picture and the selected one", [self.pinned, shown], self.marks
            )
        rows = self.review.page_rows()
        pair = [shown, rows[(self.selected + 1) % len(rows)]]
        return review_pages.side_by_side("the selected picture and the next", pair, self.marks)

    def face(self) -> tuple[str, Html]:
        text = f"{type(self).__name__}: {self._sentence()}"
        return text, review_pages.gallery(self.review, text)
