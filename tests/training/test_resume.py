"""A training that was killed goes on as if nothing had happened: the same weights, bit for bit.

Run as a script this file is a server that has imported everything once: each line it reads is a training, which a
forked child does, is killed in, or finishes.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

KINDS = {  # what is trained: everything in training mode, the head on cached features, several cycles with momentum
    "unfrozen": {"trained_from": 0, "precompute": False},
    "precompute": {"trained_from": 2, "precompute": True},
}
STEPS, EPOCHS = 2, 3  # 12 training pictures in batches of 6


def train(folder, *, kind, resume=False, kill_at_step=None, kill_at_write=None):
    """One training as a user would start it; prints nothing; the digest of all weights at its end."""
    import torch

    from helpers.data.augment import side_on
    from helpers.data.dataset import ImageData
    from helpers.learner import Learner
    from helpers.training import loop as training
    from helpers.training.run import Hook
    from tests.conftest import tiny_network

    training.CHECKPOINT_SECONDS = 0
    how = KINDS[kind]
    data = ImageData.from_folders(folder / "pictures", size=32, batch_size=6, augment=side_on())
    learn = Learner(data, tiny_network(), path=folder / kind, seed=3)
    learn.precompute = how["precompute"]
    learn.freeze_to(how["trained_from"])

    class Kill(Hook):
        def on_step_end(self, run):
            if run.step == kill_at_step:
                os.kill(os.getpid(), signal.SIGKILL)

    if kill_at_write is not None:  # in the middle of a checkpoint, before it replaces the one before
        writes, fsync = iter(range(100)), os.fsync

        def dying(descriptor):
            if next(writes) == kill_at_write:
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(descriptor)

        os.fsync = dying
    learn.fit_one_cycle(EPOCHS, slice(1e-3, 1e-2), hooks=[Kill()], resume=resume)
    assert learn.history.steps_per_epoch == (STEPS,) * EPOCHS
    if not how["precompute"]:
        optimizer = learn._run(1e-3, 1, lambda progress: 1.0).optimizer
        assert optimizer.defaults["fused"], "the fast optimizer is the one that is tested"
        assert learn.model.body[0][0].weight.is_contiguous(memory_format=torch.channels_last)
    digest = hashlib.sha256()
    for tensor in learn.model.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    digest.update(repr([(e.number, e.train_loss, e.valid_loss) for e in learn.history.epochs]).encode())
    return digest.hexdigest() + repr(learn.history.losses)


def serve(folder):
    """Read a request per line, fork, answer with the signal that ended the child and what it had to say."""
    import torch

    import helpers.learner
    import tests.conftest

    assert helpers.learner and tests.conftest
    torch.set_num_threads(1)
    for line in sys.stdin:
        answer = folder / "answer"
        answer.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            sys.stdout = open(folder / "child.txt", "a")  # noqa: SIM115, PTH123
            try:
                answer.write_text(train(folder, **json.loads(line)))
            except BaseException as error:
                answer.write_text(f"{type(error).__name__}: {error}")
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        print(json.dumps([killed, answer.read_text() if answer.exists() else ""]), flush=True)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """`trainer(**request)`: (signal, answer) of one training in a process of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork()")
    from tests.conftest import draw_pictures

    folder = tmp_path_factory.mktemp("resume")
    draw_pictures(folder / "pictures", n=8)
    environment = {**os.environ, "COURSE_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1", "COURSE_DEVICE": "cpu"}
    root = Path(__file__).parents[2]
    server = subprocess.Popen(
        [sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=root, env={**environment, "PYTHONPATH": str(root)},
    )  # fmt: skip

    def ask(**request):
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    ask.folder = folder
    yield ask
    server.stdin.close()
    server.stdout.close()
    server.wait(timeout=60)


@pytest.fixture(scope="module")
def whole(trainer):
    """What each kind of training gives when nothing happens to it."""
    answers = {}
    for kind in KINDS:
        killed, answer = trainer(kind=kind)
        assert killed == 0 and "Error" not in answer, answer
        answers[kind] = answer
        (trainer.folder / kind / "model.checkpoint.safetensors").unlink()
    return answers


def kill_and_resume(trainer, kind, **moment):
    checkpoint = trainer.folder / kind / "model.checkpoint.safetensors"
    checkpoint.unlink(missing_ok=True)
    killed, answer = trainer(kind=kind, **moment)
    assert (killed, answer) == (signal.SIGKILL, "")
    killed, answer = trainer(kind=kind, resume=True)
    assert killed == 0
    return answer


@pytest.mark.parametrize(
    "moment",
    [
        *({"kill_at_step": step} for step in range(1, STEPS * EPOCHS + 1)),
        *({"kill_at_write": write} for write in range(EPOCHS)),
    ],
    ids=lambda moment: "-".join(map(str, *moment.items())),
)
def test_a_killed_training_ends_with_the_same_weights_whenever_it_was_killed(trainer, whole, moment):
    """Catches a resume that forgets BatchNorm, AdamW's moments or steps, the schedule's place, order or dropout."""
    assert kill_and_resume(trainer, "unfrozen", **moment) == whole["unfrozen"]


@pytest.mark.parametrize("step", [1, 3])
def test_a_training_on_kept_activations_resumes_as_well(trainer, whole, step):
    """Catches a checkpoint that only fits pictures."""
    assert kill_and_resume(trainer, "precompute", kill_at_step=step) == whole["precompute"]


def test_killed_twice_and_resumed_twice(trainer, whole):
    """Catches a history or a step count that is only right after the first resume."""
    checkpoint = trainer.folder / "unfrozen" / "model.checkpoint.safetensors"
    checkpoint.unlink(missing_ok=True)
    assert trainer(kind="unfrozen", kill_at_step=3)[0] == signal.SIGKILL
    assert trainer(kind="unfrozen", kill_at_step=5, resume=True)[0] == signal.SIGKILL
    assert trainer(kind="unfrozen", resume=True) == [0, whole["unfrozen"]]


def test_a_finished_training_resumed_trains_nothing(trainer, whole):
    """Catches one epoch too many."""
    assert trainer(kind="unfrozen") == [0, whole["unfrozen"]]
    assert trainer(kind="unfrozen", resume=True) == [0, whole["unfrozen"]]
    assert (trainer.folder / "child.txt").read_text().rstrip().endswith("time"), "a table without a row"


# In one process ------------------------------------------------------------------------------------------------


@pytest.fixture
def training(monkeypatch):
    from helpers.training import loop as training

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    return training


def stop_at(training, step):
    from helpers.training import run

    class Stop(run.Hook):
        def on_step_end(self, run):
            if run.step == step:
                raise KeyboardInterrupt

    return Stop()


def weights(learn):
    return {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}


def assert_same(one, other):
    import torch

    assert not [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("earlier_epochs", [0, 1])
def test_an_interrupted_training_resumed_stands_in_the_history_once(data, training, earlier_epochs):
    """Catches epochs counted twice, or another order and dropout, after Ctrl-C and resume in the same session."""
    from helpers.learner import Learner

    ends = []
    for interrupted in (False, True):
        learn = Learner.pretrained(data, "test_resnet", pretrained=False, name=f"interrupted {interrupted}")
        if earlier_epochs:
            learn.fit(1e-3, earlier_epochs)
        learn.unfreeze()
        if interrupted:
            learn.fit_one_cycle(3, 1e-3, hooks=[stop_at(training, 5)])
            assert len(learn.history.epochs) == earlier_epochs + 1
        learn.fit_one_cycle(3, 1e-3, resume=interrupted)
        rows = [(e.number, e.train_loss, e.valid_loss) for e in learn.history.epochs]
        ends.append((rows, learn.history.losses, learn.history.lrs, weights(learn)))
    assert [row[0] for row in ends[1][0]] == list(range(earlier_epochs + 3))
    assert ends[0][:3] == ends[1][:3]
    assert_same(ends[0][3], ends[1][3])


def test_a_new_learner_takes_up_a_later_training(data, training):
    """Catches a run that can only be resumed when the epochs before it are trained again first."""
    from helpers.learner import Learner

    def learner():
        learn = Learner.pretrained(data, "test_resnet", pretrained=False)
        learn.unfreeze()
        return learn

    first = learner()
    first.fit(1e-3, 1)
    first.fit(1e-3, 2, hooks=[stop_at(training, 4)])
    later = learner()
    later.fit(1e-3, 2, resume=True)
    first.fit(1e-3, 2, resume=True)
    assert_same(weights(first), weights(later))
    assert [epoch.number for epoch in later.history.epochs] == [0, 1, 2], "the checkpoint knows what was before"
    later.fit(1e-3, 1)
    assert [epoch.number for epoch in later.history.epochs] == [0, 1, 2, 3]


def test_fine_tune_goes_on_in_the_part_that_was_killed(data, training):
    """Catches a second part that begins again, or goes on from a head that never trained, or from an older training."""
    from helpers.learner import Learner
    from helpers.training.run import Hook

    def learner():
        return Learner.pretrained(data, "test_resnet", pretrained=False)

    class StopAt(Hook):
        def __init__(self, at):
            self.at, self.steps = at, 0

        def on_step_end(self, run):
            self.steps += 1
            if self.steps == self.at:
                raise KeyboardInterrupt

    whole = learner()
    whole.fine_tune(2, 4e-3, freeze_epochs=2)
    # its two parts have two epochs of three steps each; each time a finished training's checkpoint is there
    for at, left in ((1, 12), (4, 9), (7, 6), (10, 3), (99, 0)):
        learner().fine_tune(2, 4e-3, freeze_epochs=2, hooks=[StopAt(at)])
        later, count = learner(), StopAt(0)
        steps = len(later.fine_tune(2, 4e-3, freeze_epochs=2, hooks=[count], resume=True).losses)
        assert count.steps == left, at
        assert steps == 12 and [epoch.number for epoch in later.history.epochs] == [0, 1, 2, 3], at
        assert_same(weights(whole), weights(later))


@pytest.mark.parametrize(("seconds", "saved"), [(0, [1, 2, 3]), (3600, [])])
def test_a_checkpoint_follows_every_epoch_that_takes_its_time_and_none_a_short_training(
    learn, training, seconds, saved, monkeypatch
):
    """Catches long epochs without a checkpoint, and 262 MB written for a training of two seconds."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", seconds)
    written, save_run = [], training.save_run
    monkeypatch.setattr(training, "save_run", lambda run: written.append(run.done) or save_run(run))
    learn.fit(1e-3, 3)
    assert written == saved


def test_training_goes_on_while_an_earlier_epochs_checkpoint_is_written(learn, training, monkeypatch):
    """Catches a loop that waits for the disk, and a file that holds later steps than it says."""
    from helpers.training import checkpoints
    from helpers.training.run import Hook

    gone_on, kept, written = threading.Event(), [], []

    class Keep(Hook):
        def on_epoch_end(self, run):
            kept.append(run.weights())
            if run.done == 2:
                gone_on.set()

    def slowly(path, tensors, about):
        written.append((gone_on.wait(60), about["state"]["done"], tensors))

    monkeypatch.setattr(checkpoints, "save_tensors", slowly)
    learn.fit(1e-3, 3, hooks=Keep())
    assert [(went_on, done) for went_on, done, _ in written] == [(True, 1), (True, 2), (True, 3)]
    for then, (_, _, tensors) in zip(kept, written, strict=True):
        assert_same(then, {name: tensors[f"model/{name}"] for name in then})


def test_a_full_disk_ends_no_training(learn, training, monkeypatch, capsys):
    """Catches hours of training that die because their checkpoint could not be written."""
    from helpers.training import checkpoints

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    assert len(learn.fit(1e-3, 2).epochs) == 2
    assert capsys.readouterr().out.count("no checkpoint: No space left on device") == 2


def test_without_a_checkpoint_it_starts_and_says_so(learn, training, capsys):
    """Catches FileNotFoundError on the first run of a script that always resumes."""
    learn.fit(1e-3, 1, resume=True)
    assert "nothing to resume at model.checkpoint.safetensors: starting from the first epoch" in capsys.readouterr().out
    assert len(learn.history.epochs) == 1


def test_a_training_killed_before_its_first_checkpoint_is_not_the_finished_one_before(learn, training, capsys):
    """Catches a second training of the same kind that is said to be finished, because the first one is."""
    learn.fit(1e-3, 2)
    learn.fit(1e-3, 2, hooks=[stop_at(training, 1)])
    learn.fit(1e-3, 2, resume=True)
    assert "nothing to resume" in capsys.readouterr().out
    assert [epoch.number for epoch in learn.history.epochs] == [0, 1, 2, 3]


def test_a_finished_training_keeps_its_weights_alone_and_the_next_reads_none_of_them(learn, training, monkeypatch):
    """Catches 175 MB of an optimizer that takes no step again, and all read and hashed to see that it is finished."""
    from helpers.runtime.tensor_files import load_tensors
    from helpers.training import checkpoints

    learn.fit(1e-3, 2)
    file = learn.path / "model.checkpoint.safetensors"
    assert_same({name.removeprefix("model/"): tensor for name, tensor in load_tensors(file)[0].items()}, weights(learn))
    monkeypatch.setattr(checkpoints, "load_tensors", None)
    learn.fit(1e-3, 2, hooks=[stop_at(training, 1)])
    assert not file.exists()


def test_an_unfinished_training_outlives_one_that_was_started_by_mistake(data, training, capsys):
    """Catches hours that are lost because resume=True was left out once, and Ctrl-C was pressed at once."""
    from helpers.learner import Learner

    for stop, resume in ((4, False), (1, False), (None, True)):
        learn = Learner.pretrained(data, "test_resnet", pretrained=False)
        learn.fit(1e-3, 2, hooks=[stop_at(training, stop)], resume=resume)
    assert "resuming after 1 of 2 epochs" in capsys.readouterr().out


def another_schedule(learn):
    learn.fit_one_cycle(2, 1e-3, resume=True)


def other_groups(learn):
    learn.freeze_to(1)
    learn.precompute = False
    learn.fit(1e-3, 2, resume=True)


def other_weights(learn):
    import torch

    learn.loss.weight = torch.tensor([1.0, 2.0])
    learn.fit(1e-3, 2, resume=True)


def other_augmentation(learn):
    from helpers.data.augment import side_on

    learn.set_data(learn.data.with_augment(side_on()))
    learn.fit(1e-3, 2, resume=True)


def other_size(learn):
    learn.set_data(learn.data.resized(48))
    learn.fit(1e-3, 2, resume=True)


def other_split(learn):
    from helpers.data.dataset import ImageData
    from helpers.training.run import History

    learn.history = History()
    learn.set_data(ImageData.from_items(learn.data.items, size=32, batch_size=8, seed=9))
    learn.fit(1e-3, 2, resume=True)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda learn: learn.fit(1e-3, 3, resume=True), "epochs 2 then, 3 now"),
        (lambda learn: learn.fit(2e-3, 2, resume=True), r"rates \[0.001, 0.001\] then, \[0.002, 0.002\] now"),
        (another_schedule, "schedule .*momentum None then"),
        (other_groups, r"trained parameters \[\d+, \d+\] then, \[\d+, \d+, \d+, \d+\] now"),
        (other_weights, r"class weights \{\} then, \{'weight': \[1.0, 2.0\]\} now"),
        (other_augmentation, "augmentation .*flip=False.* then, .*flip=True"),
        (other_size, "data .* 32 px .* then, .* 48 px"),
        (other_split, "split [0-9a-f]+ then, [0-9a-f]+ now"),
    ],
)
def test_another_run_is_not_continued(learn, training, ask, sentence):
    """Catches a checkpoint taken up by a run it does not belong to, and an error that does not say what differs."""
    learn.fit(1e-3, 2, hooks=[stop_at(training, 4)])
    before = weights(learn)
    with pytest.raises(ValueError, match=rf"(?s)model\.checkpoint.* is of another run: .*{sentence}"):
        ask(learn)
    assert_same(before, weights(learn))


def test_another_architecture_is_not_continued(learn, data, training):
    """Catches torch's list of missing keys."""
    from helpers.learner import Learner

    learn.fit(1e-3, 1)
    other = Learner.pretrained(data, "test_byobnet", pretrained=False)
    with pytest.raises(ValueError, match="arch test_resnet then, test_byobnet now"):
        other.fit(1e-3, 1, resume=True)


# Hooks -------------------------------------------------------------------------------------------------------------


def killed_and_resumed(data, hooks, *, kills, losses, monkeypatch):
    """(weights, rows, metrics) of one whole training, and for each step in `kills` of one that was killed there and
    taken up by another."""
    from helpers.learner import Learner
    from helpers.training import loop
    from tests.conftest import tiny_network

    def validated(run):
        return losses[min(run.done, 3)], evaluate(run)[1]

    results, evaluate = [], loop.evaluate
    for at in (None, *kills):
        for attempt in range(1 if at is None else 2):
            learn = Learner(data, tiny_network(), name=f"killed at {at}").to_fp32()
            learn.unfreeze()
            made = hooks()
            stop = [stop_at(loop, at)] if at and attempt == 0 else []
            with monkeypatch.context() as patch:
                patch.setattr(loop, "evaluate", validated)
                learn.fit(1e-3, 4, hooks=[*made, *stop], resume=attempt == 1)
        rows = [(e.number, e.train_loss, e.valid_loss) for e in learn.history.epochs]
        results.append((weights(learn), rows, learn.about()["metrics"]))
    return results


@pytest.mark.parametrize("kind", ["keep best", "average", "early stopping"])
def test_hooks_go_on_where_they_were(data, training, monkeypatch, kind):
    """Catches hooks that forget the epochs before the kill: another best, another mean, another patience."""
    from helpers.lessons.overfitting import EarlyStopping, KeepBest
    from helpers.recipe.averaging import AverageWeights

    kinds = {
        "keep best": lambda: [KeepBest()],
        "average": lambda: [AverageWeights([1, 2, 4])],
        "early stopping": lambda: [EarlyStopping(2)],
    }

    losses = [1.0, 1.5, 1.2, 1.3]
    whole, *killed = killed_and_resumed(data, kinds[kind], kills=(4, 8, 10), losses=losses, monkeypatch=monkeypatch)
    assert len(killed) == 3
    for resumed in killed:
        assert whole[1:] == resumed[1:]
        assert_same(whole[0], resumed[0])


def test_a_finished_training_resumed_gives_the_averaged_weights_and_a_stopped_one_stays_stopped(data, training):
    """Catches a checkpoint written before the hooks' end, and a stop that is forgotten."""
    from helpers.learner import Learner
    from helpers.recipe.averaging import AverageWeights
    from helpers.training.run import Hook

    class Stop(Hook):
        def on_epoch_end(self, run):
            run.stop = run.done == 3

    ends = []
    for resume in (False, True):
        learn = Learner.pretrained(data, "test_resnet", pretrained=False)
        learn.fit(1e-3, 5, hooks=[AverageWeights([1, 2, 3]), Stop()], resume=resume)
        ends.append((weights(learn), learn.history))
    assert ends[0][1] == ends[1][1] and len(ends[1][1].epochs) == 3
    assert_same(ends[0][0], ends[1][0])


def test_a_hook_that_has_nothing_to_remember_yet_is_resumed(learn, training):
    """Catches a checkpoint that loses an empty dict: it holds no tensor, and resuming ended in a KeyError."""
    from helpers.training.run import Hook

    class Kept(Hook):
        remembers = ("kept",)

        def on_fit_begin(self, run):
            self.kept = {}

    learn.fit(1e-3, 1, hooks=[Kept()])
    resumed = Kept()
    learn.fit(1e-3, 1, hooks=[resumed], resume=True)
    assert resumed.kept == {} and len(learn.history.epochs) == 1


def test_slow_hooks_leave_no_unfinished_checkpoint_of_a_short_training(learn, training, monkeypatch):
    """Catches one clock for checkpoints on the way and another for the last one: the training would be "resumed" that
    was finished long ago."""
    from helpers.training.run import Hook

    now = [0.0]

    class Draw(Hook):
        def on_step_end(self, run):
            now[0] += 1  # an epoch of 3 s

        def on_epoch_end(self, run):
            now[0] += 60

    monkeypatch.setattr(training, "perf_counter", lambda: now[0])
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 10)
    learn.fit(1e-3, 2, hooks=Draw())
    assert learn.history.epochs[0].seconds == 3 and not list(learn.path.glob("*.checkpoint*"))
    learn.fit(1e-3, 9, hooks=Draw())
    learn.fit(1e-3, 9, hooks=Draw(), resume=True)
    assert len(learn.history.epochs) == 11, "that one was long, and its checkpoint says that it is finished"


def test_what_was_resumed_holds_no_file(data, training, monkeypatch):
    """Catches tensors mapped from the checkpoint: Windows would refuse to replace that file for the whole training."""
    from helpers.learner import Learner
    from helpers.recipe.averaging import AverageWeights
    from helpers.training import checkpoints

    mapped, load_tensors = [], checkpoints.load_tensors

    def load_and_note(file):
        found = load_tensors(file)
        mapped.extend(found[0].values())
        return found

    runs = []
    for resume in (False, True):
        learn = Learner.pretrained(data, "test_resnet", pretrained=False)
        run = learn._run(1e-3, 3, lambda progress: 1.0, hooks=[AverageWeights([1, 2, 3]), stop_at(training, 7)])
        monkeypatch.setattr(checkpoints, "load_tensors", load_and_note)
        training.fit(run, resume=resume)
        runs.append(run)
    held = [*run.model.state_dict().values(), *run.hooks[0].mean.values()]
    held += [value for state in run.optimizer.state.values() for value in state.values()]
    assert mapped and not {tensor.data_ptr() for tensor in mapped} & {tensor.data_ptr() for tensor in held}


def test_the_loss_scaler_goes_on_where_it_was(data, training, tmp_path):
    """Catches a scaler that starts at its first scale again (it takes part on CUDA only, so its record is faked)."""
    from helpers.learner import Learner
    from helpers.training.checkpoints import finish_saving, resume_run, save_run

    learn = Learner.pretrained(data, "test_resnet", pretrained=False)
    runs = [learn._run(1e-3, 1, lambda progress: 1.0) for _ in range(2)]
    for run in runs:
        run.scaler = Scaler()
    runs[0].scaler.scale = 12.0
    save_run(runs[0])
    finish_saving(runs[0])
    resume_run(runs[1])
    assert runs[1].scaler.scale == 12.0


class Scaler:
    scale = 1.0

    def state_dict(self):
        return {"scale": self.scale}

    def load_state_dict(self, state):
        self.scale = state["scale"]


# What must be the same -----------------------------------------------------------------------------------------


def swapped_labels(learn):
    from data_setup.items import relabel

    other = {"dark": "light", "light": "dark"}
    learn.set_data(learn.data.with_items(relabel(learn.data.items, {i.name: other[i.label] for i in learn.data.items})))


def other_picture_weights(learn):
    from dataclasses import replace

    learn.set_data(
        learn.data.with_items([replace(item, weight=2.0) for item in learn.data.items[:1]] + list(learn.data.items[1:]))
    )


def other_transforms(learn, monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr("data_setup.base.pictures.CACHE_VERSION", 999)
    learn.set_data(replace(learn.data))


def other_content(learn):
    from PIL import Image

    from helpers.data.dataset import ImageData

    Image.new("RGB", (40, 32), "red").save(learn.data.items[0].path)
    learn.set_data(ImageData.from_items(learn.data.items, learn.data.split, size=32, batch_size=8))


def other_activation(learn):
    from torch import nn

    learn.model.head[3] = nn.GELU()  # without weights, as the ReLU before it


@pytest.mark.parametrize(
    ("change", "settings", "sentence"),
    [
        (swapped_labels, {}, "labels .* then, .* now"),
        (other_picture_weights, {}, "weights of pictures .* then"),
        (other_content, {}, "pictures .* then"),
        (other_transforms, {}, "pictures .* then"),
        (lambda learn: learn.bn_freeze(True), {}, "bn .* then"),
        (lambda learn: None, {"bn": "train"}, "bn .* then"),
        (lambda learn: None, {"batch_transform": lambda x, y: (x, y)}, "batch_transform None then"),
        (lambda learn: None, {"hooks": "keep"}, r"hooks \[\] then, \[\['KeepBest', \{\}\]\] now"),
        (lambda learn: None, {"max_norm": 1.0}, "max_norm None then, 1.0 now"),
        (lambda learn: None, {"loss": "smooth"}, "loss .*0.0.* then, .*0.1"),
        (lambda learn: None, {"dropout": 0.1}, r"dropout \[0.25, 0.5\] then, \[0.05, 0.1\] now"),
        (other_activation, {}, "layers .* then"),
    ],
)
def test_what_changed_since_is_named(data, training, monkeypatch, change, settings, sentence):
    """Catches a training that goes on with swapped labels, other pixels, another policy, or without its hooks."""
    import inspect

    from torch import nn

    from helpers.learner import Learner
    from helpers.lessons.overfitting import KeepBest

    settings = {**settings}
    if "hooks" in settings:
        settings["hooks"] = [KeepBest()]
    if "loss" in settings:
        settings["loss"] = nn.CrossEntropyLoss(label_smoothing=0.1)
    Learner.pretrained(data, "test_resnet", pretrained=False, precompute=False).fit(1e-3, 2)
    learn = Learner.pretrained(data, "test_resnet", pretrained=False, precompute=False, **settings)
    change(learn, monkeypatch) if len(inspect.signature(change).parameters) == 2 else change(learn)
    with pytest.raises(ValueError, match=rf"(?s)is of another run: .*{sentence}"):
        learn.fit(1e-3, 2, resume=True)


class Mix:
    def __init__(self, alpha):
        self.alpha = alpha

    def __call__(self, inputs, targets):
        return inputs, targets


def test_settings_inside_a_transform_or_a_loss_are_compared(data, training):
    """Catches a resume with another alpha of one's own transform, or another smoothing within one's own loss."""
    from torch import nn

    from helpers.learner import Learner

    class Own(nn.Module):
        def __init__(self, smoothing):
            super().__init__()
            self.inner = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")

        def forward(self, logits, targets):
            return self.inner(logits, targets)

    def learner(alpha, smoothing):
        how = {"batch_transform": Mix(alpha), "loss": Own(smoothing), "precompute": False}
        return Learner.pretrained(data, "test_resnet", pretrained=False, **how)

    learner(1, 0.1).fit(1e-3, 1)
    learner(1, 0.1).fit(1e-3, 1, resume=True)
    with pytest.raises(ValueError, match="another run: settings of batch_transform .*'alpha': 1.* then"):
        learner(2, 0.1).fit(1e-3, 1, resume=True)
    with pytest.raises(ValueError, match="another run: loss .*0.1.* then, .*0.2"):
        learner(1, 0.2).fit(1e-3, 1, resume=True)


def mixing(alpha):
    return lambda inputs, targets: (inputs * alpha, targets)


def doubling(inputs, targets):
    return inputs * 2.0, targets


def trebling(inputs, targets):
    return inputs * 3.0, targets


trebling.__qualname__ = "doubling"


@pytest.mark.parametrize(
    ("then", "now"), [(mixing(1), mixing(2)), (partial(mixing(1)), partial(mixing(2))), (doubling, trebling)]
)
def test_what_a_function_holds_is_compared(data, training, then, now):
    """Catches a resume with another alpha that only a closure, or the function's own text, holds."""
    from helpers.learner import Learner

    def learner(transform):
        how = {"batch_transform": transform, "precompute": False}
        return Learner.pretrained(data, "test_resnet", pretrained=False, **how)

    learner(then).fit(1e-3, 1)
    learner(then).fit(1e-3, 1, resume=True)
    with pytest.raises(ValueError, match="another run: settings of batch_transform .*then"):
        learner(now).fit(1e-3, 1, resume=True)


def test_a_checkpoint_holds_whatever_numbers_were_given(data, training):
    """Catches a long training that dies at its first checkpoint of a number of numpy's, a path, a table or a tensor."""
    import numpy as np

    from helpers.learner import Learner
    from helpers.recipe.averaging import AverageWeights

    def share(counts):
        return counts.diagonal().sum() / counts.sum()

    class Logs(AverageWeights):
        def __init__(self, ends, file):
            super().__init__(ends)
            self.file, self.pairs = file, {(0, 1): "confused"}

    for resume in (False, True):
        learn = Learner.pretrained(data, "test_resnet", pretrained=False, metrics=[share], seed=np.int64(3))
        hook = Logs(np.cumsum([1, 1]), Path("log.txt"))
        history = learn.fit(1e-3, np.int64(2), hooks=hook, resume=resume)
    assert isinstance(history.epochs[-1].metrics["share"], float) and learn.save("measured").is_file()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
