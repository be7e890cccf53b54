"""Rows 13 to 30: folders, names, labels and splits as people have them."""

import os
import shutil
import sys
import time

import pytest
from PIL import Image

from data_setup import __main__ as cli
from data_setup.items import label_by_regex
from data_setup.own.labels import label_by_table
from helpers.data.dataset import ImageData
from helpers.learner import Learner
from tests.conftest import draw_pictures

NAMES = [  # of classes and files: what disks take and programs stumble over
    r"$\frac{x$",
    "$a_b$ ^ % # &",
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)<',
    "line\nbreak",
    "Bildschirmfoto 8\u202fPM",
    "\u202egnp.kcatta",
    "مرحبا עולם",
    "👩\u200d🔬 e\u0301 ﬃ",
    " blank at both ends ",
    "quote'quote`quote",
    os.fsdecode(b"bytes \xff\xfe"),
    "a" * 120,
]
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")


def picture(path, grey=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (40, 32), grey).save(path)


def small_learner(data):
    return Learner.pretrained(data, "test_resnet", pretrained=False)


@pytest.mark.fault(13)
def test_junk_beside_the_pictures_is_left_out(case, pictures, course_data):
    """Catches a class called __MACOSX, and a thumbnail file of the system taken for a damaged picture."""
    for name in ("dark/.DS_Store", "dark/Thumbs.db", "light/notes.txt", "readme.md", ".ipynb_checkpoints/a.png"):
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).write_bytes(b"junk")
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=32)
        assert len(data.items) == 24 and data.classes == ("dark", "light") and len(data.store) == 24


@POSIX
@pytest.mark.fault(14)
@pytest.mark.parametrize("kind", ["loop", "diamond", "file loop"])
def test_links_are_not_followed_in_circles(case, pictures, course_data, kind):
    """Catches twelve files that become 492 training pictures."""
    if kind == "loop":
        (pictures / "dark" / "again").symlink_to(pictures, target_is_directory=True)
    elif kind == "diamond":
        (pictures / "dark" / "copy").symlink_to(pictures / "light", target_is_directory=True)
    else:
        (pictures / "dark" / "loop.png").symlink_to(pictures / "dark" / "loop.png")
    case.watch(pictures)
    with case.right():
        assert len(ImageData.from_folders(pictures, size=32).items) == 24


@POSIX
@pytest.mark.fault(15)
def test_names_of_every_kind_train_save_load_and_come_back(case, tmp_path, course_data):
    """Catches an encoding that fails on the last file of a long training."""
    for number, name in enumerate(NAMES):
        for copy in range(3):
            picture(tmp_path / "set" / name / f"{copy} {name}.png", grey=10 + 18 * number)
    case.watch(tmp_path / "set")
    with case.right():
        data = ImageData.from_folders(tmp_path / "set", size=32)
        learn = small_learner(data)
        learn.fit(1e-3, 1)
        file = learn.save("any names")
        before = learn.predict()
        assert len(data.classes) == len(NAMES) and file.is_file()
        learn.fit(1e-3, 1)
        assert (learn.load("any names").predict() == before).all()
        shown = learn.predict_one(data.items[0].path)
        assert set(shown.probs) == set(data.classes)


@POSIX
@pytest.mark.fault(17)
@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_name_can_be_drawn(case, tmp_path, course_data, name):
    """Catches a class name that matplotlib takes for mathematics, or a letter that no font has."""
    from helpers.analysis.interpret import Interpretation
    from helpers.figures.pictures import show_batch
    from helpers.figures.results import plot_confusion

    for label in (name, "other"):
        for copy in range(3):
            picture(tmp_path / "set" / label / f"{copy} {label}.png")
    case.watch(tmp_path / "set")
    with case.right():
        data = ImageData.from_folders(tmp_path / "set", size=32)
        learn = small_learner(data)
        for drawing in (show_batch(data), plot_confusion(Interpretation.from_learner(learn))):
            assert drawing.png().startswith(b"\x89PNG") and drawing.text


@pytest.mark.fault(18)
@pytest.mark.parametrize("holds", ["nothing", "texts", "no folder"])
def test_a_folder_without_pictures_is_named_with_what_it_holds(case, tmp_path, holds):
    """Catches "'NoneType' object is not iterable"."""
    folder = tmp_path / "set"
    if holds != "no folder":
        folder.mkdir()
    if holds == "texts":
        (folder / "a.txt").write_text("x")
    case.watch(tmp_path)
    found = {"nothing": "it holds nothing", "texts": ".txt", "no folder": "no folder"}[holds]
    with case.clear(folder, found, remedy="check the path"):
        ImageData.from_folders(folder)


