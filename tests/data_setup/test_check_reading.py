"""One file after the other, and the processes that read them."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_setup.check.reading import Facts, digest_of, first_scan, missing_end, read
from data_setup.check.workers import Lost, answers
from tests.data_setup.messy_pictures import encoded, png, texture


@pytest.fixture
def image():
    return texture(np.random.default_rng(0), (64, 48), 3)


def answer(folder: Path, name: str) -> tuple[str, int]:
    """What a decoder may do with a file; the process number is that of the child."""
    if name == "crash":
        os._exit(7)
    if name == "abort":
        os.abort()
    if name == "hang":
        time.sleep(60)
    return name, os.getpid()


def test_a_file_that_ends_or_stops_its_process_costs_only_itself(tmp_path):
    """Catches a run that ends, a file that is lost with its neighbour, and a child that is the parent."""
    names = ["a", "crash", "b", "hang", "c", "abort", "d", "e"]
    tasks = [(tmp_path, name) for name in names]
    found = {task[1]: said for task, said in answers(answer, tasks, processes=2, seconds=1)}
    assert sorted(found) == sorted(names)
    assert {name for name, said in found.items() if isinstance(said, Lost)} == {"crash", "abort", "hang"}
    assert "exit status 7" in found["crash"] and "SIGABRT" in found["abort"] and "more than 1 seconds" in found["hang"]
    assert os.getpid() not in {said[1] for said in found.values() if not isinstance(said, Lost)}


def test_stopping_early_leaves_no_process_behind(tmp_path):
    import multiprocessing

    work = answers(answer, ((tmp_path, str(number)) for number in range(1000)), processes=2)
    next(work)
    assert len(multiprocessing.active_children()) == 2
    work.close()
    assert multiprocessing.active_children() == []
    assert list(answers(answer, [], processes=0)) == []


def test_facts_of_a_picture(tmp_path, image):
    data = encoded(image, "PNG")
    (tmp_path / "a.png").write_bytes(data)
    facts = read(tmp_path, "a.png")
    assert (facts.kind, facts.format, facts.width, facts.height, facts.mode) == ("picture", "PNG", 64, 48, "RGB")
    assert (facts.bytes, facts.frames, facts.orientation, facts.deep) == (len(data), 1, 1, False)
    levels = np.asarray(image.convert("L")).astype(int)
    assert facts.spread == np.ptp(levels) and facts.digest == digest_of(tmp_path / "a.png")


def test_equal_pixels_are_equal_in_any_format_and_other_pixels_are_not(tmp_path, image):
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.bmp")
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "c.tif", exif=_turned(image, 6))
    changed = image.copy()
    changed.putpixel((5, 5), (0, 0, 0))
    changed.save(tmp_path / "d.png")
    a, b, c, d = (read(tmp_path, name) for name in ("a.png", "b.bmp", "c.tif", "d.png"))
    assert a.pixels == b.pixels == c.pixels != d.pixels and a.digest != b.digest


def _turned(image, orientation):
    exif = image.getexif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_file_that_was_cut_off_is_no_picture(tmp_path, image, kind, share):
    data = encoded(image, kind)
    (tmp_path / "whole").write_bytes(data)
    (tmp_path / "cut").write_bytes(data[: int(len(data) * share)])
    assert read(tmp_path, "whole").kind == "picture"
    facts = read(tmp_path, "cut")
    assert facts.kind in ("truncated", "unreadable") and facts.reason


def test_damage_that_pillow_decodes_without_complaint(tmp_path, image):
    """A JPEG filled up with zeros, as a download that stopped leaves it, and a PNG whose checksums are wrong; a JPEG
    with something behind its end is whole."""
    thumbnail = encoded(image.resize((16, 12)), "JPEG")
    data = encoded(image, "JPEG", comment=thumbnail)  # whose own end must not count
    assert thumbnail in data[: first_scan(data)]
    (tmp_path / "end.jpg").write_bytes(data[: len(data) * 8 // 10] + bytes(5000))
    (tmp_path / "more.jpg").write_bytes(data + b"\xff\xda and a camera's own bytes")
    flipped = bytearray(encoded(image, "PNG"))
    flipped[-14] ^= 1  # the checksum of the pixels
    (tmp_path / "flipped.png").write_bytes(bytes(flipped))
    for name in ("end.jpg", "flipped.png"):
        with Image.open(tmp_path / name) as opened:
            opened.load()
    assert read(tmp_path, "end.jpg").reason == "the end of the JPEG is missing"
    assert read(tmp_path, "flipped.png").kind == "truncated"
    assert read(tmp_path, "more.jpg").kind == "picture"


def test_sizes_that_are_refused_and_files_that_are_none(tmp_path, image):
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, 8, 2, b"\0" * 50))
    (tmp_path / "large.png").write_bytes(png(10_000, 9_000, 8, 2, b"\0" * 50))
    (tmp_path / "notes.txt").write_text("ask Kim")
    (tmp_path / "raw.nef").write_bytes(b"II*\0" + bytes(99))
    assert [read(tmp_path, name).kind for name in ("bomb.png", "large.png")] == ["huge", "huge"]
    assert [read(tmp_path, name).kind for name in ("notes.txt", "raw.nef", "gone.jpg")] == [
        "other",
        "foreign",
        "unreadable",
    ]


def test_a_telephones_two_photographs_in_one_are_a_jpeg_that_does_not_move(tmp_path, image):
    image.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[image.rotate(1)])
    with Image.open(tmp_path / "two.jpg") as opened:
        assert opened.format == "MPO"
    facts = read(tmp_path, "two.jpg")
    assert (facts.kind, facts.format, facts.frames) == ("picture", "JPEG", 1)


def test_facts_are_small(tmp_path, image):
    """100,000 of them are kept at a time."""
    import pickle

    image.save(tmp_path / "a.png")
    assert len(pickle.dumps(read(tmp_path, "a.png"))) < 1000 and not hasattr(Facts("a"), "__dict__")


def test_padding_before_a_marker_is_no_length(tmp_path, image):
    """Catches a whole JPEG called cut off: any number of 0xFF may stand before a marker (ITU T.81, B.1.1.2)."""
    image.convert("RGB").save(tmp_path / "plain.jpg")
    data = (tmp_path / "plain.jpg").read_bytes()
    (tmp_path / "padded.jpg").write_bytes(data[:2] + b"\xff\xff" + data[2:])
    assert first_scan(data[:2] + b"\xff\xff" + data[2:]) == first_scan(data) + 2
    assert missing_end(tmp_path / "padded.jpg", "JPEG") == ""
    (tmp_path / "cut.jpg").write_bytes((data[:2] + b"\xff\xff" + data[2:])[:-2])
    assert missing_end(tmp_path / "cut.jpg", "JPEG") == "the end of the JPEG is missing"
