"""Draw a crack on a photograph and see what the model says: an experiment says more than a heat map."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets
from PIL import Image, ImageDraw

from data_setup.base.html import Html, fill, jpeg_uri
from data_setup.base.pictures import read_image
from data_setup.base.text import counted, listed, shorten
from data_setup.items import Item
from helpers.data.augment import resize
from helpers.figures.style import Drawing
from helpers.lessons.figures import row_of
from helpers.lessons.on_page import drawn
from helpers.lessons.schematic import brightened, photo, sheet, words
from helpers.models.folding import predicting
from helpers.review.widgets import FULL_NAME, SafeText, StaticWidget, button, row

WIDTHS = (0, 1, 2, 4, 8)  # pixels of a 300 px photograph
CRACK_LINE = ((0.22, 0.86), (0.44, 0.52), (0.55, 0.47), (0.82, 0.13))  # x, y as shares of the sides, from lower left
DARKNESS = 0.55  # a crack keeps this share of the light


def with_line(image, width: float, line: Sequence[tuple[float, float]] = CRACK_LINE) -> Image.Image:
    """The photograph (a file's path or a PIL picture), grey, with a dark line of `width` pixels on it (0: none).

    `line` are corners (x, y) as shares of the sides. Under the line 55 % of the light remain, as in real cracks; the
    edges are smooth: drawn at four times the size and averaged.
    """
    if width < 0:
        raise ValueError(f"a line is 0 or more pixels wide; got {width}")
    image = image if isinstance(image, Image.Image) else read_image(Path(image))
    image = image.convert("L")
    times = 4
    cover = Image.new("L", (image.width * times, image.height * times), 0)
    corners = [(x * cover.width, y * cover.height) for x, y in line]
    if width:
        ImageDraw.Draw(cover).line(corners, fill=255, width=max(1, round(width * times)), joint="curve")
    share = np.asarray(cover.resize(image.size, Image.Resampling.BOX), dtype=float) / 255
    return Image.fromarray((np.asarray(image) * (1 - (1 - DARKNESS) * share)).round().astype(np.uint8))


def p_of(learn, images: Sequence[Image.Image], *, size: int | None = None, positive: str | None = None) -> list[float]:
    """p of a class (`positive`, or the data's first) for each picture, seen at `size` (or the data's) px a side.

    The pictures take the same way as validation photographs do: through a file, presized, shrunk.
    """
    data = learn.data if size is None else learn.data.resized(size)
    wanted = 0 if positive is None else data.classes.index(positive)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.png" for number in range(len(images))]
        for image, path in zip(images, paths, strict=True):
            image.save(path, compress_level=1)
        inputs = resize(data.read_squares(paths), data.size)
    with predicting(learn.model, learn.device, learn.prediction_precision):
        logits = learn.model(inputs.to(learn.device)).float()
    return logits.softmax(1)[:, wanted].tolist()


def crack_table(
    learn, items, *, widths: Sequence[float] = WIDTHS, sizes: Sequence[int] = (64, 224)
) -> dict[int, list[float]]:
    """size -> p of the data's first class for each width of a line, the mean over the photographs it is drawn on.

    `items` are one or several Items, their names or rows in `learn.data`; widths are in pixels of the file.
    """
    paths = [item.path for item in _chosen(learn, items)]
    images = [with_line(path, width) for path in paths for width in widths]
    found = {size: np.reshape(p_of(learn, images, size=size), (len(paths), len(widths))) for size in sizes}
    return {size: p.mean(axis=0).tolist() for size, p in found.items()}


def _chosen(learn, items) -> list[Item]:
    items = items if isinstance(items, Sequence) and not isinstance(items, str) else [items]
    if not items:
        raise ValueError("there is no photograph to draw on; give at least one")
    return [learn.data.items[row_of(learn.data, item)] for item in items]


def show_crack_table(learn, items, *, widths: Sequence[float] = WIDTHS, sizes: Sequence[int] = (64, 224)) -> Drawing:
    """The first photograph with ever wider lines, and below each what the model says at each size: the mean of all."""
    table = crack_table(learn, items, widths=widths, sizes=sizes)
    chosen, *others = _chosen(learn, items)
    left = 1.25
    side = (6.9 - left) / len(widths) - 0.08
    ax = sheet(side + 0.6 + 0.32 * len(sizes) + 0.3, 7.0)
    top = ax.get_ylim()[1] - 0.35
    words(ax, (0.08, top + 0.18), "line, px", ha="left")
    for column, width in enumerate(widths):
        x = left + column * (side + 0.08)
        words(ax, (x + side / 2, top + 0.18), f"{width:g}")
        photo(ax, np.asarray(with_line(chosen.path, width)), (x, top - side), side)
        for number, size in enumerate(sizes):
            p = table[size][column]
            strong = "bold" if p >= 0.5 else "normal"
            words(ax, (x + side / 2, top - side - 0.25 - 0.32 * number), f"{p:.2f}", weight=strong)
    for number, size in enumerate(sizes):
        words(ax, (0.08, top - side - 0.25 - 0.32 * number), f"at {size} px", ha="left")
    name = shorten(learn.data.classes[0], 24)
    mean = f", the mean of {1 + len(others)} photographs" if others else ""
    words(ax, (0.08, 0.15), f"p({name}){mean}; bold from one half on", ha="left", size_pt=12)
    text = (
        f"{chosen.name} with a drawn line of {listed([f'{width:g}' for width in widths])} pixels, and p({name}) when "
        f"the model sees it at {listed(sizes)} px{mean}."
    )
    detail = "; ".join(f"at {size} px {', '.join(f'{p:.2f}' for p in table[size])}" for size in sizes)
    return Drawing(ax.figure, text, f"{detail}.")


class Canvas(anywidget.AnyWidget):
    """A photograph to paint on with the mouse or a finger; after each stroke its corners arrive in `strokes`."""

    _esm = Path(__file__).with_name("canvas.js")
    picture = traitlets.Unicode().tag(sync=True)  # address of the photograph
    strokes = traitlets.List().tag(sync=True)  # [{"width": 3, "points": [[x, y], ...]}, ...], shares of the sides
    width = traitlets.Float(3.0).tag(sync=True)  # of the next stroke, in pixels of a photograph of 300
    help = traitlets.Unicode().tag(sync=True)


class CrackPainter(StaticWidget):
    """Paint a crack, a shadow, a speck on a photograph; after every stroke the model answers.

    `.picture` is the painted photograph, `.p` what the model says of it, `.before` what it said without paint.
    """

    def __init__(self, learn, item):
        self._learn, self._item = learn, learn.data.items[row_of(learn.data, item)]
        self._plain = read_image(self._item.path).convert("L")
        self.canvas = Canvas(
            picture=str(jpeg_uri(Image.fromarray(brightened(np.asarray(self._plain))))),
            help="Draw with the mouse or a finger on the photograph.",
        )
        self.canvas.observe(lambda _: self._refresh(), "strokes")
        self.width = widgets.IntSlider(
            value=3, min=1, max=12, description="Width, px", style=FULL_NAME, layout={"width": "320px"}
        )
        self.width.observe(lambda _: setattr(self.canvas, "width", float(self.width.value)), "value")
        self.clear = button("Clear", self._clear, hint="the photograph as it was")
        self.said = SafeText()
        self.said.add_class("course-status")
        super().__init__([row(self.width, self.clear), self.canvas, self.said])
        self._refresh()

    @property
    def picture(self) -> Image.Image:
        """The photograph with all strokes on it, grey."""
        image = self._plain
        for stroke in self.canvas.strokes:
            scale = image.width / 300
            image = with_line(image, stroke["width"] * scale, [tuple(point) for point in stroke["points"]])
        return image

    def _clear(self) -> None:
        self.canvas.strokes = []

    def _refresh(self) -> None:
        strokes = counted(len(self.canvas.strokes), "stroke")
        pictures = [self._plain, *([self.picture] if self.canvas.strokes else [])]
        answers = p_of(self._learn, pictures)  # both by the model as it is now
        self.before, self.p = answers[0], answers[-1]
        name = self._learn.data.classes[0]
        sentence = f"p({name}) = {self.p:.2f} with {strokes}, {self.before:.2f} without."
        self.said.value = fill("<b>{sentence}</b>", sentence=sentence)

    def face(self) -> tuple[str, Html]:
        text = f"CrackPainter: paint on {self._item.name} and see what the model says."
        page = drawn(show_crack_table(self._learn, self._item, sizes=(self._learn.data.size,)), as_photo=True)
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=page)
