"""Scrubbing: frames hold what the model said after each epoch, and watching changes nothing of the training."""

import pytest
import torch

from helpers.learner import Learner
from helpers.lessons.scrub import TrainingPlayer, WatchPhotographs, draw_four_frames, draw_frame, hard_items
from tests.lessons.test_figures import predictions
from tests.review.made import alts, check_page


@pytest.fixture
def watched(learn):
    watch = WatchPhotographs(learn.data, learn.data.items_of("valid"))
    learn.fit(1e-3, 3, hooks=[watch])
    return watch


def test_the_last_frame_is_what_the_trained_model_says(learn, watched):
    assert [frame.epoch for frame in watched.frames] == [0, 1, 2, 3]
    preds = learn.get_preds("valid")
    own = preds.probs.gather(1, preds.targets[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(watched.frames[-1].p), own, atol=1e-5, rtol=0)
    assert watched.frames[0].p != watched.frames[-1].p


def test_watching_leaves_no_trace(data, learn, watched):
    unwatched = Learner.pretrained(data, "test_resnet", pretrained=False)
    unwatched.fit(1e-3, 3)
    for ours, theirs in zip(learn.model.state_dict().values(), unwatched.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


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
        draw_four_frames(WatchPhotographs(watched.data, watched.items))


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
