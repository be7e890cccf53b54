"""Each data set of the catalogue, from small archives of its own layout to what the course reads."""

import gzip
import hashlib
import io
import json
import pickle
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import data_setup
from data_setup import __main__ as cli
from data_setup import sets
from data_setup.base import folders
from data_setup.downloads import arrange
from tests.data_setup.conftest import serve
from tests.data_setup.serving import pictures, targz, zipped


def picture(seed, kind="JPEG", size=(20, 16)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def stand_in(home, server, monkeypatch):
    """`stand_in(name, files, counts)`: the record of the catalogue with small archives of the server.

    `files`: file name -> bytes; `counts`: one (pictures, pictures per class) for each part.
    """

    def put(name, files, counts, packing=0):
        record = sets.find(name)
        archives = []
        for archive in record.packings[packing]:
            served = serve(server, f"/{archive.filename}", files[archive.filename])
            archives.append(replace(archive, urls=served.urls, bytes=served.bytes, check=served.check))
        parts = tuple(
            replace(part, pictures=pictures, per_class=per_class)
            for part, (pictures, per_class) in zip(record.parts, counts, strict=True)
        )
        small = replace(record, packings=(tuple(archives),), parts=parts, bytes=sum(map(len, files.values())))
        monkeypatch.setattr(sets, "CATALOGUE", tuple(small if r is record else r for r in sets.CATALOGUE))
        return small

    return put


def names(folder):
    return sorted(folders.read_manifest(folder)["files"])


# Sets of picture files

BREEDS = ("Abyssinian", "Egyptian_Mau", "beagle")
PETS = {f"images/{breed}_{n}.jpg": picture(n) for breed in BREEDS for n in (1, 2, 34, 139)}
PETS |= {"images/Abyssinian_34.jpg": picture(1, "GIF"), "images/Egyptian_Mau_2.jpg": picture(2, "PNG")}
PETS["images/Egyptian_Mau_139.jpg"] = picture(3, "GIF")  # in no list
PETS |= {"images/Abyssinian_100.mat": b"MATLAB 5.0", "images/Abyssinian_101.mat": b"MATLAB 5.0"}
LISTS = {
    "annotations/README": b"words",
    "annotations/trainval.txt": b"".join(f"{breed}_{n} 1 1 1\n".encode() for breed in BREEDS for n in (1, 34)),
    "annotations/test.txt": b"# comment\n" + b"".join(f"{breed}_2 1 1 1\n".encode() for breed in BREEDS),
    "annotations/trimaps/beagle_1.png": picture(3, "PNG"),
}
PETS_COUNTS = [(6, None), (3, None)]
PACKINGS = [
    {"images.tar.gz": targz(PETS), "annotations.tar.gz": targz(LISTS)},
    {"oxford-iiit-pet.tgz": targz(PETS | LISTS, top="oxford-iiit-pet/")},
]


@pytest.mark.parametrize("packing", [0, 1])
def test_pets_come_in_the_published_split_without_stray_files(stand_in, packing, capsys):
    """Some are in no list (Egyptian_Mau_139) or .mat, trimaps are PNG as well, a few are GIF or PNG named .jpg."""
    stand_in("pets", PACKINGS[packing], PETS_COUNTS, packing)
    assert cli.main(["pets"]) == 0
    folder = folders.home() / "pets"
    assert names(folder) == sorted(
        [f"train/{breed}/{breed}_{n}.jpg" for breed in BREEDS for n in (1, 34)]
        + [f"test/{breed}/{breed}_2.jpg" for breed in BREEDS]
    )
    assert (folder / "train/Abyssinian/Abyssinian_34.jpg").read_bytes() == PETS["images/Abyssinian_34.jpg"]
    said = capsys.readouterr().out
    assert "note: 3 pictures of the archive are in no part of the published split and stay out" in said
    assert "named .jpg and of another kind inside: 1 GIF, 1 PNG; the course reads pictures by their content" in said


def test_pets_are_read_by_folder_and_by_name_whatever_is_inside_a_jpg(stand_in):
    from helpers.data.dataset import ImageData

    stand_in("pets", PACKINGS[0], PETS_COUNTS)
    folder = data_setup.prepare("pets")
    for data in (
        ImageData.from_folders(folder, size=16, valid_frac=0.5),
        ImageData.from_name_re(folder, r"(.+)_\d+\.jpg$", size=16, valid_frac=0.5),
    ):
        assert tuple(data.classes) == BREEDS
        assert sorted(data.split.test) == [f"test/{breed}/{breed}_2.jpg" for breed in BREEDS]
        assert len(data.split.train) == len(data.split.valid) == 3


@pytest.mark.parametrize(
    "lists, says",
    [
        ({"annotations/trainval.txt": b"Abyssinian_7 1 1 1"}, "names 'Abyssinian_7', and there is no such picture"),
        ({"annotations/trainval.txt": b"../images/beagle_1 1"}, "names '../images/beagle_1', and there is no such"),
        ({"annotations/trainval.txt": b"beagle_1 1\n"}, "train has 1 pictures instead of 6"),
        ({"annotations/trainval.txt": b"beagle_1 1\n" * 6}, "names 'beagle_1', and there is no such picture"),
        ({"annotations/other.txt": b""}, "there is no list 'annotations/trainval.txt' in the archive; it holds "),
    ],
)
def test_lists_that_do_not_fit_are_explained(stand_in, lists, says):
    stand_in("pets", {"images.tar.gz": targz(PETS), "annotations.tar.gz": targz(lists)}, PETS_COUNTS)
    with pytest.raises(RuntimeError, match="could not download pets") as error:
        data_setup.prepare("pets")
    assert says in str(error.value) and not (folders.home() / "pets").exists()


def test_dogs_and_cats_keep_their_parts_and_the_sample_stays_out(stand_in):
    """`sample` holds copies of training pictures, and `test1` has no labels."""
    files = {
        f"{part}/{kind}s/{kind}.{n}.jpg": picture(n)
        for part in ("train", "valid")
        for kind in ("cat", "dog")
        for n in (1, 2)
    }
    files |= {"sample/train/cats/cat.1.jpg": picture(1), "test1/1.jpg": picture(9), "models/x.h5": b"weights"}
    stand_in("dogscats", {"dogscats.tgz": targz(files, top="dogscats/")}, [(4, 2), (4, 2), (None, None)])
    folder = data_setup.prepare("dogscats")
    expected = [name for name in files if name.startswith(("train", "valid"))] + ["test/1.jpg"]
    assert names(folder) == sorted(expected)
    assert folders.read_manifest(folder)["split"] == {"train": 4, "valid": 4, "test": 1}

    from helpers.data.dataset import ImageData

    data = ImageData.from_folders(folder, size=16)
    assert tuple(data.classes) == ("cats", "dogs") and data.split.test == ("test/1.jpg",)


@pytest.mark.parametrize("name", ["imagenette2-160", "imagewoof2-160"])
def test_imagenette_and_imagewoof_keep_their_split(stand_in, name):
    files = {f"{part}/n0{k}/{part}_{n}.JPEG": picture(n) for part in ("train", "val") for k in (1, 2) for n in (1, 2)}
    files |= {"noisy_imagenette.csv": b"path", "train/n01/notes.txt": b"words"}
    stand_in(name, {f"{name}.tgz": targz(files, top=f"{name}/")}, [(4, None), (4, None)])
    folder = data_setup.prepare(name)
    assert Counter(file.rsplit("/", 1)[0] for file in names(folder)) == dict.fromkeys(
        ("train/n01", "train/n02", "valid/n01", "valid/n02"), 2
    )


def test_a_missing_folder_or_class_is_explained(stand_in):
    files = {f"train/n0{k}/{n}.JPEG": picture(n) for k in (1, 2) for n in (1, 2)}
    archive = {"imagenette2-160.tgz": targz(files, top="imagenette2-160/")}
    stand_in("imagenette2-160", archive, [(4, None), (4, None)])
    with pytest.raises(RuntimeError, match="there is no folder 'val' in the archive; it holds "):
        data_setup.prepare("imagenette2-160")
    stand_in("imagenette2-160", archive, [(4, (2, 3)), (4, None)])
    with pytest.raises(RuntimeError, match="train has 2 pictures of 'n02' instead of 3"):
        data_setup.prepare("imagenette2-160")
    stand_in("imagenette2-160", archive, [(4, (2, 2, 2)), (4, None)])
    with pytest.raises(RuntimeError, match="train has 2 classes instead of 3"):
        data_setup.prepare("imagenette2-160")


# Sets that torchvision reads


def idx(array) -> bytes:
    """The format of MNIST: two zeros, 8 for bytes, the number of dimensions, each of them, the bytes."""
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(b"\0\0\x08" + bytes([array.ndim]) + shape + array.astype(np.uint8).tobytes(), mtime=0)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist_and_fashion_mnist_become_grey_pictures(stand_in, name):
    rng = np.random.default_rng(0)
    pixels = {"train": rng.integers(0, 256, (30, 28, 28)), "t10k": rng.integers(0, 256, (10, 28, 28))}
    labels = {"train": np.arange(30) % 10, "t10k": np.arange(10)}
    files = {f"{part}-images-idx3-ubyte.gz": idx(array) for part, array in pixels.items()}
    files |= {f"{part}-labels-idx1-ubyte.gz": idx(array) for part, array in labels.items()}
    stand_in(name, files, [(30, 3), (10, 1)])
    folder = data_setup.prepare(name)
    classes = sorted(path.name for path in (folder / "train").iterdir())
    assert len(names(folder)) == 40 and len(classes) == 10
    assert "T-shirt-top" in classes or classes[0] == "0 - zero"
    for part, source in (("train", "train"), ("test", "t10k")):
        for path in (folder / part).rglob("*.png"):
            with Image.open(path) as image:
                assert image.mode == "L"
                np.testing.assert_array_equal(np.asarray(image), pixels[source][int(path.stem)])
            if name == "mnist":
                assert int(path.parent.name[0]) == labels[source][int(path.stem)]


def md5(body):
    return hashlib.md5(body).hexdigest()


@pytest.fixture
def cifar(monkeypatch):
    """(archive, pixels of the training part, its labels); torchvision's md5 of the files inside are those of ours."""
    from torchvision.datasets import CIFAR10

    rng = np.random.default_rng(0)
    words, kinds = ["airplane", "cat"], [("data_batch_1", 6), ("data_batch_2", 4), ("test_batch", 2)]
    batches = {
        name: {"data": rng.integers(0, 256, (n, 3072), np.uint8), "labels": [k % 2 for k in range(n)]}
        for name, n in kinds
    }
    files = {name: pickle.dumps(batch) for name, batch in batches.items()}
    files["batches.meta"] = pickle.dumps({"label_names": words})
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5(files[name])] for name in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(files["test_batch"])]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(files["batches.meta"])})
    pixels = np.concatenate([batches[name]["data"] for name in ("data_batch_1", "data_batch_2")])
    return files, pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def test_cifar_becomes_pictures_with_the_same_pixels(stand_in, cifar):
    files, pixels = cifar
    stand_in("cifar-10", {"cifar-10-python.tar.gz": targz(files, top="cifar-10-batches-py/")}, [(10, 5), (2, 1)])
    folder = data_setup.prepare("cifar-10")
    assert names(folder)[:2] == ["test/airplane/00000.png", "test/cat/00001.png"]
    for path in (folder / "train").rglob("*.png"):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels[int(path.stem)])
        assert path.parent.name == ("airplane", "cat")[int(path.stem) % 2]  # both batches have an even number

    from helpers.data.dataset import ImageData

    data = ImageData.from_folders(folder, size=32, valid_frac=0.2)
    assert [len(part) for part in (data.split.train, data.split.valid, data.split.test)] == [8, 2, 2]


