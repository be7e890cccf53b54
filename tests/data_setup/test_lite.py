"""The packaged networks against timm's: answers to the last bit, what is learned within rounding of float64."""

import copy

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from data_setup.lite import (
    WIDTH_AND_DEPTH,
    Conv2d,
    EfficientNetLite,
    InvertedResidual,
    gradients,
    in_eights,
    timings,
)
from data_setup.lite.network import NormAct
from helpers.runtime.precision import autocast


@pytest.fixture(scope="module", params=WIDTH_AND_DEPTH)
def pair(request):
    """(ours, timm's), both with the random start of the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        ours = EfficientNetLite(request.param)
        torch.manual_seed(5)
        return ours, timm.create_model(f"tf_{request.param}")


def test_names_and_random_start_are_timms(pair):
    """Catches a layer too many, another name, and weights drawn in another order or with another spread."""
    ours, theirs = (network.state_dict() for network in pair)
    assert list(ours) == list(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@torch.no_grad()
def test_scores_are_timms(pair):
    """Catches padding at the wrong side (odd sizes), another epsilon, a residual too many."""
    images = torch.rand(2, 3, 75, 98, generator=torch.Generator().manual_seed(0))
    ours, theirs = pair
    assert torch.equal(ours.train()(images), theirs.train()(images))
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


def learned(network, images):
    """(gradients and statistics by name, bytes that the forward pass keeps for them beside the weights)."""
    network = copy.deepcopy(network).to(images.dtype).train()
    kept, weights = {}, {weight.data_ptr() for weight in network.parameters()}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scores = network(images)
    scores.square().sum().backward()
    others = (tensor for place, tensor in kept.items() if place not in weights)
    found = {name: weight.grad for name, weight in network.named_parameters()} | dict(network.named_buffers())
    return found, sum(t.nbytes for t in others)


@pytest.mark.parametrize("products", [{}, {torch.float64: 64}], ids=["convolutions", "products"])
def test_gradients_and_statistics_are_timms_and_two_fifths_less_is_kept_for_them(pair, products, monkeypatch):
    """Catches a slope where ReLU6 is flat, one overwritten too early, zeros at the wrong side (odd sizes), a copy of
    what is clipped or padded, and a norm whose mean or deviation is taken for a constant."""
    allow_products(monkeypatch, products)
    images = 3 * torch.randn(4, 3, 75, 98, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (ours, our_bytes), (theirs, their_bytes) = (learned(network, images) for network in pair)
    largest = max(one.abs().max() for name, one in theirs.items() if "running" not in name)
    for name, expected in theirs.items():  # a bias before a norm has a gradient of 0, plus rounding
        torch.testing.assert_close(ours[name], expected, rtol=1e-9, atol=1e-11 * float(largest), msg=name)
    assert our_bytes < 0.6 * their_bytes


def test_layer_by_layer_gradients_are_timms_to_the_last_bit_and_three_tenths_less_is_kept(pair, monkeypatch):
    """What is clipped and padded, alone."""
    allow_products(monkeypatch, {})
    monkeypatch.setattr(NormAct, "can_be_folded", lambda *_: False)
    images = 3 * torch.randn(4, 3, 75, 98, generator=torch.Generator().manual_seed(1))
    (ours, our_bytes), (theirs, their_bytes) = (learned(network, images) for network in pair)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert our_bytes < 0.75 * their_bytes


def block_and_plain(stride=1, channels=8):
    """A block, and one of the same weights whose first norm is torch's own, so that nothing is folded."""
    torch.manual_seed(stride)
    block = InvertedResidual(channels, 16, 3, stride, 6).double()
    for norm in (block.bn1, block.bn2):
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_()
        norm.running_mean.normal_()
    plain = copy.deepcopy(block)
    plain.conv_pw.register_forward_hook(lambda *_: None)
    return block.train(), plain.train()


