"""Image classification, a room for each stage of a photograph's journey. A room may use those above it, none below.

data_setup the package below this one: files -> labelled items -> split, still without a tensor
runtime    where and how things run: device, precision, seeds, saved tensors, several processes
data       labelled items and their split -> decoded once -> augmented batch
models     batch -> body -> head -> logits; layer groups, freezing, cached features
training   loss, schedule, the loop, metrics, hooks, learning-rate finder, checkpoints
analysis   predictions -> what is right and wrong, and how sure the model is
learner    `Learner`: the verbs of a lecture, each a few lines over the rooms above
figures    records drawn
review     pictures looked at and marked in the browser
export     a classifier that others can run
recipe     all steps, end to end: `python -m helpers.recipe`
lessons    what only the notebooks need, and heat maps

The names below are loaded when they are first used: `from helpers import ImageData, Learner`.
"""

import importlib
import os
import sys

# Threads that wait should sleep, not spin: with other programs on the same cores, spinning makes a training step
# several times as slow. But first a tenth of a millisecond awake (10,000 turns): alone on two cores a step is a fifth
# faster so. OpenMP reads both when torch is loaded; `make`, the kernel and conda set the first, too.
too_late = "torch" in sys.modules and "OMP_WAIT_POLICY" not in os.environ
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
if too_late:
    importlib.import_module("helpers.runtime.device").let_waiting_threads_sleep()

NAMES_OF = {
    "data_setup.base.pictures": "UnreadableImage read_image",
    "data_setup.items": "find_images label_by_folder label_by_regex relabel",
    "data_setup.splits": "split_by_group split_stratified",
    "helpers.runtime.seeds": "generator",
    "helpers.runtime.precision": "autocast",
    "helpers.data.dataset": "ImageData",
    "helpers.data.augment": "no_augment top_down",
    "helpers.learner": "Learner",
    "helpers.analysis.predictions": "Predictions",
    "helpers.analysis.interpret": "Interpretation",
    "helpers.analysis.intervals": "accuracy_interval accuracy_text compare mcnemar",
    "helpers.figures.curves": "plot_loss plot_lr plot_lr_find",
    "helpers.figures.pictures": "show_batch show_pictures",
    "helpers.figures.results": "plot_accuracies plot_confusion",
    "helpers.review.browsers": "LabelBrowser MistakeBrowser",
    "helpers.lessons.answers": "show_picks show_results",
    "helpers.lessons.audit": "find_label_errors",
    "helpers.lessons.together": "mean_of",
}
ROOM_OF = {name: room for room, names in NAMES_OF.items() for name in names.split()}
__all__ = list(ROOM_OF)


def __getattr__(name: str):
    if name not in ROOM_OF:
        raise AttributeError(f"helpers has no {name!r}; choose from {', '.join(ROOM_OF)}, or import from a room")
    return getattr(importlib.import_module(ROOM_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *ROOM_OF])
