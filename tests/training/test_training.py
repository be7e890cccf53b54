"""The loop: exact gradients, exact means, exact rates; what ends it, and what it leaves behind."""

import math
import random
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from data_setup.splits import Split
from helpers.data.augment import side_on
from helpers.data.dataset import Batch, even_batches
from helpers.learner import Learner
from helpers.models.classifier import Classifier, Normalize, make_head
from helpers.runtime.seeds import generator
from helpers.training import loop as training
from helpers.training.loop import fit, gradients, train_step
from helpers.training.losses import per_picture
from helpers.training.metrics import metrics_named
from helpers.training.run import Hook, Plan, Run

CPU = torch.device("cpu")
K = 3  # classes


class Rows:
    """A source as the loop wants it, made of tensors: the first `n_valid` rows validate, the others train."""

    split_point = 0

    def __init__(self, n=11, n_valid=7, size=8, seed=0, weights=None):
        rng = torch.Generator().manual_seed(seed)
        self.inputs = torch.rand(n + n_valid, 3, size, size, generator=rng)
        self.targets = torch.randint(K, (n + n_valid,), generator=rng)
        self.weights = torch.ones(n + n_valid) if weights is None else weights
        self.rows = {"valid": torch.arange(n_valid), "train": torch.arange(n_valid, n + n_valid)}
        self.split = Split(tuple(map(str, range(n_valid, n + n_valid))), tuple(map(str, range(n_valid))))

    def batch(self, rows):
        return Batch(self.inputs[rows], self.targets[rows], self.weights[rows])

    def train_batches(self, device, batch_size, *key, share=slice(None)):
        rows = self.rows["train"]
        order = rows[torch.randperm(len(rows), generator=generator(*key))]
        return map(self.batch, even_batches(order, batch_size, share))

    def eval_batches(self, rows, device, batch_size):
        return map(self.batch, rows.split(batch_size))


class Hungry(nn.Module):
    """Has memory for `limit` pictures, and knows whether what it held has been let go."""

    def __init__(self, limit):
        super().__init__()
        self.limit, self.held, self.seen = limit, lambda: None, []

    def forward(self, images):
        assert self.held() is None, "the error of the last attempt still holds its tensors"
        activations = images * 2.0
        self.held = weakref.ref(activations)
        self.seen.append(len(images))
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return images


