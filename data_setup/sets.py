"""The data sets the course knows: the embedded one, and those that are downloaded."""

import difflib

from data_setup.downloads.picture_sets import PICTURE_SETS
from data_setup.downloads.records import DataSet
from data_setup.downloads.torchvision_sets import TORCHVISION_SETS

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
    *PICTURE_SETS,
    *TORCHVISION_SETS,
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
