"""A download from a server that misbehaves: it ends finished, or with a sentence, and the next run goes on."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import data_setup
from data_setup import __main__ as cli
from data_setup.base import folders
from data_setup.downloads import build, fetch
from tests.data_setup.conftest import on_disk
from tests.data_setup.serving import KIB, MIB, MODES, flipped, pictures, targz

ROOT = Path(__file__).resolve().parents[2]
BODY = targz(pictures(), top="t/")

FINISHES = {  # mode: requests that it takes
    "no ranges, cut once": 2,
    "cut once": 2,
    "cut once, no length": 2,
    "cut again and again": -(-len(BODY) // (200 * KIB)),
    "stalls once": 2,
    "503 twice": 3,
    "429 once": 2,
    "429, retry after nonsense": 2,
    "429, retry after a date": 2,
    "in chunks": 1,
    "x-gzip": 1,
    "length is nonsense": 1,
    "another file at first": 2,
    "wrong bytes, cut once": 3,  # the patched file is wrong, so it is got again whole
    "wrong range": 3,
    "416 for the rest": 3,
}
FAILS = {  # mode: what is said, requests
    "404": ("the server answered 404 Not Found", 1),
    "403": ("the server answered 403 Forbidden", 1),
    "500": ("the server answered 500 Internal Server Error", 3),
    "503": ("the server answered 503 Service Unavailable", 3),
    "429, retry after an hour": ("the server answered 429 Too Many Requests and asks to wait 3,600 s", 1),
    "204": ("the server answered 204 No Content", 1),
    "304": ("the server answered 304 Not Modified", 1),
    "redirects in a circle": ("it redirects in a circle", 31),
    "redirects to a file": ("not an address to download from (InvalidSchema)", 1),
    "redirects to nowhere": ("not an address to download from (InvalidURL)", 1),
    "web page": ("got a web page, not an archive: does this network want you to sign in?", 1),
    "unnamed web page": ("got a web page, not an archive: does this network want you to sign in?", 1),
    "empty": (f"cut off after 0 of {len(BODY):,} bytes", 3),
    "cut at the same byte": (f"cut off after 102,400 of {len(BODY):,} bytes", 4),
    "cut at once": ("cut off", 3),
    "hangs up": ("no answer: is there a network?", 3),
    "resets": ("", None),  # what arrives before a reset depends on the machine
    "hangs": ("no answer for 0.15 s", 3),
    "stalls": ("no answer for 0.15 s after 61,440 of", 3),
    "drips": ("bytes in 0.", 3),
    "wrong bytes": ("wrong bytes: its sha256 is", 1),
    "damaged tail": ("wrong bytes: its sha256 is", 1),
    "always wrong, always cut": ("wrong bytes: its sha256 is", 6),
    "says it is longer": (f"the server offers {len(BODY) + 1000:,} bytes instead of {len(BODY):,}", 1),
    "says it is shorter": (f"the server offers {len(BODY) - 1000:,} bytes instead of {len(BODY):,}", 1),
    "is shorter": (f"the server offers {len(BODY) - 5:,} bytes instead of {len(BODY):,}", 1),
    "is longer, no length": (f"the server sends more than {len(BODY):,} bytes", 1),
    "part without being asked": ("the server answered 206 Partial Content", 1),
}


def test_every_way_to_misbehave_is_tried():
    assert set(MODES) - {"moved", "holds"} == set(FINISHES) | set(FAILS) and not set(FINISHES) & set(FAILS)


def set_limits(monkeypatch, mode):
    """Short time limits, for the servers that need one; a busy machine must not make the others run into it."""
    if "stalls" in mode or mode == "hangs":
        monkeypatch.setattr(fetch, "TIMEOUT_S", 0.15)
    if mode == "drips":
        monkeypatch.setattr(fetch, "SLOW_S", 0.1)


@pytest.mark.parametrize("mode", FINISHES)
def test_a_fault_is_survived(home, server, offer, monkeypatch, mode):
    offer(BODY)
    set_limits(monkeypatch, mode)
    server.modes["/1.tgz"] = mode
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert not data_setup.problems("tiny", every_byte=True)
    assert len(server.requests) == FINISHES[mode]
    assert names_in(home) == [".downloads", ".tiny.lock", "tiny"] and names_in(home / ".downloads/tiny") == RECORDED


@pytest.mark.parametrize("mode", FAILS)
def test_a_fault_is_explained_and_the_same_command_goes_on_afterwards(home, server, offer, monkeypatch, mode, capsys):
    offer(BODY)
    set_limits(monkeypatch, mode)
    server.modes["/1.tgz"] = mode
    said, requests = FAILS[mode]
    assert cli.main(["tiny"]) == 1
    error = capsys.readouterr().err
    assert f"{server.address}/1.tgz: {said}" in error or mode in ("drips", "resets", "cut at once") and said in error
    assert "type again: python -m data_setup tiny" in error and "COURSE_MIRROR" in error
    assert requests is None or len(server.requests) == requests
    assert names_in(home) == [".downloads", ".tiny.lock"]  # nothing that looks like a set
    kept = fetch.bytes_so_far(home / ".downloads/tiny/1.tgz")
    assert (f"{kept:,} of {len(BODY):,} bytes are kept in {home}" in error) == (kept > 0)

    server.modes.clear()
    server.requests.clear()
    assert cli.main(["tiny"]) == 0
    assert on_disk(home / "tiny") == pictures() and names_in(home) == [".downloads", ".tiny.lock", "tiny"]
    (request,) = server.requests
    if mode in ("cut at the same byte", "stalls", "drips"):
        assert kept > 0
    assert (request.first_byte or 0, request.sent) == (kept, len(BODY) - kept)  # only the rest was sent


RECORDED = ["1.tgz.sha256"]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


# What is asked for


def test_a_resumed_download_asks_for_the_rest_only(home, server, offer):
    offer(BODY)
    server.modes["/1.tgz"] = "cut again and again"
    data_setup.prepare("tiny")
    starts = [request.first_byte or 0 for request in server.requests]
    assert starts == list(range(0, len(BODY), 200 * KIB))
    assert sum(request.sent for request in server.requests) == len(BODY)


@pytest.mark.parametrize("cut_at", [1, 9, 10, 511, 64 * KIB, MIB, len(BODY) - 1])
def test_a_cut_at_any_byte_is_mended_in_the_next_run(home, server, offer, cut_at):
    record = offer(BODY)
    downloads = home / ".downloads/tiny"
    downloads.mkdir(parents=True)
    (downloads / "1.tgz").write_bytes(BODY[:cut_at])
    data_setup.prepare(record.name)
    (request,) = server.requests
    assert (request.first_byte, request.sent) == (cut_at, len(BODY) - cut_at)


@pytest.mark.parametrize(
    "found", [flipped(BODY, 5)[:MIB], bytes(len(BODY)), BODY + b"x"], ids=["part", "whole", "more"]
)
def test_what_lies_there_and_is_of_another_file_is_downloaded_again(home, server, offer, found):
    offer(BODY)
    (home / ".downloads/tiny").mkdir(parents=True)
    (home / ".downloads/tiny/1.tgz").write_bytes(found)
    assert on_disk(data_setup.prepare("tiny")) == pictures()


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": 3}'])
def test_a_damaged_note_of_the_origin_does_no_harm(home, server, offer, note):
    offer(BODY)
    (home / ".downloads/tiny").mkdir(parents=True)
    (home / ".downloads/tiny/1.tgz").write_bytes(BODY[:1000])
    (home / ".downloads/tiny/1.tgz.from").write_text(note)
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert [request.first_byte for request in server.requests] == [1000]


DATE = "Thu, 26 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    "headers, sent",
    [
        ({"ETag": '"a"', "Last-Modified": DATE}, {"If-Range": '"a"'}),
        ({"ETag": 'W/"a"', "Last-Modified": DATE}, {"If-Range": DATE}),  # a weak one does not promise the same bytes
        ({"ETag": 'W/"a"'}, {}),
        ({}, {}),
    ],
)
def test_a_server_is_asked_whether_the_file_is_still_the_same(tmp_path, headers, sent):
    fetch._remember_origin(tmp_path / "a", "http://here/a", SimpleNamespace(headers=headers))
    assert fetch._if_still_the_same(tmp_path / "a", "http://here/a") == sent
    assert fetch._if_still_the_same(tmp_path / "a", "http://mirror/a") == {}  # its tags mean nothing there


def test_a_mirror_goes_on_where_the_first_address_stopped(home, server, offer, monkeypatch):
    record = offer(BODY)
    (archive,) = record.packings[0]
    server.files["/other.tgz"] = BODY
    monkeypatch.setitem(vars(archive), "urls", (*archive.urls, f"{server.address}/other.tgz"))
    server.modes["/1.tgz"] = "cut at the same byte"
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert (server.requests[-1].path, server.requests[-1].first_byte) == ("/other.tgz", 100 * KIB)
    assert folders.read_manifest(home / "tiny")["archives"][0]["url"] == f"{server.address}/other.tgz"


def test_a_second_packing_is_used_when_the_first_is_gone(home, server, offer):
    offer(BODY, targz(pictures(), top="other/"))
    server.modes["/1.tgz"] = "404"
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert server.asked == ["/1.tgz", "/2.tgz"]  # a 404 is not tried again


def test_course_mirror_replaces_the_address(home, server, offer, monkeypatch):
    offer(BODY)
    server.files = {"/room/1.tgz": BODY}
    monkeypatch.setenv("COURSE_MIRROR", f"{server.address}/room/")
    data_setup.prepare("tiny")
    assert server.asked == ["/room/1.tgz"]


def test_a_mirror_may_have_a_folder_for_each_set(home, server, offer, monkeypatch):
    """Two sets have files of the same name: MNIST and Fashion-MNIST."""
    offer(BODY)
    server.files = {"/1.tgz": b"of another set", "/tiny/1.tgz": BODY}
    monkeypatch.setenv("COURSE_MIRROR", server.address)
    assert on_disk(data_setup.prepare("tiny")) == pictures()


def test_a_mirror_without_http_is_explained(home, offer, monkeypatch):
    offer(BODY)
    monkeypatch.setenv("COURSE_MIRROR", "localhost:9/room")
    with pytest.raises(RuntimeError, match="localhost:9/room/1.tgz: not an address to download from"):
        data_setup.prepare("tiny")


def test_a_redirect_is_followed_and_its_end_is_checked(home, server, offer):
    offer(BODY)
    server.files["/elsewhere/1.tgz"] = BODY
    server.modes |= {"/1.tgz": "moved", "/elsewhere/1.tgz": "cut once"}
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert server.asked == ["/1.tgz", "/elsewhere/1.tgz"] * 2
    (home / "tiny" / "train" / "n01" / "n01_0.JPEG").unlink()
    server.modes["/elsewhere/1.tgz"] = "web page"
    with pytest.raises(RuntimeError, match="got a web page"):
        data_setup.prepare("tiny")


def test_no_network_is_explained(home, server, offer):
    offer(BODY)
    server.close()
    with pytest.raises(RuntimeError, match="is there a network"):
        data_setup.prepare("tiny")


@pytest.mark.parametrize("header, seconds", [("7", 7), ("-3", 0), ("nan", 0), ("inf", 0), ("soon", 0), (None, 0)])
def test_retry_after_is_read(header, seconds):
    assert fetch._seconds_to_wait(header) == seconds


def test_a_short_wait_that_the_server_asks_for_is_kept(home, server, offer, monkeypatch, capsys):
    offer(BODY)
    slept = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    monkeypatch.setitem(MODES, "wait for 7 s", wait_for_7)
    server.modes["/1.tgz"] = "wait for 7 s"
    data_setup.prepare("tiny")
    assert [seconds for seconds in slept if seconds] == [7]
    assert (
        capsys.readouterr().out == "the server answered 429 Too Many Requests and asks to wait 7 s: trying again then\n"
    )


def wait_for_7(server, to, request, reply, tries):
    if tries == 1:
        reply.status, reply.headers = 429, {"Retry-After": "7"}
    return reply


# Checks, space, the bar


def test_the_archive_and_its_check_are_recorded(home, server, offer):
    offer(BODY)
    data_setup.prepare("tiny")
    digest = hashlib.sha256(BODY).hexdigest()
    manifest = folders.read_manifest(home / "tiny")
    assert manifest["archives"] == [{"url": f"{server.address}/1.tgz", "bytes": len(BODY), "sha256": digest}]
    assert (home / ".downloads/tiny/1.tgz.sha256").read_text() == f"{digest}  1.tgz\n"
    data_setup.prepare("tiny")
    assert server.asked == ["/1.tgz"]  # the second call asked nobody


@pytest.mark.parametrize("kind", ["md5", "first-mib-md5"])
def test_weaker_checks_are_compared_as_well(home, server, offer, kind):
    offer(BODY, kind=kind)
    server.modes["/1.tgz"] = "wrong bytes"
    with pytest.raises(RuntimeError, match=f"wrong bytes: its {kind} is"):
        data_setup.prepare("tiny")
    server.modes.clear()
    assert on_disk(data_setup.prepare("tiny")) == pictures()


def test_damage_behind_the_published_mib_is_found(home, server, offer):
    """Where only the first MiB has a published check, gzip's own checksum must speak for the rest."""
    offer(BODY, kind="first-mib-md5")
    server.modes["/1.tgz"] = "damaged tail"
    with pytest.raises(RuntimeError, match=r"the archive is damaged \(CRC check failed"):
        data_setup.prepare("tiny")
    assert names_in(home / ".downloads/tiny") == []  # nothing was recorded, nothing kept
    server.modes.clear()
    assert on_disk(data_setup.prepare("tiny")) == pictures()