@pytest.fixture
def make_run():
    """`make_run(source, limit=..., **fields of Plan)`: a tiny network (convolution, BatchNorm, fastai's head)."""

    def make(source=None, *, limit=None, dropout=0.0, lr=0.1, **fields):
        torch.manual_seed(0)
        stage = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        stages = [stage] if limit is None else [Hungry(limit), stage]
        model = Classifier(
            Normalize([0.5] * 3, [0.5] * 3), nn.Sequential(*stages), make_head(16, K, dropout=dropout), maps=True
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for group in optimizer.param_groups:
            group["base_lr"] = lr
        loss = per_picture(fields.pop("loss", None) or nn.CrossEntropyLoss(), K)
        hooks = fields.pop("hooks", ())
        plan = Plan(**{"epochs": 1, "batch_size": 4, **fields})
        return Run(plan, model, optimizer, source or Rows(), loss, CPU, hooks=hooks)

    return make


def grads(model):
    return [p.grad.clone() for p in model.parameters()]


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(state, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in state.items())


@pytest.fixture(autouse=True)
def global_generators():
    """The global generators of torch, numpy and Python stand still in every test but those that seed them."""
    torch.manual_seed(7)
    return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002


# Gradients -----------------------------------------------------------------------------------------------------

LOSSES = {
    "plain": {},
    "class weights": {"weight": torch.tensor([0.2, 1.0, 3.0])},
    "label smoothing": {"label_smoothing": 0.1},
    "both": {"weight": torch.tensor([0.2, 1.0, 3.0]), "label_smoothing": 0.1},
}


@pytest.mark.parametrize("micro_batches", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", LOSSES)
def test_parts_add_up_to_torchs_mean_loss(make_run, kind, micro_batches):
    """Catches a mean of means (wrong for parts of unequal size or class weight), and smoothing weighted twice."""
    run = make_run(loss=nn.CrossEntropyLoss(**LOSSES[kind]), micro_batches=micro_batches)
    run.model.eval()
    batch = run.source.batch(run.source.rows["train"])  # 11 pictures
    loss = gradients(run, batch)
    found = grads(run.model)
    run.model.zero_grad()
    expected = nn.CrossEntropyLoss(reduction="mean", **LOSSES[kind])(run.model(batch.inputs), batch.targets)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found, grads(run.model), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_weight_of_two_is_the_picture_twice(make_run, kind, micro_batches):
    """Catches item weights that scale the rate instead of the share, or are divided by the number of pictures."""
    counts = torch.randint(1, 4, (18,), generator=torch.Generator().manual_seed(0))
    run = make_run(
        Rows(weights=counts.float()),
        loss=nn.CrossEntropyLoss(**LOSSES[kind]),
        micro_batches=micro_batches,
    )
    run.model.eval()
    rows = run.source.rows["train"]
    gradients(run, run.source.batch(rows))
    found = grads(run.model)
    run.model.zero_grad()
    often = run.source.batch(rows.repeat_interleave(counts[rows]))
    nn.CrossEntropyLoss(**LOSSES[kind])(run.model(often.inputs), often.targets).backward()
    torch.testing.assert_close(found, grads(run.model), atol=1e-6, rtol=1e-5)


def test_a_batch_that_weighs_nothing_moves_nothing(make_run):
    """Catches 0 / 0: one batch of pictures with weight 0 would turn every weight into nan."""
    run = make_run(Rows(weights=torch.zeros(18)))
    before = [p.detach().clone() for p in run.model.parameters()]
    run.model.eval()
    loss = train_step(run, run.source.batch(torch.arange(4)))
    assert loss == 0 and all(map(torch.equal, before, run.model.parameters()))


@pytest.mark.parametrize("kind", LOSSES)
def test_mixed_targets_give_torchs_mean(make_run, kind):
    """Catches soft targets divided by class weights, which torch divides by the number of pictures."""
    run = make_run(loss=nn.CrossEntropyLoss(**LOSSES[kind]), micro_batches=3)
    run.model.eval()
    batch = run.source.batch(run.source.rows["train"])
    soft = torch.rand(len(batch), K).softmax(dim=1)
    loss = gradients(run, Batch(batch.inputs, soft, batch.weights))
    expected = nn.CrossEntropyLoss(**LOSSES[kind])(run.model(batch.inputs), soft)
    torch.testing.assert_close(loss, expected.detach(), atol=1e-6, rtol=1e-6)


def test_clipping_is_torchs(make_run):
    """Catches clipping before the parts have been added up, after the step, or per tensor."""
    run = make_run(max_norm=0.05, micro_batches=3, lr=1.0)
    run.model.eval()
    batch = run.source.batch(run.source.rows["train"])
    F.cross_entropy(run.model(batch.inputs), batch.targets).backward()
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), 0.05)
    assert norm > 0.1, "else nothing is clipped here"
    expected = [p.detach() - p.grad for p in run.model.parameters()]
    train_step(run, batch)
    torch.testing.assert_close(list(run.model.parameters()), expected, atol=1e-6, rtol=1e-5)


def test_clipping_leaves_out_what_does_not_train(make_run):
    """Catches a head that never trains again because frozen layers still hold the nan of a training that diverged."""
    run = make_run(max_norm=0.05)
    run.model.body.requires_grad_(False)
    for parameter in run.model.body.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    run.optimizer = torch.optim.SGD(run.model.head.parameters(), lr=1.0)
    run.model.eval()
    batch = run.source.batch(run.source.rows["train"])
    F.cross_entropy(run.model(batch.inputs), batch.targets).backward()
    assert nn.utils.clip_grad_norm_(run.model.head.parameters(), 0.05) > 0.1, "else nothing is clipped here"
    expected = [p.detach() - p.grad for p in run.model.head.parameters()]
    train_step(run, batch)
    torch.testing.assert_close(list(run.model.head.parameters()), expected, atol=1e-6, rtol=1e-5)