def test_a_pickle_with_another_md5_is_never_opened(stand_in, cifar, tmp_path):
    """The archive may have the recorded sha256 and still hold a batch that torchvision did not publish."""
    files, _ = cifar

    class Opened:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    hostile = files | {"data_batch_1": pickle.dumps(Opened())}
    stand_in("cifar-10", {"cifar-10-python.tar.gz": targz(hostile, top="cifar-10-batches-py/")}, [(10, 5), (2, 1)])
    with pytest.raises(RuntimeError, match="torchvision's CIFAR10 cannot read it .*corrupted"):
        data_setup.prepare("cifar-10")
    assert not (tmp_path / "opened").exists() and not (folders.home() / "cifar-10").exists()


def test_stl_becomes_pictures_with_the_same_pixels(stand_in, monkeypatch):
    from torchvision.datasets import STL10

    rng = np.random.default_rng(0)
    pixels = {part: rng.integers(0, 256, (4, 3, 96, 96), np.uint8) for part in ("train", "test", "unlabeled")}
    files = {f"{part}_X.bin": array.tobytes() for part, array in pixels.items()}
    files |= {
        "train_y.bin": bytes([1, 2, 1, 2]),
        "test_y.bin": bytes([1, 2, 2, 1]),
        "class_names.txt": b"airplane\nbird\n",
    }
    monkeypatch.setattr(
        STL10, "train_list", [[f, md5(files[f])] for f in ("train_X.bin", "train_y.bin", "unlabeled_X.bin")]
    )
    monkeypatch.setattr(STL10, "test_list", [[f, md5(files[f])] for f in ("test_X.bin", "test_y.bin")])
    stand_in("stl-10", {"stl10_binary.tar.gz": targz(files, top="stl10_binary/")}, [(4, 2), (4, 2)])
    folder = data_setup.prepare("stl-10")
    assert [path.stem for path in sorted((folder / "test/bird").iterdir())] == ["00001", "00002"]
    image = np.asarray(Image.open(folder / "train/bird/00003.png"))
    np.testing.assert_array_equal(image, pixels["train"][3].transpose(2, 1, 0))  # as torchvision: columns first


