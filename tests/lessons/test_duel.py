"""The duel: who plays, what is kept, what is shown before and after."""

import json
import operator

import pytest

from helpers.data.dataset import ImageData
from helpers.lessons import duel
from helpers.lessons.duel import Duel, read_answers, twelve_photographs
from tests.conftest import draw_pictures
from tests.review.made import alts, check_page, walk


@pytest.fixture
def cells(tmp_path, course_data, monkeypatch):
    """60 drawn pictures; "dark" stands for broken, and the small head is a tiny network."""
    small = duel.quick_learner
    monkeypatch.setattr(duel, "QUICK_PX", 24)
    monkeypatch.setattr(duel, "quick_learner", lambda data: small(data, arch="test_resnet", pretrained=False))
    return ImageData.from_folders(draw_pictures(tmp_path / "cells", n=30), size=32, batch_size=8)


def sort_all(game, answer):
    for shown in game.photographs:
        shown.choice.value = answer(shown.item)


def test_the_twelve_are_five_and_seven_of_the_validation_part_whatever_the_size(cells):
    """Catches training photographs in the duel, and a choice that changes with the size or the order."""
    chosen = twelve_photographs(cells, positive="dark")
    assert [item.label for item in chosen].count("dark") == 5 and len(set(chosen)) == 12
    assert {item.name for item in chosen} <= set(cells.split.valid)
    assert chosen == twelve_photographs(cells.resized(24), positive="dark")
    labels = [item.label for item in chosen]
    assert labels not in (sorted(labels), sorted(labels, reverse=True)), "one class after the other gives it away"


def test_too_few_photographs_are_reported(data):
    with pytest.raises(ValueError, match="12 validation photographs, one to 5 of .* 'dark'; found 3 and 3 others"):
        twelve_photographs(data, positive="dark")


def test_a_class_with_three_validation_photographs_plays_with_all_of_them(tmp_path):
    """As with 200 classes of ten. Catches a duel that needs five of a class."""
    folder = draw_pictures(tmp_path / "cells", n=40)
    for file in sorted((folder / "dark").iterdir())[12:]:
        file.unlink()
    data = ImageData.from_folders(folder, size=32)
    labels = [item.label for item in twelve_photographs(data, positive="dark")]
    assert (labels.count("dark"), len(labels)) == (3, 12)


def test_scores_are_counted_against_the_labels(cells):
    game = Duel(cells, positive="dark")
    sort_all(game, lambda item: "broken")
    assert game.scores["you"] == 5
    assert game.scores["always whole"] == 7
    sort_all(game, lambda item: "broken" if item.label == "dark" else "whole")
    assert game.scores["you"] == 12
    said = [p >= 0.5 for p in game.p_broken["the small head"]]
    assert game.scores["the small head"] == sum(map(operator.eq, said, [item.label == "dark" for item in game.items]))


def test_nothing_is_shown_before_all_are_sorted(cells):
    """Catches labels that a learner sees by pressing the button first."""
    game = Duel(cells, positive="dark")
    game.show.click()
    assert "12 to go" in game.said.value and not any(shown.said.value for shown in game.photographs)
    sort_all(game, lambda item: "whole")
    game.show.click()
    for shown, truth in zip(game.photographs, game.truth, strict=True):
        assert f"<b>{truth}</b>" in shown.said.value
        assert ("as you said" if truth == "whole" else "you said whole") in shown.said.value
    assert "you 7" in game.said.value and "always whole 7" in game.said.value


def test_answers_are_kept_for_the_later_lesson_beside_those_of_other_photographs(cells):
    """Catches a kernel restart that loses the answers, and a second set that overwrites the first."""
    game = Duel(cells, positive="dark")
    game.file.parent.mkdir(parents=True, exist_ok=True)
    game.file.write_text(json.dumps({"other.png": "whole", "odd.png": 7}))
    game.photographs[2].choice.value = "broken"
    again = Duel(cells, positive="dark")
    assert again.answers == {game.items[2].path.name: "broken"}
    assert read_answers(game.file) == {"other.png": "whole", game.items[2].path.name: "broken"}


def test_answers_that_cannot_be_kept_say_so(cells, tmp_path):
    """Catches a callback whose error nobody sees."""
    game = Duel(cells, positive="dark")
    game.file = tmp_path / "blocked" / "duel.json"
    game.file.parent.write_text("a file where a folder should be")
    game.photographs[2].choice.value = "broken"
    assert "not kept" in game.said.value and "set COURSE_DATA" in game.said.value


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '"x"'])
def test_a_damaged_file_of_answers_is_as_good_as_none(tmp_path, content):
    (tmp_path / "duel.json").write_text(content)
    assert read_answers(tmp_path / "duel.json") == {}


def test_your_own_model_plays_too(cells):
    mine = duel.quick_learner(cells)
    game = Duel(cells, mine, positive="dark")
    assert list(game.scores) == ["the small head", "your model", "always whole"]
    said = mine.get_preds(game.items).probs[:, 0].tolist()
    assert game.p_broken["your model"] == pytest.approx(said) != game.p_broken["the small head"]


def test_the_page_shows_twelve_photographs_and_folds_everything_else(cells):
    game = Duel(cells, positive="dark")
    text, page = game.face()
    before, folded = page.split("<details>")
    assert alts(before) == [f"Photograph {n}" for n in range(1, 13)], "a file name would give the label away"
    assert "defective" not in before and "dark" not in before and "≈" not in before
    assert folded.count("p(broken) ≈ 0.") + folded.count("p(broken) ≈ 1.") == 12
    assert "you" not in folded.split("Correct of twelve")[1]
    check_page(str(page).replace("details>", "div>").replace("summary>", "p>"))
    assert len(page) < 300_000 and "broken" in text
    sort_all(game, lambda item: "broken")
    assert game.face() == (text, page), "the page does not depend on what its author clicked"


def test_every_choice_has_a_name_of_its_own(cells):
    names = [w.description for w in walk(Duel(cells, positive="dark")) if type(w).__name__ == "ToggleButtons"]
    assert names == [f"Photograph {n}" for n in range(1, 13)]
