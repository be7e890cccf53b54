"""A folder of 500 pictures with a hundred planted faults: all are found, and no good picture is accused."""

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from data_setup import __main__ as cli
from data_setup.check import command
from data_setup.check.command import check_folder, facts_of, no_group, report_folder
from data_setup.check.quarantine import UNDO, quarantine, restore
from data_setup.check.report import SHOWN, summary
from data_setup.check.sets import misspelt, places
from tests.data_setup.messy_pictures import good_pictures, messy_pictures, texture


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """(folder, names) of 500 pictures without fault."""
    folder = tmp_path_factory.mktemp("good") / "pictures"
    return folder, good_pictures(folder)


@pytest.fixture(scope="module")
def messy(good, tmp_path_factory):
    """The faults that were planted, and what was found."""
    faults = messy_pictures(good[0], tmp_path_factory.mktemp("messy") / "pictures", good[1])
    before = tree(faults.folder)
    report = check_folder(faults.folder)
    assert tree(faults.folder) == before, "the check has changed the folder"
    return faults, report


def tree(folder):
    """Everything below the folder: sha256 of each file, where each link leads, and every folder."""
    found = {}
    for path in folder.rglob("*"):
        content = path.readlink() if path.is_symlink() else path.is_dir() or hashlib.sha256(path.read_bytes()).digest()
        found[path.relative_to(folder).as_posix()] = content
    return found


def names_found(report):
    """Kind of finding -> sets of names that belong together; every way of not being readable counts as "lost"."""
    found = defaultdict(set)
    for finding in report.findings:
        kind = "lost" if finding.kind in ("unreadable", "truncated") else finding.kind
        found[kind] |= {frozenset(case.names) for case in finding.cases}
    return found


def test_nothing_is_said_about_500_good_pictures(good):
    """Catches an accusation of a good picture, of whatever kind."""
    report = check_folder(good[0])
    assert report.findings == () and report.offenders == () and report.verdict == "nothing found"
    assert report.formats.total() == 500 and dict(report.parts) == {"train": 350, "valid": 100, "test": 50}


def test_every_planted_fault_is_found_and_no_other(messy):
    faults, report = messy
    found = names_found(report)
    assert sum(map(len, faults.planted.values())) >= 60 and len(faults.planted) >= 20
    near = ("near copies", "near leak")
    for kind in [kind for kind in faults.planted if kind not in near]:
        assert found[kind] == set(faults.planted[kind]), kind
    planted = {pair for kind in near for pair in faults.planted[kind]}
    accused = {pair for kind in near for pair in found[kind]}
    assert accused <= planted and len(accused) >= 0.95 * len(planted) and len(planted) == 40
    assert set(found) == {*faults.planted, "imbalance"}


def test_the_same_picture_is_said_to_be_equal_in_bytes_or_in_pixels(messy):
    (leaks,) = [finding for finding in messy[1].findings if finding.kind == "leak"]
    for case in leaks.cases:
        by_pixels = any("pixels_" in name for name in case.names)
        assert case.text.startswith("the same pixels in different files" if by_pixels else "the same bytes"), case


def test_quarantine_leaves_a_folder_without_serious_files_and_undo_restores_it_to_the_bit(messy, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(messy[0].folder, folder, symlinks=True)
    before = tree(folder)
    undo = quarantine(folder, messy[1].offenders)
    kinds = {finding.kind for finding in check_folder(folder).findings if finding.severity == "serious"}
    assert kinds == {"alike", "empty class", "outside"}  # a person has to decide
    left = tree(folder)
    for pair in messy[0].planted["leak"]:
        assert [name.split("/")[0] for name in pair if name in left] in (["valid"], ["test"])
    assert not any(name in left for pair in messy[0].planted["contradiction"] for name in pair)
    assert restore(undo) == f"{len(messy[1].offenders)} files moved back"
    assert tree(folder) == before and sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]


