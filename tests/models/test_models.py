"""Bodies, heads, layer groups and what trains, against torch, timm, torchvision and closed forms."""

import math
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.transforms import v2

from helpers.models.classifier import Classifier, ConcatPool, Normalize, build_classifier, from_module, make_head
from helpers.models.groups import (
    NORM_LAYERS,
    freeze_to,
    group_parameters,
    layer_groups,
    optimizer_groups,
    split_point_before,
    spread_rates,
)
from helpers.runtime.precision import evaluating

CPU = torch.device("cpu")


@pytest.fixture
def model():
    """timm's `test_resnet` (8 stages, groups of 6, 2 and the head) with random weights and random statistics."""
    model = build_classifier("test_resnet", 3, size=32, pretrained=False)
    rng = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(generator=rng).mul_(0.1)
            module.weight.data.add_(torch.rand(len(module.weight), generator=rng))  # timm starts some of them at 0
    return model


@pytest.fixture
def pictures():
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def pooled(model, images):
    """The pooled features of the whole body, by hand: (N, D)."""
    return model.pool(model.body(model.normalize(images)))


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def one_step(model, groups, pictures, *, lr=0.1):
    """One SGD step in training mode; the names of the tensors it changed."""
    before = snapshot(model)
    optimizer = torch.optim.SGD(optimizer_groups(model, groups, [lr] * len(groups), 0.0))
    model.train()
    nn.functional.cross_entropy(model(pictures), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    optimizer.step()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


# Rates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lr", "expected"),
    [
        (1e-3, [1e-3] * 3),
        (np.float32(0.5), [0.5] * 3),
        (np.array(0.25), [0.25] * 3),
        (torch.tensor(0.25), [0.25] * 3),
        (1, [1.0] * 3),
        ([1e-4, 1e-3, 1e-2], [1e-4, 1e-3, 1e-2]),
        ((0.0, 0.0, 1e-2), [0.0, 0.0, 1e-2]),
        (np.array([1e-2 / 9, 1e-2 / 3, 1e-2]), [1e-2 / 9, 1e-2 / 3, 1e-2]),
        (slice(1e-5, 1e-3), np.geomspace(1e-5, 1e-3, 3).tolist()),
        (slice(1e-2), [1e-3, 1e-3, 1e-2]),
        (slice(None, 1e-2), [1e-3, 1e-3, 1e-2]),
    ],
)
def test_rates_follow_fastais_rules(lr, expected):
    """Catches a slice spread evenly instead of by factors, b / 10 for the wrong groups, and arrays of no dimension."""
    assert spread_rates(lr, 3) == pytest.approx(expected, rel=1e-12)


def test_a_slice_reaches_both_ends_for_any_number_of_groups():
    """Catches an off-by-one in the exponent (the last group would not get the rate that was asked for)."""
    for n in (2, 3, 7):
        rates = spread_rates(slice(1e-6, 1e-2), n)
        assert rates == pytest.approx(np.geomspace(1e-6, 1e-2, n).tolist())


@pytest.mark.parametrize(
    ("lr", "sentence"),
    [
        ([1e-3, 1e-2], "got 2 learning rates for 3 layer groups; pass one, or one per group"),
        (np.ones(4), "got 4 learning rates for 3 layer groups"),
        (slice(0, 1e-2), "both above 0"),
        (slice(-1e-3, 1e-2), "both above 0"),
        (slice(1e-3, None), r"slice\(first, last\) or slice\(last\)"),
        (slice(1e-4, 1e-2, 3), r"slice\(first, last\) or slice\(last\)"),
    ],
)
def test_rates_that_do_not_fit_are_refused_in_a_sentence(lr, sentence):
    """Catches counts the wrong way round, and slices that ended in ZeroDivisionError or complex rates."""
    with pytest.raises(ValueError, match=sentence):
        spread_rates(lr, 3)


# Parts ---------------------------------------------------------------------------------------------------------


