"""What only a GPU can prove: nothing waits, everything lies where it is used, and the results are those of the CPU.

`pytest -m gpu` runs these, and the tests marked gpu beside what they are about.
"""

import gc
import warnings
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from helpers.data.augment import side_on
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.models.features import precompute
from helpers.recipe.averaging import AverageWeights
from helpers.runtime import precision
from helpers.runtime.graphs import Recording
from helpers.training import loop
from helpers.training.loop import gradients, train_step
from helpers.training.run import Hook
from helpers.training.schedules import constant
from tests.conftest import draw_pictures

pytestmark = pytest.mark.gpu
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def uneven(tmp_path, course_data):
    """20 pictures train and 6 validate; batches of at most 8 are 7, 7 and 6."""
    return ImageData.from_folders(draw_pictures(tmp_path / "uneven", n=13), size=32, batch_size=8, augment=side_on())


@pytest.fixture
def exact(monkeypatch):
    """Float32 products in float32, and the same kernels every time: what differs then is the kit's doing."""
    monkeypatch.setattr("helpers.learner.make_ready", lambda device: None)
    settings = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = settings[:2]
    torch.set_float32_matmul_precision(settings[2])


@contextmanager
def waiting_is(mode: str):
    """Inside the block whatever makes the program wait for the GPU is an "error", or gives a warning ("warn")."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mode calls itself a prototype
        torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def learner(data, trained_from=0, **options) -> Learner:
    learn = Learner.pretrained(data, "test_efficientnet", **{"pretrained": False, "precompute": False, **options})
    learn.freeze_to(trained_from)
    return learn


def weights(learn) -> dict:
    return {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}


def assert_same(ours: dict, theirs: dict) -> None:
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def distance(found, expected) -> float:
    """How far `found` is from `expected`, as a share of it."""
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).norm() / expected.norm())


class Stop(Hook):
    """Ends a training in the middle of its second epoch."""

    def on_step_end(self, run):
        if run.step == 4:
            raise KeyboardInterrupt


# Nothing waits -------------------------------------------------------------------------------------------------

WAYS = {  # (first group that trains, what the learner is given)
    "pictures, all layers": (0, {}),
    "pictures, head": (2, {}),
    "features, head": (2, {"precompute": True}),
    "graphs": (0, {"cuda_graphs": True}),
    "mixup": (0, {"batch_transform": v2.MixUp(num_classes=2)}),
    "class weights": (0, {"loss": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))}),
}


@pytest.mark.parametrize("precision", ["to_fp32", "to_bf16", "to_fp16"])
@pytest.mark.parametrize("way", WAYS)
def test_no_step_waits_for_the_gpu(uneven, precision, way):
    """Catches a host synchronisation per step: fetching, augmentation, loss, gradients and update, every precision."""
    trained_from, options = WAYS[way]
    learn = learner(uneven, trained_from, max_norm=1.0, **options)
    getattr(learn, precision)()
    run = learn._run(1e-3, 1, constant)
    run.model.train()
    for epoch in range(2):  # everything is loaded, chosen, recorded and allocated
        for batch in run.source.train_batches(run.device, 8, epoch):
            train_step(run, batch)
    torch.cuda.synchronize()
    pictures = 0
    with waiting_is("error"):
        for batch in run.source.train_batches(run.device, 8, 2):
            pictures += len(batch)
            loop.set_rates(run.optimizer, 0.5, None)
            if precision == "to_fp16":  # the loss scaler has to look whether a step overflowed
                gradients(run, batch)
            else:
                train_step(run, batch)
    assert pictures == len(run.source.rows["train"]), "a loop over nothing waits for nothing"


def waits(learn: Learner, epochs: int) -> int:
    """How often one `fit` waits for the GPU."""
    with waiting_is("warn"), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        learn.fit(1e-4, epochs)
    return sum("called a synchronizing" in str(warning.message) for warning in seen)


def test_how_often_an_epoch_waits_does_not_grow_with_its_batches(uneven, monkeypatch):
    """Catches a value read once per batch, in training or in validation; once an epoch they are read."""
    monkeypatch.setattr(loop, "NAN_CHECK_SECONDS", 1e9)
    few, many = (learner(uneven.resized(32, batch_size=size)) for size in (20, 4))
    for learn in (few, many):
        learn.fit(1e-4, 1)
    assert 0 < waits(few, 1) == waits(many, 1)


# Everything lies where it is used ------------------------------------------------------------------------------


def test_pixels_and_features_lie_on_the_gpu(uneven):
    """Catches a gather on the CPU and a copy for every step."""
    learn = learner(uneven, 2, precompute=True)
    learn.precompute_copies(2)
    features = learn.source()
    assert learn.device.type == "cuda" and uneven.store_on(learn.device).flat.is_cuda
    assert all(shard.is_cuda for table in (features.plain, *features.augmented) for shard in table.shards)
    assert all(parameter.is_cuda for parameter in learn.model.parameters())


def test_what_does_not_fit_comes_through_pinned_memory(uneven, monkeypatch):
    """Catches a full card as the end of the lesson, and copies from pageable memory, which hold up the program."""
    resident = list(uneven.train_batches(CUDA, 8, 0))
    streamed_data = uneven.resized(32)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 80_000_000_000))
    learn = learner(streamed_data, 2, precompute=True)
    assert not streamed_data.store_on(CUDA).flat.is_cuda and not learn.source().plain.shards[0].is_cuda
    pageable, to = [], torch.Tensor.to

    def watched(tensor, *args, **kwargs):
        moved = to(tensor, *args, **kwargs)
        if moved.is_cuda and not tensor.is_cuda and not tensor.is_pinned():
            pageable.append(tuple(tensor.shape))
        return moved

    monkeypatch.setattr(torch.Tensor, "to", watched)
    streamed = list(streamed_data.train_batches(CUDA, 8, 0))
    features = list(learn.source().train_batches(CUDA, 8, 0))
    assert pageable == [] and all(batch.inputs.is_cuda for batch in features)
    for ours, theirs in zip(streamed, resident, strict=True):
        torch.testing.assert_close(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)


def test_a_full_card_halves_the_batch(tmp_path, course_data, capsys):
    """Catches CUDA's own error that ends the training, and memory the failed attempt still holds."""
    data = ImageData.from_folders(draw_pictures(tmp_path / "many", n=20), size=32, batch_size=30)

    class Hungry(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat, self.last = nn.Flatten(), nn.Linear(3 * 32 * 32, 2)

        def forward(self, images):
            activations = images.new_zeros(len(images), 10_000_000)  # 40 MB a picture
            return self.last(self.flat(images)) + activations[:, :2]

    learn = Learner(data, Hungry())
    learn.fit(1e-4, 1)  # libraries have what they need
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**30) / total)
    try:
        learn.fit(1e-4, 1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory: going on with 15 pictures at a time" in capsys.readouterr().out
    assert len(learn.history.epochs) == 2


def test_a_second_card_computes_alone(uneven, monkeypatch):
    """Catches work for `cuda:1` that goes to the first card."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    monkeypatch.setenv("COURSE_DEVICE", "cuda:1")
    before = torch.cuda.memory_allocated(0)
    learn = learner(uneven)
    learn.fit(1e-4, 1)
    assert next(learn.model.parameters()).get_device() == 1 and torch.cuda.memory_allocated(0) == before


# The results are those of the CPU ------------------------------------------------------------------------------


def test_both_devices_draw_the_same(uneven):
    """Catches augmentation or order drawn on the device: a run would not be repeatable elsewhere."""
    for gpu, cpu in zip(uneven.train_batches(CUDA, 8, 0), uneven.train_batches(CPU, 8, 0), strict=True):
        torch.testing.assert_close(gpu.inputs.cpu(), cpu.inputs, atol=1e-3, rtol=1e-3)
        assert torch.equal(gpu.targets.cpu(), cpu.targets)


@pytest.mark.parametrize("copies", [0, 2])
def test_features_are_those_of_the_cpu(uneven, copies, exact, tmp_path, monkeypatch):
    """Catches another layout, other statistics or another order on the device: float32, a thousandth at most."""
    found = {}
    for device in (CUDA, CPU):
        monkeypatch.setenv("COURSE_DATA", str(tmp_path / device.type))  # each computes, none reads the other's
        model = learner(uneven).model.to(device)
        how = {"split_point": len(model.body), "precision": torch.float32, "copies": copies}
        found[device] = precompute(model, uneven, device=device, **how)
    pairs = zip(*((found[device].plain, *found[device].augmented) for device in (CUDA, CPU)), strict=True)
    for pair in pairs:
        assert distance(*(table[torch.arange(table.shape[0])] for table in pair)) < 1e-3


def test_predictions_are_those_of_the_cpu(uneven, exact, monkeypatch, tmp_path):
    """Catches a model file that means something else on the other device."""
    here = learner(uneven, path=tmp_path)
    here.fit(1e-3, 2)
    here.save("both")
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    there = learner(uneven, path=tmp_path).load("both")
    assert (here.device.type, there.device.type) == ("cuda", "cpu")
    for ours, theirs in ((here.get_preds(), there.get_preds()), (here.tta(n=2), there.tta(n=2))):
        torch.testing.assert_close(ours.probs, theirs.probs, atol=1e-3, rtol=0)
    assert torch.equal(here.get_preds().predicted, there.get_preds().predicted)


def test_fast_arithmetic_is_near_enough(uneven):
    """Catches TensorFloat-32 or bfloat16 that changes more than their own rounding: 10 and 7 bits of a mantissa."""
    learn = learner(uneven)
    found = {}
    for name in ("highest", "high"):
        torch.set_float32_matmul_precision(name)
        torch.backends.cudnn.allow_tf32 = name == "high"
        found[name] = learn.to_fp32().get_preds().log_probs
    found["bfloat16"] = learn.to_bf16().get_preds().log_probs
    assert distance(found["high"], found["highest"]) < 1e-2
    assert distance(found["bfloat16"], found["highest"]) < 5e-2


# No trace, and the same again ----------------------------------------------------------------------------------


def test_the_finder_leaves_no_trace_on_the_gpu(uneven):
    """Catches statistics, weights, moments or a generator of the device that the search has moved."""
    learn = learner(uneven)
    torch.rand(1, device=CUDA)
    before, state = weights(learn), torch.cuda.get_rng_state()
    learn.lr_find(steps=20)
    assert_same(weights(learn), before)
    assert torch.equal(torch.cuda.get_rng_state(), state)


@pytest.mark.parametrize("graphs", [False, True])
def test_a_training_leaves_the_generators_of_the_gpu_alone(uneven, graphs):
    """Catches dropout that moves the global generator, and the generator a recording has taken over."""
    learn = learner(uneven, cuda_graphs=graphs)
    torch.rand(1, device=CUDA)
    state = torch.cuda.get_rng_state()
    learn.fit(1e-4, 2)
    assert torch.equal(torch.cuda.get_rng_state(), state)


@pytest.mark.parametrize("way", ["to_fp32", "to_bf16", "to_fp16"])
def test_a_resumed_run_ends_as_one_that_was_not_killed(uneven, exact, monkeypatch, tmp_path, way):
    """Catches optimizer, scaler or generator that comes back otherwise: equal to the last bit."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    whole, killed = (getattr(learner(uneven, path=tmp_path / name), way)() for name in ("whole", "killed"))
    whole.fit_one_cycle(3, 1e-3)
    killed.fit_one_cycle(3, 1e-3, hooks=[Stop()])
    assert killed.interrupted
    again = getattr(learner(uneven, path=tmp_path / "killed"), way)()
    again.fit_one_cycle(3, 1e-3, resume=True)
    assert_same(weights(again), weights(whole))
    assert again.history.losses == whole.history.losses


# Arithmetic that is timed, and work that is recorded -----------------------------------------------------------


@pytest.mark.parametrize("work", precision.WORK)
@pytest.mark.parametrize("kind", precision.KINDS)
def test_precision_is_the_faster_one_as_timed_here(kind, work, course_data, monkeypatch):
    """Catches bfloat16 read off a flag."""
    monkeypatch.delenv("COURSE_PRECISION", raising=False)
    precision.timings.cache_clear()
    seconds = precision.timings(kind, CUDA, work)
    faster = seconds["bfloat16"] < precision.CLEARLY_FASTER * seconds["float32"]
    assert precision.fast_precision(CUDA, kind, work) is (torch.bfloat16 if faster else torch.float32)
    assert torch.cuda.get_device_name() in (course_data / "cache" / "timings.json").read_text()
    print({name: f"{1000 * value:.1f} ms" for name, value in seconds.items()})
    precision.timings.cache_clear()


@pytest.mark.parametrize("way", ["to_fp32", "to_bf16", "to_fp16"])
@pytest.mark.parametrize(
    "options",
    [{}, {"max_norm": 0.1}, {"accumulate": 2}, {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)}],
    ids=["plain", "clipped", "two batches a step", "label smoothing"],
)
def test_a_recorded_training_is_the_same_training(uneven, exact, way, options):
    """Catches dropout that repeats, gradients that add up or go stale, BatchNorm's statistics that stay."""
    found = {}
    for graphs in (False, True):
        learn = getattr(learner(uneven, cuda_graphs=graphs, **options), way)()
        learn.fit_one_cycle(3, 1e-3, hooks=[AverageWeights([2, 3])])
        found[graphs] = weights(learn), learn.history.losses
    assert found[True][1] == found[False][1]
    assert_same(found[True][0], found[False][0])


def test_each_shape_of_batch_is_recorded_once(uneven, monkeypatch):
    """Catches a recording per batch or epoch: an epoch's batches have two sizes at most."""
    recorded, real = [], Recording.__init__
    monkeypatch.setattr(
        Recording,
        "__init__",
        lambda self, work, inputs, *rest: recorded.append(len(inputs[1])) or real(self, work, inputs, *rest),
    )
    learn = learner(uneven, cuda_graphs=True)
    learn.fit(1e-4, 4)
    assert sorted(recorded) == [6, 7]


def test_a_compiler_meets_two_shapes_and_one_graph(uneven):
    """Catches new modules at each call, a break in the graph, and a size that is compiled anew."""
    learn, compiled = learner(uneven), []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    learn.model.train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler imports deprecated parts of torch
        torch._dynamo.reset()
        after = torch.compile(learn.model.after, backend=backend, fullgraph=True, dynamic=False)
        for epoch in range(3):
            for batch in uneven.train_batches(CUDA, 8, epoch):
                after(batch.inputs, 0).sum().backward()
    assert len(compiled) == 2
