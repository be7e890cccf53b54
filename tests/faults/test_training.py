"""Rows 31 to 40 and 54 to 60: trainings that diverge, are interrupted, or find the disk full or the data gone."""

import math
import os
import random
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.runtime import tensor_files
from helpers.training import loop
from helpers.training.run import Hook
from tests.faults.doses import end_of, fork

EPOCHS = 2


def small_learner(data, **settings):
    return Learner.pretrained(data, "test_resnet", pretrained=False, **settings)


def generators():
    return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002


def same_generators(one, other):
    return torch.equal(one[0], other[0]) and one[1] == other[1] and np.array_equal(one[2], other[2])


@pytest.mark.fault(31)
@pytest.mark.parametrize("cause", ["1e3", "1e10", "inf", "nan", "a loss of nan", "a picture of nan"])
def test_a_loss_that_is_no_number_stops_within_one_batch(case, data, pictures, cause):
    """Catches two epochs of nan that are reported as finished."""
    case.watch(pictures)
    steps, settings = [], {}

    class Count(Hook):
        def on_step_end(self, run):
            steps.append(all(p.isfinite().all() for p in run.model.parameters()))

    class NanLoss(nn.CrossEntropyLoss):
        def forward(self, logits, targets):
            return super().forward(logits, targets) * math.nan

    def spoil(images, targets):
        return images.clone().index_fill_(0, torch.tensor([0]), math.nan), targets

    if cause == "a loss of nan":
        settings["loss"] = NanLoss()
    if cause == "a picture of nan":
        settings |= {"batch_transform": spoil, "precompute": False}
    learn = small_learner(data, **settings)
    before = {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}
    lr = float(cause) if cause[0] in "1in" else 1e-3
    with case.clear("loss or weights became", "learning rate", remedy="run learn.lr_find() and take a lower rate"):
        learn.fit(lr, 60, hooks=[Count()])
    assert steps.count(False) <= 1
    assert all(tensor.isfinite().all() for tensor in learn.model.state_dict().values())
    if lr != 1e3:  # the others fail in the first epoch
        assert all(torch.equal(before[name], tensor) for name, tensor in learn.model.state_dict().items())


@pytest.mark.fault(32)
def test_a_search_of_too_few_steps_gives_no_advice(case, learn, monkeypatch):
    """Catches a suggestion read off three points."""
    from helpers.training import lr_finder

    losses = iter([1.0, 1.1, math.nan])
    monkeypatch.setattr(lr_finder, "train_step", lambda run, batch: next(losses))
    with case.right():
        curve = learn.lr_find()
        assert len(curve.losses) == 3
        assert not any((curve.minimum, curve.steep, curve.valley, curve.slide)), curve.advice
        assert curve.advice


class Break(Hook):
    """Raises at the n-th moment that a hook is called."""

    def __init__(self, at, error):
        self.at, self.error, self.moments = at, error, 0

    def tick(self, run):
        self.moments += 1
        if self.moments - 1 == self.at:
            raise self.error("pulled")

    on_fit_begin = on_step_end = on_epoch_end = on_fit_end = tick


MOMENTS = 2 + EPOCHS * (2 + 1)  # of 18 pictures in batches of 9, and the ends


@pytest.mark.fault(36)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
@pytest.mark.parametrize("at", range(MOMENTS))
def test_whatever_a_hook_raises_leaves_everything_consistent(case, pictures, course_data, error, at):
    """Catches a model left in training mode, generators that moved, and epochs counted twice."""
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=32, batch_size=9)
        learn, hook = small_learner(data, precompute=False), Break(at, error)
        before = generators()
        with suppress(KeyboardInterrupt, RuntimeError, OSError):
            learn.fit(1e-3, EPOCHS, hooks=[hook])
        assert hook.moments > at, "it was not reached"
        assert same_generators(before, generators())
        assert not any(module.training for module in learn.model.modules())
        history = learn.history
        assert len(history.losses) == sum(history.steps_per_epoch) == 2 * len(history.epochs)
        assert torch.equal(learn.predict(), learn.predict())
        learn.fit(1e-3, 1)
        assert [epoch.number for epoch in learn.history.epochs] == list(range(len(history.epochs) + 1))