def test_the_command_says_where_the_reports_are_and_ends_with_1(messy, tmp_path, capsys):
    """Also: the page loads nothing, and shows the pictures; the JSON file has every case and every fix."""
    faults, report = messy
    out = tmp_path / "report"
    assert cli.main(["check", str(faults.folder), "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert str(out / "report.html") in said
    assert all(f"{one.severity}: {one.title} ({len(one.cases)})" in said for one in report.findings)
    known = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [(one["kind"], len(one["cases"])) for one in known["findings"]] == [
        (one.kind, len(one.cases)) for one in report.findings
    ]
    assert all(one["fix"] for one in known["findings"]) and known["serious"] == report.n_serious
    page = (out / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]+)"', page)
    assert len(sources) >= 60 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "://" not in page


# Smaller folders, one thing each


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Two classes of three pictures, which one process reads: a second takes longer to start."""
    monkeypatch.setattr(command, "processes", lambda: 1)
    rng = np.random.default_rng(5)
    for number in range(6):
        file = tmp_path / "few" / ("cat", "dog")[number % 2] / f"p{number // 2}_{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        texture(rng, (50, 40), 2).save(file)
    return tmp_path / "few"


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, page):
        super().__init__()
        self.seen = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)


def test_names_of_files_are_shown_and_never_interpreted(few, tmp_path, capsys):
    """Catches a name that is HTML, reorders the line, or is no text at all."""
    (few / "cat" / "<img src=x onerror=alert(1)>.jpg").write_bytes(b"")
    (few / "cat" / "a\u202egpj.jpg").write_bytes(b"")
    (few / "cat" / "bad\udcff.jpg").write_bytes(b"")
    assert cli.main(["check", str(few), "--out", str(tmp_path / "out")]) == 1
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "img" not in Tags(page).seen and "&lt;img src=x" in page
    said = capsys.readouterr().out
    assert "\u202e" not in page + said and "\udcff" not in said
    names = [
        case["names"]
        for one in json.loads((tmp_path / "out" / "report.json").read_text())["findings"]
        for case in one["cases"]
    ]
    assert ["cat/bad\udcff.jpg"] in names  # programs get the real name


def test_a_group_on_two_sides_and_a_copy_in_two_groups(few):
    shutil.move(few, few.with_name("cut") / "train")
    folder = few.with_name("cut")
    shutil.copytree(folder / "train", folder / "valid")
    for path in [folder / "valid/cat/p0_0.png", folder / "valid/cat/p1_2.png", *(folder / "valid/dog").iterdir()]:
        path.unlink()
    shutil.copy(folder / "train/dog/p0_1.png", folder / "train/dog/p9_9.png")
    found = names_found(check_folder(folder, group=r"/(p\d)_"))
    assert found["group leak"] == {frozenset({"train/cat/p2_4.png", "valid/cat/p2_4.png"})}
    assert found["group copies"] == {frozenset({"train/dog/p0_1.png", "train/dog/p9_9.png"})}
    assert "group leak" not in names_found(check_folder(folder))
    rows = [f"{name},{Path(name).name[:2]}" for name in sorted(tree(folder)) if name.endswith(".png")]
    (folder / "people.csv").write_text("\n".join(["file,patient", *rows]))
    by_column = names_found(check_folder(folder, group="patient"))
    assert by_column["group leak"] == found["group leak"] and by_column["group copies"] == found["group copies"]
    with pytest.raises(ValueError, match="'nurse' matches no picture's path.*people.csv has file and patient"):
        check_folder(folder, group="nurse")  # else nothing would be found, whatever is wrong


def test_one_folder_of_everything_with_a_table_and_a_split_file(few):
    """Labels from the table, parts from the split file: a copy across the split is a leak, under two labels, too."""
    for path in sorted(few.rglob("*.png")):
        path.rename(few / f"{path.parent.name}_{path.name}")
    for folder in ("cat", "dog"):
        (few / folder).rmdir()
    (asked,) = [one for one in check_folder(few).findings if one.kind == "labels"]
    assert asked.severity == "serious" and "--labels FILE.csv" in asked.cases[0].text
    shutil.copy(few / "cat_p0_0.png", few / "dog_copy.png")
    names = sorted(path.name for path in few.glob("*.png"))
    (few / "labels.csv").write_text("\n".join(["photo,label", *(f"{name},{name[:3]}" for name in names)]))
    split = {"train": names[1:], "valid": names[:1], "test": ["gone.png"]}
    (few / "split.json").write_text(json.dumps(split))
    report = check_folder(few)
    found = names_found(report)
    assert found["leak"] == found["contradiction"] == {frozenset({"cat_p0_0.png", "dog_copy.png"})}
    assert found["split"] == {frozenset({"gone.png"})} and "labels" not in found and "outside" not in found
    assert report.classes == {"cat": 3, "dog": 4} and report.parts == {"train": 6, "valid": 1}
    (few / "split.json").write_text("[]")
    assert names_found(check_folder(few, labels="labels.csv"))["split"] == {frozenset({"split.json"})}


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"poly_broken": 60, "poly_borken": 11, "mono_broken": 60}, [("poly_borken", "poly_broken")]),
        ({"dandelion": 300, "dandelions": 2, "daisy": 100}, [("dandelions", "dandelion")]),
        ({"mouse": 300, "moose": 9, "borken": 3, "broken": 40}, [("borken", "broken")]),
        ({"class_1": 300, "class_2": 10}, []),
        ({"healthy": 100, "unhealthy": 90}, []),
        ({"lion": 15, "lions": 15}, []),
    ],
)
def test_a_small_class_with_almost_the_name_of_a_large_one(counts, found):
    """Catches classes that are meant to differ in a number, and two of the same size."""
    assert misspelt(counts) == found


def test_what_the_command_refuses(few, tmp_path, capsys):
    assert cli.main(["check", str(few), "--out", str(few / "cat")]) == 2
    assert "name another with --out" in capsys.readouterr().err and sorted(few.iterdir()) == [few / "cat", few / "dog"]
    assert cli.main(["check", str(tmp_path / "nowhere")]) == 2
    assert "no folder" in capsys.readouterr().err
    assert cli.main(["check", str(few), "--group", "("]) == 2
    assert "not a valid regular expression" in capsys.readouterr().err
    assert cli.main(["restore", str(tmp_path)]) == 2
    assert "there is no undo file" in capsys.readouterr().err


def test_a_folder_without_serious_findings_ends_with_0(few, course_data, capsys):
    assert cli.main(["check", str(few), "--quarantine"]) == 0
    said = capsys.readouterr().out
    assert str(course_data / "check" / "few" / "report.html") in said and "moved" not in said
    assert "2 warnings" in said or "1 warning" in said


def test_the_summary_shows_three_examples_and_counts_the_rest(few):
    for number in range(5):
        (few / "cat" / f"empty_{number}.jpg").write_bytes(b"")
    lines = summary(check_folder(few)).splitlines()
    start = lines.index("serious: cannot be read (5)")
    assert lines[start + 1 : start + 5] == [
        *(f"    cat/empty_{number}.jpg: the file is empty" for number in range(3)),
        "    and 2 more",
    ]
    assert lines[start + 5].startswith("    fix: ") and SHOWN > 3


# Interruptions


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_undo_after_an_interruption_at_any_place(few, monkeypatch, at, moved):
    """Stopped at file `at`, after its line was written, before or after it has moved."""
    from data_setup.check import quarantine as module

    names = ["cat/p0_0.png", "cat/p1_2.png", "dog/p0_1.png"]
    before, move, calls = tree(few), module._move, []

    def stopping(source, target):
        calls.append(source)
        if len(calls) > at and not moved:
            raise KeyboardInterrupt
        move(source, target)
        if len(calls) > at:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_move", stopping)
    with pytest.raises(KeyboardInterrupt):
        quarantine(few, names)
    monkeypatch.undo()
    assert len(tree(few)) == len(before) - at - moved
    place = few.with_name("few-quarantine")
    with (place / UNDO).open("a", encoding="ascii") as file:
        file.write('{"folder": "/so')  # the next line, cut off
    assert restore(place) == f"{at + moved} file{'s' * (at + moved != 1)} moved back"
    assert tree(few) == before and not place.exists()


KILLED = """
import sys
from pathlib import Path
from data_setup.check import quarantine as module
from data_setup.check.quarantine import quarantine
move = module._move
def reporting(source, target):
    move(source, target)
    print("moved", flush=True)
module._move = reporting
folder = Path(sys.argv[1])
quarantine(folder, sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")))
"""


def test_undo_after_the_process_was_killed(tmp_path):
    """A real kill in the middle, and a second one while it is put back."""
    folder = tmp_path / "many"
    for number in range(400):
        file = folder / str(number % 7) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(str(number).encode())
    before = tree(folder)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE)
    for _ in range(30):
        process.stdout.readline()
    process.kill()
    process.communicate()
    assert 0 < len(list(folder.rglob("*.png"))) <= 370
    restore(tmp_path / "many-quarantine")
    assert tree(folder) == before


def test_a_place_that_is_taken_is_left_alone(few):
    undo = quarantine(few, ["cat/p0_0.png", "dog/p0_1.png"])
    (few / "cat" / "p0_0.png").write_bytes(b"newer")
    assert "its old place" not in restore(undo) and (few / "cat" / "p0_0.png").read_bytes() == b"newer"
    assert (few / "dog" / "p0_1.png").exists() and undo.exists()
    (few / "cat" / "p0_0.png").unlink()
    assert restore(undo) == "1 file moved back" and not undo.parent.exists()


def test_the_printed_line_that_moves_back_is_one_that_can_be_typed(few, capsys):
    """Catches a path with a blank in it, printed as two arguments."""
    folder = few.rename(few.with_name("two words"))
    (folder / "cat" / "broken.png").write_bytes(b"no picture")
    cli.main(["check", str(folder), "--quarantine"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("to move them back: "))
    assert cli.main(shlex.split(line)[shlex.split(line).index("restore") :]) == 0
    assert (folder / "cat" / "broken.png").is_file()


def test_a_second_quarantine_has_a_folder_of_its_own(few):
    first, second = quarantine(few, ["cat/p0_0.png"]), quarantine(few, ["cat/p1_2.png"])
    assert [undo.parent.name for undo in (first, second)] == ["few-quarantine", "few-quarantine-2"]
    assert Path(first).exists() and restore(first) == restore(second) == "1 file moved back"


def test_what_many_files_have_in_common_is_held_once(few):
    """Catches memory that grows with words and places: each file's facts come from a process by themselves."""
    facts = facts_of(few)
    for words in ([one.format for one in facts], [one.mode for one in facts], [one.kind for one in facts]):
        assert len({id(word) for word in words}) == len(set(words)) < len(words)
    place = list(places([one.name for one in facts], no_group).values())
    assert len({id(one) for one in place}) == len(set(place)) < len(place)


def test_two_folders_of_one_name_have_a_report_each(tmp_path, course_data):
    """Catches a report that is lost because another folder has the same last name."""
    ann, ben = tmp_path / "ann/photos", tmp_path / "ben/photos"
    own = course_data / "check/photos"
    assert report_folder(ann) == report_folder(ben) == own, "nobody's yet"
    own.mkdir(parents=True)
    (own / "report.json").write_text(json.dumps({"folder": str(ann)}))
    assert report_folder(ann) == own != report_folder(ben)
    assert report_folder(ben).parent == own.parent


def test_the_folder_test_is_the_test_part_without_train_too(tmp_path):
    """Catches test/ taken for a class, whose copies of cat/ would be a contradiction and both be moved away."""
    found = places(["cat/1.png", "dog/2.png", "test/3.png"], lambda name: None)
    assert [(place.part, place.label) for place in found.values()] == [(None, "cat"), (None, "dog"), ("test", None)]


def test_a_file_named_as_the_undo_file_stays(tmp_path):
    """Catches a quarantine that loses its own list."""
    (tmp_path / "in").mkdir()
    for name in (UNDO, "bad.png"):
        (tmp_path / "in" / name).write_text("no picture")
    undo = quarantine(tmp_path / "in", [UNDO, "bad.png"])
    assert [path.name for path in (tmp_path / "in").iterdir()] == [UNDO]
    restore(undo)
    assert (tmp_path / "in" / "bad.png").read_text() == "no picture"


def test_ctrl_c_ends_a_command_in_a_line(monkeypatch, capsys):
    def stopped(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("data_setup.check.command.main", stopped)
    assert cli.main(["check", "x"]) == 130
    assert capsys.readouterr().err == "\ncheck was stopped; the same command begins again\n"
