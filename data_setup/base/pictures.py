"""A picture from its file, as a person sees it: upright, 8 bit, or an error that says what is wrong with the file;
and the same, resampled once to the size training needs.

Pillow decodes: native decoders can kill the process on a damaged file.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data_setup.base.files import content_hash
from data_setup.base.folders import FORMATS
from data_setup.base.progress import progress

Shape = tuple[int, int, int]  # (C, h, w)

MAX_PIXELS = 80_000_000  # a 50 KB file can claim 400 million pixels: refuse before decoding
MOVED = "was the data set moved or deleted? Make the data again from the folder where it lies now"

METHODS = ("crop", "pad", "squish")
MAX_ASPECT = 4
CACHE_VERSION = 6  # in every key of stored pixels and features: raise it when the pixels a model sees change


class UnreadableImage(ValueError):
    """A file that is no picture, or a damaged one. The message names the file and what to do."""

    reason = "missing"  # in a few words; of a file that is there, "the file is empty" and the like


def read_image(path: Path | str, *, at_least_px: int | None = None, content: bytes | None = None) -> Image.Image:
    """The picture as a person sees it: upright (EXIF), RGB or L, 8 bit, transparency on white, first frame or page.

    A JPEG may be decoded smaller, with a short side of `at_least_px`. `content` is what the file holds, where `path`
    is only its name, as in an archive. Raises UnreadableImage naming the file.
    """
    path = Path(path)
    try:
        # not by its path: Pillow maps such TIFF files into memory and garbles those that a camera has turned
        file = path.open("rb") if content is None else BytesIO(content)
        with file, Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, of at most {MAX_PIXELS:,}: shrink it")
            if at_least_px:
                image.draft(None, (at_least_px, at_least_px))
            return _to_8_bit(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise UnreadableImage(f"{path} is missing; {MOVED}") from None
    except Exception as error:  # Pillow's decoders raise whatever the damage leads them to
        reason = _reason(path, error, content)
        unreadable = UnreadableImage(f"{path} is not a readable picture ({reason}); replace it or move it out")
        unreadable.reason = reason
        raise unreadable from error


def presize(image: Image.Image, presize_px: int, method: str = "crop") -> np.ndarray:
    """uint8 (C, h, w) with C = 1 or 3, resampled once, bilinear with antialiasing (fastai's ResizeMethod).

    "crop": the short side becomes `presize_px`; the long one stays longer, so that a square can be taken anywhere along
    it. "pad": the whole picture in a square, edges mirrored. "squish": a square, aspect ignored.
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    if method == "crop":  # of a long strip only the middle
        width, height = image.size
        x, y = max(0, width - MAX_ASPECT * height) // 2, max(0, height - MAX_ASPECT * width) // 2
        image = image.crop((x, y, width - x, height - y)) if x or y else image
    side = {"crop": min(image.size), "pad": max(image.size)}.get(method)
    target = tuple(max(1, round(extent * presize_px / (side or extent))) for extent in image.size)
    if image.size != target:
        image = image.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    if method == "pad":
        missing = [presize_px - pixels.shape[1], presize_px - pixels.shape[2]]
        pixels = np.pad(pixels, [(0, 0), *((m // 2, m - m // 2) for m in missing)], mode="symmetric")
    return np.array(pixels, order="C")  # a copy: Pillow's own memory may not be written to


def read_presized(
    path: Path | str, presize_px: int, method: str = "crop", *, content: bytes | None = None
) -> np.ndarray:
    """A picture file, presized: uint8 (C, h, w). Raises UnreadableImage naming the file."""
    return presize(read_image(path, at_least_px=presize_px, content=content), presize_px, method)


def write_presized(paths: Sequence[Path], presize_px: int, method: str, target: Path) -> list[Shape]:
    """Write the pictures, presized, one behind the other to `target`, in pieces, so that memory does not grow.

    Raises UnreadableImage listing every file that could not be read.
    """

    def decode(path: Path) -> np.ndarray | UnreadableImage:
        try:
            return read_presized(path, presize_px, method)
        except UnreadableImage as error:
            return error

    shapes, errors = [], {}
    with target.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in progress(range(0, len(paths), 256), "decoding"):
            some = paths[start : start + 256]
            for path, pixels in zip(some, pool.map(decode, some), strict=True):
                if isinstance(pixels, UnreadableImage):
                    errors[path] = str(pixels)
                else:
                    shapes.append(pixels.shape)
                    file.write(pixels.tobytes())
    if errors:
        lines = [f"{len(errors)} of {len(paths)} pictures cannot be read:", *list(errors.values())[:4]]
        others = ", ".join(path.name for path in list(errors)[4:24]) + ", ..." * (len(errors) > 24)
        raise UnreadableImage("\n".join(lines + [f"and {len(errors) - 4} more: {others}"] * (len(errors) > 4)))
    return shapes


def _reason(path: Path, error: Exception, content: bytes | None) -> str:
    if content is None:
        if not path.is_file() or isinstance(error, PermissionError):
            return getattr(error, "strerror", None) or str(error)
        with path.open("rb") as file:
            content = file.read(64)
    head = content[:64].lstrip().lower()
    if not head:
        return "the file is empty"
    if head.startswith((b"<!doctype", b"<html")):
        return "it looks like a web page: download it again"
    unknown = f"it is none of {', '.join(FORMATS)}"
    return unknown if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float32)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            found = f"32-bit pixels from {values.min():g} to {values.max():g}"
            raise ValueError(f"{found} do not say what is white: save it with 8 or 16 bits")
        return Image.fromarray((values / 257).round().astype(np.uint8))  # 16 bits a pixel: 65535 is white
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def fingerprint(paths: Sequence[Path], *settings: object) -> str:
    """A key that changes whenever a file's content, the order or a setting does: 24 hex digits of sha256."""
    digest = hashlib.sha256(repr((CACHE_VERSION, *settings)).encode())
    try:
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(paths), 256):  # in pieces: a pool holds a kilobyte for each that waits
                for text in pool.map(content_hash, paths[start : start + 256]):
                    digest.update(bytes.fromhex(text))
    except OSError as error:
        raise UnreadableImage(f"{error.filename} cannot be read ({error.strerror}); {MOVED}") from error
    return digest.hexdigest()[:24]
