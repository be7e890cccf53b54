"""Labels as people have them: tables with any columns, text files, folders; and several labels, which are refused."""

import re

import numpy as np
import pytest
from PIL import Image

from data_setup.items import Item
from data_setup.own.labels import label_by_table, label_by_text_file, labelled, path_below


@pytest.fixture
def folder(tmp_path):
    """a/1.png ... a/6.png: six small pictures."""
    (tmp_path / "a").mkdir()
    for number in range(1, 7):
        Image.fromarray(np.full((4, 4), 40 * number, np.uint8)).save(tmp_path / "a" / f"{number}.png")
    return tmp_path


def table(folder, text):
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return folder / "t.csv"


def labels_of(items):
    return {item.name: item.label for item in items}


SIX = {f"a/{number}.png": ("cat", "dog")[number % 2] for number in range(1, 7)}


@pytest.mark.parametrize(
    ("row", "header"),
    [
        ("a/{n}.png,{label}", "name,label"),
        ("{label},./a/{n}.png", "animal,where it is"),
        ("{n}.png,{label},2024", "file,class,year"),
        ("{n},{label},0.{n}3", "image_id,animal,brightness"),
        ("a\\{n}.png;{label}", "pfad;art"),
        ("{n},{folder}/a/{n}.png,{label}", "number,path,diagnosis"),
    ],
)
def test_columns_are_found_by_what_they_hold(folder, capsys, row, header):
    """Catches a guess by position, a number taken for a path, and paths as Windows or another folder writes them."""
    rows = [row.format(n=name[2], label=label, folder=folder.name) for name, label in SIX.items()]
    items = label_by_table(table(folder, "\n".join([header, *rows, ""])), folder=folder)
    assert labels_of(items) == SIX
    said = capsys.readouterr().out
    assert (said == "") == (header == "name,label")  # what was guessed is said
    assert header == "name,label" or re.match("t.csv: pictures from column '.*', labels from column '.*'", said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x,y\n1,cat\n1,dog\n",
            "the name 'a/1.png' appears more than once, labelled cat and dog; this course is",
        ),
        (
            "x,y\n1,cat;dog\n2,cat\n3,dog\n4,dog\n",
            "a/1.png is labelled 'cat;dog', which is several labels; this c",
        ),
        ("x,y\n1,cat | dog\n2,dog|owl\n3,dog|owl\n4,cat | dog\n", "labelled 'cat | dog', which is several"),
        (
            "x,cat,dog,owl\n1,1,1,0\n2,0,0,1\n3,0,0,0\n",
            "yes or no for each of cat, dog and owl, and 1 picture with",
        ),
        ("x,p,q\n1,cat,m\n2,cat,m\n3,dog,n\n4,dog,n\n", "which column of .*t.csv is the label.*choose from p, q"),
        ("x,y\nm,cat\nn,cat\n", "no column of .*t.csv names pictures that are there .x, y.: pass name_column="),
        ("x,y,y2\n1,cat\n", "row 1 of .*t.csv has more or fewer values than the 3 columns"),
        ("", "t.csv is empty"),
        ("x,label,weight\n1,cat,heavy\n", "t.csv, a/1.png, weight: expected a number, got 'heavy'"),
    ],
)
def test_a_table_that_cannot_be_understood_says_what_to_do(folder, text, message):
    with pytest.raises(ValueError, match=message):
        label_by_table(table(folder, text), folder=folder)


def test_a_class_whose_name_holds_a_semicolon_is_a_class(folder):
    items = label_by_table(table(folder, 'x;label\n1;"cat;wild"\n2;"cat;wild"\n3;dog\n'), folder=folder)
    assert [item.label for item in items] == ["cat;wild", "cat;wild", "dog"]


def test_soft_labels_give_the_largest_and_how_large_it_is(folder, capsys):
    """Ones and zeros, too; a weight column counts besides."""
    items = label_by_table(table(folder, "id,cat,dog,weight\n1,0.75,0.25,1\n2,0.4,0.6,2\n3,0,1,1\n"), folder=folder)
    assert [(item.label, item.weight) for item in items] == [("cat", 0.75), ("dog", 1.2), ("dog", 1.0)]
    printed = capsys.readouterr().out
    assert "labels from the largest of cat and dog, which is also the weight" in printed
    assert "t.csv: a picture counts as its 'weight' says; rename it if it is no weight" in printed


def test_a_text_file_beside_each_picture(folder):
    for name, label in SIX.items():
        (folder / name).with_suffix(".txt").write_text(f"{label}\n\n", encoding="utf-8")
    assert labels_of(label_by_text_file(folder)) == SIX
    (folder / "a/2.txt").write_text("")
    assert labels_of(label_by_text_file(folder))["a/2.png"] is None
    (folder / "a/2.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match="a/2.png is labelled 'cat;dog', which is several labels"):
        label_by_text_file(folder)
    (folder / "a/2.txt").write_text("0 0.51 0.5 0.25 0.3\n")
    with pytest.raises(ValueError, match="2.txt holds boxes, for object detection"):
        label_by_text_file(folder)
    (folder / "a/2.txt").unlink()
    with pytest.raises(ValueError, match="1 picture without a text file of the same name, e.g. a/2.png"):
        label_by_text_file(folder)


def test_a_folder_as_it_comes(folder):
    """Folders first; in one folder of everything text files, then the only table; else a question."""
    flat = folder / "a"
    assert set(labels_of(labelled(folder)).values()) == {"a"}
    with pytest.raises(ValueError, match="all pictures lie in one folder, .*there is no table either: say where"):
        labelled(flat)
    (flat / "any.csv").write_text("n,l\n1,cat\n2,cat\n3,dog\n4,dog\n", encoding="utf-8")
    assert [item.label for item in labelled(flat)] == ["cat", "cat", "dog", "dog"]
    assert labelled(flat, "any.csv") == labelled(flat, str(flat / "any.csv")) == labelled(flat)
    (flat / "more.csv").write_text("n,l\n", encoding="utf-8")
    with pytest.raises(ValueError, match="tables there: any.csv, more.csv"):
        labelled(flat)
    for path in sorted(flat.glob("*.png")):
        path.with_suffix(".txt").write_text("owl")
    assert {item.label for item in labelled(flat)} == {"owl"}
    assert labelled(flat, r"^(\d)")[0] == Item("1.png", flat / "1.png", "1")


def test_whole_paths_name_the_pictures_of_this_folder_and_no_others(folder, tmp_path_factory):
    """Catches a whole path that becomes a picture's name, so that one below test/ would train; and files elsewhere."""
    rows = [f"{folder / name},{label}" for name, label in SIX.items()]
    assert labels_of(label_by_table(table(folder, "\n".join(["path,label", *rows])), folder=folder)) == SIX
    other = tmp_path_factory.mktemp("other") / "7.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(other)
    for outside in (str(other), f"../{other.parent.name}/7.png"):
        assert path_below(folder, outside) is None
    assert path_below(folder, "a/../a/1.png") == "a/1.png"
