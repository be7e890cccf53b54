"""The packaged networks against timm's, to the last bit."""

import pytest
import timm
import torch

from data_setup.lite import WIDTH_AND_DEPTH, EfficientNetLite, InvertedResidual, in_eights


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
def test_scores_and_statistics_are_timms(pair):
    """Catches padding at the wrong side (odd sizes), another epsilon, a residual too many."""
    images = torch.rand(2, 3, 75, 98, generator=torch.Generator().manual_seed(0))
    ours, theirs = pair
    assert torch.equal(ours.train()(images), theirs.train()(images))
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


def learned(network, images):
    """(gradients by name, bytes that the forward pass keeps for them beside the weights)."""
    kept, weights = {}, {weight.data_ptr() for weight in network.parameters()}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scores = network.train()(images)
    network.zero_grad()
    scores.square().sum().backward()
    others = (tensor for place, tensor in kept.items() if place not in weights)
    return {name: weight.grad for name, weight in network.named_parameters()}, sum(t.nbytes for t in others)


def test_gradients_are_timms_and_three_tenths_less_is_kept_for_them(pair):
    """Catches a slope where ReLU6 is flat, one overwritten too early, zeros at the wrong side (odd sizes), and a
    copy of what is clipped or padded."""
    images = 3 * torch.randn(4, 3, 75, 98, generator=torch.Generator().manual_seed(1))
    (ours, our_bytes), (theirs, their_bytes) = (learned(network, images) for network in pair)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert our_bytes < 0.75 * their_bytes


@pytest.mark.parametrize("layer", ["bn1", "bn1.act", "conv_dw"])
def test_who_looks_at_a_layer_sees_it_as_timm_has_it(layer):
    """Catches a hook that is passed over or sees the zeros around the maps, at a stride, while it trains."""
    block = InvertedResidual(8, 16, 3, 2, 6).train()
    seen, watched = [], block.get_submodule(layer)
    watched.register_forward_hook(lambda _, came_in, came_out: seen.extend([came_in[0].shape, came_out.shape]))
    block(torch.rand(2, 8, 10, 10, requires_grad=True)).sum().backward()
    side = 5 if layer == "conv_dw" else 10
    assert seen == [(2, 48, 10, 10), (2, 48, side, side)]


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
