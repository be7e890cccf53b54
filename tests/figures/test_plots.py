"""Figures are read back: the data in them, the words on them, the sentence beside them."""

import io
import math
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from data_setup.base.text import counted, listed, number, shorten, two_lines
from data_setup.items import Item
from data_setup.splits import Split
from helpers.analysis.calibration import reliability
from helpers.analysis.interpret import PICKS, Interpretation
from helpers.analysis.intervals import wilson
from helpers.analysis.lr_curve import LRFinderResult
from helpers.analysis.predictions import Predictions
from helpers.data.augment import top_down
from helpers.data.dataset import ImageData
from helpers.figures.curves import RATE_MARKS, plot_loss, plot_lr, plot_lr_find
from helpers.figures.pictures import (
    as_pixels,
    plot_top_losses,
    show_batch,
    show_pictures,
)
from helpers.figures.results import plot_accuracies, plot_confusion, plot_reliability
from helpers.figures.style import COLOURS, DASHES, MIDDLE_PT, ink, name_ends, new_figure
from helpers.lessons.answers import show_picks, show_results
from helpers.lessons.figures import show_heat_map
from helpers.training.run import Epoch, History
from helpers.training.schedules import one_cycle

ODD = ("$x_1$ and $y$", "<b>bold</b>", "a name\nthat is far too long for any axis of any figure")


def history(epochs=2, steps=40, *, valid=(0.6, 0.5), start=0.8, end=0.3, metrics=None) -> History:
    n = epochs * steps
    losses = tuple(start + (end - start) * i / (n - 1) + 0.01 * (-1) ** i for i in range(n))
    rows = tuple(
        Epoch(i, 0.5, valid[i % len(valid)], metrics or {"accuracy": 0.7 + 0.05 * i}, 1.0) for i in range(epochs)
    )
    rise = one_cycle()
    lrs = tuple(0.01 * rise(i / n) for i in range(n))
    return History(rows, losses, lrs, tuple(0.95 - 10 * lr for lr in lrs), (steps,) * epochs)


def curve(**rates) -> LRFinderResult:
    """Flat at 0.7, falling to 0.5 around 0.003, running away above 0.3."""
    lrs = [1e-7 * 10 ** (8 * i / 99) for i in range(95)]
    smooth = [0.5 + 0.2 / (1 + math.exp(4 * (math.log10(lr) + 2.5))) + max(0.0, lr - 0.3) for lr in lrs]
    marks = {"minimum": 0.02, "steep": 0.003, "valley": 0.002, "slide": 0.09} | rates
    return LRFinderResult(tuple(lrs), tuple(smooth), tuple(smooth), **marks, advice="Take the valley.")


def predictions(n=60, k=2, *, strength=2.0, classes=None, names=None, seed=0, labelled=True) -> Predictions:
    rng = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % k
    logits = torch.randn(n, k, generator=rng)
    logits[torch.arange(n), targets] += strength
    names = names or [f"valid/{i:05}.png" for i in range(n)]
    classes = classes or tuple(f"class {i}" for i in range(k))
    items = tuple(Item(name, Path(name), classes[t]) for name, t in zip(names, targets.tolist(), strict=True))
    targets = targets if labelled else torch.full((n,), -1)
    return Predictions(items, logits.log_softmax(1), targets, classes, "valid")


@pytest.fixture
def data(tmp_path, course_data) -> ImageData:
    """Twelve drawn pictures of 20 px, seen at 16 px."""
    names = [f"{i:02}.png" for i in range(12)]
    items = [Item(name, tmp_path / name, "ab"[i % 2]) for i, name in enumerate(names)]
    for item, pixels in zip(
        items, np.random.default_rng(0).integers(0, 256, (12, 20, 20), dtype=np.uint8), strict=True
    ):
        Image.fromarray(pixels).save(item.path)
    split = Split(tuple(names[:8]), tuple(names[8:]))
    return ImageData(items, split, size=16, presize_px=20, augment=top_down(min_scale=0.5), batch_size=8)


def line(ax, label):
    return next(artist for artist in ax.get_lines() if artist.get_label() == label)


def words(ax):
    return [text.get_text() for text in ax.texts]


