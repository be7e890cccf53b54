"""A folder of 500 pictures without fault, and another copy of it with faults of every kind planted among them."""

import io
import random
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

CLASSES = ("bark", "fern", "moss", "rock", "sand")
PARTS = {"train": 70, "valid": 20, "test": 10}  # pictures a class


def texture(rng: np.random.Generator, size: tuple[int, int], tint: int) -> Image.Image:
    """Clouds of random waves with a shape in front: no two are alike, and neighbouring pixels are."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = rng.normal(size=(14, 3)) * (3, 3, 1)
    clouds = sum(np.cos(2 * np.pi * (u * x + v * y) + 6 * shift) / (1 + np.hypot(u, v)) for u, v, shift in waves)
    centre, radius = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.3)
    clouds = clouds + 2 * rng.choice([-1, 1]) * (np.hypot(x - centre[0], y - centre[1]) < radius)
    grey = 40 + 175 * (clouds - clouds.min()) / np.ptp(clouds)
    pixels = np.stack([grey, np.roll(grey, tint, 0), np.roll(grey, tint, 1)], axis=-1) + rng.normal(
        0, 2, (*grey.shape, 3)
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def good_pictures(folder: Path, *, seed: int = 0) -> list[str]:
    """500 pictures below `folder`/PART/CLASS; returns their names."""
    rng = np.random.default_rng(seed)
    names = []
    for part, n in PARTS.items():
        for tint, label in enumerate(CLASSES):
            (folder / part / label).mkdir(parents=True)
            for number in range(n):
                suffix = (".jpg", ".png", ".jpg", ".webp", ".bmp")[number % 5]
                name = f"{part}/{label}/{label}_{number:03}{suffix}"
                texture(rng, tuple(rng.integers(60, 130, 2).tolist()), 2 * tint).save(folder / name, quality=88)
                names.append(name)
    return names


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG as the format's description has it; `rows` with a filter byte before each."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class Faults:
    """Plants faults and remembers them: kind of finding -> sets of file names that belong together."""

    def __init__(self, folder: Path, names: list[str], seed: int = 0):
        self.folder, self.rng, self.np_rng = folder, random.Random(seed), np.random.default_rng(seed + 1000)
        self.unused = self.rng.sample(names, len(names))
        self.planted: dict[str, list[frozenset[str]]] = {}

    def picture(self, size=(100, 80)) -> Image.Image:
        return texture(self.np_rng, size, 3)

    def pick(self, part: str) -> str:
        """A good picture of a part that no other fault has used."""
        name = next(name for name in self.unused if name.startswith(part))
        self.unused.remove(name)
        return name

    def add(self, kind: str, name: str, data: bytes, *others: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(data)
        self.planted.setdefault(kind, []).append(frozenset([name, *others]))


def plant_damage(faults: Faults) -> None:
    image, place = faults.picture, "train/moss/damaged"
    heic = b"\0\0\0\x18ftypheic" + bytes(range(200))
    flipped = bytearray(encoded(image(), "PNG"))
    flipped[len(flipped) // 2] ^= 0xFF
    for number, (suffix, data) in enumerate(
        [
            ("jpg", b""),
            ("png", b"<!DOCTYPE html><html>404</html>"),
            ("jpg", b"just text\n" * 9),
            ("jpg", faults.rng.randbytes(3000)),
            ("png", b"\x89PNG\r\n\x1a\n" + faults.rng.randbytes(500)),
            ("jpg", heic),
            ("gif", bytes(400)),
            ("tif", b"II*\0" + faults.rng.randbytes(200)),
        ]
    ):
        faults.add("lost", f"{place}_{number}.{suffix}", data)
    wholes = [
        ("jpg", encoded(image(), "JPEG")),
        ("jpg", encoded(image(), "JPEG", progressive=True)),
        ("png", encoded(image(), "PNG")),
        ("webp", encoded(image(), "WEBP")),
        ("gif", encoded(image(), "GIF")),
        ("bmp", encoded(image(), "BMP")),
        ("tif", encoded(image(), "TIFF")),
        ("tiff", encoded(image(), "TIFF", compression="tiff_lzw")),
    ]
    for number, (suffix, data) in enumerate(wholes):
        faults.add("lost", f"valid/sand/half_{number}.{suffix}", data[: len(data) * 6 // 10])
    half = encoded(image(), "JPEG")
    faults.add("lost", "valid/sand/zeros.jpg", half[: len(half) // 2] + bytes(9000))
    faults.add("lost", "valid/sand/flipped.png", bytes(flipped))
    faults.add("huge", "train/rock/claims_much.png", png(10_000, 9_000, 8, 2, b"\0" * 100))
    for number in range(3):
        name = f"train/rock/gone_{number}.jpg"
        (faults.folder / name).symlink_to(f"elsewhere_{number}.jpg")
        faults.planted.setdefault("broken link", []).append(frozenset([name]))


def plant_oddities(faults: Faults) -> None:
    image = faults.picture
    for kind, suffix in (("GIF", "gif"), ("PNG", "png"), ("WEBP", "webp")):
        data = encoded(image(), kind, save_all=True, append_images=[image(), image()])
        faults.add("animated", f"train/fern/moving.{suffix}", data)
    for number in range(2):
        data = encoded(image(), "TIFF", save_all=True, append_images=[image()])
        faults.add("stack", f"train/fern/pages_{number}.tif", data)
        faults.add("cmyk", f"train/fern/print_{number}.jpg", encoded(image().convert("CMYK"), "JPEG"))
        faults.add("blank", f"train/fern/blank_{number}.png", encoded(Image.new("RGB", (90, 70), "white"), "PNG"))
        faults.add("foreign", f"train/fern/telephone_{number}.heic", b"\0\0\0\x18ftypheic" + bytes(range(90)))
        faults.add("tiny", f"train/fern/tiny_{number}.png", encoded(image((20, 30)), "PNG"))
    grey16 = np.asarray(image().convert("L")).astype(np.uint16) * 257
    faults.add("16-bit", "train/fern/deep_grey.png", encoded(Image.fromarray(grey16), "PNG"))
    grey16 = np.asarray(image().convert("L")).astype(np.uint16) * 257
    faults.add("16-bit", "train/fern/deep_grey.tif", encoded(Image.fromarray(grey16), "TIFF"))
    colour = np.asarray(image((40, 50))).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in colour)
    faults.add("16-bit", "train/fern/deep_colour.png", png(40, 50, 16, 2, rows))
    for orientation in (3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        faults.add("turned", f"valid/fern/turned_{orientation}.jpg", encoded(image(), "JPEG", exif=exif))
    for kind, suffix in (("PNG", "jpg"), ("JPEG", "png"), ("WEBP", "jpg"), ("BMP", "tif")):
        faults.add("suffix", f"valid/rock/was_{kind}.{suffix}", encoded(image(), kind))


def plant_copies(faults: Faults) -> None:
    for number in range(6):  # byte for byte, across parts
        original = faults.pick("train/")
        label, suffix = original.split("/")[1], Path(original).suffix
        name = f"{('valid', 'test')[number % 2]}/{label}/again_{number}{suffix}"
        faults.add("leak", name, (faults.folder / original).read_bytes(), original)
    for number in range(2):  # the same pixels in another format
        original = faults.pick("train/")
        with Image.open(faults.folder / original) as image:
            data = encoded(image, "PNG")
        faults.add("leak", f"test/{original.split('/')[1]}/pixels_{number}.png", data, original)
    for number in range(3):
        original = faults.pick("train/")
        label, suffix = original.split("/")[1], Path(original).suffix
        other = CLASSES[(CLASSES.index(label) + 1) % 5]
        faults.add(
            "contradiction", f"train/{other}/two_{number}{suffix}", (faults.folder / original).read_bytes(), original
        )
    for number in range(4):
        original = faults.pick("train/")
        name = f"{original.rpartition('/')[0]}/copy_{number}{Path(original).suffix}"
        faults.add("copies", name, (faults.folder / original).read_bytes(), original)


def plant_near_copies(faults: Faults, n: int = 10) -> None:
    """`n` of each kind: resized, saved again, a little brighter or darker, mirrored; half of them across the split."""
    for number in range(4 * n):
        original = faults.pick("train/")
        part = ("train", "valid")[number % 2]
        with Image.open(faults.folder / original) as image:
            image = image.convert("RGB")
        kind = ("resized", "again", "bright", "mirrored")[number % 4]
        if kind == "resized":
            share = faults.rng.uniform(0.5, 0.9)
            data = encoded(image.resize([round(side * share) for side in image.size], Image.Resampling.BICUBIC), "PNG")
        elif kind == "again":
            data = encoded(image, "JPEG", quality=faults.rng.randint(50, 80))
        elif kind == "bright":
            data = encoded(ImageEnhance.Brightness(image).enhance(faults.rng.choice([0.9, 1.1])), "PNG")
        else:
            data = encoded(ImageOps.mirror(image), "JPEG", quality=90)
        suffix = "jpg" if kind in ("again", "mirrored") else "png"
        name = f"{part}/{original.split('/')[1]}/{kind}_{number}.{suffix}"
        faults.add("near copies" if part == "train" else "near leak", name, data, original)


def plant_classes(faults: Faults) -> None:
    for name in ("train/Bark/one.png", "train/lichen/few.png"):
        (faults.folder / name).parent.mkdir()
        (faults.folder / name).write_bytes(encoded(faults.picture(), "PNG"))
    (faults.folder / "train/empty").mkdir()
    (faults.folder / "train/alone.png").write_bytes(encoded(faults.picture(), "PNG"))
    (faults.folder / "train/fern/notes.txt").write_text("ask Kim about number 8\n", encoding="utf-8")
    faults.planted["alike"] = [frozenset({"Bark", "bark"})]
    faults.planted["few"] = [frozenset({"lichen"}), frozenset({"Bark"})]
    faults.planted["empty class"] = [frozenset({"train/empty"})]
    faults.planted["outside"] = [frozenset({"train/alone.png"})]


def messy_pictures(good: Path, folder: Path, names: list[str], *, seed: int = 0) -> Faults:
    """`folder`: the pictures of `good` and the faults."""
    shutil.copytree(good, folder)
    faults = Faults(folder, names, seed)
    for plant in (plant_damage, plant_oddities, plant_copies, plant_near_copies, plant_classes):
        plant(faults)
    return faults
