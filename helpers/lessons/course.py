"""The course's own data, a walk through its pipeline, and the models that one lesson hands to the next."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

import data_setup
from data_setup.base.arguments import closest
from data_setup.base.pictures import read_image
from data_setup.items import Item
from data_setup.splits import PARTS
from helpers.analysis.predictions import Predictions
from helpers.data.augment import Augment, side_on, top_down
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons.chosen import is_solar, kept_as, set_items
from helpers.lessons.upright import basic
from helpers.models.classifier import Classifier, make_head
from helpers.models.folding import predicting
from helpers.recipe.averaging import AverageWeights
from helpers.runtime.seeds import seeded

ARCH = "efficientnet_lite0"  # of every model that a lesson hands on
BATCH_SIZE = 32
PRESIZE_PX = 160  # decoded once for all lessons, which work at 64, 128 and 160 px
# Cells have no up, and a straight edge that every photograph shows: all eight symmetries, hardly any rotation, no crop.
COURSE_AUGMENT = top_down(max_rotate_deg=3.0, max_zoom=1.0, max_lighting=0.1)
ELSEWHERE = {"side_on": side_on, "top_down": top_down, "basic": basic}  # of other sets, by name
# What a lesson hands on: its number, what it is, and the size in pixels at which it was trained.
SIZE_OF = {"02_head": 128, "03_head": 128, "04_tuned": 128, "05_resized": 160, "06_final": 160}
SUBSTITUTE_PX = 128  # what a substitute trains at, whatever its photographs' size afterwards


def course_data(size: int = 128) -> ImageData:
    """The chosen set as every lesson uses it, augmented.

    Of the solar cells 1,608 train, 536 are held out and 480 stay sealed.
    """
    presize_px = PRESIZE_PX if size <= PRESIZE_PX else None
    settings = {"size": size, "presize_px": presize_px, "augment": course_augment(), "batch_size": BATCH_SIZE}
    if is_solar():
        return ImageData.from_folders(data_setup.prepare(), **settings)
    return ImageData(*set_items(), **settings)


def course_augment() -> Augment:
    """What lessons do to training photographs: of the solar cells COURSE_AUGMENT, of another set what COURSE_AUGMENT in
    the environment names, by default `side_on`. Raises ValueError for a name that is none of the three."""
    named = os.environ.get("COURSE_AUGMENT", "side_on")
    if is_solar():
        return COURSE_AUGMENT
    if named not in ELSEWHERE:
        raise ValueError(f"COURSE_AUGMENT={named} is no set of changes; {closest(named, ELSEWHERE)}")
    return ELSEWHERE[named]()


def hand_on(learn: Learner, stage: str, preds: Predictions | None = None) -> None:
    """Keep the model for later lessons. Raises ValueError for a stage or an arch the course does not have.

    `preds`: what the model says about the validation photographs, where that is known already.
    """
    name = _name_of(stage, learn.data)
    if learn.arch != ARCH:
        raise ValueError(f"later lessons go on with {ARCH}, and this is {learn.arch}: keep it with learn.save(...)")
    learn.save(name, preds)
    print(f"kept as {stage}: a later lesson can start from it")


def start_from(stage: str, *, size: int | None = None) -> Learner:
    """The model an earlier lesson handed on; if that lesson was not run here, a substitute, trained in a minute.

    `size`: the photographs' side in pixels, by default that at which the model was trained.
    """
    _check_stage(stage)
    learn = Learner.pretrained(course_data(size or SIZE_OF[stage]), ARCH)
    name = _name_of(stage, learn.data)
    if (learn.path / f"{name}.safetensors").is_file():
        learn.load(name)
        print(f"{stage}: the model you trained in lesson {stage[:2]}")
    else:
        print(f"{stage}: lesson {stage[:2]} has not been run here, so a substitute is trained; give it a minute")
        _substitute(learn, stage)
    return learn


def earlier_head(data: ImageData, stages: int, arch: str = ARCH, *, seed: int = 0) -> Learner:
    """A new head on what the first `stages` parts of ImageNet's body make of the photographs; they stay frozen."""
    whole = Learner.pretrained(data, arch, seed=seed).model
    body = whole.body[:stages]
    with torch.no_grad():
        channels = body(torch.zeros(1, 3, data.size, data.size)).shape[1]
    with seeded("head", seed):
        head = make_head(2 * channels, len(data.classes))  # the largest and the mean of each channel
    model = Classifier(whole.normalize, body, head, maps=True, arch=f"the first {stages} parts of {arch}")
    learn = Learner(data, model, seed=seed)
    learn.freeze()
    learn.precompute = True
    return learn


