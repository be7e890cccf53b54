"""A map of a data set: every picture a point, alike ones close together; a lasso opens pictures in a browser."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from data_setup.base.arguments import closest, did_you_mean
from data_setup.base.html import Html, data_uri, fill, join
from data_setup.base.pictures import UnreadableImage
from data_setup.base.text import counted
from helpers.figures.style import COLOURS
from helpers.lessons.on_page import figure_tag
from helpers.lessons.photo_map import spread_out, thumbnail_of
from helpers.review.browser import Browser
from helpers.review.rows import Row
from helpers.review.widgets import SafeText, StaticWidget, button, choice, row

SIZE_PX = (860, 520)
SHAPES = {"●": None, "■": (4, 0), "▲": (3, 0), "◆": (4, 45), "▼": (3, 180), "⬟": (5, 0), "⬢": (6, 0)}
OTHERS = "other classes"
LOSS_BANDS = ((0.105, "its label: p above 0.9"), (0.693, "0.5 to 0.9"), (2.303, "0.1 to 0.5"), (np.inf, "below 0.1"))
METHODS = ("tsne", "pca")


@did_you_mean
def embed_2d(features: Tensor, *, method: str = "tsne", seed: int = 0) -> np.ndarray:
    """Features (N, D) as points (N, 2) in 0..1: "tsne" keeps neighbours together, "pca" shows the widest spread."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in METHODS:
        raise ValueError(f"method is 'tsne' or 'pca'; got {method!r}; {closest(method, METHODS)}")
    table = torch.as_tensor(features).detach().float().cpu().numpy()
    n, width = table.shape
    if n < 3:
        raise ValueError(f"a map needs at least 3 pictures; got {n}")
    if not np.ptp(table, axis=0).any():  # all pictures are alike
        return np.full((n, 2), 0.5)
    points = PCA(min(50, n, width), random_state=seed).fit_transform(table)
    points = np.pad(points, ((0, 0), (0, 1)))  # features of one number: a line
    if method == "tsne":
        tsne = TSNE(perplexity=min(30, (n - 1) / 3), max_iter=500, init="pca", random_state=seed)
        points = tsne.fit_transform(points)
    points = points[:, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / np.where(high > low, high - low, 1)


def inside(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Which points (N, 2) lie in the polygon? A ray to the right crosses its outline an odd number of times."""
    x, y = points.T
    found = np.zeros(len(points), dtype=bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:
            found ^= ((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return found


class EmbeddingMap(StaticWidget):
    """The pictures of a browser as points, above the browser; what a lasso goes round is shown in it.

    Row i of `features` (N, D) is about data.items[i]. Similar pictures lie close together, so a point among another
    class is worth a look. A click takes the nearest picture. `groups` are further ways to colour the map, name -> a
    word for each of data.items: `groups={"kind": kinds_of(data.items)}`. Without a kernel there are thumbnails on it.
    """

    @did_you_mean
    def __init__(
        self,
        browser: Browser,
        features: Tensor,
        *,
        groups: Mapping[str, Sequence[str]] | None = None,
        method: str = "tsne",
        seed: int = 0,
    ):
        names = list(browser.review.row_of)
        if len(features) != len(names):
            raise ValueError(f"got {len(features)} rows of features for {len(names)} pictures; row i is about items[i]")
        for way, labels in (groups or {}).items():
            if len(labels) != len(names):
                raise ValueError(
                    f"groups[{way!r}] has {len(labels)} words for {len(names)} pictures; give one for each"
                )
        self.browser = browser
        in_view = {shown.name: shown for shown in browser.review.view}
        rows = [n for n, name in enumerate(names) if name in in_view]
        self.rows = [in_view[names[n]] for n in rows]
        self.points = 0.03 + 0.94 * embed_2d(torch.as_tensor(features)[rows], method=method, seed=seed)
        self.selected = np.zeros(len(rows), dtype=bool)
        ways = [("label", "label")]
        if any(shown.top for shown in self.rows):
            ways += [("prediction", "prediction"), ("loss", "loss")]
        self._groups = {way: [labels[n] for n in rows] for way, labels in (groups or {}).items()}
        ways += [(way, way) for way in self._groups]
        self.colour = choice("Colour by", ways, self._refresh, value="label")
        self.show_all = button("Show all", lambda: self._select(np.zeros(len(rows), dtype=bool)))
        self.shown, self.said = SafeText(), SafeText()
        self.shown.add_class("course-map")
        self.said.add_class("course-status")
        super().__init__(
            [row(self.colour, self.show_all), self.shown, self.said, browser],
            on_message=self._on_message,
        )
        self._refresh()

    def _on_message(self, message: dict) -> None:
        """A line drawn on the map, as [x, y] shares of the picture."""
        if "lasso" in message:
            corners = np.array(message["lasso"], dtype=float)
            if np.ptp(corners, axis=0).max() < 0.01:  # a click
                self._select(np.arange(len(self.points)) == self._nearest(corners[0]))
            else:
                self._select(inside(self.points, corners))

    def _nearest(self, place: np.ndarray) -> int:
        return int((((self.points - place) * SIZE_PX) ** 2).sum(axis=1).argmin())

    def _select(self, selected: np.ndarray) -> None:
        """Show these pictures in the browser; all when there are none."""
        self.selected = selected
        names = [shown.name for shown, chosen in zip(self.rows, selected, strict=True) if chosen]
        self.browser.show_only(names or None)
        self._refresh()

    def _refresh(self) -> None:
        by = self.colour.value
        groups = self._groups.get(by) or [_group(shown, by) for shown in self.rows]
        most = [name for name, _ in Counter(groups).most_common(len(SHAPES))]
        if len(set(groups)) > len(SHAPES):
            most[-1] = OTHERS
            groups = [group if group in most else OTHERS for group in groups]
        order = sorted(most, key=lambda name: (name == OTHERS, _band(name), name))
        signs = dict(zip(order, zip(SHAPES, COLOURS, strict=True), strict=False))
        counts = Counter(groups)
        legend = ", ".join(f"{signs[name][0]} {name} ({counts[name]:,})" for name in order)
        picked = f" {counted(int(self.selected.sum()), 'picture')} selected." if self.selected.any() else ""
        self._sentence = f"{counted(len(self.rows), 'picture')} by {by}: {legend}.{picked}"
        self._png = draw_points(self.points, [signs[group] for group in groups], self.selected)
        self.shown.value = figure_tag(data_uri(self._png, "png"), f"Map of {self._sentence}")
        self.said.value = fill(
            "<div>{signs} {picked}</div>",
            picked=picked or HINT,
            signs=join(fill(LEGEND, colour=colour, sign=sign, name=name) for name, (sign, colour) in signs.items()),
        )

    def face(self) -> tuple[str, Html]:
        text = f"EmbeddingMap: {self._sentence}"
        png = with_thumbnails(self._png, self.points, self.rows)
        page = figure_tag(data_uri(png, "png"), f"Map of {self._sentence}")
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=page)


HINT = "Draw a line round points with the mouse to see their pictures below; a click takes the nearest."
LEGEND = '<span style="margin-right:12px"><b style="color:{colour}">{sign}</b> {name}</span>'


def _group(shown: Row, by: str) -> str:
    """The words of the legend that a picture belongs to."""
    if by == "loss":
        return "no label" if shown.loss is None else next(words for most, words in LOSS_BANDS if shown.loss < most)
    return (shown.label if by == "label" else shown.predicted) or f"no {by}"


def _band(name: str) -> int:
    """Place of a loss band in the legend; other names are sorted by themselves."""
    words = [words for _, words in LOSS_BANDS]
    return words.index(name) if name in words else 0


def draw_points(points: np.ndarray, signs: Sequence[tuple[str, str]], selected: np.ndarray) -> bytes:
    """PNG of points (N, 2) in 0..1, each with its (sign of SHAPES, colour); selected ones larger, with a black edge."""
    width, height = 2 * SIZE_PX[0], 2 * SIZE_PX[1]  # drawn at twice the size, for smooth edges
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    radius = 10 if len(points) < 1000 else 7
    for n in np.argsort(selected, kind="stable"):  # selected ones on top
        x, y = points[n] * (width, height)
        sign, colour = signs[n]
        r, edge = (radius * 1.5, "black") if selected[n] else (radius, "white")
        if SHAPES[sign] is None:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=edge, width=2)
        else:
            sides, turned = SHAPES[sign]
            pen.regular_polygon((x, y, r * 1.25), sides, rotation=turned, fill=colour, outline=edge, width=2)
    buffer = io.BytesIO()
    image.resize(SIZE_PX, Image.Resampling.LANCZOS).quantize(64).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def with_thumbnails(png: bytes, points: np.ndarray, rows: Sequence[Row], n: int = 20) -> bytes:
    """The map with small pictures at the places of `n` points far from each other; row i is at points[i]."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for number in spread_out(points, n):
        try:
            picture = ImageOps.expand(thumbnail_of(rows[number]), 1, fill=0)
        except UnreadableImage:  # its point stays
            continue
        x, y = (points[number] * image.size).round().astype(int)
        image.paste(picture, (int(x) - picture.width // 2, int(y) - picture.height // 2))
    buffer = io.BytesIO()
    image.quantize(128).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