@pytest.mark.fault(19)
def test_an_empty_class_folder_is_an_error(case, pictures):
    """Catches a class that vanishes without a word."""
    (pictures / "cracked").mkdir()
    case.watch(pictures)
    with case.clear(pictures / "cracked", remedy="put pictures there, or delete the folder"):
        ImageData.from_folders(pictures)


@pytest.mark.fault(20)
@pytest.mark.parametrize("seed", range(20))
def test_a_class_of_one_picture_always_trains(case, pictures, course_data, seed):
    """Catches the one picture in the validation part, where no training picture has its class."""
    picture(pictures / "rare" / "only.png")
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=32, seed=seed)
        assert "rare/only.png" in data.split.train and data.classes == ("dark", "light", "rare")
        if seed == 0:
            assert len(small_learner(data).fit(1e-3, 1).epochs) == 1


@pytest.mark.fault(21)
@pytest.mark.parametrize("valid_frac", [0, 0.0, 1, -0.1, 1.5])
def test_a_split_without_a_side_is_refused(case, pictures, valid_frac):
    """Catches a training that is never checked on anything."""
    case.watch(pictures)
    with case.clear("valid_frac", valid_frac, remedy="between 0 and 1"):
        ImageData.from_folders(pictures, valid_frac=valid_frac)


@pytest.mark.fault(22)
def test_a_label_of_the_validation_part_alone_is_refused_before_training(case, tmp_path, course_data):
    """Catches a KeyError after the first epoch."""
    for part, label in (("train", "cat"), ("train", "dog"), ("valid", "cat"), ("valid", "bird")):
        for number in range(3):
            picture(tmp_path / "set" / part / label / f"{number}.png")
    case.watch(tmp_path / "set")
    with case.clear("valid/bird/0.png", "'bird'", remedy="choose from cat, dog"):
        ImageData.from_folders(tmp_path / "set", size=32)


@pytest.mark.fault(23)
def test_the_same_picture_on_both_sides_is_said(case, pictures, course_data, capsys):
    """Catches an accuracy measured on pictures that trained, without a word."""
    for part in ("train", "valid"):
        for label in ("dark", "light"):
            (pictures / part).mkdir(exist_ok=True)
            shutil.copytree(pictures / label, pictures / part / label)
    for label in ("dark", "light"):
        shutil.rmtree(pictures / label)
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=32)
        assert len(data.store) == 48
        said = capsys.readouterr().out
        assert "24 validation pictures also in training, e.g. 'valid/dark/dark_00.png'" in said


@pytest.mark.fault(20, 24)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_class_far_smaller_than_another_is_said_before_training(case, tmp_path):
    """Catches 97 % accuracy of a model that has never seen what it is for."""
    from data_setup.check.command import check_folder

    for label, n in (("good", 23), ("broken", 2)):
        for number in range(n):
            picture(tmp_path / "set" / label / f"{number}.png", grey=3 * number + 60 * (n == 2))
    case.watch(tmp_path / "set")
    with case.right():
        found = {finding.kind: finding for finding in check_folder(tmp_path / "set").findings}
        assert [one.names for one in found["imbalance"].cases] == [("broken",)]
        assert [one.names for one in found["few"].cases] == [("broken",)] and found["few"].fix


@pytest.mark.fault(25)
def test_a_pattern_that_matches_nothing_shows_names(case, pictures):
    """Catches a pattern for paths that is searched in names, and a message without an example."""
    case.watch(pictures)
    with case.clear("24 of 24", "'dark_00.png'", repr(r"^(\d+)x$"), remedy="change the pattern"):
        label_by_regex(pictures, r"^(\d+)x$")


@pytest.mark.fault(26)
def test_a_pattern_that_matches_some_counts_the_others(case, pictures):
    """Catches pictures that are left out silently."""
    case.watch(pictures)
    with case.clear("12 of 24", "'light_00.png'", remedy="change the pattern or move those files out"):
        label_by_regex(pictures, r"^(dark)_\d+")