def answering(learn: Learner) -> AbstractContextManager[None]:
    """Inside the block `learn.model` answers as in `get_preds`: no dropout, no gradients, its precision."""
    return predicting(learn.model, learn.device, learn.prediction_precision)


def _substitute(learn: Learner, stage: str) -> None:
    """The lessons' own steps, shortened, at `SUBSTITUTE_PX`: head, augmented copies, the last three of all groups."""
    data = learn.data
    learn.set_data(data.resized(min(data.size, SUBSTITUTE_PX)))
    learn.fit(1e-3, 2)
    if stage > "03":
        learn.precompute_copies(2)
        learn.fit_one_cycle(3, 1e-3)
    if stage > "04":
        finer = Learner(learn.data, learn.model, layer_groups="stages")
        finer.precompute_copies(1)
        finer.freeze_to(-3)
        rates = [0.0] * finer.trained_from + [1e-2 / 9, 1e-2 / 3, 1e-2]
        finer.fit(rates, 3, cycle_len=1, hooks=[AverageWeights((1, 2, 3))])
        learn.freeze()
    learn.copies = 0
    learn.set_data(data)


def _name_of(stage: str, data: ImageData) -> str:
    """The file's name: a model that trained on another split is another model."""
    _check_stage(stage)
    return f"{kept_as(f'course-{stage}')}-{data.split.digest()[:8]}"


def _check_stage(stage: str) -> None:
    if stage not in SIZE_OF:
        raise ValueError(f"the lessons hand on {', '.join(SIZE_OF)}; got {stage!r}")


def summary(data: ImageData) -> None:
    """Walk one picture and one batch through every stage and print what each gives.

    A stage that fails is named, with the file and what to do, before its error is raised.
    """
    print(data)
    for part in PARTS:
        print(f"{part}: {_counted(data.items_of(part))}")
    rows = data.indices_of("train")[: data.batch_size]
    item = data.items[rows[0]]
    print(f"first training picture: {item.name!r}, labelled {item.label!r}")
    stages: list[tuple[str, Callable[[], Tensor]]] = [
        ("decode", lambda: torch.from_numpy(np.array(read_image(item.path)))),
        (f"presize to {data.presize_px} px", lambda: data.store.picture(int(rows[0]))),
        (f"cut squares of {data.presize_px} px", lambda: data.store.squares(rows)),
        ("augment a batch", lambda: data.one_batch("train")[0]),
        ("targets of the batch", lambda: data.one_batch("train")[1]),
    ]
    for stage, run in stages:
        try:
            result = run()
        except Exception as error:
            print(f"  {stage}: FAILED\n    {error}")
            raise
        shape, kind = tuple(result.shape), str(result.dtype).removeprefix("torch.")
        low, high = (f"{x:.2g}" if result.is_floating_point() else x for x in (result.min(), result.max()))
        print(f"  {stage}: {kind} {shape}, from {low} to {high}")


def _counted(items: Sequence[Item]) -> str:
    counts = Counter("unlabelled" if item.label is None else item.label for item in items)
    shown = ", ".join(f"{label} {count}" for label, count in sorted(counts.items())[:12])
    return (shown or "no pictures") + (f" and {len(counts) - 12} more classes" if len(counts) > 12 else "")
