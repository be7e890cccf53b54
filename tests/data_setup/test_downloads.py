"""Downloads against a local server that behaves and misbehaves, and archives made to break out."""

import gzip
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data_setup
from data_setup import __main__ as cli
from data_setup import downloads, sets
from data_setup.base import folders

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


def pictures(seed=0, last_bytes=3000):
    """Small files named as in Imagenette, more than a MiB together; random bytes, which do not shrink."""
    rng = random.Random(seed)
    names = [f"{part}/n0{wnid}/n0{wnid}_{n}.JPEG" for part in ("train", "val") for wnid in (1, 2) for n in range(8)]
    files = {name: rng.randbytes(rng.randint(30_000, 60_000)) for name in names}
    return {**files, "val/n02/zlast.JPEG": rng.randbytes(last_bytes)}


def targz(members, top="") -> bytes:
    """A .tar.gz, not squeezed, so that equal beginnings give equal bytes. `members`: name -> bytes or TarInfo."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as tar,
    ):
        for name, content in members.items() if isinstance(members, dict) else members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(top + name)
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


class Server:
    """Serves `files` (path -> bytes) on the loopback interface; `modes` (path -> word) makes it misbehave."""

    def __init__(self):
        self.files, self.modes, self.asked = {}, {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.asked.append(self.path)
                outer.answer(self, self.path, outer.modes.get(self.path, "right"))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, to, path, mode):
        body, headers, status = self.files.get(path, b""), {"Content-Type": "application/gzip"}, 200
        length, tries = len(body), self.asked.count(path)
        if mode == "404" or path not in self.files:
            status, body = 404, b"<html>no such page</html>"
        elif mode == "503" or (mode == "503 twice" and tries <= 2):
            status, body = 503, b"<html>busy</html>"
        elif mode == "cut" or (mode == "cut once" and tries == 1):
            body = body[: len(body) // 2]
        elif mode == "wrong bytes":
            body = body[:100] + bytes([body[100] ^ 1]) + body[101:]
        elif mode == "damaged tail":
            body = body[:-2000] + bytes([body[-2000] ^ 1]) + body[-1999:]
        elif mode == "web page":
            body, headers = b"<!DOCTYPE html><html>Please sign in</html>", {"Content-Type": "text/html; charset=utf-8"}
        elif mode == "unnamed web page":
            body, headers = b"\n <html>Please sign in</html>", {}
            length = None
        elif mode == "too short":
            body = body[:-5]
            length = len(body)
        elif mode == "cut, no length":
            body, length = body[:-1], None
        elif mode == "x-gzip":
            headers = {"Content-Type": "application/x-tar", "Content-Encoding": "x-gzip"}
        elif mode == "moved":
            status, headers, body = 302, {"Location": "/elsewhere" + path}, b""
        elif mode == "hangs":
            threading.Event().wait(0.5)
        if status != 200 or "web page" in mode:
            length = len(body) if mode != "unnamed web page" else None
        to.send_response(status)
        for name, value in headers.items():
            to.send_header(name, value)
        if length is not None:
            to.send_header("Content-Length", str(length))
        to.end_headers()
        to.wfile.write(body)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("COURSE_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "WAITS_S", (0, 0))
    return tmp_path / "home"


@pytest.fixture
def offer(server, monkeypatch):
    """`offer(archive, archive...)` serves them as /1.tgz, /2.tgz... and puts the set "tiny" in the catalogue."""

    def offered(*bodies, kind="sha256", strip=1):
        archives = []
        for number, body in enumerate(bodies, start=1):
            server.files[f"/{number}.tgz"] = body
            digest = hashlib.sha256(body) if kind == "sha256" else hashlib.md5(body[:MIB])
            url = f"{server.address}/{number}.tgz"
            archives.append(sets.Archive(url, len(body), f"{kind}:{digest.hexdigest()}", strip))
        record = sets.DataSet("tiny", "a set", 33, len(bodies[0]), "free", server.address, "-", "-", tuple(archives))
        monkeypatch.setattr(sets, "CATALOGUE", (*sets.CATALOGUE, record))
        return record

    return offered


def on_disk(folder):
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop("manifest.json", None)
    return found


def nothing_left(home):
    return not [path.name for path in home.iterdir() if path.name != ".tiny.lock"]


# A server that behaves


@pytest.mark.parametrize("kind", ["sha256", "first-mib-md5"])
def test_archive_becomes_the_set(home, server, offer, kind):
    offer(body := targz(pictures(), top="imagenette2-160/"), kind=kind)
    folder = data_setup.prepare("tiny")
    assert folder == home / "tiny" and on_disk(folder) == pictures()
    assert not data_setup.problems("tiny", every_byte=True)
    manifest = folders.read_manifest(folder)
    assert manifest["licence"] == "free"
    digest = hashlib.sha256(body).hexdigest()
    assert manifest["archive"] == {"url": f"{server.address}/1.tgz", "bytes": len(body), "sha256": digest}
    assert (home / ".1.tgz.sha256").read_text() == f"{digest}  1.tgz\n"
    assert sorted(path.name for path in home.iterdir()) == [".1.tgz.sha256", ".tiny.lock", "tiny"]
    data_setup.prepare("tiny")
    assert server.asked == ["/1.tgz"]  # the second call asked nobody


def test_other_packing_of_a_mirror_gives_the_same_layout(home, server, offer, monkeypatch):
    record = offer(targz(pictures()), targz(pictures(), top="other/name/"))
    first, second = record.archives
    packed = sets.Archive(second.url, second.bytes, second.check, strip=2)
    again = sets.DataSet(**{**vars(record), "archives": (sets.Archive(**{**vars(first), "strip": 0}), packed)})
    monkeypatch.setattr(sets, "CATALOGUE", (again,))
    server.modes["/1.tgz"] = "404"
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert server.asked == ["/1.tgz", "/2.tgz"]  # a 404 is not tried again


def test_nothing_of_a_refused_archive_stays_when_the_next_is_right(home, server, offer):
    offer(targz([PICTURE, ("t/../../outside.jpg", b"x")]), targz(pictures(), top="t/"))
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert server.asked == ["/1.tgz", "/2.tgz"]


def test_course_mirror_replaces_the_address(home, server, offer, monkeypatch):
    record = offer(targz(pictures(), top="t/"))
    server.files["/room/1.tgz"] = server.files.pop("/1.tgz")
    monkeypatch.setenv("COURSE_MIRROR", f"{server.address}/room/")
    data_setup.prepare(record.name)
    assert server.asked == ["/room/1.tgz"]


def test_command_tells_what_was_downloaded(home, offer, capsys):
    offer(targz(pictures(), top="t/"))
    assert cli.main(["tiny"]) == 0
    said = capsys.readouterr().out
    assert f"tiny: ready with 33 pictures in {home / 'tiny'}" in said and "  val/n02: 9\n" in said


@pytest.mark.parametrize("mode, asked", [("503 twice", 3), ("cut once", 2), ("x-gzip", 1)])
def test_a_server_that_is_busy_or_odd_is_survived(home, server, offer, mode, asked):
    offer(targz(pictures(), top="t/"))
    server.modes["/1.tgz"] = mode
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert server.asked == ["/1.tgz"] * asked


def test_a_redirect_is_followed_and_its_end_is_checked(home, server, offer):
    offer(targz(pictures(), top="t/"))
    server.modes["/1.tgz"] = "moved"
    server.files["/elsewhere/1.tgz"] = server.files["/1.tgz"]
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    server.modes["/elsewhere/1.tgz"] = "web page"
    (home / "tiny" / "train" / "n01" / "n01_0.JPEG").unlink()
    with pytest.raises(RuntimeError, match="got a web page"):
        data_setup.prepare("tiny")


# A server that does not


@pytest.mark.parametrize(
    "mode, says, asked",
    [
        ("404", "the server answered 404", 1),
        ("503", "the server answered 503", 3),
        ("cut", "no answer, or it was cut off", 3),
        ("wrong bytes", "wrong bytes: its sha256 is", 1),
        ("damaged tail", "wrong bytes: its sha256 is", 1),
        ("web page", "got a web page, not an archive: does this network want you to sign in", 1),
        ("unnamed web page", "got a web page, not an archive", 1),
        ("too short", "bytes instead of", 1),
        ("cut, no length", "bytes instead of", 1),
        ("hangs", "no answer, or it was cut off", 3),
    ],
)
def test_failure_is_told_and_leaves_nothing(home, server, offer, monkeypatch, mode, says, asked):
    offer(targz(pictures(), top="t/"))
    server.modes["/1.tgz"] = mode
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.2 if mode == "hangs" else 5)
    with pytest.raises(RuntimeError) as error:
        data_setup.prepare("tiny")
    assert f"{server.address}/1.tgz: " in str(error.value) and says in str(error.value)
    assert "COURSE_MIRROR" in str(error.value) and "solar set needs no network" in str(error.value)
    assert server.asked == ["/1.tgz"] * asked
    assert nothing_left(home)


def test_no_network_is_told(home, server, offer):
    record = offer(targz(pictures(), top="t/"))
    server.close()
    with pytest.raises(RuntimeError, match="is there a network"):
        data_setup.prepare(record.name)
    assert nothing_left(home)


def test_a_failed_repair_keeps_the_set(home, server, offer):
    offer(targz(pictures(), top="t/"))
    data_setup.prepare("tiny")
    (home / "tiny" / "train" / "n01" / "n01_0.JPEG").unlink()
    before = on_disk(home / "tiny")
    server.modes["/1.tgz"] = "404"
    with pytest.raises(RuntimeError, match="404"):
        data_setup.prepare("tiny")
    assert on_disk(home / "tiny") == before
    server.modes.clear()
    assert on_disk(data_setup.prepare("tiny")) == pictures()


def test_damage_behind_the_published_mib_is_found(home, server, offer):
    """Where only the first MiB has a published check, gzip's own checksum must speak for the rest."""
    offer(targz(pictures(), top="t/"), kind="first-mib-md5")
    server.modes["/1.tgz"] = "damaged tail"
    with pytest.raises(RuntimeError, match=r"the archive is damaged \(CRC check failed"):
        data_setup.prepare("tiny")
    assert nothing_left(home)  # and nothing was recorded