def test_another_archive_than_the_first_time_is_refused(home, server, offer):
    offer(BODY, kind="first-mib-md5")
    data_setup.prepare("tiny")
    other = pictures()
    other["val/n02/zlast.JPEG"] = bytes(3000)
    body = targz(other, top="t/")
    assert len(body) == len(BODY) and body[:MIB] == BODY[:MIB]
    server.files["/1.tgz"] = body
    (home / "tiny" / "train" / "n01" / "n01_0.JPEG").unlink()
    with pytest.raises(RuntimeError, match=r"not the file of the first download, recorded in .*1\.tgz\.sha256"):
        data_setup.prepare("tiny")
    (home / ".downloads/tiny/1.tgz.sha256").unlink()  # what the sentence says to do
    assert on_disk(data_setup.prepare("tiny")) == other


def test_a_failed_repair_keeps_the_set(home, server, offer):
    offer(BODY)
    data_setup.prepare("tiny")
    (home / "tiny" / "train" / "n01" / "n01_0.JPEG").unlink()
    before = on_disk(home / "tiny")
    server.modes["/1.tgz"] = "404"
    with pytest.raises(RuntimeError, match="404"):
        data_setup.prepare("tiny")
    assert on_disk(home / "tiny") == before


def test_too_small_a_disk_for_archive_and_pictures_is_told_first(home, server, offer, monkeypatch):
    record = offer(BODY)
    needed = 2 * len(BODY) + 33 * 4096
    assert record.space == needed
    usage = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=f"the disk is full: {needed:,} bytes are needed"):
        data_setup.prepare("tiny")
    assert server.asked == []
    usage.free = needed
    data_setup.prepare("tiny")


