"""Hooks: when they end a training, and whose weights they leave behind."""

import re

import pytest
import torch
from torch import nn

from helpers.lessons.overfitting import EarlyStopping, KeepBest
from helpers.recipe.averaging import AverageWeights
from helpers.training import loop as training
from helpers.training.run import Hook


@pytest.fixture
def scripted(monkeypatch):
    """`scripted(losses)`: validation losses that come as told."""

    def script(losses):
        values = iter(losses)
        monkeypatch.setattr(training, "evaluate", lambda run: (next(values, 9.0), {}))

    return script


@pytest.mark.parametrize(
    ("losses", "patience", "epochs"),
    [([1.0, 0.9, 0.95, 0.97, 0.5], 2, 4), ([1.0, 1.1, 0.9, 1.0], 1, 2), ([4, 3, 2, 1], 1, 4), ([1.0, 1.0, 1.0], 2, 3)],
)
def test_early_stopping_waits_for_its_patience(learn, scripted, losses, patience, epochs):
    """Catches an off-by-one in patience, and a plateau taken for progress."""
    scripted(losses)
    assert len(learn.fit(1e-3, len(losses), hooks=[EarlyStopping(patience)]).epochs) == epochs


@pytest.mark.parametrize("interrupt", [False, True])
def test_keep_best_puts_back_the_best_epochs_weights(learn, scripted, interrupt):
    """Catches weights that are not copied (they would move on), and an interrupt that forgets them."""
    scripted([1.0, 0.5, 0.7, 0.6])
    recorder = Recorder(interrupt_after=3 if interrupt else None)
    learn.fit(1e-3, 4, hooks=[KeepBest(), recorder])
    assert len(recorder.states) == (3 if interrupt else 4)
    assert same(recorder.states[1], weights_of(learn))
    assert not same(recorder.states[2], recorder.states[1])


def weights_of(learn):
    return {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}


def same(some, others):
    return all(torch.equal(some[name], others[name]) for name in some)


class Recorder(Hook):
    """The weights after every epoch."""

    def __init__(self, interrupt_after=None):
        self.states, self.interrupt_after = [], interrupt_after

    def on_epoch_end(self, run):
        self.states.append({name: tensor.clone() for name, tensor in run.model.state_dict().items()})
        if run.done == self.interrupt_after:
            raise KeyboardInterrupt


def test_the_message_after_a_divergence_is_true_with_hooks(learn, scripted):
    """Catches "the weights are those the epoch began with" where a hook has put in those of its best epoch."""
    scripted([0.5, 0.9])
    recorder = Recorder()

    class Explode(Hook):
        def on_epoch_end(self, run):
            if run.done == 2:
                run.rates = [(float("inf"), None)] * len(run.rates)

    with pytest.raises(FloatingPointError, match="those the epoch began with, or what a hook put in after that"):
        learn.fit(1e-3, 4, hooks=[KeepBest(), Explode(), recorder])
    assert same(recorder.states[0], weights_of(learn))


def test_averaging_takes_the_mean_of_the_chosen_epochs(learn):
    """Catches epochs counted from 0, the mean of all of them, and statistics that stay those of the last epoch."""
    learn.precompute = False
    learn.unfreeze()
    recorder = Recorder()
    learn.fit(1e-3, 2, cycle_len=1, cycle_mult=2, hooks=[recorder, AverageWeights([1, 3])])
    found = weights_of(learn)
    for name, parameter in learn.model.named_parameters():
        mean = (recorder.states[0][name] + recorder.states[2][name]) / 2
        torch.testing.assert_close(parameter.detach(), mean, msg=name)
    assert not torch.equal(found["head.0.running_mean"], recorder.states[2]["head.0.running_mean"])