def test_another_archive_than_the_first_time_is_refused(home, server, offer):
    offer(targz(pictures(), top="t/"), kind="first-mib-md5")
    data_setup.prepare("tiny")
    other = pictures()
    other["val/n02/zlast.JPEG"] = bytes(3000)
    body = targz(other, top="t/")
    assert len(body) == len(server.files["/1.tgz"]) and body[:MIB] == server.files["/1.tgz"][:MIB]
    server.files["/1.tgz"] = body
    (home / "tiny" / "train" / "n01" / "n01_0.JPEG").unlink()
    with pytest.raises(RuntimeError, match=r"not the file of the first download, recorded in .*\.1\.tgz\.sha256"):
        data_setup.prepare("tiny")
    (home / ".1.tgz.sha256").unlink()  # what the sentence says to do
    assert on_disk(data_setup.prepare("tiny")) == other


def test_too_small_a_disk_for_archive_and_pictures_is_told_first(home, server, offer, monkeypatch):
    record = offer(targz(pictures(), top="t/"))
    usage = SimpleNamespace(free=record.bytes * 2 - 1)
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="the disk is full"):
        data_setup.prepare("tiny")
    assert server.asked == []


# Killed, and two at once

CHILD = """
import os, signal, sys
from data_setup import downloads, prepare, sets
exec(sys.argv[1])
moment, calls, write = int(sys.argv[2]), 0, downloads._write_member

def watched(*args):
    global calls
    calls += 1
    if calls == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*args)

downloads._write_member = watched
print("ready", flush=True)
sys.stdin.readline()
prepare("tiny")
"""


