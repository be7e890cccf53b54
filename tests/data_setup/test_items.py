"""Finding and labelling pictures: what is a picture, what is its label, and what is never dropped in silence."""

import os
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from data_setup.items import (
    Item,
    check_items,
    class_names,
    find_images,
    is_picture,
    items_in,
    label_by_folder,
    label_by_regex,
    relabel,
)
from data_setup.own.labels import label_by_table

PNG = b"\x89PNG\r\n\x1a\n"  # enough to be taken for a picture: nothing here decodes


def tree(folder, *names, content=PNG):
    """Make a file below `folder` for every name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def labels_of(items):
    return {item.name: item.label for item in items}


# Finding -------------------------------------------------------------------------------------------------------


def test_pictures_come_sorted_whatever_the_disk_says(tmp_path, monkeypatch):
    """Catches the order of the file system in the order of the items (fastai's list is not sorted)."""
    tree(tmp_path, "b/1.png", "a/10.png", "a/2.png", "a.b/1.png", "c.png")
    expected = ["a.b/1.png", "a/10.png", "a/2.png", "b/1.png", "c.png"]
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == expected
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(listing(self), reverse=True))
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == expected


READERS = {
    "find_images": lambda folder: [path.relative_to(folder).as_posix() for path in find_images(folder)],
    "label_by_folder": lambda folder: list(labels_of(label_by_folder(folder))),
    "label_by_regex": lambda folder: list(labels_of(label_by_regex(folder, r"(.)\.png"))),
    "label_by_table": lambda folder: list(labels_of(label_by_table(folder / "labels.csv", folder=folder))),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("sealed", ["test", "valid/a", "nested/deep"])
def test_a_sealed_folder_is_left_out_by_every_reader_and_said(tmp_path, capsys, reader, sealed):
    """Catches a test part that slips into training by one of the ways to read a folder."""
    seen, hidden = ["train/a/1.png", "train/b/2.png"], [f"{sealed}/a/3.png", f"{sealed}/b/4.png"]
    tree(tmp_path, *seen, *hidden)
    (tmp_path / "labels.csv").write_text("name,label\n" + "".join(f"{name},x\n" for name in seen + hidden))
    (tmp_path / sealed / "SEALED.txt").write_text("ask Kim\nfirst")
    assert READERS[reader](tmp_path) == seen
    assert capsys.readouterr().out == f"{sealed}/ is sealed: 2 photographs left out; ask Kim\n"


def test_a_sealed_folder_opens_when_it_is_named_and_that_is_said(tmp_path, capsys):
    """Catches a seal that cannot be opened, one that opens silently, and one above the folder asked for."""
    tree(tmp_path, "test/a/3.png", "test/b/4.png")
    (tmp_path / "test" / "SEALED.txt").touch()
    assert len(label_by_folder(tmp_path / "test")) == 2
    assert capsys.readouterr().out == "test/ is sealed, and this opens it\n"
    tree(tmp_path, "test/deep/a/5.png", "test/deep/b/6.png")
    assert len(label_by_folder(tmp_path / "test" / "deep")) == 2
    assert capsys.readouterr().out == "test/ is sealed, and this opens it\n", "a folder inside is opened, too"


def test_a_sealed_folder_beside_class_folders_is_no_empty_class(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png", "test/3.png")
    (tmp_path / "test" / "SEALED.txt").touch()
    assert labels_of(label_by_folder(tmp_path)) == {"a/1.png": "a", "b/2.png": "b"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"\xff\xd8\xff\xe0", True),  # a JPEG by its bytes
        ("a", b"GIF89a....", True),
        ("a.dat", b"RIFF\x00\x00\x00\x00WEBP", True),
        ("a.wav", b"RIFF\x00\x00\x00\x00WAVE", False),
        ("a.dat", b"BM\x00\x01\x00\x00\x00\x00\x00\x00\x36\x00", True),
        ("notes.txt", b"BMW and other words", False),
        ("a.JPG", b"not a picture", True),  # it claims to be one: reading it will complain
        ("a.jpeg", b"", True),
        ("labels.csv", b"name,label\n", False),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0", False),
    ],
)
def test_a_picture_is_known_by_its_first_bytes_or_by_its_name(tmp_path, name, content, expected):
    """Catches renamed pictures that are skipped, and text taken for a bitmap because it begins with BM."""
    path = tmp_path / name
    path.write_bytes(content)
    assert is_picture(path) is expected