def test_normalize_is_torchvisions():
    """Catches mean and deviation swapped, or channels mixed up."""
    images = torch.rand(2, 3, 8, 8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = v2.functional.normalize(images, mean, std)
    torch.testing.assert_close(Normalize(mean, std)(images), expected)


def test_concat_pool_is_largest_then_mean():
    """Catches the order of fastai's AdaptiveConcatPool2d (maximum first), which saved heads depend on."""
    maps = torch.rand(2, 5, 3, 4)
    largest = nn.AdaptiveMaxPool2d(1)(maps).flatten(1)
    mean = nn.AdaptiveAvgPool2d(1)(maps).flatten(1)
    torch.testing.assert_close(ConcatPool()(maps), torch.cat([largest, mean], dim=1))


def test_head_is_fastais():
    """Catches another order, another dropout, a bias, or torch's default initialisation (a third of Kaiming-normal)."""
    head = make_head(1024, 7, dropout=0.4)
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["BatchNorm1d", "Dropout", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear"]
    assert (head[1].p, head[5].p, head[2].bias, head[6].bias) == (0.2, 0.4, None, None)
    assert (head[2].weight.shape, head[6].weight.shape) == ((512, 1024), (7, 512))
    assert head[2].weight.std().item() == pytest.approx(math.sqrt(2 / 1024), rel=0.02)


def test_packaged_body_is_timms_network_with_the_packaged_weights(course_data):
    """Catches wrong statistics, a forgotten last convolution, and weights that were not loaded."""
    import data_setup

    model = build_classifier("efficientnet_lite0", 2, size=64).eval()
    reference = timm.create_model("tf_efficientnet_lite0")
    reference.load_state_dict(data_setup.weights.load_packaged("efficientnet_lite0"))
    reference.eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            model.body((images - 127 / 255) / (128 / 255)),
            reference.forward_features((images - 127 / 255) / (128 / 255)),
        )
        maps = reference.forward_features((images * 255 - 127) / 128)
        expected = torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)
        torch.testing.assert_close(pooled(model, images), expected, atol=1e-4, rtol=1e-4)
    assert len(model.body) > 5, "stages one can split between, not one block"


def test_the_seed_fixes_the_weights_and_the_global_generator_is_left_alone():
    """Catches weights drawn from the global generator: two learners would differ, and results depend on history."""
    state = torch.get_rng_state()
    first, again, other = (build_classifier("test_vit", 2, size=32, pretrained=False, seed=s) for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.head[2].weight, other.head[2].weight)


def test_an_unknown_architecture_is_answered_with_the_nearest_name():
    """Catches a bare KeyError for a typing mistake."""
    with pytest.raises(ValueError, match="no architecture 'efficientnet_lit0'; did you mean 'efficientnet_lite0'"):
        build_classifier("efficientnet_lit0", 2)


def test_a_size_the_network_cannot_take_is_refused_in_a_sentence():
    """Catches the foreign assertion of the network instead of a remedy."""
    with pytest.raises(ValueError, match=r"test_vit3 cannot take pictures of 40 px .*data\.resized\(160\)"):
        build_classifier("test_vit3", 2, size=40, pretrained=False)


