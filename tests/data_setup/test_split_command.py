"""`python -m data_setup split`: by class, by group, by time; the file, and who reads it."""

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_setup import __main__ as cli
from data_setup.items import Item, label_by_folder
from data_setup.own.by_time import day_taken, split_by_time
from data_setup.own.command import divide
from data_setup.own.split_file import read_split, split_in, write_split
from data_setup.splits import PARTS, split_stratified


@pytest.fixture
def folder(tmp_path):
    """Two classes of 20 pictures; the name says the patient (five of them) and the day."""
    rng = np.random.default_rng(0)
    for number in range(40):
        file = (
            tmp_path / "set" / ("cat", "dog")[number % 2] / f"p{number % 5}_2024-03-{1 + number // 4:02}_{number}.png"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 6), dtype=np.uint8)).save(file)
    return tmp_path / "set"


def parts_of(folder):
    known = json.loads((folder / "split.json").read_text())
    return {part: known[part] for part in PARTS}


def test_by_class_keeps_shares_and_the_draw(folder, capsys):
    assert cli.main(["split", str(folder), "--test", "0.2"]) == 0
    parts = parts_of(folder)
    shares = {part: Counter(name.split("/")[0] for name in names) for part, names in parts.items()}
    assert shares == {"train": {"cat": 11, "dog": 11}, "valid": {"cat": 5, "dog": 5}, "test": {"cat": 4, "dog": 4}}
    assert "valid: 10 pictures\n" in capsys.readouterr().out
    assert cli.main(["split", str(folder), "--test", "0.2", "--seed", "1"]) == 0 and parts_of(folder) != parts
    assert cli.main(["split", str(folder), "--test", "0.2"]) == 0 and parts_of(folder) == parts


def test_by_group_no_group_is_in_two_parts(folder):
    """By a pattern, and the same groups by a column of a table."""
    assert cli.main(["split", str(folder), "--by", "group", "--group", r"/(p\d)_", "--test", "0.2"]) == 0
    by_pattern = parts_of(folder)
    groups = [{name.split("/")[1][:2] for name in names} for names in by_pattern.values()]
    assert list(map(len, groups)) == [3, 1, 1] and len(set.union(*groups)) == 5
    lines = [f"{item.name},{item.label},{item.name.split('/')[1][:2]}" for item in label_by_folder(folder)]
    (folder / "t.csv").write_text("\n".join(["image,label,patient", *lines]))
    options = ["--by", "group", "--group", "patient", "--labels", "t.csv", "--test", "0.2"]
    assert cli.main(["split", str(folder), *options]) == 0 and parts_of(folder) == by_pattern


def test_a_column_is_found_in_the_folders_table_where_labels_come_from_folders(folder, capsys):
    """Without --labels. Catches a column taken for an expression that matches no path, and a table picked at random."""
    by_column = ["split", str(folder), "--by", "group", "--group", "patient", "--test", "0.2"]
    assert cli.main(by_column) == 1
    said = capsys.readouterr().err
    assert "'patient' matches no picture's path, such as 'cat/p0_" in said and "there is no table in the folder" in said
    groups = {item.name: f"person {item.name.split('/')[1][:2]}" for item in label_by_folder(folder)}
    lines = [f"{name},{group}" for name, group in groups.items()]
    (folder / "people.csv").write_text("\n".join(["image,patient", *lines]))
    (folder / "notes.tsv").write_text("day\tweather\n1\tfog\n")
    (folder / "broken.csv").write_bytes(b"\xff\xfe\x00")
    assert cli.main(by_column) == 0
    parts = [{groups[name] for name in names} for names in parts_of(folder).values()]
    assert list(map(len, parts)) == [3, 1, 1] and len(set.union(*parts)) == 5
    assert cli.main(["split", str(folder), "--by", "group", "--group", "nurse"]) == 1
    assert "notes.tsv has day and weather; people.csv has image and patient" in capsys.readouterr().err
    (folder / "more.csv").write_text("\n".join(["image,patient", *lines]))
    assert cli.main(by_column) == 1
    assert "a column of more.csv and people.csv: name one of them with --labels" in capsys.readouterr().err
    (folder / "more.csv").write_text("\n".join(["image,person", lines[0], lines[0] + "x"]))
    assert cli.main(["split", str(folder), "--by", "group", "--group", "person"]) == 1
    assert "in two rows, with person 'person p0' and 'person p0x': a picture is in one group" in capsys.readouterr().err


