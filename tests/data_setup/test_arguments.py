"""A wrong or older name fails, and the message says which one was meant."""

from functools import partial

import pytest

from data_setup.base.arguments import OLDER, RENAMED, closest, did_you_mean, old_attribute


@did_you_mean
def fit_one_cycle(epochs, lr=1e-3, *, div=25.0):
    """A function like the learner's."""
    return epochs, lr, div


@pytest.mark.parametrize(
    ("keyword", "sentence"),
    [
        ("dv", r"^fit_one_cycle\(\) has no keyword 'dv'; did you mean 'div'\?$"),
        ("xyz", "has no keyword 'xyz'; choose from epochs, lr, div$"),
        ("lr_max", "has no keyword 'lr_max'; here it is called 'lr'$"),
        ("max_lr", "here it is called 'lr'$"),
        ("div_factor", "here it is called 'div'$"),
        ("wd", r"here it is: Learner\.pretrained\(data, weight_decay=0\.01\)$"),
        ("weight_decay", r"here it is: Learner\.pretrained\(data, weight_decay=0\.01\)$"),
        ("bs", r"here it is: data\.resized\(size, batch_size=32\)$"),
        ("valid_pct", "has no keyword 'valid_pct'; choose from epochs, lr, div$"),
    ],
)
def test_a_wrong_or_older_keyword_says_which_one_was_meant(keyword, sentence):
    """Catches a typo that is swallowed, and a word of the lectures answered with a list or with a word unknown here."""
    with pytest.raises(TypeError, match=sentence):
        fit_one_cycle(3, **{keyword: 1})


def test_a_correct_call_passes_unchanged():
    """Catches a check that gets in the way, or hides the function's name or Python's own errors."""
    assert fit_one_cycle(3, lr=1) == (3, 1, 25.0) and fit_one_cycle.__name__ == "fit_one_cycle"
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        fit_one_cycle()


def test_settings_that_are_passed_on_are_known_too():
    """Catches the message that lists only half of what a function takes."""

    class Data:
        def __init__(self, items, *, batch_size=32):
            self.batch_size = batch_size

        @classmethod
        @partial(did_you_mean, forwards_to=__init__)
        def from_folders(cls, folder, *, valid_frac=0.25, **settings):
            return cls(folder, **settings)

    assert Data.from_folders("x", batch_size=4).batch_size == 4
    for wrong, meant in (("valid_fraq", "did you mean 'valid_frac'"), ("bs", "here it is called 'batch_size'")):
        with pytest.raises(TypeError, match=f"from_folders.. has no keyword '{wrong}'; {meant}"):
            Data.from_folders("x", **{wrong: 1})
    with pytest.raises(TypeError, match="choose from folder, valid_frac, items, batch_size$"):
        Data.from_folders("x", settings=1)


def test_no_older_word_leads_to_another_older_word():
    """Catches a table that sends its reader in a circle."""
    assert not set(RENAMED) & ({*RENAMED.values(), *OLDER["elsewhere"]})


def test_closest_lists_the_first_choices_when_nothing_is_near():
    """Catches a message with ten thousand file names in it."""
    assert closest("accurcy", ["accuracy", "f1"]) == "did you mean 'accuracy'?"
    assert closest("q", range(100), most=3) == "choose from 0, 1, 2"


class Thing:
    """Has one attribute, and knows an older name for it."""

    def __init__(self):
        self.history = ()

    def __getattr__(self, name):
        raise old_attribute(self, name, {"recorder": "learn.history"})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("recorder", r"^Thing has no 'recorder'; here it is: learn\.history$"),
        ("historia", r"^Thing has no 'historia'; did you mean 'history'\?$"),
    ],
)
def test_an_older_attribute_is_answered_with_the_line_of_today(name, sentence):
    """Catches a bare AttributeError for what a lecture types, and a class that answers to everything."""
    assert Thing().history == () and not hasattr(Thing(), name)
    with pytest.raises(AttributeError, match=sentence):
        getattr(Thing(), name)


def test_a_property_that_fails_says_its_own_reason():
    """Catches "Owner has no 'total'; did you mean 'total'?" where something inside the property is missing."""

    class Owner:
        @property
        def total(self):
            return self.parts

        def __getattr__(self, name):
            raise old_attribute(self, name, {})

    with pytest.raises(AttributeError, match="no 'parts'"):
        Owner().total  # noqa: B018