@contextmanager
def child(record, moment):
    setup = f"from data_setup.sets import Archive, DataSet; sets.CATALOGUE = ({record!r},)"
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
def test_killed_while_unpacking_leaves_no_half_set(home, offer, moment):
    record = offer(targz(pictures(), top="t/"))
    with child(record, moment) as process:
        process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (home / "tiny").exists() and list(home.glob(".tiny.staging-*"))
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert sorted(path.name for path in home.iterdir()) == [".1.tgz.sha256", ".tiny.lock", "tiny"]


def test_two_at_once_download_once(home, server, offer):
    record = offer(targz(pictures(), top="t/"))
    with child(record, -1) as one, child(record, -1) as two:
        for process in (one, two):
            process.stdin.write("go\n")
            process.stdin.flush()
        one.communicate(timeout=60)
        two.communicate(timeout=60)
    assert one.returncode == two.returncode == 0
    assert server.asked == ["/1.tgz"] and on_disk(home / "tiny") == pictures()


# Archives made to break out


def member(name, kind=tarfile.REGTYPE, link="", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    for field, value in fields.items():
        setattr(info, field, value)
    return name, info


PICTURE = ("t/train/a.jpg", b"picture")
HOSTILE = {
    "dotdot": [PICTURE, ("t/../../outside.jpg", b"x")],
    "dotdot behind the stripped part": [PICTURE, ("../t/../outside.jpg", b"x")],
    "dotdot folder": [PICTURE, member("t/../../outside", tarfile.DIRTYPE)],
    "absolute": [PICTURE, ("/tmp/outside.jpg", b"x")],
    "symlink": [PICTURE, member("t/outside", tarfile.SYMTYPE, "/etc"), ("t/outside/x.jpg", b"x")],
    "symlink inside": [PICTURE, member("t/outside", tarfile.SYMTYPE, "train/a.jpg")],
    "long symlink": [PICTURE, member("t/" + "outside/" * 40, tarfile.SYMTYPE, "../" * 300)],
    "hardlink": [PICTURE, member("t/outside", tarfile.LNKTYPE, "/etc/passwd")],
    "character device": [PICTURE, member("t/outside", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "block device": [PICTURE, member("t/outside", tarfile.BLKTYPE, devmajor=8)],
    "pipe": [PICTURE, member("t/outside", tarfile.FIFOTYPE)],
    "windows path": [PICTURE, ("t/..\\..\\outside.jpg", b"x")],
    "windows drive": [PICTURE, ("C:/outside.jpg", b"x")],
    "line break in the name": [PICTURE, ("t/outside\n.jpg", b"x")],
    "same name twice": [PICTURE, ("t/outside.jpg", b"x"), ("t/outside.jpg", b"y")],
    "file and folder": [PICTURE, ("t/outside", b"x"), ("t/outside/b.jpg", b"y")],
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_archive_is_refused_whole(home, tmp_path, offer, attack):
    (tmp_path / "canary").write_text("untouched")
    offer(targz(HOSTILE[attack]))
    with pytest.raises(RuntimeError, match="member '.*outside.*refused"):
        data_setup.prepare("tiny")
    assert nothing_left(home)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "home"]
    assert not Path("/tmp/outside.jpg").exists()


def test_bomb_of_bytes_is_refused_early(tmp_path):
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(targz_header := targz_plain(64 * MIB)))
    assert len(targz_header) > 64 * MIB
    (tmp_path / "out").mkdir()
    with pytest.raises(downloads.Refused, match="unpacks to far more"):
        downloads.unpack(tmp_path / "bomb.tgz", tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) < 30 * MIB


def targz_plain(zeros) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("zeros.jpg")
        info.size = zeros
        tar.addfile(info, io.BytesIO(bytes(zeros)))
    return buffer.getvalue()


def test_zeros_behind_the_end_are_a_bomb_too(tmp_path):
    (tmp_path / "bomb.tgz").write_bytes(targz([PICTURE]) + gzip.compress(bytes(64 * MIB)))
    (tmp_path / "out").mkdir()
    with pytest.raises(downloads.Refused, match="unpacks to far more"):
        downloads.unpack(tmp_path / "bomb.tgz", tmp_path / "out")


def test_too_many_members_are_refused(tmp_path):
    (tmp_path / "many.tgz").write_bytes(targz({f"t/{n}.jpg": b"" for n in range(12)}))
    (tmp_path / "out").mkdir()
    with pytest.raises(downloads.Refused, match="more than 10 members"):
        downloads.unpack(tmp_path / "many.tgz", tmp_path / "out", max_files=10)


def test_macos_leftovers_are_skipped_and_accents_kept(tmp_path):
    files = {"t/._a.jpg": b"fork", "t/a.jpg": b"a", "./t/sub/été.jpg": b"b", "readme": b"no folder to strip"}
    (tmp_path / "odd.tgz").write_bytes(targz(files))
    (tmp_path / "out").mkdir()
    downloads.unpack(tmp_path / "odd.tgz", tmp_path / "out", strip=1)
    assert on_disk(tmp_path / "out") == {"a.jpg": b"a", "sub/été.jpg": b"b", "readme": b"no folder to strip"}


TAR = gzip.decompress(
    targz([*HOSTILE["long symlink"][:1], ("t/" + "n" * 120 + "/b.jpg", bytes(700)), ("t/c.jpg", b"c")])
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, len(TAR) - 1), st.integers(0, 255)), min_size=1, max_size=12),
    keep=st.integers(1, len(TAR)),
)
def test_mutated_archives_unpack_or_are_refused_and_nothing_else(tmp_path_factory, changes, keep):
    tar = bytearray(TAR)
    for position, value in changes:
        tar[position] = value
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "m.tgz").write_bytes(gzip.compress(bytes(tar[:keep]), 1))
    (folder / "out").mkdir()
    with suppress(downloads.Refused):
        downloads.unpack(folder / "m.tgz", folder / "out", strip=1)
    assert sorted(path.name for path in folder.iterdir()) == ["m.tgz", "out"]
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_published_checks_are_complete():
    """Every archive has a size and a check of a known kind, so nothing can be used unchecked."""
    lengths = {"sha256": 64, "first-mib-md5": 32}
    for record in sets.CATALOGUE:
        assert record.archives or record.tree
        assert record.name and record.licence and record.citation and record.pictures > 0
        for archive in record.archives:
            kind, _, digest = archive.check.partition(":")
            assert len(bytes.fromhex(digest)) * 2 == lengths[kind] and archive.bytes > 9e7
