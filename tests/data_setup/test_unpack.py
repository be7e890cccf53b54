"""Archives made to break out, bombs, damaged ones: each is refused whole, and nothing appears outside."""

import gzip
import io
import stat
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data_setup
from data_setup.downloads.fetch import Refused
from data_setup.downloads.unpack import unpack
from tests.data_setup.conftest import on_disk
from tests.data_setup.serving import MIB, pictures, targz, zipped

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


def link(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


HOSTILE_ZIPS = {
    "dotdot": [PICTURE, ("t/../../outside.jpg", b"x")],
    "absolute": [PICTURE, ("/tmp/outside.jpg", b"x")],
    "windows path": [PICTURE, ("t/..\\..\\outside.jpg", b"x")],
    "windows drive": [PICTURE, ("C:/outside.jpg", b"x")],
    "symlink": [PICTURE, (link("t/outside", stat.S_IFLNK | 0o777), b"/etc"), ("t/outside/x.jpg", b"x")],
    "device": [PICTURE, (link("t/outside", stat.S_IFCHR), b"")],
    "file and folder": [PICTURE, ("t/outside", b"x"), ("t/outside/b.jpg", b"y")],
}
ATTACKS = [("tgz", name) for name in HOSTILE] + [("zip", name) for name in HOSTILE_ZIPS]


@pytest.mark.parametrize("suffix, attack", ATTACKS)
def test_hostile_archive_is_refused_whole_and_the_same_command_works_afterwards(
    home, tmp_path, server, offer, suffix, attack
):
    (tmp_path / "canary").write_text("untouched")
    hostile = zipped(HOSTILE_ZIPS[attack]) if suffix == "zip" else targz(HOSTILE[attack])
    offer(hostile, suffix=suffix)
    with pytest.raises(RuntimeError, match=rf"/1\.{suffix}: member '.*outside.*refused"):
        data_setup.prepare("tiny")
    assert sorted(path.name for path in home.rglob("*")) == [".downloads", ".tiny.lock", "tiny"]  # .downloads/tiny
    assert not list((home / ".downloads/tiny").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "home"]
    assert not Path("/tmp/outside.jpg").exists()


def test_nothing_of_a_refused_archive_stays_when_the_next_is_right(home, server, offer):
    offer(targz([PICTURE, ("t/../../outside.jpg", b"x")]), targz(pictures(), top="t/"))
    assert on_disk(data_setup.prepare("tiny")) == pictures()
    assert server.asked == ["/1.tgz", "/2.tgz"]


def test_a_file_with_holes_is_refused_before_its_zeros_are_written(tmp_path):
    """A few bytes in the archive may stand for a terabyte, which no bound on the stream would see."""
    info = tarfile.TarInfo("t/holes.jpg")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,1",
        "GNU.sparse.size": str(1 << 26),
    }
    info.size = 1
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(b"x"))
    (tmp_path / "holes.tgz").write_bytes(buffer.getvalue())
    with pytest.raises(Refused, match="holes.jpg' is a link, a device or a file with holes"):
        unpack(tmp_path / "holes.tgz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bomb_in_a_zip_is_refused_early(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(8):
            archive.writestr(f"{number}.jpg", bytes(8 * MIB))
    with pytest.raises(Refused, match="unpacks to far more"):
        unpack(tmp_path / "bomb.zip", tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) < 30 * MIB


def test_a_bomb_in_a_single_file_is_refused_early(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(64 * MIB), 1))
    with pytest.raises(Refused, match="unpacks to far more"):
        unpack(tmp_path / "bomb.gz", tmp_path / "out")


def test_too_many_files_in_a_zip_are_refused(tmp_path):
    (tmp_path / "many.zip").write_bytes(zipped({f"{n}.jpg": b"" for n in range(12)}))
    with pytest.raises(Refused, match="more than 10 members"):
        unpack(tmp_path / "many.zip", tmp_path / "out", max_files=10)


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "a.gz"])
@pytest.mark.parametrize("damage", [b"no archive", b"PK\x03\x04", b"\x1f\x8b\x08"])
def test_a_damaged_archive_is_refused(tmp_path, name, damage):
    (tmp_path / name).write_bytes(damage)
    with pytest.raises(Refused, match="the archive is damaged"):
        unpack(tmp_path / name, tmp_path / "out")


def test_a_zip_with_a_flipped_bit_is_refused(tmp_path):
    body = zipped({"t/a.jpg": b"picture" * 100})
    at = body.index(b"picturepicture")
    (tmp_path / "a.zip").write_bytes(body[:at] + b"P" + body[at + 1 :])
    with pytest.raises(Refused, match="the archive is damaged .*CRC"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_each_kind_of_archive_comes_out_as_it_went_in(tmp_path):
    files = {"t/sub/a.jpg": b"a", "t/b.jpg": b"b"}
    (tmp_path / "a.zip").write_bytes(zipped([*files.items(), ("t/sub/", b""), ("__MACOSX/t/._a.jpg", b"fork")]))
    (tmp_path / "a.tar.gz").write_bytes(targz(files))
    (tmp_path / "a-idx3-ubyte.gz").write_bytes(gzip.compress(b"numbers"))
    (tmp_path / "a.mat").write_bytes(b"MATLAB")
    for name in ("a.zip", "a.tar.gz", "a-idx3-ubyte.gz", "a.mat"):
        unpack(tmp_path / name, tmp_path / name.replace(".", "_"), strip=1)
    assert on_disk(tmp_path / "a_zip") == on_disk(tmp_path / "a_tar_gz") == {"sub/a.jpg": b"a", "b.jpg": b"b"}
    assert on_disk(tmp_path / "a-idx3-ubyte_gz") == {"a-idx3-ubyte": b"numbers"}
    assert on_disk(tmp_path / "a_mat") == {"a.mat": b"MATLAB"}


def test_bomb_of_bytes_is_refused_early(tmp_path):
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(targz_header := targz_plain(64 * MIB)))
    assert len(targz_header) > 64 * MIB
    (tmp_path / "out").mkdir()
    with pytest.raises(Refused, match="unpacks to far more"):
        unpack(tmp_path / "bomb.tgz", tmp_path / "out")
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
    with pytest.raises(Refused, match="unpacks to far more"):
        unpack(tmp_path / "bomb.tgz", tmp_path / "out")


def test_too_many_members_are_refused(tmp_path):
    (tmp_path / "many.tgz").write_bytes(targz({f"t/{n}.jpg": b"" for n in range(12)}))
    (tmp_path / "out").mkdir()
    with pytest.raises(Refused, match="more than 10 members"):
        unpack(tmp_path / "many.tgz", tmp_path / "out", max_files=10)


def test_macos_leftovers_are_skipped_and_accents_kept(tmp_path):
    files = {"t/._a.jpg": b"fork", "t/a.jpg": b"a", "./t/sub/été.jpg": b"b", "readme": b"no folder to strip"}
    (tmp_path / "odd.tgz").write_bytes(targz(files))
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "odd.tgz", tmp_path / "out", strip=1)
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
    with suppress(Refused):
        unpack(folder / "m.tgz", folder / "out", strip=1)
    assert sorted(path.name for path in folder.iterdir()) == ["m.tgz", "out"]
    assert not any(path.is_symlink() for path in folder.rglob("*"))
