"""The compiled kernels against torch's layers in float64, and what happens where they cannot be compiled."""

import copy
import stat
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from data_setup.lite import EfficientNetLite, InvertedResidual, compiled, gradients, pieces
from data_setup.lite.filters import Filters, filters_fit
from data_setup.lite.network import NormAct
from helpers.runtime.precision import autocast
from tests.data_setup.kernel_maps import assert_near, in_number_types, maps_of

pytestmark = pytest.mark.skipif(compiled.kernels() is None, reason="no C compiler with OpenMP, or another processor")


def learned(norm: nn.Module, maps: torch.Tensor, arriving: torch.Tensor) -> list[torch.Tensor]:
    """What comes out, the gradients of maps and weights, the running statistics."""
    maps = maps.clone().requires_grad_()
    found = norm(maps)
    found.backward(arriving)
    return [found.detach(), maps.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]


def norms(channels: int, *, activate: bool) -> tuple[NormAct, nn.Module]:
    """A layer, and torch's layers of the same weights in float64."""
    torch.manual_seed(channels)
    norm = NormAct(channels, activate=activate).train()
    nn.init.uniform_(norm.weight, 0.5, 3.0)
    nn.init.normal_(norm.bias, 1.0)
    plain = nn.BatchNorm2d(channels, norm.eps)
    plain.load_state_dict(norm.state_dict())
    plain.register_forward_hook(lambda _, given, found: F.relu6(found) if activate else found)
    return norm, plain.double()


@in_number_types
@pytest.mark.parametrize("activate", [True, False])
@given(st.integers(1, 3), st.sampled_from([16, 24, 40, 48]), st.integers(1, 20), st.integers(2, 21))
def test_a_norm_and_its_activation_learn_as_torchs(dtype, activate, n, channels, height, width):
    """Any number of pixels (as few as threads, more than a chunk): catches one that is left out or counted twice, a
    slope where ReLU6 is flat, channels that change places or, where they do not come in sixteens, are added twice, a
    variance not made unbiased."""
    norm, exact = norms(channels, activate=activate)
    maps, arriving = (maps_of(n, channels, height, width, dtype=dtype, seed=seed) for seed in (0, 1))
    unclipped = F.batch_norm(maps.double(), None, None, exact.weight, exact.bias, True, 0, exact.eps)
    at_a_corner = torch.minimum(unclipped.abs(), (unclipped - 6).abs()) < 0.05  # there rounding decides the slope
    arriving[at_a_corner] = 0
    found, expected = learned(norm, maps, arriving), learned(exact, maps.double(), arriving.double())
    for ours, theirs in zip(found, expected, strict=True):
        assert_near(ours, theirs)
    assert norm.num_batches_tracked == 1
    assert (found[0] == expected[0].to(dtype)).float().mean() > 0.98 or dtype == torch.float32  # rounded, not cut off


def test_a_slope_at_a_corner_is_0_as_torchs():
    norm, _ = norms(16, activate=True)
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.copy_(torch.tensor([0.0, 6.0, 3.0, -1.0]).repeat(4))
    learned(norm, maps_of(2, 16, 3, 3), maps_of(2, 16, 3, 3, seed=1))
    assert norm.bias.grad.nonzero().flatten().tolist() == [2, 6, 10, 14]


def test_a_norm_far_from_0_keeps_its_digits():
    """Catches a variance that is the difference of two large numbers."""
    norm, exact = norms(16, activate=False)
    maps, arriving = maps_of(4, 16, 20, 20).add(1000), maps_of(4, 16, 20, 20, seed=1)
    found, expected = learned(norm, maps, arriving), learned(exact, maps.double(), arriving.double())
    torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[5].double(), expected[5], rtol=1e-5, atol=1e-5)


def test_what_is_no_number_stays_none():
    """In bfloat16, whose rounding adds to the bits: catches a NaN that becomes 0, and hides a diverged training."""
    norm, *_ = norms(16, activate=True)
    maps = maps_of(2, 16, 3, 3, dtype=torch.bfloat16)
    maps[0, 3, 1, 1] = float("nan")
    maps[1, 7, 2, 2] = float("inf")
    norm.bias.data[5:6] = torch.tensor([0x7FFFFFFF], dtype=torch.int32).view(torch.float32)  # one more would be -0
    found = norm(maps.requires_grad_())
    assert "ClippedNorm" in type(found.grad_fn).__name__
    lost = found.isnan().all(dim=3).all(dim=2).all(dim=0)
    assert lost.nonzero().flatten().tolist() == [3, 5, 7] and norm.running_mean[[3, 7]].isfinite().sum() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda norm: norm.eval(),
        lambda norm: setattr(norm, "momentum", None),
        lambda norm: norm.double(),
        lambda norm: setattr(norm, "act", nn.SiLU()),
        lambda norm: norm.act.register_forward_hook(lambda *_: None),
        lambda norm: norm.requires_grad_(False),
    ],
    ids=["fixed statistics", "gathered for ever", "float64", "another activation", "hook", "frozen"],
)
def test_norms_that_are_not_meant_are_left_to_torch(change):
    norm, *_ = norms(16, activate=True)
    change(norm)
    maps = maps_of(2, 16, 3, 3).to(norm.weight.dtype)
    assert "ClippedNorm" not in type(norm(maps).grad_fn).__name__


