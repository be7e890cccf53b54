"""A classifier as an ONNX file, checked against the model it was made of."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # largest difference between a probability of the ONNX file and the model's own


def need_packages() -> None:
    """Raise ModuleNotFoundError, with what to type, unless everything an export needs is installed."""
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise ModuleNotFoundError(f"export needs {', '.join(missing)}; type: pip install {' '.join(missing)}")


def write_onnx(model: nn.Module, file: Path, images: Tensor) -> float:
    """Write `model` (on the CPU, in evaluation mode) with a softmax to `file`, which takes any number of images.

    Returns the largest difference of a probability on `images` (n, 3, H, W). Raises RuntimeError above TOLERANCE.
    """
    import onnxruntime

    with_softmax = nn.Sequential(model, nn.Softmax(dim=1)).eval()
    example = images[:1].expand(2, -1, -1, -1).contiguous()  # of a single image the exporter would make a constant
    names = {"input_names": ["images"], "output_names": ["probabilities"], "dynamic_shapes": ({0: "batch"},)}
    try:
        torch.onnx.export(with_softmax, (example,), file, dynamo=True, external_data=False, verbose=False, **names)
    except torch.onnx.OnnxExporterError as error:
        why = str(error).strip().splitlines()[0]
        raise RuntimeError(f"this model cannot be written as ONNX ({why}); learn.save() keeps the weights") from error
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    together, alone = (torch.from_numpy(session.run(None, {"images": x.numpy()})[0]) for x in (images, images[:1]))
    with torch.no_grad():
        expected = with_softmax(images)
    difference = float(torch.cat([together - expected, alone - expected[:1]]).abs().max())
    if not difference <= TOLERANCE:  # nan, too
        how_far = f"probabilities differ by up to {difference:.2g}, {TOLERANCE:g} is allowed"
        raise RuntimeError(f"the ONNX file and the model disagree: {how_far}; learn.save() keeps the weights")
    return difference