def test_what_is_downloaded_already_needs_no_space_again(home, server, offer, monkeypatch):
    record = offer(BODY)
    (home / ".downloads/tiny").mkdir(parents=True)
    (home / ".downloads/tiny/1.tgz").write_bytes(BODY[:MIB])
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: SimpleNamespace(free=record.space - MIB))
    assert on_disk(data_setup.prepare("tiny")) == pictures()


def test_a_disk_that_fills_up_while_downloading_is_told_and_the_bytes_stay(home, server, offer, monkeypatch):
    offer(BODY)
    write = build.fetch

    def full(url, target, expected_bytes):
        target.write_bytes(BODY[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "fetch", full)
    with pytest.raises(OSError, match="the disk is full: .* bytes are needed in .*COURSE_DATA"):
        data_setup.prepare("tiny")
    assert names_in(home) == [".downloads", ".tiny.lock"]
    monkeypatch.setattr(build, "fetch", write)
    data_setup.prepare("tiny")
    assert [request.first_byte for request in server.requests] == [1000]


@pytest.mark.parametrize("switch, shown", [("off", False), ("on", True)])
def test_the_bar_says_rate_and_remaining_time_and_can_be_switched_off(home, server, monkeypatch, capsys, switch, shown):
    monkeypatch.setenv("COURSE_PROGRESS", switch)
    with fetch.progress(title="some.tgz", total=1000, initial=500, unit="B", unit_scale=True) as bar:
        bar.update(100)
        bar.refresh()
    said = capsys.readouterr().out
    assert ("some.tgz:  60%" in said and "600/1.00k" in said and "B/s]" in said) == shown


def test_the_list_shows_a_download_that_was_stopped(home, server, offer, capsys):
    offer(BODY)
    (home / ".downloads/tiny").mkdir(parents=True)
    (home / ".downloads/tiny/1.tgz").write_bytes(bytes(1_200_000))
    assert cli.main(["--list"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("tiny"))
    assert line.split()[2:6] == ["2", "1", "MB", "so"]
    data_setup.prepare("tiny")
    data_setup.prepare("tiny", limit=10)
    cli.main(["--list"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("tiny"))
    assert line.split()[3:5] == ["yes,", "tiny-10"]


# Killed, and two at once

CHILD = """
import os, signal, sys, time
from data_setup import downloads, prepare, sets
from data_setup.downloads import fetch, records, unpack
exec(sys.argv[1])
moment, calls, write = int(sys.argv[2]), 0, unpack._write

def watched(*args):
    global calls
    calls += 1
    if calls == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*args)

unpack._write = watched
print("ready", flush=True)
sys.stdin.readline()
prepare("tiny")
"""


@contextmanager
def child(record, moment):
    setup = f"from data_setup.downloads.records import Archive, DataSet; sets.CATALOGUE = ({record!r},)"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, setup, str(moment)],
        cwd=ROOT,
        env=dict(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.mark.parametrize("moment", [1, 20, 33])
def test_killed_while_unpacking_leaves_no_half_set_and_downloads_nothing_again(home, server, offer, moment):
    record = offer(BODY)
    with child(record, moment) as process:
        process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (home / "tiny").exists() and list(home.glob(".tiny.staging-*"))
    server.files.clear()  # the archive is here already
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert server.asked == ["/1.tgz"] and names_in(home) == [".downloads", ".tiny.lock", "tiny"]


def test_killed_while_downloading_goes_on_where_it_was(home, server, offer):
    record = offer(BODY)
    server.modes["/1.tgz"] = "holds"
    archive = home / ".downloads/tiny/1.tgz"
    with child(record, -1) as process:
        process.stdin.write("go\n")
        process.stdin.flush()
        while not fetch.bytes_so_far(archive):
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    kept = fetch.bytes_so_far(archive)
    assert 0 < kept <= 300 * KIB and not (home / "tiny").exists()
    server.modes.clear()
    server.requests.clear()
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    (request,) = server.requests
    assert (request.first_byte, request.sent) == (kept, len(BODY) - kept)


def test_two_at_once_download_once(home, server, offer):
    record = offer(BODY)
    with child(record, -1) as one, child(record, -1) as two:
        for process in (one, two):
            process.stdin.write("go\n")
            process.stdin.flush()
        said = one.communicate(timeout=60)[0] + two.communicate(timeout=60)[0]
    assert one.returncode == two.returncode == 0, said
    assert server.asked == ["/1.tgz"] and on_disk(home / "tiny") == pictures()


class StopsAtOnce:
    """A bar whose first move is Ctrl-C."""

    def __init__(self, **settings):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, _):
        raise KeyboardInterrupt


def test_stopped_by_hand_keeps_what_came_and_goes_on(home, server, offer, monkeypatch, capsys):
    offer(BODY)
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "progress", StopsAtOnce)
        assert cli.main(["tiny"]) == 130
    assert capsys.readouterr().err == "\nstopped; the same command goes on from here\n"
    kept = fetch.bytes_so_far(home / ".downloads/tiny/1.tgz")
    assert 0 < kept < len(BODY) and names_in(home) == [".downloads", ".tiny.lock"]
    assert cli.main(["tiny"]) == 0
    assert server.requests[-1].first_byte == kept and on_disk(home / "tiny") == pictures()
