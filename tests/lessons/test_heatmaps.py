"""Heat maps against a closed form on a tiny model made by hand; nothing may be left in the model."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.lessons.heatmaps import as_map, heat_map, prefix_tokens
from helpers.models.classifier import Classifier, Normalize, build_classifier, make_head


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


class Tokens(nn.Module):
    """The map of another body as tokens (N, 1 + h w, F), a class token of zeros before them; their mean comes out."""

    def __init__(self, maps):
        super().__init__()
        self.maps, self.last = maps, nn.Identity()

    def forward(self, images):
        tokens = self.maps(images).flatten(2).transpose(1, 2)
        tokens = self.last(torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1))
        return tokens.sum(1) / (tokens.shape[1] - 1)


def test_patches_of_a_transformer_are_a_map_without_the_class_token():
    """A body that hands out the mean of its tokens has the heat of the body whose map they are."""
    model, images = Tiny(), pictures(4)
    expected = heat_map(model, images, 1)
    model.body, model.pool = nn.Sequential(Tokens(model.body)), nn.Identity()
    assert model.body(images).shape == (4, 2)
    torch.testing.assert_close(heat_map(model, images, 1), expected)


def test_behind_the_last_attention_only_the_class_token_counts_so_the_patches_before_it_are_taken():
    """timm's small transformer answers from its class token: the usual choice is what its last attention is given."""
    model = build_classifier("test_vit", 2, size=64, pretrained=False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    images, kept = pictures(2, size=64), []
    before = state_of(model)
    heat = heat_map(model, images, 1)
    assert state_of(model) == before and not any(module._forward_hooks for module in model.modules())
    model.eval()
    model.body[-2].norm1.register_forward_hook(lambda module, inputs, output: kept.append(output))
    slopes = torch.autograd.grad(model(images)[:, 1].sum(), kept[0])[0]
    patches, weights = kept[0][:, 1:].detach(), slopes[:, 1:].mean(1)  # 4 x 4 patches of 16 pixels
    expected = torch.einsum("ntf,nf->nt", patches, weights).relu().view(2, 1, 4, 4)
    expected = functional.interpolate(expected, size=(64, 64), mode="bilinear")[:, 0]
    torch.testing.assert_close(heat, expected / expected.amax((1, 2), keepdim=True), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("arch", ["test_resnet", "test_convnext", "test_mambaout", "test_vit2", "xcit_nano_12_p8_224"])
def test_architectures_of_every_family_have_heat_maps(arch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_classifier(arch, 4, size=64, pretrained=False)
    maps = torch.stack([heat_map(model, pictures(2, size=64), k) for k in range(4)])
    assert maps.shape == (4, 2, 64, 64) and maps.min() >= 0 and maps.max() == 1
    assert not torch.equal(maps.amin(0), maps.amax(0))  # what speaks for one class does not for another


@pytest.mark.parametrize("arch", ["test_vit", "test_vit2", "vit_wee_patch16_reg1_gap_256"])
@pytest.mark.parametrize("place", [(0, 1), (1, 0)])
def test_a_patch_lies_where_it_is_in_the_picture(arch, place):
    """Catches rows for columns, and class tokens or registers taken for patches: 2 x 2 patches, 32 px."""
    model = build_classifier(arch, 2, size=32, pretrained=False).eval()
    row, column = place
    plain, changed = torch.zeros(2, 1, 3, 32, 32)
    changed[..., 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 1.0
    with torch.no_grad():
        plain, changed = model.body[0](plain), model.body[0](changed)
    prefix = plain.shape[1] - 4
    moved = as_map((changed - plain), plain.shape[2], prefix_tokens(model)).abs().sum(1)[0]
    assert moved.shape == (2, 2) and prefix == prefix_tokens(model)
    assert moved[row, column] > 0 and moved.sum() == moved[row, column]


def test_registers_are_no_patches():
    """Catches nine tokens, five of them no patches, read as three rows of three."""
    tokens = torch.arange(9.0).view(1, 9, 1)
    assert as_map(tokens, 1, prefix=5).flatten().tolist() == [5, 6, 7, 8]
    assert as_map(tokens[:, 5:], 1, prefix=5) is None or as_map(tokens[:, 5:], 1, prefix=5).shape[-2:] == (2, 2)


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
    model.body, model.pool = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 2)), nn.Identity()
    with pytest.raises(ValueError, match=r"needs a body with a feature map or patches; this one only gives \(2, 2\)"):
        heat_map(model, pictures(2))
    with pytest.raises(ValueError, match="needs a Classifier or a Learner; got Linear"):
        heat_map(nn.Linear(3, 2), pictures(2))
    with pytest.raises(ValueError, match=r"got \(3, 6\)"):
        heat_map(Tiny(), torch.zeros(3, 6))
    with pytest.raises(ValueError, match="counts from 0 to 2; got 3"):
        heat_map(Tiny(), pictures(2), 3)
    with pytest.raises(ValueError, match=r"one for each of 2 pictures; got shape \(3,\)"):
        heat_map(Tiny(), pictures(2), torch.tensor([0, 1, 2]))
