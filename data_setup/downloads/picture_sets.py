"""Data sets whose archives hold picture files in folders."""

from data_setup.downloads.records import Archive, DataSet, Part

FIRST_MIB = "bytes and md5 of the first MiB as published; the full sha256 is recorded on first use"
IMAGENET_TERMS = "ImageNet terms: non-commercial research, teaching"
PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
FASTAI = "https://s3.amazonaws.com/fast-ai-imageclas/"

PICTURE_SETS = (
    DataSet(
        name="pets",
        title="Oxford-IIIT Pets: 37 breeds of cats and dogs, the breed in the file name",
        pictures=7349,  # of 7,390 in the archive: 41 are in neither of the authors' two lists
        bytes=791_918_971 + 19_173_078,
        licence="CC BY-SA 4.0",
        source=PETS,
        citation="Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012",
        check="sha256 of the archives as published",
        packings=(
            (
                Archive(
                    urls=(f"{PETS}data/annotations.tar.gz",),
                    bytes=19_173_078,
                    check="sha256:52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
                ),
                Archive(
                    urls=(f"{PETS}data/images.tar.gz",),
                    bytes=791_918_971,
                    check="sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                ),
            ),
            (
                Archive(
                    urls=(f"{FASTAI}oxford-iiit-pet.tgz",),
                    bytes=811_706_944,
                    check="first-mib-md5:e4db5c768afd933bb91f5f594d7417a4",
                    strip=1,
                ),
            ),
        ),
        layout="name lists",
        parts=(
            Part("train", "annotations/trainval.txt", pictures=3680),
            Part("test", "annotations/test.txt", pictures=3669),
        ),
    ),
    DataSet(
        name="dogscats",
        title="Dogs vs. Cats: train and valid folders of cats and dogs",
        pictures=25_000,
        bytes=839_285_364,
        licence="no open licence stated (competition data, 2013)",
        source="http://files.fast.ai/data/examples/",
        citation="Elson, Douceur, Howell, Saul: Asirra, ACM CCS 2007",
        check=FIRST_MIB,
        packings=(
            (
                Archive(
                    urls=(  # https first: the check covers one MiB only
                        "https://s3.amazonaws.com/fast-ai-sample/dogscats.tgz",
                        "http://files.fast.ai/data/examples/dogscats.tgz",
                    ),
                    bytes=839_285_364,
                    check="first-mib-md5:3e483c8d6ef2175e9d395a6027eb92b7",
                    strip=1,
                ),
            ),
        ),
        layout="folders",  # `sample`, copies of a few of these, stays out; `test1` has no labels
        parts=(
            Part("train", "train", pictures=23_000, per_class=11_500),
            Part("valid", "valid", pictures=2000, per_class=1000),
            Part("test", "test1"),
        ),
    ),
    DataSet(
        name="imagenette2-160",
        title="Imagenette: ten easy ImageNet classes, shorter side 160 px",
        pictures=13_394,
        bytes=99_003_388,
        licence=IMAGENET_TERMS,
        source="https://github.com/fastai/imagenette",
        citation="Howard: Imagenette, 2019; Deng et al.: ImageNet, CVPR 2009",
        check=FIRST_MIB,
        packings=(
            (
                Archive(
                    urls=(f"{FASTAI}imagenette2-160.tgz",),
                    bytes=99_003_388,
                    check="first-mib-md5:c475f8f7617a200ba35b9facc48443c3",
                    strip=1,
                ),
            ),
        ),
        layout="folders",
        parts=(Part("train", "train", pictures=9469), Part("valid", "val", pictures=3925)),
    ),
    DataSet(
        name="imagewoof2-160",
        title="Imagewoof: ten dog breeds of ImageNet, hard to tell apart, shorter side 160 px",
        pictures=12_954,
        bytes=92_612_825,
        licence=IMAGENET_TERMS,
        source="https://github.com/fastai/imagenette",
        citation="Howard: Imagewoof, 2019; Deng et al.: ImageNet, CVPR 2009",
        check=FIRST_MIB,
        packings=(
            (
                Archive(
                    urls=(f"{FASTAI}imagewoof2-160.tgz",),
                    bytes=92_612_825,
                    check="first-mib-md5:3559b194123981a540b87132dbda412f",
                    strip=1,
                ),
            ),
        ),
        layout="folders",
        parts=(Part("train", "train", pictures=9025), Part("valid", "val", pictures=3929)),
    ),
)