def test_by_time_the_past_trains_and_no_day_is_divided(folder):
    assert cli.main(["split", str(folder), "--by", "time", "--test", "0.2"]) == 0
    days = {part: {name.split("_")[1] for name in names} for part, names in parts_of(folder).items()}
    assert max(days["train"]) < min(days["valid"]) and max(days["valid"]) < min(days["test"])
    assert list(map(len, parts_of(folder).values())) == [20, 12, 8]  # days of four pictures: 10 are nearly 12, or 8


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=9),
    frac=st.sampled_from([0.1, 0.25, 0.5, 0.9]),
    seed=st.integers(0, 9),
)
def test_latest_days_are_the_nearest_to_the_share(sizes, frac, seed):
    """Against every place where one could cut."""
    days = [date(2024, 1, 1) + timedelta(days=number) for number, size in enumerate(sizes) for _ in range(size)]
    items = [Item(f"{number:03}", None, "x") for number in range(len(days))]
    random.Random(seed).shuffle(items)
    split = split_by_time(items, lambda item: days[int(item.name)], valid_frac=frac)
    cuts = [sum(sizes[first:]) for first in range(1, len(sizes))]
    wanted = frac * len(items)
    assert len(split.valid) in cuts
    assert abs(len(split.valid) - wanted) == min(abs(cut - wanted) for cut in cuts)
    assert sorted(split.train + split.valid) == sorted(item.name for item in items) and max(split.train) < min(
        split.valid
    )


def test_a_day_is_from_exif_then_from_the_name_and_never_from_the_file(tmp_path):
    image = Image.new("RGB", (8, 8))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:07:05 23:59:59"
    image.save(tmp_path / "IMG_20240102.jpg", exif=exif)
    assert day_taken(tmp_path / "IMG_20240102.jpg") == date(2019, 7, 5)
    names = {
        "IMG_20240102_101112.png": date(2024, 1, 2),
        "20240102101112.png": date(2024, 1, 2),
        "x 2024.1.02.png": None,
        "2024-02-31.png": None,
        "serial 120240102.png": None,
        "cat.png": None,
        "2024-12-31 2023-01-01.png": date(2024, 12, 31),
    }
    for name in names:
        image.save(tmp_path / name)
    assert {name: day_taken(tmp_path / name) for name in names} == names
    assert day_taken(tmp_path / "gone_2020-01-01.jpg") == date(2020, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "group"], "--by group takes --group PATTERN"),
        (["--group", "x"], "--by group takes --group PATTERN"),
        (["--by", "group", "--group", "(p0)"], "gives no group for cat/p"),
        (["--by", "group", "--group", "("], "not a valid regular expression"),
        (["--valid", "0.7", "--test", "0.3"], "leave nothing to train on"),
        (["--valid", "0"], "leave nothing to train on"),
        (["--labels", "(z+)"], "does not match 40 of 40 file names"),
    ],
)
def test_what_is_refused(folder, capsys, options, message):
    assert cli.main(["split", str(folder), *options]) == 1
    assert message in capsys.readouterr().err and not (folder / "split.json").exists()


def test_pictures_without_a_date_are_refused_and_the_files_own_time_is_not_used(folder, capsys):
    (folder / "cat" / "p0_2024-03-01_0.png").rename(folder / "cat" / "undated.png")
    assert cli.main(["split", str(folder), "--by", "time"]) == 1
    said = capsys.readouterr().err
    assert "1 picture without a date, in EXIF or in the name, e.g. cat/undated.png" in said and "only says when" in said


def test_one_day_cannot_be_split_by_time():
    items = [Item(str(number), None, "x") for number in range(4)]
    with pytest.raises(ValueError, match="all pictures are of one day"):
        split_by_time(items, lambda item: date(2024, 1, 1), valid_frac=0.5)


def test_the_file_is_read_back_and_what_it_does_not_name_is_said(folder, capsys):
    items = label_by_folder(folder)
    split = divide(items, split_stratified, valid_frac=0.25, test_frac=0.1)
    write_split(split.of({item.name for item in items[3:]}), folder / "split.json", how="split by hand")
    assert split_in(folder, items) == split.of({item.name for item in items[3:]})
    assert capsys.readouterr().out == "split.json: split by hand; 3 pictures in no part of it left out\n"
    with pytest.raises(ValueError, match="names 2 pictures that are not there or not labelled, e.g. .*split again"):
        read_split(folder / "split.json", items[5:])
    (folder / "split.json").write_text('{"train": ["x"], "valid": ["x"], "test": []}')
    with pytest.raises(ValueError, match="is not a split .*more than once"):
        split_in(folder, items)
    (folder / "split.json").write_text("[]")
    with pytest.raises(ValueError, match="is not a split"):
        split_in(folder, items)
    (folder / "split.json").unlink()
    assert split_in(folder, items, seed=3) == split_stratified(items, seed=3)
    flat = [replace(item, name=f"{'valid' if place % 3 else 'train'}/{place}.png") for place, item in enumerate(items)]
    assert set(split_in(folder, flat).valid) == {item.name for item in flat if item.name.startswith("valid/")}
    with pytest.raises(FileNotFoundError, match="there is no split file"):
        read_split(folder / "split.json", items)


def test_the_data_takes_the_split_of_its_folder(folder, course_data):
    from helpers import ImageData

    assert cli.main(["split", str(folder), "--by", "group", "--group", r"/(p\d)_"]) == 0
    data = ImageData.from_folders(folder, size=32, batch_size=8)
    assert {name.split("/")[1][:2] for name in data.split.train}.isdisjoint(
        name.split("/")[1][:2] for name in data.split.valid
    )
    assert {part: list(getattr(data.split, part)) for part in PARTS} == parts_of(folder)
