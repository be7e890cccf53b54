"""Cached features: the same as the whole model, the right ones, and never stale ones."""

import errno
import re
import shutil
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data_setup.base.progress import progress
from data_setup.items import relabel
from helpers.analysis.predictions import Arithmetic, predict
from helpers.data import augment
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.models import features
from helpers.models.features import FeatureData, body_fingerprint, precompute
from helpers.runtime.precision import evaluating

CPU = torch.device("cpu")
HOW = {"device": CPU, "precision": torch.float32}


@pytest.fixture
def body_runs(monkeypatch):
    """How often a body has really run, one entry each time: the others were served from what was kept."""
    runs = []
    compute = features._compute
    monkeypatch.setattr(features, "_compute", lambda *args: runs.append(args) or compute(*args))
    return runs


def moved(model):
    """Statistics that no initial value has: a forgotten evaluation mode would show."""
    rng = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(generator=rng).mul_(0.1)
            module.weight.data.add_(torch.rand(len(module.weight), generator=rng))
    return model


def whole(table):
    """All rows of a table as one tensor."""
    return table[torch.arange(table.shape[0])]


def copies_in(kept):
    """The augmented copies, a tensor each: (copies, n_train, ...)."""
    return torch.stack([whole(table) for table in kept.augmented])


def pooled(model, images):
    """The pooled features of the whole body, by hand: (N, D)."""
    return model.pool(model.body(model.normalize(images)))


@pytest.mark.parametrize(("batch_size", "at_a_time"), [(8, 64), (64, 128)])
def test_the_body_sees_twice_the_pictures_of_a_step_and_never_few(learn, data, batch_size, at_a_time):
    """Catches a pass in batches that are smaller than those of a prediction, which has as much room."""
    seen, many = [], ImageData(data.items, data.split, size=data.size, presize_px=data.size, batch_size=batch_size)
    learn.model.body.register_forward_pre_hook(lambda body, given: seen.append(len(given[0])))
    rows = torch.arange(len(data.items)).repeat(200)[:200]
    with torch.no_grad():
        features._compute(learn.model, many, len(learn.model.body), CPU, rows, None, progress([]))
    assert seen == [at_a_time] * (200 // at_a_time) + [200 % at_a_time]


def test_every_cut_agrees_with_the_whole_model(learn, data):
    """Catches a head that sees other numbers on cached features than in the model: at each split point, to 1e-4."""
    model = moved(learn.model).eval()
    rows = torch.arange(len(data.items))
    with torch.no_grad():
        expected = model(data.eval_images(rows)).log_softmax(dim=1)
    for split_point in range(len(model.body) + 1):
        kept = precompute(model, data, split_point=split_point, **HOW)
        assert kept.plain.shape[0] == len(rows)
        found = predict(model, kept, rows, Arithmetic(**HOW, batch_size=5))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("trained_from", [1, 2])
def test_a_training_step_on_kept_activations_is_one_on_pictures(data, trained_from, monkeypatch):
    """Catches partial unfreezing that caches behind, or before, the boundary: the same steps give the same weights."""
    monkeypatch.setattr(features, "predicting", evaluating)  # a folded sum rounds otherwise; AdamW enlarges that
    ends, square = [], replace_method(data)
    for kept in (True, False):
        learn = Learner.pretrained(square, "test_resnet", pretrained=False, precompute=kept, dropout=0.0).to_fp32()
        moved(learn.model)
        learn.freeze_to(trained_from)
        learn.fit([0.0, 1e-3, 1e-3], 1)
        assert isinstance(learn.source(), FeatureData) == kept
        assert learn.split_point == (6 if trained_from == 1 else 8)
        ends.append(learn.model.state_dict())
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], atol=2e-4, rtol=1e-3, msg=lambda m, name=name: f"{name}: {m}")


def test_kept_activations_of_a_part_train_only_on_its_own_rows(learn, data):
    """Catches rows of the validation part in a training batch, targets of other rows, and a picture left out."""
    kept = learn.source()
    batches = list(kept.train_batches(CPU, 7, "any"))
    rows = data.indices_of("train")
    inputs, targets = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("inputs", "targets"))
    found = [(whole(kept.plain).float() == row).flatten(1).all(dim=1).nonzero().item() for row in inputs]
    assert sorted(found) == rows.tolist()
    assert targets.tolist() == data.targets[found].tolist()


