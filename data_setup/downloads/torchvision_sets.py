"""Data sets that torchvision has a class for: downloaded and checked by us, read by torchvision's own class.

Addresses and md5 are those of that class (a test compares them); bytes are those that TensorFlow Datasets records.
"""

from data_setup.downloads.picture_sets import IMAGENET_TERMS
from data_setup.downloads.records import Archive, DataSet, Part

MD5 = "md5 of the archives as torchvision publishes them, and the published number of pictures per part and class"
FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
NO_LICENCE = "no licence stated; research and teaching"


def _idx_files(mirrors: tuple[str, ...], into: str, files: tuple[tuple[str, int, str], ...]) -> tuple[Archive, ...]:
    """The four files of a set in MNIST's format; `files`: name, bytes, md5."""
    return tuple(
        Archive(tuple(f"{mirror}{name}" for mirror in mirrors), size, f"md5:{md5}", into=into)
        for name, size, md5 in files
    )


TORCHVISION_SETS = (
    DataSet(
        name="food-101",
        title="Food-101: 101 dishes, training labels left noisy on purpose",
        pictures=101_000,
        bytes=4_996_278_331,
        licence="pictures of Foodspotting: scientific fair use",
        source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101",
        citation="Bossard, Guillaumin, Van Gool: Food-101, ECCV 2014",
        check=MD5,
        packings=(
            (
                Archive(
                    urls=("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
                    bytes=4_996_278_331,
                    check="md5:85eeb15f3717b99a5da872d97d918f87",
                ),
            ),
        ),
        layout="torchvision Food101",
        parts=(
            Part("train", arguments={"split": "train"}, pictures=75_750, per_class=750),
            Part("test", arguments={"split": "test"}, pictures=25_250, per_class=250),
        ),
    ),
    DataSet(
        name="flowers-102",
        title="Oxford Flowers: 102 kinds, ten pictures of each to train on",
        pictures=8189,
        bytes=344_862_509 + 502 + 14_989,
        licence=NO_LICENCE,
        source=FLOWERS,
        citation="Nilsback, Zisserman: Automated Flower Classification over a Large Number of Classes, ICVGIP 2008",
        check=MD5,
        packings=(
            (
                Archive(
                    (f"{FLOWERS}102flowers.tgz",),
                    344_862_509,
                    "md5:52808999861908f626f3c1f4e79d11fa",
                    into="flowers-102",
                ),
                Archive(
                    (f"{FLOWERS}imagelabels.mat",), 502, "md5:e0620be6f572b9609742df49c70aed4d", into="flowers-102"
                ),
                Archive((f"{FLOWERS}setid.mat",), 14_989, "md5:a5357ecc9cb78c4bef273ce3793fc85c", into="flowers-102"),
            ),
        ),
        layout="torchvision Flowers102",
        parts=(
            Part("train", arguments={"split": "train"}, pictures=1020, per_class=10),
            Part("valid", arguments={"split": "val"}, pictures=1020, per_class=10),
            Part("test", arguments={"split": "test"}, pictures=6149),
        ),
    ),
    DataSet(
        name="cifar-10",
        title="CIFAR-10: ten classes of 32 px pictures",
        pictures=60_000,
        bytes=170_498_071,
        licence=NO_LICENCE,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        citation="Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
        check=MD5,
        packings=(
            (
                Archive(
                    urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                    bytes=170_498_071,
                    check="md5:c58f30108f718f92721af3b95e74349a",
                ),
            ),
        ),
        layout="torchvision CIFAR10",
        parts=(
            Part("train", arguments={"train": True}, pictures=50_000, per_class=5000),
            Part("test", arguments={"train": False}, pictures=10_000, per_class=1000),
        ),
        unpacked=187_000_000,
    ),
    DataSet(
        name="eurosat",
        title="EuroSAT: ten kinds of land use seen by Sentinel-2, 64 px, no published split",
        pictures=27_000,
        bytes=94_280_567,
        licence="MIT",
        source="https://github.com/phelber/EuroSAT",
        citation="Helber, Bischke, Dengel, Borth: EuroSAT, IEEE JSTARS 12(7), 2019, doi:10.1109/JSTARS.2019.2918242",
        check=MD5,
        packings=(
            (
                Archive(
                    urls=(
                        "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                        "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                        "https://madm.dfki.de/files/sentinel/EuroSAT.zip",
                    ),
                    bytes=94_280_567,
                    check="md5:c8fa014336c82ac7804f0398fcb19387",
                    into="eurosat",
                ),
            ),
        ),
        layout="torchvision EuroSAT",
        parts=(Part("", pictures=27_000, per_class=(3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000)),),
    ),
    DataSet(
        name="fashion-mnist",
        title="Fashion-MNIST: ten kinds of clothing, 28 px, grey",
        pictures=70_000,
        bytes=26_421_880 + 29_515 + 4_422_102 + 5148,
        licence="MIT",
        source="https://github.com/zalandoresearch/fashion-mnist",
        citation="Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv 1708.07747, 2017",
        check=MD5,
        packings=(
            _idx_files(
                ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                "FashionMNIST/raw",
                (
                    ("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                    ("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
                    ("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
                    ("t10k-labels-idx1-ubyte.gz", 5148, "bb300cfdad3c16e7a12a480ee83cd310"),
                ),
            ),
        ),
        layout="torchvision FashionMNIST",
        parts=(
            Part("train", arguments={"train": True}, pictures=60_000, per_class=6000),
            Part("test", arguments={"train": False}, pictures=10_000, per_class=1000),
        ),
        unpacked=54_950_048,
    ),
    DataSet(
        name="mnist",
        title="MNIST: handwritten digits, 28 px, grey",
        pictures=70_000,
        bytes=9_912_422 + 28_881 + 1_648_877 + 4542,
        licence="CC BY-SA 3.0",
        source="http://yann.lecun.com/exdb/mnist/",
        citation="LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, 1998",
        check=MD5,
        packings=(
            _idx_files(
                ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
                "MNIST/raw",
                (
                    ("train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                    ("train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
                    ("t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
                    ("t10k-labels-idx1-ubyte.gz", 4542, "ec29112dd5afa0611ce80d1b7f02629c"),
                ),
            ),
        ),
        layout="torchvision MNIST",
        parts=(
            Part(
                "train",
                arguments={"train": True},
                pictures=60_000,
                per_class=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            ),
            Part(
                "test",
                arguments={"train": False},
                pictures=10_000,
                per_class=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
            ),
        ),
        unpacked=54_950_048,
    ),
    DataSet(
        name="stl-10",
        title="STL-10: ten classes of 96 px pictures, 500 of each to train on",
        pictures=13_000,
        bytes=2_640_397_119,
        licence=IMAGENET_TERMS,
        source="https://cs.stanford.edu/~acoates/stl10/",
        citation="Coates, Lee, Ng: An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011",
        check=MD5,
        packings=(
            (
                Archive(
                    urls=("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
                    bytes=2_640_397_119,
                    check="md5:91f7769df0f17e558f3565bffb0c7dfb",
                ),
            ),
        ),
        layout="torchvision STL10",
        parts=(
            Part("train", arguments={"split": "train"}, pictures=5000, per_class=500),
            Part("test", arguments={"split": "test"}, pictures=8000, per_class=800),
        ),
        unpacked=3_124_000_000 + 13_000 * 27_648,
    ),
)
