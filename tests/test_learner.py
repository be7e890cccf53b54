"""The verbs: what they refuse, what they keep, what they say."""

import copy
import functools
import json
import math
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from data_setup.base.arguments import OLDER
from data_setup.items import Item, relabel
from data_setup.splits import Split
from helpers import learner
from helpers.analysis.intervals import accuracy_interval
from helpers.data.augment import no_augment, side_on
from helpers.data.dataset import ImageData
from helpers.figures.curves import plot_loss, plot_lr
from helpers.learner import Learner
from helpers.lessons.answers import show_results
from helpers.lessons.overfitting import KeepBest
from helpers.models.features import FeatureData
from helpers.runtime import device as runtime
from helpers.training import loop, schedules
from helpers.training.run import Hook


def make(data, arch="test_resnet", **options):
    return Learner.pretrained(data, arch, pretrained=False, **options)


def weights(learn):
    return {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def pooled(model, images):
    """The pooled features of the whole body, by hand: (N, D)."""
    return model.pool(model.body(model.normalize(images)))


# What trains ---------------------------------------------------------------------------------------------------


def test_a_new_learner_trains_the_head_alone_on_kept_activations(learn):
    """Catches another starting point than the lectures' (frozen, precompute on, nothing trained)."""
    head = {id(p) for p in learn.model.head.parameters()}
    assert {id(p) for p in learn.model.parameters() if p.requires_grad} == head
    assert learn.precompute and isinstance(learn.source(), FeatureData)
    assert (learn.history.epochs, learn.trained_from, learn.model.training) == ((), 2, False)


def test_unfreezing_ends_precompute_and_freezing_brings_it_back(learn):
    """Catches activations used while the body trains, and a switch that is lost on the way."""
    learn.unfreeze()
    assert not learn.precompute and learn.source() is learn.data
    learn.freeze()
    assert learn.precompute
    learn.precompute = False
    assert learn.source() is learn.data and learn.trained_from == 2
    learn.precompute = True
    assert isinstance(learn.source(), FeatureData)


@pytest.mark.parametrize(("n", "trained_from"), [(0, 0), (1, 1), (2, 2), (-1, 2), (-2, 1)])
def test_freeze_to_counts_like_a_list(learn, n, trained_from):
    """Catches fastai's freeze_to(-1), the head alone, taken for something else."""
    learn.freeze_to(n)
    assert learn.trained_from == trained_from
    assert [g for g, p in enumerate(learn.groups) if all(q.requires_grad for m in p for q in m.parameters())][
        0
    ] == n % 3


@pytest.mark.parametrize("n", [3, -4])
def test_a_group_that_is_not_there_changes_nothing(learn, n):
    """Catches a learner that says one thing after the refusal and does another."""
    learn.freeze_to(1)
    with pytest.raises(ValueError, match=r"freeze_to\(n\) takes 0"):
        learn.freeze_to(n)
    assert learn.trained_from == 1 and learn.split_point == 6


def test_bn_freeze_holds_through_unfreeze(learn):
    """Catches a verb that is forgotten at the next freeze or unfreeze, as 0.7's was not."""
    learn.bn_freeze(True)
    learn.unfreeze()
    before = weights(learn)
    learn.fit(1e-3, 1)
    after = weights(learn)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not [name for name in moved if name.startswith("body") and "running" in name]
    assert [name for name in moved if name.startswith("body") and "bn1.weight" in name]


@pytest.mark.parametrize("how", [2, 3, "stages"])
def test_rates_count_the_groups_that_were_asked_for(data, how):
    """Catches layer_groups that is accepted and not used."""
    learn = make(data, layer_groups=how)
    learn.unfreeze()
    n = len(learn.groups)
    assert n == {2: 2, 3: 3, "stages": 6}[how]
    learn.fit(np.geomspace(1e-5, 1e-3, n), 1)
    with pytest.raises(ValueError, match=f"got {n + 1} learning rates for {n} layer groups"):
        learn.fit([1e-3] * (n + 1), 1)


def test_options_reach_the_training(data):
    """Catches weight decay, clipping, accumulation, seed or hooks that are accepted and not used."""
    run_cli = []

    class Tell(Hook):
        def on_fit_begin(self, run):
            run_cli.append(run)

    learn = make(data, weight_decay=0.2, max_norm=0.5, accumulate=2, seed=7, hooks=[Tell()])
    learn.fit(1e-3, 1)
    (run,) = run_cli
    assert {group["weight_decay"] for group in run.optimizer.param_groups} == {0.2, 0.0}
    plan = run.plan
    assert (plan.max_norm, plan.micro_batches, plan.batch_size, plan.seed) == (0.5, 2, 16, 7)
    assert run.optimizer.defaults["betas"] == (0.9, 0.99) and run.optimizer.defaults["eps"] == 1e-5
    assert learn.history.steps_per_epoch == (2,), "18 pictures, 16 at a time"


def test_the_loss_that_was_passed_stays_its_owners(data):
    """Catches a loss whose reduction is changed under the feet of whoever made it."""
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
    learn = make(data, loss=loss)
    learn.fit(1e-3, 1)
    assert loss.reduction == "mean" and loss(torch.zeros(2, 2), torch.tensor([0, 1])).ndim == 0
    preds = learn.get_preds("valid")
    expected = nn.functional.nll_loss(preds.log_probs, preds.targets, weight=loss.weight)
    assert learn.history.epochs[-1].valid_loss == pytest.approx(expected.item(), rel=2e-2)  # bfloat16 where it is fast


def test_item_weights_reach_loss_and_validation(data):
    """Catches weights that are read from the table and never used."""
    items = [Item(i.name, i.path, i.label, weight=3.0 if i.label == "light" else 1.0) for i in data.items]
    learn = make(ImageData.from_items(items, data.split, size=32, batch_size=8)).to_fp32()
    learn.fit(1e-3, 1)
    preds = learn.get_preds("valid")
    own = torch.tensor([item.weight for item in preds.items])
    expected = (preds.losses * own).sum() / own.sum()
    assert learn.history.epochs[-1].valid_loss == pytest.approx(expected.item(), rel=1e-4)


# Precision -----------------------------------------------------------------------------------------------------


def test_precision_is_chosen_and_can_be_set(learn, monkeypatch):
    """Catches a choice by timing (it differs between runs), one that cannot be overruled, and predictions, features or
    a validation in what is fast for training."""
    faster = {"training": torch.float32, "predicting": torch.bfloat16}
    monkeypatch.setattr(learner, "fast_precision", lambda device, kind, work: faster[work])
    assert (learn.precision, learn.prediction_precision) == (torch.float32, torch.bfloat16)
    plan = learn._run(1e-3, 1, schedules.constant).plan
    assert (plan.precision, plan.prediction_precision) == (torch.float32, torch.bfloat16)
    assert learn._arithmetic(learn.data.items).precision is torch.bfloat16
    assert learn.to_fp32() is learn and learn.precision is torch.float32
    learn.to_bf16()
    assert (learn.precision, learn.prediction_precision) == (torch.bfloat16, torch.bfloat16)
    learn.unfreeze()
    learn.fit(1e-3, 1)
    assert math.isfinite(learn.history.epochs[0].train_loss)
    assert {p.dtype for p in learn.model.parameters()} == {torch.float32}


def test_half_precision_on_a_cpu_is_refused(data, monkeypatch):
    """Catches float16 on a CPU: slower, less exact, and in fastai a silent no-op."""
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    with pytest.raises(ValueError, match=r"float16 is slower .*to_bf16\(\) or to_fp32\(\)"):
        make(data).to_fp16()


def test_graphs_without_a_gpu_are_refused(data, monkeypatch):
    """Catches a setting that does nothing and says nothing."""
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    said = "needs an NVIDIA GPU and one process; this learner computes on cpu, number of processes 1: leave"
    with pytest.raises(ValueError, match=said):
        make(data, cuda_graphs=True)


def test_graphs_of_several_processes_are_refused(data, monkeypatch):
    """Catches recorded steps that skip the sum over the processes, so that each trains a model of its own."""
    monkeypatch.setattr(learner, "pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(learner, "make_ready", lambda device: None)
    monkeypatch.setattr(learner, "join", lambda device: None)
    monkeypatch.setattr(learner, "n_ranks", lambda: 2)
    with pytest.raises(ValueError, match="computes on cuda, number of processes 2: leave it out"):
        Learner(data, nn.Flatten(), cuda_graphs=True)


def test_pictures_run_in_channels_last(learn, data):
    """Catches a model whose convolutions run in the slower memory layout."""
    assert learn.model.body[0][0].weight.is_contiguous(memory_format=torch.channels_last)
    images = learn.model.normalize(data.one_batch("valid")[0])
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_device_can_be_chosen(data, monkeypatch):
    """Catches COURSE_DEVICE ignored by the learner."""
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    assert make(data).device == runtime.pick_device() == torch.device("cpu")


@pytest.mark.parametrize(("device", "times"), [("cpu", 1), ("meta", 0)])
def test_memory_stays_with_the_process_where_the_cpu_computes(data, monkeypatch, device, times):
    """Catches a learner that leaves every step of a CPU to page faults, or a GPU's process that hoards memory."""
    asked = []
    monkeypatch.setattr(runtime, "keep_freed_memory", lambda: asked.append(device))
    monkeypatch.setattr(learner, "pick_device", lambda: torch.device(device))
    monkeypatch.setattr(learner.Learner, "freeze", lambda self: None)
    make(data)
    assert len(asked) == times


# Other data ----------------------------------------------------------------------------------------------------


def test_resized_data_goes_on_with_the_same_split(learn, data):
    """Catches progressive resizing with a new split: pictures that validated would train (fastai's default)."""
    split = data.split
    learn.set_data(data.resized(48))
    assert learn.data.split == split and learn.data.size == 48
    assert learn.source().plain.shape == (24, 192)
    learn.fit(1e-3, 1)
    assert learn.data.items == data.items and len(learn.history.epochs) == 1


def test_pictures_that_have_held_out_never_train(learn, data):
    """Catches a new split under a learner that was chosen on the old one."""
    other = ImageData.from_items(data.items, size=32, seed=5)
    both = sorted(set(data.split.valid) & set(other.split.train))
    assert both, "else this test shows nothing"
    with pytest.raises(
        ValueError, match=rf"{len(both)} pictures of the training part, e\.g\. {both[0]}, have validated"
    ):
        learn.set_data(other)
    assert learn.data is data


def test_what_has_held_out_is_remembered_over_several_sets(learn, data):
    """Catches a memory of one set only: the first validation part would train in the third."""
    names = [item.name for item in data.items]
    held_out, trained = list(data.split.valid), list(data.split.train)
    second = ImageData.from_items(data.items, Split(tuple(trained[2:]), tuple(held_out + trained[:2])), size=32)
    learn.set_data(second)
    third = ImageData.from_items(
        data.items, Split(tuple(n for n in names if n not in trained[2:6]), tuple(trained[2:6])), size=32
    )
    with pytest.raises(ValueError, match=f"{len(held_out) + 2} pictures of the training part"):
        learn.set_data(third)


def test_other_classes_are_refused(learn, data):
    """Catches a head whose outputs suddenly mean something else."""
    items = relabel(data.items, {item.name: item.label.replace("dark", "night") for item in data.items})
    with pytest.raises(ValueError, match="has the classes dark, light; the new data light, night"):
        learn.set_data(ImageData.from_items(items, data.split, size=32))


# Saving --------------------------------------------------------------------------------------------------------


def test_saved_and_loaded_is_the_same_model(data, capsys):
    """Catches statistics, or a layer, that is not saved."""
    learn = make(data)
    learn.unfreeze()
    learn.fit(1e-3, 1)
    file = learn.save("after one epoch")
    assert file == learn.path / "after one epoch.safetensors"
    other = make(data, seed=8)
    assert not torch.equal(other.predict(), learn.predict())
    capsys.readouterr()
    assert other.load("after one epoch") is other
    assert same(weights(other), weights(learn))
    torch.testing.assert_close(other.predict(), learn.predict())  # one from pictures, one from cached features
    assert capsys.readouterr().out == ""


def test_the_file_says_what_it_holds(learn):
    """Catches a file nobody can use without the notebook that wrote it."""
    learn.fit(1e-3, 1)
    raw = learn.save("model").read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    about = json.loads(header["__metadata__"]["about"])
    assert about["classes"] == ["dark", "light"] and (about["arch"], about["size"]) == ("test_resnet", 32)
    assert (about["epochs"], about["metrics"]) == (1, learn.history.epochs[-1].metrics)
    assert about["split"] == learn.data.split.digest()
    assert (about["mean"], about["std"]) == (
        learn.model.normalize.mean.flatten().tolist(),
        learn.model.normalize.std.flatten().tolist(),
    )


def renamed(data, names):
    items = relabel(data.items, {item.name: names[item.label] for item in data.items})
    return ImageData.from_items(items, data.split, size=32, batch_size=8)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (lambda data: make(data, "test_byobnet"), "holds arch test_resnet; this learner has test_byobnet"),
        (
            lambda data: make(renamed(data, {"dark": "cat", "light": "dog"})),
            r"holds classes \['dark', 'light'\]; this learner has \['cat', 'dog'\]",
        ),
        (
            lambda data: make(renamed(data, {"dark": "light", "light": "a"})),
            r"holds classes \['dark', 'light'\]; this learner has \['a', 'light'\]",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_naming_both_sides(learn, data, other, sentence):
    """Catches a thousand lines of tensor names (other arch) and swapped labels (fastai loads those silently)."""
    learn.save("one")
    other = other(data)
    other.path = learn.path
    before = weights(other)
    with pytest.raises(ValueError, match=rf"one\.safetensors {sentence}"):
        other.load("one")
    assert same(before, weights(other))


def test_the_order_of_the_classes_counts(learn, data):
    """Catches the same names in another order: every label would be another one."""
    file = learn.save("swapped")
    from helpers.runtime.tensor_files import load_tensors, save_tensors

    tensors, about = load_tensors(file)
    save_tensors(file, tensors, {**about, "classes": ["light", "dark"]})
    with pytest.raises(ValueError, match=r"holds classes \['light', 'dark'\]; this learner has \['dark', 'light'\]"):
        learn.load("swapped")


def test_a_missing_file_is_answered_with_what_is_there(learn):
    """Catches a bare FileNotFoundError for a typing mistake."""
    with pytest.raises(FileNotFoundError, match="saved there: nothing"):
        learn.load("haed")
    learn.save("head")
    with pytest.raises(FileNotFoundError, match=r"there is no .*haed\.safetensors; saved there: head"):
        learn.load("haed")


def test_what_validated_and_what_trained_is_remembered_in_the_file(learn, data, capsys):
    """Catches a leak guard that ends at reload: a model validated by pictures it was trained on, or the reverse."""
    learn.fit(1e-3, 1)
    learn.save("one")
    fresh = ImageData.from_items(data.items, size=32, batch_size=8, seed=5)
    other = make(fresh, path=learn.path)
    other.load("one")
    trained = sorted(set(data.split.train) & set(fresh.split.valid))
    assert f"note: {len(trained)} of the validation pictures trained this model" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"pictures of the training part, .* have validated this model"):
        other.fit(1e-3, 1)
    same_split = make(data, path=learn.path).load("one")
    with pytest.raises(ValueError, match="have validated this model"):
        same_split.set_data(fresh)
    same_split.set_data(data.resized(48))
    same_split.fit(1e-3, 1)


def test_loading_into_a_frozen_learner_makes_its_activations_anew(data):
    """Catches activations of the old body under the loaded head."""
    learn = make(data).to_fp32()
    learn.unfreeze()
    learn.fit(1e-2, 1)
    learn.save("trained")
    other = make(data).to_fp32()
    other.predict()
    other.load("trained")
    assert other.precompute
    torch.testing.assert_close(other.predict(), learn.predict(), atol=1e-4, rtol=1e-4)


def test_models_are_kept_below_the_data_folder_or_where_one_says(data, course_data, tmp_path, monkeypatch):
    """Catches files written into the folder of the notebook, or of the pictures."""
    assert make(data).save("one").parent == course_data / "models"
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    make(data, path=tmp_path / "mine", name="lesson 3").fit(1e-3, 1)
    assert (tmp_path / "mine" / "lesson 3.checkpoint.safetensors").is_file()


# What it says --------------------------------------------------------------------------------------------------


def test_features_are_the_pooled_activations_of_a_part(learn, data):
    """Catches rows of another part, augmented pictures, and a number that depends on what trains."""
    learn.to_fp32()
    with torch.no_grad():
        expected = pooled(learn.model, data.eval_images(data.indices_of("valid")))
    for trained_from in (2, 0):
        learn.freeze_to(trained_from)
        torch.testing.assert_close(learn.features("valid"), expected, atol=1e-4, rtol=1e-4)
    assert learn.features().shape == (18, 192)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"bn": "frozn"}, ValueError, "bn is one of frozen, affine, train, frozen everywhere; got 'frozn'"),
        ({"metrics": ["acuracy"]}, ValueError, "there is no metric 'acuracy'; did you mean 'accuracy'"),
        ({"layer_groups": 4}, ValueError, "layer_groups is 2, 3"),
        ({"precompte": True}, TypeError, "no keyword 'precompte'; did you mean 'precompute'"),
    ],
)
def test_options_that_make_no_sense_are_refused(data, options, error, sentence):
    """Catches a typing mistake that is swallowed."""
    if "bn" in options:
        options["precompute"] = False
    with pytest.raises(error, match=sentence):
        make(data, **options)


