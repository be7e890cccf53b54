"""Which arithmetic is chosen, and what mixed precision computes."""

import json
import os

import pytest
import timm
import torch
from torch import nn

from data_setup.lite import timings
from helpers.models.classifier import build_classifier
from helpers.runtime import precision
from helpers.runtime.distributed import join
from helpers.runtime.precision import autocast, fast_precision, network_kind

CPU = torch.device("cpu")


@pytest.fixture
def slower(monkeypatch, course_data):
    """A processor with the flag, on which dense networks train slower with bfloat16; counts what is measured."""
    measured = []
    times = {"depthwise": {"float32": 2.0, "bfloat16": 1.5}, "dense": {"float32": 1.0, "bfloat16": 1.8}}

    def measure(kind, device, work):
        measured.append(kind if work == "training" else (kind, work))
        return times[kind] if work == "training" else {"float32": 1.0, "bfloat16": 0.5}

    monkeypatch.delenv("COURSE_PRECISION", raising=False)
    monkeypatch.setattr(precision, "cpu_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(precision, "in_one_step_here", lambda dtype: True)
    monkeypatch.setattr(precision, "_measure", measure)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)
    precision.timings.cache_clear()
    yield measured
    precision.timings.cache_clear()


def test_the_clock_decides_and_not_the_flag(slower):
    """Catches bfloat16 chosen because the processor has the instructions: on one it took up to 2.2 times as long."""
    assert fast_precision(CPU, "dense") is torch.float32
    assert fast_precision(CPU, "depthwise") is torch.bfloat16
    assert slower == ["dense", "depthwise"]


def test_predicting_has_a_clock_of_its_own(slower, course_data):
    """Catches one time for both: training in bfloat16 may cost what predicting in it gains, and both end in float32."""
    assert fast_precision(CPU, "dense", "predicting") is torch.bfloat16
    assert fast_precision(CPU, "dense", "training") is torch.float32
    assert slower == [("dense", "predicting"), "dense"]
    assert len(json.loads((course_data / "cache" / "timings.json").read_text())) == 2


def test_a_machine_is_timed_once(slower, course_data, monkeypatch):
    """Catches a probe in every process, and an answer kept for another torch, processor or number of threads."""
    file = course_data / "cache" / "timings.json"
    for _ in range(2):
        precision.timings.cache_clear()  # as a new process would
        fast_precision(CPU, "dense")
    assert slower == ["dense"] and "dense" in file.read_text()
    for change in (
        lambda: monkeypatch.setattr(torch, "__version__", "9.9"),
        lambda: monkeypatch.setattr(timings, "cpu_name", lambda: "another processor"),
        lambda: monkeypatch.setattr(torch, "get_num_threads", lambda: 77),
        lambda: monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "told to use less"),
    ):
        change()
        precision.timings.cache_clear()
        fast_precision(CPU, "dense")
    assert slower == ["dense"] * 5
    assert len(json.loads(file.read_text())) == 5, "the other answers stay"


def test_what_a_busy_machine_answered_is_not_kept(slower, course_data, monkeypatch):
    """Catches one busy minute that decides for ever: beside other programs bfloat16 took twice as long as float32."""
    monkeypatch.setattr(os, "getloadavg", lambda: (os.cpu_count() + 1.0, 0.0, 0.0), raising=False)
    fast_precision(CPU, "dense")
    assert not (course_data / "cache" / "timings.json").exists()
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 9.0, 9.0), raising=False)
    precision.timings.cache_clear()
    fast_precision(CPU, "dense")
    assert slower == ["dense", "dense"] and (course_data / "cache" / "timings.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": {"float32": "x", "bfloat16": 1}}', "null"])
def test_a_damaged_file_is_measured_again(slower, course_data, content):
    """Catches a crash over a file that nobody knows of."""
    file = course_data / "cache" / "timings.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert fast_precision(CPU, "dense") is torch.float32
    assert len(json.loads(file.read_text())) == 1


