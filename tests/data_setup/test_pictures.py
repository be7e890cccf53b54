"""A picture's file: pixels against numpy, and damaged files."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_setup.base.pictures import UnreadableImage, read_image

H, W = 10, 16
Y, X = np.mgrid[0:H, 0:W]
RAMP = np.stack([X * 15, Y * 24, 255 - X * 8 - Y * 6], axis=-1).astype(
    np.uint8
)  # smooth, and different every way round
GREY = RAMP[..., 0]
ALPHA = (Y * 28).astype(np.uint8)
DEEP = (X * 4000 + Y * 300 + 17).astype(np.uint16)

UPRIGHT = {  # what a reader must do to the stored pixels, by EXIF orientation (TIFF 6.0, tag 274)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def on_white(colour, alpha):
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def palette_image(transparency=None):
    indices = (X // 4).astype(np.uint8)  # 0..3
    image = Image.frombytes("P", (W, H), indices.tobytes())
    colours = [10, 20, 30, 200, 100, 50, 0, 255, 0, 90, 90, 90]
    image.putpalette(colours)
    if transparency is not None:
        image.info["transparency"] = transparency
    return image, np.array(colours).reshape(4, 3)[indices], indices


def png_16_bit(pixels, colour_type):
    """PNG bytes with 16 bits a channel, which Pillow cannot write for colour."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(W, H, 16, colour_type, zlib.compress(rows))