def learned_alike(block, plain, maps):
    found = []
    for one in (block, plain):
        seen = maps.clone().requires_grad_()
        one(seen).square().sum().backward()
        weights = (weight.grad for weight in one.parameters() if weight.requires_grad)
        found.append([seen.grad, *weights, *(buffer.double() for buffer in one.buffers())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.fixture
def folding(monkeypatch):
    """How often a norm was folded into its mixture."""
    times, apply = [], gradients.NormedMixture.apply
    monkeypatch.setattr(gradients.NormedMixture, "apply", lambda *given: times.append(1) or apply(*given))
    return times


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_folded_norm_learns_as_a_norm(folding, stride, layout):
    """Far from 0, where a variance of large numbers would lose its digits; in either layout."""
    maps = torch.randn(3, 8, 9, 11, dtype=torch.float64).add(100).contiguous(memory_format=layout)
    learned_alike(*block_and_plain(stride), maps)
    assert len(folding) == 1


@pytest.mark.parametrize("frozen", ["conv_pw", "bn1", "maps"])
def test_what_is_frozen_gets_no_gradient_and_the_rest_its_own(folding, frozen):
    """Catches a gradient that goes missing with a neighbour's."""
    maps = torch.randn(3, 8, 9, 11, dtype=torch.float64)
    both = block_and_plain()
    if frozen == "maps":
        for one in both:
            one(maps).square().sum().backward()
        for ours, theirs in zip(*(one.parameters() for one in both), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)
    else:
        for one in both:
            one.get_submodule(frozen).requires_grad_(False)
        learned_alike(*both, maps)
        assert both[0].get_submodule(frozen).weight.grad is None
    assert len(folding) == 1


def test_a_norm_that_is_not_as_usual_stays_a_layer(folding):
    """Statistics that are fixed, gathered for ever or not at all, another type of numbers, few pixels, a norm
    or an activation put in its place: each is torch's business."""
    maps = torch.randn(3, 8, 9, 11, dtype=torch.float64)
    for setting in ({"training": False}, {"momentum": None}, {"track_running_stats": False, "running_mean": None}):
        both = block_and_plain()
        for one in both:
            for name, value in setting.items():
                setattr(one.bn1, name, value)
        learned_alike(*both, maps)
    learned_alike(*block_and_plain(), maps[..., :8, :8])
    for stride in (1, 2):
        both = block_and_plain(stride)
        for one in both:
            one.bn1.act = torch.nn.Softplus()
        learned_alike(*both, maps)
    block, _ = block_and_plain()
    block.bn1 = torch.nn.Sequential(torch.nn.BatchNorm2d(48), torch.nn.ReLU()).double()
    block(maps).sum().backward()
    with torch.autocast("cpu", torch.float16):
        block_and_plain()[0].float()(maps.float()).sum().backward()
    block_and_plain()[0].bfloat16()(maps.bfloat16()).sum().backward()
    assert folding == []


def learned_by_block(block, maps, precision):
    """({gradients and statistics by name}, bytes kept for them) of a step in float64 or in mixed precision."""
    exact, kept = precision is torch.float64, {}
    block, maps = copy.deepcopy(block).to(precision if exact else torch.float32), maps.to(precision, copy=True)

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor
        return tensor

    mixed = autocast(torch.device("cpu"), torch.float32 if exact else precision)
    with mixed, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answers = block(maps.requires_grad_())
    (answers.double() * torch.linspace(-1, 2, answers.numel()).view(answers.shape)).sum().backward()
    found = {name: weight.grad for name, weight in block.named_parameters()} | dict(block.named_buffers())
    return found | {"maps": maps.grad}, sum(tensor.nbytes for tensor in kept.values())


@pytest.mark.parametrize("stride", [1, 2])
def test_a_norm_folded_in_mixed_precision_is_more_exact_than_a_layer_and_less_is_kept(folding, stride):
    """Each against float64, far from 0: catches a mean, a variance or a gain in bfloat16, gradients that are rounded
    once more, and a copy in float32 that stays."""
    maps = torch.randn(4, 8, 24, 25, generator=torch.Generator().manual_seed(0)).add(20).bfloat16()
    block, plain = block_and_plain(stride)
    expected, _ = learned_by_block(plain, maps, torch.float64)
    (ours, our_bytes), (theirs, their_bytes) = (learned_by_block(one, maps, torch.bfloat16) for one in (block, plain))
    in_bfloat16 = gradients.in_one_step_here(torch.bfloat16)  # elsewhere both keep the filters' maps in float32
    assert len(folding) == 1 and our_bytes < (0.8 if in_bfloat16 else 0.9) * their_bytes
    for name in ("conv_pw.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "maps"):
        off = [float((found[name] - expected[name]).norm() / expected[name].norm()) for found in (ours, theirs)]
        assert off[0] < off[1], name


def test_no_gradient_of_frozen_maps_is_computed(folding):
    """Catches a backward pass into what does not train: two convolutions less than with it."""
    counted = []
    for wanted in (False, True):
        block, maps = block_and_plain()[0], torch.rand(3, 8, 9, 11, dtype=torch.float64, requires_grad=wanted)
        loss = block(maps).sum()
        with FlopCounterMode(display=False) as counter:
            loss.backward()
        counted.append(counter.get_total_flops())
    pixels, small = 3 * 9 * 11, 8 * 48 * 8 + 48 * 8  # the products of weights, and of a slope with weights
    assert counted[1] - counted[0] == 2 * (pixels * 48 * 8 + pixels * 8 * 8 + small)
    assert len(folding) == 2


def test_one_number_a_channel_is_refused_as_torch_does():
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        block_and_plain()[0](torch.rand(1, 8, 1, 1, dtype=torch.float64))


def allow_products(monkeypatch, pixels: dict):
    monkeypatch.setattr(gradients, "pixels_for_products", lambda dtype: pixels.get(dtype, 0))


def is_product(layer, maps):
    return "Mixture" in type(layer(maps).grad_fn).__name__


def test_a_mixture_of_few_pixels_learns_by_products_where_they_pay(monkeypatch):
    """Catches a gradient that comes transposed, and a product for large maps, a stride or a prediction."""
    allow_products(monkeypatch, {torch.float32: 64})
    layer, maps = Conv2d(6, 4, 1, bias=False), torch.randn(2, 6, 8, 8, requires_grad=True)
    found = torch.autograd.grad(layer(maps).square().sum(), [maps, layer.weight])
    expected = torch.autograd.grad(torch.nn.Conv2d.forward(layer, maps).square().sum(), [maps, layer.weight])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert is_product(layer, maps) and not is_product(layer, torch.rand(2, 6, 9, 8))
    assert not is_product(Conv2d(6, 4, 1, stride=2, bias=False), maps) and not is_product(Conv2d(6, 4, 1), maps)
    with torch.no_grad():
        assert layer(maps).grad_fn is None
    allow_products(monkeypatch, {torch.bfloat16: 64})
    assert not is_product(layer, maps)


@pytest.mark.parametrize(
    ("product", "pixels"), [({16: 0.8, 64: 0.8}, 64), ({16: 0.8, 64: 1.0}, 16), ({16: 0.95, 64: 0.95}, 0)]
)
def test_the_clock_decides_how_mixtures_learn(monkeypatch, course_data, product, pixels):
    """Catches a way chosen by a processor's instructions: with AVX2 products took 0.6 of the time on one, 1.1 on
    another. And a clock that is asked for what is not computed here."""
    asked = []

    def time_mixture(side, *shape):
        asked.append((side, *shape))
        return {"product": product[side], "convolution": 1.0}

    monkeypatch.setattr(gradients, "time_mixture", time_mixture)
    monkeypatch.setattr(timings.os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    gradients.pixels_for_products.cache_clear()
    assert [gradients.pixels_for_products(dtype) for dtype in (None, torch.float64, torch.float32)] == [0, 0, pixels]
    first = (64, 112, 672, torch.float32)
    assert asked == ([first] if pixels == 64 else [first, (16, 192, 1152, torch.float32)])
    gradients.pixels_for_products.cache_clear()  # as a new process would
    assert gradients.pixels_for_products(torch.float32) == pixels and len(asked) == (1 if pixels == 64 else 2)
    gradients.pixels_for_products.cache_clear()


def test_both_ways_of_a_mixture_are_timed(monkeypatch):
    """Under mixed precision, as it is in a training: catches a probe that torch refuses, and one that draws numbers."""
    monkeypatch.setattr(timings, "TURNS", 1)
    state = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        seconds = gradients.time_mixture(16, 8, 12, torch.float32)
    assert set(seconds) == {"product", "convolution"} and all(0 < s < 60 for s in seconds.values())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_products_in_mixed_precision_are_as_near_as_torchs_own(kind, monkeypatch):
    """Against torch's in float32: catches a transposed gradient, and products where maps are larger than was asked."""
    allow_products(monkeypatch, {torch.bfloat16: 16})
    layer, maps = Conv2d(6, 4, 1, bias=False), torch.randn(32, 6, 4, 4).to(kind).requires_grad_()
    slopes, found = torch.linspace(-1, 2, 32 * 4 * 16).view(32, 4, 4, 4), []
    exact = torch.nn.Conv2d.forward(layer, maps.float()).mul(slopes).sum()
    expected = torch.autograd.grad(exact, [maps, layer.weight])
    with torch.autocast("cpu", torch.bfloat16):
        assert is_product(layer, maps) and not is_product(layer, torch.rand(2, 6, 5, 4))
        for answer in (layer(maps), torch.nn.Conv2d.forward(layer, maps)):
            assert answer.dtype is torch.bfloat16
            found.append(torch.autograd.grad((answer.float() * slopes).sum(), [maps, layer.weight]))
    for ours, torchs, wanted in zip(*found, expected, strict=True):
        assert ours.dtype is torchs.dtype is wanted.dtype
        error, allowed = ((one.float() - wanted.float()).norm() for one in (ours, torchs))
        assert error <= 1.2 * allowed + 1e-6 and error < 0.01 * wanted.float().norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("missing", [(0, 0), (1, 1), (3, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_clipped_mixture_is_a_convolution_clipped_and_padded(dtype, missing, layout):
    """Catches a bias beside the maps, where zeros belong, and zeros at the wrong side."""
    rng = torch.Generator().manual_seed(0)
    maps, weight, bias = (torch.randn(*shape, generator=rng) for shape in ((2, 5, 7, 9), (30, 5, 1, 1), (30,)))
    maps, weight, bias = maps.to(dtype).contiguous(memory_format=layout), (4 * weight).to(dtype), bias.to(dtype)
    found, middle = gradients.clipped_mixture(maps, weight, bias, missing)
    clipped = torch.nn.functional.hardtanh(torch.nn.functional.conv2d(maps, weight, bias), 0.0, 6.0)
    (down, right), (above, before) = missing, (missing[0] // 2, missing[1] // 2)
    expected = torch.nn.functional.pad(clipped, (before, right - before, above, down - above))
    assert (clipped == 6).any() and (clipped == 0).any()
    torch.testing.assert_close(found, expected)  # torch may sum in another order
    torch.testing.assert_close(found[middle], clipped)
    found[middle] = 0
    assert not found.any()


def test_slopes_reach_a_norm_in_the_layout_of_its_maps():
    """A pool sends them channel by channel; catches a norm that then goes through memory in leaps."""
    clip, arrived = NormAct(4).act, []
    maps = torch.randn(2, 4, 3, 3).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    entering = maps.clone(memory_format=torch.preserve_format)
    entering.register_hook(arrived.append)
    clip(entering * 1).backward(torch.ones(2, 4, 3, 3).bfloat16())
    assert arrived[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layer", ["conv_pw", "bn1", "bn1.act", "conv_dw"])
def test_who_looks_at_a_layer_sees_it_as_timm_has_it(layer):
    """Catches a hook that is passed over or sees the zeros around the maps, at a stride, while it trains."""
    block = InvertedResidual(8, 16, 3, 2, 6).train()
    seen, watched = [], block.get_submodule(layer)
    watched.register_forward_hook(lambda _, came_in, came_out: seen.extend([came_in[0].shape, came_out.shape]))
    block(torch.rand(2, 8, 10, 10, requires_grad=True)).sum().backward()
    side = 5 if layer == "conv_dw" else 10
    assert seen == [(2, 8 if layer == "conv_pw" else 48, 10, 10), (2, 48, side, side)]


def test_the_body_is_all_but_the_classes(pair):
    """Catches a forgotten last convolution."""
    network = pair[0]
    inner = torch.nn.Sequential(*network.body())
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.classifier(inner(images).mean(dim=(2, 3))), network(images))


@pytest.mark.parametrize(("wanted", "got"), [(3, 8), (17.6, 16), (26.4, 24), (44, 48), (70.4, 72), (123.2, 120)])
def test_channels_come_in_eights(wanted, got):
    """Worked by hand; 44 lies half way and goes up."""
    assert in_eights(wanted) == got