# Out of memory -------------------------------------------------------------------------------------------------


def test_too_little_memory_halves_the_parts_not_the_batch(make_run, capsys):
    """Catches a smaller batch in disguise (the gradients are those of the whole one) and tensors that are not freed."""
    run = make_run(Rows(n=12), limit=3, batch_size=12)
    run.model.eval()
    batch = run.source.batch(run.source.rows["train"])
    F.cross_entropy(
        run.model.head(run.model.pool(run.model.body[1](run.model.normalize(batch.inputs)))), batch.targets
    ).backward()
    expected = [p.detach() - 0.1 * p.grad for p in run.model.parameters()]
    train_step(run, batch)
    torch.testing.assert_close(list(run.model.parameters()), expected, atol=1e-6, rtol=1e-5)
    assert run.model.body[0].seen == [12, 6, 3, 3, 3, 3]
    assert "going on with 6 pictures at a time" in capsys.readouterr().out


def test_the_training_goes_on_with_what_fits(make_run, capsys):
    """Catches an evaluation with larger batches than training can hold, and parts that grow again each step."""
    run = make_run(Rows(n=24, n_valid=30), limit=3, batch_size=12, epochs=2)
    history = fit(run)
    assert history.steps_per_epoch == (2, 2) and all(map(math.isfinite, history.losses))
    assert run.model.body[0].seen[:2] == [12, 6] and max(run.model.body[0].seen[2:]) <= 3
    assert capsys.readouterr().out.count("out of memory") == 2


def test_two_pictures_that_do_not_fit_end_it_in_a_sentence(make_run):
    """Catches an endless loop, and BatchNorm's foreign error about one value per channel."""
    run = make_run(limit=1)
    with pytest.raises(RuntimeError, match=r"out of memory with two .*data\.resized") as caught:
        fit(run)
    assert not isinstance(caught.value, torch.OutOfMemoryError)
    assert caught.value.__context__ is None, "the traceback holds on to no tensors"


def test_an_optimizer_that_does_not_fit_says_what_helps(make_run):
    """Catches torch's own words, after which one would take smaller batches in vain."""
    run = make_run()

    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory (simulated)")

    run.optimizer.step = full
    with pytest.raises(RuntimeError, match=r"out of memory for the optimizer.*learn\.freeze_to"):
        fit(run)


def test_parts_never_hold_a_single_picture(make_run):
    """Catches accumulation or halving that hands BatchNorm one picture, which it cannot train on."""
    for micro_batches in (1, 2, 4, 8, 16):
        for n in (2, 3, 5, 11):
            run = make_run(Rows(n=n), limit=100, micro_batches=micro_batches)
            run.model.train()
            train_step(run, run.source.batch(run.source.rows["train"]))
            assert min(run.model.body[0].seen) >= 2 and sum(run.model.body[0].seen) == n


# Means and metrics ---------------------------------------------------------------------------------------------


def test_a_short_batch_weighs_its_length(make_run):
    """Catches the mean of batch means, in training (4 + 4 + 3 pictures) and in validation (4 + 3)."""
    run = make_run(lr=0.0)
    for module in run.model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 0.0
    run.model.frozen_modules = list(run.model.modules())[1:]  # so that training sees what evaluation sees
    epoch = fit(run).epochs[0]
    for part, found in (("train", epoch.train_loss), ("valid", epoch.valid_loss)):
        batch = run.source.batch(run.source.rows[part])
        with torch.no_grad():
            assert found == pytest.approx(
                F.cross_entropy(run.model.eval()(batch.inputs), batch.targets).item(), rel=1e-5
            )