def test_statistics_after_averaging_are_those_of_the_averaged_weights(learn):
    """Catches averaged weights validated with one epoch's statistics, and a momentum that is not put back."""
    learn.to_fp32()
    learn.precompute = False
    learn.unfreeze()
    learn.fit(1e-3, 2, hooks=[AverageWeights([1, 2])])
    norm = next(m for m in learn.model.modules() if isinstance(m, nn.BatchNorm2d))
    seen = []
    norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    run = learn._run(1e-3, 1, lambda progress: 1.0)
    with torch.no_grad():
        for batch in learn.data.train_batches(learn.device, run.plan.batch_size, run.plan.seed, "average"):
            learn.model.eval()(batch.inputs)
    expected = torch.stack([x.mean(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.1


def test_frozen_statistics_stay_when_averaging(learn):
    """Catches a reset of statistics that were asked to stand still (as torch's update_bn does)."""
    learn.precompute = False
    learn.bn_freeze(True)
    learn.unfreeze()
    for buffer in learn.model.body.buffers():
        buffer.add_(1)  # untrained statistics are those that a reset would give
    before = {n: b.clone() for n, b in learn.model.body.named_buffers()}
    learn.fit(1e-3, 2, hooks=[AverageWeights([1, 2])])
    for name, buffer in learn.model.body.named_buffers():
        assert torch.equal(buffer, before[name]), name


@pytest.mark.parametrize("ends", [[3], [1, 1], [], [2, 4], [0, 2]])
def test_epochs_that_have_no_mean_are_refused(learn, ends):
    """Catches a hook that silently averages nothing: one epoch, or epochs beyond the training."""
    with pytest.raises(ValueError, match=r"at least two of this training's epochs, 1 to 3; got \["):
        learn.fit(1e-3, 3, hooks=[AverageWeights(ends)])
    assert not learn.history.epochs


@pytest.mark.parametrize(("ends", "found", "said"), [([1, 3], 1, "stay the last ones"), ([1, 2, 3], 2, "averaged")])
def test_a_training_that_ends_before_its_last_cycle_says_what_was_averaged(learn, capsys, ends, found, said):
    """Catches "averaged" weights that are those of one epoch, and a mean of fewer than were asked for."""
    recorder = Recorder(interrupt_after=2)
    learn.fit(1e-3, 3, hooks=[AverageWeights(ends), recorder])
    assert f"{found} of the {len(ends)} epochs to average" in (printed := capsys.readouterr().out) and said in printed
    assert same(recorder.states[-1], weights_of(learn)) == (found == 1)


# The same hook in several trainings ----------------------------------------------------------------------------


def test_a_hook_begins_anew_with_every_training(learn, scripted):
    """Catches a hook that stops, puts back or averages with what it saw in the training before."""
    hooks = [EarlyStopping(patience=1), AverageWeights([1, 2])]
    scripted([0.5, 0.6, 9.0, 0.9, 0.8, 0.7])  # the first training stops early (and is measured again)
    assert len(learn.fit(1e-3, 3, hooks=hooks).epochs) == 2
    learn.freeze_to(1)
    recorder = Recorder()
    assert len(learn.fit(1e-3, 3, hooks=[*hooks, recorder]).epochs) == 3
    assert hooks[1].n == 2
    for name, tensor in learn.model.head.named_parameters():
        mean = (recorder.states[0][f"head.{name}"] + recorder.states[1][f"head.{name}"]) / 2
        torch.testing.assert_close(tensor.detach(), mean, msg=name)


def test_early_stopping_looks_at_this_training_only(learn, scripted):
    """Catches patience counted from an earlier training's best loss."""
    hook = EarlyStopping(patience=1)
    scripted([0.1, 0.2, 5.0, 4.0, 3.0])
    assert len(learn.fit(1e-3, 3, hooks=[hook]).epochs) == 2
    assert len(learn.fit(1e-3, 3, hooks=[hook]).epochs) == 3


def test_fine_tunes_second_part_does_not_put_back_the_first_ones_weights(learn, scripted):
    """Catches hooks that carry the frozen phase's best weights into the phase that trains everything."""
    scripted([0.1, 9.0, 5.0, 4.0, 9.0])  # 9.0 where the weights that were put back are measured
    recorder = Recorder()
    learn.fine_tune(2, hooks=[KeepBest(), recorder])
    assert same(recorder.states[2], weights_of(learn))


@pytest.mark.parametrize("hook", [AverageWeights([1, 2]), KeepBest()], ids=["average", "keep best"])
def test_weights_that_a_hook_puts_in_are_measured(learn, hook, capsys):
    """Catches metrics of weights that are gone, and a model left in training mode."""
    learn.to_fp32()
    if isinstance(hook, KeepBest):  # the first epoch is the best
        hook.on_epoch_end = lambda run: setattr(hook, "weights", hook.weights or weights_of(learn))
    learn.unfreeze()
    history = learn.fit(1e-2, 2, hooks=[hook])
    preds = learn.get_preds()
    assert not any(module.training for module in learn.model.modules())
    said = re.search(r"they have valid_loss ≈ ([\d.]+), accuracy ≈ ([\d.]+)", capsys.readouterr().out)
    assert float(said[1]) == pytest.approx(preds.losses.mean().item(), abs=1e-4)
    assert float(said[2]) == pytest.approx(preds.accuracy(), abs=1e-4)
    assert float(said[1]) != pytest.approx(history.epochs[-1].valid_loss, abs=1e-4)


def test_without_such_a_hook_the_last_epoch_is_the_end(learn, capsys):
    """Catches a second validation of weights that nobody touched."""
    learn.fit(1e-3, 2, hooks=[Recorder()])
    assert "changed" not in capsys.readouterr().out


def test_measuring_statistics_keeps_to_the_memory_of_the_training_and_can_be_interrupted(learn, monkeypatch):
    """Catches a whole accumulated batch at once after micro-batches in training, and momenta lost to Ctrl-C."""
    learn.precompute, learn.accumulate = False, 3
    learn.unfreeze()
    momenta = [m.momentum for m in learn.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    sizes, after = [], learn.model.after

    def counted(inputs, split_point):
        sizes.append(len(inputs))
        return after(inputs, split_point)

    monkeypatch.setattr(learn.model, "after", counted)
    learn.fit(1e-4, 2, hooks=[AverageWeights([1, 2])])
    assert max(sizes) <= learn.data.batch_size

    class Interrupting(AverageWeights):
        def on_fit_end(self, run):
            def interrupt(inputs, split_point):
                monkeypatch.setattr(run.model, "after", after)  # one Ctrl-C
                raise KeyboardInterrupt

            monkeypatch.setattr(run.model, "after", interrupt)
            super().on_fit_end(run)

    learn.fit(1e-4, 2, hooks=[Interrupting([1, 2])])
    assert learn.interrupted and len(learn.history.epochs) == 4 and not learn.model.training
    assert [m.momentum for m in learn.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)] == momenta
