"""Tar shards: the same bytes from the same folder, read by webdataset, finished after a kill, damage noticed."""

import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from data_setup.__main__ import main
from data_setup.base.pictures import read_image
from data_setup.items import label_by_folder
from data_setup.own.labels import labelled
from data_setup.shards import pictures, read_index, stream
from data_setup.shards.writing import portions, write_shards

ROOT = Path(__file__).parents[2]
MEGABYTES = 0.012  # a few pictures a shard


@pytest.fixture
def folder(tmp_path):
    """Eleven pictures: JPEG and PNG, names with dots and blanks, one without a suffix."""
    names = [
        *(f"cat/{number}.jpg" for number in range(5)),
        *(f"dög/a.b {number}.PNG" for number in range(5)),
        "cat/last",
    ]
    for number, name in enumerate(names):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "JPEG" if "cat" in name else "PNG"
        Image.effect_noise((30 + number, 40), 90).save(path, format=kind)
    return tmp_path / "photos"


def shards_of(folder, *options):
    assert main(["shard", str(folder), "--megabytes", str(MEGABYTES), *options]) == 0
    return read_index(folder.with_name("photos-shards"))


def everything(index):
    return [sample for number in range(len(index.shards)) for sample in stream(index, number)]


def test_every_picture_comes_back_byte_for_byte_with_its_label(folder, capsys):
    """Catches suffixes that webdataset splits elsewhere, pictures lost at the border of a shard, and shifted places."""
    index = shards_of(folder)
    items = {item.name: item for item in label_by_folder(folder)}
    assert len(index.shards) > 2 and index.pictures == 11
    assert index.classes == ("cat", "dög") and index.counts == {"cat": 6, "dög": 5}
    assert "11 pictures in" in capsys.readouterr().out
    samples = everything(index)
    assert sorted(sample.name for sample in samples) == sorted(items)
    for sample in samples:
        assert sample.content == items[sample.name].path.read_bytes()
        assert sample.label == items[sample.name].label
        pixels = read_image(sample.name, content=sample.content).tobytes()
        assert pixels == read_image(items[sample.name].path).tobytes()
    shown = pictures(index, [10, 0, 3], folder / "shown")
    assert [item.name for item in shown] == [samples[row].name for row in (10, 0, 3)]
    assert all(item.path.read_bytes() == items[item.name].path.read_bytes() for item in shown)
    with pytest.raises(IndexError, match="there are 11 pictures, rows 0 to 10; got row 11"):
        pictures(index, [11], folder / "shown")


def test_the_same_folder_makes_the_same_bytes(folder):
    """Catches times and owners in the archive, and an order that follows the disk's."""
    first = shards_of(folder)
    second = write_shards(reversed(labelled(folder)), folder.with_name("again"), megabytes=MEGABYTES)
    assert first.shards == second.shards


def test_only_what_changed_is_written_again(folder):
    """Catches a second run that does everything anew, stale shards behind a smaller set, and a changed label kept."""
    index = shards_of(folder)
    times = [(index.folder / shard.file).stat().st_mtime_ns for shard in index.shards]
    again = shards_of(folder)
    assert [(again.folder / shard.file).stat().st_mtime_ns for shard in again.shards] == times
    name = index.contents(0).names[0]
    Image.effect_noise((50, 50), 90).save(folder / name, format="JPEG" if "cat" in name else "PNG")
    changed = shards_of(folder)
    assert changed.shards[0] != index.shards[0]
    assert everything(changed)[0].content == (folder / name).read_bytes()
    for number in range(2, 5):
        (folder / "cat" / f"{number}.jpg").unlink()
    fewer = shards_of(folder)
    found = sorted(file.name for file in fewer.folder.iterdir() if not file.name.startswith("."))
    expected = [f"{number:06}.{kind}" for number in range(len(fewer.shards)) for kind in ("json", "tar")]
    assert found == sorted([*expected, "index.json"]) and fewer.pictures == 8


