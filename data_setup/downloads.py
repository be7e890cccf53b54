"""Data sets that are downloaded: get the archive, check it, unpack it safely.

Nothing is used without its check. An archive may hold regular files and folders only: the standard library's
own filters let links out of the target on some supported Python versions (CVE-2025-4517, fixed in 3.11.13).
pooch downloads; its `retrieve` would also ask again after a 404, and its `Untar` unpacks without a filter on 3.11.
"""

import gzip
import hashlib
import os
import shutil
import tarfile
import time
import zlib
from pathlib import Path, PurePosixPath

import pooch
import requests
from tqdm import tqdm

from data_setup.base.files import sha256
from data_setup.sets import Archive, DataSet

TIMEOUT_S = 30  # as pooch
WAITS_S = (1, 3)  # before the second and the third attempt
MIB = 1 << 20
MAX_FILES = 200_000
MAX_GROWTH = 4  # unpacked bytes per archive byte; photographs hardly shrink, so more than this is a bomb

WEB_PAGE = "got a web page, not an archive: does this network want you to sign in?"


class Refused(ValueError):
    """An archive that must not be used; the message says why."""


def build(staging: Path, record: DataSet) -> dict:
    """Download and unpack `record` into the empty folder `staging`; returns facts for the manifest.

    Tries the record's archives in order, each at $COURSE_MIRROR/FILENAME where that is set. Raises
    RuntimeError, with one line for each address, when none of them gives the right archive.
    """
    failures: dict[str, str] = {}
    for archive in record.archives:
        filename = archive.url.rpartition("/")[2]
        mirror = os.environ.get("COURSE_MIRROR")
        url = f"{mirror.rstrip('/')}/{filename}" if mirror else archive.url
        if url in failures:
            continue
        download, recorded = staging / ".download", staging.with_name(f".{filename}.sha256")
        try:
            fetch(url, download, archive.bytes)
            digest = check(download, archive, recorded)
            unpack(download, staging, strip=archive.strip)
        except (requests.RequestException, Refused) as error:
            failures[url] = _reason(error)
            for path in staging.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            continue
        download.unlink()
        recorded.write_text(f"{digest}  {filename}\n", encoding="utf-8")  # as sha256sum writes it
        return {"archive": {"url": url, "bytes": archive.bytes, "sha256": digest}}
    lines = [f"could not download {record.name}:", *(f"  {url}: {why}" for url, why in failures.items())]
    lines.append("check the network, or set COURSE_MIRROR to the address of a server that has the archive")
    lines.append("(the solar set needs no network: python -m data_setup solar)")
    raise RuntimeError("\n".join(lines))


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code} {response.reason}"
    if isinstance(error, requests.RequestException):
        return f"no answer, or it was cut off: is there a network? ({type(error).__name__})"
    return str(error)


def fetch(url: str, target: Path, expected_bytes: int) -> None:
    """Download `url` to the file `target`; up to three attempts while the server is busy or the line is cut.

    An answer such as 404 is final. Proxy variables are honoured. Raises requests.RequestException, or
    Refused for an answer that cannot be the archive.
    """

    def look(response: requests.Response, **_) -> None:
        response.raw.headers.pop("Content-Encoding", None)  # "x-gzip" would make requests unpack the .gz
        if not response.ok or response.is_redirect:
            return
        kind, length = response.headers.get("Content-Type", ""), response.headers.get("Content-Length")
        if "text/html" in kind:
            response.close()
            raise Refused(WEB_PAGE)
        if length is not None and int(length) != expected_bytes:
            response.close()
            raise Refused(f"the server offers {int(length):,} bytes instead of {expected_bytes:,}")

    for wait in (*WAITS_S, None):
        try:
            with tqdm(total=expected_bytes, desc="downloading", unit="B", unit_scale=True, delay=1, leave=False) as bar:
                get = pooch.HTTPDownloader(
                    progressbar=bar,
                    chunk_size=MIB,
                    timeout=TIMEOUT_S,
                    headers={"Accept-Encoding": "identity"},
                    hooks={"response": look},
                )
                get(url, str(target), None)
            return
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", None)
            if error.response is not None:
                error.response.close()
            if wait is None or (status is not None and status != 429 and status < 500):
                raise
        time.sleep(wait)


def check(download: Path, archive: Archive, recorded: Path) -> str:
    """The sha256 of a downloaded file, after comparing all that was published or recorded about it.

    Raises Refused when anything differs.
    """
    size = download.stat().st_size
    with download.open("rb") as file:
        first = file.read(MIB)
    if first.lstrip()[:1] == b"<":
        raise Refused(WEB_PAGE)
    if size != archive.bytes:
        raise Refused(f"got {size:,} bytes instead of {archive.bytes:,}")
    digest = sha256(download)
    kind, _, published = archive.check.partition(":")
    found = {"sha256": digest, "first-mib-md5": hashlib.md5(first, usedforsecurity=False).hexdigest()}[kind]
    if found != published:
        raise Refused(f"wrong bytes: its {kind} is {found} instead of {published}")
    if recorded.exists() and recorded.read_text(encoding="utf-8").split()[0] != digest:
        raise Refused(f"not the file of the first download, recorded in {recorded}: delete that file to accept it")
    return digest


class _Bounded:
    """The unpacked stream of an archive, which refuses to grow past `most` bytes."""

    def __init__(self, stream, most: int):
        self.stream, self.left = stream, most

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise Refused("unpacks to far more than pictures can: refused")
        return data


def unpack(archive: Path, folder: Path, *, strip: int = 0, max_files: int = MAX_FILES) -> None:
    """Unpack a .tar.gz into `folder`, dropping `strip` leading folders from every name.

    Raises Refused, naming the member, for anything but regular files and folders with names inside the
    target, for too many files or bytes, and for a damaged archive; throw `folder` away then.
    """
    most = archive.stat().st_size * MAX_GROWTH + 16 * MIB
    try:
        with (
            archive.open("rb") as raw,
            tqdm.wrapattr(raw, "read", total=archive.stat().st_size, desc="unpacking", delay=1, leave=False) as seen,
            gzip.open(seen) as stream,
        ):
            bounded = _Bounded(stream, most)
            with tarfile.open(fileobj=bounded, mode="r|") as tar:  # a stream: it can only go forwards
                for number, member in enumerate(tar):
                    if number >= max_files:
                        raise Refused(f"more than {max_files:,} members: refused")
                    _write_member(tar, member, folder, strip)
            while bounded.read(MIB):  # to the end, where gzip compares its checksum
                pass
    except Refused:
        raise
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise Refused(f"the archive is damaged ({error})") from error


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, strip: int) -> None:
    name, parts = member.name, PurePosixPath(member.name).parts
    if not (member.isreg() or member.isdir()) or member.size < 0:
        raise Refused(f"member {name!r} is a link or a device, not a file or a folder: refused")
    if name.startswith("/") or ".." in parts or not name.isprintable() or any(c in name for c in "\\:"):
        raise Refused(f"member {name!r} has a name that leads out of the folder: refused")
    if member.isdir() or parts[-1].startswith("._"):  # folders come with their files; "._": macOS leftovers
        return
    path = folder.joinpath(*(parts[strip:] or parts[-1:]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            shutil.copyfileobj(tar.extractfile(member), file, MIB)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise Refused(f"member {name!r} comes twice, as files or as file and folder: refused") from None
