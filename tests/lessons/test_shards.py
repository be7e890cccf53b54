"""Features in shards: those of a learner, found again after a kill, searched with one shard in memory."""

import numpy as np
import pytest
import torch

from data_setup.shards.writing import write_shards
from helpers.data.augment import no_augment
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from helpers.lessons import shards
from helpers.lessons.audit import find_label_errors, nearest_neighbours
from helpers.lessons.audit import out_of_fold_probs as in_memory
from helpers.lessons.shard_audit import label_errors_in_shards, nearest_in_shards, out_of_fold_probs
from helpers.lessons.shards import ShardFeatures, extract_shards
from helpers.runtime.tensor_files import save_tensors
from tests.conftest import draw_pictures


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    draw_pictures(tmp_path / "pictures", n=10)
    return ImageData.from_folders(tmp_path / "pictures", size=32, augment=no_augment())


def test_the_features_are_those_of_a_learner(data, tmp_path, monkeypatch):
    """Catches another presize or order, rows of the wrong picture, and shards that are computed twice."""
    learn = Learner.pretrained(data, "test_resnet", pretrained=False)
    index = write_shards(data.items, tmp_path / "shards", megabytes=0.03)
    assert len(index.shards) > 2
    how = {"arch": "test_resnet", "size": 32, "presize_px": data.presize_px, "pretrained": False}
    found = extract_shards(tmp_path / "shards", **how)
    names = [name for number in range(len(index.shards)) for name in index.contents(number).names]
    table, rows = torch.cat(list(found.blocks())), torch.cat([learn.features("train"), learn.features("valid")])
    ours = dict(zip([item.name for part in ("train", "valid") for item in data.items_of(part)], rows, strict=True))
    torch.testing.assert_close(table, torch.stack([ours[name] for name in names]), atol=2e-3, rtol=2e-3)
    assert torch.equal(found.row(13), table[13]) and len(found) == 20
    monkeypatch.setattr(shards, "compute", lambda *_, **__: pytest.fail("computed again"))
    assert extract_shards(tmp_path / "shards", **how).files == found.files
    found.files[1].unlink()
    computed = []
    monkeypatch.setattr(shards, "compute", lambda model, index, number, **_: computed.append(number) or table[:1])
    with pytest.raises(OSError, match="features that are not here"):  # one row is not what the shard has
        extract_shards(tmp_path / "shards", **how)
    assert computed == [1]


@pytest.fixture
def made(data, tmp_path):
    """`made(features)`: these as features in shards, and the items in the same order."""

    def make(table):
        index = write_shards(data.items, tmp_path / "shards", megabytes=0.03)
        items = {item.name: item for item in data.items}
        names = [name for number in range(len(index.shards)) for name in index.contents(number).names]
        parts = torch.as_tensor(table).float().split([shard.pictures for shard in index.shards])
        files = tuple(tmp_path / f"{number}.safetensors" for number in range(len(parts)))
        for file, part in zip(files, parts, strict=True):
            save_tensors(file, {"features": part}, {})
        return ShardFeatures(index, files), [items[name] for name in names]

    return make


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_regressions_over_shards_are_those_in_memory(made, n_classes):
    """Catches a fold that sees its own rows, other scales, a penalty on the bias, and unlabelled rows that train."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(20) % n_classes)
    table = rng.normal(0, 3, (20, 6)) + labels[:, None] * [2, 0, 1, 0, 0, 0] + [5, 0, 0, -3, 0, 100]
    table[:, 4] = 7  # a column that says nothing
    table = np.float32(table)
    features, _ = made(table)
    known = np.arange(20) != 8
    ours = out_of_fold_probs(features, np.where(known, labels, -1), folds=3)
    theirs = in_memory(torch.as_tensor(table[known]), labels[known], folds=3)
    assert np.abs(ours[known] - theirs).max() < 1e-3
    with pytest.raises(ValueError, match="folds is between 2 and the pictures of the smallest class"):
        out_of_fold_probs(features, labels, folds=11)


def test_label_errors_and_neighbours_are_those_in_memory(made):
    """Catches rows that are numbered per shard, pictures of other rows, and neighbours of one shard only."""
    rng = np.random.default_rng(0)
    features, items = made(torch.zeros(20, 4))  # only to know the order
    targets = np.array([item.label == items[0].label for item in items])
    table = np.float32(rng.normal(0, 0.5, (20, 4)) + 8 * targets[:, None])
    table[4] = 8 - table[4]  # looks like the other class
    features, items = made(table)
    ours, theirs = label_errors_in_shards(features), find_label_errors(items, torch.as_tensor(table))
    assert [(error.item.name, error.given, error.suggested, error.row) for error in ours] == [
        (error.item.name, error.given, error.suggested, error.row) for error in theirs
    ]
    assert 4 in [error.row for error in ours]
    assert ours[0].item.path.read_bytes() == theirs[0].item.path.read_bytes() != b""
    table = torch.as_tensor(table)
    near, expected = nearest_in_shards(features, features.row(7)), nearest_neighbours(table[7], table, items)
    assert [one.item.name for one in near] == [one.item.name for one in expected]
    assert [one.similarity for one in near] == pytest.approx([one.similarity for one in expected], abs=1e-6)