def test_maps_that_do_not_fit_are_left_to_torch():
    """Catches reading beside the maps: channels one after the other, too few of them, other numbers; and one pixel,
    which torch refuses in words."""
    assert compiled.fits(maps_of(2, 16, 3, 3)) and compiled.fits(maps_of(2, 24, 3, 3))
    for maps in (torch.rand(2, 16, 3, 3), maps_of(2, 8, 3, 3), maps_of(2, 28, 3, 3), maps_of(2, 16, 3, 3).half()):
        assert not compiled.fits(maps)
    assert not compiled.fits(maps_of(4, 16, 3, 3)[::2])
    assert not filters_fit(maps_of(2, 24, 3, 3), torch.rand(24, 1, 3, 3), (1, 1))
    with pytest.raises(ValueError, match="more than 1 value"):
        norms(16, activate=True)[0](maps_of(1, 16, 1, 1))


@in_number_types
def test_a_network_learns_the_same_with_and_without(dtype, monkeypatch):
    """lite0 up to its third stage, in odd sizes: no farther from float64's gradients than torch is in this precision.
    And that it is the kernels that do it, on maps as they lie in a training."""
    torch.manual_seed(0)
    network = nn.Sequential(*EfficientNetLite("efficientnet_lite0").body()[:5])
    network = network.to(memory_format=torch.channels_last).train()
    images, found, used = maps_of(4, 3, 75, 98), [], []
    for function in (gradients.ClippedNorm, pieces.Block):
        apply = lambda *given, function=function, own=function.apply: used.append(function) or own(*given)  # noqa: E731
        monkeypatch.setattr(function, "apply", apply)
    for numbers, there in ((dtype, True), (dtype, False), (torch.float64, False)):
        one = copy.deepcopy(network)
        if not there:
            monkeypatch.setattr(compiled, "kernels", lambda: None)
        with autocast(torch.device("cpu"), numbers) if numbers == dtype else nullcontext():
            one, seen = (one, images) if numbers == dtype else (one.double(), images.double())
            one(seen).square().mean().backward()
        found.append(torch.cat([weight.grad.double().flatten() for weight in one.parameters()]))
    as_one_step = gradients.in_one_step_here(dtype)  # else only the norms: torch would emulate the rest
    assert (used.count(pieces.Block), used.count(gradients.ClippedNorm)) == ((5, 6) if as_one_step else (0, 11))
    ours, torchs, exact = found
    assert (ours - exact).norm() < 1.3 * (torchs - exact).norm() < exact.norm()


def test_zeros_before_a_stride_are_not_forgotten():
    """Small maps, where the norm before the stride is a layer of its own, and puts the zeros around what it clips."""
    torch.manual_seed(0)
    block = InvertedResidual(16, 32, 3, 2, 6).to(memory_format=torch.channels_last).train()
    exact = copy.deepcopy(block).double()
    maps = maps_of(4, 16, 7, 8)
    assert_near(block(maps).detach(), exact(maps.double()).detach())


@pytest.mark.parametrize("layer", ["norm", "filters"])
def test_what_arrives_may_lie_otherwise(layer):
    """A pool's or a sum's gradient comes channel by channel: catches reading it as if it did not."""
    filters = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)
    one = norms(32, activate=True)[0] if layer == "norm" else filters
    arriving, found = maps_of(2, 32, 5, 7, seed=1), []
    for layout in (torch.channels_last, torch.contiguous_format):
        maps = maps_of(2, 32, 5, 7).requires_grad_()
        one.zero_grad()
        with autocast(torch.device("cpu"), torch.float32):
            one(maps).backward(arriving.contiguous(memory_format=layout))
        found.append((maps.grad, one.weight.grad))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