def png(width, height, depth, colour_type, data):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def kinds():
    """(name, image, format, save settings, expected upright pixels (H, W[, 3]), tolerance) per kind of file."""
    transparent, colours, indices = palette_image(bytes([0, 128, 255, 255]))
    plain_palette, palette_colours, _ = palette_image()
    lossless = {"lossless": True, "exact": True}
    best = {"quality": 100, "subsampling": 0}
    cmyk = np.concatenate([RAMP, GREY[..., None] // 2], axis=-1)
    ink = (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255
    keyed = np.where((RAMP[2, 3] == RAMP).all(-1, keepdims=True), 255, RAMP)
    return [
        ("1", Image.fromarray(GREY > 100), "PNG", {}, (GREY > 100) * 255.0, 0),
        ("L", Image.fromarray(GREY), "PNG", {}, GREY, 0),
        ("L transparent", Image.fromarray(GREY), "PNG", {"transparency": 30}, np.where(GREY == 30, 255, GREY), 0),
        ("LA", Image.fromarray(np.stack([GREY, ALPHA], -1)), "PNG", {}, on_white(GREY[..., None], ALPHA), 1),
        ("P", plain_palette, "PNG", {}, palette_colours, 0),
        ("P transparent", transparent, "PNG", {}, on_white(colours, np.array([0, 128, 255, 255])[indices]), 1),
        ("RGB", Image.fromarray(RAMP), "PNG", {}, RAMP, 0),
        ("RGB transparent", Image.fromarray(RAMP), "PNG", {"transparency": tuple(map(int, RAMP[2, 3]))}, keyed, 0),
        ("RGBA", Image.fromarray(np.dstack([RAMP, ALPHA])), "PNG", {}, on_white(RAMP, ALPHA), 1),
        ("I;16", Image.fromarray(DEEP), "PNG", {}, DEEP / 257.0, 0),
        ("L JPEG", Image.fromarray(GREY), "JPEG", best, GREY, 3),
        ("RGB JPEG", Image.fromarray(RAMP), "JPEG", best, RAMP, 3),
        ("CMYK JPEG", Image.frombytes("CMYK", (W, H), cmyk.tobytes()), "JPEG", best, ink, 3),
        ("RGB WEBP", Image.fromarray(RAMP), "WEBP", lossless, RAMP, 0),
        ("RGBA WEBP", Image.fromarray(np.dstack([RAMP, ALPHA])), "WEBP", lossless, on_white(RAMP, ALPHA), 1),
        ("L TIFF", Image.fromarray(GREY), "TIFF", {}, GREY, 0),
        ("RGB TIFF", Image.fromarray(RAMP), "TIFF", {"compression": "tiff_lzw"}, RAMP, 0),
        ("I;16 TIFF", Image.fromarray(DEEP), "TIFF", {}, DEEP / 257.0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind[0])
def test_every_mode_in_every_orientation_has_the_pixels_a_person_sees(tmp_path, kind, orientation):
    """Catches sideways photographs, colours hidden under transparency, clipped 16 bit and inverted CMYK."""
    _, image, format_name, save, expected, tolerance = kind
    exif = Image.Exif()
    exif[274] = orientation
    image.save(tmp_path / "picture", format_name, exif=exif, **save)
    seen = read_image(tmp_path / "picture")
    expected = UPRIGHT[orientation](np.asarray(expected, dtype=np.float64))
    assert seen.mode == ("RGB" if expected.ndim == 3 or "transparent" in kind[0] else "L")
    pixels = np.asarray(seen, dtype=np.float64)
    if pixels.ndim > expected.ndim:  # transparency made colour of a grey picture
        expected = expected[..., None]
    assert pixels.shape[:2] == expected.shape[:2]
    assert np.abs(pixels - expected).max() <= tolerance + 0.5


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_16_bits_a_channel_become_8(tmp_path, colour_type, channels):
    """Catches 16-bit pictures that turn white (fastai: 99.6 % of the pixels) or lose their low end."""
    deep = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1], (Y * 7000).astype(np.uint16)], axis=-1)
    alpha = {2: deep[..., 3], 4: deep[..., 3]}.get(channels)
    colour = deep[..., :1] if channels < 3 else deep[..., :3]
    stored = colour if alpha is None else np.concatenate([colour, alpha[..., None]], axis=-1)
    (tmp_path / "deep.png").write_bytes(png_16_bit(stored, colour_type))
    expected = colour / 257.0 if alpha is None else on_white(colour / 257.0, alpha / 257.0)
    pixels = np.asarray(read_image(tmp_path / "deep.png"), dtype=float).reshape(H, W, -1)
    assert np.abs(pixels - expected).max() <= 2  # Pillow cuts colour and alpha to 8 bits each


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_or_pages_the_first_is_taken(tmp_path, format_name):
    """Catches the last frame, or a strip of all frames."""
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    settings_of = {"WEBP": {"lossless": True}}.get(format_name, {})
    frames[0].save(tmp_path / "a", format_name, save_all=True, append_images=frames[1:], duration=50, **settings_of)
    with Image.open(tmp_path / "a") as image:
        assert image.n_frames == 3
    seen = read_image(tmp_path / "a")
    assert seen.size == (8, 6) and seen.getcolors() == [(48, (255, 0, 0))]


def test_a_transparent_gif_and_a_bitmap_are_read(tmp_path):
    """Catches the colour that a GIF stores under its transparent index, and BMP left out."""
    image, colours, indices = palette_image()
    image.save(tmp_path / "a.gif", transparency=1)
    expected = np.where((indices == 1)[..., None], 255, colours)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.gif")), expected)
    Image.fromarray(RAMP).save(tmp_path / "a.bmp")
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.bmp")), RAMP)


def test_a_big_endian_microscope_tiff_is_scaled_and_32_bits_are_refused(tmp_path):
    """Catches bytes read the wrong way round, and pixels of an unknown range that all turn white."""
    header = struct.pack(">2sHI", b"MM", 42, 8)
    tags = [(256, W), (257, H), (258, 16), (259, 1), (262, 1), (273, 8 + 2 + 8 * 12 + 4), (278, H), (279, W * H * 2)]
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)
    (tmp_path / "deep.tif").write_bytes(header + directory + DEEP.astype(">u2").tobytes())
    assert np.abs(np.asarray(read_image(tmp_path / "deep.tif"), float) - DEEP / 257).max() <= 0.5
    for name, pixels in (("float.tif", DEEP.astype(np.float32) / 65535), ("long.tif", DEEP.astype(np.int32) * 1000)):
        Image.fromarray(pixels).save(tmp_path / name)
        with pytest.raises(
            UnreadableImage, match=f"{name} is not a readable picture .32-bit .*save it with 8 or 16 bits"
        ):
            read_image(tmp_path / name)


def test_a_photograph_of_two_pictures_is_read(tmp_path):
    """Catches the format many phones and cameras write (MPO), which is a JPEG by name and by its first bytes."""
    first, second = Image.fromarray(RAMP), Image.new("RGB", (W, H))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second], quality=100, subsampling=0)
    assert np.abs(np.asarray(read_image(tmp_path / "a.jpg"), int) - RAMP).max() <= 3