@pytest.mark.parametrize("kind", LOSSES)
def test_validation_loss_is_torchs_over_the_whole_part(make_run, kind):
    """Catches class weights averaged per batch."""
    run = make_run(loss=nn.CrossEntropyLoss(**LOSSES[kind]))
    batch = run.source.batch(run.source.rows["valid"])
    found, _ = training.evaluate(run)
    with torch.no_grad():
        expected = nn.CrossEntropyLoss(**LOSSES[kind])(run.model.eval()(batch.inputs), batch.targets)
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_metrics_are_sklearns(data):
    """Catches rows and columns swapped, and metrics that do not belong to the weights the epoch ended with."""
    names = ("accuracy", "error_rate", "balanced_accuracy", "f1")
    learn = Learner.pretrained(data, "test_resnet", pretrained=False, metrics=names)
    learn.fit(3e-3, 2)
    preds = learn.get_preds("valid")
    truth, said = preds.targets, preds.predicted
    accuracy = sklearn.metrics.accuracy_score(truth, said)
    expected = {
        "accuracy": accuracy,
        "error_rate": 1 - accuracy,
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(truth, said),
        "f1": sklearn.metrics.f1_score(truth, said, average="macro", labels=[0, 1], zero_division=0),
    }
    assert learn.history.epochs[-1].metrics == pytest.approx(expected)
    assert preds.accuracy() == pytest.approx(accuracy)


class Reads(TorchDispatchMode):
    """Counts the numbers that Python fetches from tensors inside the block: on a GPU each of them is a wait."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket.__name__ == "_local_scalar_dense"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_the_verdict_is_read_once_whatever_the_number_of_batches(make_run, batch_size):
    """Catches an .item() per validation batch: one read for the loss, and one for each metric, an epoch."""
    run = make_run(batch_size=batch_size, metrics=metrics_named(["accuracy", "f1"]))
    training.evaluate(run)  # whether a network may be folded is tried once
    with Reads() as reads:
        training.evaluate(run)
    assert reads.count == 3


def test_the_table_has_a_row_per_epoch_with_the_recorded_numbers(make_run, capsys):
    """Catches a printed number that is not the recorded one, and columns that do not line up."""
    run = make_run(epochs=2, metrics={"accuracy": lambda counts: 0.75, "f1": lambda counts: 0.25})
    fit(run)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["epoch", "train_loss", "valid_loss", "accuracy", "f1", "time"]
    assert len(rows) == 2 and {len(row) for row in rows} == {len(head)}
    for row, epoch in zip(rows, run.history.epochs, strict=True):
        numbers = [f"{epoch.number}", f"{epoch.train_loss:.4f}", f"{epoch.valid_loss:.4f}", "0.7500", "0.2500"]
        assert row.split()[:-1] == numbers


def test_different_rates_are_printed_before_the_table(make_run, capsys):
    """Catches the first group's rate printed as the last one's, and a line where there is only one rate."""
    run = make_run(epochs=1)
    fit(run)
    assert "rate" not in capsys.readouterr().out
    run = make_run(epochs=1)
    groups = [(run.model.body, 1e-4), (run.model.head, 2e-3)]
    run.optimizer = torch.optim.SGD([{"params": part.parameters(), "lr": lr, "base_lr": lr} for part, lr in groups])
    fit(run)
    run_cli = capsys.readouterr().out.splitlines()[0]
    assert run_cli == "highest rate: 0.002 in the last layer group, 0.0001 in the first that trains"


# Small sets ----------------------------------------------------------------------------------------------------


def test_a_set_smaller_than_a_batch_trains(make_run):
    """Catches fastai's zero batches (trains nothing, prints an accuracy)."""
    run = make_run(Rows(n=5), batch_size=64, epochs=2)
    before = weights(run.model)
    assert fit(run).steps_per_epoch == (1, 1)
    assert not same(before, weights(run.model))


# Rates ---------------------------------------------------------------------------------------------------------