def test_a_killed_run_leaves_whole_shards_and_the_next_one_writes_the_rest(folder):
    """Catches a half-written archive under its name, and an index of shards that are not there."""
    out = folder.with_name("photos-shards")
    program = (
        "import os, signal, sys; from data_setup.__main__ import main; from data_setup.shards import writing\n"
        "write, count = writing._add, []\n"
        "def die(*some):\n"
        "    count.append(some); write(*some)\n"
        "    if len(count) == 12: os.kill(os.getpid(), signal.SIGKILL)\n"
        "writing._add = die; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "shard", str(folder), "--megabytes", str(MEGABYTES)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    whole = sorted(out.glob("*.tar"))
    assert whole and not (out / "index.json").exists()
    with pytest.raises(ValueError, match="no index.json of finished shards"):
        read_index(out)
    times = [file.stat().st_mtime_ns for file in whole]
    index = shards_of(folder)
    assert [file.stat().st_mtime_ns for file in whole] == times
    assert len(everything(index)) == 11


def test_damage_and_strangers_are_noticed(folder):
    """Catches a flipped bit that nobody sees, and an index that leads out of its folder."""
    index = shards_of(folder)
    tar = index.folder / index.shards[1].file
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)
    with pytest.raises(ValueError, match="000001.tar is missing or damaged: delete it and type"):
        list(stream(index, 1))
    about = json.loads((index.folder / "index.json").read_text())
    about["shards"][0]["file"] = "../000000.tar"
    (index.folder / "index.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="index.json is damaged"):
        read_index(index.folder)


def test_a_name_that_leads_out_of_the_folder_is_refused(folder, tmp_path):
    index = shards_of(folder)
    index.contents(0).names[0] = "../../stolen.jpg"
    with pytest.raises(ValueError, match="leads out of"):
        pictures(index, [0], tmp_path / "shown")


def test_what_cannot_be_sharded_is_said(folder, capsys):
    assert main(["shard", str(folder), "--out", str(folder / "shards")]) == 1
    assert "lies in the folder itself" in capsys.readouterr().err
    assert main(["shard", str(folder), "--megabytes", "0"]) == 1
    assert "--megabytes is the size of a shard, above 0; got 0" in capsys.readouterr().err


def test_the_split_of_the_folder_goes_with_the_shards(folder):
    assert main(["split", str(folder), "--valid", "0.4"]) == 0
    index = shards_of(folder)
    ours, theirs = (json.loads((where / "split.json").read_text()) for where in (folder, index.folder))
    assert ours["valid"] == theirs["valid"] and ours["train"] == theirs["train"]
    (folder / "split.json").unlink()
    assert not (shards_of(folder).folder / "split.json").exists(), "nor stays what an earlier set was split like"


def test_other_files_of_the_folder_are_safe(folder, tmp_path, capsys):
    """Catches pictures called 000123.jpg deleted as shards of an earlier, larger set."""
    (tmp_path / "mine").mkdir()
    for name in ("000123.jpg", "split.json"):
        (tmp_path / "mine" / name).write_text("mine")
    assert main(["shard", str(folder), "--out", str(tmp_path / "mine")]) == 1
    assert "holds other files, e.g. 000123.jpg: choose another folder" in capsys.readouterr().err
    assert {path.read_text() for path in (tmp_path / "mine").iterdir()} == {"mine"}
    (tmp_path / "mine" / "000123.jpg").unlink()
    assert main(["shard", str(folder), "--out", str(tmp_path / "mine")]) == 1, "nor is a split.json of its own replaced"
    assert (tmp_path / "mine" / "split.json").read_text() == "mine"
    shards_of(folder)
    (folder.with_name("photos-shards") / "000123.jpg").write_text("mine")
    last = len(shards_of(folder).shards) - 1
    assert last > 0 and main(["shard", str(folder), "--megabytes", "1"]) == 0
    held = {path.name for path in folder.with_name("photos-shards").iterdir()}
    assert "000123.jpg" in held and f"{last:06}.tar" not in held and f"{last:06}.json" not in held


@pytest.mark.parametrize(("most", "expected"), [(1, [1, 1, 1]), (10_000, [3]), (6_200, [2, 1])])
def test_portions_hold_what_fits(most, expected):
    """Two pictures of 1,000 bytes take 6,096: four blocks of 512 each besides."""
    assert [len(some) for some in portions("abc", [1000] * 3, most_bytes=most)] == expected


def test_the_size_of_an_archive_is_the_one_that_was_planned(folder):
    """Catches a plan that forgets headers: shards would be larger than asked for."""
    index = shards_of(folder)
    for shard in index.shards:
        with tarfile.open(index.folder / shard.file) as archive:
            payload = max(member.offset_data + member.size for member in archive)
        assert payload <= MEGABYTES * 1e6 or shard.pictures == 1
