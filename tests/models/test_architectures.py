"""Ninety architectures of most families, random weights: the classifier built from each is that network, and works.

About forty run with the unit tests; `make architectures` runs the others, and each of them through all that a learner
does with it.
"""

import copy
import math

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import swin_transformer, vision_transformer

from data_setup import lite
from data_setup.backbones.networks import LITE_MEAN, LITE_STD
from helpers.lessons.heatmaps import heat_map
from helpers.models.classifier import build_classifier
from helpers.models.groups import freeze_to, group_parameters, layer_groups, optimizer_groups, split_point_before
from helpers.runtime.tensor_files import save_tensors
from helpers.training.checkpoints import load_model
from helpers.training.run import History

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
WIDE = {
    **dict.fromkeys(["torchvision/vgg11_bn", "torchvision/resnext50_32x4d", "torchvision/densenet169"], 64),
    **dict.fromkeys(["torchvision/squeezenet1_0", "torchvision/mobilenet_v3_large", "torchvision/mnasnet1_0"], 64),
    **dict.fromkeys(["torchvision/efficientnet_v2_s", "torchvision/regnet_x_400mf", "torchvision/convnext_tiny"], 64),
    **dict.fromkeys(["torchvision/swin_v2_t", "torchvision/resnet34"], 64),
    **dict.fromkeys(["timm/resnet18", "resnet18.a1_in1k", "resnet14t", "ecaresnet26t", "skresnet18", "resnest14d"], 64),
    **dict.fromkeys(["seresnext26t_32x4d", "res2net50_14w_8s", "resnetv2_18", "legacy_seresnet18", "dla34"], 64),
    **dict.fromkeys(["cspresnet50", "cs3darknet_s", "hrnet_w18_small", "dpn48b", "regnety_002", "regnetz_005"], 64),
    **dict.fromkeys(["nf_regnet_b0", "lambda_resnet26t", "botnet26t_256", "gernet_s", "hgnet_tiny", "rdnet_tiny"], 64),
    **dict.fromkeys(["mobilenetv4_conv_small_050", "tinynet_e", "mnasnet_small", "mixnet_s", "semnasnet_075"], 64),
    **dict.fromkeys(["tf_efficientnetv2_b0", "repvit_m0_9", "repghostnet_050", "ghostnetv2_100", "mobileone_s0"], 64),
    **dict.fromkeys(["convnext_atto", "convnextv2_atto", "inception_next_atto", "efficientvit_m0", "shvit_s1"], 64),
    **dict.fromkeys(["mobilevitv2_050", "fastvit_t8", "tiny_vit_5m_224", "mambaout_femto", "lowformer_b0"], 64),
    **dict.fromkeys(["davit_tiny", "focalnet_tiny_srf", "poolformer_s12", "convformer_s18", "maxvit_pico_rw_256"], 64),
    **dict.fromkeys(["vit_tiny_patch16_224", "vit_tiny_r_s16_p8_224", "vit_wee_patch16_reg1_gap_256"], 64),
    **dict.fromkeys(["deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "test_vit3", "test_vit4"], 64),
    **dict.fromkeys(["swin_tiny_patch4_window7_224", "mixer_s32_224", "resmlp_12_224", "convit_tiny"], 64),
    **dict.fromkeys(["cait_xxs24_224", "pit_ti_224", "mvitv2_tiny", "twins_svt_small", "visformer_tiny"], 64),
    "eva02_tiny_patch14_224": 70,
}
EVERY = {**TORCHVISION, **TIMM, **WIDE}
ONE_SIZE = ("botnet26t_256", "maxvit_pico_rw_256")  # windows or position codes that only fit multiples of their own
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_the_lists_hold_architectures_of_both_libraries():
    """Catches a list that shrinks because one of them became inconvenient."""
    assert len(TORCHVISION) >= 12 and len(TIMM) >= 18
    assert len({**TORCHVISION, **TIMM}) >= 30 and len(EVERY) >= 100


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


def own_features(network, images, maps_wanted):
    """What the original network hands to its own classifying part, from normalised pictures: maps, or pooled."""
    if hasattr(network, "forward_features"):
        maps = network.forward_features(images)
        if torch.is_tensor(maps) and maps.ndim == 4 and maps_wanted:
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


def architectures(sizes, *marks):
    return [pytest.param(arch, size, id=arch, marks=marks) for arch, size in sizes.items()]


@pytest.mark.parametrize(
    ("arch", "size"),
    [*architectures({**TORCHVISION, **TIMM}), *architectures(WIDE, pytest.mark.architectures)],
)
def test_architecture(arch, size, originals):
    """Catches a stage cut off, run twice or in another order, wrong statistics, and parameters outside the groups."""
    model = build_classifier(arch, 2, size=size, pretrained=False).eval()
    original = originals[0]
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    groups = layer_groups(model, 3)

    with torch.no_grad():  # the body is the network
        normalised = model.normalize(images)
        found = model.body(normalised)
        expected = own_features(original, normalised, maps_wanted=found.ndim == 4)
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


@pytest.mark.parametrize(("arch", "size"), architectures(EVERY, pytest.mark.architectures))
def test_in_use(arch, size, originals, tmp_path):
    """Catches what breaks after a network was built: other sizes, BatchNorm's policies, files, heat maps."""
    classes = ("a", "b", "c")
    model = build_classifier(arch, 3, size=size, pretrained=False).eval()
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    groups = layer_groups(model, 3)

    seeing = {id(layer) for layer in model.modules() if getattr(layer, "in_channels", 0) == 3}
    assert seeing & {id(layer) for module in groups[0] for layer in module.modules()}, "the stem is in the first group"
    later = {id(layer) for group in groups[1:] for module in group for layer in module.modules()}
    assert not seeing & later

    last = model.head[-1].weight.data
    last[1] = -last[0]  # what speaks against one class speaks for the other: one of them has a heat map
    heat = torch.stack([heat_map(model, images, k) for k in range(3)])
    assert heat.shape == (3, 2, size, size) and heat.min() >= 0 and heat.max() == 1
    assert not torch.equal(heat.amin(0), heat.amax(0)), "what speaks for one class does not for another"
    assert not any(parameter.grad is not None for parameter in model.parameters())

    with torch.no_grad():
        logits = model(images)
        if arch not in ONE_SIZE:  # built for another size, then used at this one where the network takes any
            other = size * 2
            larger = torch.rand(2, 3, other, other)
            fixed = getattr(originals[0], "pretrained_cfg", {}).get("fixed_input_size") or arch.startswith("vit_b")
            sized = "dynamic_img_size" in getattr(originals[0], "_model_args", {})
            again = model if sized or not fixed else build_classifier(arch, 3, size=other, pretrained=False).eval()
            answers = again(larger)
            assert answers.shape == (2, 3) and answers.isfinite().all()
    assert logits.shape == (2, 3) and logits.std() > 1e-4

    check_batchnorm(model, groups, images)

    with torch.no_grad():  # what was saved answers as the model that saved it
        expected = model.eval()(images)
    save_tensors(tmp_path / "m", model.state_dict(), {"arch": arch, "classes": classes, "history": History().to_json()})
    loaded = build_classifier(arch, 3, size=size, pretrained=False, seed=1).eval()
    load_model(tmp_path / "m", loaded, arch=arch, classes=classes)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), expected, atol=1e-5, rtol=1e-5)


def check_batchnorm(model, groups, images):
    """Which statistics move in a training step's forward pass, by policy; the head's always do."""
    frozen = {id(module) for root in groups[0] for module in root.modules()}
    norms = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    body = {id(module) for module in model.body.modules()}
    for policy in ("frozen", "train", "frozen everywhere"):
        freeze_to(model, groups, 1, bn=policy)
        before = [norm.running_mean.clone() for norm in norms]
        model.train()
        with torch.no_grad():
            model(images)
        for norm, mean in zip(norms, before, strict=True):
            still = id(norm) in (body if policy == "frozen everywhere" else frozen if policy == "frozen" else ())
            assert torch.equal(norm.running_mean, mean) == still, policy
