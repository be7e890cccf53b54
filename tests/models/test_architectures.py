"""Forty architectures, nearly as many families, random weights: the classifier built from each is that network."""

import copy
import math

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import swin_transformer, vision_transformer

from data_setup import lite
from helpers.models.bodies import LITE_MEAN, LITE_STD
from helpers.models.classifier import build_classifier
from helpers.models.groups import freeze_to, group_parameters, layer_groups, optimizer_groups, split_point_before

TORCHVISION = {
    **dict.fromkeys(["alexnet", "resnet18", "squeezenet1_1", "densenet121", "googlenet", "mobilenet_v2"], 64),
    **dict.fromkeys(
        ["mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf"], 64
    ),
    "swin_t": 64,
    "inception_v3": 96,
    "vit_b_32": 224,
}
TIMM = {
    **dict.fromkeys(["efficientnet_lite0", "test_byobnet", "test_convnext", "test_efficientnet", "test_mambaout"], 64),
    **dict.fromkeys(["test_nfnet", "test_resnet", "test_vit", "test_vit2", "regnetx_002", "lcnet_035"], 64),
    **dict.fromkeys(["mobilenetv3_small_050", "ghostnet_050", "dla46x_c", "edgenext_xx_small", "hgnetv2_b0"], 64),
    **dict.fromkeys(["starnet_s050", "pvt_v2_b0", "efficientvit_b0", "mobilevit_xxs", "swiftformer_xs"], 64),
    **dict.fromkeys(["xcit_nano_12_p8_224", "fasternet_t0", "rexnet_100", "ese_vovnet19b_slim_dw"], 64),
    "test_coatnet": 160,
    "levit_128s": 224,
}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_at_least_thirty_architectures_of_both_libraries():
    """Catches a list that shrinks because one of them became inconvenient."""
    assert len(TORCHVISION) >= 12 and len(TIMM) >= 18
    assert len({**TORCHVISION, **TIMM}) >= 30


@pytest.fixture
def originals(monkeypatch):
    """Every network a library makes, copied before anything is taken from it; no weight keeps its initial value."""
    made = []

    def keeping(make):
        def kept(*args, **keywords):
            network = make(*args, **keywords)
            rng = torch.Generator().manual_seed(0)
            for name, tensor in network.state_dict().items():
                if tensor.is_floating_point() and tensor.squeeze().ndim <= 1 and "running" not in name:
                    tensor += 0.1 * torch.randn(tensor.shape, generator=rng)  # residual branches often start at zero
            made.append(copy.deepcopy(network).eval())
            return network

        return kept

    def shallow(deep, **fewer):  # two layers of twelve are as much of a transformer, in less time
        return lambda *args, **keywords: deep(*args, **{**keywords, **fewer})

    vit, swin = vision_transformer.VisionTransformer, swin_transformer.SwinTransformer
    monkeypatch.setattr(vision_transformer, "VisionTransformer", shallow(vit, num_layers=2))
    monkeypatch.setattr(swin_transformer, "SwinTransformer", shallow(swin, depths=[2, 2, 1, 1]))
    monkeypatch.setattr(timm, "create_model", keeping(timm.create_model))
    monkeypatch.setattr(lite, "EfficientNetLite", keeping(lite.EfficientNetLite))
    monkeypatch.setattr(torchvision.models, "get_model", keeping(torchvision.models.get_model))
    return made


def own_features(network, images):
    """What the original network hands to its own classifying part, from normalised pictures."""
    if hasattr(network, "forward_features"):
        maps = network.forward_features(images)
        if torch.is_tensor(maps) and maps.ndim == 4:
            return maps.permute(0, 3, 1, 2) if getattr(network, "output_fmt", "NCHW") == "NHWC" else maps
        return network.forward_head(maps, pre_logits=True)
    seen = []
    last = next(getattr(network, n) for n in ("avgpool", "heads", "classifier", "fc") if hasattr(network, n))
    last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    network(images)
    return seen[0]


def own_statistics(arch, network):
    if arch == "efficientnet_lite0":
        return LITE_MEAN, LITE_STD
    if hasattr(network, "pretrained_cfg"):
        return network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
    # these two are trained on ImageNet's statistics and turn them into 0.5 by themselves: see test_models.py
    return ([0.5] * 3, [0.5] * 3) if arch in ("googlenet", "inception_v3") else IMAGENET


@pytest.mark.parametrize(("arch", "size"), [*TORCHVISION.items(), *TIMM.items()], ids=[*TORCHVISION, *TIMM])
def test_architecture(arch, size, originals):
    """Catches a stage cut off, run twice or in another order, wrong statistics, and parameters outside the groups."""
    model = build_classifier(arch, 2, size=size, pretrained=False).eval()
    original = originals[0]
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    groups = layer_groups(model, 3)

    with torch.no_grad():  # the body is the network
        normalised = model.normalize(images)
        expected, found = own_features(original, normalised), model.body(normalised)
        if found.ndim == 4 and expected.ndim == 2:  # its own classifier takes the mean of the maps
            found = found.mean(dim=(2, 3))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert found.std() > 1e-3, "features that say nothing prove nothing"

    mean, std = own_statistics(arch, original)  # the pictures arrive as its weights want them
    by_hand = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(normalised, by_hand)

    grouped = group_parameters(model, groups)  # three groups, every parameter in exactly one
    assert len(groups) == 3 and all(grouped)
    assert sorted(id(p) for group in grouped for p in group) == sorted(map(id, model.parameters()))

    with torch.no_grad():  # cached features: the head alone, and the later half of the body
        whole = model(images)
        for first_trained in (1, 2):
            split_point = split_point_before(model, groups, first_trained)
            kept = model.before(images, split_point)
            torch.testing.assert_close(model.after(kept.clone(), split_point), whole, atol=1e-4, rtol=1e-4)

    freeze_to(model, groups, 2)
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in model.head.parameters()}
    freeze_to(model, groups, 0)
    assert all(p.requires_grad for p in model.parameters())

    freeze_to(model, groups, 1)  # one step: the first group stays, everything else moves
    before = [[p.detach().clone() for p in group] for group in grouped]
    optimizer = torch.optim.SGD(optimizer_groups(model, groups, [0.1] * 3, 0.0))
    statistics = {name: b.clone() for name, b in model.named_buffers()}
    model.train()
    loss = nn.functional.cross_entropy(model(images), torch.tensor([0, 1]))
    loss.backward()
    optimizer.step()
    assert math.isfinite(loss.item())
    moved = [[not torch.equal(p, q) for p, q in zip(g, b, strict=True)] for g, b in zip(grouped, before, strict=True)]
    assert not any(moved[0])
    assert any(moved[1]) and all(moved[2])
    assert all(p.grad is not None for group in grouped[1:] for p in group), (
        "every layer above the split point is in use"
    )
    frozen = {id(b) for module in groups[0] for b in module.buffers()}
    assert all(torch.equal(b, statistics[name]) for name, b in model.named_buffers() if id(b) in frozen)