def test_food_keeps_the_bytes_and_the_published_lists(stand_in):
    files = {f"images/{dish}/{n}.jpg": picture(n) for dish in ("apple_pie", "sushi") for n in range(3)}
    train = {dish: [f"{dish}/0", f"{dish}/2"] for dish in ("apple_pie", "sushi")}
    test = {dish: [f"{dish}/1"] for dish in ("apple_pie", "sushi")}
    meta = {"meta/train.json": json.dumps(train).encode(), "meta/test.json": json.dumps(test).encode()}
    stand_in("food-101", {"food-101.tar.gz": targz(files | meta, top="food-101/")}, [(4, 2), (2, 1)])
    folder = data_setup.prepare("food-101")
    assert names(folder) == [
        *("test/apple_pie/1.jpg", "test/sushi/1.jpg"),
        *("train/apple_pie/0.jpg", "train/apple_pie/2.jpg", "train/sushi/0.jpg", "train/sushi/2.jpg"),
    ]
    assert (folder / "train/sushi/2.jpg").read_bytes() == files["images/sushi/2.jpg"]


def test_a_picture_that_the_lists_name_and_the_archive_lacks_is_explained(stand_in):
    meta = {"meta/train.json": b'{"sushi": ["sushi/0"]}', "meta/test.json": b"{}", "images/sushi/1.jpg": picture(1)}
    stand_in("food-101", {"food-101.tar.gz": targz(meta, top="food-101/")}, [(1, 1), (0, None)])
    with pytest.raises(RuntimeError, match="torchvision's Food101 cannot read it .*No such file"):
        data_setup.prepare("food-101")


