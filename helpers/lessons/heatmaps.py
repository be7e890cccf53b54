"""Where a model looks: Grad-CAM heat maps from the last feature map, or the last patches of a transformer."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.runtime.precision import eval_mode


def heat_map(model, images: Tensor, class_index: int | Tensor | None = None) -> Tensor:
    """How much each place supports a class, by Grad-CAM (Selvaraju et al. 2017): (N, H, W) float 0..1, CPU.

    `images` are (N, 3, H, W) or one (3, H, W), float 0..1; `model` is a Classifier or a Learner with one.
    `class_index` is one class for all, one per picture (N,), or None for the predicted class.
    Every channel of the feature map is weighted by the mean gradient of the class's logit with respect to it;
    the weighted sum, clipped at 0, is enlarged to the picture and scaled so that its peak is 1.
    The patches of a transformer, without its class token, are such a map: the last ones that the prediction depends on.
    The model is left as it was: no gradient in it, every module in the mode it had.
    """
    model = getattr(model, "model", model)
    if not all(hasattr(model, part) for part in ("normalize", "body", "pool", "head")):
        raise ValueError(f"a heat map needs a Classifier or a Learner; got {type(model).__name__}")
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images are (N, 3, H, W) or (3, H, W), at least one; got {tuple(images.shape)}")
    device = next(model.parameters()).device
    with eval_mode(model), torch.inference_mode(False), torch.enable_grad():
        features, slopes = _last_map(model, model.normalize(images.to(device).clone()), class_index)
    weights = slopes.mean((2, 3), keepdim=True)  # (N, F, 1, 1)
    heat = (weights * features).sum(1, keepdim=True).relu().float()
    heat = functional.interpolate(heat, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    peak = heat.amax((1, 2), keepdim=True)
    return torch.where(peak > 0, heat / peak, 0.0).cpu()


def _last_map(model: nn.Module, inputs: Tensor, class_index: int | Tensor | None) -> tuple[Tensor, Tensor]:
    """The feature map (N, F, h, w) and the gradient there, without history.

    Of a body that gives (N, F) it is the last map or grid of patches inside with F channels that the prediction
    depends on. (Behind the last attention of a transformer only the class token matters.)
    """
    seen: list[object] = []
    hooks = [m.register_forward_hook(lambda module, given, output: seen.append(output)) for m in model.body.modules()]
    try:
        features = model.body(inputs.requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    score = _score(model, features, class_index)
    if features.ndim == 4:
        return features.detach(), torch.autograd.grad(score, features)[0]  # row n is about picture n alone
    like = features.shape[-1], prefix_tokens(model)
    for output in reversed(seen):
        if isinstance(output, Tensor) and as_map(output, *like) is not None and output.requires_grad:
            (slopes,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
            if slopes is not None and as_map(slopes, *like).any():
                return as_map(output.detach(), *like), as_map(slopes, *like)
    raise ValueError(
        f"a heat map needs a body with a feature map or patches; this one only gives {tuple(features.shape)}. "
        "Architectures for pictures (resnet, efficientnet, convnext, vit) have one"
    )


def _score(model: nn.Module, features: Tensor, class_index: int | Tensor | None) -> Tensor:
    """The sum of the requested logits, one per picture."""
    logits = model.head(model.pool(features))  # (N, K)
    n, k = logits.shape
    wanted = logits.argmax(1) if class_index is None else torch.as_tensor(class_index, device=logits.device).long()
    if wanted.ndim > 1 or (wanted.ndim == 1 and len(wanted) != n):
        raise ValueError(f"class_index is one class, or one for each of {n} pictures; got shape {tuple(wanted.shape)}")
    if ((wanted < 0) | (wanted >= k)).any():
        raise ValueError(f"class_index counts from 0 to {k - 1}; got {class_index}")
    return logits.gather(1, wanted.expand(n)[:, None]).sum()


def prefix_tokens(model: nn.Module) -> int:
    """How many tokens a transformer has besides its patches: the class token, registers."""
    return next((m.num_prefix_tokens for m in model.body.modules() if hasattr(m, "num_prefix_tokens")), 0)


def as_map(output: Tensor, n_features: int, prefix: int = 0) -> Tensor | None:
    """(N, F, h, w) from such a map or from tokens (N, T, F), whose last g * g are the patches; None for all else.

    `prefix` of the tokens come before the patches.
    """
    if output.ndim == 4 and output.shape[1] == n_features and output.shape[2] * output.shape[3] > 1:
        return output
    if output.ndim != 3 or output.shape[2] != n_features or output.shape[1] < 4:
        return None
    side = math.isqrt(max(output.shape[1] - prefix, 0))
    if side * side != output.shape[1] - prefix:  # not the transformer's own list of tokens
        side = math.isqrt(output.shape[1])
    return output[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))
