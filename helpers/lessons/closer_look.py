"""A closer look for the browser of mistakes: the training pictures that look most like one picture."""

from collections.abc import Callable

from torch import Tensor

from data_setup.base.html import Html, fill
from helpers.data.dataset import ImageData
from helpers.lessons.audit import check_rows, nearest_neighbours
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