# Augmented copies ----------------------------------------------------------------------------------------------


@pytest.fixture
def augmented(data):
    return data.with_augment(augment.side_on(p_affine=1.0, p_lighting=1.0))


def test_copies_are_the_body_on_augmented_pictures_of_the_right_rows(learn, augmented):
    """Catches copies in another order than their labels, or copies that are not augmented at all."""
    model = learn.model.eval()
    kept = precompute(model, augmented, split_point=8, copies=3, **HOW)
    rows = augmented.indices_of("train")
    copies = copies_in(kept)
    assert copies.shape == (3, len(rows), *kept.plain.shape[1:])
    for number in range(3):
        draws = augment.draw(len(rows), augmented.augment, features.generator(features.SEEDS, number))
        squares = augmented.store.squares(rows, draws.crop_position)
        with torch.no_grad():
            expected = pooled(model, augment.apply_draws(squares, draws, augmented.size))
        torch.testing.assert_close(copies[number], expected, atol=1e-4, rtol=1e-4)
    one, two, three = copies
    assert not torch.allclose(one, two) and not torch.allclose(two, three)


def test_copies_without_augmentation_are_the_plain_pictures(learn, data):
    """Catches rows of the copies that do not belong to the pictures they stand for."""
    square = replace_method(data)
    kept = precompute(learn.model.eval(), square, split_point=8, copies=2, **HOW)
    for copy in copies_in(kept):
        torch.testing.assert_close(copy, kept.plain[square.indices_of("train")], atol=2e-2, rtol=2e-2)


def test_plain_features_that_nobody_asks_for_are_not_computed(learn, augmented, monkeypatch):
    """Catches a validation row that is spared, and a training part answered from rows that were never computed."""
    monkeypatch.setattr(features, "SHARD_ROWS", 2)
    learn.set_data(augmented)
    learn.precompute_copies(1)
    kept, valid, train = (whole(learn.source().plain), *(augmented.indices_of(part) for part in ("valid", "train")))
    spared = kept.isnan().flatten(1).all(dim=1)
    assert spared[train].any() and not spared[valid].any()
    answers = learn.get_preds("train").log_probs
    learn.copies = 0
    everything = whole(learn.source().plain)
    assert not everything.isnan().any() and torch.equal(everything[valid], kept[valid])
    torch.testing.assert_close(answers, learn.get_preds("train").log_probs, atol=1e-4, rtol=1e-4)


def replace_method(data):
    """The same pictures as squares of the size the model sees: then even the crop has nothing to choose."""
    return ImageData(data.items, data.split, size=data.size, presize_px=data.size, method="squish", batch_size=8)


def test_each_epoch_draws_among_the_copies(learn, augmented):
    """Catches one copy for all epochs, one for all pictures, and a draw that is not repeatable."""
    kept = precompute(learn.model.eval(), augmented, split_point=8, copies=3, **HOW)

    def chosen(epoch):
        """{row: copy} of one epoch, read off the batches themselves."""
        result = {}
        for batch in kept.train_batches(CPU, 8, 0, epoch):
            for inputs in batch.inputs:
                copy, row = (copies_in(kept) == inputs).all(dim=2).nonzero()[0].tolist()
                result[row] = copy
        return result

    first, second = chosen(0), chosen(1)
    assert len(first) == len(second) == 18, "every training picture once an epoch"
    assert set(first.values()) == {0, 1, 2}
    assert first != second
    assert first == chosen(0)


