"""Closer looks for the browser of mistakes: the training pictures most like one, and which places counted."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from data_setup.base.html import Html, fill
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons.audit import check_rows, nearest_neighbours
from helpers.lessons.figures import show_heat_map
from helpers.lessons.heatmaps import heat_map
from helpers.lessons.on_page import drawn
from helpers.review import pages
from helpers.review.rows import Row
from helpers.review.session import Review

NEAR_PX = 100  # side of a neighbour


def neighbours_view(data: ImageData, features: Tensor, *, k: int = 4) -> Callable[[Review, Row], Html]:
    """The `k` training pictures most like one picture, as a closer look.

    Row i of `features` (N, D) is about data.items[i]:
    MistakeBrowser(preds, learn, views={"Neighbours": neighbours_view(learn.data, features)})
    """
    check_rows(features, data.items)
    train = data.indices_of("train").tolist()
    items = [data.items[index] for index in train]

    def view(review: Review, shown: Row) -> Html:
        query = features[data.index_of(shown.name)]
        found = nearest_neighbours(query, features[train], items, k=k, other_than=shown.name)
        near = [Row(n.item.name, n.item.path, n.item.label, caption=f"similarity {n.similarity:.2f}") for n in found]
        return fill(
            "{own}<div>Most alike among the training pictures:</div>{near}",
            own=pages.tile(review, shown, named=True),
            near=pages.tiles(review, near, NEAR_PX),
        )

    return view


def heat_view(learn: Learner) -> Callable[[Review, Row], Html]:
    """Which places counted for the answer (for the label where nothing was predicted), as a closer look:
    MistakeBrowser(preds, learn, views={"Heat map": heat_view(learn)})
    """

    def view(review: Review, shown: Row) -> Html:
        name = shown.predicted or shown.label
        image = learn.data.eval_images([learn.data.index_of(shown.name)])[0]
        heat = heat_map(learn, image, review.classes.index(name))[0]
        return drawn(show_heat_map(image, heat, title=f"{name}, {Path(shown.name).name}"))

    return view