class Recorder(Hook):
    """What arrives in the optimizer at every step, and what every run was asked for."""

    def __init__(self):
        self.rates, self.betas, self.runs, self.events = [], [], [], []

    def on_fit_begin(self, run):
        self.events.append("begin")
        self.runs.append(
            SimpleNamespace(
                epochs=run.plan.epochs,
                base=[group["base_lr"] for group in run.optimizer.param_groups],
                schedule=[run.plan.schedule(i / 50) for i in range(50)],
                momentum=[run.plan.momentum(i / 50) for i in range(50)] if run.plan.momentum else None,
            )
        )

    def on_step_end(self, run):
        self.events.append("step")
        self.rates.append([group["lr"] for group in run.optimizer.param_groups])
        self.betas.append(run.optimizer.param_groups[-1].get("betas", (None, None))[0])

    def on_epoch_end(self, run):
        self.events.append("epoch")

    def on_fit_end(self, run):
        self.events.append("end")


@pytest.fixture
def recorder():
    return Recorder()


def one_cycle(progress, pct_start, div, div_final=1e5):
    """fastai's combined cosine, written down once more."""
    if progress < pct_start:
        low, high, t = 1 / div, 1.0, progress / pct_start
    else:
        low, high, t = 1.0, 1 / div_final, (progress - pct_start) / (1 - pct_start)
    return low + (high - low) * (1 - math.cos(math.pi * t)) / 2


def test_three_cycles_doubling_are_seven_epochs(learn, recorder):
    """Catches 3 x 1 x 2 = 6 (the notes' slip), a restart at the wrong step, and a cycle that does not fall to 0."""
    learn.fit(1e-2, 3, cycle_len=1, cycle_mult=2, hooks=[recorder])
    assert len(learn.history.epochs) == 7 == 1 * (2**3 - 1) // (2 - 1)  # 0.7's formula
    steps = learn.history.steps_per_epoch[0]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-2)
    reference = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=steps, T_mult=2)
    expected = []
    for _ in range(7 * steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert learn.history.lrs == pytest.approx(expected, abs=1e-12)
    assert [rates[-1] for rates in recorder.rates] == pytest.approx(expected, abs=1e-12)
    closed = [0.5e-2 * (1 + math.cos(math.pi * t / (n * steps))) for n in (1, 2, 4) for t in range(n * steps)]
    assert expected == pytest.approx(closed, abs=1e-12)


def test_without_cycle_len_the_rate_is_constant(learn, recorder):
    """Catches cosine annealing where 0.7 has none."""
    learn.fit(1e-2, 2, hooks=[recorder])
    assert {rate for rates in recorder.rates for rate in rates} == {1e-2} == set(learn.history.lrs)
    assert len(learn.history.epochs) == 2 and learn.history.momentums == ()


def test_one_cycle_is_torchs_rate_and_momentum_at_every_step(learn, recorder):
    """Catches a rate per epoch instead of per step, momentum that does not reach the optimizer, and wrong ends."""
    learn.fit_one_cycle(4, 1e-2, hooks=[recorder])
    n = 4 * learn.history.steps_per_epoch[0]
    assert n == 12
    # torch counts its phases from the first step to the last; one more step puts both on the same progress
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=n + 1, pct_start=(0.25 * n + 1) / (n + 1),
        div_factor=25, final_div_factor=1e5 / 25, base_momentum=0.85, max_momentum=0.95,
    )  # fmt: skip
    lrs, momentums = [], []
    for _ in range(n):
        lrs.append(optimizer.param_groups[0]["lr"])
        momentums.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        reference.step()
    assert [rates[-1] for rates in recorder.rates] == pytest.approx(lrs, rel=1e-9)
    assert recorder.betas == pytest.approx(momentums, rel=1e-9)
    assert (learn.history.lrs, learn.history.momentums) == (pytest.approx(lrs), pytest.approx(momentums))
    assert lrs == pytest.approx([1e-2 * one_cycle(i / n, 0.25, 25) for i in range(n)], rel=1e-9)


