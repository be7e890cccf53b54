"""Rows 1 to 12: picture files that are damaged, hostile or only unusual, in a folder that somebody trains on."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from data_setup.base.pictures import UnreadableImage
from helpers.data.dataset import ImageData
from helpers.learner import Learner

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
FORMATS = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif"}


def encoded(format_name, image=None, **how):
    file = io.BytesIO()
    (Image.fromarray(NOISE) if image is None else image).save(file, format_name, **how)
    return file.getvalue()


def png(width, height, data):
    """A PNG file of 8-bit colour with this body."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def garbage(format_name):
    return encoded(format_name)[:12] + b"\xff" * 300


BAD = [  # row, file name, content, what the error says of it
    *((1, f"a.{suffix}", garbage(name), "") for name, suffix in FORMATS.items()),
    (2, "b.jpg", encoded("JPEG")[:700] + bytes(400) + encoded("JPEG")[1100:-300], ""),
    *((3, f"c.{suffix}", encoded(name)[:-700], "") for name, suffix in FORMATS.items() if name != "TIFF"),
    (4, "empty.jpg", b"", "the file is empty"),
    (4, "page.jpg", b"<!DOCTYPE html><html>Sign in</html>", "it looks like a web page: download it again"),
    (4, "pointer.png", b"version https://git-lfs.github.com/spec/v1\n", "it is none of JPEG, PNG"),
    (5, "checksum.png", encoded("PNG")[:900] + b"\xff\0\xff" + encoded("PNG")[903:], ""),
    (5, "block.png", png(30, 20, b"\x78\x9c\xff" + bytes(40)), ""),
    (6, "bomb.png", png(20_000, 20_000, zlib.compress(bytes(50_000))), ""),
    (6, "large.png", png(9_000, 9_000, zlib.compress(bytes(50_000))), "9000 x 9000 pixels, of at most 80,000,000"),
]
PARAMETERS = [pytest.param(*rest, id=f"{row}-{rest[0]}", marks=pytest.mark.fault(row)) for row, *rest in BAD]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name, content, why", PARAMETERS)
def test_a_bad_file_is_named_before_training_and_the_others_train(case, pictures, course_data, name, content, why):
    """Catches a training that stops in the middle without saying which of thousands of files is broken."""
    (pictures / "dark" / name).write_bytes(content)
    case.watch(pictures)
    with case.clear(name, why, remedy="replace it or move it out"):
        Learner.pretrained(ImageData.from_folders(pictures, size=32), "test_resnet", pretrained=False).fit(1e-3, 1)
    (pictures / "dark" / name).unlink()  # what the error asks for
    case.watch(pictures)
    learn = Learner.pretrained(ImageData.from_folders(pictures, size=32), "test_resnet", pretrained=False)
    assert len(learn.fit(1e-3, 1).epochs) == 1


@pytest.mark.fault(1)
def test_all_bad_files_of_a_folder_stand_in_one_short_error(case, pictures, course_data):
    """Catches one error per try, and a list that nobody reads to its end."""
    for number in range(9):
        (pictures / "dark" / f"bad_{number}.jpg").write_bytes(b"no picture")
    case.watch(pictures)
    with case.clear("9 of 33 pictures cannot be read", "bad_0.jpg", remedy="replace it or move it out"):
        assert ImageData.from_folders(pictures, size=32).store


def grey_steps(mode):
    values = np.tile(np.array([0, 64, 128, 255], dtype=np.uint16), (8, 2))
    return Image.fromarray(values * 257 if mode == "I;16" else values.astype(np.uint8))


def with_alpha(mode):
    """Grey 90, and nothing of it can be seen in the left half."""
    image = Image.new("LA" if mode == "LA" else "RGBA", (8, 8), (90, 255) if mode == "LA" else (90, 90, 90, 255))
    image.paste((200, 0) if mode == "LA" else (200, 0, 0, 0), (0, 0, 4, 8))
    return image


GREY_90 = np.full((8, 8), 90)
SEEN = np.where(np.arange(8) < 4, 255, 90) * np.ones((8, 1))
STEPS = np.tile([0, 64, 128, 255], (8, 2))


def frames():
    others = [Image.new("RGB", (8, 8), (250,) * 3)] * 2
    return {"save_all": True, "append_images": others, "image": Image.new("RGB", (8, 8), (90,) * 3)}