def test_a_large_jpeg_is_decoded_smaller_but_never_too_small(tmp_path):
    """Catches a scaled decode that has to be enlarged again, and one that changes the picture."""
    rows, columns = np.mgrid[0:600, 0:901]
    smooth = np.stack([rows * 0.4, columns * 0.28, rows * 0.1 + columns * 0.1], -1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    whole = read_image(tmp_path / "a.jpg")
    for px, expected in ((600, (901, 600)), (301, (901, 600)), (300, (451, 300)), (75, (113, 75)), (10, (113, 75))):
        small = read_image(tmp_path / "a.jpg", at_least_px=px)
        assert small.size == expected
        difference = np.asarray(small, int) - np.asarray(whole.resize(small.size, Image.Resampling.BOX), int)
        assert np.abs(difference).max() <= 4


# Damaged files -------------------------------------------------------------------------------------------------


def encoded(format_name, array=RAMP):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format_name)
    return file.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
DAMAGED = {
    "empty.jpg": (b"", "the file is empty"),
    "page.jpg": (
        b"\n<!DOCTYPE html><html>Sign in to the hotel's network",
        "it looks like a web page: download it again",
    ),
    "page.png": (b"<HTML><body>404", "it looks like a web page: download it again"),
    "text.png": (b"version https://git-lfs.github.com/spec/v1", "it is none of JPEG, PNG"),
    "cut.jpg": (encoded("JPEG", NOISE)[:-800], "truncated"),
    "cut.png": (encoded("PNG", NOISE)[:-800], "truncated"),
    "cut.gif": (encoded("GIF", NOISE)[:-800], "truncated"),
    "flipped.png": (encoded("PNG")[:45] + b"\xff" + encoded("PNG")[46:], ""),
    "drawing.jp2": (encoded("JPEG2000"), "it is none of"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_no_picture_is_named_with_the_reason_and_the_fix(tmp_path, name):
    """Catches "broken data stream" without a file name (fastai), and a half decoded picture taken for a whole one."""
    (tmp_path / name).write_bytes(DAMAGED[name][0])
    with pytest.raises(UnreadableImage) as caught:
        read_image(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name} is not a readable picture (")
    assert DAMAGED[name][1] in message and message.endswith(f" ({caught.value.reason}); replace it or move it out")


def test_a_path_that_is_no_file_is_named(tmp_path):
    """Catches a raw system error when a picture was moved, or when a folder is called 1.png."""
    with pytest.raises(UnreadableImage, match="gone.png is missing; was the data set moved or deleted") as caught:
        read_image(tmp_path / "gone.png")
    assert caught.value.reason == "missing"
    (tmp_path / "1.png").mkdir()
    with pytest.raises(UnreadableImage, match="1.png is not a readable picture .Is a directory."):
        read_image(tmp_path / "1.png")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """Catches a second permission error while the first one is being explained."""
    (tmp_path / "1.png").write_bytes(encoded("PNG"))

    def refuse(self, *args, **how):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Image, "open", lambda path, **how: refuse(path))
    with pytest.raises(UnreadableImage, match="1.png is not a readable picture .Permission denied."):
        read_image(tmp_path / "1.png")


@pytest.mark.parametrize("side", [9_000, 20_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_by_its_header(tmp_path, side, monkeypatch):
    """Catches a small file that claims hundreds of millions of pixels and takes the memory of the machine."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 2, zlib.compress(bytes(100))))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(
        UnreadableImage, match="bomb.png is not .*(9000 x 9000 pixels, of at most 80,000,000|400000000)"
    ):
        read_image(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_whatever_the_damage_only_our_error_comes_out(tmp_path, format_name):
    """Catches struct.error, IndexError, EOFError ... of a decoder, which name no file and stop a training."""
    rng = np.random.default_rng(len(format_name))
    good = Image.fromarray(NOISE[:20, :20])
    exif = Image.Exif()
    exif[274], exif[305] = 6, "software"
    file = io.BytesIO()
    good.save(file, format_name, **({"exif": exif} if format_name in ("JPEG", "PNG", "WEBP") else {}))
    whole, outcomes, path = file.getvalue(), set(), tmp_path / "mutated"
    for number in range(80):
        mutated = bytearray(whole)
        if number % 4 == 3:
            del mutated[int(rng.integers(len(mutated))) :]
        for _ in range(int(rng.integers(1, 6)) if number else 0):
            if mutated:
                where = int(rng.integers(min(len(mutated), 200 if number % 2 else len(mutated))))
                mutated[where] = int(rng.integers(256))
        path.write_bytes(mutated)
        try:
            image = read_image(path, at_least_px=8)
            assert image.mode in ("L", "RGB") and min(np.asarray(image).shape[:2]) > 0
            outcomes.add("read")
        except UnreadableImage as error:
            assert str(path) in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
