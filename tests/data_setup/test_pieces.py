"""A block that learns as one step, a few pictures at a time, against its layers in float64."""

import copy
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from data_setup.lite import EfficientNetLite, InvertedResidual, compiled, network, pieces
from data_setup.lite.gradients import in_one_step_here
from data_setup.lite.network import NormAct, SeparableBlock
from helpers.runtime.precision import autocast

pytestmark = pytest.mark.skipif(compiled.kernels() is None, reason="no C compiler with OpenMP, or another processor")
emulated = pytest.mark.skipif(not in_one_step_here(torch.bfloat16), reason="this processor only emulates bfloat16")
in_number_types = pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=emulated)], ids=str
)
DRAWS = 4
# what the filters meet: a mixture with its norm folded into it, its norm as a layer, the maps themselves
FRONTS = {"folded": (16, 9, 12), "normed": (16, 7, 8), "given": (32, 9, 12)}


def block_of(front: str, stride: int = 1, side: int = 3) -> nn.Module:
    torch.manual_seed(side)
    made = SeparableBlock(32, 24, side, stride) if front == "given" else InvertedResidual(16, 24, side, stride, 6)
    for norm in made.modules():
        if isinstance(norm, NormAct):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias, 1.0)
    return made.to(memory_format=torch.channels_last).train()


def maps_for(front: str, pictures: int = 5, seed: int = 0) -> torch.Tensor:
    channels, height, width = FRONTS[front]
    maps = torch.randn(pictures, channels, height, width, generator=torch.Generator().manual_seed(seed)).add(0.5)
    return maps.contiguous(memory_format=torch.channels_last)


def learned(block: nn.Module, maps: torch.Tensor, dtype: torch.dtype, *, wanted: bool = True) -> dict:
    """What comes out, all gradients and all running statistics, of a step of a copy."""
    block = copy.deepcopy(block)
    mixed = dtype != torch.float64
    block, maps = (block, maps.clone()) if mixed else (block.double(), maps.double())
    with autocast(torch.device("cpu"), dtype) if mixed else nullcontext():
        found = block(maps.requires_grad_(wanted))
    (found.double() * torch.linspace(-1, 2, found.numel()).view(found.shape)).sum().backward()
    gradients = {name: weight.grad for name, weight in block.named_parameters() if weight.requires_grad}
    return {"found": found.detach(), "maps": maps.grad} | gradients | dict(block.named_buffers())


@pytest.fixture
def steps(monkeypatch):
    """The sizes of the pieces of each block that learns as one step; here a piece is of two pictures."""
    taken, apply = [], pieces.Block.apply

    def counted(maps, *given):
        channels, how = len(given[3]), given[-1]
        monkeypatch.setattr(pieces, "PIECE", 2 * channels * maps.shape[2:].numel() * how.dtype.itemsize)
        taken.append([len(maps[piece]) for piece in pieces.pieces_of(maps.to(how.dtype), channels)])
        return apply(maps, *given)

    monkeypatch.setattr(pieces.Block, "apply", counted)
    return taken


@in_number_types
@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
def test_a_block_in_pieces_learns_as_its_layers(steps, monkeypatch, front, stride, side, dtype):
    """Sizes odd and even, several pieces, the last one smaller: no farther from float64 than torch's layers are in this
    precision, over some batches, as in one of them a single slope at a corner may decide. Catches sums without a piece,
    zeros at the wrong side, a gradient that belongs to another weight, slopes that are 0 twice or never."""
    block, off, allowed, size = block_of(front, stride, side), Counter(), Counter(), Counter()
    kernels = compiled.kernels
    for seed in range(DRAWS):
        maps = maps_for(front, seed=seed).to(dtype)
        exact, ours = learned(block, maps, torch.float64), learned(block, maps, dtype)
        monkeypatch.setattr(compiled, "kernels", lambda: None)
        torchs = learned(block, maps, dtype)
        monkeypatch.setattr(compiled, "kernels", kernels)
        for name, wanted in exact.items():
            off[name] += float((ours[name].double() - wanted).norm())
            allowed[name] += float((torchs[name].double() - wanted).norm())
            size[name] += float(wanted.double().norm())
    assert steps == [[2, 2, 1]] * DRAWS
    rounding = 2**-7 if dtype == torch.bfloat16 else 1e-5
    for name in size:
        assert off[name] <= 1.5 * allowed[name] + rounding * size[name], name


@pytest.mark.parametrize("front", FRONTS)
def test_frozen_maps_get_no_gradient_and_the_weights_theirs(steps, front):
    block, maps = block_of(front), maps_for(front)
    without, with_theirs = (learned(block, maps, torch.float32, wanted=wanted) for wanted in (False, True))
    assert without.pop("maps") is None and with_theirs.pop("maps") is not None and len(steps) == 2
    for name, wanted in with_theirs.items():
        assert torch.equal(without[name], wanted), name