@pytest.mark.parametrize("arch", ["test_vit", "test_vit3", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_a_vision_transformer_can_be_split_between_its_blocks(arch):
    """Catches a fall-back to one stage: right, but nothing of it could be cached while its later half trains."""
    model = build_classifier(arch, 2, size=64, pretrained=False).eval()
    depth = len(timm.create_model(arch).blocks)
    assert len(model.body) == depth + 2
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        tokens = model.before(images, 1)
        assert tokens.ndim == 3 and tokens.shape[1] >= 16
        for k in range(depth + 3):
            torch.testing.assert_close(model.after(model.before(images, k), k), model(images), atol=1e-5, rtol=1e-4)


def test_without_a_network_the_error_names_the_weights_that_need_none(monkeypatch):
    """Catches a raw URLError, for both sources of weights."""

    def offline(*args, **keywords):
        raise URLError("no route")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    monkeypatch.setattr(timm, "create_model", offline)
    for arch in ("resnet18", "test_resnet"):
        with pytest.raises(RuntimeError, match=f"weights of {arch} .*efficientnet_lite0, efficientnet_lite1"):
            build_classifier(arch, 2)


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_networks_that_renormalise_for_themselves_see_the_same_numbers(arch):
    """Catches ImageNet statistics for the two whose pretrained forward() changes them once more."""
    # transform_input is what torchvision sets for pretrained weights
    network = torchvision.models.get_model(arch, weights=None, init_weights=False, transform_input=True)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    images = torch.rand(2, 3, 75, 75)
    inside = network._transform_input(v2.functional.normalize(images, mean, std))
    model = build_classifier(arch, 2, size=96, pretrained=False)
    torch.testing.assert_close(model.normalize(images), inside)


# Split points and layer groups


def test_every_cut_leads_through_the_same_model(model, pictures):
    """Catches a split point that forgets to normalise or pool, or does so twice."""
    model.eval()
    with torch.no_grad():
        whole = model(pictures)
        by_hand = model.head(model.pool(model.body(model.normalize(pictures))))
        torch.testing.assert_close(whole, by_hand, atol=0, rtol=0)
        for split_point in range(len(model.body) + 1):
            torch.testing.assert_close(
                model.after(model.before(pictures, split_point), split_point), whole, atol=1e-5, rtol=1e-5
            )
        assert torch.equal(pooled(model, pictures), model.before(pictures, len(model.body)))


@pytest.mark.parametrize("split_point", [0, 6])
def test_hooks_on_the_body_and_its_stages_fire_for_every_split_point(model, pictures, split_point):
    """Catches stages that are run behind the body's back, or modules made anew per call: no hook would ever fire."""
    fired = []
    model.body.register_forward_hook(lambda module, inputs, output: fired.append("body"))
    for index, stage in enumerate(model.body):
        stage.register_forward_hook(lambda module, inputs, output, index=index: fired.append(index))
    activations = model.eval().before(pictures, split_point)
    fired.clear()
    model.after(activations, split_point)
    assert fired == [*range(split_point, len(model.body)), "body"]


# A reader's own network ----------------------------------------------------------------------------------------


class OwnNetwork(nn.Module):
    """As a reader might write it: no stages in a row, BatchNorm and dropout."""

    def __init__(self, n_classes=3):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.drop, self.out = nn.Dropout(0.5), nn.LazyLinear(n_classes)

    def forward(self, images):
        maps = self.norm(self.conv(images)).relu()
        return self.out(self.drop(maps.mean((2, 3)) + maps.amax((2, 3))))


def test_an_own_network_computes_what_it_computed_and_trains_as_a_whole(pictures):
    """Catches a wrapper that changes the answers, leaves the network in another mode, or trains half of it."""
    network = OwnNetwork()
    network.norm.eval()  # whatever its owner set stays
    model = from_module(network, 3, size=32)
    assert network.training and not network.norm.training
    groups = layer_groups(model)
    assert groups == [[network]] == layer_groups(model, "stages")
    assert split_point_before(model, groups, 0) == 0, "nothing of it can be computed once and for all"
    assert spread_rates(slice(1e-5, 1e-3), 1) == [1e-3] == spread_rates(slice(1e-3), 1)
    freeze_to(model, groups, 0)
    assert one_step(model, groups, pictures) >= {f"body.0.{name}" for name, _ in network.named_parameters()}
    model.eval()
    torch.testing.assert_close(model(pictures), network(pictures))
    assert pooled(model, pictures).shape == (6, 3)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (OwnNetwork(5), r"takes \(N, 3, 32, 32\) and gives \(N, 3\) logits; for 2 pictures OwnNetwork gives \(2, 5\)"),
        (nn.Linear(7, 3), r"gives \(N, 3\) logits; Linear fails: .*mat1 and mat2"),
        (nn.LSTM(32, 3), "LSTM fails"),
    ],
)
def test_an_own_network_that_does_not_fit_is_told_what_fits(network, words):
    """Catches a shape error from inside the loss, an epoch later."""
    with pytest.raises(ValueError, match=words):
        from_module(network, 3, size=32)


def test_groups_of_a_resnet_are_fastais():
    """Catches another split than conv1..layer2 | layer3..layer4 | head, which the notes' rates are meant for."""
    model = build_classifier("resnet18", 2, size=32, pretrained=False)
    stages = list(model.body)
    groups = layer_groups(model, 3)
    assert [len(group) for group in groups] == [6, 2, 1]
    assert groups[0] + groups[1] == stages
    assert groups[2] == [model.head]
    reference = torchvision.models.resnet18()
    later = [p.shape for stage in (reference.layer3, reference.layer4) for p in stage.parameters()]
    assert [p.shape for p in group_parameters(model, groups)[1]] == later
    assert [len(group) for group in layer_groups(model, 2)] == [8, 1]
    assert [len(group) for group in layer_groups(model, "stages")] == [5, 1, 1, 1, 1]