def test_a_row_of_other_ways_is_measured_again(slower, course_data):
    """Catches a KeyError for whoever comes with the file of another version."""
    fast_precision(CPU, "dense")
    file = course_data / "cache" / "timings.json"
    (name,) = json.loads(file.read_text())
    file.write_text(json.dumps({name: {"float32": 1.0}}))
    precision.timings.cache_clear()
    assert fast_precision(CPU, "dense") is torch.float32 and len(slower) == 2


def test_a_disk_that_cannot_be_written_breaks_nothing(slower, course_data):
    """Catches an OSError in the first line of a lesson."""
    course_data.mkdir()
    (course_data / "cache").write_text("a file where the folder should be")
    assert fast_precision(CPU, "dense") is torch.float32


def test_the_environment_variable_overrides_the_clock(slower, monkeypatch):
    """Catches a COURSE_PRECISION that is read but not obeyed, or a typing mistake that means float32."""
    for word in ("bfloat16", "float32"):
        monkeypatch.setenv("COURSE_PRECISION", word)
        for device in ("cpu", "cuda", "mps"):
            assert fast_precision(torch.device(device), "dense") is getattr(torch, word)
    monkeypatch.setenv("COURSE_PRECISION", "bf16")
    with pytest.raises(ValueError, match="COURSE_PRECISION is float32 or bfloat16; got 'bf16'"):
        fast_precision(CPU, "dense")
    assert slower == []


def test_what_cannot_be_fast_is_not_timed(slower, monkeypatch):
    """Catches emulated bfloat16 (a hundred times slower), timed for minutes or served: the processor has none, or
    oneDNN was told to do without it (ONEDNN_MAX_CPU_ISA)."""
    for processor, onednn in ((False, True), (True, False)):
        monkeypatch.setattr(precision, "cpu_capabilities", lambda has=processor: {"avx512_bf16": has})
        monkeypatch.setattr(precision, "in_one_step_here", lambda dtype, has=onednn: has)
        assert fast_precision(CPU, "depthwise") is torch.float32
    assert fast_precision(torch.device("mps"), "depthwise") is torch.float32
    asked = {}
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **k: asked.update(k))
    assert fast_precision(torch.device("cuda"), "depthwise") is torch.float32
    assert asked == {"including_emulation": False}
    assert slower == []


