"""Say what is in pictures:  python predict.py PICTURE ...    (pip install onnxruntime numpy pillow)"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent  # holds model.json and model.onnx, too
ABOUT = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
if hashlib.sha256((FOLDER / "model.onnx").read_bytes()).hexdigest() != ABOUT["sha256"]["model.onnx"]:
    sys.exit("model.onnx is not the file that model.json describes: export the model again")
SESSION = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"])


def read(path, px):
    """Upright, RGB, 8 bit; transparent becomes white. A large JPEG is decoded at a fraction of its size, above px."""
    # not by its path: Pillow garbles some TIFF files that it maps into memory
    with Path(path).open("rb") as raw, Image.open(raw, formats=["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]) as file:
        file.draft(None, (px, px))
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bit: 65535 is white
        values = np.asarray(image, np.float32)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"{path}: 32-bit pixels do not say what is white: save it with 8 or 16 bits")
        image = Image.fromarray((values / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def square(image, px, method):
    """(px, px, 3): "crop" takes the middle, "pad" all and mirrors edges, "squish" all without its aspect."""
    width, height = image.size
    if method == "crop":  # of a strip longer than 4 : 1 only the middle
        x, y = max(0, width - 4 * height) // 2, max(0, height - 4 * width) // 2
        image = image.crop((x, y, width - x, height - y))
    side = max(image.size) if method == "pad" else min(image.size)
    target = (px, px) if method == "squish" else tuple(max(1, round(length * px / side)) for length in image.size)
    pixels = np.asarray(image.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0))
    missing = [max(px - length, 0) for length in pixels.shape[:2]]
    pixels = np.pad(pixels, [*((m // 2, m - m // 2) for m in missing), (0, 0)], mode="symmetric")
    top, left = (round((length - px) / 2) for length in pixels.shape[:2])
    return pixels[top : top + px, left : left + px]


def predict(path):
    """One probability for each of ABOUT["classes"]: float32 (K,)."""
    px = ABOUT["presize_px"]
    pixels = square(read(path, px), px, ABOUT["method"]).astype(np.float32)
    size = (ABOUT["size"], ABOUT["size"])
    channels = [Image.fromarray(pixels[..., c]).resize(size, Image.Resampling.BILINEAR) for c in range(3)]
    return SESSION.run(None, {"images": np.stack(channels)[None] / np.float32(255)})[0][0]


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")
    for path in sys.argv[1:] or sys.exit(__doc__):
        probs = predict(path)
        print(f"{path}: {ABOUT['classes'][probs.argmax()]} {probs.max():.3f}")
