"""Where a model looks: Grad-CAM heat maps from the last feature map, for every body that has one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


def heat_map(model, images: Tensor, class_index: int | Tensor | None = None) -> Tensor:
    """How much each place speaks for a class, by Grad-CAM (Selvaraju et al. 2017): (N, H, W) float 0..1, CPU.

    `images` are (N, 3, H, W) or one (3, H, W), float 0..1; `model` is a Classifier or a Learner with one.
    `class_index` is one class for all, one per picture (N,), or None for the class the model answers.
    Every channel of the feature map is weighted by the mean gradient of the class's logit with respect to it;
    the weighted sum, cut off below 0, is enlarged to the picture and scaled so that its peak is 1.
    The model is left as it was: no gradient in it, every module in the mode it had.
    """
    model = getattr(model, "model", model)
    missing = [part for part in ("normalize", "body", "pool", "head") if not hasattr(model, part)]
    if missing:
        raise ValueError(
            "a heat map needs a Classifier with normalize, body, pool and head; "
            f"{type(model).__name__} has no {missing[0]}"
        )
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images are (N, 3, H, W) or (3, H, W), at least one; got {tuple(images.shape)}")
    device = next(model.parameters()).device
    with eval_mode(model), torch.inference_mode(False), torch.no_grad():
        features = model.body(model.normalize(images.to(device).clone()))  # (N, F, h, w)
        if not isinstance(features, Tensor) or features.ndim != 4:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(
                f"a heat map needs a body that gives a map (N, F, h, w); this one gives {shape}. "
                "Convolutional architectures (resnet, efficientnet, convnext) have one"
            )
        features.requires_grad_()
        with torch.enable_grad():
            logits = model.head(model.pool(features))  # (N, K)
            scores = logits.gather(1, _class_column(class_index, logits)).sum()
            (slopes,) = torch.autograd.grad(scores, features)  # row n is about picture n alone
        weights = slopes.mean((2, 3), keepdim=True)  # (N, F, 1, 1)
        heat = (weights * features).sum(1, keepdim=True).relu().float()
        heat = functional.interpolate(heat, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        peak = heat.amax((1, 2), keepdim=True)
        return torch.where(peak > 0, heat / peak, 0.0).cpu()


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Every module evaluates inside the block; after it, each is in the mode it had, whatever happened."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _class_column(class_index: int | Tensor | None, logits: Tensor) -> Tensor:
    """(N, 1) int64: the class each picture is asked about."""
    n, k = logits.shape
    if class_index is None:
        return logits.argmax(1, keepdim=True)
    asked = torch.as_tensor(class_index, device=logits.device).long()
    if asked.ndim > 1 or (asked.ndim == 1 and len(asked) != n):
        raise ValueError(f"class_index is one class, or one for each of {n} pictures; got shape {tuple(asked.shape)}")
    if ((asked < 0) | (asked >= k)).any():
        raise ValueError(f"class_index counts from 0 to {k - 1}; got {class_index}")
    return asked.expand(n)[:, None]
