"""Heat maps against a closed form on a tiny model made by hand; nothing may be left in the model."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.heatmaps import eval_mode, heat_map
from helpers.models import Classifier, Normalize, make_head


class MeanPool(nn.Module):
    def forward(self, maps):
        return maps.mean((2, 3))


class Tiny(nn.Module):
    """One 1 x 1 convolution with 2 filters, mean pool, linear head with 3 classes."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False))
        self.head = nn.Linear(2, 3)
        self.pool = MeanPool()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def normalize(self, images):
        return (images - 0.5) / 0.25

    def forward(self, images):
        return self.head(self.pool(self.body(self.normalize(images))))


def pictures(n, size=6):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def closed_form(model, images, classes):
    """d logit_k / d map_f = head[k, f] / (h w) everywhere, so its mean is that too."""
    maps = model.body(model.normalize(images)).detach()
    heat = torch.einsum("nf,nfhw->nhw", model.head.weight.detach()[classes] / maps[0, 0].numel(), maps).clamp(min=0)
    peak = heat.amax((1, 2), keepdim=True)
    return torch.where(peak > 0, heat / peak, 0.0)


@pytest.mark.parametrize("class_index", [None, 0, 2, torch.tensor([2, 0, 1, 1])])
def test_heat_is_the_gradient_weighted_sum(class_index):
    model, images = Tiny(), pictures(4)
    answered = model(images).argmax(1)
    classes = answered if class_index is None else torch.as_tensor(class_index).expand(4)
    heat = heat_map(model, images, class_index)
    torch.testing.assert_close(heat, closed_form(model, images, classes))
    assert heat.shape == (4, 6, 6)
    assert heat.min() >= 0
    assert heat.max() == 1
    assert not heat.requires_grad


def test_a_coarse_map_is_enlarged_to_the_picture():
    model, images = Tiny(), pictures(2, size=8)
    plain = model.body[0]
    model.body = nn.Sequential(plain, nn.AvgPool2d(4))
    maps = model.body(model.normalize(images)).detach()
    heat = torch.einsum("f,nfhw->nhw", model.head.weight.detach()[1], maps).clamp(min=0)
    heat = functional.interpolate(heat[:, None], size=(8, 8), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(heat_map(model, images, 1), heat / heat.amax((1, 2), keepdim=True))


def test_the_bright_spot_that_decides_is_where_the_heat_is():
    model = Tiny()
    model.body[0].weight.data = torch.tensor([[1.0, 1, 1], [-1, -1, -1]]).view(2, 3, 1, 1)
    model.head.weight.data = torch.tensor([[1.0, 0], [0, 1], [0, 0]])
    images = torch.full((1, 3, 8, 8), 0.5)
    images[..., 5, 2] = 1.0
    assert heat_map(model, images, 0)[0].flatten().argmax() == 5 * 8 + 2
    assert heat_map(model, images, 1).max() == 0, "nothing speaks for the other class: no heat, not a scaled-up nothing"


def test_one_picture_alone_equals_the_same_picture_in_a_batch():
    model, images = Tiny(), pictures(3)
    torch.testing.assert_close(heat_map(model, images[1]), heat_map(model, images)[1:2])


class Norms(Tiny):
    """With dropout and batch norm, in a mixture of modes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(*self.body, nn.BatchNorm2d(2), nn.ReLU(inplace=True))
        self.head = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 3), nn.ReLU(inplace=True))


def state_of(model):
    grads = [parameter.grad for parameter in model.parameters()]
    return (
        grads,
        [p.requires_grad for p in model.parameters()],
        [module.training for module in model.modules()],
    )


@pytest.mark.parametrize("frozen", [True, False])
def test_no_trace_is_left_in_the_model(frozen):
    model, images = Norms(), pictures(2)
    model.train()
    model.body[1].eval()
    for parameter in model.body.parameters():
        parameter.requires_grad_(not frozen)
    before, weights = state_of(model), {name: value.clone() for name, value in model.state_dict().items()}
    rng, pixels = torch.random.get_rng_state(), images.clone()
    first = heat_map(model, images)
    assert state_of(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(rng, torch.random.get_rng_state())
    assert torch.equal(images, pixels)
    assert not images.requires_grad
    assert torch.equal(first, heat_map(model, images)), "dropout must be off"


def test_modes_come_back_when_the_block_raises():
    model = Norms()
    model.body.eval()
    before = state_of(model)
    with pytest.raises(RuntimeError, match="stop"), eval_mode(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError("stop")
    assert state_of(model) == before


def test_a_classifier_agrees_with_hooks_on_its_whole_forward_pass():
    """The usual implementation: keep the map and its gradient while the whole model runs forward and backward."""
    body = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.Conv2d(5, 6, 1))
    model = Classifier(Normalize([0.4] * 3, [0.3] * 3), body, make_head(12, 3), maps=True)
    images, kept = pictures(3, size=11), []
    model.eval()
    model.body[-1].register_forward_hook(lambda module, inputs, output: kept.append(output))
    scores = model(images)[:, 1]
    slopes = torch.autograd.grad(scores.sum(), kept[0])[0]
    heat = (slopes.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu().detach()
    heat = functional.interpolate(heat, size=(11, 11), mode="bilinear")[:, 0]
    expected = heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(heat_map(model, images, 1), expected)


def test_gradients_that_wait_for_the_optimizer_are_kept():
    model, images = Tiny(), pictures(2)
    model(images).sum().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    heat_map(model, images)
    assert all(torch.equal(parameter.grad, grad) for parameter, grad in zip(model.parameters(), before, strict=True))


def test_a_learner_and_inference_mode_do_as_well():
    model, images = Tiny(), pictures(2)
    expected = heat_map(model, images)
    with torch.inference_mode():
        torch.testing.assert_close(heat_map(SimpleNamespace(model=model), images + 0.0), expected)


def test_errors_say_what_is_missing():
    model = Tiny()
    model.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 2))
    with pytest.raises(ValueError, match=r"gives a map \(N, F, h, w\); this one gives \(2, 2\)"):
        heat_map(model, pictures(2))
    with pytest.raises(ValueError, match="Linear has no normalize"):
        heat_map(nn.Linear(3, 2), pictures(2))
    with pytest.raises(ValueError, match=r"got \(3, 6\)"):
        heat_map(Tiny(), torch.zeros(3, 6))
    with pytest.raises(ValueError, match="counts from 0 to 2; got 3"):
        heat_map(Tiny(), pictures(2), 3)
    with pytest.raises(ValueError, match=r"one for each of 2 pictures; got shape \(3,\)"):
        heat_map(Tiny(), pictures(2), torch.tensor([0, 1, 2]))