def test_a_batch_transform_needs_pictures(data):
    """Catches MixUp that is silently ignored, because the default trains on cached features."""
    seen = []
    learn = make(data, batch_transform=lambda x, y: seen.append(len(x)) or (x, y))
    for train in (lambda: learn.fit(1e-3, 1), lambda: learn.lr_find(steps=10)):
        with pytest.raises(ValueError, match=r"batch_transform needs pictures.* type learn\.precompute = False"):
            train()
    assert seen == [] and learn.history.epochs == ()
    learn.precompute = False
    learn.fit(1e-3, 1)
    assert seen == [6, 6, 6]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda learn: None, True),
        (lambda learn: learn.freeze_to(1), True),
        (lambda learn: learn.unfreeze(), False),
        (lambda learn: setattr(learn, "precompute", False), False),
        (lambda learn: learn.precompute_copies(1), False),
        (lambda learn: learn.set_data(learn.data.with_augment(no_augment())), False),
    ],
)
def test_a_training_without_the_augmentation_that_was_asked_for_says_so_first(data, capsys, prepare, said):
    """Catches augmentation that is silently off, and a warning where it is on or was not asked for."""
    learn = make(data.with_augment(side_on()))
    prepare(learn)
    capsys.readouterr()
    learn.fit(1e-3, 1)
    assert capsys.readouterr().out.startswith("no augmentation: cached features") == said


