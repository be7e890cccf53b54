"""A data set from the network into an empty folder: every archive from the first address that has it right."""

import hashlib
import os
import shutil
from pathlib import Path

from data_setup.base.files import sha256, write_atomically
from data_setup.downloads.arrange import arrange, clear
from data_setup.downloads.fetch import WEB_PAGE, Cut, Refused, bytes_so_far, fetch, forget
from data_setup.downloads.kept import RECORD
from data_setup.downloads.records import Archive, DataSet
from data_setup.downloads.unpack import unpack

MIB = 1 << 20


def build(staging: Path, record: DataSet, downloads: Path) -> dict:
    """Download and unpack `record` into the empty folder `staging`; returns facts for the manifest.

    Archives lie in `downloads` until the caller deletes them, so a run that was stopped goes on there. Tries the
    packings of the record in order, and the mirrors of each archive, at $COURSE_MIRROR where that is set. Raises
    RuntimeError, with one line for each address, when no packing comes out right.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    for packing in record.packings:
        try:
            sources = [_obtain(archive, record, downloads, failures) for archive in packing]
        except Refused:
            continue
        unpacked = staging.with_name(f"{staging.name}-unpacked")  # swept with its kind after a kill
        try:
            for archive in packing:
                (unpacked / archive.into).mkdir(parents=True, exist_ok=True)
                unpack(downloads / archive.filename, unpacked / archive.into, strip=archive.strip)
            facts = arrange(unpacked, staging, record)
        except Refused as error:
            failures[sources[0]["url"]] = str(error)
            clear(staging)
            for archive in packing:
                forget(downloads / archive.filename)
            continue
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        for source, archive in zip(sources, packing, strict=True):
            line = f"{source['sha256']}  {archive.filename}\n"  # as sha256sum writes it
            with write_atomically(_recorded(downloads, archive)) as temporary:  # half a line would refuse every file
                temporary.write_text(line, encoding="utf-8")
        return {**facts, "archives": sources}
    raise RuntimeError(_what_to_do(record, downloads, failures))


def _recorded(downloads: Path, archive: Archive) -> Path:
    return downloads / f"{archive.filename}{RECORD}"


def _addresses(archive: Archive, record: DataSet) -> list[str]:
    """Where the archive may be; $COURSE_MIRROR/FILENAME and $COURSE_MIRROR/SET/FILENAME where that is set."""
    if mirror := os.environ.get("COURSE_MIRROR"):
        base = mirror.rstrip("/")
        return [f"{base}/{archive.filename}", f"{base}/{record.name}/{archive.filename}"]
    return list(archive.urls)


def _obtain(archive: Archive, record: DataSet, downloads: Path, failures: dict[str, str]) -> dict:
    """Download one archive and check it; returns its address, bytes and sha256. Refused when no address has it."""
    target = downloads / archive.filename
    for url in _addresses(archive, record):
        if url in failures:
            continue
        try:
            return {"url": url, "bytes": archive.bytes, "sha256": _fetch_and_check(url, target, archive, downloads)}
        except (Refused, Cut) as error:
            failures[url] = str(error)
    raise Refused(f"no address has {archive.filename}")


def _fetch_and_check(url: str, target: Path, archive: Archive, downloads: Path) -> str:
    """The sha256 of the finished and checked download; one that was patched together and is wrong is got again."""
    patched = fetch(url, target, archive.bytes)
    try:
        return check(target, archive, _recorded(downloads, archive))
    except Refused:
        forget(target)
        if not patched:
            raise
    fetch(url, target, archive.bytes)
    try:
        return check(target, archive, _recorded(downloads, archive))
    except Refused:
        forget(target)
        raise


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
    if kind == "sha256":
        found = digest
    elif kind == "md5":
        with download.open("rb") as file:
            found = hashlib.file_digest(file, _md5).hexdigest()
    else:
        found = _md5(first).hexdigest()
    if found != published:
        raise Refused(f"wrong bytes: its {kind} is {found} instead of {published}")
    if recorded.exists() and recorded.read_text(encoding="utf-8").split()[0] != digest:
        raise Refused(f"not the file of the first download, recorded in {recorded}: delete that file to accept it")
    return digest


def _md5(data: bytes = b""):
    return hashlib.md5(data, usedforsecurity=False)


def _what_to_do(record: DataSet, downloads: Path, failures: dict[str, str]) -> str:
    lines = [f"could not download {record.name}:", *(f"  {url}: {why}" for url, why in failures.items())]
    archives = {archive.filename: archive for packing in record.packings for archive in packing}
    for name, archive in archives.items():
        if kept := bytes_so_far(downloads / name):
            lines.append(f"{kept:,} of {archive.bytes:,} bytes are kept in {downloads / name}")
    lines.append(f"check the network and type again: python -m data_setup {record.name}")
    lines.append("(it goes on where it stopped; COURSE_MIRROR can name a server of yours that has the archives;")
    lines.append("the solar set needs no network: python -m data_setup solar)")
    return "\n".join(lines)
