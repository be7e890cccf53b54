"""Tensors in files, written atomically and verified when read: by a sha256 in the header, as no format notices a
flipped bit. Nothing here ever unpickles: opening a stranger's file cannot run code."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data_setup.base.files import write_atomically


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict) -> None:
    """Write `tensors` and the JSON-able `about` to `path`, atomically. Raises OSError with the room the file needs."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    owners = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    tied = [name for name, tensor in tensors.items() if owners[tensor.untyped_storage().data_ptr()] > 1]
    tensors |= {name: tensors[name].clone() for name in tied}  # the format takes each as its own
    header = {"about": json.dumps(about)}
    header["sha256"] = _digest(tensors, header["about"])
    try:
        with write_atomically(path) as temporary:
            temporary.touch()  # as everybody may read it; save_file's are for their owner only
            with TemporaryDirectory(".tmp", f"{temporary.stem}.", path.parent) as folder:
                save_file(tensors, file := Path(folder) / "tensors", metadata=header)
                file.chmod(temporary.stat().st_mode)
                file.replace(temporary)
    except (OSError, SafetensorError) as error:
        needed = f"it needs {sum(tensor.nbytes for tensor in tensors.values()) / 1e6:.0f} MB"
        fix = "make room there, or choose another folder. An older file there is untouched"
        raise OSError(f"{path} could not be written ({error}); {needed}: {fix}") from error


def load_about(path: Path) -> dict:
    """The description alone, its tensors unread. Raises what `safe_open` does, LookupError or ValueError."""
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {})["about"])


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """(tensors on the CPU, description) as saved. Raises FileNotFoundError, or ValueError when the file is damaged."""
    if not path.is_file():
        near = ", ".join(sorted(p.stem for p in path.parent.glob("*.safetensors"))[:8]) or "nothing"
        raise FileNotFoundError(f"there is no {path}; saved there: {near}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no plain dict)
        about = json.loads(header["about"])
        if _digest(tensors, header["about"]) != header["sha256"]:
            raise ValueError("it does not hold what was saved")
    except (SafetensorError, KeyError, ValueError) as error:
        words = f"{path} is damaged or was not written by this kit ({error}); delete it and save again"
        raise ValueError(words) from error
    return tensors, about


def _digest(tensors: dict[str, Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
