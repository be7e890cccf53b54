"""The server of these tests, a data folder of the test's own, and a data set in the catalogue that the server has."""

import hashlib

import pytest
import torch

from data_setup import sets
from data_setup.downloads import fetch
from data_setup.downloads.records import Archive, DataSet
from tests.data_setup.serving import KIB, MIB, Server


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder; a download that fails is tried again at once."""
    for name in ("COURSE_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(fetch, "WAITS_S", (0, 0))
    monkeypatch.setattr(fetch, "WORTH_TRYING", 64 * KIB)
    return tmp_path / "home"


@pytest.fixture
def offer(server, monkeypatch):
    """`offer(archive, ...)` serves them as /1.tgz, /2.tgz ..., each alone the set "tiny" of the catalogue."""

    def offered(*bodies, kind="sha256", strip=1, suffix="tgz", **fields):
        packings = []
        for number, body in enumerate(bodies, start=1):
            packings.append((serve(server, f"/{number}.{suffix}", body, kind=kind, strip=strip),))
        described = {"title": "a set", "pictures": 33, "licence": "free", "source": server.address, "citation": "-"}
        described |= {"check": "-", "bytes": sum(map(len, bodies)), "packings": tuple(packings), **fields}
        record = DataSet("tiny", **described)
        monkeypatch.setattr(sets, "CATALOGUE", (*sets.CATALOGUE, record))
        return record

    return offered


def serve(server, path, body, *, kind="sha256", **fields):
    """Put `body` on the server; returns its record."""
    server.files[path] = body
    digest = {"sha256": hashlib.sha256, "md5": hashlib.md5, "first-mib-md5": hashlib.md5}[kind]
    published = digest(body[:MIB] if kind == "first-mib-md5" else body).hexdigest()
    return Archive((f"{server.address}{path}",), len(body), f"{kind}:{published}", **fields)


def on_disk(folder):
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop("manifest.json", None)
    return found


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