def test_filters_outside_of_blocks_learn_by_the_kernel(side, stride, monkeypatch):
    """Under the helpers' autocast, in any network: catches zeros that are counted once for both sides."""
    layer = nn.Conv2d(32, 32, side, stride, padding=side // 2, groups=32, bias=False)
    exact, maps, asked = copy.deepcopy(layer).double(), maps_of(2, 32, 9, 12).requires_grad_(), []
    gradients_of = Filters.gradients
    monkeypatch.setattr(Filters, "gradients", lambda *given: asked.append(1) or gradients_of(*given))
    exact_maps = maps.detach().double().requires_grad_()
    with autocast(torch.device("cpu"), torch.float32):
        found, wanted = layer(maps), exact(exact_maps)
    arriving = maps_of(*found.shape, seed=1)
    found.backward(arriving)
    wanted.backward(arriving.double())
    assert asked == [1]
    assert_near(maps.grad, exact_maps.grad)
    assert_near(layer.weight.grad, exact.weight.grad)


def test_the_same_numbers_come_out_each_time(two_threads):
    """Catches threads that add to the same sum."""
    maps, arriving = maps_of(8, 32, 33, 33), maps_of(8, 32, 33, 33, seed=1)
    once, *again = (learned(norms(32, activate=True)[0], maps, arriving) for _ in range(20))
    assert all(torch.equal(a, b) for found in again for a, b in zip(once, found, strict=True))


@pytest.fixture
def anew(tmp_path, monkeypatch):
    """`kernels` as a machine finds it that has never compiled; the folder that it compiles into."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    compiled.kernels.cache_clear()
    yield tmp_path / "cache" / "kernels"
    compiled.kernels.cache_clear()


def test_it_compiles_once_and_again_after_damage(anew, tmp_path, monkeypatch):
    """Catches a compiler that is called at every start, and a file cut short that leaves a machine slow for ever."""
    assert compiled.kernels() is not None
    (file,) = anew.iterdir()
    made = file.stat().st_mtime_ns
    compiled.kernels.cache_clear()
    assert compiled.kernels() is not None and file.stat().st_mtime_ns == made
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "elsewhere"))
    damaged = tmp_path / "elsewhere" / "cache" / "kernels" / file.name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no library")
    compiled.kernels.cache_clear()
    assert compiled.kernels() is not None and damaged.read_bytes() == file.read_bytes()


def test_another_processor_is_another_file(anew, monkeypatch):
    """Catches AVX512's kernels on a machine that shares the folder and has AVX2, and any on one that has neither."""
    made = []
    for capability in ("AVX2", "AVX512", "DEFAULT"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda named=capability: named)
        monkeypatch.setattr(compiled.ctypes, "CDLL", lambda file: file)  # made, but not loaded: it may not run here
        compiled.kernels.cache_clear()
        made.append(compiled.kernels())
    assert len(set(made)) == 3 and made[2] is None and len(list(anew.iterdir())) == 2


def test_another_source_is_another_file(anew, tmp_path, monkeypatch):
    """Catches yesterday's kernels after an update."""
    sources = [tmp_path / source.name for source in compiled.SOURCES]
    for old, new in zip(compiled.SOURCES, sources, strict=True):
        new.write_bytes(old.read_bytes())
    monkeypatch.setattr(compiled, "SOURCES", sources)
    first = compiled.kernels()._name
    header = next(source for source in sources if source.suffix == ".h")
    header.write_bytes(header.read_bytes() + b"\n")
    compiled.kernels.cache_clear()
    assert compiled.kernels()._name != first


def script(folder, text: str) -> str:
    file = folder / "compiler"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IEXEC)
    return str(file)


@pytest.mark.parametrize("compiler", ["absent", "fails", "hangs"])
def test_without_a_compiler_torch_does_the_work(compiler, anew, tmp_path, monkeypatch):
    """A missing compiler, one that refuses, one that does not come back: training goes on, nothing is left behind."""
    monkeypatch.setattr(compiled, "PATIENCE_S", 0.2)
    commands = {"absent": "no-such-compiler", "fails": script(tmp_path, "exit 1")}
    monkeypatch.setenv("CC", commands.get(compiler) or script(tmp_path, "exec sleep 30"))
    assert compiled.kernels() is None and not list(anew.glob("*"))
    norm, *_ = norms(16, activate=True)
    found = norm(maps_of(2, 16, 3, 3))
    assert "ClippedNorm" not in type(found.grad_fn).__name__ and type(norm.act) is not nn.Identity
    found.sum().backward()
    assert norm.weight.grad is not None and gradients.Clip.__name__ in type(found.grad_fn).__name__


def test_a_folder_that_cannot_be_written_is_no_error(anew, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert compiled.kernels() is None
