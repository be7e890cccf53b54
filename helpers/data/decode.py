"""One picture from its file: upright, 8 bit, and resampled once to the size training needs.

Pillow decodes: native decoders can kill the process on a damaged file.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


MAX_PIXELS = 80_000_000  # a 50 KB file can claim 400 million pixels: refuse before decoding


MAX_ASPECT = 4  # of a longer strip only the middle is kept


METHODS = ("crop", "pad", "squish", "as_is")


CACHE_VERSION = 2  # of the pixels `read_image` and `presize` make: raise it when they change, and no old store is used again


class UnreadableImage(ValueError):
    """A file that is no picture, or a damaged one. The message names the file and what to do."""


def read_image(path: Path | str, *, at_least_px: int | None = None) -> Image.Image:
    """The picture as a person sees it: upright (EXIF), mode RGB or L, 8 bit, transparency on white, the first frame.

    `at_least_px` lets a JPEG be decoded at a half, quarter or eighth when its short side stays at least that long.
    Raises UnreadableImage naming the file.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(
                    f"{path} has {image.width} x {image.height} pixels; the limit is {MAX_PIXELS:,} "
                    "(helpers.data.decode.MAX_PIXELS): shrink it first"
                )
            if at_least_px:
                image.draft(None, (at_least_px, at_least_px))
            return _to_8_bit(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    except FileNotFoundError:
        raise UnreadableImage(f"{path} is not there any more; was the data set moved or deleted?") from None
    except Exception as error:  # Pillow's decoders raise whatever the damage leads them to
        raise UnreadableImage(
            f"{path} is not a readable picture ({_reason(path, error)}); replace it or move it out"
        ) from error


def _reason(path: Path, error: Exception) -> str:
    if not path.is_file() or isinstance(error, PermissionError):
        return getattr(error, "strerror", None) or str(error)
    with path.open("rb") as file:
        head = file.read(64).lstrip().lower()
    if not head:
        return "the file is empty"
    if head.startswith((b"<!doctype", b"<html")):
        return "it looks like a web page: download it again"
    return str(error).replace(str(path), path.name) or type(error).__name__


def _to_8_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bit per pixel: 65535 is white
        return Image.fromarray((np.asarray(image, dtype=np.float32) / 257).round().clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def presize(image: Image.Image, size_px: int, method: str = "crop") -> np.ndarray:
    """uint8 (C, h, w) with C = 1 or 3, resampled once, bilinear with antialiasing.

    "crop": the short side becomes `size_px` and the aspect stays, so that the square can still be taken anywhere along
    the long side; "pad": the whole picture in a square, edges mirrored; "squish": a square, aspect ignored
    (fastai's ResizeMethod has these three); "as_is": no resizing, for pictures that are all of one size already.
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}; got {method!r}")
    width, height = image.size
    if method == "as_is":
        target = image.size
    elif method == "squish":
        target = (size_px, size_px)
    else:
        if method == "crop" and max(width, height) > MAX_ASPECT * min(width, height):
            cut_x, cut_y = (max(0, a - MAX_ASPECT * b) // 2 for a, b in ((width, height), (height, width)))
            image = image.crop((cut_x, cut_y, width - cut_x, height - cut_y))
            width, height = image.size
        side = min(width, height) if method == "crop" else max(width, height)
        target = (max(1, round(width * size_px / side)), max(1, round(height * size_px / side)))
    if image.size != target:
        image = image.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    if method == "pad":
        missing = [size_px - pixels.shape[1], size_px - pixels.shape[2]]
        pixels = np.pad(pixels, [(0, 0), *((m // 2, m - m // 2) for m in missing)], mode="symmetric")
    return np.array(pixels, order="C")  # a copy: Pillow's own memory may not be written to
