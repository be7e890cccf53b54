"""Files of weights: from a package, else from the caches of torch and huggingface_hub, else downloaded into those."""

from pathlib import Path
from urllib.parse import urlparse

from data_setup.backbones.names import Backbone, timm_config, torchvision_weights
from data_setup.base.files import sha256
from data_setup.weights import packaged_file

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
SHA256_DIGITS = 64


def weights_file(backbone: Backbone) -> Path | None:
    """Where this machine keeps the weights, else None. Nothing is downloaded and no file is opened."""
    if backbone.home == "packaged":
        return packaged_file(backbone.name)
    if backbone.home == "torchvision":
        return _in_torch_cache(getattr(torchvision_weights(backbone), "url", None))
    config = timm_config(backbone)
    if config is None or not config.hf_hub_id:
        return _in_torch_cache(getattr(config, "url", None))
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = config.hf_hub_id.partition("@")
    for name in _hub_files(config):
        found = try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _in_torch_cache(url: str | None) -> Path | None:
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url or "").path).name
    return path if path.is_file() else None


def _hub_files(config) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES


def fetch(backbone: Backbone) -> Path | None:
    """The file of a timm network's weights, downloaded when it is not here, its sha256 compared every time.

    None for weights that only timm's own loader can fetch or read. A damaged file is downloaded once more. Raises
    ValueError when nobody publishes weights, OSError when they are neither here nor can be downloaded.
    """
    config = timm_config(backbone)
    if config is None or not config.has_weights:
        found = f"timm publishes no weights for {backbone.name}: type pretrained=False for random ones"
        raise ValueError(f"{found}, or choose a network of helpers.models.available('{backbone.name.split('_')[0]}*')")
    if not config.hf_hub_id or config.custom_load:
        return None
    for found in (weights_file(backbone), None):  # what is here; if that is damaged, or nothing is, a download
        path = found or _download(config)
        file = path.resolve()  # the hub's cache keeps a file under its sha256
        if len(file.name) != SHA256_DIGITS or sha256(file) == file.name:
            return path
        path.unlink()
        file.unlink(missing_ok=True)
    raise OSError(f"the sha256 of what was downloaded for {backbone} is not the one that was announced")


def _download(config) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

    repository, _, revision = config.hf_hub_id.partition("@")
    *others, last = _hub_files(config)
    try:
        for name in others:
            try:
                return Path(hf_hub_download(repository, name, revision=revision or None))
            except RemoteEntryNotFoundError:
                continue
        return Path(hf_hub_download(repository, last, revision=revision or None))
    except HfHubHTTPError.__bases__ as error:  # connections fail with an error of the HTTP library, which is no OSError
        raise OSError(str(error).strip() or type(error).__name__) from error