def test_fine_tune_trains_the_frozen_phase_on_augmented_pictures(data):
    """Catches a frozen phase without the augmentation that fastai's has, and a switch that stays off."""
    drawn = []
    augmented = data.with_augment(side_on())
    learn = make(augmented)

    class Watch(Hook):
        def on_fit_begin(self, run):
            drawn.append(run.source is learn.data)

    learn.fine_tune(1, hooks=[Watch()])
    assert drawn == [True, True]
    learn.freeze()
    assert learn.precompute
    plain = make(data)
    drawn.clear()
    plain.fine_tune(1, hooks=[Watch()])
    assert drawn[0] is False, "without augmentation features are as good and faster"


# What it says of itself ------------------------------------------------------------------------------------------


def test_about_is_measured_on_the_weights(data):
    """Catches a description of the weights of another epoch, and one that forgets what it was trained for."""
    linear = nn.Linear(3, 2)  # tells bright from dark
    linear.load_state_dict({"weight": torch.tensor([[-1.0], [1.0]]).expand(2, 3), "bias": torch.tensor([1.5, -1.5])})
    learn = Learner(data, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)).to_fp32()
    learn.fit(1e-6, 2, hooks=[KeepBest()])
    for accuracy in (1.0, 0.0):
        preds = learn.get_preds()
        about = learn.about()
        assert about["metrics"] == {"accuracy": accuracy}
        assert (about["n"], about["epochs"]) == (6, 2)
        interval = accuracy_interval(preds)
        assert (about["accuracy"]["low"], about["accuracy"]["high"]) == (interval.low, interval.high)
        for parameter in linear.parameters():
            parameter.data.neg_()  # every answer is the other one


