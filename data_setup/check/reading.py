"""One file, read completely: what it is by content, what is wrong with it, and what it can be recognized by."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from data_setup.base.folders import FORMATS
from data_setup.base.pictures import MAX_PIXELS, UnreadableImage, read_image
from data_setup.check.near import thumbnail
from data_setup.items import FOREIGN, is_picture

ANIMATED = ("GIF", "WEBP", "PNG")  # formats whose further frames are an animation; those of a TIFF are pages
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I", "F")
CUT_OFF = ("truncated", "not processed", "unexpected end", "premature", "incomplete")  # of Pillow's messages


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one file without keeping its pixels: about 1 kB."""

    name: str  # path below the folder, with "/" on every system
    kind: str = "other"  # "picture", or why it is none: "unreadable", "truncated", "huge", "foreign", "other", ...
    reason: str = ""  # why it cannot be read
    bytes: int = 0
    digest: bytes = b""  # sha256 of the file
    format: str = ""  # by content, as Pillow calls it
    width: int = 0  # as stored, before it is turned
    height: int = 0
    mode: str = ""  # Pillow's: "RGB", "L", "CMYK", ...
    deep: bool = False  # more than 8 bits a channel
    frames: int = 1
    orientation: int = 1  # EXIF: 1 is upright
    pixels: bytes = b""  # sha256 of the picture as a person sees it: upright, 8 bit
    spread: int = 0  # grey levels from its darkest to its lightest pixel
    look: bytes = b""  # its thumbnail, see near.py; b"" for an almost empty picture


def read(folder: Path, name: str) -> Facts:
    """The facts of the file `name` below `folder`. Raises nothing: what goes wrong is among the facts."""
    path = folder / name
    try:
        known = {"name": name, "bytes": path.stat().st_size, "digest": digest_of(path)}
        if not is_picture(path):
            return Facts(**known, kind="foreign" if path.suffix.lower() in FOREIGN else "other")
    except OSError as error:
        return Facts(name, "unreadable", reason=error.strerror or str(error))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata, for which no picture is refused
        known |= header_of(path)
        try:
            image = read_image(path)
            if missing := missing_end(path, known.get("format", "")):
                return Facts(**known, kind="truncated", reason=missing)
        except UnreadableImage as error:
            return Facts(**known, kind=kind_of(known, error), reason=error.reason)
    content = hashlib.sha256(repr(image.size).encode() + image.convert("RGB").tobytes()).digest()
    darkest, lightest = image.convert("L").getextrema()
    return Facts(**known, kind="picture", pixels=content, spread=lightest - darkest, look=thumbnail(image))


def digest_of(path: Path) -> bytes:
    """sha256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def header_of(path: Path) -> dict:
    """Format, size, mode, depth, frames and orientation as the header says them; {} for none that can be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            kind = "JPEG" if image.format == "MPO" else image.format  # two photographs in one: a telephone's JPEG
            return {
                "format": kind,
                "width": image.width,
                "height": image.height,
                "mode": image.mode,
                "deep": is_deep(path, image),
                "frames": getattr(image, "n_frames", 1) if kind in (*ANIMATED, "TIFF") else 1,
                "orientation": orientation_of(image),
            }
    except Exception:  # Pillow's decoders raise whatever the damage leads them to; `read_image` says what
        return {}


def orientation_of(image: Image.Image) -> int:
    """EXIF's: 1 is upright."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode all of it to look behind the pixels
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def is_deep(path: Path, image: Image.Image) -> bool:
    """Whether a channel has more than 8 bits; Pillow opens colour with 16 bits as if it had 8."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (8,))) > 8
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24] > 8  # the header's bit depth
    return image.mode in DEEP_MODES


def kind_of(header: dict, error: UnreadableImage) -> str:
    """ "huge", "truncated" or "unreadable"."""
    cause = error.__cause__
    if isinstance(cause, Image.DecompressionBombError) or header.get("width", 0) * header.get("height", 0) > MAX_PIXELS:
        return "huge"
    return "truncated" if header and any(words in str(cause).lower() for words in CUT_OFF) else "unreadable"


def missing_end(path: Path, kind: str) -> str:
    """Why a file that Pillow decodes without complaint is damaged all the same; "" when it is not."""
    data = path.read_bytes() if kind in ("JPEG", "PNG") else b""
    if kind == "JPEG" and b"\xff\xd9" not in data[first_scan(data) :]:
        return "the end of the JPEG is missing"
    if kind == "PNG":
        try:
            with Image.open(path, formats=["PNG"]) as image:
                image.verify()  # the checksums, which decoding passes over
        except Exception as error:
            return str(error) or "its checksums are wrong"
    return ""


def first_scan(data: bytes) -> int:
    """Where the pixels of a JPEG begin: behind all metadata, which may hold a small JPEG of its own."""
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        is_padding = data[place + 1 : place + 2] == b"\xff"  # a marker may have more than one 0xFF before it
        place += 1 if is_padding else 2 + int.from_bytes(data[place + 2 : place + 4])
    return place