def tick_words(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def boxes(ax):
    """Where the words of the axes stand, in pixels."""
    ax.figure.draw_without_rendering()
    return [Text.get_window_extent(text) for text in ax.texts]  # without the line to the mark


def overlap(ax):
    return any(a.overlaps(b) for a, b in combinations(boxes(ax), 2))


# The drawing ---------------------------------------------------------------------------------------------------


def test_a_drawing_shows_itself_with_its_sentence():
    drawing = plot_loss(history())
    bundle, metadata = drawing._repr_mimebundle_()
    assert bundle["text/plain"] == repr(drawing) == drawing.text
    assert metadata["image/png"]["alt"] == drawing.alt == f"{drawing.text} {drawing.detail}"
    picture = Image.open(io.BytesIO(bundle["image/png"]))
    assert picture.format == "PNG" and picture.text["Description"] == drawing.alt


def every_drawing(data):
    preds = predictions(40, 3, classes=ODD)
    interp = Interpretation(preds)
    own = predictions(4, 2, names=[item.name for item in data.items_of("valid")], classes=data.classes)
    yield from (plot_loss(history()), plot_loss(History()), plot_lr(history()))
    yield plot_lr_find(curve())
    yield from (plot_confusion(interp), plot_confusion(Interpretation(predictions(300, 30))))
    yield plot_confusion(Interpretation(predictions(300, 70, strength=0.5)))
    yield from (plot_accuracies({ODD[0]: preds, ODD[2]: preds}), plot_reliability(preds))
    yield from (show_batch(data), show_results(own, data))
    yield from (
        show_picks(Interpretation(own).pick("most_uncertain"), data),
        plot_top_losses(Interpretation(own), data),
    )
    yield show_heat_map(torch.rand(3, 16, 16), torch.rand(16, 16), title=ODD[0])
    yield show_pictures(torch.rand(2, 3, 16, 16), text="Two pictures.")


def test_every_figure_is_a_picture_for_a_projector_with_one_line_of_text(data):
    for drawing in every_drawing(data):
        picture = Image.open(io.BytesIO(drawing.png()))
        assert 440 <= picture.width <= 660, drawing.text  # about 5 to 7 inches at 90 dots per inch
        assert drawing.text.endswith(".") and "\n" not in drawing.alt and "  " not in drawing.alt


@pytest.mark.parametrize("module", ["style", "curves", "results", "pictures"])
def test_no_plot_module_uses_pyplot(module):
    source = (Path(__file__).resolve().parents[2] / "helpers" / "figures" / f"{module}.py").read_text(encoding="utf-8")
    assert not re.search(r"(from|import) .*pyplot", source)


def test_another_sentence():
    drawing = plot_loss(history())
    other = drawing.with_caption("Look at the gap.")
    assert other.text == "Look at the gap." and other.figure is drawing.figure and "training" in drawing.text.lower()


# Words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00083, "0.00083"), (1e-5, "1e-5"), (0.1, "0.1"), (0.0999, "0.1"), (0.25, "0.25"), (1.0, "1"), (12.3, "12"),
     (130.0, "130"), (0.0, "0"), (-0.5, "-0.5"), (2.5e7, "2.5e7"), (math.nan, "nan"), (0.99999, "1")],
)  # fmt: skip
def test_numbers_have_two_digits(value, text):
    assert number(value) == text


def test_long_names_lose_their_middle_and_break_at_a_joint():
    assert shorten("american_pit_bull_terrier", 13) == "americ…errier"
    assert shorten("a\nb  c", 9) == "a b c"
    assert two_lines("mono_functional", 12) == "mono_\nfunctional"
    assert two_lines("functional", 12) == "functional"
    assert all(len(row) <= 8 for row in two_lines("x" * 40, 8).split("\n"))


def test_counts_and_lists_read_as_english():
    assert [counted(1, "class"), counted(1000, "class"), counted(2, "epoch"), counted(0, "batch")] == [
        "1 class", "1,000 classes", "2 epochs", "0 batches"
    ]  # fmt: skip
    assert [listed("a"), listed("ab"), listed("abc"), listed("")] == ["a", "a and b", "a, b and c", "nothing"]


def test_coloured_words_have_enough_contrast_on_white():
    def luminance(colour):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return sum(part * weight for part, weight in zip(parts, (0.2126, 0.7152, 0.0722), strict=True))

    for colour in COLOURS:
        assert 1.05 / (luminance(ink(colour)) + 0.05) > 4.5