def test_load_brings_back_epochs_and_history(data):
    """Catches a loaded model that says it was never trained."""
    learn = make(data).to_fp32()
    learn.fit_one_cycle(2, 1e-3)
    learn.save("two")
    other = make(data, seed=4).to_fp32().load("two")
    assert other.history == learn.history and other.about() == learn.about()
    other.fit(1e-3, 1)
    assert [epoch.number for epoch in other.history.epochs] == [0, 1, 2]


@pytest.mark.parametrize(("own", "comes_back"), [(False, False), (True, False), (True, True)])
def test_a_network_brings_its_history_to_another_learner(data, capsys, own, comes_back):
    """Catches a leak guard that ends where a second learner begins, and "0 epochs" of a network that was trained."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)) if own else make(data).model
    first = Learner(data, network)
    first.fit(1e-3, 2)
    fresh = ImageData.from_items(data.items, size=32, batch_size=8, seed=5)
    capsys.readouterr()
    second = Learner(fresh, first.model if comes_back else network if own else copy.deepcopy(network))
    trained = set(data.split.train) & set(fresh.split.valid)
    assert f"note: {len(trained)} of the validation pictures trained this model" in capsys.readouterr().out
    assert second.about()["epochs"] == 2 and second.arch == first.arch == ("Sequential" if own else "test_resnet")
    with pytest.raises(ValueError, match="have validated this model before"):
        second.fit(1e-3, 1)
    assert not make(fresh).history.epochs


def test_what_is_set_later_trains_as_if_it_had_been_given(data):
    """Catches a weighted mean that is weighted once more, and an epoch that ends in AttributeError."""
    given = {"loss": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])), "metrics": ["f1", "accuracy"]}
    built, changed = make(data, **given).to_fp32(), make(data).to_fp32()
    changed.loss, changed.metrics = given["loss"], given["metrics"]
    for learn in (built, changed):
        learn.fit(1e-3, 1)
    assert changed.history.losses == built.history.losses
    ours, theirs = changed.history.epochs[0], built.history.epochs[0]
    assert (ours.valid_loss, ours.metrics) == (theirs.valid_loss, theirs.metrics)
    assert list(ours.metrics) == given["metrics"]
    with pytest.raises(AttributeError, match=r"type Learner\(learn.data, learn.model, layer_groups='stages'\)"):
        changed.layer_groups = "stages"


def test_a_learner_trains_what_it_says_it_trains(data):
    """Catches a second learner of the network that has frozen the layers of the first, and statistics set to train."""
    first = make(data, precompute=False).to_fp32()
    first.unfreeze()
    Learner(data, first.model)  # freezes all but the head
    before = weights(first)
    first.fit(1e-2, 1)
    after = weights(first)
    assert all(not torch.equal(after[name], before[name]) for name, _ in first.model.named_parameters())
    first.freeze()
    first.bn, before = "train", weights(first)
    first.fit(1e-2, 1)
    assert any("running_mean" in name and not torch.equal(now, before[name]) for name, now in weights(first).items())


def test_a_mask_of_infinities_is_no_divergence(data):
    """Catches "take a lower rate" for a network of one's own that masks with a buffer, whatever the rate."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    network.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    assert len(Learner(data, network).fit(1e-4, 1).epochs) == 1