def test_a_gpu_is_timed_too_under_its_own_name(slower, course_data, monkeypatch):
    """Catches bfloat16 read off a flag: where launching the work takes longest, the casts only add to it."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index or 0}")
    assert fast_precision(torch.device("cuda"), "dense") is torch.float32
    assert fast_precision(torch.device("cuda", 1), "depthwise") is torch.bfloat16
    assert fast_precision(CPU, "dense") is torch.float32
    names = json.loads((course_data / "cache" / "timings.json").read_text())
    assert slower == ["dense", "depthwise", "dense"] and [name[:6] for name in names][:2] == ["card 0", "card 1"]


def test_the_probe_measures_and_leaves_no_trace(monkeypatch):
    """Catches a probe that draws from the global generator, and networks of the two kinds that are the same."""
    monkeypatch.setattr(timings, "TURNS", 1)
    monkeypatch.setattr(precision, "SHAPES", {"training": (2, 3, 64, 64), "predicting": (4, 3, 32, 32)})
    state = torch.get_rng_state()
    for work in precision.WORK:
        seconds = precision._measure("dense", CPU, work)
        assert set(seconds) == {"float32", "bfloat16"} and all(0 < s < 60 for s in seconds.values())
    assert torch.equal(torch.get_rng_state(), state)
    for kind, name in precision.KINDS.items():
        assert network_kind(timm.create_model(name)) == kind


@pytest.mark.parametrize(
    ("arch", "kind"), [("efficientnet_lite0", "depthwise"), ("test_convnext", "depthwise"), ("test_resnet", "dense")]
)
def test_the_kind_of_a_network_is_read_off_its_convolutions(arch, kind):
    """Catches a first layer of one channel, or grouped convolutions, taken for depthwise ones."""
    assert network_kind(build_classifier(arch, 2, size=64, pretrained=False)) == kind
    assert network_kind(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Linear(3, 3))) == "dense"


def types_seen(layer: nn.Conv2d, *, training: bool) -> list[torch.dtype]:
    """The types of the inputs that torch's convolution kernel was given, and of the layer's answer."""
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "convolution" in str(function):
                seen.append(args[0].dtype)
            return function(*args, **(kwargs or {}))

    with torch.set_grad_enabled(training), autocast(CPU, torch.bfloat16), Watch():
        answer = layer(torch.rand(2, 8, 9, 9))
    return [*seen, answer.dtype]


@pytest.mark.parametrize(
    "layer, training, expected",
    [
        (nn.Conv2d(8, 8, 3, groups=8), True, torch.float32),
        (nn.Conv2d(8, 16, 3, stride=2, padding="valid", groups=8), True, torch.float32),
        (nn.Conv2d(8, 8, 3, groups=8), False, torch.bfloat16),
        (nn.Conv2d(8, 8, 3, groups=2), True, torch.bfloat16),
        (nn.Conv2d(8, 8, 1), True, torch.bfloat16),
    ],
    ids=["depthwise", "with a multiplier", "while predicting", "grouped", "pointwise"],
)
def test_only_depthwise_convolutions_that_train_stay_in_float32(layer, training, expected):
    """Catches slow gradients in bfloat16, and everything else left in float32 with them."""
    assert types_seen(layer, training=training)[0] is expected


def test_mixed_gradients_are_those_of_float32_up_to_rounding():
    """Catches a gradient lost or counted twice on the way through the two types."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    images = torch.rand(4, 3, 9, 9)
    gradients = {}
    for dtype in (torch.float32, torch.bfloat16):
        model.zero_grad()
        with autocast(CPU, dtype):
            answer = model(images)
        answer.float().square().mean().backward()
        gradients[dtype] = [parameter.grad.clone() for parameter in model.parameters()]
    for exact, mixed in zip(*gradients.values(), strict=True):
        assert mixed.dtype is torch.float32
        assert (mixed - exact).norm() < 0.02 * exact.norm()


def test_the_exception_ends_with_the_block():
    """Catches a mode that stays on and computes float32 for whoever trains next in plain torch."""
    layer = nn.Conv2d(8, 8, 3, groups=8)
    with autocast(CPU, torch.bfloat16):
        pass
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.rand(1, 8, 9, 9)).dtype is torch.bfloat16
    with autocast(CPU, torch.float32):
        assert layer(torch.rand(1, 8, 9, 9)).dtype is torch.float32


def test_convolutions_called_with_keywords_compute_too():
    """Catches a network of one's own that names the arguments of conv2d, and the exception that loses them."""
    images, weight = torch.rand(2, 4, 6, 6), torch.rand(4, 1, 3, 3, requires_grad=True)
    expected = nn.functional.conv2d(images, weight, padding=1, groups=4)
    with autocast(CPU, torch.bfloat16):
        mixed = nn.functional.conv2d(images, weight, padding=1, groups=4)
        named = nn.functional.conv2d(input=images, weight=weight, padding=1, groups=4)
    torch.testing.assert_close(mixed.float(), expected)
    torch.testing.assert_close(named.float(), expected, atol=0.05, rtol=0.05)


def test_a_launched_process_computes_as_several_would_also_when_it_is_alone(slower, monkeypatch):
    """Catches a training of two processes that one cannot take up: its precision would be another one."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    join(CPU)
    assert fast_precision(CPU, "depthwise") is torch.bfloat16
    monkeypatch.setenv("WORLD_SIZE", "1")
    join(CPU)
    assert fast_precision(CPU, "depthwise") is torch.float32