def test_names_at_the_ends_of_lines_never_touch():
    ax = new_figure().add_subplot()
    ax.set_ylim(0, 1)
    values = (0.5, 0.5, 0.51, 0.99, 1.0, math.nan)
    name_ends(
        ax, {f"line {i}": ax.plot([0, 1], [0.2, value], linestyle=DASHES[i])[0] for i, value in enumerate(values)}
    )
    pieces = [piece for piece in ax.get_lines() if piece.get_label() == "_piece"]
    assert sorted(words(ax)) == [f"line {i}" for i in range(6)] and len(pieces) == 6
    assert len({str(piece.get_linestyle()) + str(piece._dash_pattern) for piece in pieces}) == 6
    assert not overlap(ax)
    low, high = ax.get_window_extent().intervaly
    assert all(low - MIDDLE_PT <= box.y0 and box.y1 <= high + MIDDLE_PT for box in boxes(ax))


# Training ------------------------------------------------------------------------------------------------------


def test_loss_curve_holds_the_steps_and_the_epochs():
    record = history()
    drawing = plot_loss(record)
    ax = drawing.figure.axes[0]
    raw = ax.get_lines()[0]
    assert raw.get_xdata().tolist() == list(range(11, 76)) and raw.get_ydata().tolist() == list(record.losses[10:-5])
    assert line(ax, "validation").get_xydata().tolist() == [[40, 0.6], [80, 0.5]]
    assert sorted(words(ax)) == ["training", "validation"]
    smooth = line(ax, "training").get_ydata()
    assert np.abs(np.diff(smooth)).max() < np.abs(np.diff(record.losses)).max() / 3
    assert drawing.text == (
        "Training loss over 80 steps (2 epochs): it fell; validation loss is marked after each epoch."
    )
    assert "ended at 0.500; its lowest is 0.500, in epoch 1" in drawing.detail


def test_smoothed_loss_lies_on_the_loss_when_it_is_constant():
    record = replace(history(), losses=(0.4,) * 80)
    assert np.allclose(line(plot_loss(record).figure.axes[0], "training").get_ydata(), 0.4)


@pytest.mark.parametrize(
    ("start", "end", "word"), [(0.8, 0.3, "fell"), (0.3, 0.8, "rose"), (0.5, 0.49, "stayed about level")]
)
def test_the_direction_of_the_loss_has_a_margin(start, end, word):
    record = history(start=start, end=end)
    assert f"it {word};" in plot_loss(record).text
    nudged = replace(record, losses=tuple(loss * 1.003 for loss in record.losses))
    assert plot_loss(nudged).text == plot_loss(record).text  # another machine's decimals


def test_few_steps_are_all_drawn():
    drawing = plot_loss(history(1, 20, valid=(0.6,)))
    assert len(drawing.figure.axes[0].get_lines()[0].get_xdata()) == 20
    assert "over 20 steps (1 epoch)" in drawing.text


def test_losses_that_are_no_numbers_are_said():
    record = history()
    drawing = plot_loss(replace(record, losses=(*record.losses[:-2], math.nan, math.inf)))
    assert "At 2 steps it was not a finite number." in drawing.text
    assert "was never a finite number" in plot_loss(replace(record, losses=(math.nan,) * 80)).text


def test_loss_without_a_validation_part():
    drawing = plot_loss(history(valid=(math.nan,)))
    assert words(drawing.figure.axes[0]) == ["training"] and drawing.text.endswith("it fell.")


def test_interrupted_epoch_has_steps_but_no_row():
    record = history()
    drawing = plot_loss(replace(record, epochs=record.epochs[:1]))
    assert line(drawing.figure.axes[0], "validation").get_xydata().tolist() == [[40, 0.6]]


def test_nothing_trained_is_said_in_the_figure():
    for plot in (plot_loss, plot_lr):
        drawing = plot(History())
        assert "yet" in drawing.text and " ".join(words(drawing.figure.axes[0])[0].split()) == drawing.text


def test_rate_and_momentum_stand_one_above_the_other():
    record = history()
    drawing = plot_lr(record)
    above, below = drawing.figure.axes
    assert above.get_lines()[0].get_ydata().tolist() == list(record.lrs) and above.get_ylabel() == "learning rate"
    assert below.get_lines()[0].get_ydata().tolist() == list(record.momentums) and below.get_ylabel() == "momentum"
    assert drawing.text.startswith("Learning rate over 80 steps: it starts at 0.0004, is highest (0.01) at step 21")
    assert drawing.text.endswith("momentum is between 0.85 and 0.95.")