@pytest.mark.parametrize("front", FRONTS)
def test_a_second_way_back_finds_the_same(steps, front):
    """Catches what is remembered being changed on the first one."""
    block, maps = block_of(front), maps_for(front).requires_grad_()
    loss = block(maps).square().sum()
    weights = [maps, *block.parameters()]
    once, again = (torch.autograd.grad(loss, weights, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True)) and len(steps) == 1


def test_what_belongs_to_somebody_else_is_left_to_the_layers(steps):
    """Each change asks for a layer's own way: fixed statistics, a look at a layer, another one in its place, a bias,
    other numbers, maps that lie otherwise, and a single picture, of which torch may refuse the statistics."""
    changes = [
        lambda block: block.bn2.eval(),
        lambda block: block.conv_dw.register_forward_hook(lambda *_: None),
        lambda block: block.bn2.register_full_backward_hook(lambda *_: None),
        lambda block: block.bn2.act.register_forward_hook(lambda *_: None),
        lambda block: block.conv_pwl.register_forward_pre_hook(lambda *_: None),
        lambda block: setattr(block.bn2, "act", nn.Softplus()),
        lambda block: setattr(block, "bn2", nn.BatchNorm2d(96)),
        lambda block: setattr(block.bn2, "momentum", None),
        lambda block: setattr(block.conv_pwl, "bias", nn.Parameter(torch.ones(24))),
        lambda block: block.requires_grad_(False),
        lambda block: setattr(block, "conv_dw", nn.Conv2d(96, 96, 3, padding=1, groups=96, bias=False)),
    ]
    for change in changes:
        block = block_of("folded")
        change(block)
        block(maps_for("folded"))
    block_of("folded").double()(maps_for("folded").double())
    block_of("folded")(maps_for("folded").contiguous())
    block_of("folded")(maps_for("folded", pictures=1))
    if not in_one_step_here(torch.bfloat16):
        with autocast(torch.device("cpu"), torch.bfloat16):
            block_of("folded")(maps_for("folded"))
    with torch.no_grad():
        block_of("folded")(maps_for("folded"))
    assert steps == []
    with pytest.raises(ValueError, match="more than 1 value"):
        block_of("folded")(maps_for("folded", pictures=1)[..., :1, :1])
    assert block_of("folded")(maps_for("folded")).grad_fn is not None and len(steps) == 1


@pytest.mark.parametrize("change", ["hook", "another activation", "another norm", "fixed"])
def test_a_front_of_its_own_meets_the_rest_as_one_step(steps, monkeypatch, change):
    """Catches a front that is passed over because the rest of the block is as usual."""
    block, maps, seen = block_of("folded"), maps_for("folded"), []
    if change == "hook":
        block.conv_pw.register_forward_hook(lambda *_: seen.append(1))
    elif change == "another activation":
        block.bn1.act = nn.Softplus()
    elif change == "another norm":
        block.bn1 = nn.Sequential(nn.BatchNorm2d(96), nn.ReLU())
    else:
        block.bn1.eval()
    ours, exact = learned(block, maps, torch.float32), learned(block, maps, torch.float64)
    assert len(steps) == 1 and len(seen) == (2 if change == "hook" else 0)
    for name, wanted in exact.items():
        if name not in ("bn3.bias",):
            torch.testing.assert_close(ours[name].double(), wanted.double(), rtol=1e-3, atol=1e-3, msg=name)


@in_number_types
def test_four_tenths_less_is_kept(monkeypatch, dtype):
    """lite0, of the body as it trains: what the layers keep beside the weights, and what these steps do."""
    body = nn.Sequential(*EfficientNetLite("efficientnet_lite0").body()).to(memory_format=torch.channels_last).train()
    images = torch.rand(8, 3, 96, 96).contiguous(memory_format=torch.channels_last)
    weights, kept = {weight.data_ptr() for weight in body.parameters()}, []
    for pieces_allowed in (True, False):
        found = {}

        def keep(tensor, found=found):
            found[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        if not pieces_allowed:
            monkeypatch.setattr(network, "learns_in_pieces", lambda *_: False)
        remembering = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with autocast(torch.device("cpu"), dtype), remembering:
            body(images)
        kept.append(sum(one.untyped_storage().nbytes() for place, one in found.items() if place not in weights))
    assert kept[0] < 0.6 * kept[1]


@pytest.mark.parametrize(("allowed", "pictures"), [(2000, [5]), (1999, [3, 2]), (800, [2, 2, 1]), (399, [1] * 5)])
def test_pieces_share_the_pictures_evenly(monkeypatch, allowed, pictures):
    """Worked by hand: maps of 2 x 5 numbers of 4 bytes, for ten channels 400 bytes a picture. One is always taken."""
    monkeypatch.setattr(pieces, "PIECE", allowed)
    maps = torch.empty(5, 3, 2, 5)
    assert [len(maps[piece]) for piece in pieces.pieces_of(maps, 10)] == pictures
