"""The folder of lesson 09 has the faults that the lesson looks for, and nothing of somebody else's is overwritten."""

import shutil
from collections import Counter

import pytest
from PIL import Image

from data_setup.base.pictures import UnreadableImage, read_image
from data_setup.items import label_by_folder
from helpers.lessons.messy import CLASSES, TYPO, content_hashes, messy_copy, messy_folder, misfiled, true_labels


@pytest.fixture
def solar(tmp_path):
    """200 little cells, 50 of each kind, numbered through as the real ones are."""
    for number in range(1, 201):
        kind, state = list(CLASSES)[number % 4]
        folder = tmp_path / "solar" / ("train" if number % 3 else "valid") / state
        folder.mkdir(parents=True, exist_ok=True)
        pixels = bytes((number * step) % 251 for step in range(60 * 60))
        Image.frombytes("L", (60, 60), pixels).save(folder / f"{kind}_{state}_{number:04}.png")
    return tmp_path / "solar"


def test_the_folder_has_every_fault_once(solar, tmp_path):
    folder = messy_folder(solar, tmp_path / "own", every=1)
    items = label_by_folder(folder)
    counts = Counter(item.label for item in items)
    assert set(counts) == {*CLASSES.values(), TYPO} and counts[TYPO] == 6
    unreadable = []
    for item in items:
        try:
            read_image(item.path)
        except UnreadableImage as error:
            unreadable.append(str(error))
    assert len(unreadable) == 2 and sum("web page" in text for text in unreadable) == 1
    same = Counter(content_hashes(items).values())
    assert sorted(same.values())[-2:] == [2, 2] and len(same) == len(items) - 2
    assert not any(item.name.endswith(".txt") for item in items)
    assert len(list(folder.rglob("*.txt"))) == 1


def test_eight_cells_lie_in_a_wrong_folder_and_are_named(solar, tmp_path):
    folder = messy_folder(solar, tmp_path / "own", every=1)
    truth = {path.stem.split("_")[-1]: path.stem.split("_")[0] for path in solar.glob("*/*/*.png")}
    wrong = {
        item.name
        for item in label_by_folder(folder)
        if item.path.stem[4:8] in truth and truth[item.path.stem[4:8]] != item.label.split("_")[0]
    }
    assert wrong == misfiled(folder) and len(wrong) == 8


def test_a_second_call_writes_the_same_and_a_foreign_folder_stays(solar, tmp_path):
    first = content_hashes(label_by_folder(messy_folder(solar, tmp_path / "own", every=1)))
    assert content_hashes(label_by_folder(messy_folder(solar, tmp_path / "own", every=1))) == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.png").touch()
    with pytest.raises(FileExistsError, match="is not a folder of this lesson"):
        messy_folder(solar, tmp_path / "mine")
    assert (tmp_path / "mine" / "holiday.png").is_file()


def test_a_copy_of_any_set_has_the_same_faults(tmp_path):
    """Catches a fault that is missing where the pictures are somebody else's, and a wrong label nobody can look up."""
    for index, label in enumerate(("ant", "bee", "cow", "dog")):
        for number in range(20):
            file = tmp_path / "set" / label / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = bytes((number + index * 20 + step * (3 + index)) % 251 for step in range(30 * 30))
            Image.frombytes("L", (30, 30), pixels).save(file)
    items = label_by_folder(tmp_path / "set")
    folder = messy_copy(items, tmp_path / "own")
    found = label_by_folder(folder)
    counts = Counter(item.label for item in found)
    assert set(counts) == {"ant", "bee", "cow", "dog", "coww"} and counts["coww"] == 4
    unreadable = [item for item in found if not readable(item)]
    assert len(unreadable) == 2 and any(item.path.name == "IMG_9001.png" for item in unreadable)
    hashes = content_hashes(found)
    assert sorted(Counter(hashes.values()).values())[-2:] == [2, 2]
    label_of = {content: item.label for item, content in zip(items, content_hashes(items).values(), strict=True)}
    truth = true_labels(folder)
    assert len(truth) == 8 and misfiled(folder) == set(truth)
    assert {name: label_of[hashes[name]] for name in truth} == truth
    with pytest.raises(ValueError, match="four classes of at least 12 pictures"):
        messy_copy(items[:60], tmp_path / "own")


def readable(item) -> bool:
    try:
        read_image(item.path)
    except UnreadableImage:
        return False
    return True


def test_a_disk_that_is_full_in_the_middle_keeps_the_folder_of_before(solar, tmp_path, monkeypatch):
    """Catches half a folder, which the next call takes for somebody else's."""
    folder, copy = tmp_path / "own", shutil.copy
    first = content_hashes(label_by_folder(messy_folder(solar, folder, every=1)))

    def full(source, target):
        if "0007" in str(source):
            raise OSError(28, "No space left on device", str(target))
        return copy(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="the disk is full: .*delete something, or set"):
        patch.setattr(shutil, "copy", full)
        messy_folder(solar, folder, every=1)
    assert content_hashes(label_by_folder(folder)) == first
    assert content_hashes(label_by_folder(messy_folder(solar, folder, every=1))) == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
