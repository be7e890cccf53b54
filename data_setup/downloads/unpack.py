"""An archive into a folder: regular files with names inside the folder, not too many and not too large, or nothing.

The standard library's own filters let links out of the target on some supported Python versions (CVE-2025-4517,
fixed in 3.11.13), and archives of pictures need no links. Archives whose published check fits come here as well: a
check covers the first MiB only where no more was published.
"""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm.utils import CallbackIOWrapper

from data_setup.base.progress import progress
from data_setup.downloads.fetch import Refused

MIB = 1 << 20
MAX_FILES = 200_000
MAX_GROWTH = 4  # unpacked bytes per archive byte; photographs hardly shrink, so more than this is a bomb
SLACK = 16 * MIB  # small archives of grey pictures shrink more


class _Bounded:
    """What comes out of an archive, over all its members; refuses to grow past `most` bytes."""

    def __init__(self, most: int):
        self.left = most

    def read(self, stream: BinaryIO, size: int) -> bytes:
        data = stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise Refused("unpacks to far more than pictures can: refused")
        return data


class _BoundedStream:
    """A stream of unpacked bytes with the bound, for those who read it themselves."""

    def __init__(self, stream: BinaryIO, bound: _Bounded):
        self.stream, self.bound = stream, bound

    def read(self, size: int) -> bytes:
        return self.bound.read(self.stream, size)


def unpack(archive: Path, folder: Path, *, strip: int = 0, max_files: int = MAX_FILES) -> None:
    """Unpack `archive` into `folder`, dropping `strip` leading folders from every name.

    By its name: .tgz, .tar.gz and .zip are archives, .gz is one file, anything else is copied as it is. Raises
    Refused, naming the member, for anything but regular files and folders with names inside the target, for too
    many files or bytes, and for a damaged archive; throw `folder` away then.
    """
    bound = _Bounded(archive.stat().st_size * MAX_GROWTH + SLACK)
    try:
        if archive.name.endswith((".tgz", ".tar.gz")):
            _unpack_tar(archive, folder, strip, max_files, bound)
        elif archive.suffix == ".zip":
            _unpack_zip(archive, folder, strip, max_files, bound)
        elif archive.suffix == ".gz":
            with gzip.open(archive) as stream:
                _write(_BoundedStream(stream, bound), folder / archive.stem, archive.stem)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(archive, folder / archive.name)
    except Refused:
        raise
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        ValueError,
        OverflowError,
    ) as error:
        raise Refused(f"the archive is damaged ({error})") from error


def _unpack_tar(archive: Path, folder: Path, strip: int, max_files: int, bound: _Bounded) -> None:
    with (
        archive.open("rb") as raw,
        progress(title=f"unpacking {archive.name}", total=archive.stat().st_size, unit="B", unit_scale=True) as bar,
        gzip.open(CallbackIOWrapper(bar.update, raw, "read")) as stream,
    ):
        bounded = _BoundedStream(stream, bound)
        with tarfile.open(fileobj=bounded, mode="r|") as tar:  # a stream: it can only go forwards
            for number, member in enumerate(tar):
                if number >= max_files:
                    raise Refused(f"more than {max_files:,} members: refused")
                if not (member.isreg() or member.isdir()) or member.issparse() or member.size < 0:
                    _refuse_kind(member.name)
                if path := _path_for(member.name, folder, strip, is_folder=member.isdir()):
                    _write(tar.extractfile(member), path, member.name)
        while bounded.read(MIB):  # to the end, where gzip compares its checksum
            pass


def _unpack_zip(archive: Path, folder: Path, strip: int, max_files: int, bound: _Bounded) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if len(members) > max_files:
            raise Refused(f"more than {max_files:,} members: refused")
        for member in progress(members, f"unpacking {archive.name}", unit=" files"):
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                _refuse_kind(member.filename)
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Refused(f"member {member.filename!r} is encrypted or packed in an unusual way: refused")
            if path := _path_for(member.filename, folder, strip, is_folder=member.is_dir()):
                with opened.open(member) as stream:
                    _write(_BoundedStream(stream, bound), path, member.filename)


def _refuse_kind(name: str) -> None:
    raise Refused(f"member {name!r} is a link, a device or a file with holes, not a plain file or a folder: refused")


def _path_for(name: str, folder: Path, strip: int, *, is_folder: bool) -> Path | None:
    """Where a member goes; None for a folder (they come with their files) and for what macOS leaves behind."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or not name.isprintable() or any(c in name for c in "\\:"):
        raise Refused(f"member {name!r} has a name that leads out of the folder: refused")
    if is_folder or not parts or parts[-1].startswith("._") or parts[0] == "__MACOSX":
        return None
    return folder.joinpath(*(parts[strip:] or parts[-1:]))


def _write(stream, path: Path, name: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            shutil.copyfileobj(stream, file, MIB)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise Refused(f"member {name!r} comes twice, as files or as file and folder: refused") from None
