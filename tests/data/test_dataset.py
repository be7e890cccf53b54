"""`ImageData`: what its batches hold, what it refuses before an hour is lost, and what it does not do twice."""

import io
import tempfile
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_setup.base import pictures as picture_files
from data_setup.base.pictures import read_presized
from data_setup.items import Item, items_in, label_by_folder, relabel
from data_setup.own.split_file import write_split
from data_setup.splits import Split, split_stratified
from helpers.data.augment import no_augment, resize, side_on, top_down
from helpers.data.dataset import Batch, ImageData, even_batches

CPU = torch.device("cpu")
CROPS = side_on(min_scale=0.4, max_zoom=1.0)


def save_pictures(folder, *names, size=(40, 32), mode="RGB"):
    """A picture of its own colour for every name."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, (10 * number % 256,) * 3 if mode == "RGB" else 10 * number % 256).save(path)
    return folder


@pytest.fixture
def read_names(monkeypatch):
    """The names of the files decoded so far."""
    names = []
    monkeypatch.setattr(
        picture_files, "read_presized", lambda path, *how: names.append(path.name) or read_presized(path, *how)
    )
    return names


# Batches -------------------------------------------------------------------------------------------------------


def test_a_batch_is_float_0_to_1_with_a_target_per_picture(data):
    """Catches bytes or normalised values where pictures are promised, and targets of the wrong type."""
    for part, n in (("train", 6), ("valid", 6)):
        images, targets = data.one_batch(part)
        assert images.shape == (n, 3, 32, 32) and images.dtype == torch.float32
        assert images.min() >= 0 and 0.5 < images.max() <= 1
        assert targets.shape == (n,) and targets.dtype == torch.int64
    assert torch.equal(data.one_batch("train")[0], data.one_batch("train")[0])


def test_pictures_and_targets_belong_together(data):
    """Catches a shuffle of the pictures that forgets the targets: dark ones are class 0, light ones class 1."""
    for batches in (
        data.train_batches(CPU, 8, 0, 0),
        data.eval_batches(torch.arange(24), CPU, 7),
        data.with_augment(side_on(max_lighting=0, max_warp=0)).train_batches(CPU, 8, 0, 0),
    ):
        for batch in batches:
            assert torch.equal((batch.inputs.mean(dim=(1, 2, 3)) > 0.5).long(), batch.targets)


def test_an_epoch_holds_every_training_picture_once_and_none_that_judges(tmp_path, course_data):
    """Catches a dropped last batch (fastai), pictures seen twice, and validation pictures in the training."""
    names = [f"{label}/{i}.png" for label in "ab" for i in range(12)]
    data = ImageData.from_folders(save_pictures(tmp_path / "p", *names), size=16, batch_size=8)
    grey = {float(data.eval_images([i])[0, 0, 0, 0]): item.name for i, item in enumerate(data.items)}
    orders = []
    for epoch in range(2):
        batches = list(data.train_batches(CPU, 8, "seed", epoch))
        seen = [grey[float(image[0, 0, 0])] for batch in batches for image in batch.inputs]
        assert sorted(seen) == list(data.split.train)
        assert [len(batch) for batch in batches] == [6, 6, 6]
        orders.append(seen)
    assert orders[0] != orders[1]
    again = [grey[float(image[0, 0, 0])] for batch in data.train_batches(CPU, 8, "seed", 0) for image in batch.inputs]
    assert again == orders[0]


def test_the_order_of_an_epoch_does_not_depend_on_the_batch_size_or_the_global_generator(data):
    """Catches a training resumed, or run in smaller batches, that sees other pictures; a moved global generator."""
    before = torch.get_rng_state()
    runs = [torch.cat([batch.inputs for batch in data.train_batches(CPU, size, 1, 2)]) for size in (4, 18, 100)]
    assert torch.equal(runs[0], runs[1]) and torch.equal(runs[1], runs[2])
    assert torch.equal(torch.get_rng_state(), before)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 100))
def test_batches_are_even(n, batch_size):
    """Catches a last batch of one picture, on which BatchNorm fails, and batches above the size asked for."""
    batches = even_batches(torch.arange(n), batch_size)
    assert torch.equal(torch.cat(batches), torch.arange(n))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1 and len(sizes) == -(-n // batch_size)


def test_a_set_smaller_than_a_batch_gives_one_batch(data):
    """Catches "0 batches, loss nan" (fastai drops the last batch)."""
    small = data.resized(32, batch_size=500)
    assert [len(batch) for batch in small.train_batches(CPU, 500, 0)] == [18]
    assert len(small.one_batch("train")[0]) == 18 and len(small.one_batch("valid")[0]) == 6


def test_rows_come_in_the_order_asked_for(data):
    """Catches predictions in the order of the loader instead of the order of the items."""
    rows = torch.tensor([5, 5, 0, 23, 7])
    batches = list(data.eval_batches(rows, CPU, 2))
    images = torch.cat([batch.inputs for batch in batches])
    assert torch.equal(images, data.eval_images(rows.tolist()))
    assert torch.equal(images, torch.cat([data.eval_images([row]) for row in rows.tolist()]))
    assert torch.equal(torch.cat([batch.targets for batch in batches]), data.targets[rows])
    assert data.eval_images([]).shape == (0, 3, 32, 32)


def test_weights_travel_with_their_pictures(pictures, course_data):
    """Catches weights in item order beside pictures in shuffled order."""
    items = [Item(i.name, i.path, i.label, 0.25 if i.label == "dark" else 2.0) for i in label_by_folder(pictures)]
    data = ImageData.from_items(items, size=32, batch_size=8)
    for batch in data.train_batches(CPU, 8, 0):
        assert (
            torch.equal(batch.weights, torch.where(batch.targets == 0, 0.25, 2.0))
            and batch.weights.dtype == torch.float32
        )


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20])
def test_a_batch_divides_into_parts_without_loss(n):
    """Catches pictures lost when memory is short, and empty parts, whose mean loss is nan."""
    batch = Batch(torch.arange(7.0).view(7, 1), torch.arange(7), torch.arange(7.0))
    parts = batch.micro_batches(n)
    assert min(len(part) for part in parts) >= 1 and len(parts) == min(n, 7)
    for name in ("inputs", "targets", "weights"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))


# Presizing and crops -------------------------------------------------------------------------------------------


def test_training_moves_along_the_long_side_and_validation_stays_in_the_middle(tmp_path, course_data):
    """Catches a crop that is always in the middle, one that is the same each epoch, and a validation that squashes."""
    wide = np.tile(np.arange(80, dtype=np.uint8) * 3, (20, 1))
    for name in ("train/a/1.png", "train/a/2.png", "train/b/1.png", "valid/a/3.png", "valid/b/2.png"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(wide).save(tmp_path / "p" / name)
    data = ImageData.from_folders(tmp_path / "p", size=20, presize_px=20)
    lefts = []
    for epoch in range(20):
        for batch in data.train_batches(CPU, 8, epoch):
            for image in batch.inputs:
                left = round(float(image[0, 0, 0]) * 255 / 3)
                assert torch.allclose(
                    image * 255, torch.from_numpy(wide[:, left : left + 20]).float().expand(3, -1, -1)
                )
                lefts.append(left)
    assert min(lefts) < 10 and max(lefts) > 50 and len(set(lefts)) > 20
    middle = torch.from_numpy(wide[:, 30:50]).float() / 255
    assert all(torch.equal(image, middle.expand(3, -1, -1)) for image in data.eval_images(range(5)))


@pytest.mark.parametrize(("method", "spread"), [("crop", 0.0), ("pad", 0.0), ("squish", 1.0)])
def test_a_circle_stays_round_unless_it_is_squished(tmp_path, course_data, method, spread):
    """Catches crop and pad that change the aspect: a round eye is not an oval one."""
    y, x = np.mgrid[0:60, 0:120]
    circle = (((x - 60) ** 2 + (y - 30) ** 2 < 20**2) * 255).astype(np.uint8)
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(circle).save(tmp_path / "p" / name)
    data = ImageData.from_folders(tmp_path / "p", size=60, valid_frac=0.5, method=method)
    image = data.one_batch("valid")[0][0, 0]
    rows, columns = torch.nonzero(image > 0.5).unbind(1)
    height, width = (int(v.max() - v.min() + 1) for v in (rows, columns))
    if method == "pad":  # the mirrored border shows the circle again, above and below
        height = int((image[:, 30] > 0.5)[15:45].sum())
    assert abs(height / width - (1 + spread)) < 0.12


def test_pictures_kept_much_larger_than_the_model_sees_are_shrunk_smoothly(tmp_path, course_data):
    """Catches aliasing: fine stripes must turn grey, not into broad stripes."""
    stripes = np.tile(np.array([0, 255], np.uint8), (128, 64))
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stripes).save(tmp_path / "p" / name)
    data = ImageData.from_folders(tmp_path / "p", size=24, presize_px=128, augment=side_on(), valid_frac=0.5)
    assert data.store.presize_px == 128
    for part in ("train", "valid"):
        inner = data.one_batch(part)[0][:, :, 4:-4, 4:-4]
        assert inner.std() < 0.1


# Resizing ------------------------------------------------------------------------------------------------------


def test_resizing_keeps_pictures_split_and_settings_and_decodes_nothing_twice(pictures, course_data, read_names):
    """Catches a new random split at each size (pictures that validated would train), and a decoding at every size."""
    data = ImageData.from_folders(pictures, size=16, presize_px=40, augment=top_down(), batch_size=5, seed=3)
    for size in (16, 24, 32):
        data = data.resized(size)
        data.one_batch()
        data.one_batch("valid")
        assert (data.size, data.presize_px, data.batch_size, data.augment) == (size, 40, 5, top_down())
        assert data.split == split_stratified(label_by_folder(pictures), seed=3)
        assert data.one_batch()[0].shape[-1] == size
    assert Counter(read_names) == {item.path.name: 1 for item in data.items}


def test_larger_pictures_than_were_kept_are_decoded_again(data, read_names):
    """Catches an enlarged thumbnail where the file holds more detail."""
    data.one_batch()
    larger = data.resized(64)
    larger.one_batch()
    assert larger.presize_px == 80 and larger.store.presize_px == 80
    assert Counter(read_names) == {item.path.name: 2 for item in data.items}
    assert larger.items == data.items and larger.split == data.split and larger.classes == data.classes
    assert data.resized(64, batch_size=3).batch_size == 3


def test_pictures_are_decoded_once_for_all_sessions(pictures, course_data, read_names):
    """Catches a notebook that decodes the whole set at every start, and one that serves what is no longer there."""
    for _ in range(2):
        ImageData.from_folders(pictures, size=32).one_batch()
    assert len(read_names) == 24
    ImageData.from_folders(pictures, size=32).with_augment(side_on()).one_batch()
    assert len(read_names) == 24
    Image.new("RGB", (40, 32), "red").save(pictures / "dark" / "dark_00.png")
    data = ImageData.from_folders(pictures, size=32)
    red = data.eval_images([data.index_of("dark/dark_00.png")])[0]
    assert len(read_names) == 48 and red.mean(dim=(1, 2)).tolist() == pytest.approx([1, 0, 0])


def test_other_augmentation_leaves_the_first_data_as_it_was(data):
    """Catches a set_augment that changes data somebody else holds."""
    other = data.with_augment(side_on())
    assert data.augment == no_augment() and other.augment == side_on()
    assert torch.equal(data.eval_images([0, 5]), other.eval_images([0, 5]))
    assert not torch.equal(data.one_batch()[0], other.one_batch()[0])


def test_other_items_keep_their_sides_their_pixels_and_the_settings(data, read_names):
    """Catches a review after which a picture that validated trains, and pixels that no longer belong to their names."""
    data = data.with_augment(top_down())
    gone = (data.split.train[0], data.split.valid[-1])
    kept = [item for item in data.items if item.name not in gone]
    doubted = kept[3].name
    other = data.with_items(relabel(kept[::-1], {doubted: "light"}))
    assert other.split == Split(data.split.train[1:], data.split.valid[:-1])
    assert other.targets.tolist() == [int("light" in i.name or i.name == doubted) for i in other.items]
    assert (other.size, other.batch_size, other.augment, other.presize_px) == (32, 8, top_down(), 40)
    before = [data.index_of(item.name) for item in other.items]
    assert torch.equal(other.eval_images(range(22)), data.eval_images(before))
    read_names.clear()
    assert len(data.with_items(data.items).store) == 24 and read_names == []
    assert len(data.items) == 24 and other.key != data.key


def test_a_picture_changed_on_disk_is_read_again_when_items_change(data):
    """Catches old pixels filed under the key of the new picture, from where everybody would get them."""
    data.eval_images([0])
    Image.new("RGB", (40, 32), "white").save(data.items[0].path)
    assert data.with_items(data.items).eval_images([0]).min() > 0.99


@pytest.mark.parametrize("ask", [lambda data: data.resized(32, batch_size=0), lambda data: replace(data, presize_px=0)])
def test_a_nought_is_not_taken_for_nothing_asked(data, ask):
    """Catches `or`, by which 0 means the default."""
    with pytest.raises(ValueError, match=r"batch_size=0|from 0 px"):
        ask(data)


def test_items_without_a_side_are_refused_with_the_way_out(data):
    """Catches unknown pictures put on a side by chance, and a dead end for whoever removed pictures."""
    stranger = Item("dark/new.png", data.items[0].path, "dark")
    with pytest.raises(ValueError, match=r"1 of these .* not in this data, e.g. dark/new.png.*ImageData.from_items"):
        data.with_items([*data.items, stranger])
    with pytest.raises(ValueError, match="at least one picture"):
        data.with_items([])
    with pytest.raises(ValueError, match=r"data.with_items\(items\) keeps the rest of its split"):
        ImageData.from_items(data.items[1:], data.split)


def test_without_augmentation_training_sees_what_validation_sees(tmp_path, course_data):
    """Catches a hidden resampling that only training gets."""
    names = [f"{label}/{i}.png" for label in "ab" for i in range(4)]
    for i, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (30, 30), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    data = ImageData.from_folders(tmp_path, size=20, presize_px=28)
    (batch,) = data.train_batches(CPU, 8, 0)
    everything = resize(data.store.squares(data.indices_of("train")), 20)
    assert batch.inputs.sum(dim=(1, 2, 3)).sort().values.tolist() == pytest.approx(
        everything.sum(dim=(1, 2, 3)).sort().values.tolist()
    )
    assert torch.equal(batch.inputs.flatten(1).unique(dim=0), everything.flatten(1).unique(dim=0))


# Presizing tells the truth -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "presize_px"),
    [
        ({"size": 224}, 280),
        ({"size": 224, "presize_px": 460}, 460),
        ({"size": 64, "presize_px": 280}, 280),
        ({"size": 224, "augment": side_on(min_scale=0.35, max_zoom=1)}, round(224 / 0.35**0.5)),
        ({"size": 100, "augment": side_on(min_scale=0.08)}, 200),
    ],
)
def test_pixels_are_stored_at_the_size_that_is_printed(data, settings, presize_px):
    """Catches presize_px=460 that was cut from 280 px, and crops of a third of the area with too few pixels."""
    made = ImageData(data.items, data.split, **settings)
    assert made.presize_px == made.store.presize_px == presize_px
    assert made.store.squares(torch.tensor([0])).shape == (1, 3, presize_px, presize_px)
    assert str(made).endswith(f"{settings['size']} px from {presize_px} px (crop)")


def test_a_size_that_fits_into_the_decoded_pixels_is_cut_from_them(data):
    """Catches resized(400) after presize_px=460, for which the files were decoded at 500 px unasked."""
    asked = ImageData(data.items, data.split, size=20, presize_px=46)
    assert [asked.resized(size).presize_px for size in (40, 46, 48)] == [46, 46, 60]
    assert asked.resized(40).key == asked.key


def test_other_augmentation_never_changes_what_validation_sees(data, capsys):
    """Catches two augmentations compared on two different decodings, and small crops enlarged without a word."""
    before, other = data.eval_images([0, 5]), data.with_augment(side_on())
    assert capsys.readouterr().out == ""
    cropped = data.with_augment(CROPS)
    for one in (other, cropped):
        assert one.key == data.key and torch.equal(one.eval_images([0, 5]), before)
    assert capsys.readouterr().out == "note: small crops are enlarged from 40 px; make the data with presize_px=51\n"
    assert ImageData(data.items, data.split, size=32, augment=CROPS).presize_px == 51


def test_nothing_of_a_data_set_can_be_reassigned(data):
    """Catches "immutable" data that moves its store, or a caller who sets a size and gets the old batches."""
    for name in ("size", "items", "store", "batch_size", "classes"):
        with pytest.raises(AttributeError):
            setattr(data, name, 1)
    before = vars(data).copy()
    list(data.eval_batches(torch.arange(4), CPU, 2))
    assert all(vars(data)[name] is value for name, value in before.items())


def test_files_from_elsewhere_are_presized_as_the_store_is(tmp_path, course_data):
    """Catches a second rule for presizing in predictions and exports."""
    save_pictures(tmp_path / "p", *(f"{label}/{i}.png" for label in "ab" for i in range(4)), size=(90, 60))
    for changes in ({"method": "crop"}, {"method": "pad"}, {"method": "squish"}, {"presize_px": 55}):
        data = ImageData.from_folders(tmp_path / "p", size=24, **changes)
        squares = data.read_squares([item.path for item in data.items])
        assert torch.equal(squares, data.store.squares(torch.arange(8)))


@pytest.mark.parametrize(
    ("name", "line"),
    [("c", "len.data.classes."), ("show_batch", "show_batch.data."), ("vocab", "data.classes")],
)
def test_an_attribute_of_the_lectures_says_the_line_that_does_it_here(data, name, line):
    """Catches a bare AttributeError for whoever types a line of the notes."""
    with pytest.raises(AttributeError, match=f"ImageData has no '{name}'; here it is: {line}"):
        getattr(data, name)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("from_folder", "ImageData.from_folders.folder."),
        ("from_csv", "ImageData.from_table.table, folder=folder."),
        ("from_tables", "^ImageData has no 'from_tables'; did you mean 'from_table'"),
    ],
)
def test_a_way_to_make_data_in_the_lectures_says_the_line_that_does_it_here(name, line):
    """Catches "type object 'ImageData' has no attribute", which leaves a reader of the notes without a way on."""
    with pytest.raises(AttributeError, match=line):
        getattr(ImageData, name)


@pytest.mark.parametrize(
    ("word", "here"), [("bs", "batch_size"), ("sz", "size"), ("tfms", "augment"), ("valid_pct", "valid_frac")]
)
def test_a_keyword_of_the_lectures_is_translated(pictures, word, here):
    """Catches a TypeError that does not say what the keyword is called here."""
    with pytest.raises(TypeError, match=f"from_folders.. has no keyword '{word}'; here it is called '{here}'"):
        ImageData.from_folders(pictures, **{word: 1})


# Ways to make one ----------------------------------------------------------------------------------------------


def test_train_valid_and_test_folders_are_the_split(tmp_path, course_data):
    """Catches a random split over a set that brings its own, and pictures beside it that train nevertheless."""
    names = [
        "train/a/1.png",
        "train/a/2.png",
        "train/b/3.png",
        "val/a/4.png",
        "val/b/5.png",
        "test/6.png",
        "test/7.png",
    ]
    save_pictures(tmp_path, *names, "sample/train/c/8.png", "test1/9.png")
    data = ImageData.from_folders(tmp_path, size=16)
    assert data.split == Split(tuple(names[:3]), tuple(names[3:5]), tuple(names[5:]))
    assert data.classes == ("a", "b") and len(data.items) == 7
    assert data.targets[data.indices_of("test")].tolist() == [-1, -1]
    assert str(data).startswith("ImageData: 3 train, 2 valid, 2 test; 2 classes (a, b); 16 px from 20 px (crop)")
    images, targets = data.one_batch("test")
    assert images.shape == (2, 3, 16, 16) and targets.tolist() == [-1, -1]


@pytest.mark.parametrize("layout", ["", "train/"])
def test_a_test_folder_with_labels_is_never_trained_on(tmp_path, layout):
    """Catches test pictures that a random split moves into the training."""
    names = [f"{layout}{label}/{i}.png" for label in "ab" for i in range(8)]
    save_pictures(tmp_path, *names, "test/a/x.png", "test/b/y.png")
    data = ImageData.from_folders(tmp_path, size=16)
    assert data.split.test == ("test/a/x.png", "test/b/y.png")
    assert data.targets[data.indices_of("test")].tolist() == [0, 1]
    assert len(data.split.valid) == 4 and not set(names) - {*data.split.train, *data.split.valid}


def test_names_tables_and_functions_label_too(pictures, tmp_path):
    """Catches a door that loses a setting on the way."""
    table = tmp_path / "labels.csv"
    rows = [f"{item.name},{item.label}" for item in label_by_folder(pictures)]
    table.write_text("\n".join(["file,kind", *rows]))
    shared = {"size": 16, "batch_size": 4, "presize_px": 24, "method": "squish", "augment": side_on()}
    doors = [
        ImageData.from_folders(pictures, valid_frac=0.5, seed=2, **shared),
        ImageData.from_name_re(pictures, r"^(dark|light)_\d+", valid_frac=0.5, seed=2, **shared),
        ImageData.from_table(
            table,
            folder=pictures,
            name_column="file",
            label_column="kind",
            valid_frac=0.5,
            seed=2,
            **shared,
        ),
        ImageData.from_items(items_in(pictures, lambda name: name.split("/")[0]), valid_frac=0.5, seed=2, **shared),
    ]
    for data in doors:
        assert data.split == doors[0].split and data.targets.tolist() == doors[0].targets.tolist()
        assert repr(data) == "ImageData: 12 train, 12 valid; 2 classes (dark, light); 16 px from 24 px (squish)"
        assert data.augment == side_on() and data.batch_size == 4


def test_a_misspelt_setting_is_named_at_every_door(pictures, data):
    """Catches from_folders(batchsize=64) that goes on with 32."""
    for wrong, meant in (("batchsize", "batch_size"), ("valid_fraction", "valid_frac"), ("agument", "augment")):
        with pytest.raises(
            TypeError, match=f"ImageData.from_folders.. has no keyword '{wrong}'; did you mean '{meant}'"
        ):
            ImageData.from_folders(pictures, **{wrong: 1})
    with pytest.raises(TypeError, match=r"ImageData.resized.. has no keyword 'bs'"):
        data.resized(64, bs=3)


# What is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "valid", "settings", "message"),
    [
        ("a b wolf", "3", {}, "3 is labelled 'wolf', a class no training picture has; choose from a, b"),
        ("a b -", "3", {}, "the valid part takes labelled pictures; found 1 without a label, e.g. 3"),
        ("a b - a", "4", {}, "the train part takes labelled pictures; found 1 without a label, e.g. 3"),
        ("a b", "", {}, "the valid part takes labelled pictures; found none"),
        ("a b", "1 2", {}, "the train part takes labelled pictures; found none"),
        ("a a a", "3", {}, "there is nothing to tell apart: all training pictures are labelled 'a'"),
        ("a b a", "3 gone", {}, "the split names 1 pictures that are not among the items, e.g. gone"),
        ("a b a", "3", {"batch_size": 1}, "batch_size=1 leaves one of the 2 training pictures alone in a batch"),
        ("a b a b", "3", {"batch_size": 2}, "where BatchNorm cannot train; take at least 3"),
        ("a b a", "3", {"batch_size": 0}, "batch_size=0"),
        ("a b a", "3", {"method": "stretch"}, "method is one of crop, pad, squish; got 'stretch'"),
        (
            "a b a",
            "3",
            {"presize_px": 100},
            "pictures of 128 px cannot be cut from 100 px: presize_px is at",
        ),
        ("a b a", "3", {"size": 0}, "pictures of 0 px cannot"),
    ],
)
def test_what_cannot_train_is_refused_before_it_starts(labels, valid, settings, message):
    """Catches a KeyError after the first epoch, a target of -1 in the loss, a BatchNorm of one picture."""
    labels = enumerate(labels.split(), start=1)
    items = [Item(f"{i}", Path(f"{i}"), None if label == "-" else label) for i, label in labels]
    train = {item.name for item in items} - set(valid.split())
    with pytest.raises(ValueError, match=message):
        ImageData(items, Split(tuple(train), tuple(valid.split())), **settings)


def test_unknown_parts_and_names_say_what_there_is(data):
    """Catches a bare KeyError."""
    with pytest.raises(ValueError, match="part is one of train, valid, test; got 'validation'"):
        data.one_batch("validation")
    with pytest.raises(KeyError, match="no picture is called 'dark/dark_1.png'; did you mean 'dark/dark_1"):
        data.index_of("dark/dark_1.png")
    with pytest.raises(ValueError, match="there are no pictures here: this part of the data is empty"):
        data.one_batch("test")
    assert data.items[data.index_of("light/light_03.png")].name == "light/light_03.png"


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "B", "b", "train", "test", "猫"]), st.integers(0, 5), max_size=6),
    st.sampled_from(["", "train/", "train/+valid/", "valid/"]),
    st.booleans(),
)
def test_any_tree_either_loads_whole_or_is_refused_with_words(classes, layout, junk):
    """Catches a tree that loads with a class missing, or fails with an error about lists."""
    png = io.BytesIO()
    Image.new("L", (8, 8)).save(png, "PNG")
    with tempfile.TemporaryDirectory() as name, redirect_stdout(io.StringIO()):
        root = Path(name)
        for part in layout.split("+"):
            for label, n in classes.items():
                folder = root / part / label
                folder.mkdir(parents=True)
                for i in range(n):
                    (folder / f"{i}.png").write_bytes(png.getvalue())
                if junk:
                    (folder / "notes.txt").write_text("x")
        try:
            data = ImageData.from_folders(root, size=8)
        except (ValueError, FileNotFoundError) as error:
            words = str(error)
            fit = str(root) in words or any(f"{label!r}" in words or f"{label}/" in words for label in classes)
            assert fit or any(word in words for word in ("train on", "batch_size", "split by folder", "test part"))
            return
        everything = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
        assert [item.name for item in data.items] == everything
        assert sorted(data.split.train + data.split.valid + data.split.test) == everything
        assert not {name for name in data.split.train + data.split.valid if name.startswith("test/")}
        assert min(classes.values()) > 0 and len(data.classes) >= 2
        train = {data.items[row].label for row in data.indices_of("train").tolist()}
        assert train == set(data.classes) and len(data.indices_of("valid")) > 0
        for row in [*data.indices_of("train").tolist(), *data.indices_of("valid").tolist()]:
            assert data.classes[data.targets[row]] == data.items[row].label


# Looking -------------------------------------------------------------------------------------------------------


def test_a_split_in_the_folder_holds_however_pictures_are_labelled(pictures):
    """Catches a split by patient that is passed over, because the labels come from a table or from names."""
    data = ImageData.from_name_re(pictures, r"^(dark|light)_\d+", valid_frac=0.5, seed=2, size=32)
    write_split(data.split, pictures / "split.json", how="by hand")
    names = [f"{item.name},{item.label}" for item in data.items]
    (pictures / "labels.csv").write_text("\n".join(["name,label", *names]))
    for again in (
        ImageData.from_name_re(pictures, r"^(dark|light)_\d+", size=32),
        ImageData.from_table(pictures / "labels.csv", folder=pictures, size=32),
    ):
        assert again.split == data.split
    other = split_stratified(data.items, seed=5)
    assert ImageData.from_name_re(pictures, r"^(dark|light)_\d+", split=other, size=32).split == other
