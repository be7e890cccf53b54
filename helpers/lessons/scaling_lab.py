"""A slider for the number of machines, and what they and their network are: minutes of an epoch, waiting, and cost."""

from dataclasses import replace

import ipywidgets as widgets

from data_setup.base.html import Html, fill
from data_setup.base.text import counted, number
from helpers.figures.style import Drawing
from helpers.lessons.on_page import drawn
from helpers.lessons.scaling import MACHINES, Cluster, draw_scaling
from helpers.review.widgets import SafeText, StaticWidget, choice, control, row

NETWORKS = (  # words, Gbit a second, microseconds
    ("1 Gbit/s, an office", (1.0, 100.0)),
    ("10 Gbit/s, a server room", (10.0, 50.0)),
    ("100 Gbit/s, a cluster", (100.0, 5.0)),
)
FASTER = (("as this one", 1), ("10 times as fast", 10), ("50 times as fast", 50), ("200 times as fast", 200))


class ScalingLab(StaticWidget):
    """What an epoch of `pictures` takes on how many machines. `.value` is the number, `.cluster` what they are.

    `cluster` is measured on this machine: its speed alone, and the bytes of its gradients.
    """

    def __init__(self, cluster: Cluster, pictures: int):
        self._measured, self._pictures = cluster, pictures
        self.slider = control(
            widgets.SelectionSlider, "machines", self._refresh, width="420px", options=MACHINES, value=MACHINES[3]
        )
        self.network = choice("network", NETWORKS, self._refresh, value=NETWORKS[1][1])
        self.faster = choice("each machine is", FASTER, self._refresh, value=1)
        batches = [(str(size), size) for size in (8, 32, 128, 512)]
        self.batch = choice("pictures a step, on each", batches, self._refresh, value=32)
        self.price = control(
            widgets.BoundedFloatText, "price of a machine-hour", self._refresh, width="260px", value=1.0, min=0, max=1e4
        )
        self.said, self.shown = SafeText(), SafeText()
        self.said.add_class("course-status")
        super().__init__([self.slider, row(self.network, self.faster, self.batch, self.price), self.said, self.shown])
        self._refresh()

    @property
    def value(self) -> int:
        """The chosen number of machines."""
        return self.slider.value

    @value.setter
    def value(self, machines: int) -> None:
        if machines not in MACHINES:
            raise ValueError(f"choose from {', '.join(map(str, MACHINES))} machines; got {machines}")
        self.slider.value = machines

    @property
    def cluster(self) -> Cluster:
        """Machines and network as chosen."""
        gbit, latency = self.network.value
        speed = self.faster.value * self._measured.pictures_per_second
        chosen = {"gbit_per_second": gbit, "latency_us": latency, "batch": self.batch.value}
        return replace(self._measured, pictures_per_second=speed, **chosen)

    def words(self) -> str:
        """What the chosen number of machines does, in a sentence."""
        n, cluster = self.value, self.cluster
        seconds = cluster.epoch(self._pictures, n)
        hours = n * seconds / 3600
        waits = 100 * cluster.waiting(n) / cluster.step(n)
        return (
            f"{counted(n, 'machine')}: an epoch of {self._pictures:,} takes ≈ {number(seconds / 60)} minutes, "
            f"≈ {number(cluster.speedup(n))} times as fast as one, waiting ≈ {waits:.0f} % of the time; "
            f"machine-hours ≈ {number(hours)}, price ≈ {number(hours * self.price.value)}"
        )

    def _drawing(self) -> Drawing:
        return draw_scaling({"these": self.cluster}, self._pictures, at=self.value)

    def _refresh(self) -> None:
        self.said.value = fill("<b>{words}.</b>", words=self.words())
        self.shown.value = drawn(self._drawing())

    def face(self) -> tuple[str, Html]:
        text = f"ScalingLab: {self.words()}."
        return text, fill("<div><p>{text}</p>{page}</div>", text=text, page=drawn(self._drawing()))
