"""What one lesson hands to the next."""

import pytest
import torch

from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons import course


@pytest.fixture
def small_course(data, monkeypatch):
    """The course on 24 drawn pictures of 32 pixels instead of 2,624 cells."""
    monkeypatch.setattr(course, "course_data", data.resized)
    monkeypatch.setattr(course, "SUBSTITUTE_PX", 32)
    monkeypatch.setattr(course, "SIZE_OF", {stage: 32 if size == 128 else 40 for stage, size in course.SIZE_OF.items()})


def test_a_model_handed_on_is_the_model_started_from(small_course, capsys):
    """Catches a lesson that silently starts from other weights than the one before it ended with."""
    first = course.start_from("02_head")
    assert "substitute" in capsys.readouterr().out
    course.hand_on(first, "02_head")
    second = course.start_from("02_head")
    assert "you trained in lesson 02" in capsys.readouterr().out
    assert torch.equal(first.predict(), second.predict())


@torch.no_grad()
def test_an_earlier_head_sees_what_the_first_parts_of_the_body_put_out(data):
    """Catches a body cut at another place, random weights in it, and a body that trains along."""
    learn = course.earlier_head(data, 8, seed=3)
    whole = Learner.pretrained(data).model
    images = torch.rand(2, 3, data.size, data.size)
    maps = whole.body(whole.normalize(images), 0, 8)  # (2, 192, h, w)
    expected = torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)
    torch.testing.assert_close(learn.model.eval().features(images), expected)
    trained = [weights for weights in learn.model.parameters() if weights.requires_grad]
    assert learn.precompute and {id(weights) for weights in trained} == set(map(id, learn.model.head.parameters()))


def test_answering_gives_the_answers_of_get_preds(data):
    """Catches dropout that is left on, gradients that are kept, and another arithmetic than the learner's."""
    learn = Learner.pretrained(data)
    learn.model.train()
    with course.answering(learn):
        logits = learn.model(data.eval_images(data.indices_of("valid")))
    assert not logits.requires_grad and learn.model.training
    torch.testing.assert_close(logits.float().log_softmax(1), learn.get_preds().log_probs, atol=1e-4, rtol=1e-4)


def test_every_stage_is_trained_further_and_seen_at_its_size_the_same_each_time(small_course):
    """Catches a substitute that is untrained, is one of an earlier lesson or of another size than it was trained for,
    or differs from one late student to the next."""
    stages = {stage: course.start_from(stage) for stage in course.SIZE_OF}
    assert [len(learn.history.epochs) for learn in stages.values()] == [2, 5, 8, 8, 8]
    assert [learn.data.size for learn in stages.values()] == [32, 32, 32, 40, 40]
    tuned = stages["04_tuned"]
    assert torch.equal(tuned.predict(), course.start_from("04_tuned").predict())
    assert tuned.copies == 0, "later lessons decide about copies themselves"
    assert course.start_from("02_head", size=48).data.size == 48


def test_a_model_of_another_split_is_not_taken(small_course, data, monkeypatch, capsys):
    """Catches a model of an older release, which trained on photographs that are held out now."""
    course.hand_on(course.start_from("02_head"), "02_head")
    other = ImageData.from_items(data.items, seed=5, size=32, batch_size=8)
    monkeypatch.setattr(course, "course_data", other.resized)
    capsys.readouterr()
    course.start_from("02_head")
    assert "substitute" in capsys.readouterr().out


def test_another_architecture_is_not_handed_on(small_course, data):
    """Catches a lesson that dies in its first cell, because in the one before a student tried another network."""
    learn = Learner.pretrained(data, "test_resnet", pretrained=False)
    with pytest.raises(ValueError, match="go on with efficientnet_lite0, and this is test_resnet"):
        course.hand_on(learn, "03_head")


def test_an_unknown_stage_names_those_there_are(small_course):
    with pytest.raises(ValueError, match="02_head, 03_head, 04_tuned, 05_resized, 06_final; got '99_x'"):
        course.start_from("99_x")


def test_the_course_pictures_are_those_of_the_lessons():
    """Catches a changed split, which would change every stored number."""
    data = course.course_data(64)
    assert [len(data.indices_of(part)) for part in ("train", "valid")] == [1608, 536]
    assert data.classes == ("defective", "functional")
    assert data.augment.dihedral
    assert data.augment.max_rotate_deg == 3