def test_momentum_stands_under_its_own_steps():
    """Catches a one-cycle's momentum drawn under the training before it, which had none of its own."""
    record, before = history(), History(losses=(1.0,) * 5, lrs=(0.01,) * 5)
    both = before + record
    assert both.momentums[:5] == (0.9,) * 5 and both.momentums[5:] == record.momentums
    assert [len(line.get_ydata()) for ax in plot_lr(both).figure.axes for line in ax.lines] == [len(both.lrs)] * 2


def test_constant_rate_without_momentum_is_one_flat_panel():
    drawing = plot_lr(replace(history(), lrs=(0.01,) * 80, momentums=()))
    (ax,) = drawing.figure.axes
    assert drawing.text == "Learning rate over 80 steps: 0.01 throughout." and ax.get_ylim() == pytest.approx(
        (0.009, 0.011)
    )


def test_a_learner_in_place_of_its_record_gets_the_line_that_works(learn):
    for plot, line in ((plot_loss, "learn.history"), (plot_lr, "learn.history"), (plot_lr_find, "learn.lr_find()")):
        with pytest.raises(TypeError, match=re.escape(f"got Learner; type {plot.__name__}({line})")):
            plot(learn)


# The rate finder -----------------------------------------------------------------------------------------------


def test_four_suggestions_lie_on_the_curve_with_shapes_of_their_own():
    record = curve()
    drawing = plot_lr_find(record)
    ax = drawing.figure.axes[0]
    for name, (shape, _) in RATE_MARKS.items():
        mark = line(ax, f"{name} {number(getattr(record, name))}")  # the words of the legend
        rate, loss = mark.get_xydata()[0]
        assert rate == getattr(record, name) and mark.get_marker() == shape
        assert loss == pytest.approx(np.interp(math.log(rate), np.log(record.lrs), record.smooth))
    assert [text.get_text().split()[0] for text in ax.get_legend().get_texts()] == list(RATE_MARKS)
    assert len({shape for shape, _ in RATE_MARKS.values()}) == 4
    assert ax.get_lines()[1].get_xdata().tolist() == list(record.lrs[10:-5])
    assert "(log axis)" in ax.get_xlabel() and ax.get_xscale() == "log"
    assert drawing.text == (
        "Loss against learning rate (log axis), lowest at a rate between 0.001 and 1; "
        "marked: steep, valley, slide and minimum."
    )
    assert (
        "lowest at 0.2" in drawing.detail
        and "valley 0.002" in drawing.detail
        and drawing.detail.endswith("Take the valley.")
    )


def test_the_names_of_the_suggestions_stand_above_the_curve_and_inside_the_figure():
    ax = plot_lr_find(curve(minimum=0.002, steep=0.002, valley=0.002, slide=0.002)).figure.axes[0]
    ax.figure.draw_without_rendering()
    words = ax.get_legend().get_window_extent()
    assert words.y0 >= ax.get_window_extent().y1 and words.x1 <= ax.figure.bbox.x1 and words.y1 <= ax.figure.bbox.y1


def test_the_fall_stays_visible_when_the_loss_runs_away():
    record = curve()
    smooth = [*record.smooth[:-10], *(2.0 + i for i in range(10))]
    low, high = plot_lr_find(replace(record, smooth=tuple(smooth))).figure.axes[0].get_ylim()
    assert (0.7 - 0.5) / (high - low) > 0.3


def test_no_advice_is_said_in_the_figure():
    none = {"minimum": None, "steep": None, "valley": None, "slide": None}
    record = replace(curve(**none), advice="No advice: the loss never clearly falls.")
    drawing = plot_lr_find(record)
    ax = drawing.figure.axes[0]
    assert " ".join(words(ax)[0].split()) == record.advice and "without advice" in drawing.text
    assert ax.get_legend() is None and len(ax.get_lines()) == 2


