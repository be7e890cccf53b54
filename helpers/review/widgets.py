"""What all widgets of the course share: text that comes from a template, keys, a static face, and small makers."""

from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets

from data_setup.base.html import Html, shortened
from data_setup.base.text import printable

FULL_NAME = {"description_width": "initial"}  # never cut the name of a control


class SafeText(widgets.HTML):  # noqa: TID251 (it refuses what `fill` has not made)
    """A piece of the page. Takes only what `fill` made, so that no data is ever read as HTML."""

    @traitlets.validate("value")
    def _only_html(self, proposal):
        if proposal["value"] and not isinstance(proposal["value"], Html):
            raise TypeError("text on a page comes from data_setup.base.html.fill, which escapes it")
        return proposal["value"]


class Keys(anywidget.AnyWidget):
    """Sends what is typed, clicked or drawn in the widget around it: see keys.js for the messages."""

    _esm = Path(__file__).with_name("keys.js")
    wanted = traitlets.List(traitlets.Unicode()).tag(sync=True)
    help = traitlets.Unicode().tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)  # the tile that has the focus next


class StaticWidget(widgets.VBox):
    """A widget that can also be read where no kernel runs: on a web page, in a viewer, in a comparison.

    Subclasses have `face()`: one sentence, and HTML that depends on nothing but the data.
    """

    def __init__(self, children, *, keys=(), help="", on_message=lambda message: None):
        self.keyboard = Keys(wanted=list(keys), help=help)
        self.keyboard.on_msg(lambda _, message, buffers: on_message(message))
        super().__init__([*children, self.keyboard])
        self.add_class("course-widget")

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        text, page = self.face()
        return {**(data or {}), "text/plain": text, "text/html": str(page)}, metadata

    def __repr__(self) -> str:
        return self.face()[0]


def button(name: str, on_click, *, hint: str = "", width: str = "auto") -> widgets.Button:
    """A button that says what it does; `on_click` takes no argument."""
    layout = {"width": width, "padding": "0 8px"}
    made = widgets.Button(description=printable(name), tooltip=printable(hint or name), layout=layout)
    made.on_click(lambda _: on_click())
    return made


def control(kind, name: str, on_change, *, width: str = "auto", **traits) -> widgets.Widget:
    """A control of this kind that shows its full name; `on_change` takes no argument."""
    made = kind(description=name, style=FULL_NAME, layout={"width": width}, **traits)
    made.observe(lambda _: on_change(), "value")
    return made


def choice(name: str, options, on_change, *, value=None, width: str = "auto") -> widgets.Dropdown:
    """A list to choose from, at `value`; `options` are (words, value) pairs; `on_change` takes no argument."""
    index = [option for _, option in options].index(value)
    options = [(shortened(words, 40), option) for words, option in options]
    return control(widgets.Dropdown, name, on_change, width=width, options=options, index=index)


def row(*children) -> widgets.HBox:
    """Controls side by side, on a second line where there is no room."""
    return widgets.HBox(children, layout={"flex_flow": "row wrap", "grid_gap": "0 8px"})