@pytest.mark.fault(36, 37)
@pytest.mark.parametrize("at", range(MOMENTS))
def test_interrupted_at_any_hook_a_new_session_resumes_to_the_same_bits(case, pictures, course_data, monkeypatch, at):
    """Catches files that an interrupt leaves as they must not be: a step counted twice, or left out."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=32, batch_size=9)
        whole = small_learner(data, precompute=False, name="whole")
        whole.fit(1e-3, EPOCHS)
        hook = Break(at, KeyboardInterrupt)
        with suppress(KeyboardInterrupt):
            small_learner(data, precompute=False).fit(1e-3, EPOCHS, hooks=[hook])
        assert hook.moments > at, "it was not reached"
        again = small_learner(data, precompute=False)
        again.fit(1e-3, EPOCHS, resume=True)
        assert again.history.losses == whole.history.losses
        assert torch.equal(again.predict(), whole.predict())


@pytest.mark.fault(37, 39)
@pytest.mark.parametrize("write", range(4))
def test_a_write_that_fails_at_any_checkpoint_ends_no_training(case, pictures, data, monkeypatch, capsys, write):
    """Catches a training that dies of a full disk, and half a checkpoint that a resume believes."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    case.watch(pictures)
    with case.right():
        whole = small_learner(data, precompute=False, name="whole")
        whole.fit_one_cycle(4, 1e-3)
        learn, calls, fsync = small_learner(data, precompute=False), [0], os.fsync

        def failing(descriptor):
            calls[0] += 1
            if calls[0] - 1 == write:
                raise OSError(28, "No space left on device")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", failing)
        learn.fit_one_cycle(4, 1e-3)
        assert calls[0] == 4 and capsys.readouterr().out.count("no checkpoint: ") == 1
        assert torch.equal(learn.predict(), whole.predict())
        assert not list(learn.path.glob(".*.tmp"))
        again = small_learner(data, precompute=False)  # a new session takes up what was kept last
        again.fit_one_cycle(4, 1e-3, resume=True)
        assert torch.equal(again.predict(), whole.predict())


def failing_writes(patch, fail_at):
    """From now on call number `fail_at` that writes a model finds the disk full; the list of calls grows."""
    calls = []

    def guard(owner, name):
        function = getattr(owner, name)

        def counted(*args, **keywords):
            if owner in (os, tensor_files) or ".safetensors" in str(args[0]):
                calls.append(name)
                if len(calls) - 1 == fail_at:
                    raise OSError(28, "No space left on device")
            return function(*args, **keywords)

        patch.setattr(owner, name, counted)

    for owner, name in ((Path, "open"), (Path, "replace"), (os, "fsync"), (tensor_files, "save_file")):
        guard(owner, name)
    return calls


@pytest.mark.fault(39, 40)
def test_a_save_whose_kth_write_fails_keeps_the_old_model(case, data, learn, monkeypatch, tmp_path):
    """Catches the one place where the old file is already gone and the new one is not there yet."""
    models = case.watch(learn.save("model").parent)
    learn.fit(1e-2, 1)
    learn.path = tmp_path
    with monkeypatch.context() as patch:
        calls = failing_writes(patch, -1)
        learn.save("elsewhere")
    learn.path = models
    assert {"save_file", "replace", "fsync"} <= set(calls)
    for fail_at in range(len(calls)):
        with monkeypatch.context() as patch:
            failing_writes(patch, fail_at)
            with case.clear("model.safetensors could not be written", "it needs", remedy="make room"):
                learn.save("model")
        case.finish()  # the old file is as it was, and nothing else lies there


