"""A network taken apart before anybody trains it: its stages, layer groups and head, with their sizes."""

from types import SimpleNamespace

import torch

from data_setup.backbones import Available, describe, find
from data_setup.base.text import listed
from helpers.figures.style import Drawing
from helpers.lessons.network import draw_network, stages_of
from helpers.models.classifier import build_classifier
from helpers.models.groups import freeze_to, group_parameters, layer_groups


def explain(arch: str, *, size: int | None = None, n_classes: int = 2) -> Drawing:
    """Print what a network is made of and draw it, as `Learner.pretrained` would begin with it: only the head trains.

    `size` is the pictures' side in pixels, by default the one its weights were trained on. The weights here are random:
    nothing is downloaded. Raises ValueError for an unknown name and for a size the network cannot take.
    """
    about = describe(find(arch))
    size = size or about.size_px
    model = build_classifier(arch, n_classes, size=size, pretrained=False).eval()
    groups = layer_groups(model)
    freeze_to(model, groups, len(groups) - 1)
    data = SimpleNamespace(size=size, classes=[f"class {k}" for k in range(n_classes)])
    built = SimpleNamespace(arch=arch, model=model, groups=groups, device=torch.device("cpu"), data=data)
    print("\n".join([_about(about, size), *_stage_rows(built), *_group_rows(built)]))
    return draw_network(built)


def _about(about: Available, size: int) -> str:
    accuracy = "no accuracy published with the library"
    if about.accuracy is not None:
        accuracy = f"{about.accuracy:.1f} % of ImageNet's validation pictures right, as published"
    weights = "weights on this machine" if about.here else "weights not on this machine yet"
    return f"{about.name}: {accuracy}; trained at {about.size_px} px, here {size} px; {weights}\n"


def _stage_rows(built) -> list[str]:
    rows = [f"{'stage':>5}  {'group':>5}  {'height × width × channels':>26}  {'parameters':>12}"]
    *body, head = stages_of(built)
    for index, stage in enumerate(body):
        shape = f"{stage.side_px} × {stage.side_px} × {stage.channels}"
        rows.append(f"{index:>5}  {stage.group:>5}  {shape:>26}  {stage.parameters:>12,}")
    return [*rows, f"{'head':>5}  {head.group:>5}  {f'{head.channels} classes':>26}  {head.parameters:>12,}", ""]


def _group_rows(built) -> list[str]:
    counts = [sum(p.numel() for p in group) for group in group_parameters(built.model, built.groups)]
    normalize = built.model.normalize
    mean, std = (listed([f"{value:.3f}" for value in t.flatten()]) for t in (normalize.mean, normalize.std))
    parts = listed([f"{count:,}" for count in counts])
    return [f"layer groups: {parts} parameters", f"pictures: mean {mean}, standard deviation {std}"]
