"""The embedded set: what is in it, how it is split, and that no fault leaves half of it."""

import csv
import errno
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

import data_setup
from data_setup import __main__ as cli
from data_setup import sets, solar
from data_setup.base import folders

ROOT = Path(__file__).resolve().parents[2]
FACTS = {  # the published table: (probability, type) -> cells
    ("0.0", "mono"): 588,
    ("0.0", "poly"): 920,
    ("0.3333333333333333", "mono"): 117,
    ("0.3333333333333333", "poly"): 178,
    ("0.6666666666666666", "mono"): 56,
    ("0.6666666666666666", "poly"): 50,
    ("1.0", "mono"): 313,
    ("1.0", "poly"): 402,
}


@pytest.fixture(scope="session")
def real_home(tmp_path_factory):
    """A data folder with the real solar set, built once."""
    home = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(home))
        data_setup.prepare()
    return home


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path):
    """A small tree like the package's: 48 cells of eight strata, random bytes for pictures."""
    rng, folder, lines = random.Random(0), tmp_path / "source", []
    (folder / "images").mkdir(parents=True)
    strata = [
        (p, kind) for p in ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0") for kind in ("mono", "poly")
    ]
    for number in range(1, 49):
        p, kind = rng.choice(strata)
        (folder / "images" / f"cell{number:04d}.png").write_bytes(rng.randbytes(rng.randint(50, 2000)))
        lines.append(f"images/cell{number:04d}.png  {p:<18}  {kind}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def small(home, source, monkeypatch):
    """`small()` is prepare("solar") on the small tree; returns the folder."""
    monkeypatch.setattr(solar, "source_folder", lambda: source)
    monkeypatch.setattr(sets.DataSet, "tree", property(lambda self: None))
    return lambda **keywords: data_setup.prepare("solar", **keywords)


def snapshot(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def table(home):
    return list(csv.DictReader((home / "solar" / "labels.csv").read_text().splitlines()))


def only_the_set(home):
    """True when `home` holds the finished set and its lock, nothing staged or put aside."""
    return sorted(path.name for path in home.iterdir()) == [".solar.lock", "solar"]


# What is in it


def test_real_set_has_the_published_counts(real_home):
    rows = table(real_home)
    assert Counter((row["probability"], row["type"]) for row in rows) == FACTS
    assert Counter(row["label"] for row in rows) == {"functional": 1803, "defective": 821}
    assert all((row["label"] == "defective") == (float(row["probability"]) >= 0.5) for row in rows)


def test_layout_names_and_bytes_are_the_package_s_own(real_home):
    folder = real_home / "solar"
    published = {}  # number -> (probability, type), read without the code under test
    for line in (solar.source_folder() / "labels.csv").read_text().splitlines():
        number, p, kind = re.fullmatch(r"images/cell(\d{4})\.png\s+(\S+)\s+(mono|poly)", line).groups()
        published[number] = (float(p), kind)
    pictures = sorted(folder.rglob("*.png"))
    assert len(pictures) == 2624
    seen = set()
    for path in pictures:
        part, label, name = path.relative_to(folder).parts
        kind, also_label, number = re.fullmatch(r"(mono|poly)_(functional|defective)_(\d{4})\.png", name).groups()
        p, published_kind = published[number]
        assert part in ("train", "valid", "test") and label == also_label and kind == published_kind
        assert label == ("defective" if p >= 0.5 else "functional")
        seen.add(number)
    assert seen == set(published)
    for path in random.Random(0).sample(pictures, 50):
        original = solar.source_folder() / "images" / f"cell{path.stem[-4:]}.png"
        assert path.read_bytes() == original.read_bytes() and not path.samefile(original)


def test_split_is_stratified_within_one_cell_and_exact_in_total(real_home):
    strata = {"train": Counter(), "valid": Counter(), "test": Counter()}
    for row in table(real_home):
        strata[row["name"].split("/")[0]][row["probability"], row["type"]] += 1
    assert [part.total() for part in strata.values()] == [1608, 536, 480]
    for stratum in FACTS:
        assert abs(3 * strata["valid"][stratum] - strata["train"][stratum]) < 4, stratum


def test_test_part_is_whole_blocks_with_a_fair_share_of_kinds_and_ratings(real_home):
    """Catches a photograph of a sealed block that trains or validates, and blocks of one kind or rating."""
    where, test = {}, Counter()
    for row in table(real_home):
        part, number = row["name"].split("/")[0], int(row["name"][-8:-4])
        where.setdefault((number - 1) // 60, []).append(part)
        if part == "test":
            test |= {key: test[key] + 1 for key in (row["type"], row["probability"])}
    sealed = {block for block, parts in where.items() if "test" in parts}
    assert all(where[block] == ["test"] * 60 for block in sealed) and len(sealed) == 8
    manifest = folders.read_manifest(real_home / "solar")
    assert manifest["sealed"] == "test" and manifest["sealed_blocks"] == sorted(sealed)
    for position, names in enumerate(zip(*FACTS, strict=True)):
        for name in set(names):
            share = sum(n for stratum, n in FACTS.items() if stratum[position] == name) / 2624
            assert abs(test[name] / 480 - share) < 0.025, name


def test_the_fairest_of_all_draws_is_sealed(monkeypatch):
    """Against every draw there is: catches the least fair one, a last block that is not whole, or one drawn twice."""
    monkeypatch.setattr(solar, "BLOCK", 4)
    monkeypatch.setattr(solar, "SEALED_BLOCKS", 2)
    kinds = ["mono"] * 4 + ["poly"] * 4 + ["mono", "poly"] * 2 + ["poly"] * 4 + ["mono"] * 5
    cells = [solar.Cell(f"cell{number:04d}.png", "0.0", kind) for number, kind in enumerate(kinds, start=1)]
    counts = [Counter(kinds[4 * block : 4 * block + 4]) for block in range(5)]

    def unfairness(pair):
        both = counts[pair[0]] + counts[pair[1]]
        return sum(abs(both[kind] - kinds.count(kind) * 8 / 21) for kind in ("mono", "poly"))

    chosen = solar.sealed_blocks(cells)
    assert len(set(chosen)) == 2 and chosen == sorted(chosen)
    assert unfairness(chosen) == min(unfairness(pair) for pair in itertools.combinations(range(5), 2))
    assert unfairness([1, 3]) > unfairness(chosen)


def test_manifest_says_whose_it_is_and_what_to_beware_of(real_home):
    manifest = json.loads((real_home / "solar" / "manifest.json").read_text())
    assert manifest["licence"] == "code Apache-2.0, data CC BY-NC-SA 4.0"
    for word in ("Buerhop-Lutz", "10.1016/j.solener.2019.02.067", "10.1007/s00138-021-01191-9"):
        assert word in manifest["citation"]
    assert "No module id" in manifest["warning"]
    assert [manifest["split"][part] for part in ("train", "valid", "test")] == [1608, 536, 480]
    assert sum(manifest["counts"].values()) == 2624
    assert len(manifest["files"]) == 2626  # the pictures, labels.csv and the seal
    assert sum(file["bytes"] for file in manifest["files"].values()) == sets.find("solar").bytes


# Ready once, then only read


def test_second_call_builds_nothing_and_is_quick(real_home, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(real_home))
    monkeypatch.setattr(solar, "build", lambda *_: pytest.fail("built again"))
    monkeypatch.setattr(folders, "locked", lambda *_: pytest.fail("took the lock, which a read-only folder refuses"))
    started = time.process_time()  # other programs may be busy
    assert data_setup.prepare() == real_home / "solar"
    assert time.process_time() - started < 1
    assert data_setup.prepare(verify=True) == real_home / "solar"


def test_package_that_is_not_the_published_one_is_refused(home, source, monkeypatch):
    monkeypatch.setattr(solar, "source_folder", lambda: source)
    with pytest.raises(RuntimeError, match=r"not the published ones: pip install --force-reinstall elpv-dataset=="):
        data_setup.prepare()
    assert list(home.iterdir()) == [home / ".solar.lock"]


def test_source_is_not_touched(small, source):
    before = snapshot(source)
    small()
    assert snapshot(source) == before


# Damage


def damage(folder, how):
    picture = sorted(folder.glob("train/functional/*.png"))[3]
    if how == "missing":
        picture.unlink()
    elif how == "cut":
        picture.write_bytes(picture.read_bytes()[:-1])
    elif how == "flipped":
        data = bytearray(picture.read_bytes())
        data[20] ^= 1
        picture.write_bytes(data)
    elif how == "no manifest":
        (folder / "manifest.json").unlink()
    elif how == "half a manifest":
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text[: len(text) // 2])
    elif how == "empty manifest":
        (folder / "manifest.json").write_text("[]")
    return picture


@pytest.mark.parametrize("how", ["missing", "cut", "flipped", "no manifest", "half a manifest", "empty manifest"])
def test_damage_is_found_told_and_repaired(small, how, capsys):
    folder = small()
    whole = snapshot(folder)
    picture = damage(folder, how)
    assert folders.problems(folder, every_byte=True)
    assert bool(folders.problems(folder)) == (how != "flipped")  # sizes alone cannot see a flipped bit
    small(verify=how == "flipped")
    said = capsys.readouterr().out
    assert "is incomplete or damaged" in said and "building it again" in said
    assert ("manifest.json" if "manifest" in how else picture.name) in said
    assert snapshot(folder) == whole
    assert not folders.problems(folder, every_byte=True)


def test_a_manifest_edited_to_fit_the_damage_is_noticed(real_home):
    """The digest of the whole set is published in the catalogue, so the manifest alone is not believed."""
    folder, known = real_home / "solar", sets.find("solar").tree
    text = (folder / "manifest.json").read_text()
    manifest = json.loads(text)
    manifest["files"]["labels.csv"]["sha256"] = "0" * 64
    try:
        (folder / "manifest.json").write_text(json.dumps(manifest))
        assert folders.problems(folder, tree=known) == ["manifest.json is damaged, or of another release of the course"]
    finally:
        (folder / "manifest.json").write_text(text)
    assert not folders.problems(folder, tree=known)


def test_a_repair_keeps_what_a_person_put_there(small, home, capsys):
    folder = small()
    (folder / "labels.csv").write_text("my own table")
    (folder / "train" / "mine.png").write_bytes(b"a picture of mine")
    (folder / "notes.txt").write_text("notes")
    small()
    assert snapshot(home / "solar-old-1") == {
        "labels.csv": b"my own table",
        "train/mine.png": b"a picture of mine",
        "notes.txt": b"notes",
    }
    assert f"are kept in {home / 'solar-old-1'}" in capsys.readouterr().out
    small()
    assert sorted(path.name for path in home.iterdir()) == [".solar.lock", "solar", "solar-old-1"]


def test_a_set_of_another_release_gives_way_without_leftovers(small, home, monkeypatch, capsys):
    """Catches a newcomer with old data who keeps it, or ends with every moved picture twice."""
    small()
    monkeypatch.setattr(solar, "BLOCK", 4)
    folder = home / "solar"
    (folder / "notes.txt").write_text("mine")
    before = {path.read_bytes() for path in folder.rglob("*.png")}
    (folder / "labels.csv").unlink()
    small()
    said = capsys.readouterr().out
    assert said.count("building it again") == 1
    assert {path.parent.parent.name for path in folder.rglob("*.png")} == {"train", "valid", "test"}
    assert {path.read_bytes() for path in folder.rglob("*.png")} == before
    assert snapshot(home / "solar-old-1") == {"notes.txt": b"mine"}


def test_a_foreign_folder_of_the_same_name_is_put_aside_whole(small, home, capsys):
    (home / "solar").mkdir(parents=True)
    (home / "solar" / "roof.jpg").write_bytes(b"my roof")
    small()
    assert snapshot(home / "solar-old-1") == {"roof.jpg": b"my roof"}
    assert "kept in" in capsys.readouterr().out


# Faults while building

CHILD = """
import os, shutil, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from data_setup import prepare, sets, solar
from data_setup.base import folders
source, moment, pause = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
solar.source_folder = lambda: source
sets.DataSet.tree = None
calls = 0

def die_at(name, call, function, module):
    def watched(*args, **keywords):
        global calls
        calls += 1
        time.sleep(pause)
        if moment == name and calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **keywords)
    setattr(module, function.__name__, watched)

name, _, call = moment.partition(" ")
moment = name
where = {"copy": (shutil, "copyfile"), "describe": (folders, "describe"), "rename": (Path, "rename"),
         "write": (Path, "write_text"), "unlink": (Path, "unlink"), "build": (solar, "build")}
module, attribute = where[name]
die_at(name, int(call or -1), getattr(module, attribute), module)
print("ready", flush=True)
sys.stdin.readline()
prepare("solar")
print("calls", calls)
"""


def child(home, source, moment, pause=0.0):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(source), moment, str(pause)],
        cwd=ROOT,
        env={**os.environ, "COURSE_DATA": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("moment", ["build 1", "copy 1", "copy 20", "copy 48", "describe 1", "write 2", "rename 1"])
def test_killed_while_building_leaves_no_half_set(home, source, small, moment):
    with child(home, source, moment) as process:
        process.communicate(timeout=60)
    assert process.returncode == -9
    assert not (home / "solar").exists()
    assert list(home.glob(".solar.staging-*"))  # it was under way
    small()
    assert only_the_set(home)
    assert not folders.problems(home / "solar", every_byte=True)


@pytest.mark.parametrize("moment", ["copy 20", "rename 1", "rename 2", "unlink 1", "unlink 20"])
def test_killed_while_repairing_ends_whole_next_time(home, source, small, moment):
    whole = snapshot(small())
    damage(home / "solar", "missing")
    (home / "solar" / "notes.txt").write_text("notes")
    with child(home, source, moment) as process:
        process.communicate(timeout=60)
    assert process.returncode == -9
    small()
    assert snapshot(home / "solar").keys() - {"notes.txt"} == whole.keys()
    assert not folders.problems(home / "solar", every_byte=True)
    assert len(list(home.rglob("notes.txt"))) == 1  # moved aside or still there, never lost
    assert not list(home.glob(".solar.staging-*"))


def test_runs_at_once_end_with_one_exact_tree(home, source, small, tmp_path, monkeypatch):
    runs = [child(home, source, "copy", pause=0.02) for _ in range(3)]
    assert [run.stdout.readline() for run in runs] == ["ready\n"] * 3
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    said = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sorted(int(text.rpartition("calls ")[2]) for text in said) == [0, 0, 48]  # one built, two waited
    assert any("waiting" in text for text in said)
    assert only_the_set(home)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "alone"))
    assert snapshot(small()) == snapshot(home / "solar")


def test_full_disk_while_copying_keeps_the_old_set_and_leaves_nothing(small, home, monkeypatch):
    folder = small()
    damage(folder, "missing")
    before, copied, copy = snapshot(folder), [], shutil.copyfile

    def fills_up(origin, target):
        copied.append(target)
        if len(copied) == 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(origin, target)

    monkeypatch.setattr(shutil, "copyfile", fills_up)
    with pytest.raises(OSError, match=r"the disk is full: 90,420,063 bytes are needed in .*COURSE_DATA"):
        small()
    assert only_the_set(home) and snapshot(folder) == before


def test_too_small_a_disk_is_told_before_anything_is_written(small, home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    with pytest.raises(OSError, match=r"the disk is full.*5,000,000 are free"):
        small()
    assert list(home.iterdir()) == [home / ".solar.lock"]


def test_interrupt_leaves_nothing_staged(small, home, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small()
    assert list(home.iterdir()) == [home / ".solar.lock"]


def test_folder_that_cannot_be_written_names_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        monkeypatch.setenv("COURSE_DATA", str(folder))
        with pytest.raises(PermissionError, match=r"cannot write in .*file.*; set COURSE_DATA to a folder"):
            data_setup.prepare()


def test_read_only_file_system_names_the_remedy(small, home, monkeypatch):
    def refuses(self, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuses)
    with pytest.raises(PermissionError, match="Read-only file system.*set COURSE_DATA"):
        small()


def test_missing_package_says_what_to_type(home, monkeypatch):
    monkeypatch.setattr(solar.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"not installed: pip install elpv-dataset==1\.0\.0\.post1"):
        data_setup.prepare()
    assert list(home.iterdir()) == [home / ".solar.lock"]


def test_unknown_name_is_corrected():
    with pytest.raises(ValueError, match="no data set called 'solr'; did you mean 'solar'"):
        data_setup.prepare("solr")
    with pytest.raises(ValueError, match="it is one of solar, pets, dogscats"):
        data_setup.prepare("xyz")


# The command, and what importing costs


def test_command_prepares_and_reports(real_home, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA", str(real_home))
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    assert f"solar: ready with 2,624 pictures in {real_home / 'solar'}" in said
    assert "valid/defective: 169" in said and "test/defective: 141" in said
    assert "CC BY-NC-SA 4.0" in said and "No module id" in said
    assert said.count("verified") == 3


def test_command_lists_the_catalogue(real_home, home, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA", str(real_home))
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [record.name for record in data_setup.catalogue()]
    assert re.match(r"solar +2,624 +90 +yes +code Apache-2.0, data CC BY-NC-SA", lines[1])
    assert re.match(r"pets +7,349 +811 +no +CC BY-SA 4.0", lines[2])
    assert max(map(len, lines)) < 150


def test_command_returns_one_with_a_plain_sentence(capsys):
    assert cli.main(["pet"]) == 1
    assert capsys.readouterr().err == "error: there is no data set called 'pet'; did you mean 'pets'?\n"


def test_import_is_light_and_knows_nothing_of_helpers():
    code = "import sys, data_setup; print({'helpers', 'torch', 'requests', 'timm'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_home_is_the_repository_s_data_or_what_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    assert data_setup.home() == ROOT / "data"
    monkeypatch.setenv("COURSE_DATA", "~/course")
    assert data_setup.home() == Path.home() / "course"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_DATA", "here")
    assert data_setup.home() == tmp_path / "here"