def test_flat_cosine_is_its_closed_form(learn):
    """Catches the flat share counted in epochs, or a cosine that starts early."""
    learn.fit_flat_cos(4, 1e-2, pct_start=0.5)
    places = [i / 12 for i in range(12)]
    expected = [1e-2 if p < 0.5 else 0.5e-2 * (1 + math.cos(math.pi * (p - 0.5) / 0.5)) for p in places]
    assert learn.history.lrs == pytest.approx(expected, abs=1e-12)


def test_fine_tune_has_fastais_two_phases(learn, recorder):
    """Catches any default of v2's fine_tune that differs: rates, pct_start, div, epochs, what is frozen."""
    learn.fine_tune(2, hooks=[recorder])
    frozen, unfrozen = recorder.runs
    assert (frozen.epochs, unfrozen.epochs, len(learn.history.epochs)) == (1, 2, 3)
    assert set(frozen.base) == {2e-3}, "the head alone, at base_lr"
    places = [i / 50 for i in range(50)]
    assert frozen.schedule == pytest.approx([one_cycle(p, 0.99, 25) for p in places])
    assert sorted(set(unfrozen.base)) == pytest.approx([1e-5, 1e-4, 1e-3]), "slice(base_lr / 2 / 100, base_lr / 2)"
    assert unfrozen.schedule == pytest.approx([one_cycle(p, 0.3, 5) for p in places])
    assert (frozen.momentum[0], min(unfrozen.momentum)) == pytest.approx((0.95, 0.85))
    assert learn.trained_from == 0


def test_fine_tune_takes_its_numbers_from_its_arguments(learn, recorder):
    """Catches an argument that is accepted and not used."""
    learn.fine_tune(1, 1e-2, freeze_epochs=2, lr_mult=10.0, pct_start=0.5, div=2.0, hooks=[recorder])
    assert [run.epochs for run in recorder.runs] == [2, 1]
    assert sorted(set(recorder.runs[1].base)) == pytest.approx([5e-4, 5e-4 * 10**0.5, 5e-3])
    assert recorder.runs[1].schedule == pytest.approx([one_cycle(i / 50, 0.5, 2.0) for i in range(50)])


def test_the_last_groups_rate_is_the_one_that_is_recorded(learn, recorder):
    """Catches the first group's rate in the history: the notes and the plots show the head's."""
    learn.unfreeze()
    learn.fit([1e-5, 1e-4, 1e-2], 1, hooks=[recorder])
    assert set(learn.history.lrs) == {1e-2}
    assert sorted(set(recorder.rates[0])) == [1e-5, 1e-4, 1e-2]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda learn: learn.fit_one_cycle(1, lr_max=1e-2), r"fit_one_cycle\(\) has no keyword 'lr_max'"),
        (lambda learn: learn.fit(1e-2, 1, cycle_length=1), "did you mean 'cycle_len'"),
        (lambda learn: learn.fine_tune(1, freeze_epoch=2), "did you mean 'freeze_epochs'"),
        (lambda learn: learn.fit_flat_cos(1, 1e-2, pct_strat=0.5), "did you mean 'pct_start'"),
        (lambda learn: learn.lr_find(step=10), "did you mean 'steps'"),
    ],
)
def test_a_misspelt_keyword_fails_and_names_its_neighbour(learn, call, sentence):
    """Catches keywords that are swallowed."""
    with pytest.raises(TypeError, match=sentence):
        call(learn)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda learn: learn.fit(1e-2, 0), "whole number of at least 1; got 0"),
        (lambda learn: learn.fit_one_cycle(-1), "whole number of at least 1; got -1"),
        (lambda learn: learn.fit(1e-2, 2, cycle_mult=2), "cycle_mult needs cycle_len"),
        (lambda learn: learn.fit([1e-2, 1e-3], 1), "2 learning rates for 3 layer groups"),
    ],
)
def test_a_training_that_makes_no_sense_is_refused(learn, call, sentence):
    """Catches a silent no-op and a foreign error."""
    before = weights(learn.model)
    with pytest.raises(ValueError, match=sentence):
        call(learn)
    assert same(before, weights(learn.model)) and learn.history.epochs == ()


# What ends a training ------------------------------------------------------------------------------------------