def test_without_advice_the_words_leave_the_curve_free_and_the_scatter_is_seen():
    """Catches a box over the wall, and limits so narrow that hardly a single batch lies between them."""
    record = curve(minimum=None, steep=None, valley=None, slide=None)
    losses = tuple(loss + (0.3 if i % 2 else -0.3) for i, loss in enumerate(record.smooth))
    figure = plot_lr_find(replace(record, losses=losses)).figure
    figure.draw_without_rendering()
    ax = figure.axes[0]
    box = ax.texts[0].get_bbox_patch().get_window_extent()
    assert box.y0 >= ax.bbox.y1 and box.y1 <= figure.bbox.y1
    low, high = ax.get_ylim()
    seen = [low <= loss <= high for loss in losses[10:60]]
    assert all(seen)


def test_some_suggestions_may_be_missing_and_the_curve_short_or_broken():
    record = curve(slide=None)
    assert plot_lr_find(record).text.endswith("marked: steep, valley and minimum.")
    short = LRFinderResult((1e-7, 2e-7), (0.7, math.nan), (0.7, math.nan), "No advice: too short.")
    assert "without advice" in plot_lr_find(short).text
    empty = LRFinderResult((), (), (), "No advice.")
    assert plot_lr_find(empty).text == plot_lr_find(short).text and plot_lr_find(empty).detail == "No advice."


# Confusion -----------------------------------------------------------------------------------------------------


def test_confusion_of_two_classes_has_counts_and_shares():
    interp = Interpretation(predictions(60, 2, classes=("$a$", "<b>")))
    drawing = plot_confusion(interp)
    ax = drawing.figure.axes[0]
    counts = interp.confusion_matrix()
    cells = [f"{counts[i, j]}\n{100 * counts[i, j] / counts[i].sum():.0f} %" for i in range(2) for j in range(2)]
    assert words(ax) == cells
    assert tick_words(ax.xaxis) == tick_words(ax.yaxis) == ["$a$", "<b>"]
    assert not any(text.get_parse_math() for text in (*ax.xaxis.get_ticklabels(), *ax.yaxis.get_ticklabels()))
    assert drawing.text == "Confusion of 60 pictures in 2 classes: more than half are correct (on the diagonal)."
    assert drawing.detail.startswith(f"Correct: {int(counts.diag().sum())} of 60.")


def test_confusion_of_12_has_numbers_of_37_has_names():
    twelve = Interpretation(predictions(120, 12))
    assert words(plot_confusion(twelve).figure.axes[0]) == [
        str(int(count)) for count in twelve.confusion_matrix().flatten()
    ]
    many = Interpretation(predictions(400, 37))
    ax = plot_confusion(many).figure.axes[0]
    assert words(ax) == [] and sorted(tick_words(ax.yaxis)) == sorted(many.preds.classes)
    order = [many.preds.classes.index(name) for name in tick_words(ax.yaxis)]
    counts = many.confusion_matrix().numpy()
    shares = counts / counts.sum(1, keepdims=True)
    assert np.allclose(ax.images[0].get_array(), np.sqrt(shares[np.ix_(order, order)]))


def test_confusion_of_1000_classes_is_a_table_of_the_worst():
    interp = Interpretation(predictions(3000, 1000, strength=4.0))
    drawing = plot_confusion(interp)
    (ax,) = drawing.figure.axes
    worst = interp.most_confused()[:15]
    assert [bar.get_width() for bar in ax.patches] == [pair.count for pair in worst]
    assert tick_words(ax.yaxis)[0] == f"{worst[0].truth} → {worst[0].predicted}"
    assert ax.get_ylim()[0] > ax.get_ylim()[1] and drawing.text.endswith("Bars: the 15 pairs confused most often.")


def test_confusion_without_any_mistake():
    perfect = Interpretation(predictions(140, 70, strength=99.0))
    drawing = plot_confusion(perfect)
    assert drawing.text.endswith("Bars: the 0 pairs confused most often.") and "Nothing is confused" in drawing.detail


def test_a_class_without_pictures_is_an_empty_row():
    preds = replace(predictions(30, 3), targets=torch.zeros(30, dtype=torch.int64))
    assert words(plot_confusion(Interpretation(preds)).figure.axes[0])[3:] == ["0\n0 %"] * 6


# Intervals and trust -------------------------------------------------------------------------------------------


