"""What is here, with its speed on this machine."""

import time
from dataclasses import replace

import pytest
from torch import nn

import helpers.models
from data_setup.backbones import Available, Catalogue
from helpers.models import catalogue
from helpers.models.classifier import Classifier, Normalize

ROW = Available("slow", True, 32, 1000, 70.0)


class Slow(nn.Module):
    """Takes 20 ms for a batch of any size."""

    def forward(self, images):
        time.sleep(0.02)
        return images.mean((2, 3))


@pytest.fixture
def slow(monkeypatch):
    def build(arch, n_classes, *, size, pretrained):
        assert size == ROW.size_px and not pretrained, "random weights are as fast, and need no network"
        body = nn.Sequential(Slow())
        return Classifier(Normalize([0.0] * 3, [1.0] * 3), body, nn.Linear(3, n_classes), maps=False)

    monkeypatch.setattr(catalogue, "build_classifier", build)
    monkeypatch.setattr(catalogue, "published", lambda names: Catalogue([ROW, replace(ROW, name="other")]))
    monkeypatch.setattr(catalogue, "PROBE_SECONDS", 0.2)


def test_speed_is_pictures_a_second_within_the_seconds_of_the_probe(slow):
    """Catches batches counted for pictures, the warm-up counted in, and five seconds for each network."""
    started = time.perf_counter()
    rows = helpers.models.available(speed=True)
    assert [row.name for row in rows] == ["slow", "other"]
    assert all(400 < row.images_per_s <= catalogue.BATCH / 0.02 for row in rows)  # 16 pictures in 20 ms are 800
    assert time.perf_counter() - started < 1.5
    assert repr(rows).splitlines()[1].endswith(f"≈ {rows[0].images_per_s:.0f}")


def test_without_asking_nothing_is_timed(slow):
    """Catches a table that takes five seconds although nobody asked for speed."""
    assert [row.images_per_s for row in helpers.models.available()] == [None, None]