class Watch(Hook):
    """Copies the weights at the start of each epoch and counts the updates after which one of them is no number."""

    def on_fit_begin(self, run):
        self.bad, self.started = 0, weights(run.model)

    def on_step_end(self, run):
        self.bad += not all(p.isfinite().all() for p in run.model.parameters())

    def on_epoch_end(self, run):
        self.started = weights(run.model)


@pytest.mark.parametrize("lr", [1e3, 1e10, math.inf, math.nan])
def test_a_diverging_training_stops_within_a_step(learn, lr):
    """Catches epochs of nan (fastai trained on with 66 of 66 parameters lost): stop, put back, advise."""
    watch = Watch()
    with pytest.raises(FloatingPointError, match=r"(?s)learning rate of .*lr_find\(\).*lower rate"):
        learn.fit(lr, 60, hooks=[watch])
    assert watch.bad <= 1, "one update may spoil the weights; the next loss shows it"
    assert same(watch.started, weights(learn.model))
    assert all(tensor.isfinite().all() for tensor in learn.model.state_dict().values())
    if lr != 1e3:  # a thousand takes some epochs; the others fail in the first, and nothing is lost
        assert learn.history.epochs == ()
        learn.fit(1e-3, 1)
        assert learn.get_preds("valid").log_probs.isfinite().all()


def test_weights_spoilt_by_the_last_step_are_noticed(make_run):
    """Catches the one update no loss looks at: the last of an epoch; its weights would be kept as good ones."""
    run = make_run(epochs=1, lr=math.inf, batch_size=16)  # one step
    before = weights(run.model)
    with pytest.raises(FloatingPointError):
        fit(run)
    assert same(before, weights(run.model)) and run.history.epochs == ()


def test_epochs_before_the_divergence_stay_in_the_history(learn):
    """Catches a history that is lost with the error."""

    class Explode(Hook):
        def on_epoch_end(self, run):
            if run.done == 2:
                run.rates = [(math.inf, None)] * len(run.rates)

    with pytest.raises(FloatingPointError, match="epoch 2"):
        learn.fit(1e-3, 4, hooks=[Explode()])
    assert [epoch.number for epoch in learn.history.epochs] == [0, 1]
    learn.fit(1e-3, 1)
    assert [epoch.number for epoch in learn.history.epochs] == [0, 1, 2]


class Interrupt(Hook):
    """Presses Ctrl-C at the n-th event, and counts the ends."""

    def __init__(self, at):
        self.at, self.ends = at, 0

    def tick(self, run):
        self.at -= 1
        if self.at == -1:
            raise KeyboardInterrupt

    on_step_end = on_epoch_end = tick

    def on_fit_end(self, run):
        self.ends += 1


@pytest.mark.parametrize("at", range(8))  # three steps and the end, of two epochs
def test_an_interrupt_keeps_history_and_model(learn, capsys, at):
    """Catches Ctrl-C that loses the finished epochs, skips the hooks' end, or leaves the model unusable."""
    hook = Interrupt(at)
    learn.fit(1e-3, 2, hooks=[hook])
    finished = (at + 1) // 4  # an epoch is recorded before its hooks are told
    assert [epoch.number for epoch in learn.history.epochs] == list(range(finished))
    assert f"{finished} epochs are recorded" in capsys.readouterr().out
    assert hook.ends == 1
    assert not learn.model.training
    before = learn.predict()
    assert torch.equal(before, learn.predict())
    learn.fit(1e-3, 1)
    assert [epoch.number for epoch in learn.history.epochs] == list(range(finished + 1))


def test_an_interrupt_in_fine_tunes_first_phase_ends_it(learn):
    """Catches Ctrl-C swallowed by the first phase, after which the second one trains the whole network."""
    learn.fine_tune(2, hooks=[Interrupt(1)])
    assert learn.history.epochs == () and learn.trained_from == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_while_validating_or_an_error_still_calls_the_hooks_end(learn, monkeypatch, error):
    """Catches hooks left open, a model left in the wrong mode, and an epoch recorded without its verdict."""

    def fail(run):
        raise error

    hook = Interrupt(-1)
    monkeypatch.setattr(training, "evaluate", fail)
    if error is OSError:
        with pytest.raises(OSError):
            learn.fit(1e-3, 2, hooks=[hook])
    else:
        learn.fit(1e-3, 2, hooks=[hook])
    assert hook.ends == 1 and learn.history.epochs == () and not learn.model.training


