"""A picture from its file, as a person sees it: upright, 8 bit, or an error that says what is wrong with the file.

Pillow decodes: native decoders can kill the process on a damaged file.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data_setup.base.folders import FORMATS

MAX_PIXELS = 80_000_000  # a 50 KB file can claim 400 million pixels: refuse before decoding
MOVED = "was the data set moved or deleted? Make the data again from the folder where it lies now"


class UnreadableImage(ValueError):
    """A file that is no picture, or a damaged one. The message names the file and what to do."""

    reason = "missing"  # in a few words; of a file that is there, "the file is empty" and the like


def read_image(path: Path | str, *, at_least_px: int | None = None) -> Image.Image:
    """The picture as a person sees it: upright (EXIF), RGB or L, 8 bit, transparency on white, first frame or page.

    A JPEG may be decoded smaller, with a short side of `at_least_px`. Raises UnreadableImage naming the file.
    """
    path = Path(path)
    try:
        # not by its path: Pillow maps such TIFF files into memory and garbles those that a camera has turned
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, of at most {MAX_PIXELS:,}: shrink it")
            if at_least_px:
                image.draft(None, (at_least_px, at_least_px))
            return _to_8_bit(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise UnreadableImage(f"{path} is missing; {MOVED}") from None
    except Exception as error:  # Pillow's decoders raise whatever the damage leads them to
        reason = _reason(path, error)
        unreadable = UnreadableImage(f"{path} is not a readable picture ({reason}); replace it or move it out")
        unreadable.reason = reason
        raise unreadable from error


def _reason(path: Path, error: Exception) -> str:
    if not path.is_file() or isinstance(error, PermissionError):
        return getattr(error, "strerror", None) or str(error)
    with path.open("rb") as file:
        head = file.read(64).lstrip().lower()
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
