"""Grids of pictures: batches, top losses. Each says in words what it shows."""

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data_setup.base.arguments import did_you_mean
from data_setup.base.text import counted, listed, shorten
from helpers.analysis.interpret import Interpretation
from helpers.figures.style import BLACK, MIDDLE_PT, RED, SMALL_PT, WIDTH_IN, Drawing, empty_drawing, new_figure


def show_pictures(
    images,
    titles: Sequence[str] = (),
    *,
    columns: int = 0,
    wrong: Sequence[bool] = (),
    header: str = "",
    text: str = "",
) -> Drawing:
    """Pictures in a grid of `columns` (0: as many as look well), a title of one or more lines over each.

    images   (N, 3, H, W) uint8 or float 0..1, or a list of any pictures: tensors, arrays, PIL
    wrong    these get a thick dashed frame; say "wrong" in their titles, too
    header   above the whole grid
    """
    shown = [as_pixels(image) for image in images]
    n = len(shown)
    for name, row in (("titles", titles), ("wrong", wrong)):
        if len(row) not in (0, n):
            raise ValueError(f"{name} has {len(row)} entries for {counted(n, 'picture')}; give one for each")
    if not n:
        return empty_drawing(text or "No pictures to show.")
    columns = columns or (n if n <= 4 else 4 if n > 9 else 3)
    cell_in = WIDTH_IN / max(columns, 2)
    fits = int(cell_in / (0.62 * SMALL_PT / 72))  # letters
    lines = [[shorten(line, fits) for line in str(title).split("\n")] for title in titles]
    figure = _grid(shown, columns, cell_in, max(map(len, lines), default=0), textwrap.fill(header, 56))
    for ax, pixels, title, is_wrong in zip(figure.axes, shown, lines or [[]] * n, wrong or [False] * n, strict=False):
        place_picture(ax, pixels, "\n".join(title), is_wrong)
    return Drawing(figure, text or f"{counted(n, 'picture')}.")


def as_pixels(image) -> np.ndarray:
    """One picture as (H, W, 3) or (H, W), uint8 or float32 in 0..1; from a tensor, an array or PIL."""
    if hasattr(image, "convert"):  # PIL
        return np.asarray(image.convert("RGB"))
    given = pixels = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (1,), (3,)):
        shapes = "(3, H, W), (1, H, W), (H, W, 3) or (H, W), or a PIL picture"
        raise ValueError(f"a picture is {shapes}; got shape {given.shape}")
    pixels = pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels
    if pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    if not -1e-3 <= low <= high <= 1 + 1e-3:
        fix = "show it before it is normalised, or as uint8"
        raise ValueError(f"a picture of decimals lies in 0..1; this one goes from {low:.2g} to {high:.2g}: {fix}")
    return pixels.astype(np.float32).clip(0, 1)


def _grid(shown: Sequence[np.ndarray], columns: int, cell_in: float, title_lines: int, header: str):
    rows = math.ceil(len(shown) / columns)
    tallest = min(2.0, max(pixels.shape[0] / pixels.shape[1] for pixels in shown))
    row_in = tallest * (cell_in - 0.15) + title_lines * 1.3 * SMALL_PT / 72 + 0.2
    header_in = (1 + header.count("\n")) * 1.3 * MIDDLE_PT / 72 + 0.15 if header else 0
    figure = new_figure(rows * row_in + header_in, cell_in * columns)
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    if header:
        figure.suptitle(header, fontsize=MIDDLE_PT, parse_math=False)
    for ax in figure.subplots(rows, columns, squeeze=False).flatten()[len(shown) :]:
        ax.set_axis_off()
    return figure


def place_picture(ax, pixels: np.ndarray, title: str, is_wrong: bool) -> None:
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255 if pixels.dtype == np.uint8 else 1)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=SMALL_PT, parse_math=False, linespacing=1.15)
    width, dash, colour = (4, (0, (3, 1.5)), RED) if is_wrong else (0.8, "-", BLACK)
    for spine in ax.spines.values():
        spine.set(linewidth=width, linestyle=dash, color=colour)


@did_you_mean
def show_batch(data, part: str = "train", n: int = 9, *, columns: int = 0) -> Drawing:
    """The first `n` pictures of a batch as the model sees them (for "train" augmented) and their classes."""
    images, targets = data.one_batch(part)
    names = [data.classes[target] if target >= 0 else "no label" for target in targets[:n].tolist()]
    counts = listed([f"{count} {name}" for name, count in sorted(Counter(names).items())])
    seen = "augmented" if part == "train" else "without augmentation"
    text = f"{counted(len(names), 'picture')} of the {part} part, {seen}, {data.size} px: {counts}."
    return show_pictures(images[:n], names, columns=columns, text=text)


@did_you_mean
def plot_top_losses(interp: Interpretation, data, k: int = 9, *, columns: int = 3) -> Drawing:
    """The `k` pictures with the largest loss, worst first: prediction / actual / loss / p of actual."""
    top, titles, said = interp.top_losses(k), [], []
    for row in top:
        p, wrong = f"{row.p_truth:.3f}" if row.p_truth >= 0.0005 else "<0.001", ", wrong" * (row.predicted != row.truth)
        titles.append(f"{row.predicted} /\n{row.truth}\n{row.loss:.2f} / {p}{wrong}")
        said.append(f"{row.name}: predicted {row.predicted}, actual {row.truth}, loss {row.loss:.2f}, p of actual {p}")
    images = data.eval_images([data.index_of(row.name) for row in top])
    wrong = [row.predicted != row.truth for row in top]
    header = "prediction / actual / loss / probability of actual"
    text = f"The {counted(len(top), 'picture')} with the largest loss, worst first, of {len(interp.preds.items):,}."
    drawing = show_pictures(images, titles, columns=min(columns, len(top)), wrong=wrong, header=header, text=text)
    return replace(drawing, detail=f"{'; '.join(said)}.")