ADVICE = sorted(line for line in OLDER["elsewhere"].values() if line.startswith("Learner.pretrained("))


@pytest.mark.parametrize("line", ADVICE)
def test_a_line_that_an_error_advises_works(data, line):
    """Catches advice that ends in the next error."""
    pretrained = functools.partial(Learner.pretrained, arch="test_resnet", pretrained=False)
    assert isinstance(eval(line, {"Learner": SimpleNamespace(pretrained=pretrained), "data": data}), Learner)


# Other networks, other losses ------------------------------------------------------------------------------------


def test_a_network_of_ones_own_trains_as_a_whole(data):
    """Catches KeyError 'layer_groups' for everything that `pretrained` did not build."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    learn = Learner(data, network)
    assert not learn.precompute and learn.trained_from == 0
    history = learn.fit_one_cycle(4, 1e-2)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    assert learn.predict().shape == (6, 2) and learn.tta(n=1).accuracy() >= 0.5
    again = Learner(data, copy.deepcopy(network))
    learn.save("own")
    torch.nn.init.zeros_(network[0].weight)
    assert again.load("own").history == learn.history


def test_a_network_that_does_not_fit_is_refused(data):
    """Catches a foreign error in the first step."""
    with pytest.raises(ValueError, match=r"gives \(N, 2\) logits; .* gives"):
        Learner(data, nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)))


# Lines of the lectures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("learn.fit_one_cycle(1, lr_max=1e-3)", "here it is called 'lr'"),
        ("learn.fit_one_cycle(1, max_lr=1e-3)", "here it is called 'lr'"),
        ("learn.fine_tune(1, base_lr=1e-3)", "here it is called 'lr'"),
        ("learn.fine_tune(1, wd=0.1)", r"here it is: Learner\.pretrained\(data, weight_decay"),
        ("learn.lr_find(suggest_funcs=(1,))", r"here it is: result = learn\.lr_find\(\)"),
        ("learn.get_preds(dl=[(1, 2)])", r'here it is: learn\.get_preds\("valid"\)'),
        ("learn.tta(n_aug=4)", "here it is called 'n'"),
        ("learn.fit(1e-2, 1, cycle_mult=2)", r"type fit\(0\.01, 1, cycle_len=1, cycle_mult=2\)"),
        ("learn.fit(3, 1e-2)", "cycles must be a whole number of at least 1; got 0.01"),
        ("learn.fit_one_cycle(1.5, 1e-3)", "epochs must be a whole number of at least 1; got 1.5"),
        ("learn.fit_one_cycle(True)", "epochs must be a whole number of at least 1; got True"),
        ("learn.fine_tune(1.5)", "epochs must be a whole number of at least 1; got 1.5"),
        ("learn.fit(1e-3, 1, cycle_len=0)", "cycle_len must be a whole number of at least 1; got 0"),
        ("learn.fine_tune(1, freeze_epochs=0)", "freeze_epochs must be a whole number of at least 1; got 0"),
        ("learn.fit(1e-3, 1, best_save_name='x')", r"here it is: hooks=\[KeepBest\(\)\]"),
        ("learn.fit(1e-3, 1, hooks=[KeepBest])", r"hooks are Hook objects, e\.g\. hooks=\[KeepBest\(\)\]; got <class"),
        ("learn.get_preds([(1, 2)])", r"takes a part or items; got \(1, 2\)\. A file: learn\.predict_one"),
        ("learn.get_preds([])", r"takes a part or items; got \(\)\. A file: learn\.predict_one"),
        ("show_results(learn.get_preds(), learn.data, max_n=4)", "here it is called 'n'"),
        ("make(learn.data, loss=nn.functional.cross_entropy)", r"a module that was made, e\.g\. loss=nn\.Cross"),
        ("make(learn.data, accumulate=0).fit(1e-3, 1)", "accumulate must be a whole number of at least 1; got 0"),
        ("learn.TTA()", r"here it is: learn\.tta\(\)"),
        ("learn.sched.plot()", r"here it is: plot_lr_find\(learn\.lr_find\(\)\)"),
        ("learn.recorder.plot_loss()", r"plot_loss\(learn\.history\)"),
        ("learn.predict('cat.jpg')", r"learn\.predict_one\(path\)"),
        ("learn.dls.show_batch()", r"here it is: learn\.data"),
        ("learn.freeze_too(1)", "did you mean 'freeze_to'"),
        ("Learner.pretrained(learn.data, ps=0.5)", "here it is called 'dropout'"),
        ("Learner.pretrained(learn.data, precompte=True)", "did you mean 'precompute'"),
    ],
)
def test_a_line_of_the_lectures_says_what_does_it_here(learn, line, sentence):
    """Catches a bare TypeError or AttributeError for what a reader of the lectures types, and half an epoch."""
    with pytest.raises((TypeError, AttributeError, ValueError), match=sentence):
        eval(line)
    assert learn.history.epochs == ()


def test_one_metric_may_be_a_text(data):
    """Catches "there is no metric 'e'"."""
    learn = make(data, metrics="error_rate")
    assert list(learn.fit(1e-3, 1).epochs[0].metrics) == ["error_rate"]


def test_the_verbs_that_draw_answer(learn):
    """Catches a verb that calls a figure that is not there, or with a record it does not take."""
    learn.fit_one_cycle(1, 1e-3)
    for drawing in (
        plot_loss(learn.history),
        plot_lr(learn.history),
        show_results(learn.get_preds("valid"), learn.data, n=4),
    ):
        assert drawing.text


def test_a_negative_rate_is_refused(learn):
    """Catches a training that climbs the loss: AdamW looks at its default rate only."""
    for rate in (-1e-3, slice(-1e-3), [1e-3, 1e-3, -1e-3]):
        with pytest.raises(ValueError, match="0 or more|above 0"):
            learn.fit_one_cycle(1, rate)
    with pytest.raises(ValueError, match="above 0; got 0"):
        learn.lr_find(0.0)
    assert not learn.history.epochs


def test_a_resume_that_is_refused_or_finished_changes_nothing(learn, monkeypatch, capsys):
    """Catches pictures that count as trained although nothing was, and a second resume that silently trains nothing."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    learn.fit(1e-3, 2)
    fresh = Learner.pretrained(learn.data, "test_resnet", pretrained=False)
    with pytest.raises(ValueError, match="another run"):
        fresh.fit(1e-3, 3, resume=True)
    assert not fresh.history.trained_on and not fresh.history.epochs
    capsys.readouterr()
    fresh.fit(1e-3, 2, resume=True)
    assert "it is finished, nothing is trained; to train on, leave resume=True out" in capsys.readouterr().out
    assert len(fresh.history.epochs) == 2