def test_accuracies_are_points_with_wilsons_interval():
    preds = predictions(60, 2)
    drawing = plot_accuracies({"one": preds, "$two$": preds})
    ax = drawing.figure.axes[0]
    share = wilson(int(preds.correct.sum()), 60)
    first, point = ax.get_lines()[:2]
    assert first.get_xdata() == pytest.approx([100 * share.low, 100 * share.high])
    assert point.get_xdata() == pytest.approx([100 * share.estimate])
    assert ax.get_lines()[-1].get_xdata() == [50.0, 50.0]  # the most frequent class
    assert tick_words(ax.yaxis) == ["one", "$two$"] and words(ax)[0] == f"{100 * share.estimate:.1f}"
    assert drawing.text == "Accuracy with its 95 % confidence interval on 60 pictures: one and $two$."
    assert "n = 60" in ax.get_xlabel() and "50.0 %" in ax.get_title("left")


def test_accuracies_on_different_pictures_say_how_many_each():
    drawing = plot_accuracies({"a": predictions(60), "b": predictions(31, seed=1)})
    assert "31 to 60 pictures" in drawing.text and drawing.figure.axes[0].get_xlabel().endswith("n = 31 to 60")
    assert "a: ≈ 93.3 % of 60" in drawing.detail and " of 31, 95 % confidence interval ≈" in drawing.detail
    assert "no predictions" in plot_accuracies({}).text


def test_reliability_points_are_the_bins():
    preds = predictions(200, 2)
    record = reliability(preds)
    drawing = plot_reliability(preds)
    above, below = drawing.figure.axes
    points = above.containers[0].lines[0]
    filled = record.counts > 0
    assert points.get_xdata() == pytest.approx((100 * record.confidence[filled]).tolist())
    assert points.get_ydata() == pytest.approx((100 * record.accuracy[filled]).tolist())
    assert [bar.get_height() for bar in below.patches] == record.counts.tolist()
    assert "200 pictures in 10 bins" in drawing.text and drawing.detail == record.text


# Pictures ------------------------------------------------------------------------------------------------------


def test_pictures_of_every_kind_are_drawn_as_they_are():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for image in (pixels, torch.from_numpy(pixels).permute(2, 0, 1), Image.fromarray(pixels)):
        assert (as_pixels(image) == pixels).all()
    grey = torch.rand(1, 4, 4)
    assert np.allclose(as_pixels(grey), grey[0]) and as_pixels(Image.fromarray(pixels[:, :, 0])).shape == (4, 4, 3)
    with pytest.raises(ValueError, match=r"got shape \(2, 4, 4\)"):
        as_pixels(torch.zeros(2, 4, 4))
    with pytest.raises(ValueError, match="from -2 to 0: show it before it is normalised"):
        as_pixels(torch.tensor([[-2.0, 0.0]]))


def test_grid_has_titles_as_they_are_and_a_frame_for_the_wrong():
    drawing = show_pictures(torch.rand(5, 3, 8, 8), ["$x$", "<i>", "c\nd", "e" * 99, ""], wrong=[True, *[False] * 4])
    axes = drawing.figure.axes
    assert [ax.get_title() for ax in axes[:3]] == ["$x$", "<i>", "c\nd"] and not axes[0].title.get_parse_math()
    assert len(axes[3].get_title()) < 30 and "…" in axes[3].get_title()
    looks = [(ax.spines["left"].get_linestyle(), ax.spines["left"].get_linewidth()) for ax in axes[:2]]
    assert looks[0] != looks[1] and looks[0][1] > 3 and looks[1][0] == "-"
    assert [ax.axison for ax in axes] == [True] * 5 + [False]
    assert drawing.text == "5 pictures." and show_pictures([]).text == "No pictures to show."
    with pytest.raises(ValueError, match="titles has 1 entries for 2 pictures"):
        show_pictures(torch.rand(2, 3, 8, 8), ["one"])


def test_batch_shows_what_the_model_sees(data):
    drawing = show_batch(data, n=4)
    images, targets = data.one_batch("train")
    axes = drawing.figure.axes
    assert np.allclose(axes[0].images[0].get_array(), images[0].permute(1, 2, 0))
    assert [ax.get_title() for ax in axes] == [data.classes[target] for target in targets[:4].tolist()]
    assert drawing.text.startswith("4 pictures of the train part, augmented, 16 px: ")
    with pytest.raises(TypeError, match="here it is called 'n'"):
        show_batch(data, nrows=3)
    assert show_batch(data, "valid", 2).text.startswith("2 pictures of the valid part"), "the verb"
    assert show_batch(data, "valid").text == "4 pictures of the valid part, without augmentation, 16 px: 2 a and 2 b."


