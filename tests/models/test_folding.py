"""BatchNorm folded into convolutions: the same answers, nothing left behind, and no guess where layers go elsewhere."""

import pytest
import torch
from torch import nn

from data_setup import lite
from helpers.models.classifier import build_classifier
from helpers.models.folding import folded, predicting
from helpers.runtime.precision import evaluating

CPU = torch.device("cpu")


def moved(model: nn.Module) -> nn.Module:
    """Statistics and weights that no initial value has: a forgotten one would show."""
    rng = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=rng).mul_(0.1)
            module.running_var.uniform_(0.5, 2, generator=rng)
            module.weight.data.uniform_(0.5, 1.5, generator=rng)
            module.bias.data.normal_(generator=rng).mul_(0.1)
    return model.eval()


def norms_seen(model: nn.Module, block) -> int:
    """How many BatchNorm layers the model has inside the block."""
    with block:
        return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("arch", ["test_resnet", "efficientnet_lite0", "resnet18", "densenet121", "mobilenet_v3_small"])
def test_the_answers_stay(arch):
    """Catches a forgotten epsilon, bias or activation, in networks of timm and of torchvision."""
    model = moved(build_classifier(arch, 3, size=64, pretrained=False))
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with evaluating(model, CPU, torch.float32):
        expected = model(pictures)
    with predicting(model, CPU, torch.float32):
        torch.testing.assert_close(model(pictures), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert norms_seen(model, predicting(model, CPU, torch.float32)) < norms_seen(
        model, evaluating(model, CPU, torch.float32)
    )


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_an_activation_computed_with_its_convolution_changes_no_bit(precision, monkeypatch):
    """Catches one that is left out or computed twice, a forgotten padding, and a rounding before it is clipped."""
    model = moved(build_classifier("efficientnet_lite0", 3, size=64, pretrained=False))
    model.to(memory_format=torch.channels_last)  # as every learner has it; of 16 pictures oneDNN takes all
    pictures = torch.rand(16, 3, 65, 64, generator=torch.Generator().manual_seed(1))
    with predicting(model, CPU, precision):
        clipped = [module for module in model.modules() if getattr(module, "clips", False)]
        found = model(pictures)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with predicting(model, CPU, precision):
        assert torch.equal(model(pictures), found)
    assert len(clipped) == 33 and not any(module.clips for module in clipped)
    model.body[1].act.register_forward_hook(lambda *_: None)
    with folded(model):
        assert sum(getattr(module, "clips", False) for module in model.modules()) == 32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_what_a_processor_cannot_do_in_one_step_is_left_to_torch(dtype, monkeypatch):
    """Catches a prediction that ends in "bf16 path needs the cpu support" on a processor without bfloat16."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", lambda *_: pytest.fail("in one step"))
    layer = lite.Conv2d(4, 4, 3).to(dtype)
    layer.clips, maps = True, 20 * torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        assert torch.equal(layer(maps), nn.functional.relu6(nn.Conv2d.forward(layer, maps)))


class Crossed(nn.Module):
    """Its normalisation is listed after the second convolution and belongs to the first."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)

    def forward(self, pictures):
        return self.second(self.norm(self.first(pictures)).relu()).mean(dim=(2, 3))


class Straight(Crossed):
    """Prints the same, and its layers follow each other as they are listed."""

    def forward(self, pictures):
        return self.norm(self.second(self.first(pictures))).relu().mean(dim=(2, 3))


Straight.__name__ = Crossed.__name__  # as when a notebook's cell is changed and run again


class OneSize(nn.Module):
    """Takes pictures of 32 pixels, and raises for any other."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 32), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))

    def forward(self, pictures):
        return self.layers(pictures)


@pytest.mark.parametrize("network", [Crossed, OneSize])
def test_a_network_that_cannot_be_checked_is_not_folded(network):
    """Catches answers that change because layers do not follow each other as they are listed."""
    model, pictures = moved(network()), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(pictures)
    with predicting(model, CPU, torch.float32):
        assert torch.equal(model(pictures), expected)


def test_a_network_is_tried_with_statistics_that_do_something():
    """Catches a verdict on a new network, whose normalisations change nothing yet wherever they stand, that is kept."""
    model, pictures = Crossed().eval(), torch.rand(2, 3, 32, 32)
    with predicting(model, CPU, torch.float32):
        model(pictures)
    moved(model)
    with torch.no_grad():
        expected = model(pictures)
    with predicting(model, CPU, torch.float32):
        assert torch.equal(model(pictures), expected)


def test_networks_that_print_the_same_are_tried_one_by_one():
    """Catches the old verdict after the `forward` of a notebook's cell was changed."""
    straight, crossed = moved(Straight()), moved(Crossed())
    assert repr(straight) == repr(crossed)
    assert norms_seen(straight, predicting(straight, CPU, torch.float32)) == 0
    assert norms_seen(crossed, predicting(crossed, CPU, torch.float32)) == 1


def test_nothing_is_left_behind():
    """Catches folded weights that would be trained or saved: the very tensors come back, also after an error."""
    model = moved(build_classifier("test_resnet", 3, size=32, pretrained=False)).train()
    before = {name: (id(tensor), tensor._version) for name, tensor in model.named_parameters()}
    modes, random = [module.training for module in model.modules()], torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt), predicting(model, CPU, torch.float32):
        raise KeyboardInterrupt
    assert {name: (id(tensor), tensor._version) for name, tensor in model.named_parameters()} == before
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)


def test_who_looks_at_a_layer_sees_it_as_it_is():
    """Catches a hook on a BatchNorm that is never called while the model predicts."""
    model = moved(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)))
    seen = []
    model[1].register_forward_hook(lambda module, given, made: seen.append(made))
    with torch.no_grad(), folded(model):
        model(torch.rand(1, 3, 16, 16))
        assert isinstance(model[1], nn.BatchNorm2d) and not isinstance(model[3], nn.BatchNorm2d)
    assert len(seen) == 1


def test_a_hook_counts_the_pictures_that_are_predicted_and_no_others():
    """Catches the trial of a network that a reader's hook takes for pictures, and one that is left out for a hook: all
    other layers would stay slow."""
    model, seen = moved(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU())), []
    for watched in (model, model[2]):
        watched.register_forward_hook(lambda module, given, made: seen.append(len(made)))
    with predicting(model, CPU, torch.float32):
        assert not isinstance(model[1], nn.BatchNorm2d)
        model(torch.rand(1, 3, 16, 16))
    assert seen == [1, 1] and len(model._forward_hooks) == len(model[2]._forward_hooks) == 1