def test_the_plain_activations_judge(learn, augmented):
    """Catches a validation on augmented pictures, whose verdict would be random."""
    kept = precompute(learn.model.eval(), augmented, split_point=8, copies=3, **HOW)
    rows = augmented.indices_of("valid")
    found = torch.cat([batch.inputs for batch in kept.eval_batches(rows, CPU, 4)])
    assert torch.equal(found, kept.plain[rows])
    with torch.no_grad():
        expected = pooled(learn.model, augmented.eval_images(rows))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_learner_trains_on_copies_and_predicts_on_plain_pictures(learn, augmented):
    """Catches the verb that leaves the learner on plain activations, or get_preds on augmented ones."""
    learn.set_data(augmented)
    learn.precompute = False
    expected = learn.to_fp32().get_preds("train").log_probs
    learn.precompute_copies(2)
    assert learn.precompute and len(learn.source().augmented) == 2
    torch.testing.assert_close(learn.get_preds("train").log_probs, expected, atol=1e-4, rtol=1e-4)
    learn.fit(1e-3, 1)


def test_a_negative_number_of_copies_is_refused(learn, data):
    """Catches a foreign error from torch.stack."""
    with pytest.raises(ValueError, match="0 or more; got -1"):
        precompute(learn.model, data, split_point=8, copies=-1, **HOW)


# The key -------------------------------------------------------------------------------------------------------


def test_the_same_question_is_answered_from_disk(learn, data, body_runs):
    """Catches a key that depends on something random: cached features would never be found again."""
    first = precompute(learn.model, data, split_point=8, **HOW)
    again = precompute(
        learn.model, data.with_augment(augment.side_on()), split_point=8, **HOW
    )  # no copies: it does not matter
    assert torch.equal(whole(first.plain), whole(again.plain))
    assert len(body_runs) == 1


def other_content(learn, data, folder):
    file = data.items[0].path
    Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    return {"data": ImageData.from_items(data.items, data.split, size=data.size)}


def other_order(learn, data, folder):
    """The same files under names that sort another way round."""
    items = []
    for position, item in enumerate(reversed(data.items)):
        copy = folder / item.label / f"{position:02}.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(item.path, copy)
        items.append(replace(item, name=f"{item.label}/{position:02}.png", path=copy))
    return {"data": ImageData.from_items(items, size=data.size)}


def other_weight(learn, data, folder):
    with torch.no_grad():
        learn.model.body[0][0].weight[0, 0, 0, 0] += 1e-3


def other_statistics(learn, data, folder):
    next(m for m in learn.model.body.modules() if isinstance(m, nn.BatchNorm2d)).running_mean[0] += 1e-3


def other_normalisation(learn, data, folder):
    learn.model.normalize.mean += 1e-3


def other_weight_past_the_count(learn, data, folder):
    learn.model.body[0][0].weight.data[0, 0, 0, 0] += 1e-3  # torch's count of writes does not see this one


def other_order_of_colours(learn, data, folder):
    weight = learn.model.body[0][0].weight
    weight.data.copy_(weight.data.flip(1))  # past the count, and the sum of all weights stays


def other_layer(learn, data, folder):
    learn.model.body[0][2] = nn.LeakyReLU(0.3)  # has no weights, as the ReLU before it