def test_flowers_keep_the_three_published_parts(stand_in, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import Flowers102

    def mat(**arrays):
        buffer = io.BytesIO()
        savemat(buffer, arrays)
        return buffer.getvalue()

    labels, parts = mat(labels=[[1, 2, 60, 60, 1, 2]]), mat(trnid=[[1, 2]], valid=[[3, 5]], tstid=[[4, 6]])
    pictures = targz({f"jpg/image_{n:05}.jpg": picture(n) for n in range(1, 7)})
    files = {"102flowers.tgz": pictures, "imagelabels.mat": labels, "setid.mat": parts}
    own = {"image": "102flowers.tgz", "label": "imagelabels.mat", "setid": "setid.mat"}
    monkeypatch.setattr(Flowers102, "_file_dict", {key: (name, md5(files[name])) for key, name in own.items()})
    stand_in("flowers-102", files, [(2, 1), (2, 1), (2, None)])
    folder = data_setup.prepare("flowers-102")
    assert names(folder) == [
        "test/hard-leaved pocket orchid/image_00006.jpg",
        "test/pink-yellow dahlia/image_00004.jpg",  # "pink-yellow dahlia?" in the list
        "train/hard-leaved pocket orchid/image_00002.jpg",
        "train/pink primrose/image_00001.jpg",
        "valid/pink primrose/image_00005.jpg",
        "valid/pink-yellow dahlia/image_00003.jpg",
    ]


def test_eurosat_has_a_folder_for_each_class(stand_in):
    files = {f"2750/{kind}/{kind}_{n}.jpg": picture(n, size=(64, 64)) for kind in ("Forest", "River") for n in (1, 2)}
    stand_in("eurosat", {"EuroSAT.zip": zipped(files)}, [(4, (2, 2))])
    folder = data_setup.prepare("eurosat")
    assert names(folder) == sorted(name.removeprefix("2750/") for name in files)

    from helpers.data.dataset import ImageData

    data = ImageData.from_folders(folder, size=16, valid_frac=0.5)
    assert tuple(data.classes) == ("Forest", "River") and len(data.split.valid) == 2


def test_a_cut_between_the_files_of_a_set_is_made_up_for(stand_in, server):
    """MNIST is four files: those that are here already are not asked for again."""
    files = {f"{part}-images-idx3-ubyte.gz": idx(np.zeros((10, 28, 28))) for part in ("train", "t10k")}
    files |= {f"{part}-labels-idx1-ubyte.gz": idx(np.arange(10)) for part in ("train", "t10k")}
    stand_in("mnist", files, [(10, 1), (10, 1)])
    server.modes["/t10k-images-idx3-ubyte.gz"] = "404"
    with pytest.raises(RuntimeError, match="t10k-images-idx3-ubyte.gz: the server answered 404"):
        data_setup.prepare("mnist")
    assert server.asked == [
        f"/{name}-ubyte.gz" for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3")
    ]
    server.modes.clear()
    server.requests.clear()
    data_setup.prepare("mnist")
    assert server.asked == ["/t10k-images-idx3-ubyte.gz", "/t10k-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize(
    "label, folder",
    [("T-shirt/top", "T-shirt-top"), ("pink-yellow dahlia?", "pink-yellow dahlia"), ("..", ""), ("a", "a")],
)
def test_class_names_become_folders(label, folder):
    assert arrange.folder_name(label) == folder


# The records themselves


def test_published_checks_are_complete():
    """Every archive has a size and a check of a known kind, so nothing can be used unchecked; the sums fit."""
    lengths = {"sha256": 64, "md5": 32, "first-mib-md5": 32}
    for record in sets.CATALOGUE:
        assert record.packings or record.tree
        assert record.name and record.licence and record.citation and record.pictures > 0
        for packing in record.packings:
            assert len({archive.filename for archive in packing}) == len(packing)
            for archive in packing:
                kind, _, digest = archive.check.partition(":")
                assert len(bytes.fromhex(digest)) * 2 == lengths[kind] and archive.bytes > 100
        if record.packings:
            assert record.bytes == sum(archive.bytes for archive in record.packings[0])
            assert record.pictures == sum(part.pictures or 0 for part in record.parts)
            for part in record.parts:
                if isinstance(part.per_class, int):
                    assert part.pictures % part.per_class == 0
                elif part.per_class:
                    assert sum(part.per_class) == part.pictures


def test_addresses_and_md5_are_torchvision_s_own():
    """Catches a digit typed wrongly, and a torchvision that has moved on."""
    import inspect

    from torchvision import datasets

    for record in sets.CATALOGUE:
        if not record.layout.startswith("torchvision"):
            continue
        own = inspect.getsource(getattr(datasets, record.layout.removeprefix("torchvision ")))
        for archive in record.packings[0]:
            assert f'"{archive.check.removeprefix("md5:")}"' in own, archive
            start, _, filename = archive.urls[0].rpartition("/")
            assert filename in own and f'"{start}' in own, archive


# A small copy


@pytest.mark.parametrize("limit", [5, 12, 31])
def test_a_small_copy_keeps_every_part_and_class_and_is_always_the_same(home, offer, limit):
    offer(targz(pictures(), top="t/"))
    folder = data_setup.prepare("tiny", limit=limit)
    chosen = names(folder)
    assert folder == home / f"tiny-{limit}" and len(chosen) == limit
    assert {name: (folder / name).read_bytes() for name in chosen} == {name: pictures()[name] for name in chosen}
    per_folder = Counter(name.rsplit("/", 1)[0] for name in chosen)
    whole = Counter(name.rsplit("/", 1)[0] for name in pictures())
    assert set(per_folder) == set(whole)
    for label, count in whole.items():
        assert abs(per_folder[label] - (1 + (count - 1) * (limit - 4) / 29)) < 1
    manifest = folders.read_manifest(folder)
    assert (manifest["limit"], manifest["of"], manifest["name"]) == (limit, 33, "tiny")
    for path in folder.rglob("*.JPEG"):
        path.unlink()
    assert names(data_setup.prepare(f"tiny-{limit}")) == chosen and not data_setup.problems(f"tiny-{limit}")


def test_a_small_copy_does_not_depend_on_the_order_of_files():
    from data_setup.small_copies import choose

    files = [f"train/{label}/{n}.jpg" for label in "abc" for n in range(20)]
    shuffled = random.Random(0).sample(files, len(files))
    assert choose(shuffled, 17) == choose(files, 17) != sorted(files)[:17]


@pytest.mark.parametrize(
    "limit, says, asked",
    [
        (0, "a copy of 0 of the 33 pictures of tiny cannot be taken", 0),
        (33, "a copy of 33 of the 33 pictures of tiny cannot be taken", 0),
        (3, "there are 33 in 4 folders, and each keeps one at least; type --limit with a number from 4 to 32", 1),
    ],
)
def test_an_impossible_limit_is_explained(home, server, offer, capsys, limit, says, asked):
    offer(targz(pictures(), top="t/"))
    assert cli.main(["tiny", "--limit", str(limit)]) == 1
    assert says in capsys.readouterr().err
    assert not (home / f"tiny-{limit}").exists() and len(server.requests) == asked


def test_a_small_copy_of_the_solar_set_keeps_its_seal_and_its_table(home, tmp_path, monkeypatch, capsys):
    """The table has the rows of the pictures that are there, so labels from a table can be read."""
    monkeypatch.setattr(sets.DataSet, "tree", property(lambda self: None))
    whole = home / "solar"
    for part in ("train", "valid", "test"):
        for label in ("functional", "defective"):
            (whole / part / label).mkdir(parents=True)
            for n in range(4):
                (whole / part / label / f"mono_{label}_{n}.png").write_bytes(picture(n, "PNG"))
    rows = [
        f"{path.relative_to(whole).as_posix()},{path.parent.name},mono,0.0" for path in sorted(whole.rglob("*.png"))
    ]
    (whole / "labels.csv").write_text("\n".join(["name,label,type,probability", *rows]) + "\n")
    (whole / "test" / folders.SEAL).write_text("sealed")
    facts = {"name": "solar", "licence": "free", "sealed": "test", "warning": "beware", "counts": {"train": 8}}
    (whole / "manifest.json").write_text(json.dumps({**facts, "files": folders.describe(whole)}))

    assert cli.main(["solar", "--limit", "12"]) == 0
    assert "solar-12: ready with 12 pictures" in (said := capsys.readouterr().out) and "note: beware" in said
    copy = home / "solar-12"
    assert (copy / "test" / folders.SEAL).read_text() == "sealed"
    table = (copy / "labels.csv").read_text().splitlines()
    assert table[0] == "name,label,type,probability" and len(table) == 13
    assert {line.split(",")[0] for line in table[1:]} == {name for name in names(copy) if name.endswith(".png")}
    manifest = folders.read_manifest(copy)
    assert manifest["sealed"] == "test" and "counts" not in manifest
    assert manifest["split"] == {"train": 4, "valid": 4, "test": 4}
