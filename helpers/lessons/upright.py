"""The third set of changes that lesson 03 compares, beside `side_on` and `top_down`."""

from dataclasses import replace
from functools import partial

from data_setup.base.arguments import did_you_mean
from helpers.data.augment import Augment


@partial(did_you_mean, forwards_to=Augment)
def basic(**changes) -> Augment:
    """No mirroring at all, for letters and signs: a little rotation and light (fastai 0.7's `transforms_basic`)."""
    return replace(Augment(max_rotate_deg=10.0, max_lighting=0.05), **changes)