def own_predictions(data, probs):
    names = [item.name for item in data.items_of("valid")]
    preds = predictions(4, 2, names=names, classes=data.classes)
    return replace(preds, log_probs=torch.tensor(probs).log())


def test_picks_say_answer_probability_and_truth(data):
    preds = own_predictions(data, [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    interp = Interpretation(preds)
    drawing = show_picks(interp.pick("most_incorrect"), data)
    assert [ax.get_title() for ax in drawing.figure.axes] == ["b\np = 0.80\nis a", "a\np = 0.60\nis b"]
    assert "b, p = 0.80, wrong, is a" in drawing.detail
    assert " ".join(drawing.figure.get_suptitle().split()) == interp.pick("most_incorrect").caption
    right = show_picks(interp.pick("most_correct"), data)
    assert [ax.get_title() for ax in right.figure.axes] == ["a\np = 0.90\ncorrect", "b\np = 0.70\ncorrect"]
    assert "08.png: a, p = 0.90, correct" in right.detail
    row = data.index_of("08.png")
    assert np.allclose(right.figure.axes[0].images[0].get_array(), data.eval_images([row])[0].permute(1, 2, 0))
    none = Interpretation(preds.subset([0])).pick("random_incorrect")
    assert show_picks(none, data).text.startswith("No pictures to show.")


@pytest.mark.parametrize("of_class", [None, "a"])
def test_every_kind_of_pick_has_a_sentence_of_its_own(data, of_class):
    """The same on every machine: no probability, no count of how many were right."""
    preds = own_predictions(data, [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    picks = {which: Interpretation(preds).pick(which, 1, of_class=of_class) for which in PICKS}
    said = {which: show_picks(picked, data).text for which, picked in picks.items()}
    assert len(set(said.values())) == len(PICKS)
    of = "" if of_class is None else ", class a"
    assert said["most_incorrect"] == (
        f"Wrong, worst first{of}: 1 picture, each with the model's answer, its probability, "
        "and the label where the answer is wrong."
    )
    for which, text in said.items():
        assert ("drawn at random" in text) == which.startswith("random_")
        assert text.startswith("Correct") == which.endswith("_correct")
        assert (of in text) and not re.search(r"0\.\d", text)


def test_results_are_drawn_at_random_but_repeatable(data):
    preds = own_predictions(data, [[0.9, 0.1]] * 4)
    drawing = show_results(preds, data, 3)
    assert drawing.text.startswith("3 pictures drawn at random from 4 of the valid part, each with the model's answer")
    assert drawing.detail == show_results(preds, data, 3).detail
    unlabelled = replace(preds, targets=torch.full((4,), -1))
    assert show_results(unlabelled, data).figure.axes[0].get_title() == "a\np = 0.90\nno label"


def test_top_losses_worst_first_with_the_probability_of_the_actual_class(data):
    preds = own_predictions(data, [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    drawing = plot_top_losses(Interpretation(preds), data, k=3)
    titles = [ax.get_title() for ax in drawing.figure.axes]
    assert titles == ["b /\na\n1.61 / 0.200, wrong", "a /\nb\n0.92 / 0.400, wrong", "b /\nb\n0.36 / 0.700"]
    assert drawing.figure.get_suptitle() == "prediction / actual / loss / probability of actual"
    assert (
        drawing.text.startswith("The 3 pictures with the largest loss, worst first, of 4.")
        and "10.png: predicted b, actual a, loss 1.61" in drawing.detail
    )


def test_heat_map_says_where():
    heat = torch.zeros(16, 16)
    heat[4, 12] = 1
    drawing = show_heat_map(torch.rand(3, 16, 16), heat, title="$7$")
    assert np.allclose(drawing.figure.axes[1].images[1].get_array(), heat)
    assert drawing.detail == "The strongest place is 75 % from the left and 25 % from the top."
    assert "($7$)" in drawing.text
    assert show_heat_map(torch.rand(3, 16, 16), 0 * heat).detail == "The map is empty."
    with pytest.raises(ValueError, match=r"the heat map is \(16, 16\), the picture \(8, 8\)"):
        show_heat_map(torch.rand(3, 8, 8), heat)