CHANGES = {
    "content": other_content,
    "order": other_order,
    "weight": other_weight,
    "weight.data": other_weight_past_the_count,
    "weights in another order": other_order_of_colours,
    "statistics": other_statistics,
    "normalisation": other_normalisation,
    "layer": other_layer,
    "size": lambda learn, data, folder: {"data": data.resized(24)},
    "presizing": lambda learn, data, folder: {"data": replace_method(data)},
    "precision": lambda learn, data, folder: {"precision": torch.bfloat16},
    "split_point": lambda learn, data, folder: {"split_point": 6},
    "copies": lambda learn, data, folder: {"copies": 2},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stale_key_is_never_served(learn, data, body_runs, tmp_path, change):
    """Catches activations of other pictures, weights or arithmetic: fastai 0.7 keyed them by arch and size alone."""
    first = precompute(learn.model, data, split_point=8, **HOW)
    asked = {"data": data, "split_point": 8, **HOW, **(CHANGES[change](learn, data, tmp_path / "copy") or {})}
    second = precompute(learn.model, asked.pop("data"), **asked)
    assert len(body_runs) == (3 if change == "copies" else 2)
    same = torch.equal(whole(first.plain), whole(second.plain))
    assert same == (change == "copies"), "the change was meant to matter"


@pytest.mark.parametrize(("change", "again"), [("augmentation", 2), ("version", 3), ("split", 2), ("number", 1)])
def test_a_stale_copy_is_never_served(learn, augmented, body_runs, monkeypatch, change, again):
    """Catches copies of another augmentation, of an older kit or of other training pictures, and tables that would do
    but are computed again: the plain one, and the first copies when more are asked for."""
    precompute(learn.model, augmented, split_point=8, copies=2, **HOW)
    assert len(body_runs) == 3
    other, copies = augmented, 2
    if change == "augmentation":
        other = augmented.with_augment(augment.top_down())
    elif change == "version":
        monkeypatch.setattr("data_setup.base.pictures.CACHE_VERSION", 0)
        other = replace(augmented)
    elif change == "split":
        other = ImageData.from_items(augmented.items, size=32, augment=augmented.augment, seed=5)
    else:
        copies = 3
    precompute(learn.model, other, split_point=8, copies=copies, **HOW)
    assert len(body_runs) == 3 + again


def test_another_resizing_is_another_feature(learn, data, body_runs, monkeypatch):
    """Catches features kept over a change of the transforms: resizing is one of them, with copies or without."""
    precompute(learn.model, data, split_point=8, **HOW)
    monkeypatch.setattr("data_setup.base.pictures.CACHE_VERSION", 0)
    precompute(learn.model, replace(data), split_point=8, **HOW)
    assert len(body_runs) == 2


def test_the_body_is_hashed_only_after_it_may_have_changed(learn, monkeypatch):
    """Catches a hash of all weights for every prediction: a third of a second for a resnet, twice."""
    hashed, sha256 = [], features.hashlib.sha256
    monkeypatch.setattr(features.hashlib, "sha256", lambda *given: hashed.append(given) or sha256(*given))
    first = body_fingerprint(learn.model, 8)
    assert body_fingerprint(learn.model, 8) == first and len(hashed) == 1
    assert body_fingerprint(learn.model, 6) != first and len(hashed) == 2
    weight = next(learn.model.body.parameters())
    with torch.no_grad():
        weight.mul_(2)
    assert body_fingerprint(learn.model, 8) != first
    with torch.no_grad():
        weight.mul_(0.5)
    assert body_fingerprint(learn.model, 8) == first, "the content counts, not the number of writes"
    learn.model.load_state_dict({name: tensor + 1 for name, tensor in learn.model.state_dict().items()})
    assert body_fingerprint(learn.model, 8) != first


@pytest.mark.gpu
def test_features_stay_on_the_gpu_and_are_those_of_the_cpu(learn, data):
    """Catches a gather on the CPU and a copy for every step, and rows that change places on the way."""
    cuda = torch.device("cuda")
    expected = precompute(learn.model.cpu(), data, split_point=8, copies=2, **HOW)
    for served_from in ("computed", "disk"):
        kept = precompute(learn.model.to(cuda), data, split_point=8, copies=2, device=cuda, precision=torch.float32)
        assert whole(kept.plain).is_cuda and copies_in(kept).is_cuda, served_from
        torch.testing.assert_close(whole(kept.plain).cpu(), whole(expected.plain), atol=1e-3, rtol=1e-3)
        here, there = (next(f.train_batches(d, 8, 0, 0)) for f, d in ((kept, cuda), (expected, CPU)))
        torch.testing.assert_close(here.inputs.cpu(), there.inputs, atol=1e-3, rtol=1e-3)
        assert here.targets.tolist() == there.targets.tolist()


def test_new_labels_need_no_new_activations(learn, data, body_runs):
    """Catches labels kept with the activations: a corrected label would not reach training."""
    precompute(learn.model, data, split_point=8, **HOW)
    name = data.split.train[0]
    items = relabel(data.items, {name: "light"})
    kept = precompute(learn.model, ImageData.from_items(items, data.split, size=32), split_point=8, **HOW)
    batch = next(kept.eval_batches(torch.tensor([data.index_of(name)]), CPU, 1))
    assert (len(body_runs), batch.targets.tolist()) == (1, [1])


def test_a_learner_whose_body_has_trained_computes_anew(learn):
    """Catches activations kept in memory after the body they came from has changed (unfreeze, fit, freeze)."""
    before = whole(learn.source().plain)
    learn.unfreeze()
    learn.fit(1e-2, 1)
    learn.freeze()
    assert not torch.equal(whole(learn.source().plain), before)
    with torch.no_grad():
        expected = pooled(learn.model, learn.data.eval_images(range(24)))
    learn.to_fp32()
    torch.testing.assert_close(whole(learn.source().plain), expected, atol=1e-4, rtol=1e-4)


def test_a_learner_asks_the_body_once(learn, body_runs):
    """Catches activations computed again for every verb."""
    learn.fit(1e-3, 2)
    learn.get_preds("train")
    learn.predict()
    learn.fit(1e-3, 1)
    assert len(body_runs) == 1


def test_damaged_activations_are_computed_again(learn, data, body_runs, course_data):
    """Catches a flipped bit on disk that would train the head on wrong numbers, or stop the learner for good."""
    first = precompute(learn.model, data, split_point=8, **HOW)
    (file,) = (course_data / "cache" / "features").iterdir()
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    again = precompute(learn.model, data, split_point=8, **HOW)
    assert torch.equal(whole(first.plain), whole(again.plain)) and len(body_runs) == 2


def test_a_full_disk_costs_time_and_no_training(learn, monkeypatch, capsys):
    """Catches a training that dies, with its features computed, because they could not be kept for the next one."""

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(features, "save_tensors", full)
    learn.fit(1e-3, 1)
    assert "these features are not kept for the next time (No space left on device)" in capsys.readouterr().out
    assert len(learn.history.epochs) == 1


def test_a_full_disk_is_noted_once_however_many_files_do_not_fit(learn, monkeypatch, capsys, body_runs):
    """Catches a page of notes: one for each shard of each copy, each time that they are computed."""

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(features, "save_tensors", full)
    monkeypatch.setattr(features, "SHARD_ROWS", 4)
    for copies in (2, 0):
        kept = precompute(learn.model, learn.data, split_point=2, copies=copies, **HOW)
        assert len(kept.augmented) == copies
    assert len(body_runs) > 12
    assert capsys.readouterr().out.count("note:") == 1


def test_a_cache_that_is_only_read_is_used_and_never_cleared(learn, monkeypatch, capsys):
    """Catches features that are computed and then lost, because older ones cannot be deleted to make room."""
    old = [precompute(learn.model, learn.data, split_point=point, **HOW) for point in (1, 2)]
    monkeypatch.setattr(features, "CACHE_BYTES", 0)

    def only_read(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(features, "save_tensors", only_read)
    monkeypatch.setattr(Path, "touch", only_read)
    monkeypatch.setattr(Path, "unlink", only_read)
    again = precompute(learn.model, learn.data, split_point=2, **HOW)
    assert torch.equal(whole(old[1].plain), whole(again.plain)) and "note:" not in capsys.readouterr().out
    precompute(learn.model, learn.data, split_point=8, **HOW)
    assert capsys.readouterr().out.count("note:") == 1


@pytest.mark.parametrize("bn", ["affine", "train"])
def test_activations_of_a_moving_body_are_refused(data, bn):
    """Catches precompute with BatchNorm that moves: every activation would be stale after the first step."""
    with pytest.raises(ValueError, match=f'bn="frozen", or precompute=False; got bn={bn!r}'):
        Learner.pretrained(data, "test_resnet", pretrained=False, bn=bn)
    learn = Learner.pretrained(data, "test_resnet", pretrained=False, bn=bn, precompute=False)
    for ask in (lambda: setattr(learn, "precompute", True), lambda: learn.precompute_copies(2)):
        with pytest.raises(ValueError, match="BatchNorm does not change"):
            ask()
    assert learn.source() is data


def test_a_body_frozen_everywhere_may_be_cached(data):
    """Catches a refusal where BatchNorm does stand still, or bn_freeze(False) that changes nothing."""
    learn = Learner.pretrained(data, "test_resnet", pretrained=False, bn="frozen everywhere")
    assert isinstance(learn.source(), FeatureData)
    norms = [module for module in learn.model.body.modules() if isinstance(module, nn.BatchNorm2d)]
    learn.unfreeze()
    learn.model.train()
    assert not any(norm.training for norm in norms)
    learn.bn_freeze(False)
    learn.model.train()
    assert all(norm.training for norm in norms)


def test_predictions_never_wait_for_augmented_copies(learn, augmented, monkeypatch):
    """Catches copies computed anew to predict, when only the arithmetic has changed since training."""
    learn.set_data(augmented)
    learn.precompute_copies(2)
    learn.fit(1e-3, 1)
    before = learn.predict()
    monkeypatch.setattr(features, "_compute", lambda *_: pytest.fail("activations were computed to predict"))
    learn.to_fp32()
    torch.testing.assert_close(learn.predict(), before, rtol=0, atol=0.1)


# Mapped files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [0, 3])
def test_batches_from_mapped_shards_are_those_from_memory(learn, augmented, monkeypatch, copies):
    """Catches a row taken from a neighbouring shard or copy: shards of 7 rows leave a short one at the end of each."""
    monkeypatch.setattr(features, "SHARD_ROWS", 7)
    how = {"split_point": 8, "copies": copies, **HOW}
    joined = precompute(learn.model.eval(), augmented, **how)
    monkeypatch.setattr(features, "JOINED_BYTES", 0)
    mapped = precompute(learn.model, augmented, **how)
    assert len(joined.plain.shards) == 1 and len(mapped.plain.shards) == 4
    assert torch.equal(whole(joined.plain), whole(mapped.plain))
    assert [table.shape for table in mapped.augmented] == [(18, *mapped.plain.shape[1:])] * copies
    assert all(torch.equal(whole(a), whole(b)) for a, b in zip(joined.augmented, mapped.augmented, strict=True))
    for batches in (
        lambda kept: kept.train_batches(CPU, 5, 1),
        lambda kept: kept.eval_batches(torch.arange(24), CPU, 5),
    ):
        for here, there in zip(batches(joined), batches(mapped), strict=True):
            assert torch.equal(here.inputs, there.inputs) and torch.equal(here.targets, there.targets)


def test_a_shard_leaves_memory_when_it_is_on_the_disk(learn, augmented, monkeypatch):
    """Catches shards that are held while the others are computed, and a copy of all of them at the end."""
    made, compute = [], features._compute

    def watched(*args):
        assert not any(shard() is not None for shard in made[:-1]), "at most the last one, while its name is in use"
        computed = compute(*args)
        made.append(weakref.ref(computed))
        return computed

    monkeypatch.setattr(features, "_compute", watched)
    monkeypatch.setattr(features, "SHARD_ROWS", 4)
    monkeypatch.setattr(features, "JOINED_BYTES", 0)
    kept = precompute(learn.model.eval(), augmented, split_point=8, copies=2, **HOW)
    assert len(made) > 12 and not any(shard() is not None for shard in made)
    assert whole(kept.plain).isfinite().any()


def anonymous_bytes():
    """Memory of this process that no file stands behind."""
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_beside_the_mapped_files_does_not_grow_with_the_features(learn, augmented, monkeypatch):
    """Catches features read into memory, and rows of all copies gathered to take one: four copies more take none."""
    monkeypatch.setattr(features, "_compute", lambda *args: torch.ones(len(args[4]), 125_000))
    monkeypatch.setattr(features, "SHARD_ROWS", 2)
    monkeypatch.setattr(features, "JOINED_BYTES", 0)

    def after(copies):
        kept = precompute(learn.model.eval(), augmented, split_point=8, copies=copies, **HOW)
        seen = sum(float(batch.inputs.sum()) for batch in kept.train_batches(CPU, 4, 0))
        assert seen == 18 * 125_000
        return anonymous_bytes(), sum(shard.nbytes for shard in kept.versions.shards)

    (few, few_bytes), (many, many_bytes) = after(1), after(5)
    assert many - few < (many_bytes - few_bytes) / 4