def test_junk_is_left_out_without_a_word(tmp_path, capsys):
    """Catches hidden files, checkpoints and tables counted as pictures, or reported every time."""
    junk = [
        ".DS_Store",
        ".hidden.png",
        ".ipynb_checkpoints/1-checkpoint.png",
        "a/Thumbs.db",
        "labels.csv",
        "a/notes.txt",
    ]
    tree(tmp_path, *junk, content=b"junk")
    tree(tmp_path, "a/1.png", ".git/2.png")
    assert find_images(tmp_path) == [tmp_path / "a/1.png"]
    assert capsys.readouterr().out == ""


def test_pictures_in_formats_that_are_not_read_are_reported(tmp_path, capsys):
    """Catches a phone's HEIC photographs that vanish in silence; a PNG that is only called .tif is read."""
    tree(tmp_path, "a/1.png", "a/2.tif")
    tree(tmp_path, "a/3.heic", "a/4.HEIC", "a/5.avif", content=b"\x00\x00\x00\x18ftypheic")
    assert [path.name for path in find_images(tmp_path)] == ["1.png", "2.tif"]
    assert "note: 3 files left out (.HEIC, .avif, .heic); only JPEG, PNG" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """Catches "'NoneType' object is not iterable"."""
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path}/cats; check the path, or run `python -m data_s"):
        find_images(tmp_path / "cats")


def test_a_folder_without_pictures_says_what_it_holds(tmp_path):
    """Catches an error that leaves a person looking for a typing mistake where the format is wrong."""
    with pytest.raises(FileNotFoundError, match=f"no picture .JPEG.* below {tmp_path}; it holds nothing"):
        find_images(tmp_path)
    tree(tmp_path, "1.jp2", "2.jp2", "README", content=b"x")
    with pytest.raises(FileNotFoundError, match="it holds .jp2, README"):
        find_images(tmp_path)


def test_a_broken_link_is_counted(tmp_path, capsys):
    """Catches photographs that vanish without a word because the disk they are linked to is not mounted."""
    tree(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert [path.name for path in find_images(tmp_path)] == ["1.png", "2.png"]
    assert capsys.readouterr().out == "note: 1 broken link left out, e.g. 'dog/gone.png'\n"


def test_links_to_folders_are_not_followed(tmp_path):
    """Catches a loop of links that turns 12 pictures into 492 (fastai, torchvision)."""
    tree(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "cat" / "loop").symlink_to(tmp_path)
    (tmp_path / "dog" / "self").symlink_to(tmp_path / "dog")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert labels_of(label_by_folder(tmp_path)) == {"cat/1.png": "cat", "dog/2.png": "dog"}


# Labels from folders -------------------------------------------------------------------------------------------


def test_a_label_is_the_name_of_the_pictures_own_folder(tmp_path):
    """Catches the part (train) or an outer folder taken as the class."""
    tree(tmp_path, "train/cat/1.png", "train/dog/1.png", "valid/cat/2.png", "valid/dog/tiny/2.png", "test/9.png")
    assert labels_of(label_by_folder(tmp_path)) == {
        "train/cat/1.png": "cat",
        "train/dog/1.png": "dog",
        "valid/cat/2.png": "cat",
        "valid/dog/tiny/2.png": "tiny",
        "test/9.png": None,
    }


def test_a_test_folder_with_class_folders_keeps_its_labels(tmp_path):
    """Catches a test accuracy that cannot be computed because the labels were thrown away."""
    tree(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/3.png", "test/dog/4.png")
    assert labels_of(label_by_folder(tmp_path))["test/dog/4.png"] == "dog"


@pytest.mark.parametrize(
    "names", [["cat/1.png", "2.png"], ["train/cat/1.png", "train/2.png"], ["train/1.png", "val/2.png"]]
)
def test_a_picture_outside_a_class_folder_is_an_error_with_a_fix(tmp_path, names):
    """Catches a class called "train", and a picture labelled with the name of the data set's folder."""
    tree(tmp_path, *names)
    with pytest.raises(
        ValueError, match="png lies directly in .*: put pictures into one folder per class, or label them"
    ):
        label_by_folder(tmp_path)


def test_train_can_be_a_class_of_its_own(tmp_path):
    """Catches a data set of vehicles in which the trains are taken for the training part."""
    tree(tmp_path, "car/1.png", "train/2.png")
    assert class_names(label_by_folder(tmp_path)) == ("car", "train")


@pytest.mark.parametrize("parts", ["", "train/", "valid/"])
@pytest.mark.parametrize(("junk", "held"), [([], "nothing"), (["photo.heic", "x.txt"], ".heic, .txt")])
def test_an_empty_class_folder_is_reported(tmp_path, parts, junk, held):
    """Catches a class that is dropped in silence because its pictures are missing or of another format."""
    for part in ("train/", "valid/") if parts else ("",):
        tree(tmp_path / part, "a/1.png", "b/1.png")
    (tmp_path / parts / "cats").mkdir()
    tree(tmp_path / parts / "cats", *junk, content=b"x")
    message = f"the class folder {tmp_path / parts / 'cats'} holds no picture .{held}.: put pictures there, or delete"
    with pytest.raises(ValueError, match=message):
        label_by_folder(tmp_path)


def test_a_linked_class_folder_is_reported_too(tmp_path):
    """Catches a class that vanishes because its folder is a link."""
    tree(tmp_path / "elsewhere", "1.png")
    tree(tmp_path / "set", "a/1.png", "b/1.png")
    (tmp_path / "set" / "c").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="set/c holds no picture .is a link, which is not followed.: "):
        label_by_folder(tmp_path / "set")


def test_folders_that_are_no_classes_may_be_empty(tmp_path):
    """Catches an error over what an unpacked archive, a notebook or a tool leaves beside the classes."""
    tree(tmp_path, "train/a/1.png", "train/b/1.png", "valid/a/2.png", "valid/b/2.png")
    for name in ("models", "train/.ipynb_checkpoints", "train/__MACOSX", "valid/a/inner"):
        (tmp_path / name).mkdir()
    assert len(label_by_folder(tmp_path)) == 4


# Names ---------------------------------------------------------------------------------------------------------


def test_names_of_every_kind_survive(tmp_path):
    """Catches code that quotes, splits or encodes file names by hand."""
    names = ["猫/写真 1.png", 'a b/it\'s <b>"x".png', "a b/new\nline.png", "$x_1$/%s {0}.png"]
    tree(tmp_path, *names)
    items = label_by_folder(tmp_path)
    assert sorted(labels_of(items)) == sorted(names)
    assert {item.label for item in items} == {"猫", "a b", "$x_1$"}
    assert all(item.path.read_bytes() == PNG for item in items)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_survive(tmp_path):
    """Catches an encoding error over a file name from an old archive."""
    name = os.fsdecode(b"a/\xff\xfe.png")
    tree(tmp_path, name, "b/1.png")
    assert labels_of(label_by_folder(tmp_path)) == {name: "a", "b/1.png": "b"}


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems cannot hold both")
def test_one_label_typed_in_two_unicode_forms_is_one_class(tmp_path):
    """Catches a second class "café" in a set that was copied from a Mac to Linux."""
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    tree(tmp_path, f"train/{composed}/1.png", f"valid/{decomposed}/2.png", "train/tea/3.png")
    items = label_by_folder(tmp_path)
    assert class_names(items) == (composed, "tea")
    assert [item.path.is_file() for item in items] == [True] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems cannot hold both")
def test_names_that_differ_only_in_case_are_reported_and_kept(tmp_path, capsys):
    """Catches classes Cat and cat trained as two, and files that overwrite each other on the next machine, unsaid."""
    tree(tmp_path, "Cat/1.png", "cat/2.png", "dog/a.png", "dog/A.png")
    assert class_names(label_by_folder(tmp_path)) == ("Cat", "cat", "dog")
    run_cli = capsys.readouterr().out.splitlines()
    assert run_cli == [
        "note: 1 class named almost like another, e.g. 'Cat' and 'cat': are both meant?",
        "note: 1 picture named almost like another, e.g. 'dog/A.png' and 'dog/a.png': are both meant?",
    ]


# Labels from names ---------------------------------------------------------------------------------------------


def test_a_regex_labels_by_the_files_own_name(tmp_path):
    """Catches a pattern applied to the whole path (so that a folder's name decides), or only to its beginning."""
    tree(tmp_path, "cat/mono_dog_1.png", "dog/poly_cat_2.png")
    items = label_by_regex(tmp_path, r"_(cat|dog)_\d+\.png$")
    assert labels_of(items) == {"cat/mono_dog_1.png": "dog", "dog/poly_cat_2.png": "cat"}


def test_the_pattern_of_fastai_v1_with_its_slash_works(tmp_path):
    """Catches a line of the lectures that matches nothing because the slash before the name is missing here."""
    tree(tmp_path, "great_dane_1.jpg", "x/Maine_Coon_22.jpg")
    items = label_by_regex(tmp_path, r"/([^/]+)_\d+.jpg$")
    assert [item.label for item in items] == ["great_dane", "Maine_Coon"]


@pytest.mark.parametrize(("pattern", "count"), [(r"^(wolf)", 3), (r"^(cat)", 1), (r"^(cat)?", 1), (r"^(cat|)", 1)])
def test_names_that_do_not_match_are_counted_and_shown(tmp_path, pattern, count):
    """Catches pictures that are skipped, or unlabelled and moved to the test part, because a pattern misses them."""
    tree(tmp_path, "cat_1.png", "cat_2.png", "x/dog.png")
    message = rf"does not match {count} of 3 file names, e.g. .*'dog.png'; change the pattern or move"
    with pytest.raises(ValueError, match=message):
        label_by_regex(tmp_path, pattern)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("cat", "'cat' has no group: put . . around the part that is the label"),
        ("(cat", r"'\(cat' is not a valid regular expression: missing \)"),
    ],
)
def test_a_pattern_that_cannot_work_says_why(tmp_path, pattern, message):
    """Catches "no such group" and re.error, which do not name the pattern."""
    tree(tmp_path, "cat.png")
    with pytest.raises(ValueError, match=message):
        label_by_regex(tmp_path, pattern)


def test_any_function_can_label(tmp_path):
    """Catches a function that gets the path on this machine instead of the picture's name."""
    tree(tmp_path, "1.png", "x/22.png")
    assert labels_of(items_in(tmp_path, lambda name: str(len(name)))) == {"1.png": "5", "x/22.png": "8"}


# Labels from a table -------------------------------------------------------------------------------------------


def write_table(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_a_table_gives_labels(tmp_path):
    """Catches rows paired with the wrong file, and quoted commas."""
    tree(tmp_path, "b.png", "a, x.png", "c.png", "not in the table.png")
    table = write_table(tmp_path / "t.csv", 'file,kind\nb.png,poly\n"a, x.png",mono\nc.png,\n')
    items = label_by_table(table, folder=tmp_path, name_column="file", label_column="kind")
    assert items == (
        Item("a, x.png", tmp_path / "a, x.png", "mono"),
        Item("b.png", tmp_path / "b.png", "poly"),
        Item("c.png", tmp_path / "c.png", None),
    )


def test_the_mark_a_spreadsheet_puts_first_is_no_part_of_the_first_column(tmp_path):
    """Catches "has no column 'name'; there is name" for every table saved by Excel."""
    tree(tmp_path, "é.png")
    table = write_table(tmp_path / "t.csv", "name,label\r\né.png,käfer\r\n", "utf-8-sig")
    assert labels_of(label_by_table(table, folder=tmp_path)) == {"é.png": "käfer"}


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("name,lable\na.png,x\n", {"label_column": "label"}, "t.csv has no column 'label'; did you mean 'lable'"),
        ("file,label\na.png,x\n", {"name_column": "name"}, "t.csv has no column 'name'; choose from file, label"),
        ("", {}, "t.csv is empty"),
        ("name,label\n", {}, "t.csv has a header but no rows"),
        (
            "name,label\na.png,x\nb.png,x\nc.png,x\n",
            {},
            "t.csv names 2 files that are not below .*, e.g. 'b.png', 'c.png'",
        ),
        ("name,label\n,x\n", {}, "names 1 files that are not below .*, e.g. ''"),
        ("name,label\na.png,x\na.png,y\n", {}, "the name 'a.png' appears more than once"),
    ],
)
def test_a_table_that_does_not_fit_is_named_with_the_place(tmp_path, text, settings, message):
    """Catches a KeyError without the table's name, and rows that are dropped or counted twice."""
    tree(tmp_path, "a.png")
    table = write_table(tmp_path / "t.csv", text)
    with pytest.raises(ValueError, match=message):
        label_by_table(table, folder=tmp_path, **settings)


def test_a_table_in_another_encoding_says_how_to_save_it(tmp_path):
    """Catches a UnicodeDecodeError that does not name the file."""
    table = write_table(tmp_path / "t.csv", "name,label\nä.png,x\n", "latin-1")
    with pytest.raises(ValueError, match="t.csv is not a table in UTF-8 .*: save it as CSV, UTF-8"):
        label_by_table(table, folder=tmp_path)


# Items as data -------------------------------------------------------------------------------------------------


def test_relabelling_changes_labels_and_nothing_else():
    """Catches a relabel that writes to its argument, loses weights or reorders."""
    items = (Item("a", Path("a"), "x", 0.5), Item("b", Path("b"), "x"), Item("c", Path("c"), None))
    new = relabel(items, {"a": "y", "c": "z", "b": None})
    assert [item.label for item in items] == ["x", "x", None]
    assert new == (Item("a", Path("a"), "y", 0.5), Item("b", Path("b"), None), Item("c", Path("c"), "z"))


def test_relabelling_a_name_that_is_not_there_is_an_error():
    """Catches a correction that is lost because of a typing mistake."""
    with pytest.raises(KeyError, match="no item is called 'cat_01'; did you mean 'cat_1'?"):
        relabel([Item("cat_1", Path("a"), "x")], {"cat_01": "y"})


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no items: a data set needs at least one picture"),
        ([Item("a", Path("a"), 3)], r"a is labelled 3; a label is text, or None: label=str\("),
        ([Item("a", Path("a"), "x", float("inf"))], "a has weight inf; a weight is a number of at least 0"),
        ([Item("a", Path("a"), "x", -1.0)], "a has weight -1.0"),
        (
            [Item("a", Path("a"), "x"), Item("b", Path("b"), "y"), Item("a", Path("c"), "z")],
            "'a' appears more than once",
        ),
    ],
)
def test_items_that_cannot_be_data_are_refused(items, message):
    """Catches numbers as labels (they sort and save differently), and two pictures under one key."""
    with pytest.raises(ValueError, match=message):
        check_items(items)


def test_the_vocabulary_is_sorted_and_knows_nothing_of_missing_labels():
    """Catches classes in order of appearance: the same model would number them differently tomorrow."""
    items = [Item(str(i), Path("x"), label) for i, label in enumerate(["b", None, "a", "C", "b"])]
    assert class_names(items) == ("C", "a", "b")
    assert Counter(map(type, class_names(items))) == {str: 3}


def test_something_else_than_items_is_named():
    """Catches "'str' object has no attribute 'name'" for a folder given to `ImageData` itself."""
    with pytest.raises(TypeError, match=r"expected items, got str 'p'; for a folder: ImageData.from_folders"):
        check_items("photos"[:1])