UNUSUAL = [  # row, file name, its bytes, the grey of every pixel as a person sees it
    (7, "deep.png", encoded("PNG", grey_steps("I;16")), STEPS),
    (7, "deep.tif", encoded("TIFF", grey_steps("I;16")), STEPS),
    (8, "grey.png", encoded("PNG", Image.new("L", (8, 8), 90)), GREY_90),
    (8, "one_bit.png", encoded("PNG", Image.new("1", (8, 8), 1)), GREY_90 * 0 + 255),
    (8, "cmyk.tif", encoded("TIFF", Image.new("CMYK", (8, 8), (0, 0, 0, 165))), GREY_90),
    (9, "alpha.png", encoded("PNG", with_alpha("RGBA")), SEEN),
    (9, "grey_alpha.png", encoded("PNG", with_alpha("LA")), SEEN),
    (9, "palette.gif", encoded("GIF", with_alpha("RGBA")), SEEN),
    (10, "animated.gif", encoded("GIF", **frames()), GREY_90),
    (10, "animated.webp", encoded("WEBP", lossless=True, **frames()), GREY_90),
]


@pytest.mark.parametrize(
    "name, content, grey",
    [pytest.param(*rest, id=f"{row}-{rest[0]}", marks=pytest.mark.fault(row)) for row, *rest in UNUSUAL],
)
def test_an_unusual_picture_is_what_a_person_sees(case, pictures, course_data, name, content, grey):
    """Catches 16 bits cut to white, hidden colours that show, and the last frame of an animation."""
    (pictures / "dark" / name).write_bytes(content)
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=8, presize_px=8)
        seen = data.store.picture(data.index_of(f"dark/{name}")).float().mean(dim=0).numpy()
        assert np.abs(seen - grey).max() <= 1


@pytest.mark.fault(11)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_stands_upright(case, pictures, course_data, orientation):
    """Catches the camera's note about its position being ignored, and heat maps that lie on their side."""
    T = Image.Transpose
    ways = [None, None, T.FLIP_LEFT_RIGHT, T.ROTATE_180, T.FLIP_TOP_BOTTOM]
    ways += [T.TRANSPOSE, T.ROTATE_90, T.TRANSVERSE, T.ROTATE_270]  # from upright to what the camera stored
    upright = Image.fromarray(np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((8, 8), np.uint8)))
    way, exif = ways[orientation], Image.Exif()
    stored = upright if way is None else upright.transpose(way)
    exif[274] = orientation
    stored.save(pictures / "dark" / "turned.png", exif=exif)
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=16, presize_px=16)
        seen = data.store.picture(data.index_of("dark/turned.png"))[0].numpy()
        assert (seen == np.asarray(upright)).all()


@pytest.mark.fault(12)
@pytest.mark.parametrize("shape", [(1, 1), (2_000, 3), (3, 2_000), (1, 500)])
def test_a_picture_of_an_extreme_shape_trains(case, pictures, course_data, shape):
    """Catches a resize to nothing, and a strip that takes the memory of a thousand pictures."""
    Image.new("RGB", shape, (90, 90, 90)).save(pictures / "dark" / "strip.png")
    case.watch(pictures)
    with case.right():
        data = ImageData.from_folders(pictures, size=32)
        assert data.store.picture(data.index_of("dark/strip.png")).numel() <= 3 * 40 * 160
        learn = Learner.pretrained(data, "test_resnet", pretrained=False)
        assert len(learn.fit(1e-3, 1).epochs) == 1


@pytest.mark.fault(5)
def test_no_native_decoder_is_called(case, pictures, course_data, monkeypatch):
    """Catches `torchvision.io`, which a single damaged PNG kills together with the whole notebook."""
    import torchvision.io

    def refuse(*args, **keywords):
        raise AssertionError("a native decoder was called")

    for name in [name for name in dir(torchvision.io) if name.startswith(("decode", "read"))]:
        monkeypatch.setattr(torchvision.io, name, refuse)
    case.watch(pictures)
    with case.right():
        learn = Learner.pretrained(ImageData.from_folders(pictures, size=32), "test_resnet", pretrained=False)
        learn.fit(1e-3, 1)
        assert learn.predict_one(pictures / "dark" / "dark_00.png").label in ("dark", "light")


def test_what_the_kit_raises_is_one_kind():
    """Catches a door that raises something else than `UnreadableImage` for a picture that cannot be read."""
    assert issubclass(UnreadableImage, ValueError)
