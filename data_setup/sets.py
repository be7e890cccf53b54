"""The data sets the course knows, as plain records: what they are, whose they are, how they are checked."""

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """One published packing of a data set.

    `check` is "sha256:HEX" of the file, or "first-mib-md5:HEX" where no more than that was published.
    """

    url: str
    bytes: int
    check: str
    strip: int  # leading folders to drop from the names inside


@dataclass(frozen=True)
class DataSet:
    name: str
    title: str
    pictures: int  # as published
    bytes: int  # of the first archive; of the finished folder where there is no archive
    licence: str
    source: str
    citation: str
    check: str  # in words, or "tree-sha256:HEX" (see base/folders.tree_digest)
    archives: tuple[Archive, ...] = ()  # tried in order; none: built from an installed package

    @property
    def tree(self) -> str | None:
        """The digest that the finished folder must have, where one is known."""
        kind, _, digest = self.check.partition(":")
        return digest if kind == "tree-sha256" else None


FIRST_MIB = "bytes and md5 of the first MiB as published; the full sha256 is recorded on first use"
IMAGENET_TERMS = "ImageNet terms: non-commercial research and teaching"

CATALOGUE = (
    DataSet(
        name="solar",
        title="ELPV: electroluminescence photographs of solar cells, functional or defective",
        pictures=2624,
        bytes=90_420_063,
        licence="code Apache-2.0, data CC BY-NC-SA 4.0",
        source="package elpv-dataset, no network needed",
        citation="Buerhop-Lutz et al., A Benchmark for Visual Identification of Defective Solar Cells in "
        "Electroluminescence Imagery, EU PVSEC 2018, doi:10.4229/35thEUPVSEC20182018-5CV.3.15; "
        "Deitsch et al., Automatic classification of defective photovoltaic module cells in "
        "electroluminescence images, Solar Energy 185, 2019, doi:10.1016/j.solener.2019.02.067; "
        "Deitsch et al., Segmentation of photovoltaic module cells in uncalibrated electroluminescence "
        "images, Machine Vision and Applications 32(4), 2021, doi:10.1007/s00138-021-01191-9",
        check="tree-sha256:e00fc5f97aa3ad91c3123b0436b32d84316d71260824b9e8c578e566f28b8281",
    ),
    DataSet(
        name="pets",
        title="Oxford-IIIT Pets: 37 breeds of cats and dogs, the breed in the file name",
        pictures=7390,
        bytes=791_918_971,
        licence="CC BY-SA 4.0",
        source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        citation="Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012",
        check="sha256 of the archive as published",
        archives=(
            Archive(
                url="https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
                bytes=791_918_971,
                check="sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                strip=0,
            ),
            Archive(
                url="https://s3.amazonaws.com/fast-ai-imageclas/oxford-iiit-pet.tgz",
                bytes=811_706_944,
                check="first-mib-md5:e4db5c768afd933bb91f5f594d7417a4",
                strip=1,
            ),
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
        archives=tuple(
            Archive(
                url=url,
                bytes=839_285_364,
                check="first-mib-md5:3e483c8d6ef2175e9d395a6027eb92b7",
                strip=1,
            )
            for url in (  # https first: the check covers one MiB only
                "https://s3.amazonaws.com/fast-ai-sample/dogscats.tgz",
                "http://files.fast.ai/data/examples/dogscats.tgz",
            )
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
        archives=(
            Archive(
                url="https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
                bytes=99_003_388,
                check="first-mib-md5:c475f8f7617a200ba35b9facc48443c3",
                strip=1,
            ),
        ),
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
        archives=(
            Archive(
                url="https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-160.tgz",
                bytes=92_612_825,
                check="first-mib-md5:3559b194123981a540b87132dbda412f",
                strip=1,
            ),
        ),
    ),
)


def catalogue() -> tuple[DataSet, ...]:
    """Every data set the course knows; the first one needs no network."""
    return CATALOGUE


def find(name: str) -> DataSet:
    """The record of the data set called `name`; ValueError with the nearest name otherwise."""
    known = {record.name: record for record in catalogue()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(known)}"
    raise ValueError(f"there is no data set called {name!r}; {hint}")
