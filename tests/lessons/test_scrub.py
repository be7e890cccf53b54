"""Scrubbing: frames hold what a head said after each epoch, and watching changes nothing of the training."""

import pytest
import torch

from helpers.lessons.heads import FeatureSet, hidden_head, train_head
from helpers.lessons.scrub import TrainingPlayer, WatchPhotographs, draw_four_frames, draw_frame, hard_items
from helpers.runtime.seeds import generator
from tests.lessons.test_figures import predictions
from tests.review.made import alts, check_page


@pytest.fixture
def features(data):
    columns = []
    for part in ("train", "valid"):
        rows = data.indices_of(part)
        columns += [torch.randn(len(rows), 8, generator=generator(f"features {part}")), data.targets[rows]]
    return FeatureSet(*columns, data.classes)


@pytest.fixture
def watched(data, features):
    watch = WatchPhotographs.of(data, data.items_of("valid"), features)
    train_head(hidden_head(8, len(data.classes)), features, rate=1e-2, epochs=3, watch=watch)
    return watch


def test_the_frames_are_what_the_head_said_before_and_after_each_epoch(data, features):
    """Catches rows of other photographs, a film one epoch late, and a second film appended to the first."""
    chosen = data.items_of("valid")[4:1:-1]
    watch = WatchPhotographs.of(data, chosen, features)
    for _ in range(2):
        head = hidden_head(8, len(data.classes))
        before = head.eval()(features.valid).softmax(1)
        run = train_head(head, features, rate=1e-2, epochs=3, watch=watch)
        after = run.head(features.valid).softmax(1)
        assert [frame.epoch for frame in watch.frames] == [0, 1, 2, 3]
        for probs, frame in ((before, watch.frames[0]), (after, watch.frames[-1])):
            own = probs.gather(1, features.valid_targets[:, None])[[4, 3, 2], 0]
            torch.testing.assert_close(torch.tensor(frame.p), own)
    with pytest.raises(ValueError, match="only validation photographs can be watched"):
        WatchPhotographs.of(data, data.items_of("train")[:1], features)


def test_watching_leaves_no_trace(data, features, watched):
    classes = len(data.classes)
    unwatched = train_head(hidden_head(8, classes), features, rate=1e-2, epochs=3)
    again = train_head(hidden_head(8, classes), features, rate=1e-2, epochs=3, watch=watched)
    assert unwatched.train_losses == again.train_losses and unwatched.valid_losses == again.valid_losses


def test_the_bars_are_as_long_as_the_probabilities(watched):
    drawing = draw_frame(watched, 2)
    frame = watched.frames[2]
    pairs = [
        patch for patch in drawing.figure.axes[0].patches if patch.get_facecolor()[3] and patch.get_linewidth() == 1.2
    ]
    widths = [(ours.get_width() / whole.get_width()) for whole, ours in zip(pairs[::2], pairs[1::2], strict=True)]
    assert widths == pytest.approx(frame.p, abs=0.02)
    right = sum(p >= 0.5 for p in frame.p)
    assert drawing.detail == f"Above one half: epoch 2 {right} of 6."


def test_four_frames_go_from_before_to_the_end(watched):
    words = [text.get_text() for text in draw_four_frames(watched).figure.axes[0].texts]
    assert [word.partition(":")[0] for word in words[:4]] == ["before", "epoch 1", "epoch 2", "epoch 3"]
    with pytest.raises(ValueError, match="nothing was watched yet"):
        draw_four_frames(WatchPhotographs(watched.items, watched.features, watched.targets))


def test_hard_photographs_are_those_nearest_to_one_half():
    preds = predictions(60)
    chosen = hard_items(preds, 5)
    distance = {item: abs(float(p) - 0.5) for item, p in zip(preds.items, (-preds.losses).exp(), strict=True)}
    assert set(chosen) == set(sorted(distance, key=distance.get)[:5])
    assert chosen == [item for item in preds.items if item in chosen]


def test_the_player_shows_the_frame_of_its_slider(watched):
    player = TrainingPlayer(watched)
    shown = [player.shown.value]
    for epoch in (1, 3):
        player.slider.value = epoch
        shown.append(player.shown.value)
    assert len(set(shown)) == 3 and player.play.max == 3
    bundle, _ = player._repr_mimebundle_()
    assert len(alts(bundle["text/html"])) == 1 and "4 moments of a training of 3 epochs" in bundle["text/plain"]
    check_page(bundle["text/html"])