def test_another_number_of_groups_is_refused(model):
    """Catches layer_groups=4 silently taken for 3."""
    with pytest.raises(ValueError, match='layer_groups is 2, 3 or "stages"; got 4'):
        layer_groups(model, 4)


def test_a_module_used_twice_belongs_to_one_group_only():
    """Catches parameters listed twice (timm's `coat` shares position codes between stages): torch refuses those."""
    shared = nn.Conv2d(8, 8, 1)
    stages = [nn.Sequential(nn.Conv2d(c, 8, 1), shared) for c in (3, 8, 8)]
    model = Classifier(Normalize([0.5] * 3, [0.5] * 3), nn.Sequential(*stages), make_head(16, 2), maps=True)
    grouped = group_parameters(model, layer_groups(model, 3))
    listed = [id(parameter) for group in grouped for parameter in group]
    assert sorted(listed) == sorted(map(id, model.parameters()))


# Freezing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [-1, 3])
def test_freeze_to_says_what_it_takes(model, n):
    """Catches a number of groups that freezes everything, the head as well."""
    with pytest.raises(ValueError, match=rf"0 \(all groups train\) to 2 \(the last alone\); got {n}"):
        freeze_to(model, layer_groups(model), n)


def test_an_unknown_policy_is_refused(model):
    """Catches a typing mistake that would silently mean one of the three."""
    with pytest.raises(ValueError, match="bn is one of frozen, affine, train, frozen everywhere; got 'freeze'"):
        freeze_to(model, layer_groups(model), 2, bn="freeze")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_frozen_means_that_nothing_below_changes(model, pictures, n):
    """Catches BatchNorm statistics that move, or weights that decay, in groups that are frozen."""
    groups = layer_groups(model)
    freeze_to(model, groups, n)
    changed = one_step(model, groups, pictures)
    frozen = {f"body.{i}." for i, stage in enumerate(model.body) if any(stage is m for g in groups[:n] for m in g)}
    assert not [name for name in changed if name.startswith(tuple(frozen))]
    for index, group in enumerate(groups[n:], start=n):
        own = {
            f"{name}.{inner}"
            for name, module in model.named_modules()
            for inner, _ in module.named_parameters(recurse=False)
            if any(module is m for root in group for m in root.modules())
        }
        assert own <= changed, f"every weight of group {index} trains"


def norm_names(model, groups, which):
    """Names of the normalisation layers in these groups."""
    inside = [m for index in which for root in groups[index] for m in root.modules()]
    return [n for n, m in model.named_modules() if isinstance(m, NORM_LAYERS) and any(m is i for i in inside)]