def test_hooks_are_told_in_order(make_run, recorder):
    """Catches a hook that is told too early, twice or not at all."""
    fit(make_run(epochs=2, hooks=[recorder]))
    assert recorder.events == ["begin", *["step"] * 3, "epoch", *["step"] * 3, "epoch", "end"]


# Randomness ----------------------------------------------------------------------------------------------------


def augmented(data, seed=0, **options):
    options = {"pretrained": False, "precompute": False, "seed": seed, **options}
    learn = Learner.pretrained(data.with_augment(side_on()), "test_resnet", **options)
    learn.unfreeze()
    return learn


def without_times(history):
    return [(e.number, e.train_loss, e.valid_loss, e.metrics) for e in history.epochs], history.losses


def test_the_same_seed_gives_the_same_history_whatever_the_global_generators_do(data):
    """Catches order, augmentation or dropout drawn from a global generator."""
    runs = []
    for noise, seed in ((1, 0), (2, 0), (1, 5)):
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002
        random.seed(noise)
        runs.append(without_times(augmented(data, seed).fit_one_cycle(2, 1e-3)))
    assert runs[0] == runs[1]
    assert runs[0][1] != runs[2][1]


def test_training_leaves_the_global_generators_alone(data, global_generators):
    """Catches dropout that moves the user's generator: results would depend on how long the training before was."""
    learn = augmented(data)
    learn.fit(1e-3, 1)
    learn.lr_find(steps=12)
    learn.tta(n=2)
    torch_state, python_state, numpy_state = global_generators
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == (python_state, numpy_state)  # noqa: NPY002


def test_every_epoch_draws_anew(data):
    """Catches the same augmentation and dropout in every epoch: at rate 0 only they can change the loss."""
    learn = augmented(data, batch_transform=None)
    learn.fit(0.0, 2)
    losses = learn.history.losses
    assert losses[:3] != losses[3:]


# Plugged in from torchvision -----------------------------------------------------------------------------------

PLUGINS = {
    "MixUp": v2.MixUp(num_classes=2, alpha=0.4),
    "CutMix": v2.CutMix(num_classes=2),
    "RandomErasing": lambda images, targets: (v2.RandomErasing(p=1.0)(images), targets),
}


@pytest.mark.parametrize("name", PLUGINS)
def test_torchvisions_batch_transforms_train(data, name):
    """Catches soft targets the loop cannot take, a transform never called, and one that changes the validation part."""
    calls = []

    def counted(images, targets):
        calls.append(len(images))
        return PLUGINS[name](images, targets)

    learn = augmented(data, batch_transform=counted, loss=nn.CrossEntropyLoss(label_smoothing=0.1))
    before = weights(learn.model)
    learn.fit(1e-3, 1)
    assert calls == [6, 6, 6]
    assert all(map(math.isfinite, learn.history.losses)) and not same(before, weights(learn.model))


def test_a_shape_of_batch_is_recorded_when_it_comes_the_second_time(make_run, monkeypatch):
    """Catches a recording of work that never ran before (libraries choose then), or one for every batch.

    What a recording computes on a GPU is in test_gpu.py; here it calls the work again.
    """
    recorded = []

    class Again:
        def __init__(self, work, inputs, parameters):
            self.work = work
            recorded.append(len(inputs[0]))

        def replay(self, inputs):
            return self.work(*inputs)

    monkeypatch.setattr(training, "Recording", Again)
    eager, graphs = (fit(make_run(epochs=3, cuda_graphs=wanted)) for wanted in (False, True))
    assert eager.losses == graphs.losses and sorted(recorded) == [3, 4]
