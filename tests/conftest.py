"""Shared by all tests: no progress bars, no network, data in a folder of the test's own, small drawn pictures."""

import os
import shutil
import socket
import sys

os.environ["COURSE_PROGRESS"] = "off"
os.environ["COURSE_DATA_SET"] = "solar"  # whatever set somebody has chosen on this machine
os.environ.setdefault("COURSE_PRECISION", "float32")  # else a test's results depend on how busy the machine is
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("course", deadline=None)  # a busy machine is no fault
settings.load_profile("course")
# jsonschema, which nbformat loads, builds 38 grammars for a kind of address that no notebook's schema has: seconds
sys.modules.setdefault("rfc3987_syntax", None)

LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any connection that leaves this machine is a failure."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def pytest_collection_modifyitems(items):
    """Tests marked gpu are skipped where there is none: `pytest -m gpu` on a machine with one runs them all."""
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch  # takes seconds

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def course_data(tmp_path, monkeypatch):
    """COURSE_DATA in a folder of the test's own."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def draw_pictures(folder, *, n=12, size=(40, 32), seed=0, mode="RGB"):
    """`n` pictures each of "dark" and "light" below `folder`/CLASS/NN.png: noise around grey 60 and 190."""
    rng = np.random.default_rng(seed)
    for label, grey in (("dark", 60), ("light", 190)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(n):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            pixels = np.clip(rng.normal(grey, 30, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{label}_{number:02}.png")
    return folder


def tiny_network():
    """Three stages with BatchNorm and a head, always the same weights."""
    import torch
    from torch import nn

    from helpers.models.classifier import Classifier, Normalize, make_head

    with torch.random.fork_rng():
        torch.manual_seed(0)
        stages = [
            nn.Sequential(nn.Conv2d(n, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU()) for n in (3, 6, 6)
        ]
        head = make_head(12, 2)
    return Classifier(Normalize([0.5] * 3, [0.5] * 3), nn.Sequential(*stages), head, maps=True)


@pytest.fixture(scope="session")
def drawn_once(tmp_path_factory):
    """What every `pictures` is a copy of: drawing takes four times as long."""
    return draw_pictures(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def pictures(tmp_path, drawn_once):
    """A folder with 12 dark and 12 light pictures of 40 x 32 pixels."""
    return shutil.copytree(drawn_once, tmp_path / "pictures", copy_function=shutil.copyfile)


@pytest.fixture
def data(pictures, course_data):
    """The same as `ImageData`: 32 px, 18 train, 6 valid, batches of 8."""
    from helpers.data.dataset import ImageData

    return ImageData.from_folders(pictures, size=32, batch_size=8)


@pytest.fixture
def learn(data):
    """A learner with a tiny random body (timm's `test_resnet`)."""
    from helpers.learner import Learner

    return Learner.pretrained(data, "test_resnet", pretrained=False)
