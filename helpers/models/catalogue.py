"""Which networks are here, and how fast they are on this machine."""

import time
from dataclasses import replace

import torch

from data_setup.backbones import Available, Catalogue, published
from helpers.models.classifier import build_classifier
from helpers.models.folding import predicting
from helpers.runtime.device import pick_device
from helpers.runtime.precision import fast_precision, network_kind

PROBE_SECONDS, BATCH = 5.0, 16


def available(names: str = "", *, speed: bool = False) -> Catalogue:
    """The networks whose weights are here or, with `names` ("vit_tiny*"), all with published weights that fit it.

    speed: predict random pictures with each, five seconds altogether. Raises ValueError when no name fits.
    """
    found = published(names)
    rated = (replace(one, images_per_s=_rate(one, PROBE_SECONDS / len(found))) for one in found)
    return Catalogue(rated) if speed else found


def _rate(one: Available, seconds: float) -> float:
    """Pictures of its own size that a classifier predicts in a second, as a learner would; at least one batch."""
    device = pick_device()
    model = build_classifier(one.name, 2, size=one.size_px, pretrained=False)
    model.to(device, memory_format=torch.channels_last)
    images = torch.rand(BATCH, 3, one.size_px, one.size_px).to(device)
    with predicting(model, device, fast_precision(device, network_kind(model), "predicting")):
        model(images).cpu()  # libraries are loaded and choose
        started, done = time.perf_counter(), 0
        while done == 0 or time.perf_counter() - started < seconds:
            model(images).cpu()  # waits until a GPU is done
            done += BATCH
    return done / (time.perf_counter() - started)