@pytest.mark.fault(54)
@pytest.mark.parametrize("what", ["pixels", "model"])
def test_a_folder_that_cannot_be_written_is_named(case, pictures, tmp_path, monkeypatch, what):
    """Catches "Errno 30" in the middle of a training."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    case.watch(pictures)
    data = ImageData.from_folders(pictures, size=32)
    if what == "pixels":
        monkeypatch.setenv("COURSE_DATA", str(blocked))
        with case.clear(blocked, remedy="set COURSE_DATA to a folder on another disk"):
            assert data.store
    else:
        monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
        learn = small_learner(data, path=blocked)
        with case.clear(blocked, remedy="make room"):
            learn.save("model")
    assert blocked.is_file()


@pytest.mark.fault(54)
def test_a_data_folder_without_write_permission_trains(case, pictures, course_data, monkeypatch):
    """Catches anything written beside the pictures."""
    for path in [pictures, *pictures.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    case.watch(pictures)
    with case.right():
        learn = small_learner(ImageData.from_folders(pictures, size=32))
        learn.fit(1e-3, 1)
        assert learn.save("model").is_file() and learn.lr_find(steps=10).losses
    for path in [pictures, *pictures.rglob("*")]:
        path.chmod(0o755)


@pytest.mark.fault(54)
def test_a_finished_checkpoint_that_cannot_be_deleted_ends_no_training(case, pictures, data, monkeypatch):
    """Catches "Errno 30" where a read-only folder holds the checkpoint of an earlier training."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    case.watch(pictures)
    with case.right():
        learn = small_learner(data, precompute=False)
        learn.fit(1e-3, 1)
        assert (learn.path / "model.checkpoint.safetensors").is_file()

        unlink = Path.unlink

        def refuse(self, missing_ok=False):
            if self.suffix == ".safetensors":
                raise OSError(30, "Read-only file system", str(self))
            unlink(self, missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        learn.fit(1e-3, 1)
        assert len(learn.history.epochs) == 2


@pytest.mark.fault(55)
def test_a_data_set_that_moved_is_named_before_the_first_epoch(case, pictures, course_data):
    """Catches an error in the middle of an epoch."""
    data = ImageData.from_folders(pictures, size=32)
    pictures.rename(pictures.with_name("moved"))
    case.watch(pictures.with_name("moved"))
    with case.clear(pictures, remedy="Make the data again from the folder where it lies now"):
        small_learner(data).fit(1e-3, 1)


@pytest.mark.fault(55)
def test_a_model_goes_with_its_data_to_another_folder(case, pictures, course_data):
    """Catches absolute paths in saved files."""
    learn = small_learner(ImageData.from_folders(pictures, size=32))
    learn.fit(1e-3, 1)
    learn.save("model")
    before = learn.predict()
    moved = pictures.rename(pictures.with_name("moved"))
    case.watch(moved)
    with case.right():
        again = small_learner(ImageData.from_folders(moved, size=32)).load("model")
        assert torch.equal(again.predict(), before)


def labelled_in_a_notebook(item):
    return item.name[0]


@pytest.mark.fault(57, 58)
def test_no_process_is_started_to_read_pictures(case, data, pictures, monkeypatch):
    """Catches workers, which need functions that can be pickled, and die without saying why."""
    import multiprocessing.process

    def refuse(self):
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
    case.watch(pictures)
    with case.right():
        learn = small_learner(data, precompute=False, batch_transform=lambda images, targets: (images, targets))
        assert len(learn.fit(1e-3, 1).epochs) == 1 and learn.tta().probs.isfinite().all()


@pytest.mark.fault(59)
@pytest.mark.parametrize("asked", ["cuda", "mps", "tpu", "cuda:7"])
def test_a_device_that_is_not_here_is_refused_by_name(case, data, pictures, monkeypatch, asked):
    """Catches a training on another device than was asked for."""
    if asked.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("there is one")
    monkeypatch.setenv("COURSE_DEVICE", asked)
    case.watch(pictures)
    with case.clear("COURSE_DEVICE", asked, remedy=""):
        small_learner(data)


@pytest.mark.fault(59)
def test_half_precision_on_a_processor_is_refused_with_what_works(case, learn, pictures):
    """Catches warnings that nobody reads, and a training that is slower than the plain one."""
    case.watch(pictures)
    with case.clear("float16", remedy="use to_bf16() or to_fp32()"):
        learn.to_fp16()


@pytest.mark.fault(60)
def test_the_same_seed_gives_the_same_bits(case, pictures, course_data):
    """Catches a result that nobody can repeat."""
    case.watch(pictures)
    with case.right():
        ends = []
        for _ in range(2):
            learn = small_learner(ImageData.from_folders(pictures, size=32), precompute=False, seed=5)
            torch.manual_seed(random.randrange(1000))
            history = learn.fit(1e-3, 2)
            ends.append((history.losses, learn.predict().tolist()))
        assert ends[0] == ends[1]


@pytest.mark.fault(36, 37)
@pytest.mark.parametrize("jump_s", [-1e7, 1e7])
def test_a_clock_that_jumps_and_a_laptop_that_sleeps_change_nothing(case, data, pictures, monkeypatch, jump_s):
    """Catches times of the day in decisions: a checkpoint that never comes, a cache that is thrown away."""
    case.watch(pictures)
    with case.right():
        whole = small_learner(data, precompute=False)
        whole.fit(1e-3, 2)
        now, steps = time.time, []

        class Jump(Hook):
            def on_step_end(self, run):
                steps.append(run.step)

        monkeypatch.setattr(time, "time", lambda: now() + jump_s * len(steps))
        if jump_s > 0:  # asleep: the clock that only goes forwards has gone far
            clock = time.perf_counter
            monkeypatch.setattr(loop, "perf_counter", lambda: clock() + jump_s * len(steps))
        learn = small_learner(data, precompute=False)
        history = learn.fit(1e-3, 2, hooks=[Jump()])
        assert history.losses == whole.history.losses
        assert learn.save("model").is_file() and torch.equal(learn.load("model").predict(), whole.predict())


@pytest.mark.fault(53)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_notebooks_that_train_at_once_do_not_meet(case, pictures, course_data, tmp_path):
    """Catches two sessions that decode into one file, or save half of each other's model."""
    case.watch(pictures)

    def session():
        learn = small_learner(ImageData.from_folders(pictures, size=32, batch_size=8))
        learn.fit(1e-3, 2)
        for _ in range(5):
            learn.save("model")

    with case.right():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        children = [fork(session) for _ in "ab"]
        assert [end_of(child) for child in children] == [0, 0]
        session()
        before = small_learner(ImageData.from_folders(pictures, size=32, batch_size=8)).load("model").predict()
        session()
        after = small_learner(ImageData.from_folders(pictures, size=32, batch_size=8)).load("model").predict()
        assert torch.equal(before, after)
        torch.set_num_threads(threads)
        assert not [path.name for path in course_data.rglob("*.tmp")]