@pytest.mark.fault(28)
@pytest.mark.parametrize("method", ["crop", "pad", "squish"])
def test_pictures_of_many_shapes_need_no_resize_step(case, pictures, course_data, method):
    """Catches a batch of unequal pictures that cannot be stacked."""
    for number, size in enumerate([(30, 80), (81, 29), (200, 200)]):
        Image.new("L", size, 90).save(pictures / "dark" / f"odd_{number}.png")
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=32, method=method)
        assert data.one_batch()[0].shape == (len(data.split.train), 3, 32, 32)


@pytest.mark.fault(29)
def test_fewer_pictures_than_a_batch_train(case, tmp_path, course_data):
    """Catches an epoch of no batches, whose loss is nan and whose accuracy is that of chance."""
    draw_pictures(tmp_path / "set", n=4)
    case.watch(tmp_path / "set")
    with case.right():
        learn = small_learner(ImageData.from_folders(tmp_path / "set", size=32, batch_size=64))
        before = [p.clone() for p in learn.model.head.parameters()]
        history = learn.fit(1e-2, 1)
        assert len(history.losses) == 1 and history.losses[0] > 0
        assert any((p != old).any() for p, old in zip(learn.model.head.parameters(), before, strict=True))


@pytest.mark.fault(30)
def test_a_batch_of_one_is_refused_with_what_works(case, pictures, course_data):
    """Catches "Expected more than 1 value per channel when training"."""
    case.watch(pictures)
    with case.clear("batch_size=1", remedy="take at least 3"):
        ImageData.from_folders(pictures, size=32, batch_size=1)


@pytest.mark.fault(30)
@pytest.mark.parametrize("batch_size", [3, 17, 18])
def test_no_picture_stands_alone_at_the_end_of_an_epoch(case, pictures, course_data, batch_size):
    """Catches a last batch of one picture, and one that is left out."""
    (pictures / "dark" / "dark_00.png").unlink()
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=32, batch_size=batch_size)
        learn = small_learner(data)
        learn.unfreeze()
        sizes = [len(batch) for batch in data.train_batches(learn.device, batch_size, 0)]
        assert min(sizes) >= 2 and sum(sizes) == len(data.split.train)
        assert len(learn.fit(1e-3, 1).epochs) == 1


TABLES = {
    "missing file": ("name,label\nnot/here.png,x\n", "not/here.png"),
    "twice": ("name,label\ndark/dark_00.png,x\ndark/dark_00.png,y\n", "dark/dark_00.png"),
    "short line": ("label,name\nx\n", "has more or fewer values than the 2 columns"),
    "no rows": ("name,label\n", "no rows"),
    "not text": (b"\xff\xfen\0a\0", "UTF-8"),
}


@pytest.mark.fault(26)
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_that_does_not_fit_is_named(case, pictures, kind):
    """Catches rows without a picture that are skipped."""
    content, names = TABLES[kind]
    table = pictures.parent / "labels.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    case.watch(pictures.parent)
    remedy = "save it as CSV, UTF-8" if kind == "not text" else ""
    with case.clear(names, remedy=remedy):
        label_by_table(table, folder=pictures)


@pytest.mark.fault(27)
def test_a_pattern_that_never_ends_gets_a_time_limit(case, pictures, monkeypatch):
    """Catches a notebook that hangs for hours on one file name."""
    for label in ("dark", "light"):
        picture(pictures / label / ("a" * 40 + "!.png"))
    case.watch(pictures)
    monkeypatch.setattr(sys.modules[label_by_regex.__module__], "SEARCH_SECONDS", 1)
    started = time.monotonic()
    with case.clear("(a+)+", remedy="take a simpler pattern"):
        label_by_regex(pictures, r"((a+)+)$")
    assert time.monotonic() - started < 20


@pytest.mark.fault(27)
@pytest.mark.parametrize("command", [["check"], ["split", "--by", "group"]], ids=["check", "split"])
def test_a_pattern_of_groups_that_never_ends_gets_a_time_limit(
    case, pictures, course_data, monkeypatch, capsys, command
):
    """Catches the one regular expression of the commands that was searched without a limit."""
    for label in ("dark", "light"):
        picture(pictures / label / ("a" * 40 + "!.png"))
    case.watch(pictures)
    monkeypatch.setattr(sys.modules[label_by_regex.__module__], "SEARCH_SECONDS", 1)
    started = time.monotonic()
    status = cli.main([command[0], str(pictures), *command[1:], "--group", r"((a+)+)$"])
    assert time.monotonic() - started < 20
    case.check_printed(status, capsys.readouterr().err, "((a+)+)$", remedy="take a simpler pattern")