@pytest.mark.parametrize("bn", ["frozen", "affine", "train"])
def test_what_each_policy_changes_in_frozen_groups(model, pictures, bn):
    """Catches a policy that does what another one says: statistics and weights of frozen norms, and nothing else."""
    groups = layer_groups(model)
    freeze_to(model, groups, 2, bn=bn)
    changed = {name for name in one_step(model, groups, pictures) if name.startswith("body")}
    norms = norm_names(model, groups, [0, 1])
    affine = {f"{name}.{part}" for name in norms for part in ("weight", "bias")}
    statistics = {f"{name}.{part}" for name in norms for part in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == {"frozen": set(), "affine": affine, "train": affine | statistics}[bn]


def test_bn_freeze_keeps_statistics_of_groups_that_train(model, pictures):
    """Catches 0.7's verb done wrong: statistics of the body must stand, its weights and the head's statistics move."""
    groups = layer_groups(model)
    freeze_to(model, groups, 0, bn="frozen everywhere")
    changed = one_step(model, groups, pictures)
    body = norm_names(model, groups, [0, 1])
    assert not {f"{name}.running_mean" for name in body} & changed
    assert {f"{name}.weight" for name in body} <= changed
    assert {"head.0.running_mean", "head.4.running_var"} <= changed
    freeze_to(model, groups, 1, bn="frozen everywhere")
    changed = {name for name in one_step(model, groups, pictures) if name.startswith("body")}
    assert changed == {n for n in changed if n.startswith(("body.6", "body.7"))} and "running" not in "".join(changed)
    freeze_to(model, groups, 0, bn="frozen")
    assert {f"{name}.running_mean" for name in body} <= one_step(model, groups, pictures)


def test_frozen_groups_draw_no_dropout_and_stay_so_in_training_mode():
    """Catches dropout or drop-path noise in a frozen body: cached features would not be what training saw."""
    stages = [nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Dropout(0.5)) for _ in range(1)]
    model = Classifier(Normalize([0.5] * 3, [0.5] * 3), nn.Sequential(*stages), make_head(16, 2), maps=True)
    freeze_to(model, layer_groups(model, 2), 1)
    model.train()
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(pooled(model, images), pooled(model, images))
    assert model.head.training and not model.body[0][2].training
    freeze_to(model, layer_groups(model, 2), 0)
    assert not torch.equal(pooled(model, images), pooled(model, images))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_no_backward_pass_below_what_trains(model, pictures, n):
    """Catches gradients computed for frozen layers: no graph and no backward hook below the split point."""
    groups = layer_groups(model)
    freeze_to(model, groups, n)
    model.train()
    fired = set()

    def watch(index):
        def hook(module, inputs, output):
            if output.requires_grad:
                output.register_hook(lambda gradient: fired.add(index))

        return hook

    for index, stage in enumerate(model.body):
        stage.register_forward_hook(watch(index))
    split_point = split_point_before(model, groups, n)
    at_cut = model.before(pictures, split_point)
    assert at_cut.grad_fn is None and not at_cut.requires_grad
    model(pictures).sum().backward()
    assert fired == {index for index in range(len(model.body)) if index >= split_point}
    grads = [p.grad is not None for group in group_parameters(model, groups)[:n] for p in group]
    assert not any(grads)


# Optimizer groups ----------------------------------------------------------------------------------------------


def test_weight_decay_spares_norms_biases_scales_and_tokens():
    """Catches decay on what only shifts or scales (fastai's wd_bn_bias=False); layer scales have shape (C, 1, 1)."""
    model = build_classifier("convnext_tiny", 2, size=32, pretrained=False)
    groups = layer_groups(model)
    decays = {id(p): g["weight_decay"] for g in optimizer_groups(model, groups, [1.0] * 3, 0.1) for p in g["params"]}
    assert len(decays) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        owner = model.get_submodule(name.rpartition(".")[0])
        is_weight = isinstance(owner, nn.Linear | nn.Conv2d) and name.endswith("weight")
        assert decays[id(parameter)] == (0.1 if is_weight else 0.0), name


@pytest.mark.parametrize("n", [0, 1, 2])
def test_optimizer_has_every_trained_parameter_once_with_its_groups_rate(model, n):
    """Catches a layer group with another's rate, and frozen parameters in the optimizer (decay would change them)."""
    groups = layer_groups(model)
    freeze_to(model, groups, n)
    chosen = optimizer_groups(model, groups, [1.0, 2.0, 3.0], 0.1)
    rate_of = {id(parameter): group["lr"] for group in chosen for parameter in group["params"]}
    assert sum(len(group["params"]) for group in chosen) == len(rate_of)
    for rate, parameters in zip([1.0, 2.0, 3.0], group_parameters(model, groups), strict=True):
        assert {rate_of.get(id(p)) for p in parameters} == ({rate} if rate > n else {None})
    assert chosen[-1]["base_lr"] == 3.0, "the last one is the head: its rate is the one that is printed"


def test_optimizer_groups_count_the_rates(model):
    """Catches a zip that silently leaves the head without a rate."""
    with pytest.raises(ValueError, match="got 2 learning rates for 3 layer groups"):
        optimizer_groups(model, layer_groups(model), [1.0, 2.0], 0.0)


def test_evaluating_gives_the_mode_back_even_after_an_error(model, pictures):
    """Catches a model left in evaluation mode, or frozen layers put into training mode on the way back."""
    freeze_to(model, layer_groups(model), 1)
    model.train()
    modes = [module.training for module in model.modules()]
    with pytest.raises(KeyError), evaluating(model, CPU, torch.float32):
        assert not any(module.training for module in model.modules())
        assert not model(pictures).requires_grad
        raise KeyError
    assert [module.training for module in model.modules()] == modes
